//! The program as its users call it, and the daemon as its subscribers see it.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a test that cannot set itself up has failed; its numbers are small"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

#[allow(unreachable_pub, dead_code, reason = "shared with another crate's tests")]
#[path = "../../crates/camera/tests/board_scene/mod.rs"]
mod board_scene;
mod browser;
mod calibrate;
mod calibrate_page;
mod cells;
mod commands;
mod export;
mod foxglove;
mod learn;
mod models;
mod outcomes;
mod outside;
mod page;
mod record;
mod replay;
mod ros2;
mod service;
mod technician;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magpie"));
    command.env("RUST_LOG", "info");
    command
}

fn magpie(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn succeed(arguments: &[&str]) -> Output {
    let output = magpie(arguments);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    output
}

/// Runs and expects the exit code and every part of the message, which is one line.
#[track_caller]
fn check_refused(arguments: &[&str], code: i32, parts: &[&str]) {
    let output = magpie(arguments);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{message}");
    let errors: Vec<&str> = message.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{message}");
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

/// The top of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// An address of loopback of its own: of a port that is only free for now, the system may give
/// another test's connection the number before the daemon listens.
fn free_endpoint() -> String {
    format!("tcp/{}:17447", free_address())
}

fn free_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("127.{}.{}.{number}", 1 + process % 254, 1 + process / 254 % 254)
}

/// Writes `zenoh.json5`: listens there and looks for nobody.
fn write_zenoh_config(folder: &Path, endpoint: &str) {
    let zenoh = format!(
        r#"{{mode: "peer", listen: {{endpoints: ["{endpoint}"]}},
            scouting: {{multicast: {{enabled: false}}, gossip: {{enabled: false}}}}}}"#
    );
    std::fs::write(folder.join("zenoh.json5"), zenoh).unwrap();
}

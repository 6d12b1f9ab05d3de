//! The program as its users call it, and the daemon as its subscribers see it.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a test that cannot set itself up has failed; its numbers are small"
)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

#[allow(unreachable_pub, dead_code, reason = "shared with another crate's tests")]
#[path = "../../crates/camera/tests/board_scene/mod.rs"]
mod board_scene;
mod calibrate;
mod commands;
mod export;
mod record;
mod replay;
mod service;

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

/// A port of loopback that nobody listens on.
fn free_endpoint() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("tcp/127.0.0.1:{port}")
}

/// Writes `zenoh.json5`: listens there and looks for nobody.
fn write_zenoh_config(folder: &Path, endpoint: &str) {
    let zenoh = format!(
        r#"{{mode: "peer", listen: {{endpoints: ["{endpoint}"]}},
            scouting: {{multicast: {{enabled: false}}, gossip: {{enabled: false}}}}}}"#
    );
    std::fs::write(folder.join("zenoh.json5"), zenoh).unwrap();
}

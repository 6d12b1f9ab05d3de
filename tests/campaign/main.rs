//! Thousands of faults against cells that run for real: the program, its camera, its network and an
//! arm. Whatever happens, nothing that is old or forged is acted upon, nobody says that all is well
//! when it is not, and all is well again in time.
//!
//! `scripts/campaign FAULTS [SEED]` runs it longer than a test does.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "a trial that cannot be set up has failed; its numbers are small"
)]

mod camera;
mod cell;
mod fault;
mod lateness;
mod link;
mod trial;

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Instant;

#[expect(clippy::disallowed_methods, reason = "a trial runs in real time")]
fn now() -> Instant {
    Instant::now()
}

/// An address of loopback of its own: see the tests of the program.
fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    format!("127.{}.{}.{}:17448", 1 + process % 254, 1 + process / 254 % 254, number % 250)
}

fn setting(name: &str, default: u64) -> u64 {
    let name = format!("MAGPIE_CAMPAIGN_{name}");
    std::env::var(&name).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}; give a whole number"))
    })
}

#[test]
fn no_fault_breaks_a_promise() {
    let (faults, cells) = (setting("FAULTS", 116), setting("CELLS", 4));
    let seed = setting("SEED", 1);
    let table = trial::run(faults, cells, seed);
    println!("\n{table}");
    let broken = table.broken();
    assert!(broken.is_empty(), "seed {seed}:\n{}", broken.join("\n"));
}

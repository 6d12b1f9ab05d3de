//! The smallest arm controller: waits for the best grasp of a cell and prints it.
//!
//! ```sh
//! cargo run -p magpie-client --example subscribe -- demo
//! cargo run -p magpie-client --example subscribe -- dock-7 /etc/magpie/tls/dock-7-arm.json5
//! ```
#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use magpie_client::wire::printable;
use magpie_client::{Client, Freshness, ZenohConfig};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let cell = arguments.next().unwrap_or_else(|| "demo".into());
    follow(&match arguments.next() {
        Some(zenoh_file) => Client::connect_by(&cell, ZenohConfig::File(zenoh_file.into()))?,
        None => Client::connect(&cell)?,
    })
}

/// Prints how things stand, ten times.
pub(crate) fn follow(client: &Client) -> Result<(), Box<dyn std::error::Error>> {
    let packages = client.packages()?;
    for _ in 0..10 {
        match packages.next(Duration::from_secs(1)) {
            Freshness::Fresh(view) => match view.best_grasp()? {
                Some(best) => {
                    let base_from_grasp = best.base_from_grasp()?;
                    println!("hold {} at {base_from_grasp:?}", printable(&best.package.r#type));
                }
                None => println!("nothing to hold"),
            },
            Freshness::Stale(why) => println!("wait: {why}"),
            Freshness::Lost { why, .. } => println!("stop: {why}"),
        }
    }
    Ok(())
}

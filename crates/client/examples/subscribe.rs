//! The smallest arm controller: waits for the best grasp of a cell and prints it.
//!
//! ```sh
//! cargo run -p magpie-client --example subscribe -- demo 10
//! cargo run -p magpie-client --example subscribe -- dock-7 10 --zenoh /etc/magpie/tls/dock-7-arm.json5
//! ```
#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use magpie_client::{
    CellName, Freshness, PackagesSubscriber, SubscriberOptions, SystemClock, ZenohConfig, find_cell,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let zenoh_file = match arguments.iter().position(|argument| argument == "--zenoh") {
        Some(at) if at + 1 < arguments.len() => arguments.drain(at..at + 2).next_back(),
        Some(_) => return Err("--zenoh needs a file".into()),
        None => None,
    };
    let cell = CellName::new(arguments.first().map_or("demo", String::as_str))?;
    let results: u32 = arguments.get(1).map_or(Ok(10), |count| count.parse())?;
    let zenoh = match zenoh_file {
        Some(file) => ZenohConfig::File(file.into()),
        None => find_cell(&cell)?,
    };
    let options = SubscriberOptions::new(cell, zenoh, SystemClock::start());
    let mut subscriber = PackagesSubscriber::open(options)?;
    for _ in 0..results {
        match subscriber.next(Duration::from_secs(1)) {
            Freshness::Fresh(view) => match view.best_grasp()? {
                Some(best) => println!("hold {:?} at {:?}", best.package.r#type, best.grasp.pose),
                None => println!("nothing to hold"),
            },
            Freshness::Stale(why) => println!("wait: {why}"),
            Freshness::Lost { why, .. } => println!("stop: {why}"),
        }
    }
    Ok(())
}

//! The smallest arm controller: waits for the best grasp of a cell and prints it.
//!
//! ```sh
//! cargo run -p magpie-client --example subscribe -- demo 10
//! ```
#![allow(clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use magpie_client::{
    CellName, Freshness, PackagesSubscriber, SubscriberOptions, SystemClock, ZenohConfig,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let cell = CellName::new(&arguments.next().unwrap_or_else(|| "demo".into()))?;
    let results: u32 = arguments.next().map_or(Ok(10), |count| count.parse())?;
    let zenoh = ZenohConfig::loopback_client();
    let options = SubscriberOptions::new(cell, zenoh, SystemClock::start());
    let mut subscriber = PackagesSubscriber::open(options)?;
    for _ in 0..results {
        match subscriber.next(Duration::from_secs(1)) {
            Freshness::Fresh(view) => match view.best_grasp()? {
                Some(best) => println!("hold {} at {:?}", best.package.r#type, best.grasp.pose),
                None => println!("nothing to hold"),
            },
            Freshness::Stale(why) => println!("wait: {why}"),
            Freshness::Lost { why, .. } => println!("stop: {why}"),
        }
    }
    Ok(())
}

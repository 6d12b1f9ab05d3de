//! What a reader that stands still can do to the others: nothing. A program of its own, since it
//! measures its memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use magpie_client::Freshness;
use magpie_perception::Publisher;
use support::{Cell, clock, free_endpoint, options, runtime, session, subscriber};
use zenoh::Wait;
use zenoh::sample::Sample;

/// Bytes of memory that this process occupies.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_reader_that_stands_still_holds_up_neither_the_publisher_nor_other_readers() {
    const RESULTS: usize = 4000;
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut opened = options("dock", &endpoint);
    // As large as some sixty packages: 120 MB in all, far more than the bound below.
    opened.identities.calibration_id = "x".repeat(30_000);
    let mut cell = Cell::open(opened, &runtime).unwrap();
    let stuck = session(&endpoint);
    let (entered, release) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (entering, released) = (entered.clone(), release.clone());
    let on_sample = move |_: Sample| {
        entering.store(true, Ordering::SeqCst);
        while !released.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    stuck.declare_subscriber("magpie/**").callback(on_sample).background().wait().unwrap();
    let reader = subscriber("dock", &endpoint, clock());
    cell.publish_until(|| {
        entered.load(Ordering::SeqCst) && matches!(reader.latest(), Freshness::Fresh(_))
    });

    let frame = support::frame(1, cell.clock.now());
    let report = support::report(&frame, 3);
    let (before, received_before) = (resident_bytes(), reader.counters().received);
    for _ in 0..RESULTS {
        cell.publisher.publish(&frame, &report).unwrap();
        std::thread::sleep(Duration::from_micros(300));
    }
    let grown = resident_bytes().saturating_sub(before);
    cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
    let received = reader.counters().received - received_before;
    println!("{received} of {RESULTS} results received, {grown} bytes of memory more");
    assert!(grown < 64 << 20, "{grown} bytes more after {RESULTS} results that nobody took");
    assert!(
        received > RESULTS as u64 / 10,
        "only {received} of {RESULTS} reached the other reader"
    );
    assert!(!release.swap(true, Ordering::SeqCst), "the reader stood still all the time");
}

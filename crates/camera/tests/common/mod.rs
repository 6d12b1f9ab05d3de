//! What all tests of this crate share: a clock, and the opening of a source.

use std::sync::Arc;
use std::time::Instant;

use magpie_camera::{Camera, CameraConfig};
use magpie_perception::{Clock, Counters, StampNs};

pub(crate) struct MachineClock(Instant);

impl MachineClock {
    pub(crate) fn new() -> MachineClock {
        MachineClock(now())
    }
}

impl Clock for MachineClock {
    fn now(&self) -> StampNs {
        StampNs(1_800_000_000_000_000_000) + self.0.elapsed()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that tests hand in")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn open(config: &CameraConfig) -> (Camera, Arc<Counters>) {
    let counters = Arc::new(Counters::default());
    let clock = Arc::new(MachineClock::new());
    let camera = magpie_camera::open(config, clock, Arc::clone(&counters)).unwrap();
    (camera, counters)
}

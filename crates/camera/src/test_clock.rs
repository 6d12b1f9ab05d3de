//! The machine's clock, for tests.

use magpie_perception::{Clock, StampNs};

pub(crate) struct MachineClock(std::time::Instant);

impl MachineClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that tests hand in")]
    pub(crate) fn new() -> MachineClock {
        MachineClock(std::time::Instant::now())
    }
}

impl Clock for MachineClock {
    fn now(&self) -> StampNs {
        StampNs(1_800_000_000_000_000_000) + self.0.elapsed()
    }
}

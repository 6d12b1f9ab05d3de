//! The machine's clock.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use magpie_perception::{Clock, SharedClock, StampNs};

/// Unix time at start plus monotonic time since: never steps, whatever NTP does.
#[derive(Debug)]
pub struct SystemClock {
    started_unix_ns: u64,
    started: Instant,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn start() -> SharedClock {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let started_unix_ns =
            u64::try_from(since_epoch.as_nanos()).expect("u64 nanoseconds last until 2554");
        Arc::new(SystemClock { started_unix_ns, started: Instant::now() })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> StampNs {
        let elapsed_ns = u64::try_from(self.started.elapsed().as_nanos())
            .expect("u64 nanoseconds last for centuries");
        StampNs(self.started_unix_ns + elapsed_ns)
    }
}

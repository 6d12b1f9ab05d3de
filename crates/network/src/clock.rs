//! The machine's clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use magpie_perception::{Clock, SharedClock, StampNs};

/// By less than this, Unix time has not been set: a moment passed between two readings.
///
/// Time synchronisation slews both clocks alike, so that nothing else sets them apart.
const STEP_NS_MIN: u64 = 10_000_000;
/// Of this size either way, two of them still have a difference.
const AHEAD_NS_MAX: i128 = i64::MAX as i128 / 2;
/// Readings further apart than this say nothing: the thread was interrupted between them.
const READING_MAX: Duration = Duration::from_millis(1);

/// Unix time at start plus monotonic time since: never steps, whatever becomes of Unix time.
///
/// Where Unix time is set, or stands still while the machine sleeps, [`Clock::unix_ahead_ns`] says
/// by how much from the next reading on.
#[derive(Debug)]
pub struct SystemClock {
    started_unix_ns: u64,
    started: Instant,
    unix_ahead_ns: AtomicI64,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn start() -> SharedClock {
        Arc::new(SystemClock {
            started_unix_ns: unix_ns(),
            started: Instant::now(),
            unix_ahead_ns: AtomicI64::new(0),
        })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> StampNs {
        let elapsed_ns = u64::try_from(self.started.elapsed().as_nanos())
            .expect("u64 nanoseconds last for centuries");
        StampNs(self.started_unix_ns.saturating_add(elapsed_ns))
    }

    fn unix_ahead_ns(&self) -> i64 {
        let before = self.now();
        let ahead_ns = i128::from(unix_ns()) - i128::from(before.0);
        let reading_ns = self.now().since_ns(before);
        // A clock that was set further away than 146 years is as wrong as can be said.
        let ahead_ns = i64::try_from(ahead_ns.clamp(-AHEAD_NS_MAX, AHEAD_NS_MAX))
            .expect("clamped to what i64 holds");
        let held_ns = self.unix_ahead_ns.load(Ordering::Relaxed);
        let is_interrupted = u128::from(reading_ns) > READING_MAX.as_nanos();
        if is_interrupted || ahead_ns.abs_diff(held_ns) < STEP_NS_MIN {
            return held_ns;
        }
        self.unix_ahead_ns.store(ahead_ns, Ordering::Relaxed);
        ahead_ns
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
fn unix_ns() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Beyond 2554, where a clock may be set by mistake, it stands still.
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that started when Unix time was `by` behind where it would be now without a step.
    fn stepped(by_ns: i64) -> SystemClock {
        let clock = SystemClock {
            started_unix_ns: unix_ns().saturating_add_signed(-by_ns),
            #[expect(clippy::disallowed_methods, reason = "the test makes a clock of its own")]
            started: Instant::now(),
            unix_ahead_ns: AtomicI64::new(0),
        };
        // An interrupted reading tells nothing.
        while by_ns != 0 && clock.unix_ahead_ns() == 0 {}
        clock
    }

    #[test]
    fn a_step_is_noticed_and_what_is_told_follows_it() {
        for by_ns in [7_200_000_000_000, -7_200_000_000_000, 50_000_000] {
            let clock = stepped(by_ns);
            let error_ns = clock.unix_ahead_ns() - by_ns;
            assert!(error_ns.abs() < 2_000_000, "{error_ns} ns off a step by {by_ns} ns");
            let told_ns = clock.now().unix_ns(clock.unix_ahead_ns());
            assert!(told_ns.abs_diff(unix_ns()) < 100_000_000);
        }
    }

    #[test]
    fn a_clock_that_was_set_by_centuries_ends_nothing() {
        for started_unix_ns in [0, u64::MAX / 2 + unix_ns()] {
            let clock = SystemClock {
                started_unix_ns,
                #[expect(clippy::disallowed_methods, reason = "the test makes a clock of its own")]
                started: Instant::now(),
                unix_ahead_ns: AtomicI64::new(0),
            };
            while clock.unix_ahead_ns() == 0 {}
            let ahead_ns = i128::from(clock.unix_ahead_ns());
            let expected_ns = i128::from(unix_ns()) - i128::from(clock.now().0);
            let held_ns = expected_ns.clamp(-AHEAD_NS_MAX, AHEAD_NS_MAX);
            assert!((ahead_ns - held_ns).abs() < 1_000_000_000, "{ahead_ns} for {expected_ns}");
        }
    }

    #[test]
    fn without_a_step_nothing_is_ahead() {
        let clock = stepped(0);
        for _ in 0..10_000 {
            assert_eq!(clock.unix_ahead_ns(), 0);
        }
    }
}

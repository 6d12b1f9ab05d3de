//! Notices that the machine's Unix time was set, and says so for a while.

use magpie_perception::{SharedClock, StampNs};
use magpie_wire::Reason;

/// How long status names a step as a reason.
const REASON_SHOWN_NS: u64 = 60_000_000_000;

pub(crate) struct ClockWatch {
    clock: SharedClock,
    unix_ahead_ns: i64,
    pub(crate) steps: u64,
    last: Option<Step>,
}

struct Step {
    noticed: StampNs,
    by_ns: i64,
}

impl ClockWatch {
    pub(crate) fn start(clock: &SharedClock) -> ClockWatch {
        let unix_ahead_ns = clock.unix_ahead_ns();
        ClockWatch { clock: clock.clone(), unix_ahead_ns, steps: 0, last: None }
    }

    pub(crate) fn now(&self) -> StampNs {
        self.clock.now()
    }

    /// Looks at the clock, and gives the reason that status has for a while after a step.
    pub(crate) fn look(&mut self) -> Option<Reason> {
        let (now, unix_ahead_ns) = (self.clock.now(), self.clock.unix_ahead_ns());
        if unix_ahead_ns != self.unix_ahead_ns {
            let by_ns = unix_ahead_ns - self.unix_ahead_ns;
            self.unix_ahead_ns = unix_ahead_ns;
            self.steps += 1;
            self.last = Some(Step { noticed: now, by_ns });
        }
        self.last.take_if(|step| now.since_ns(step.noticed) >= REASON_SHOWN_NS);
        self.last.as_ref().map(|step| Reason::ClockStepped { by_s: step.by_ns as f64 / 1e9 })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    use magpie_perception::Clock;

    use super::*;

    #[derive(Default)]
    struct HandClock {
        now_ns: AtomicU64,
        unix_ahead_ns: AtomicI64,
    }

    impl Clock for HandClock {
        fn now(&self) -> StampNs {
            StampNs(self.now_ns.load(Ordering::Relaxed))
        }

        fn unix_ahead_ns(&self) -> i64 {
            self.unix_ahead_ns.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn each_step_is_counted_and_the_last_one_is_told_for_a_minute() {
        let hand = Arc::new(HandClock::default());
        let clock: SharedClock = hand.clone();
        let mut watch = ClockWatch::start(&clock);
        assert_eq!((watch.look(), watch.steps), (None, 0));
        hand.unix_ahead_ns.store(7_200_000_000_000, Ordering::Relaxed);
        assert_eq!(watch.look(), Some(Reason::ClockStepped { by_s: 7200.0 }));
        hand.unix_ahead_ns.store(6_000_000_000_000, Ordering::Relaxed);
        assert_eq!(watch.look(), Some(Reason::ClockStepped { by_s: -1200.0 }));
        assert_eq!(watch.steps, 2);
        hand.now_ns.store(REASON_SHOWN_NS, Ordering::Relaxed);
        assert_eq!((watch.look(), watch.steps), (None, 2));
    }
}

//! The time that the pipeline sees while a recording is replayed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use magpie_perception::{Clock, StampNs};

use magpie_perception::SharedClock;

/// Shows the recording's time.
pub(super) struct ReplayClock {
    pace: ClockPace,
}

enum ClockPace {
    /// Stands still at the stamp of the newest frame: no result depends on how fast the machine is.
    Stepped { now_ns: AtomicU64 },
    /// Runs as the machine's clock does, from the stamp of the first frame on.
    Running { machine: SharedClock, ahead_ns: OnceLock<u64> },
}

impl ReplayClock {
    pub(super) fn stepped() -> ReplayClock {
        ReplayClock { pace: ClockPace::Stepped { now_ns: AtomicU64::new(0) } }
    }

    /// A clock for frames that are stamped with the machine's time.
    pub(super) fn of_machine(machine: SharedClock) -> ReplayClock {
        ReplayClock { pace: ClockPace::Running { machine, ahead_ns: OnceLock::from(0) } }
    }

    pub(super) fn running(machine: SharedClock) -> ReplayClock {
        ReplayClock { pace: ClockPace::Running { machine, ahead_ns: OnceLock::new() } }
    }

    /// The machine's time before a frame is asked for.
    pub(super) fn asked(&self) -> StampNs {
        match &self.pace {
            ClockPace::Stepped { .. } => StampNs(0),
            ClockPace::Running { machine, .. } => machine.now(),
        }
    }

    /// Notes that a frame of this stamp is handed out, and when it was asked for.
    pub(super) fn reach(&self, stamp: StampNs, asked: StampNs) {
        match &self.pace {
            ClockPace::Stepped { now_ns } => now_ns.store(stamp.0, Ordering::Relaxed),
            ClockPace::Running { ahead_ns, .. } => {
                // A recording from a clock that was ahead of ours wraps, and wraps back below.
                ahead_ns.get_or_init(|| asked.0.wrapping_sub(stamp.0));
            }
        }
    }
}

impl Clock for ReplayClock {
    fn now(&self) -> StampNs {
        match &self.pace {
            ClockPace::Stepped { now_ns } => StampNs(now_ns.load(Ordering::Relaxed)),
            ClockPace::Running { machine, ahead_ns } => {
                let ahead_ns = ahead_ns.get().copied().unwrap_or_default();
                StampNs(machine.now().0.wrapping_sub(ahead_ns))
            }
        }
    }

    fn unix_ahead_ns(&self) -> i64 {
        match &self.pace {
            ClockPace::Stepped { .. } => 0,
            ClockPace::Running { machine, .. } => machine.unix_ahead_ns(),
        }
    }
}

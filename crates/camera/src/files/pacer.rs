//! When the next frame of a file is due.

use std::time::Duration;

use magpie_perception::StampNs;

use crate::monitor::Monitor;

/// Says when the next frame is due. A reader that falls behind gets no burst to catch up.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// `None` if frames come as fast as they are taken.
    interval: Option<Duration>,
    due: Option<StampNs>,
}

impl Pacer {
    pub(crate) fn new(interval: Option<Duration>) -> Pacer {
        Pacer { interval, due: None }
    }

    /// Waits until the next frame is due and returns its stamp; `None` when stopped meanwhile.
    pub(crate) fn wait(&mut self, monitor: &Monitor) -> Option<StampNs> {
        let now = monitor.clock.now();
        let due = self.due.unwrap_or(now);
        if monitor.sleep(Duration::from_nanos(due.since_ns(now))) {
            return None;
        }
        let stamp = monitor.clock.now();
        self.due = self.interval.map(|interval| (due + interval).max(stamp));
        Some(stamp)
    }
}

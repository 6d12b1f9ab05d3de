//! The one-frame slot between capture and pipeline.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use magpie_perception::SourceError;

/// Holds at most one frame: the newest. Gaps in the frames' numbers count the ones it replaced.
#[derive(Debug)]
pub(crate) struct LatestFrame<F> {
    slot: Mutex<Slot<F>>,
    filled: Condvar,
}

#[derive(Debug)]
struct Slot<F> {
    newest: Option<F>,
    closed: bool,
    fault: Option<SourceError>,
}

impl<F> Default for LatestFrame<F> {
    fn default() -> LatestFrame<F> {
        let slot = Slot { newest: None, closed: false, fault: None };
        LatestFrame { slot: Mutex::new(slot), filled: Condvar::new() }
    }
}

impl<F> LatestFrame<F> {
    /// Returns the frame that `frame` replaced, if nobody had taken it. A closed slot takes none.
    pub(crate) fn put(&self, frame: F) -> Option<F> {
        let mut slot = self.lock();
        if slot.closed {
            return None;
        }
        let replaced = slot.newest.replace(frame);
        self.filled.notify_all();
        replaced
    }

    /// Waits for a frame. Returns `Ok(None)` once the slot is closed, even if a frame still lies in
    /// it; a fault is handed out once, then the slot is closed.
    pub(crate) fn take(&self) -> Result<Option<F>, SourceError> {
        let waiting = |slot: &mut Slot<F>| slot.newest.is_none() && !slot.closed;
        let mut slot =
            self.filled.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner);
        match slot.fault.take() {
            Some(fault) => Err(fault),
            None if slot.closed => Ok(None),
            None => Ok(slot.newest.take()),
        }
    }

    /// Ends the stream for whoever waits now or later.
    pub(crate) fn close(&self) {
        let mut slot = self.lock();
        slot.closed = true;
        slot.newest = None;
        self.filled.notify_all();
    }

    /// Ends the stream with an error, unless it has ended already.
    pub(crate) fn close_with(&self, fault: SourceError) {
        let mut slot = self.lock();
        if !slot.closed {
            slot.fault = Some(fault);
        }
        slot.closed = true;
        slot.newest = None;
        self.filled.notify_all();
    }

    /// Locks the slot, which is a plain value, valid after every statement, so a poisoned lock is
    /// usable.
    fn lock(&self) -> MutexGuard<'_, Slot<F>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    fn fault() -> SourceError {
        SourceError { from: "camera x".into(), source: "burnt".into() }
    }

    #[test]
    fn the_newest_frame_wins_and_the_replaced_one_comes_back() {
        let latest = LatestFrame::default();
        assert!(latest.put(0).is_none());
        assert_eq!(latest.take().unwrap(), Some(0));
        assert!(latest.put(1).is_none());
        assert_eq!(latest.put(2), Some(1));
        assert_eq!(latest.take().unwrap(), Some(2));
    }

    #[test]
    fn a_taker_waits_until_a_frame_comes() {
        let latest = Arc::new(LatestFrame::default());
        let taker = {
            let latest = Arc::clone(&latest);
            std::thread::Builder::new().spawn(move || latest.take().unwrap()).unwrap()
        };
        std::thread::sleep(Duration::from_millis(20));
        assert!(!taker.is_finished());
        latest.put(7);
        assert_eq!(taker.join().unwrap(), Some(7));
    }

    #[test]
    fn closing_wakes_the_taker_and_discards_what_lay_there() {
        let latest = Arc::new(LatestFrame::default());
        let taker = {
            let latest = Arc::clone(&latest);
            std::thread::Builder::new().spawn(move || latest.take().unwrap()).unwrap()
        };
        latest.close();
        assert_eq!(taker.join().unwrap(), None);
        latest.put(1);
        assert_eq!(latest.take().unwrap(), None);
    }

    #[test]
    fn a_fault_is_handed_out_once() {
        let latest = LatestFrame::default();
        latest.put(1);
        latest.close_with(fault());
        assert_eq!(latest.take().unwrap_err().from, "camera x");
        assert_eq!(latest.take().unwrap(), None);
    }

    #[test]
    fn a_fault_after_the_end_is_no_fault() {
        let latest = LatestFrame::<u64>::default();
        latest.close();
        latest.close_with(fault());
        assert_eq!(latest.take().unwrap(), None);
    }
}

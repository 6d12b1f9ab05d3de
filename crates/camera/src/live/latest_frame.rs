//! The one-frame slot between capture and pipeline.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use magpie_perception::{Frame, SourceError};

/// Holds at most one frame: the newest. Gaps in `Frame::sequence` count the ones it replaced.
#[derive(Debug, Default)]
pub struct LatestFrame {
    slot: Mutex<Slot>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Slot {
    newest: Option<Frame>,
    closed: bool,
    fault: Option<SourceError>,
}

impl LatestFrame {
    /// Returns the frame that `frame` replaced, if nobody had taken it. A closed slot takes none.
    pub fn put(&self, frame: Frame) -> Option<Frame> {
        let mut slot = self.lock();
        if slot.closed {
            return None;
        }
        let replaced = slot.newest.replace(frame);
        self.filled.notify_all();
        replaced
    }

    /// Waits for a frame. `Ok(None)` once the slot is closed, even if a frame still lies in it; a
    /// fault is handed out once, then the slot is closed.
    pub fn take(&self) -> Result<Option<Frame>, SourceError> {
        let waiting = |slot: &mut Slot| slot.newest.is_none() && !slot.closed;
        let mut slot =
            self.filled.wait_while(self.lock(), waiting).unwrap_or_else(PoisonError::into_inner);
        match slot.fault.take() {
            Some(fault) => Err(fault),
            None if slot.closed => Ok(None),
            None => Ok(slot.newest.take()),
        }
    }

    /// Ends the stream for whoever waits now or later.
    pub fn close(&self) {
        let mut slot = self.lock();
        slot.closed = true;
        slot.newest = None;
        self.filled.notify_all();
    }

    /// Ends the stream with an error, unless it has ended already.
    pub fn close_with(&self, fault: SourceError) {
        let mut slot = self.lock();
        if !slot.closed {
            slot.fault = Some(fault);
        }
        slot.closed = true;
        slot.newest = None;
        self.filled.notify_all();
    }

    /// The slot is a plain value, valid after every statement, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use magpie_perception::{BgrImage, StampNs, StampSource};

    use super::*;

    fn frame(sequence: u64) -> Frame {
        Frame {
            sequence,
            stamp: StampNs(sequence),
            stamp_source: StampSource::Arrival,
            color: BgrImage::new(1, 1, vec![0; 3]).unwrap(),
            depth: None,
        }
    }

    fn sequence(taken: Result<Option<Frame>, SourceError>) -> Option<u64> {
        taken.unwrap().map(|frame| frame.sequence)
    }

    #[test]
    fn the_newest_frame_wins_and_the_gap_shows_what_it_replaced() {
        let latest = LatestFrame::default();
        assert!(latest.put(frame(0)).is_none());
        assert_eq!(sequence(latest.take()), Some(0));
        assert!(latest.put(frame(1)).is_none());
        assert_eq!(latest.put(frame(2)).map(|frame| frame.sequence), Some(1));
        assert_eq!(sequence(latest.take()), Some(2));
    }

    #[test]
    fn a_taker_waits_until_a_frame_comes() {
        let latest = Arc::new(LatestFrame::default());
        let taker = {
            let latest = Arc::clone(&latest);
            std::thread::Builder::new().spawn(move || sequence(latest.take())).unwrap()
        };
        std::thread::sleep(Duration::from_millis(20));
        assert!(!taker.is_finished());
        latest.put(frame(7));
        assert_eq!(taker.join().unwrap(), Some(7));
    }

    #[test]
    fn closing_wakes_the_taker_and_discards_what_lay_there() {
        let latest = Arc::new(LatestFrame::default());
        let taker = {
            let latest = Arc::clone(&latest);
            std::thread::Builder::new().spawn(move || sequence(latest.take())).unwrap()
        };
        latest.close();
        assert_eq!(taker.join().unwrap(), None);
        latest.put(frame(1));
        assert_eq!(sequence(latest.take()), None);
    }

    #[test]
    fn a_fault_is_handed_out_once() {
        let latest = LatestFrame::default();
        latest.put(frame(1));
        latest.close_with(SourceError { from: "camera x".into(), source: "burnt".into() });
        assert_eq!(latest.take().unwrap_err().from, "camera x");
        assert_eq!(sequence(latest.take()), None);
    }

    #[test]
    fn a_fault_after_the_end_is_no_fault() {
        let latest = LatestFrame::default();
        latest.close();
        latest.close_with(SourceError { from: "camera x".into(), source: "burnt".into() });
        assert_eq!(sequence(latest.take()), None);
    }
}

//! When recorded frames are handed out, and with which stamps.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use magpie_perception::{SharedClock, StampNs};

use crate::RecordingError;

/// How a recording is played.
#[derive(Clone, Default)]
pub struct Playback {
    /// The recording starts again at its end. Stamps and sequences go on rising.
    pub looped: bool,
    pub pace: Pace,
}

#[derive(Clone, Default)]
pub enum Pace {
    /// Every frame, as soon as it is asked for.
    #[default]
    AsAsked,
    /// The frames come at the recorded intervals from the first call on, as from a camera. Where
    /// several became due between two calls, only the newest is handed out, and
    /// `Frame::sequence` has a gap.
    AsRecorded {
        clock: SharedClock,
        /// Frames are stamped with the moment they became due, by `clock`, instead of with the
        /// recorded stamp.
        restamp: bool,
    },
}

/// Ends the stream of a [`FrameReader`](crate::FrameReader) from another thread.
#[derive(Clone, Default)]
pub struct StopHandle {
    shared: Arc<Stop>,
}

#[derive(Default)]
struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl StopHandle {
    /// Makes `next_frame` return `Ok(None)` from now on, even where it is waiting.
    pub fn stop(&self) {
        *self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.changed.notify_all();
    }

    /// Returns after `duration`, or sooner with `true` once stopped.
    pub(crate) fn wait(&self, duration: Duration) -> bool {
        let stopped = self.shared.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.changed.wait_timeout_while(stopped, duration, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Where a recorded frame stands in the whole run, over all rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Rises from round to round.
    pub(crate) sequence: u64,
    /// Time since the first frame of the first round.
    pub(crate) elapsed_ns: u64,
}

#[derive(Clone, Copy)]
struct FrameMark {
    sequence: u64,
    stamp: StampNs,
}

/// Puts the frames of all rounds on one time axis.
#[derive(Default)]
pub(crate) struct Timeline {
    first: Option<FrameMark>,
    /// The newest frame of this round.
    last: Option<FrameMark>,
    frames_in_round: u64,
    /// Where this round begins.
    round: Option<Position>,
}

/// The interval between two rounds of a recording of one frame, as of a camera with 30 frames a
/// second.
const LONE_FRAME_INTERVAL_NS: u64 = 33_333_333;

impl Timeline {
    /// Stamp of the first frame.
    pub(crate) fn first_stamp(&self) -> StampNs {
        self.first.map_or(StampNs(0), |first| first.stamp)
    }

    pub(crate) fn is_round_empty(&self) -> bool {
        self.frames_in_round == 0
    }

    /// The position of the next frame of this round.
    pub(crate) fn position(
        &mut self,
        sequence: u64,
        stamp: StampNs,
    ) -> Result<Position, RecordingError> {
        if let Some(last) = self.last.filter(|last| stamp < last.stamp) {
            let (stamp_ns, previous_ns) = (stamp.0, last.stamp.0);
            return Err(RecordingError::Backwards { sequence, stamp_ns, previous_ns });
        }
        let mark = FrameMark { sequence, stamp };
        let first = *self.first.get_or_insert(mark);
        let round = *self.round.get_or_insert(Position { sequence, elapsed_ns: 0 });
        self.last = Some(mark);
        self.frames_in_round += 1;
        Ok(Position {
            sequence: round.sequence + sequence.saturating_sub(first.sequence),
            elapsed_ns: round.elapsed_ns + stamp.since_ns(first.stamp),
        })
    }

    /// Begins the next round; rounds that would be over at `elapsed_ns` are left out.
    pub(crate) fn next_round(&mut self, elapsed_ns: u64) {
        let (Some(first), Some(last), Some(round)) = (self.first, self.last, &mut self.round)
        else {
            return;
        };
        let length_ns = last.stamp.since_ns(first.stamp);
        let interval_ns = match self.frames_in_round - 1 {
            0 => LONE_FRAME_INTERVAL_NS,
            intervals => (length_ns / intervals).max(1),
        };
        let period_ns = length_ns + interval_ns;
        let rounds = 1 + elapsed_ns.saturating_sub(round.elapsed_ns + period_ns) / period_ns;
        round.elapsed_ns += rounds * period_ns;
        round.sequence += rounds * (last.sequence.saturating_sub(first.sequence) + 1);
        (self.last, self.frames_in_round) = (None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(timeline: &mut Timeline, sequence: u64, stamp_ns: u64) -> (u64, u64) {
        let position = timeline.position(sequence, StampNs(stamp_ns)).unwrap();
        (position.sequence, position.elapsed_ns)
    }

    #[test]
    fn a_round_follows_the_last_at_the_mean_interval_and_sequences_go_on() {
        let mut timeline = Timeline::default();
        assert_eq!(position(&mut timeline, 7, 1000), (7, 0));
        assert_eq!(position(&mut timeline, 9, 1200), (9, 200));
        timeline.next_round(200);
        assert!(timeline.is_round_empty());
        assert_eq!(position(&mut timeline, 7, 1000), (10, 400));
        assert_eq!(position(&mut timeline, 9, 1200), (12, 600));
    }

    #[test]
    fn rounds_slept_through_are_left_out_but_counted() {
        let mut timeline = Timeline::default();
        position(&mut timeline, 0, 0);
        position(&mut timeline, 1, 100);
        // Period 200: at 1350, the round that began at 1200 runs.
        timeline.next_round(1350);
        assert_eq!(position(&mut timeline, 0, 0), (12, 1200));
    }

    #[test]
    fn a_stamp_before_the_one_ahead_of_it_is_refused() {
        let mut timeline = Timeline::default();
        position(&mut timeline, 3, 500);
        let error = timeline.position(4, StampNs(499)).unwrap_err().to_string();
        assert!(error.contains("frame 4 is stamped 499 ns"), "{error}");
        assert!(error.contains("mcap sort"), "{error}");
    }
}

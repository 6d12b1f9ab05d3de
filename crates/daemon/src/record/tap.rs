//! The loop's side of a recording.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};

use magpie_perception::{Frame, FrameReport, PublishError, Publisher, SharedClock};
use magpie_transport::StatusHandle;
use magpie_wire as wire;

use super::queue::{End, FrameItem, Item, ModelOrigin, QUEUE_FRAMES_MAX, Shared};

/// Takes frames from the loop for the recording's thread.
pub struct Tap {
    sender: SyncSender<Item>,
    shared: Arc<Shared>,
    clock: SharedClock,
    /// Frames left out since the last one that was taken.
    pub(super) missed: u64,
    /// Goes with the next frame that is taken.
    model: Option<Box<ModelOrigin>>,
}

impl Tap {
    pub(super) fn new(sender: SyncSender<Item>, shared: Arc<Shared>, clock: SharedClock) -> Tap {
        Tap { sender, shared, clock, missed: 0, model: None }
    }

    /// The frames from now on are another model's.
    pub(super) fn use_model(&mut self, model: ModelOrigin) {
        self.model = Some(Box::new(model));
    }

    /// Returns at once: copies the frame, or counts it.
    pub(super) fn offer(&mut self, frame: &Frame, report: &FrameReport, state: wire::State) {
        match self.shared.end() {
            None => {}
            Some(End::Full) => return,
            Some(End::Failed(_)) => {
                self.missed += 1;
                return self.shared.note_lost(1);
            }
        }
        // Copying megabytes for nothing would cost the most when there is the least to spare.
        if self.shared.queued.load(Ordering::Relaxed) >= QUEUE_FRAMES_MAX {
            self.missed += 1;
            return self.shared.note_missed(self.clock.now());
        }
        let item = FrameItem {
            frame: frame.clone(),
            report: report.clone(),
            handed_over: self.clock.now(),
            unix_ahead_ns: self.clock.unix_ahead_ns(),
            state,
            missed_before: self.missed,
            model: self.model.clone(),
        };
        match self.shared.send(&self.sender, Item::Frame(Box::new(item))) {
            Ok(()) => {
                self.missed = 0;
                self.model = None;
            }
            Err(TrySendError::Full(_)) => {
                self.missed += 1;
                self.shared.note_missed(self.clock.now());
            }
            // The recording has ended in the meantime, and has said why.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

/// Publishes first, and then offers the frame to the recording.
pub struct RecordingPublisher<P> {
    pub publisher: P,
    pub status: StatusHandle,
    pub tap: Option<Tap>,
}

impl<P> RecordingPublisher<P> {
    /// The frames from now on are another model's.
    pub fn use_model(&mut self, model: ModelOrigin) {
        if let Some(tap) = &mut self.tap {
            tap.use_model(model);
        }
    }
}

impl<P: Publisher> Publisher for RecordingPublisher<P> {
    fn publish(&mut self, frame: &Frame, report: &FrameReport) -> Result<(), PublishError> {
        self.publisher.publish(frame, report)?;
        if let Some(tap) = &mut self.tap {
            tap.offer(frame, report, self.status.current().state);
        }
        Ok(())
    }
}

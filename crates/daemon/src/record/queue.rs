//! How the loop and the supervision hand things to the thread that writes a recording.
//!
//! ```text
//! pipeline -> RecordingPublisher -> queue of QUEUE_FRAMES_MAX -> thread magpie-record -> file
//! supervise -- status, outcomes ------^
//! ```
//!
//! Handing over never waits. A frame that finds the queue full is left out and counted, and the
//! next frame that gets through carries the count, so that the writer notes the gap.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use magpie_perception::{Clock, Frame, FrameReport, StampNs};
use magpie_recording::{RecordingError, RecordingInfo};
use magpie_transport::ReportedOutcome;
use magpie_wire::{self as wire, Identities, Reason};

use crate::failure::one_line;

/// Frames that may wait for the disk: half a second at 15 frames a second, and some 40 MB at
/// 1280x720 px with depth.
pub const QUEUE_FRAMES_MAX: usize = 8;
/// How long status names a gap, or a recording that could not be kept, as a reason.
pub(super) const REASON_SHOWN_NS: u64 = 10_000_000_000;

/// The origin of the results in a recording.
pub struct Origin {
    pub cell: String,
    pub instance_id: String,
    pub identities: Identities,
    pub info: RecordingInfo,
    /// The configuration as the operator wrote it.
    pub config: String,
}

/// The part of an [`Origin`] that changes with the model.
#[derive(Clone)]
pub struct ModelOrigin {
    pub identities: Identities,
    pub info: RecordingInfo,
}

/// An item of the queue.
pub(super) enum Item {
    Frame(Box<FrameItem>),
    Status { status: Box<wire::Status>, sent: StampNs, unix_ahead_ns: i64 },
    Outcome { reported: Box<ReportedOutcome>, unix_ahead_ns: i64 },
}

pub(super) struct FrameItem {
    pub(super) frame: Frame,
    pub(super) report: FrameReport,
    pub(super) handed_over: StampNs,
    /// How far Unix time, which is written down, was ahead of the stamps here.
    pub(super) unix_ahead_ns: i64,
    pub(super) state: wire::State,
    /// Frames that found the queue full since the last one that did not.
    pub(super) missed_before: u64,
    /// The model, if it is another one than that of the frame before.
    pub(super) model: Option<Box<ModelOrigin>>,
}

/// Whether status still names what was noted at this stamp.
pub(super) fn is_recent(stamp_ns: &AtomicU64, now: StampNs) -> bool {
    let stamp = StampNs(stamp_ns.load(Ordering::Relaxed));
    stamp != StampNs(0) && now.since_ns(stamp) < REASON_SHOWN_NS
}

/// State that the writer's thread shares with the others.
#[derive(Default)]
pub(super) struct Shared {
    /// Items in the queue, or about to be.
    pub(super) queued: AtomicUsize,
    pub(super) frames: AtomicU64,
    pub(super) frames_missed: AtomicU64,
    /// Those missed frames whose gap the recording does not have yet.
    pub(super) frames_unnoted: AtomicU64,
    /// Reports of picks that are in no file.
    pub(super) outcomes_lost: AtomicU64,
    /// When a frame was last left out.
    pub(super) missed_stamp_ns: AtomicU64,
    pub(super) keep_wanted: AtomicBool,
    /// When there was last no room for what was to be kept.
    pub(super) unkept_stamp_ns: AtomicU64,
    pub(super) end: Mutex<Option<End>>,
}

#[derive(Clone, Debug)]
pub(super) enum End {
    /// The file has what was asked for.
    Full,
    /// A ring goes on when it can.
    Failed(String),
}

impl Shared {
    pub(super) fn end(&self) -> Option<End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the recording with this error, and logs it once. `ends_run`: the run is for the sake of
    /// this recording and ends with it; another goes on with it by itself.
    pub(super) fn fail(&self, error: RecordingError, clock: &dyn Clock, ends_run: bool) {
        let why = one_line(&error.into());
        if ends_run {
            // A run that ends with its recording will log why.
            return self.set_end(End::Failed(why));
        }
        let at = UNIX_EPOCH + Duration::from_nanos(clock.now().unix_ns(clock.unix_ahead_ns()));
        let at = humantime::format_rfc3339_seconds(at);
        let why = format!("{why}; since {at}, and goes on by itself as soon as it can");
        tracing::error!("{}", Reason::RecordingStopped { why: why.clone() });
        self.set_end(End::Failed(why));
    }

    /// The recording goes on.
    pub(super) fn resume(&self) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Counts frames that are in no file, and of which no file says so yet.
    pub(super) fn note_lost(&self, frames: u64) {
        self.frames_missed.fetch_add(frames, Ordering::Relaxed);
        self.frames_unnoted.fetch_add(frames, Ordering::Relaxed);
    }

    pub(super) fn set_end(&self, end: End) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    /// Why nothing can be kept at the moment.
    pub(super) fn unable_to_keep(&self, now: StampNs) -> Option<Reason> {
        if let Some(End::Failed(why)) = self.end() {
            return Some(Reason::RecordingStopped { why });
        }
        is_recent(&self.unkept_stamp_ns, now).then_some(Reason::RecordingKeptFull)
    }

    /// Counts first, so that the count never falls short.
    pub(super) fn send(
        &self,
        sender: &SyncSender<Item>,
        item: Item,
    ) -> Result<(), TrySendError<Item>> {
        self.queued.fetch_add(1, Ordering::Relaxed);
        let sent = sender.try_send(item);
        if sent.is_err() {
            self.queued.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }

    pub(super) fn note_missed(&self, now: StampNs) {
        self.note_lost(1);
        self.missed_stamp_ns.store(now.0, Ordering::Relaxed);
    }
}

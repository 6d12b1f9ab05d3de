//! What happened to frames so far, and how long each stage of one frame took.

use std::sync::atomic::{AtomicU64, Ordering};

/// How long each stage of one frame took, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StageLatencies {
    /// From the stamp to the moment the pipeline took the frame.
    pub wait_ns: u64,
    pub preprocess_ns: u64,
    pub inference_ns: u64,
    pub decode_ns: u64,
    pub plan_ns: u64,
    /// From the stamp to the hand-over to the publisher.
    pub total_ns: u64,
}

/// What happened to frames so far. Written by the loop, read by status.
#[derive(Debug, Default)]
pub struct Counters {
    pub frames: AtomicU64,
    /// Dropped: older than the limit when their turn came.
    pub frames_stale: AtomicU64,
    /// Dropped: a newer frame replaced them while the pipeline was busy.
    pub frames_superseded: AtomicU64,
    /// Dropped: could not be decoded, or changed size in mid-stream.
    pub frames_corrupt: AtomicU64,
    pub results_published: AtomicU64,
    /// Published, but later after the exposure than [`Limits::deadline_ns`](crate::Limits).
    pub deadline_misses: AtomicU64,
    /// Too old to act on when it was to be published; the network gets it without its packages.
    pub results_expired: AtomicU64,
}

/// [`Counters`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CountersSnapshot {
    pub frames: u64,
    pub frames_stale: u64,
    pub frames_superseded: u64,
    pub frames_corrupt: u64,
    pub results_published: u64,
    pub deadline_misses: u64,
    pub results_expired: u64,
}

impl Counters {
    pub fn snapshot(&self) -> CountersSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CountersSnapshot {
            frames: read(&self.frames),
            frames_stale: read(&self.frames_stale),
            frames_superseded: read(&self.frames_superseded),
            frames_corrupt: read(&self.frames_corrupt),
            results_published: read(&self.results_published),
            deadline_misses: read(&self.deadline_misses),
            results_expired: read(&self.results_expired),
        }
    }
}

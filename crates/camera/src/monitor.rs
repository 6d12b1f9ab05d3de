//! The state of one source, as status shows it, shared by everyone who works on it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use magpie_perception::{Counters, SharedClock, StampNs};

use crate::live::attempt::{Attempt, End};
use crate::pace::{Pace, SlowCamera};

/// What a source is doing.
#[derive(Clone, Debug, PartialEq)]
pub enum CameraState {
    /// No frame has come yet.
    Opening,
    Streaming {
        /// The mean over the last ten frames or so; 0 until the second frame.
        fps: f64,
        width_px: u32,
        height_px: u32,
    },
    /// The camera gives no frames; it is being reopened.
    Lost {
        /// When the newest frame came, or when the first opening began.
        since: StampNs,
        reason: String,
        reopen_attempts: u32,
    },
    /// There will be no more frames: stopped, end of file, or a fault.
    Ended { reason: String },
}

/// Watches and stops a source from any thread.
#[derive(Clone)]
pub struct CameraHandle {
    monitor: Arc<Monitor>,
}

impl CameraHandle {
    pub(crate) fn new(monitor: Arc<Monitor>) -> CameraHandle {
        CameraHandle { monitor }
    }

    pub fn state(&self) -> CameraState {
        self.monitor.lock().camera.clone()
    }

    /// Returns a count that grows with every frame and every round of reopening, for a watchdog.
    pub fn progress(&self) -> u64 {
        self.monitor.progress.load(Ordering::Relaxed)
    }

    /// Says why the newest corrupt frame was dropped.
    pub fn last_corrupt(&self) -> Option<String> {
        self.monitor.lock().last_corrupt.clone()
    }

    /// Names the pixels that a live camera delivers, such as `NV12`, before they are converted;
    /// known with the first frame.
    pub fn pixel_format(&self) -> Option<String> {
        self.monitor.lock().pixel_format.clone()
    }

    /// Says so while a live camera gives fewer frames than it announces.
    pub fn slow(&self) -> Option<SlowCamera> {
        self.monitor.lock().pace.slow
    }

    /// Waits until the source has shown its first frame, was lost or has ended, at most `time_max`.
    pub fn wait_while_opening(&self, time_max: Duration) -> CameraState {
        let opening = |state: &mut State| state.camera == CameraState::Opening;
        let waited =
            self.monitor.changed.wait_timeout_while(self.monitor.lock(), time_max, opening);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.camera.clone()
    }

    /// Ends the stream: `next_frame` returns `Ok(None)` at once, also while the camera is lost.
    pub fn stop(&self) {
        self.monitor.stop();
    }
}

/// Shared by the source, its threads and its handles.
pub(crate) struct Monitor {
    pub(crate) clock: SharedClock,
    pub(crate) counters: Arc<Counters>,
    pub(crate) changed: Condvar,
    progress: AtomicU64,
    state: Mutex<State>,
}

/// What the lock guards.
pub(crate) struct State {
    pub(crate) camera: CameraState,
    pub(crate) stopped: bool,
    pub(crate) last_corrupt: Option<String>,
    /// What the backend calls the pixels that it delivers.
    pub(crate) pixel_format: Option<String>,
    pub(crate) frame_rate: FrameRate,
    pub(crate) pace: Pace,
    /// The number of the next frame.
    pub(crate) sequence: u64,
    /// Width and height of the first frame: every other frame must have them.
    pub(crate) size_px: Option<(u32, u32)>,
    pub(crate) attempt: Attempt,
    /// How many capture threads have not returned, abandoned ones included.
    pub(crate) capture_threads: usize,
}

impl Monitor {
    pub(crate) fn new(clock: SharedClock, counters: Arc<Counters>) -> Monitor {
        let state = State {
            camera: CameraState::Opening,
            stopped: false,
            last_corrupt: None,
            pixel_format: None,
            frame_rate: FrameRate::default(),
            pace: Pace::default(),
            sequence: 0,
            size_px: None,
            attempt: Attempt::default(),
            capture_threads: 0,
        };
        Monitor {
            clock,
            counters,
            changed: Condvar::new(),
            progress: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    /// Every change below is a single assignment, so the value behind a poisoned lock is usable.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add_progress(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        state.end("stopped");
        self.changed.notify_all();
    }

    /// Whether attempt `number` has not been abandoned.
    pub(crate) fn is_current(&self, number: u64) -> bool {
        let state = self.lock();
        state.attempt.number == number && !state.stopped
    }

    /// Says how attempt `number` ended, unless it was abandoned before.
    pub(crate) fn end_attempt(&self, number: u64, end: End) {
        let mut state = self.lock();
        if state.attempt.number == number {
            state.attempt.end.get_or_insert(end);
            self.changed.notify_all();
        }
    }

    /// Sleeps for `time`, or until stopped; returns whether stopped.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), time, |state| !state.stopped);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.stopped
    }

    /// Drops a frame that cannot be used.
    pub(crate) fn count_corrupt(&self, state: &mut State, reason: String) {
        self.counters.frames_corrupt.fetch_add(1, Ordering::Relaxed);
        state.last_corrupt = Some(reason);
    }

    /// Counts a good frame and returns its sequence number.
    pub(crate) fn count_frame(&self, state: &mut State, stamp: StampNs) -> u64 {
        let (width_px, height_px) = state.size_px.expect("set by the first good frame");
        let fps = state.frame_rate.add(stamp);
        if !state.stopped {
            state.camera = CameraState::Streaming { fps, width_px, height_px };
        }
        if state.sequence == 0 {
            self.changed.notify_all();
        }
        self.add_progress();
        state.sequence += 1;
        state.sequence - 1
    }
}

impl State {
    /// Ends the source, unless it has ended already.
    pub(crate) fn end(&mut self, reason: &str) {
        if !matches!(self.camera, CameraState::Ended { .. }) {
            self.camera = CameraState::Ended { reason: reason.to_owned() };
        }
    }
}

/// An exponential mean of the time between frames.
#[derive(Debug, Default)]
pub(crate) struct FrameRate {
    newest: Option<StampNs>,
    interval_ns: Option<f64>,
}

impl FrameRate {
    /// Returns the frames a second, 0 for the first frame.
    fn add(&mut self, stamp: StampNs) -> f64 {
        if let Some(newest) = self.newest.replace(stamp) {
            let interval_ns = stamp.since_ns(newest) as f64;
            let mean_ns = self.interval_ns.unwrap_or(interval_ns);
            self.interval_ns = Some(mean_ns + 0.1 * (interval_ns - mean_ns));
        }
        self.interval_ns.map_or(0.0, |mean_ns| if mean_ns > 0.0 { 1e9 / mean_ns } else { 0.0 })
    }
}

impl fmt::Debug for CameraHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CameraHandle").field("state", &self.state()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_rate_follows_the_stamps() {
        let mut rate = FrameRate::default();
        assert_eq!(rate.add(StampNs(5)), 0.0);
        assert_eq!(rate.add(StampNs(5 + 40_000_000)), 25.0);
        let slower = (2..60).map(|i| rate.add(StampNs(5 + 40_000_000 + i * 100_000_000))).last();
        assert!((slower.unwrap() - 10.0).abs() < 0.1, "{slower:?}");
    }
}

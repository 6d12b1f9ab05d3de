//! The thread that opens, judges and reopens a live camera.
//!
//! Each opening is an attempt with its own number and its own `capture` thread. An attempt that
//! is lost is abandoned: whatever its thread still delivers carries an old number and is ignored.
//! At most [`CAPTURE_THREADS_MAX`] such threads exist; when all of them hang, nothing is opened
//! until one returns, and after `hang_time_max` the source faults, since only a new process can
//! help then.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use magpie_perception::SourceError;

use super::attempt::{Attempt, End};
use super::capture::Capture;
use super::device::Open;
use super::limits::LiveLimits;
use crate::errors::LiveFault;
use crate::images::StreamImage;
use crate::monitor::{CameraState, FrameRate, Monitor, State};
use crate::pace::Pace;

/// Hangs of up to half a minute are known, and attempts begin 5 to 15 s apart.
pub(crate) const CAPTURE_THREADS_MAX: usize = 4;

/// The thread that opens, judges and reopens the camera.
pub(crate) struct Watch<I> {
    from: String,
    open: Arc<Open<I>>,
    limits: LiveLimits,
    monitor: Arc<Monitor>,
    capture: Arc<Capture<I>>,
}

impl<I: StreamImage> Watch<I> {
    pub(crate) fn new(
        from: String,
        open: Box<Open<I>>,
        limits: LiveLimits,
        capture: Capture<I>,
    ) -> Watch<I> {
        let monitor = Arc::clone(&capture.monitor);
        Watch { from, open: open.into(), limits, monitor, capture: Arc::new(capture) }
    }

    /// Returns when the stream was stopped, or has ended with a fault.
    pub(crate) fn run(self) {
        let mut back_off = self.limits.back_off_min;
        loop {
            let reason = match self.attempt() {
                End::Stopped => return,
                End::Fault(fault) => return self.fault(fault),
                End::Lost(reason) => reason,
            };
            let had_frames = self.lose(reason);
            if had_frames {
                back_off = self.limits.back_off_min;
            }
            if self.monitor.sleep(back_off) {
                return;
            }
            if !self.wait_for_permit() {
                return self.fault(LiveFault::Hung { threads: CAPTURE_THREADS_MAX });
            }
            back_off = (2 * back_off).min(self.limits.back_off_max);
            self.monitor.add_progress();
        }
    }

    /// Opens the camera and watches it until it is lost.
    fn attempt(&self) -> End {
        let mut state = self.monitor.lock();
        if state.stopped {
            return End::Stopped;
        }
        let number = state.attempt.number + 1;
        state.attempt = Attempt::new(number, self.monitor.clock.now());
        if let CameraState::Lost { reopen_attempts, .. } = &mut state.camera {
            *reopen_attempts += 1;
        }
        drop(state);
        match self.spawn_capture(number) {
            Ok(()) => self.wait_for_end(),
            Err(error) => End::Lost(format!("a capture thread could not be started: {error}")),
        }
    }

    fn spawn_capture(&self, number: u64) -> std::io::Result<()> {
        let permit = CapturePermit::take(Arc::clone(&self.monitor));
        let (capture, open) = (Arc::clone(&self.capture), Arc::clone(&self.open));
        let builder = std::thread::Builder::new().name("capture".to_owned());
        builder.spawn(move || {
            let end = capture.run(number, &*open);
            permit.monitor.end_attempt(number, end);
        })?;
        Ok(())
    }

    /// Sleeps until the newest frame is too old, the thread gave up, or somebody says stop.
    fn wait_for_end(&self) -> End {
        let mut state = self.monitor.lock();
        loop {
            if state.stopped {
                return End::Stopped;
            }
            if let Some(end) = state.attempt.end.take() {
                return end;
            }
            let (since, age_max) = match state.attempt.newest {
                Some(stamp) => (stamp, self.limits.frame_age_max),
                None => (state.attempt.began, self.limits.open_time_max),
            };
            let age = Duration::from_nanos(self.monitor.clock.now().since_ns(since));
            if age >= age_max {
                return End::Lost(explain_silence(&state.attempt, age_max));
            }
            let waited = self.monitor.changed.wait_timeout(state, age_max - age);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Abandons the attempt and says so in the state. Returns whether the attempt had given frames.
    fn lose(&self, reason: String) -> bool {
        let mut state = self.monitor.lock();
        // No thread has the next number, so nothing more is accepted.
        state.attempt.number += 1;
        state.frame_rate = FrameRate::default();
        state.pace = Pace::default();
        let newest = state.attempt.newest;
        let (since, reopen_attempts) = match state.camera {
            CameraState::Lost { since, reopen_attempts, .. } => (since, reopen_attempts),
            _ => (newest.unwrap_or(state.attempt.began), 0),
        };
        if !state.stopped {
            state.camera = CameraState::Lost { since, reason, reopen_attempts };
        }
        self.monitor.changed.notify_all();
        newest.is_some()
    }

    /// Waits until another capture thread may start; `false` when all of them went on hanging.
    fn wait_for_permit(&self) -> bool {
        let time_max = self.limits.hang_time_max;
        let full =
            |state: &mut State| state.capture_threads >= CAPTURE_THREADS_MAX && !state.stopped;
        let waited = self.monitor.changed.wait_timeout_while(self.monitor.lock(), time_max, full);
        let (_state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }

    fn fault(&self, fault: LiveFault) {
        let mut state = self.monitor.lock();
        state.attempt.number += 1;
        state.end(&fault.to_string());
        drop(state);
        self.monitor.changed.notify_all();
        let from = self.from.clone();
        self.capture.latest.close_with(SourceError { from, source: fault.into() });
    }
}

impl<I> Drop for Watch<I> {
    /// Whoever waits for a frame is woken, however the watch ended.
    fn drop(&mut self) {
        self.capture.latest.close();
    }
}

fn explain_silence(attempt: &Attempt, age_max: Duration) -> String {
    let kind = if attempt.newest.is_some() { "no frame" } else { "no first frame" };
    match &attempt.last_corrupt {
        Some(corrupt) => format!("{kind} for {age_max:?}; the last corrupt one: {corrupt}"),
        None => format!("{kind} for {age_max:?}"),
    }
}

/// One of the capture threads that may exist, given back when the thread ends, however it ends.
struct CapturePermit {
    monitor: Arc<Monitor>,
}

impl CapturePermit {
    fn take(monitor: Arc<Monitor>) -> CapturePermit {
        monitor.lock().capture_threads += 1;
        CapturePermit { monitor }
    }
}

impl Drop for CapturePermit {
    fn drop(&mut self) {
        self.monitor.lock().capture_threads -= 1;
        self.monitor.changed.notify_all();
    }
}

//! A live camera: read on a thread that may hang, judged by the age of its newest frame.
//!
//! Each opening is an attempt with its own number and its own `capture` thread. An attempt that
//! is lost is abandoned: whatever its thread still delivers carries an old number and is ignored.
//! At most [`CAPTURE_THREADS_MAX`] such threads exist; when all of them hang, nothing is opened
//! until one returns, and after `hang_time_max` the source faults, since only a new process can
//! help then.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use magpie_perception::{Frame, FrameSource, SourceError};

use crate::capture::{Attempt, End, capture};
use crate::device::Open;
use crate::monitor::{CameraState, FrameRate, Inner, Monitor};
use crate::{LiveLimits, OpenError};

/// Hangs of up to half a minute are known, and attempts begin 5 to 15 s apart.
pub(crate) const CAPTURE_THREADS_MAX: usize = 4;

/// A device that is closed in order is free for the next program at once.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(500);

/// Why a live camera ended without being asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiveFault {
    #[error(
        "it delivers {new_width_px}x{new_height_px} px instead of {width_px}x{height_px} px, so \
         the calibration no longer fits; restore its resolution, or calibrate anew, and restart"
    )]
    Resized { width_px: u32, height_px: u32, new_width_px: u32, new_height_px: u32 },
    #[error("{0}; correct the configuration")]
    Misconfigured(String),
    #[error("{CAPTURE_THREADS_MAX} attempts to read it hang in its driver; restart the program")]
    Hung,
}

pub(crate) struct LiveSource {
    monitor: Arc<Monitor>,
}

impl LiveSource {
    pub(crate) fn start(
        from: String,
        open: Box<Open>,
        limits: LiveLimits,
        monitor: Arc<Monitor>,
    ) -> Result<LiveSource, OpenError> {
        let name = "capture-watch";
        let watch = Watch { from, open: open.into(), limits, monitor: Arc::clone(&monitor) };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || watch.run())
            .map_err(|source| OpenError::Thread { name, source })?;
        Ok(LiveSource { monitor })
    }
}

impl FrameSource for LiveSource {
    fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        self.monitor.latest.take()
    }
}

impl Drop for LiveSource {
    fn drop(&mut self) {
        self.monitor.stop();
        let open = |inner: &mut Inner| inner.capture_threads > 0;
        let lock = self.monitor.lock();
        // Whether it closed in time changes nothing: a thread that hangs is left behind.
        drop(self.monitor.changed.wait_timeout_while(lock, CLOSE_TIME_MAX, open));
    }
}

/// The thread that opens, judges and reopens the camera.
struct Watch {
    from: String,
    open: Arc<Open>,
    limits: LiveLimits,
    monitor: Arc<Monitor>,
}

impl Watch {
    fn run(self) {
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
            if !self.wait_for_place() {
                return self.fault(LiveFault::Hung);
            }
            back_off = (2 * back_off).min(self.limits.back_off_max);
            self.monitor.add_progress();
        }
    }

    /// Opens the camera and watches it until it is lost.
    fn attempt(&self) -> End {
        let mut inner = self.monitor.lock();
        if inner.stopped {
            return End::Stopped;
        }
        let number = inner.attempt.number + 1;
        inner.attempt = Attempt::new(number, self.monitor.clock.now());
        if let CameraState::Lost { reopen_attempts, .. } = &mut inner.state {
            *reopen_attempts += 1;
        }
        drop(inner);
        match self.spawn_capture(number) {
            Ok(()) => self.wait_for_end(),
            Err(error) => End::Lost(format!("start a capture thread: {error}")),
        }
    }

    fn spawn_capture(&self, number: u64) -> std::io::Result<()> {
        let place = CapturePlace::take(Arc::clone(&self.monitor));
        let open = Arc::clone(&self.open);
        let builder = std::thread::Builder::new().name("capture".to_owned());
        builder.spawn(move || {
            let end = capture(&place.monitor, number, &*open);
            place.monitor.end_attempt(number, end);
        })?;
        Ok(())
    }

    /// Sleeps until the newest frame is too old, the thread gave up, or somebody says stop.
    fn wait_for_end(&self) -> End {
        let mut inner = self.monitor.lock();
        loop {
            if inner.stopped {
                return End::Stopped;
            }
            if let Some(end) = inner.attempt.end.take() {
                return end;
            }
            let (since, age_max) = match inner.attempt.newest {
                Some(stamp) => (stamp, self.limits.frame_age_max),
                None => (inner.attempt.began, self.limits.open_time_max),
            };
            let age = Duration::from_nanos(self.monitor.clock.now().since_ns(since));
            if age >= age_max {
                return End::Lost(explain_silence(&inner.attempt, age_max));
            }
            let waited = self.monitor.changed.wait_timeout(inner, age_max - age);
            (inner, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Abandons the attempt and tells status. Returns whether the attempt had given frames.
    fn lose(&self, reason: String) -> bool {
        let mut inner = self.monitor.lock();
        // No thread has the next number, so nothing more is accepted.
        inner.attempt.number += 1;
        inner.frame_rate = FrameRate::default();
        let newest = inner.attempt.newest;
        let (since, reopen_attempts) = match inner.state {
            CameraState::Lost { since, reopen_attempts, .. } => (since, reopen_attempts),
            _ => (newest.unwrap_or(inner.attempt.began), 0),
        };
        if !inner.stopped {
            inner.state = CameraState::Lost { since, reason, reopen_attempts };
        }
        self.monitor.changed.notify_all();
        newest.is_some()
    }

    /// Waits for a place among the capture threads; `false` when none became free.
    fn wait_for_place(&self) -> bool {
        let time_max = self.limits.hang_time_max;
        let full =
            |inner: &mut Inner| inner.capture_threads >= CAPTURE_THREADS_MAX && !inner.stopped;
        let waited = self.monitor.changed.wait_timeout_while(self.monitor.lock(), time_max, full);
        let (_inner, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }

    fn fault(&self, fault: LiveFault) {
        let mut inner = self.monitor.lock();
        inner.attempt.number += 1;
        inner.end(&fault.to_string());
        drop(inner);
        self.monitor.changed.notify_all();
        let from = self.from.clone();
        self.monitor.latest.close_with(SourceError { from, source: fault.into() });
    }
}

fn explain_silence(attempt: &Attempt, age_max: Duration) -> String {
    let kind = if attempt.newest.is_some() { "no frame" } else { "no first frame" };
    match &attempt.last_corrupt {
        Some(corrupt) => format!("{kind} for {age_max:?}; the last corrupt one: {corrupt}"),
        None => format!("{kind} for {age_max:?}"),
    }
}

/// A place among the capture threads, given back when the thread ends, however it ends.
struct CapturePlace {
    monitor: Arc<Monitor>,
}

impl CapturePlace {
    fn take(monitor: Arc<Monitor>) -> CapturePlace {
        monitor.lock().capture_threads += 1;
        CapturePlace { monitor }
    }
}

impl Drop for CapturePlace {
    fn drop(&mut self) {
        self.monitor.lock().capture_threads -= 1;
        self.monitor.changed.notify_all();
    }
}

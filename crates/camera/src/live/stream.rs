//! What a live camera delivers, for whoever takes it.

use std::sync::Arc;
use std::time::Duration;

use magpie_perception::{Frame, FrameSource, SourceError};

use super::capture::{Capture, Captured};
use super::device::Open;
use super::latest_frame::LatestFrame;
use super::limits::LiveLimits;
use super::watch::Watch;
use crate::errors::OpenError;
use crate::images::{Images, StreamImage};
use crate::monitor::{Monitor, State};

/// A device that is closed in order is free for the next program at once.
const CLOSE_TIME_MAX: Duration = Duration::from_millis(500);

/// The newest image of a camera, again and again. Dropping it closes the camera.
pub(crate) struct LiveStream<I> {
    monitor: Arc<Monitor>,
    latest: Arc<LatestFrame<Captured<I>>>,
}

impl<I: StreamImage> LiveStream<I> {
    /// Starts the thread that opens, judges and reopens the camera. `from` names the camera in
    /// errors.
    pub(crate) fn start(
        from: String,
        open: Box<Open<I>>,
        limits: LiveLimits,
        monitor: Arc<Monitor>,
    ) -> Result<LiveStream<I>, OpenError> {
        let name = "capture-watch";
        let latest = Arc::new(LatestFrame::default());
        let capture = Capture {
            monitor: Arc::clone(&monitor),
            latest: Arc::clone(&latest),
            frame_age_max: limits.frame_age_max,
        };
        let watch = Watch::new(from, open, limits, capture);
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || watch.run())
            .map_err(|source| OpenError::Thread { name, source })?;
        Ok(LiveStream { monitor, latest })
    }

    /// Waits for the next image. `Ok(None)` ends the stream.
    pub(crate) fn next(&mut self) -> Result<Option<Captured<I>>, SourceError> {
        let taken = self.latest.take();
        // The watch closes the slot a moment after the stop.
        if self.monitor.lock().stopped { Ok(None) } else { taken }
    }
}

impl FrameSource for LiveStream<Images> {
    fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        let captured = self.next()?;
        Ok(captured.map(|captured| captured.image.into_frame(captured.sequence, captured.stamp)))
    }
}

impl<I> Drop for LiveStream<I> {
    fn drop(&mut self) {
        self.monitor.stop();
        let open = |state: &mut State| state.capture_threads > 0;
        let lock = self.monitor.lock();
        // Whether it closed in time changes nothing: a thread that hangs is left behind.
        drop(self.monitor.changed.wait_timeout_while(lock, CLOSE_TIME_MAX, open));
    }
}

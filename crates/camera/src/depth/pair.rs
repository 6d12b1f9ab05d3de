//! Each colour frame and the depth image that is nearest to it in time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use magpie_perception::{
    Counters, DepthImage, Frame, FrameSource, SharedClock, SourceError, StampNs,
};

use super::config::DepthConfig;
use super::register::Registration;
use crate::errors::OpenError;
use crate::live::device::Open;
use crate::live::stream::LiveStream;
use crate::monitor::{CameraHandle, CameraState, Monitor};

/// A depth camera that is faster than colour, or comes a little later, needs a few.
const IMAGES_MAX: usize = 4;
/// So many colour frames in a row without depth are no accident.
const UNPAIRED_MAX: u64 = 10;

/// A source whose frames have depth where there is any.
pub struct Paired {
    pub source: Box<dyn FrameSource + Send>,
    pub handle: DepthHandle,
}

/// Why colour frames come without depth.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DepthTrouble {
    #[error("depth lost: {reason}")]
    Lost { reason: String },
    #[error("depth ended: {reason}")]
    Ended { reason: String },
    /// The calibration of the depth camera is of another size.
    #[error(
        "depth is {depth_width_px}x{depth_height_px} px, another size than its camera_info has"
    )]
    Uncalibrated { depth_width_px: u32, depth_height_px: u32 },
    /// The images can only be laid on each other with a registration.
    #[error(
        "depth is {depth_width_px}x{depth_height_px} px, colour {width_px}x{height_px} px: set \
         depth.camera_info and depth.color_from_depth to register it"
    )]
    Unregistered { width_px: u32, height_px: u32, depth_width_px: u32, depth_height_px: u32 },
    #[error(
        "the last {frames} colour frames had no depth within {pairing_max:?}: see \
         depth.pairing_ms_max"
    )]
    Unpaired { frames: u64, pairing_max: Duration },
}

/// Watches the depth stream from any thread.
#[derive(Clone, Debug)]
pub struct DepthHandle {
    camera: CameraHandle,
    shared: Arc<Shared>,
    pairing_max: Duration,
}

/// What the depth thread and whoever takes frames share.
#[derive(Debug, Default)]
struct Shared {
    newest: Mutex<VecDeque<(StampNs, Arc<DepthImage>)>>,
    unpaired_in_a_row: AtomicU64,
    /// Why the last depth image could not be used.
    unusable: Mutex<Option<DepthTrouble>>,
}

impl DepthHandle {
    /// Says why frames come without depth, if they do.
    pub fn trouble(&self) -> Option<DepthTrouble> {
        match self.camera.state() {
            CameraState::Lost { reason, .. } => return Some(DepthTrouble::Lost { reason }),
            CameraState::Ended { reason } => return Some(DepthTrouble::Ended { reason }),
            CameraState::Opening | CameraState::Streaming { .. } => {}
        }
        let unusable = self.shared.unusable.lock().unwrap_or_else(PoisonError::into_inner);
        let frames = self.shared.unpaired_in_a_row.load(Ordering::Relaxed);
        let pairing_max = self.pairing_max;
        let unpaired = || DepthTrouble::Unpaired { frames, pairing_max };
        unusable.clone().or_else(|| (frames > UNPAIRED_MAX).then(unpaired))
    }

    pub fn stop(&self) {
        self.camera.stop();
    }
}

struct PairedSource {
    color: Box<dyn FrameSource + Send>,
    handle: DepthHandle,
}

/// Puts a depth stream beside a source of colour.
pub fn pair_depth(
    color: Box<dyn FrameSource + Send>,
    config: DepthConfig,
    clock: SharedClock,
) -> Result<Paired, OpenError> {
    let DepthConfig { source, limits, unit_m, registration, pairing_max } = config;
    source.check()?;
    let from = format!("depth {}", source.describe());
    // The loop's counters count colour frames alone.
    let monitor = Arc::new(Monitor::new(clock, Arc::new(Counters::default())));
    let camera = CameraHandle::new(Arc::clone(&monitor));
    let open: Box<Open<DepthImage>> = Box::new(move || source.open(&limits, unit_m));
    let stream = LiveStream::start(from, open, limits, monitor)?;
    let registration = registration.as_ref().map(Registration::new);

    let shared = Arc::new(Shared::default());
    let handle = DepthHandle { camera, shared: Arc::clone(&shared), pairing_max };
    let name = "depth";
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || gather(stream, &shared, registration.as_ref()))
        .map_err(|source| OpenError::Thread { name, source })?;
    let source = Box::new(PairedSource { color, handle: handle.clone() });
    Ok(Paired { source, handle })
}

/// Keeps the newest images in the colour camera's view, until the stream ends.
fn gather(
    mut stream: LiveStream<DepthImage>,
    shared: &Shared,
    registration: Option<&Registration>,
) {
    // An error that ends the stream stands in the camera's state.
    while let Ok(Some(captured)) = stream.next() {
        let raw = captured.image;
        let (depth_width_px, depth_height_px) = (raw.width_px(), raw.height_px());
        let depth = match registration {
            Some(registration) => registration.apply(&raw),
            None => Some(raw),
        };
        let uncalibrated = DepthTrouble::Uncalibrated { depth_width_px, depth_height_px };
        let unusable = depth.is_none().then_some(uncalibrated);
        *shared.unusable.lock().unwrap_or_else(PoisonError::into_inner) = unusable;
        let Some(depth) = depth else { continue };
        let mut newest = shared.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.len() == IMAGES_MAX {
            newest.pop_front();
        }
        newest.push_back((captured.stamp, Arc::new(depth)));
    }
}

impl PairedSource {
    /// Picks the depth image that is nearest in time; never waits for one.
    fn depth_of(&self, frame: &Frame) -> Option<DepthImage> {
        let shared = &self.handle.shared;
        let apart = |stamp: StampNs| stamp.since_ns(frame.stamp).max(frame.stamp.since_ns(stamp));
        let nearest = {
            let newest = shared.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest.iter().min_by_key(|(stamp, _)| apart(*stamp)).cloned()
        };
        let near = nearest
            .filter(|(stamp, _)| u128::from(apart(*stamp)) <= self.handle.pairing_max.as_nanos());
        let Some((_, depth)) = near else {
            shared.unpaired_in_a_row.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let (width_px, height_px) = (frame.color.width_px(), frame.color.height_px());
        if (depth.width_px(), depth.height_px()) != (width_px, height_px) {
            let (depth_width_px, depth_height_px) = (depth.width_px(), depth.height_px());
            *shared.unusable.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(DepthTrouble::Unregistered {
                    width_px,
                    height_px,
                    depth_width_px,
                    depth_height_px,
                });
            return None;
        }
        shared.unpaired_in_a_row.store(0, Ordering::Relaxed);
        Some(DepthImage::clone(&depth))
    }
}

impl FrameSource for PairedSource {
    fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        let Some(mut frame) = self.color.next_frame()? else { return Ok(None) };
        // A camera that delivers depth itself knows better.
        if frame.depth.is_none() {
            frame.depth = self.depth_of(&frame);
        }
        Ok(Some(frame))
    }
}

impl Drop for PairedSource {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

#[cfg(test)]
mod tests {
    use magpie_perception::{BgrImage, StampSource};

    use super::*;
    use crate::depth::config::DepthSource;
    use crate::live::gstreamer::GStreamerConfig;
    use crate::live::limits::LiveLimits;
    use crate::test_clock::MachineClock;

    /// A camera that delivers colour and depth together.
    struct WithDepth(SharedClock);

    impl FrameSource for WithDepth {
        fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
            std::thread::sleep(Duration::from_millis(20));
            Ok(Some(Frame {
                sequence: 0,
                stamp: self.0.now(),
                stamp_source: StampSource::Arrival,
                color: BgrImage::new(64, 48, vec![0; 3 * 64 * 48]).unwrap(),
                depth: Some(DepthImage::new(64, 48, vec![700; 64 * 48]).unwrap()),
            }))
        }
    }

    #[test]
    fn depth_that_a_camera_delivers_itself_is_not_replaced() {
        let pipeline = "videotestsrc is-live=true ! video/x-raw,format=GRAY16_LE,width=64,height=48 \
            ! appsink";
        let beside = DepthConfig {
            source: DepthSource::GStreamer(GStreamerConfig { pipeline: pipeline.into() }),
            limits: LiveLimits::default(),
            unit_m: 0.001,
            registration: None,
            pairing_max: Duration::from_secs(1),
        };
        let clock: SharedClock = Arc::new(MachineClock::new());
        let color = Box::new(WithDepth(Arc::clone(&clock)));
        let mut paired = pair_depth(color, beside, clock).unwrap();
        let shared = Arc::clone(&paired.handle.shared);
        let mut with_both = 0;
        for _ in 0..500 {
            let frame = paired.source.next_frame().unwrap().unwrap();
            assert_eq!(frame.depth.unwrap().data_mm()[0], 700);
            let beside = shared.newest.lock().unwrap().len();
            with_both += usize::from(beside > 0);
            if with_both > 3 {
                return;
            }
        }
        panic!("no depth came from the pipeline: {:?}", paired.handle.trouble());
    }
}

//! Each colour frame and the depth image that is nearest to it in time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use magpie_perception::{DepthImage, Frame, FrameSource, SourceError, StampNs};

use super::{Paired, Registration, units};
use crate::live::LiveSource;
use crate::{CameraHandle, CameraState, OpenError};

/// Enough for a depth camera that is faster than colour, or comes a little later.
const IMAGES_MAX: usize = 4;
/// So many colour frames in a row without depth are no accident.
const UNPAIRED_MAX: u64 = 10;

/// Watches the depth stream from any thread.
#[derive(Clone, Debug)]
pub struct DepthHandle {
    camera: CameraHandle,
    shared: Arc<Shared>,
    pairing_max: Duration,
}

/// Between the depth thread and whoever takes frames.
#[derive(Debug, Default)]
struct Shared {
    newest: Mutex<VecDeque<(StampNs, Arc<DepthImage>)>>,
    unpaired_in_a_row: AtomicU64,
    /// Why the last depth image could not be used.
    unusable: Mutex<Option<String>>,
}

impl DepthHandle {
    /// Why frames come without depth, if they do.
    pub fn trouble(&self) -> Option<String> {
        match self.camera.state() {
            CameraState::Lost { reason, .. } => return Some(format!("depth lost: {reason}")),
            CameraState::Ended { reason } => return Some(format!("depth ended: {reason}")),
            CameraState::Opening | CameraState::Streaming { .. } => {}
        }
        let unusable = self.shared.unusable.lock().unwrap_or_else(PoisonError::into_inner);
        let unpaired = self.shared.unpaired_in_a_row.load(Ordering::Relaxed);
        unusable.clone().or_else(|| {
            (unpaired > UNPAIRED_MAX).then(|| {
                format!(
                    "the last {unpaired} colour frames had no depth within {:?}: see \
                     depth.pairing_ms_max",
                    self.pairing_max
                )
            })
        })
    }

    pub fn stop(&self) {
        self.camera.stop();
    }
}

struct PairedSource {
    color: Box<dyn FrameSource + Send>,
    handle: DepthHandle,
}

pub(super) fn start(
    color: Box<dyn FrameSource + Send>,
    stream: LiveSource,
    camera: CameraHandle,
    registration: Option<Registration>,
    unit_m: f64,
    pairing_max: Duration,
) -> Result<Paired, OpenError> {
    let shared = Arc::new(Shared::default());
    let handle = DepthHandle { camera, shared: Arc::clone(&shared), pairing_max };
    let name = "depth";
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || gather(stream, &shared, registration.as_ref(), unit_m))
        .map_err(|source| OpenError::Thread { name, source })?;
    let source = Box::new(PairedSource { color, handle: handle.clone() });
    Ok(Paired { source, handle })
}

/// Ends with the stream.
fn gather(
    mut stream: LiveSource,
    shared: &Shared,
    registration: Option<&Registration>,
    unit_m: f64,
) {
    // What ended it stands in the camera's state.
    while let Ok(Some(frame)) = stream.next_frame() {
        let raw = units::unpack(&frame.color, unit_m);
        let (width_px, height_px) = (raw.width_px(), raw.height_px());
        let depth = match registration {
            Some(registration) => registration.apply(&raw),
            None => Some(raw),
        };
        let unusable = depth.is_none().then(|| {
            format!("depth is {width_px}x{height_px} px, another size than its camera_info has")
        });
        *shared.unusable.lock().unwrap_or_else(PoisonError::into_inner) = unusable;
        let Some(depth) = depth else { continue };
        let mut newest = shared.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.len() == IMAGES_MAX {
            newest.pop_front();
        }
        newest.push_back((frame.stamp, Arc::new(depth)));
    }
}

impl PairedSource {
    /// Never waits.
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
            let why = format!(
                "depth is {}x{} px, colour {width_px}x{height_px} px: set depth.camera_info and \
                 depth.color_from_depth to register it",
                depth.width_px(),
                depth.height_px()
            );
            *shared.unusable.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            return None;
        }
        shared.unpaired_in_a_row.store(0, Ordering::Relaxed);
        Some(DepthImage::clone(&depth))
    }
}

impl FrameSource for PairedSource {
    fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        let Some(mut frame) = self.color.next_frame()? else { return Ok(None) };
        frame.depth = self.depth_of(&frame);
        Ok(Some(frame))
    }
}

impl Drop for PairedSource {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

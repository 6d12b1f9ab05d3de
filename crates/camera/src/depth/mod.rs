//! A depth camera beside the colour camera.
//!
//! ```text
//!  colour: capture -> one-frame slot -----------------+
//!                                                     v
//!  depth:  capture -> one-frame slot -> depth -> last few images -> Paired -> pipeline
//!                                      (registers)     nearest stamp, if near enough
//! ```
//!
//! The depth stream is captured, judged and reopened like any live camera. Its own thread brings
//! each image into the colour camera's view, so that the loop only picks one. A colour frame never
//! waits for depth: without any that is near enough it goes on alone, and poses come from the
//! support plane.

mod pair;
mod register;
mod units;

use std::sync::Arc;
use std::time::Duration;

use magpie_perception::{CameraInfo, Counters, FrameSource};
use nalgebra::Isometry3;

use crate::device::{self, Pixels};
use crate::live::LiveSource;
use crate::monitor::Monitor;
use crate::{CameraHandle, LiveLimits, OpenError, SharedClock, SourceKind};

pub use pair::DepthHandle;
pub(crate) use register::Registration;
pub(crate) use units::pack;

/// A stream of 16-bit depth and how it belongs to colour.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthConfig {
    /// A V4L2 camera with format `Z16 `, or a pipeline whose caps are `GRAY16_LE`.
    pub source: SourceKind,
    pub limits: LiveLimits,
    /// Of one step of the 16-bit values; 0.001 is usual.
    pub unit_m: f64,
    /// `None`: it is aligned with colour already, pixel for pixel.
    pub registration: Option<DepthCamera>,
    /// Depth that is further away in time belongs to another moment.
    pub pairing_max: Duration,
}

/// Where the depth camera is and what its lens does.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthCamera {
    pub depth_info: CameraInfo,
    pub color_info: CameraInfo,
    pub color_from_depth: Isometry3<f64>,
}

/// A source whose frames have depth where there is any.
pub struct Paired {
    pub source: Box<dyn FrameSource + Send>,
    pub handle: DepthHandle,
}

/// Puts a depth stream beside a source of colour.
pub fn pair_depth(
    color: Box<dyn FrameSource + Send>,
    config: DepthConfig,
    clock: SharedClock,
) -> Result<Paired, OpenError> {
    config.source.check()?;
    if !matches!(config.source, SourceKind::V4l2(_) | SourceKind::GStreamer { .. }) {
        return Err(OpenError::DepthSource { source_name: config.source.describe() });
    }
    let from = format!("depth {}", config.source.describe());
    // Its frames are not the loop's.
    let counters = Arc::new(Counters::default());
    let monitor = Arc::new(Monitor::new(clock, counters, config.limits.frame_age_max));
    let camera = CameraHandle::new(Arc::clone(&monitor));
    let open = device::opener(config.source.clone(), config.limits, Pixels::Depth);
    let stream = LiveSource::start(from, open, config.limits, monitor)?;
    let registration = config.registration.as_ref().map(Registration::new);
    pair::start(color, stream, camera, registration, config.unit_m, config.pairing_max)
}

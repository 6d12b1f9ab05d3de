//! A depth stream, and how it belongs to colour.

use std::time::Duration;

use magpie_perception::{CameraInfo, DepthImage};
use nalgebra::Isometry3;

use crate::errors::OpenError;
use crate::live::device::{Device, DeviceError, LiveDevice};
use crate::live::gstreamer::GStreamerConfig;
use crate::live::limits::LiveLimits;
use crate::live::v4l2::V4l2Config;

/// A stream of 16-bit depth and how it belongs to colour.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthConfig {
    pub source: DepthSource,
    pub limits: LiveLimits,
    /// One step of the 16-bit values, in metres; 0.001 is usual.
    pub unit_m: f64,
    /// `None` if depth is aligned with colour already, pixel for pixel.
    pub registration: Option<DepthCamera>,
    /// Depth that is further away in time belongs to another moment.
    pub pairing_max: Duration,
}

/// The kinds of live camera that deliver 16-bit depth.
#[derive(Clone, Debug, PartialEq)]
pub enum DepthSource {
    /// A camera whose format is `Z16 `.
    V4l2(V4l2Config),
    /// A pipeline whose caps are `GRAY16_LE`.
    GStreamer(GStreamerConfig),
}

/// Where the depth camera is and what its lens does.
#[derive(Clone, Debug, PartialEq)]
pub struct DepthCamera {
    pub depth_info: CameraInfo,
    pub color_info: CameraInfo,
    pub color_from_depth: Isometry3<f64>,
}

impl DepthSource {
    /// Names the stream in messages.
    pub fn describe(&self) -> String {
        self.device().describe()
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        self.device().check()
    }

    pub(crate) fn open(
        &self,
        limits: &LiveLimits,
        unit_m: f64,
    ) -> Result<Box<dyn Device<DepthImage>>, DeviceError> {
        match self {
            DepthSource::V4l2(camera) => camera.open_depth(unit_m),
            DepthSource::GStreamer(pipeline) => pipeline.open_depth(limits, unit_m),
        }
    }

    fn device(&self) -> &dyn LiveDevice {
        match self {
            DepthSource::V4l2(camera) => camera,
            DepthSource::GStreamer(pipeline) => pipeline,
        }
    }
}

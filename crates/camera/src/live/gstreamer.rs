//! A GStreamer pipeline.

use magpie_perception::DepthImage;
use opencv::videoio::{self, VideoCapture};

use super::device::{Device, DeviceError, LiveDevice};
use super::limits::LiveLimits;
use super::opencv_device::{color_device, depth_device};
use super::redact::redact;
use crate::errors::OpenError;
use crate::images::Images;

/// Any GStreamer pipeline that ends in an `appsink`: GigE Vision through `aravissrc`, RTSP.
#[derive(Clone, Debug, PartialEq)]
pub struct GStreamerConfig {
    pub pipeline: String,
}

const ADVICE: &str = "is it on the network, does no other program hold it, \
    and does `gst-launch-1.0` run the pipeline?";

impl GStreamerConfig {
    /// Opens a pipeline whose caps are `GRAY16_LE`.
    pub(crate) fn open_depth(
        &self,
        unit_m: f64,
    ) -> Result<Box<dyn Device<DepthImage>>, DeviceError> {
        depth_device(self.capture()?, ADVICE, unit_m)
    }

    fn capture(&self) -> Result<VideoCapture, DeviceError> {
        Ok(VideoCapture::from_file(&self.pipeline, videoio::CAP_GSTREAMER)?)
    }
}

impl LiveDevice for GStreamerConfig {
    fn describe(&self) -> String {
        format!("pipeline {}", redact(&self.pipeline))
    }

    fn check(&self) -> Result<(), OpenError> {
        let pipeline = &self.pipeline;
        let drops = ["drop=true", "drop=1"].iter().any(|setting| pipeline.contains(setting));
        if pipeline.contains("appsink") && drops {
            return Ok(());
        }
        Err(OpenError::Pipeline { pipeline: redact(pipeline) })
    }

    fn open(&self, _: &LiveLimits) -> Result<Box<dyn Device<Images>>, DeviceError> {
        color_device(self.capture()?, ADVICE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pipeline: &str) -> Result<(), OpenError> {
        GStreamerConfig { pipeline: pipeline.into() }.check()
    }

    #[test]
    fn a_pipeline_must_end_in_a_sink_that_drops_old_frames() {
        for pipeline in ["aravissrc ! videoconvert", "aravissrc ! appsink"] {
            let message = check(pipeline).unwrap_err().to_string();
            assert!(message.contains("appsink drop=true"), "{message}");
        }
        assert!(check("aravissrc ! appsink drop=true max-buffers=1").is_ok());
    }
}

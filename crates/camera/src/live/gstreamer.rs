//! A GStreamer pipeline.

use magpie_perception::DepthImage;

use super::caps::{depth_decoder, images_decoder};
use super::device::{Device, DeviceError, LiveDevice};
use super::limits::LiveLimits;
use super::pipeline::Parsed;
use super::redact::redact;
use crate::errors::OpenError;
use crate::images::Images;

/// Any GStreamer pipeline that ends in an `appsink`: GigE Vision through `aravissrc`, the sources of
/// makers, files.
#[derive(Clone, Debug, PartialEq)]
pub struct GStreamerConfig {
    pub pipeline: String,
}

impl GStreamerConfig {
    /// Opens a pipeline whose caps are 16-bit grey.
    pub(crate) fn open_depth(
        &self,
        limits: &LiveLimits,
        unit_m: f64,
    ) -> Result<Box<dyn Device<DepthImage>>, DeviceError> {
        self.parsed()?.start(limits, Box::new(move |caps| depth_decoder(caps, unit_m)))
    }

    fn parsed(&self) -> Result<Parsed, DeviceError> {
        Parsed::from_description(&self.pipeline)
            .map_err(|problem| DeviceError::Misconfigured(problem.to_string()))
    }
}

impl LiveDevice for GStreamerConfig {
    fn describe(&self) -> String {
        format!("pipeline {}", redact(&self.pipeline))
    }

    fn check(&self) -> Result<(), OpenError> {
        match Parsed::from_description(&self.pipeline) {
            Ok(_) => Ok(()),
            Err(source) => Err(OpenError::Pipeline { pipeline: redact(&self.pipeline), source }),
        }
    }

    fn open(&self, limits: &LiveLimits) -> Result<Box<dyn Device<Images>>, DeviceError> {
        self.parsed()?.start(limits, Box::new(images_decoder))
    }

    fn offers(&self) -> Vec<String> {
        Parsed::from_description(&self.pipeline).map(Parsed::offers).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(pipeline: &str, parts: &[&str]) {
        let refused = GStreamerConfig { pipeline: pipeline.into() }.check().unwrap_err();
        let message = crate::errors::chain(&refused);
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }

    #[test]
    fn a_pipeline_ends_in_one_sink() {
        check_refused("videotestsrc ! videoconvert", &["must end in one appsink", "0"]);
        check_refused("appsink", &["must end in one appsink"]);
        let two = "videotestsrc ! tee name=t t. ! queue ! appsink t. ! queue ! appsink";
        check_refused(two, &["must end in one appsink", "2"]);
        let config = GStreamerConfig { pipeline: "videotestsrc ! appsink".into() };
        assert!(config.check().is_ok());
    }

    #[test]
    fn gstreamers_own_words_say_what_is_wrong_with_a_pipeline() {
        check_refused("nosuchsrc ! appsink", &["no element \"nosuchsrc\"", "gst-inspect-1.0"]);
        check_refused("videotestsrc colour=1 ! appsink", &["no property \"colour\""]);
        check_refused("videotestsrc ! h264parse ! appsink", &["could not link", "h264parse0"]);
        let unknown = "videotestsrc ! video/x-raw,format=NOPE ! appsink";
        check_refused(unknown, &["can't handle caps", "format=(string)NOPE"]);
        check_refused("videotestsrc ! ! appsink", &["syntax error"]);
        check_refused("nosuchsrc location=rtsp://a:secret@h/x ! appsink", &["rtsp://***@h/x"]);
    }
}

//! A network stream through FFmpeg.

use std::time::Duration;

use opencv::core::Vector;
use opencv::videoio::{self, VideoCapture};

use super::device::{Device, DeviceError, LiveDevice};
use super::limits::LiveLimits;
use super::opencv_device::color_device;
use super::redact::redact;
use crate::errors::OpenError;
use crate::images::Images;

/// A network stream that FFmpeg reads.
#[derive(Clone, Debug, PartialEq)]
pub struct RtspConfig {
    pub url: String,
}

impl LiveDevice for RtspConfig {
    fn describe(&self) -> String {
        format!("stream {}", redact(&self.url))
    }

    fn check(&self) -> Result<(), OpenError> {
        match self.url.split_once("://") {
            Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => Ok(()),
            _ => Err(OpenError::Url { url: redact(&self.url) }),
        }
    }

    /// FFmpeg's time-outs are longer than ours: after a read time-out it hands out its last frame
    /// once more, and by then this thread must have been abandoned.
    fn open(&self, limits: &LiveLimits) -> Result<Box<dyn Device<Images>>, DeviceError> {
        let milliseconds = |time: Duration| {
            i32::try_from(time.as_millis()).unwrap_or(i32::MAX).saturating_add(1000)
        };
        let settings = Vector::from_slice(&[
            videoio::CAP_PROP_OPEN_TIMEOUT_MSEC,
            milliseconds(limits.open_time_max),
            videoio::CAP_PROP_READ_TIMEOUT_MSEC,
            milliseconds(limits.frame_age_max),
        ]);
        let capture =
            VideoCapture::from_file_with_params(&self.url, videoio::CAP_FFMPEG, &settings)?;
        color_device(capture, "is it on the network, and are path and password right?")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_its_protocol() {
        let refused = RtspConfig { url: "10.0.0.5/stream".into() }.check().unwrap_err();
        assert!(refused.to_string().contains("rtsp://"), "{refused}");
    }
}

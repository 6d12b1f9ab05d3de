//! OpenCV's `VideoCapture` as a device.

use std::time::Duration;

use magpie_perception::DepthImage;
use opencv::core::Mat;
use opencv::prelude::*;
use opencv::videoio::{self, VideoCapture};

use super::device::{Device, DeviceError};
use crate::errors::{ImageProblem, chain};
use crate::images::Images;
use crate::pixels::{bgr_from_mat, depth_from_mat};

/// Makes an image of the matrix that OpenCV retrieved.
type Decode<I> = dyn Fn(&Mat) -> Result<I, ImageProblem>;

struct OpenCvDevice<I> {
    capture: VideoCapture,
    mat: Mat,
    frame_interval: Option<Duration>,
    decode: Box<Decode<I>>,
}

/// `advice` says what to look at if OpenCV did not open the camera.
pub(super) fn color_device(
    capture: VideoCapture,
    advice: &str,
) -> Result<Box<dyn Device<Images>>, DeviceError> {
    check_opened(&capture, advice)?;
    device(capture, Box::new(|mat| bgr_from_mat(mat).map(Images::from)))
}

/// `unit_m` is one step of the 16-bit values.
pub(super) fn depth_device(
    capture: VideoCapture,
    advice: &str,
    unit_m: f64,
) -> Result<Box<dyn Device<DepthImage>>, DeviceError> {
    check_opened(&capture, advice)?;
    let side = |property| -> Result<u32, opencv::Error> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        Ok(capture.get(property)? as u32)
    };
    let size_px = (side(videoio::CAP_PROP_FRAME_WIDTH)?, side(videoio::CAP_PROP_FRAME_HEIGHT)?);
    device(capture, Box::new(move |mat| depth_from_mat(mat, size_px, unit_m)))
}

/// OpenCV does not say why a camera did not open.
fn check_opened(capture: &VideoCapture, advice: &str) -> Result<(), DeviceError> {
    if capture.is_opened()? {
        return Ok(());
    }
    Err(DeviceError::Unavailable(format!("it could not be opened; {advice}")))
}

fn device<I: 'static>(
    capture: VideoCapture,
    decode: Box<Decode<I>>,
) -> Result<Box<dyn Device<I>>, DeviceError> {
    let fps = capture.get(videoio::CAP_PROP_FPS)?;
    let frame_interval = Duration::try_from_secs_f64(1.0 / fps).ok();
    Ok(Box::new(OpenCvDevice { capture, mat: Mat::default(), frame_interval, decode }))
}

impl<I> Device<I> for OpenCvDevice<I> {
    fn frame_interval(&self) -> Option<Duration> {
        self.frame_interval
    }

    fn grab(&mut self) -> Result<(), String> {
        match self.capture.grab() {
            Ok(true) => Ok(()),
            Ok(false) => Err("the stream broke off".to_owned()),
            Err(error) => Err(chain(&error)),
        }
    }

    fn retrieve(&mut self) -> Result<I, ImageProblem> {
        if self.capture.retrieve_def(&mut self.mat)? {
            (self.decode)(&self.mat)
        } else {
            Err(ImageProblem::Empty)
        }
    }
}

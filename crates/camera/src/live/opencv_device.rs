//! OpenCV's `VideoCapture` as a device, for the cameras of the kernel.

use std::time::Duration;

use magpie_perception::{BgrImage, DepthImage};
use opencv::core::{CV_8UC3, Mat};
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
    fourcc: String,
    decode: Box<Decode<I>>,
}

/// OpenCV converts what the driver delivers.
pub(super) fn color_device(capture: VideoCapture) -> Result<Box<dyn Device<Images>>, DeviceError> {
    let (size_px, fourcc) = (size_px(&capture)?, fourcc(&capture)?);
    device(capture, Box::new(move |mat| converted(mat, size_px, &fourcc).map(Images::from)))
}

/// `unit_m` is one step of the 16-bit values.
pub(super) fn depth_device(
    capture: VideoCapture,
    unit_m: f64,
) -> Result<Box<dyn Device<DepthImage>>, DeviceError> {
    let size_px = size_px(&capture)?;
    device(capture, Box::new(move |mat| depth_from_mat(mat, size_px, unit_m)))
}

/// What OpenCV cannot convert it hands over as it came, in a matrix of one channel or one row.
fn converted(mat: &Mat, size_px: (u32, u32), fourcc: &str) -> Result<BgrImage, ImageProblem> {
    if mat.empty() {
        return Err(ImageProblem::Empty);
    }
    let size = mat.size()?;
    let found_px = (size.width.unsigned_abs(), size.height.unsigned_abs());
    if mat.typ() == CV_8UC3 && found_px == size_px {
        return bgr_from_mat(mat);
    }
    let kind = opencv::core::type_to_string(mat.typ())?;
    let found = format!("{kind} of {}x{} px", found_px.0, found_px.1);
    Err(ImageProblem::Unconverted { fourcc: fourcc.to_owned(), found })
}

fn size_px(capture: &VideoCapture) -> Result<(u32, u32), opencv::Error> {
    let side = |property| -> Result<u32, opencv::Error> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
        Ok(capture.get(property)? as u32)
    };
    Ok((side(videoio::CAP_PROP_FRAME_WIDTH)?, side(videoio::CAP_PROP_FRAME_HEIGHT)?))
}

/// The driver's name for its pixels, such as `YUYV`.
fn fourcc(capture: &VideoCapture) -> Result<String, opencv::Error> {
    #[expect(clippy::cast_possible_truncation, reason = "four bytes in a float")]
    let code = capture.get(videoio::CAP_PROP_FOURCC)? as i32;
    Ok(String::from_utf8_lossy(&code.to_le_bytes()).trim_end().to_owned())
}

fn device<I: 'static>(
    capture: VideoCapture,
    decode: Box<Decode<I>>,
) -> Result<Box<dyn Device<I>>, DeviceError> {
    let fps = capture.get(videoio::CAP_PROP_FPS)?;
    let frame_interval = Duration::try_from_secs_f64(1.0 / fps).ok();
    let fourcc = fourcc(&capture)?;
    Ok(Box::new(OpenCvDevice { capture, mat: Mat::default(), frame_interval, fourcc, decode }))
}

impl<I> Device<I> for OpenCvDevice<I> {
    fn frame_interval(&self) -> Option<Duration> {
        self.frame_interval
    }

    fn pixel_format(&self) -> Option<String> {
        Some(self.fourcc.clone())
    }

    fn grab(&mut self) -> Result<(), DeviceError> {
        match self.capture.grab() {
            Ok(true) => Ok(()),
            Ok(false) => Err(DeviceError::Unavailable("the stream broke off".to_owned())),
            Err(error) => Err(DeviceError::Unavailable(chain(&error))),
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

#[cfg(test)]
mod tests {
    use opencv::core::{CV_8UC1, CV_16UC1, Scalar};

    use super::*;

    #[test]
    fn bytes_that_opencv_did_not_convert_are_refused_by_the_name_of_their_format() {
        let mat = |rows, cols, kind| {
            Mat::new_rows_cols_with_default(rows, cols, kind, Scalar::all(7.0)).unwrap()
        };
        let image = converted(&mat(2, 4, CV_8UC3), (4, 2), "YUYV").unwrap();
        assert_eq!((image.width_px(), image.pixel(3, 1)), (4, [7; 3]));
        // Planes of YUV 4:2:0, a compressed picture, sixteen bits, and a picture of another size.
        let unconverted = [(3, 4, CV_8UC1), (1, 999, CV_8UC1), (2, 4, CV_16UC1), (3, 4, CV_8UC3)];
        for (rows, cols, kind) in unconverted {
            let problem = converted(&mat(rows, cols, kind), (4, 2), "NV12").unwrap_err();
            let message = problem.to_string();
            assert!(message.contains("\"NV12\" came through unconverted"), "{message}");
        }
    }
}

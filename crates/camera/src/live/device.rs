//! OpenCV's `VideoCapture`, opened and read on a thread that may never come back.

use std::time::Duration;

use magpie_perception::BgrImage;
use opencv::core::{Mat, Vector};
use opencv::prelude::*;
use opencv::videoio::{self, VideoCapture, VideoWriter};

use crate::config::stable_devices;
use crate::depth::pack;
use crate::pixels::bgr_from_mat;
use crate::{ImageProblem, LiveLimits, SourceKind, V4l2Config, chain};

/// A camera as [`live`](crate::live) needs it. Any call may block for ever.
pub(crate) trait Device {
    /// What the device says of itself, which need not be true.
    fn frame_interval(&self) -> Option<Duration>;
    /// Waits for the next frame, undecoded; an error when the device gave up.
    fn grab(&mut self) -> Result<(), String>;
    /// Decodes what was grabbed.
    fn retrieve(&mut self) -> Result<BgrImage, ImageProblem>;
}

/// Opens the device; called on the thread that will read it.
pub(crate) type Open = dyn Fn() -> Result<Box<dyn Device>, DeviceError> + Send + Sync;

/// Why a device did not open.
#[derive(Debug)]
pub(crate) enum DeviceError {
    /// It may be there the next time.
    Unavailable(String),
    /// Reopening cannot cure it.
    Misconfigured(String),
}

impl From<opencv::Error> for DeviceError {
    fn from(error: opencv::Error) -> DeviceError {
        DeviceError::Unavailable(chain(&error))
    }
}

/// What the pixels of a stream are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pixels {
    Color,
    /// Sixteen bits, which travel in the bytes of a BGR image.
    Depth,
}

pub(crate) fn opener(source: SourceKind, limits: LiveLimits, pixels: Pixels) -> Box<Open> {
    Box::new(move || {
        let capture = match &source {
            SourceKind::V4l2(camera) => open_v4l2(camera, pixels)?,
            SourceKind::GStreamer { pipeline } => {
                VideoCapture::from_file(pipeline, videoio::CAP_GSTREAMER)?
            }
            SourceKind::Rtsp { url } => open_url(url, limits)?,
            SourceKind::VideoFile { .. } | SourceKind::ImageFolder(_) => {
                unreachable!("files are not live")
            }
        };
        if !capture.is_opened()? {
            return Err(DeviceError::Unavailable(explain_unopened(&source)));
        }
        let fps = capture.get(videoio::CAP_PROP_FPS)?;
        let frame_interval = Duration::try_from_secs_f64(1.0 / fps).ok();
        let side = |property| -> Result<u32, opencv::Error> {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "saturates"
            )]
            Ok(capture.get(property)? as u32)
        };
        let size_px = (side(videoio::CAP_PROP_FRAME_WIDTH)?, side(videoio::CAP_PROP_FRAME_HEIGHT)?);
        Ok(Box::new(OpenCvDevice { capture, mat: Mat::default(), frame_interval, pixels, size_px }))
    })
}

struct OpenCvDevice {
    capture: VideoCapture,
    mat: Mat,
    frame_interval: Option<Duration>,
    pixels: Pixels,
    size_px: (u32, u32),
}

impl Device for OpenCvDevice {
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

    fn retrieve(&mut self) -> Result<BgrImage, ImageProblem> {
        if self.capture.retrieve_def(&mut self.mat)? {
            match self.pixels {
                Pixels::Color => bgr_from_mat(&self.mat),
                Pixels::Depth => pack(&self.mat, self.size_px),
            }
        } else {
            Err(ImageProblem::Empty)
        }
    }
}

/// The time-outs are longer than ours: after a read time-out FFmpeg's backend hands out its last
/// frame once more, and by then this thread must have been abandoned.
fn open_url(url: &str, limits: LiveLimits) -> Result<VideoCapture, DeviceError> {
    let milliseconds =
        |time: Duration| i32::try_from(time.as_millis()).unwrap_or(i32::MAX).saturating_add(1000);
    let settings = Vector::from_slice(&[
        videoio::CAP_PROP_OPEN_TIMEOUT_MSEC,
        milliseconds(limits.open_time_max),
        videoio::CAP_PROP_READ_TIMEOUT_MSEC,
        milliseconds(limits.frame_age_max),
    ]);
    Ok(VideoCapture::from_file_with_params(url, videoio::CAP_FFMPEG, &settings)?)
}

/// What was asked for is read back: drivers silently choose the next best.
fn open_v4l2(camera: &V4l2Config, pixels: Pixels) -> Result<VideoCapture, DeviceError> {
    let path = camera.device.to_string_lossy();
    if !camera.device.exists() {
        let present = stable_devices();
        let reason = format!("there is no {path}; is it plugged in? present: {present}");
        return Err(DeviceError::Unavailable(reason));
    }
    let mut capture = VideoCapture::from_file(&*path, videoio::CAP_V4L2)?;
    if !capture.is_opened()? {
        return Ok(capture);
    }
    // One buffer, so that no old frame waits in the driver; some drivers insist on more.
    capture.set(videoio::CAP_PROP_BUFFERSIZE, 1.0)?;
    if pixels == Pixels::Depth {
        // As the driver has them: OpenCV knows no picture of depth.
        capture.set(videoio::CAP_PROP_CONVERT_RGB, 0.0)?;
    }
    // The pixel format decides which sizes and rates exist, so it comes first.
    if let Some(code) = &camera.fourcc {
        let asked = fourcc(code)?;
        set(&mut capture, "fourcc", videoio::CAP_PROP_FOURCC, f64::from(asked), 0.0)?;
    }
    let sizes = [
        ("width_px", videoio::CAP_PROP_FRAME_WIDTH, camera.width_px),
        ("height_px", videoio::CAP_PROP_FRAME_HEIGHT, camera.height_px),
    ];
    // Width and height take effect together, so both are set before either is read back.
    for (_, property, asked) in sizes {
        asked.map_or(Ok(true), |asked| capture.set(property, f64::from(asked)))?;
    }
    for (name, property, asked) in sizes {
        asked.map_or(Ok(()), |asked| set(&mut capture, name, property, asked.into(), 0.0))?;
    }
    if let Some(asked) = camera.fps {
        // Frame rates are fractions: 29.97 is what asking for 30 may mean.
        set(&mut capture, "fps", videoio::CAP_PROP_FPS, asked, 0.01 * asked)?;
    }
    Ok(capture)
}

fn set(
    capture: &mut VideoCapture,
    name: &str,
    property: i32,
    asked: f64,
    tolerance: f64,
) -> Result<(), DeviceError> {
    capture.set(property, asked)?;
    let got = capture.get(property)?;
    if (got - asked).abs() <= tolerance {
        return Ok(());
    }
    let reason = format!(
        "it was asked for {name} = {asked} and set {got}; `v4l2-ctl --list-formats-ext` shows \
         what it can do"
    );
    Err(DeviceError::Misconfigured(reason))
}

fn fourcc(code: &str) -> Result<i32, DeviceError> {
    let letters: Vec<char> = code.chars().collect();
    let [a, b, c, d] = letters[..] else { unreachable!("checked to be four ASCII letters") };
    Ok(VideoWriter::fourcc(a, b, c, d)?)
}

/// OpenCV does not say why; these are the causes worth a look.
fn explain_unopened(source: &SourceKind) -> String {
    let advice = match source {
        SourceKind::V4l2(_) => "is it a video device, and does no other program use it?",
        SourceKind::GStreamer { .. } => {
            "is it on the network, does no other program hold it, \
             and does `gst-launch-1.0` run the pipeline?"
        }
        _ => "is it on the network, and are path and password right?",
    };
    format!("it could not be opened; {advice}")
}

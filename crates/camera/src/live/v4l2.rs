//! A camera of the kernel.

use std::path::{Path, PathBuf};

use magpie_perception::DepthImage;
use opencv::prelude::*;
use opencv::videoio::{self, VideoCapture, VideoWriter};

use super::device::{Device, DeviceError, LiveDevice};
use super::limits::LiveLimits;
use super::opencv_device::{color_device, depth_device};
use super::pipeline::source_offers;
use crate::errors::OpenError;
use crate::images::Images;

/// A camera of the kernel. What is `None` stays as the driver has it.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct V4l2Config {
    /// A name that stays with the camera, such as `/dev/v4l/by-id/usb-...-video-index0`.
    pub device: PathBuf,
    pub width_px: Option<u32>,
    pub height_px: Option<u32>,
    pub fps: Option<f64>,
    /// Four letters, such as `MJPG` or `YUYV`.
    pub fourcc: Option<String>,
}

/// Who turns the driver's pixels into images.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Conversion {
    /// OpenCV makes BGR of them.
    OpenCv,
    /// We take them as the driver has them: OpenCV knows no picture of depth.
    Ours,
}

impl V4l2Config {
    /// Returns what the camera is called under `/dev/v4l/by-id`, in the letters that ROS allows in
    /// a `camera_name`: make, model and serial. `None` if the device is named otherwise.
    pub fn device_name(&self) -> Option<String> {
        let name = self.device.strip_prefix("/dev/v4l/by-id").ok()?.to_str()?;
        let name = name.split("-video-index").next()?;
        Some(name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
    }

    /// Opens a camera whose format is `Z16 `.
    pub(crate) fn open_depth(
        &self,
        unit_m: f64,
    ) -> Result<Box<dyn Device<DepthImage>>, DeviceError> {
        depth_device(self.capture(Conversion::Ours)?, unit_m)
    }

    /// Sets what the configuration asks for and reads it back: drivers silently choose the next
    /// best.
    fn capture(&self, conversion: Conversion) -> Result<VideoCapture, DeviceError> {
        let path = self.device.to_string_lossy();
        if !self.device.exists() {
            let present = stable_devices();
            let reason = format!("there is no {path}; is it plugged in? present: {present}");
            return Err(DeviceError::Unavailable(reason));
        }
        let mut capture = VideoCapture::from_file(&*path, videoio::CAP_V4L2)?;
        if !capture.is_opened()? {
            return Err(DeviceError::Unavailable(self.why_not_opened()));
        }
        // One buffer, so that no old frame waits in the driver; some drivers insist on more.
        capture.set(videoio::CAP_PROP_BUFFERSIZE, 1.0)?;
        if conversion == Conversion::Ours {
            capture.set(videoio::CAP_PROP_CONVERT_RGB, 0.0)?;
        }
        // The pixel format decides which sizes and rates exist, so it comes first.
        if let Some(code) = &self.fourcc {
            let asked = fourcc(code)?;
            self.set(&mut capture, "fourcc", videoio::CAP_PROP_FOURCC, f64::from(asked), 0.0)?;
        }
        let sizes = [
            ("width_px", videoio::CAP_PROP_FRAME_WIDTH, self.width_px),
            ("height_px", videoio::CAP_PROP_FRAME_HEIGHT, self.height_px),
        ];
        // Width and height take effect together, so both are set before either is read back.
        for (_, property, asked) in sizes {
            asked.map_or(Ok(true), |asked| capture.set(property, f64::from(asked)))?;
        }
        for (name, property, asked) in sizes {
            asked.map_or(Ok(()), |asked| {
                self.set(&mut capture, name, property, asked.into(), 0.0)
            })?;
        }
        if let Some(asked) = self.fps {
            // Frame rates are fractions: 29.97 is what asking for 30 may mean.
            self.set(&mut capture, "fps", videoio::CAP_PROP_FPS, asked, 0.01 * asked)?;
        }
        Ok(capture)
    }

    /// OpenCV does not say why a camera did not open; GStreamer does.
    fn why_not_opened(&self) -> String {
        match offers(&self.device) {
            Err(words) => format!("it could not be opened: {words}"),
            Ok(_) => "OpenCV could not open it; does no other program use it?".to_owned(),
        }
    }

    fn set(
        &self,
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
        let offers = self.offers();
        let offers = if offers.is_empty() {
            "`v4l2-ctl --list-formats-ext` shows what it can do".to_owned()
        } else {
            format!("it offers {}", offers.join("; "))
        };
        let reason = match name {
            "fourcc" => format!("it was asked for another fourcc than it set; {offers}"),
            _ => format!("it was asked for {name} = {asked} and set {got}; {offers}"),
        };
        Err(DeviceError::Misconfigured(reason))
    }
}

impl LiveDevice for V4l2Config {
    fn describe(&self) -> String {
        format!("camera {}", self.device.display())
    }

    fn check(&self) -> Result<(), OpenError> {
        let device = self.device.to_string_lossy();
        if device.parse::<u32>().is_ok() || is_video_node(&self.device) {
            return Err(OpenError::UnstableDevice {
                device: device.into_owned(),
                present: stable_devices(),
            });
        }
        match &self.fourcc {
            Some(code) if code.len() != 4 || !code.is_ascii() => {
                Err(OpenError::Fourcc { code: code.clone() })
            }
            _ => Ok(()),
        }
    }

    fn open(&self, _: &LiveLimits) -> Result<Box<dyn Device<Images>>, DeviceError> {
        color_device(self.capture(Conversion::OpenCv)?)
    }

    fn offers(&self) -> Vec<String> {
        offers(&self.device).unwrap_or_default()
    }
}

/// What the device offers, as GStreamer lists it, in the names that GStreamer and the kernel have.
fn offers(device: &Path) -> Result<Vec<String>, String> {
    let offers = source_offers("v4l2src", device)?;
    let named = |offer: String| match offer.split_once(": ") {
        Some(("YUY2", sizes)) => format!("YUYV: {sizes}"),
        Some(("JPEG", sizes)) => format!("MJPG: {sizes}"),
        Some(("GRAY8", sizes)) => format!("GREY: {sizes}"),
        _ => offer,
    };
    Ok(offers.into_iter().map(named).collect())
}

fn fourcc(code: &str) -> Result<i32, DeviceError> {
    let letters: Vec<char> = code.chars().collect();
    let [a, b, c, d] = letters[..] else {
        let reason = format!("fourcc {code:?} must be four ASCII letters");
        return Err(DeviceError::Misconfigured(reason));
    };
    Ok(VideoWriter::fourcc(a, b, c, d)?)
}

/// `/dev/video0` is an index in disguise: it changes with the order of plugging in.
fn is_video_node(device: &Path) -> bool {
    let name = device.to_str().and_then(|path| path.strip_prefix("/dev/video"));
    name.is_some_and(|index| index.parse::<u32>().is_ok())
}

/// Lists the stable names of the cameras that are plugged in, for advice.
fn stable_devices() -> String {
    let entries = std::fs::read_dir("/dev/v4l/by-id").into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.path().display().to_string()).collect();
    names.sort();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(device: &str) -> V4l2Config {
        V4l2Config { device: device.into(), ..V4l2Config::default() }
    }

    fn check_refused(camera: &V4l2Config, expected: &str) {
        let message = camera.check().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn an_index_is_refused_with_advice() {
        check_refused(&camera("0"), "/dev/v4l/by-id");
        check_refused(&camera("/dev/video2"), "/dev/v4l/by-id");
        assert!(camera("/dev/v4l/by-id/usb-Acme-video-index0").check().is_ok());
        assert!(camera("/dev/v4l/by-path/pci-0000:00:14.0-usb-video-index0").check().is_ok());
    }

    #[test]
    fn a_device_is_called_by_make_model_and_serial() {
        let name = camera("/dev/v4l/by-id/usb-Acme_Cam.2_0123-video-index0").device_name();
        assert_eq!(name.as_deref(), Some("usb_Acme_Cam_2_0123"));
        assert_eq!(camera("/dev/v4l/by-path/pci-0-video-index0").device_name(), None);
    }

    #[test]
    fn a_fourcc_has_four_letters() {
        let fourcc = Some("MJPEG".into());
        check_refused(&V4l2Config { fourcc, ..camera("/dev/v4l/by-id/x") }, "MJPEG");
    }
}

//! What to open, and how patient to be with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::OpenError;

/// One camera, file or folder. Plain values: [`open`](crate::open) checks them.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceKind {
    V4l2(V4l2Config),
    /// Any GStreamer pipeline that ends in an `appsink`: GigE Vision through `aravissrc`, RTSP.
    GStreamer {
        pipeline: String,
    },
    /// A network stream through FFmpeg.
    Rtsp {
        url: String,
    },
    VideoFile {
        path: PathBuf,
        loop_: bool,
    },
    ImageFolder(ImageFolderConfig),
}

/// A camera of the kernel. What is `None` is left as the driver has it.
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

/// Images in the order of their names.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFolderConfig {
    /// Holds the colour images, `.jpg`, `.jpeg` or `.png`.
    pub path: PathBuf,
    /// Holds a 16-bit PNG in millimetres of the same stem for each colour image.
    pub depth_path: Option<PathBuf>,
    pub loop_: bool,
    pub frame_interval: Duration,
}

/// A source and its limits.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraConfig {
    pub source: SourceKind,
    /// Files and folders deliver at their own frame rate, as a camera would; otherwise as fast as
    /// frames are taken. Live cameras are always paced by themselves.
    pub paced: bool,
    pub limits: LiveLimits,
}

/// How patient to be with a live camera.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveLimits {
    /// A camera whose newest frame is older than this is lost.
    pub frame_age_max: Duration,
    /// Opening may take this long until the first frame.
    pub open_time_max: Duration,
    /// Pause before the first reopening; doubles with each further one.
    pub back_off_min: Duration,
    pub back_off_max: Duration,
    /// When no more capture threads may be started since all hang in the driver, the source faults
    /// after this time.
    pub hang_time_max: Duration,
}

impl Default for LiveLimits {
    /// For cameras of 5 frames a second and more.
    fn default() -> LiveLimits {
        LiveLimits {
            frame_age_max: Duration::from_secs(1),
            // One second more than aravis takes to say that there is no camera.
            open_time_max: Duration::from_secs(6),
            back_off_min: Duration::from_millis(500),
            back_off_max: Duration::from_secs(10),
            // Twice the longest hang that is known to end.
            hang_time_max: Duration::from_secs(10),
        }
    }
}

impl SourceKind {
    /// How messages name the source; passwords in URLs and pipelines are left out.
    pub fn describe(&self) -> String {
        match self {
            SourceKind::V4l2(camera) => format!("camera {}", camera.device.display()),
            SourceKind::GStreamer { pipeline } => format!("pipeline {}", redact(pipeline)),
            SourceKind::Rtsp { url } => format!("stream {}", redact(url)),
            SourceKind::VideoFile { path, .. } => format!("video file {}", path.display()),
            SourceKind::ImageFolder(folder) => format!("image folder {}", folder.path.display()),
        }
    }

    /// What a camera of the kernel is called under `/dev/v4l/by-id`, in the letters that ROS allows
    /// in a `camera_name`: make, model and serial. `None` for everything else.
    pub fn device_name(&self) -> Option<String> {
        let SourceKind::V4l2(camera) = self else { return None };
        let name = camera.device.strip_prefix("/dev/v4l/by-id").ok()?.to_str()?;
        let name = name.split("-video-index").next()?;
        Some(name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        match self {
            SourceKind::V4l2(camera) => check_v4l2(camera),
            SourceKind::GStreamer { pipeline } => check_pipeline(pipeline),
            SourceKind::Rtsp { url } => check_url(url),
            SourceKind::VideoFile { .. } | SourceKind::ImageFolder(_) => Ok(()),
        }
    }
}

fn check_v4l2(camera: &V4l2Config) -> Result<(), OpenError> {
    let device = camera.device.to_string_lossy();
    if device.parse::<u32>().is_ok() || is_video_node(&camera.device) {
        return Err(OpenError::UnstableDevice {
            device: device.into_owned(),
            present: stable_devices(),
        });
    }
    match &camera.fourcc {
        Some(code) if code.len() != 4 || !code.is_ascii() => {
            Err(OpenError::Fourcc { code: code.clone() })
        }
        _ => Ok(()),
    }
}

/// `/dev/video0` is an index in disguise: it changes with the order of plugging in.
fn is_video_node(device: &Path) -> bool {
    let name = device.to_str().and_then(|path| path.strip_prefix("/dev/video"));
    name.is_some_and(|index| index.parse::<u32>().is_ok())
}

fn check_pipeline(pipeline: &str) -> Result<(), OpenError> {
    let drops = ["drop=true", "drop=1"].iter().any(|setting| pipeline.contains(setting));
    if pipeline.contains("appsink") && drops {
        return Ok(());
    }
    Err(OpenError::Pipeline { pipeline: redact(pipeline) })
}

fn check_url(url: &str) -> Result<(), OpenError> {
    if url.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty()) {
        return Ok(());
    }
    Err(OpenError::Url { url: redact(url) })
}

/// The stable names of the cameras that are plugged in, for advice.
pub(crate) fn stable_devices() -> String {
    let entries = std::fs::read_dir("/dev/v4l/by-id").into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.path().display().to_string()).collect();
    names.sort();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Replaces the user and password of every URL in `text`.
fn redact(text: &str) -> String {
    let mut redacted = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        redacted.push_str(before);
        let authority_end = after.find(['/', ' ', '"']).unwrap_or(after.len());
        rest = match after[..authority_end].rfind('@') {
            Some(user_end) => {
                redacted.push_str("***");
                &after[user_end..]
            }
            None => after,
        };
    }
    redacted + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(source: SourceKind, expected: &str) {
        let message = source.check().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }

    fn v4l2(device: &str) -> SourceKind {
        SourceKind::V4l2(V4l2Config { device: device.into(), ..V4l2Config::default() })
    }

    #[test]
    fn an_index_is_refused_with_advice() {
        check_refused(v4l2("0"), "/dev/v4l/by-id");
        check_refused(v4l2("/dev/video2"), "/dev/v4l/by-id");
        assert!(v4l2("/dev/v4l/by-id/usb-Acme-video-index0").check().is_ok());
        assert!(v4l2("/dev/v4l/by-path/pci-0000:00:14.0-usb-video-index0").check().is_ok());
    }

    #[test]
    fn a_device_is_called_by_make_model_and_serial() {
        let name = v4l2("/dev/v4l/by-id/usb-Acme_Cam.2_0123-video-index0").device_name();
        assert_eq!(name.as_deref(), Some("usb_Acme_Cam_2_0123"));
        assert_eq!(v4l2("/dev/v4l/by-path/pci-0-video-index0").device_name(), None);
    }

    #[test]
    fn a_fourcc_has_four_letters() {
        let camera = V4l2Config {
            device: "/dev/v4l/by-id/x".into(),
            fourcc: Some("MJPEG".into()),
            ..V4l2Config::default()
        };
        check_refused(SourceKind::V4l2(camera), "MJPEG");
    }

    #[test]
    fn a_pipeline_must_end_in_a_sink_that_drops_old_frames() {
        let pipeline = |text: &str| SourceKind::GStreamer { pipeline: text.into() };
        check_refused(pipeline("aravissrc ! videoconvert"), "appsink drop=true");
        check_refused(pipeline("aravissrc ! appsink"), "appsink drop=true");
        assert!(pipeline("aravissrc ! appsink drop=true max-buffers=1").check().is_ok());
    }

    #[test]
    fn passwords_are_not_told() {
        let url = "rtsp://admin:p@ss@10.0.0.5/stream";
        assert_eq!(redact(url), "rtsp://***@10.0.0.5/stream");
        let pipeline = "rtspsrc location=rtsp://a:b@h/x ! appsink";
        assert_eq!(redact(pipeline), "rtspsrc location=rtsp://***@h/x ! appsink");
        assert_eq!(redact("rtsp://h/x@y"), "rtsp://h/x@y");
    }

    #[test]
    fn a_url_names_its_protocol() {
        check_refused(SourceKind::Rtsp { url: "10.0.0.5/stream".into() }, "rtsp://");
    }
}

//! What to open: a live camera or files.

use std::path::PathBuf;
use std::time::Duration;

use crate::live::device::LiveDevice;
use crate::live::gstreamer::GStreamerConfig;
use crate::live::limits::LiveLimits;
use crate::live::rtsp::RtspConfig;
use crate::live::v4l2::V4l2Config;

/// One source of frames. These are plain values: [`open`](crate::open) checks them.
#[derive(Clone, Debug, PartialEq)]
pub enum CameraConfig {
    /// A camera that runs by itself, may be lost, and is then opened again.
    Live(LiveConfig),
    /// Files, read by whoever asks for the next frame.
    Files(FilesConfig),
}

/// A live camera and how patient to be with it.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveConfig {
    pub source: LiveSource,
    pub limits: LiveLimits,
}

/// The kinds of live camera.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveSource {
    V4l2(V4l2Config),
    GStreamer(GStreamerConfig),
    Rtsp(RtspConfig),
}

/// Files and how to play them.
#[derive(Clone, Debug, PartialEq)]
pub struct FilesConfig {
    pub source: FileSource,
    /// Whether the first frame follows the last one.
    pub looped: bool,
    /// Whether frames come at their own frame rate, as from a camera, and not as fast as they are
    /// taken.
    pub paced: bool,
}

/// The kinds of files.
#[derive(Clone, Debug, PartialEq)]
pub enum FileSource {
    VideoFile { path: PathBuf },
    ImageFolder(ImageFolderConfig),
}

/// Images in the order of their names.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageFolderConfig {
    /// Holds the colour images, `.jpg`, `.jpeg` or `.png`.
    pub path: PathBuf,
    /// Holds a 16-bit PNG of the same stem for each colour image.
    pub depth_path: Option<PathBuf>,
    /// One step of the 16-bit values, in metres; 0.001 is usual.
    pub depth_unit_m: f64,
    pub frame_interval: Duration,
}

impl CameraConfig {
    /// Names the source in messages; passwords in URLs and pipelines are left out.
    pub fn describe(&self) -> String {
        match self {
            CameraConfig::Live(live) => live.source.device().describe(),
            CameraConfig::Files(files) => files.source.describe(),
        }
    }

    /// Says which pixel formats, sizes and frame rates a live camera has, a line for each format;
    /// nothing where it does not tell. It opens the camera, which nobody else may hold, and may
    /// block for a few seconds.
    pub fn offers(&self) -> Vec<String> {
        match self {
            CameraConfig::Live(live) => live.source.device().offers(),
            CameraConfig::Files(_) => Vec::new(),
        }
    }

    /// Returns what a camera of the kernel is called: see [`V4l2Config::device_name`].
    pub fn device_name(&self) -> Option<String> {
        match self {
            CameraConfig::Live(LiveConfig { source: LiveSource::V4l2(camera), .. }) => {
                camera.device_name()
            }
            _ => None,
        }
    }
}

impl LiveSource {
    pub(crate) fn device(&self) -> &dyn LiveDevice {
        match self {
            LiveSource::V4l2(camera) => camera,
            LiveSource::GStreamer(pipeline) => pipeline,
            LiveSource::Rtsp(stream) => stream,
        }
    }
}

impl FileSource {
    pub(crate) fn describe(&self) -> String {
        match self {
            FileSource::VideoFile { path } => format!("video file {}", path.display()),
            FileSource::ImageFolder(folder) => format!("image folder {}", folder.path.display()),
        }
    }
}

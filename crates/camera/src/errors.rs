//! Why a source could not be opened.

use std::path::PathBuf;

use crate::ImageError;

/// The configuration or the files do not allow this source.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "camera {device:?} is named by an index, which changes with the order of plugging in; \
         use its name under /dev/v4l/by-id (present: {present})"
    )]
    UnstableDevice { device: String, present: String },
    #[error("fourcc {code:?} must be four ASCII letters, such as MJPG or YUYV")]
    Fourcc { code: String },
    #[error(
        "pipeline {pipeline:?} must end in `appsink drop=true max-buffers=1 sync=false`, \
         so that the newest frame wins"
    )]
    Pipeline { pipeline: String },
    #[error("url {url:?} must look like rtsp://host:port/path")]
    Url { url: String },
    #[error("list the folder {path:?}")]
    List {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("folder {path:?} holds no .jpg, .jpeg or .png image")]
    Empty { path: PathBuf },
    #[error("no depth image {depth:?} for the colour image {color:?}")]
    NoDepth { color: PathBuf, depth: PathBuf },
    #[error("{source_name} gives no depth beside colour; it must be a V4L2 or GStreamer stream")]
    DepthSource { source_name: String },
    #[error("frame interval must be longer than zero")]
    FrameInterval,
    #[error("open the first frame of the folder")]
    FirstFrame(#[from] ImageError),
    #[error("open the video file {path:?}")]
    VideoFile {
        path: PathBuf,
        #[source]
        source: VideoFileError,
    },
    #[error("start the thread {name:?}")]
    Thread {
        name: &'static str,
        #[source]
        source: std::io::Error,
    },
}

/// Why a video file cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum VideoFileError {
    #[error("read it")]
    Io(#[source] std::io::Error),
    #[error("it is not a video that FFmpeg can decode")]
    NotAVideo,
    #[error("it names no usable frame rate ({fps} frames a second)")]
    FrameRate { fps: f64 },
    #[error("it holds no decodable frame")]
    NoFrame,
    #[error("call OpenCV")]
    OpenCv(#[source] opencv::Error),
}

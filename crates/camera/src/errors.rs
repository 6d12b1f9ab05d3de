//! Why a source could not be opened, why it ended, and what is wrong with an image.

use std::path::PathBuf;

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
    #[error("read the pipeline {pipeline:?}")]
    Pipeline {
        pipeline: String,
        #[source]
        source: PipelineProblem,
    },
    #[error("url {url:?} must look like rtsp://host:port/path")]
    Url { url: String },
    #[error("list the folder {path:?}")]
    List {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "folder {path:?} holds no picture (JPEG, PNG, WebP, TIFF, BMP, PGM); name the folder with \
         the pictures"
    )]
    Empty { path: PathBuf },
    #[error(
        "there is no depth image {depth:?} for the colour image {color:?}; add it, or leave the \
         folder of depth images out"
    )]
    NoDepth { color: PathBuf, depth: PathBuf },
    #[error("the frame interval must be longer than zero")]
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

/// Why GStreamer cannot make a pipeline, in its own words.
#[derive(Debug, thiserror::Error)]
pub enum PipelineProblem {
    #[error("GStreamer says: {0}")]
    Refused(String),
    #[error(
        "GStreamer says: {0}; is its plugin installed? `gst-inspect-1.0 NAME` tells, and \
         docs/cameras.md says which package has it"
    )]
    NoSuchElement(String),
    #[error(
        "it must end in one appsink, and has {found}: end it in `! appsink sync=false`, so that \
         Magpie can take the newest frame"
    )]
    Sinks { found: usize },
}

/// Why a video file cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum VideoFileError {
    #[error("read it")]
    Io(#[source] std::io::Error),
    #[error("it is not a video that FFmpeg can decode; convert it, for example to MP4 with H.264")]
    NotAVideo,
    #[error("it names no usable frame rate ({fps} frames a second); convert it to another format")]
    FrameRate { fps: f64 },
    #[error("it holds no frame that FFmpeg can decode; is it complete?")]
    NoFrame,
    #[error("call OpenCV")]
    OpenCv(#[source] opencv::Error),
}

/// Why a live camera ended without being asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiveFault {
    #[error(
        "it delivers {new_width_px}x{new_height_px} px instead of {width_px}x{height_px} px, so \
         the calibration no longer fits; restore its resolution, or calibrate anew, and restart"
    )]
    Resized { width_px: u32, height_px: u32, new_width_px: u32, new_height_px: u32 },
    #[error("{0}; correct the configuration")]
    Misconfigured(String),
    #[error("{threads} attempts to read it hang in its driver; restart the program")]
    Hung { threads: usize },
}

/// An image file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{action} the image {path:?}")]
pub struct ImageError {
    /// "read" or "write".
    pub action: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: ImageProblem,
}

/// What is wrong with an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageProblem {
    #[error(transparent)]
    Io(std::io::Error),
    #[error("it is no JPEG, PNG, WebP, TIFF, BMP or PGM file; save it as one of them")]
    NotAnImage,
    #[error(
        "it has {width_px}x{height_px} px, and {} megapixels are the most; scale it down",
        pixels_max / 1_000_000
    )]
    TooLarge { width_px: u32, height_px: u32, pixels_max: u64 },
    #[error(
        "the {format} file is truncated: its end marker is missing after {bytes} bytes; copy it \
         again"
    )]
    Truncated { format: &'static str, bytes: usize },
    #[error("it is a {found}, where the camera says JPEG")]
    NotJpeg { found: &'static str },
    #[error(
        "the {format} file is damaged, or of a kind that is not read; copy it again, or save it as \
         PNG"
    )]
    Undecodable { format: &'static str },
    #[error(
        "a depth image must be a PNG, TIFF or PGM with one channel of 16 bits; this is {found}"
    )]
    NotDepth { found: String },
    #[error(
        "depth is {depth_width_px}x{depth_height_px} px, colour {width_px}x{height_px} px; \
         depth must be aligned with colour, pixel for pixel"
    )]
    DepthSize { width_px: u32, height_px: u32, depth_width_px: u32, depth_height_px: u32 },
    #[error("the image has no pixels; is the camera or the file whole?")]
    Empty,
    #[error(
        "pixels of type {found} where 8-bit BGR or grey is needed; set the camera's pixel format, \
         or convert in the pipeline with `videoconvert`"
    )]
    PixelType { found: String },
    #[error(
        "a buffer of {bytes} bytes where {format} of {width_px}x{height_px} px takes \
         {bytes_expected}: the camera delivers another format or size than it says"
    )]
    BufferSize {
        format: String,
        width_px: u32,
        height_px: u32,
        bytes: usize,
        bytes_expected: usize,
    },
    #[error("rows of {format} that lie {stride} bytes apart, which do not hold their pixels")]
    Stride { format: String, stride: i32 },
    #[error(
        "a JPEG of {found_width_px}x{found_height_px} px where the camera says {width_px}x{height_px} px"
    )]
    JpegSize { width_px: u32, height_px: u32, found_width_px: u32, found_height_px: u32 },
    #[error(
        "the driver's pixel format {fourcc:?} came through unconverted, as {found}; set \
         source.v4l2.fourcc to one that OpenCV converts, such as MJPG, YUYV, NV12 or GREY"
    )]
    Unconverted { fourcc: String, found: String },
    #[error(
        "pixels of type {found} where 16-bit depth is needed; ask for format `Z16 ` or `GRAY16_LE`"
    )]
    DepthPixelType { found: String },
    #[error("call OpenCV")]
    OpenCv(#[from] opencv::Error),
}

/// Writes an error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

//! Delivers the newest frame of one camera; the only crate that knows OpenCV.
//!
//! [`open`] turns a [`CameraConfig`] into a [`FrameSource`] and a [`CameraHandle`] that tells its
//! state and stops it. Files and folders are read by whoever asks for the next frame. A live
//! camera has two threads: `capture` reads the device into a one-frame slot, and `capture-watch`
//! judges it by the age of its newest frame, because OpenCV's `read` may block for half a minute
//! or for ever:
//!
//! ```text
//!             first frame              no frame for too long,
//!                                      or the device gave up
//!  Opening ----------------> Streaming ----------------------> Lost <--+
//!     |                          ^                             |  |    | back-off,
//!     |                          +---------- first frame ------+  +----+ reopen
//!     +------------- no first frame in time ------------------>
//!
//!  any of them ---- stop, end of file, or a fault that reopening cannot cure ----> Ended
//! ```
//!
//! # Conventions
//!
//! A frame of a live camera is stamped when the driver handed it over
//! ([`StampSource::Arrival`](magpie_perception::StampSource::Arrival)): OpenCV passes on no time
//! of exposure that could be compared with ours. V4L2 and GStreamer hand over before OpenCV
//! converts the pixels, FFmpeg only after it decoded them. A frame of a file is stamped when
//! handed out.

pub mod calibrate;
mod camera_info_file;
mod capture;
mod config;
mod container;
mod depth;
mod device;
mod draw;
mod errors;
mod files;
mod image_file;
mod image_folder;
mod latest_frame;
mod live;
#[cfg(test)]
mod live_tests;
mod monitor;
mod pacer;
mod pixels;
#[cfg(test)]
mod test_clock;
mod video_file;

use std::sync::Arc;

use magpie_perception::{Clock, Counters, FrameSource};

pub use camera_info_file::{
    CameraInfoError, CameraInfoProblem, format_camera_info, parse_camera_info, read_camera_info,
    write_camera_info,
};
pub use config::{CameraConfig, ImageFolderConfig, LiveLimits, SourceKind, V4l2Config};
pub use depth::{DepthCamera, DepthConfig, DepthHandle, Paired, pair_depth};
pub use draw::Canvas;
pub use errors::{OpenError, VideoFileError};
pub use image_file::{
    ImageError, ImageProblem, check_aligned, decode_image, encode_jpeg, read_depth_png, read_image,
    read_sensor_image, write_depth_png, write_png,
};
pub use latest_frame::LatestFrame;
pub use live::LiveFault;
pub use monitor::{CameraHandle, CameraState};

use crate::device::Pixels;
use crate::files::FileSource;
use crate::image_folder::ImageFolder;
use crate::live::LiveSource;
use crate::monitor::Monitor;
use crate::video_file::VideoFile;

/// The time, for every thread of a source.
pub type SharedClock = Arc<dyn Clock + Send + Sync>;

/// An open source, and the handle that watches and stops it.
pub struct Camera {
    pub source: Box<dyn FrameSource + Send>,
    pub handle: CameraHandle,
}

/// Opens a source.
///
/// A file or folder that cannot be read is an error here. A live camera that is not there is not:
/// its state says so, and it is opened as soon as it appears. Corrupt frames are counted in
/// `counters`.
pub fn open(
    config: &CameraConfig,
    clock: SharedClock,
    counters: Arc<Counters>,
) -> Result<Camera, OpenError> {
    config.source.check()?;
    let from = config.source.describe();
    let monitor = Arc::new(Monitor::new(clock, counters, config.limits.frame_age_max));
    let handle = CameraHandle::new(Arc::clone(&monitor));
    let source: Box<dyn FrameSource + Send> = match &config.source {
        SourceKind::ImageFolder(folder) => {
            let reader = Box::new(ImageFolder::open(folder)?);
            Box::new(FileSource::new(from, reader, folder.loop_, config.paced, monitor))
        }
        SourceKind::VideoFile { path, loop_ } => {
            let reader = Box::new(VideoFile::open(path)?);
            Box::new(FileSource::new(from, reader, *loop_, config.paced, monitor))
        }
        live => {
            let open = device::opener(live.clone(), config.limits, Pixels::Color);
            Box::new(LiveSource::start(from, open, config.limits, monitor)?)
        }
    };
    Ok(Camera { source, handle })
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

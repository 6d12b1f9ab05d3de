//! Delivers the newest frame of one camera; the only crate that knows OpenCV and GStreamer.
//!
//! [`open`] turns a [`CameraConfig`] into a [`FrameSource`](magpie_perception::FrameSource) and a
//! [`CameraHandle`] that tells its state and stops it. Whoever asks for the next frame of files
//! reads it. A live camera has two threads: `capture` reads the device into a one-frame slot, and
//! `capture-watch` judges it by the age of its newest frame, because a driver may block for half
//! a minute or for ever:
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
//! # Adding a source
//!
//! - A live camera is one file beside `live/v4l2.rs`: its settings, and `impl LiveDevice` for them,
//!   whose `open` returns a `Device`. It gets a variant of [`LiveSource`] and an arm of
//!   `LiveSource::device` in `config.rs`, and its settings are named in `live/mod.rs` and here;
//!   threads, reopening, state and stamps come with that.
//! - An SDK that delivers colour and depth together is such a file: `Device::retrieve` returns
//!   `Images::new(color, Some(depth))`, the depth in millimetres and aligned with colour. Such a
//!   camera needs no [`pair_depth`], which leaves depth alone that is there already.
//! - A kind of file is one file beside `files/video_file.rs` that implements `Reader`, with a
//!   variant of [`FileSource`] and an arm of `open_files` in `open.rs`.
//! - In TOML a source is a table of `[source]`: see `config/source.rs` of the daemon, and
//!   `systemd/magpie.toml`, which shows each of them.
//! - A source that is none of these implements [`FrameSource`](magpie_perception::FrameSource) in a
//!   crate of its own, as `recording` does.
//!
//! # Conventions
//!
//! A frame of a live camera is stamped when the driver handed it over
//! ([`StampSource::Arrival`](magpie_perception::StampSource::Arrival)): neither OpenCV nor GStreamer
//! passes on a time of exposure that could be compared with ours. V4L2 and GStreamer hand over before
//! the pixels are converted, a network stream only after it was decoded.
//!
//! Every live source says which pixels it delivers. They are converted, or refused by name: bytes
//! whose meaning is unknown never become a picture. A frame of a file is stamped when
//! handed out.

pub mod calibrate;
mod camera_info_file;
mod config;
mod container;
mod depth;
pub mod discover;
mod draw;
mod errors;
mod exif;
mod files;
mod image_file;
mod images;
mod live;
mod monitor;
mod open;
mod pace;
mod pixels;
mod plausible;
#[cfg(test)]
mod test_clock;
mod versions;

pub use camera_info_file::{
    CameraInfoError, CameraInfoProblem, format_camera_info, parse_camera_info, read_camera_info,
    write_camera_info,
};
pub use config::{
    CameraConfig, FileSource, FilesConfig, ImageFolderConfig, LiveConfig, LiveSource,
};
pub use depth::config::{DepthCamera, DepthConfig, DepthSource};
pub use depth::pair::{DepthHandle, DepthTrouble, Paired, pair_depth};
pub use draw::Canvas;
pub use errors::{ImageError, ImageProblem, LiveFault, OpenError, PipelineProblem, VideoFileError};
pub use image_file::{
    check_aligned, decode_image, encode_jpeg, is_picture_name, read_depth_png, read_image,
    read_sensor_image, write_depth_png, write_png,
};
pub use live::gstreamer::GStreamerConfig;
pub use live::limits::LiveLimits;
pub use live::redact::redact;
pub use live::rtsp::RtspConfig;
pub use live::v4l2::V4l2Config;
pub use monitor::{CameraHandle, CameraState};
pub use open::{Camera, open};
pub use pace::SlowCamera;
pub use plausible::{PictureDoubt, picture_doubts};
pub use versions::library_versions;

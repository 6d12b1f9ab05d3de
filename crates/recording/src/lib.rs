//! Writes and reads frames and their results as MCAP files that Foxglove opens. Rerun knows half of their
//! messages: `magpie view` shows it the rest.
//!
//! [`FrameWriter`] appends whole frames in chunks: a process killed at any moment loses at most
//! the chunk it was filling. [`FrameReader`] is a [`FrameSource`](magpie_perception::FrameSource):
//! it hands out whole frames, in order, and counts what it could not read ([`Losses`]).
//! [`MessageReader`] reads the messages of one topic. [`Ring`] holds the last minutes in files that
//! each stand alone. [`LiveViews`] serves the same channels to Foxglove while they come.
//!
//! # Conventions
//!
//! | topic | Foxglove message | content |
//! |---|---|---|
//! | `/camera/color` | `CompressedImage` or `RawImage` | PNG, JPEG or `bgr8`, as the channel's metadata says |
//! | `/camera/depth` | `RawImage` or `CompressedImage` | `16UC1` or 16-bit grey PNG: millimetres, `0` where nothing was measured |
//! | `/camera/camera_info` | `CameraCalibration` | once, before the first frame |
//! | `/tf` | `FrameTransform` | from the base or the gripper to the optical frame, once, before the first frame |
//! | `/camera/annotations` | `ImageAnnotations` | outlines of masks, labels, contact points |
//! | `/grasps` | `PosesInFrame` | the best grasp of each package, in pick order |
//! | `/scene` | `SceneUpdate` | in three dimensions: outlines at the height of the top, cups, approaches, labels; in a calibrated cell |
//! | `/log` | `Log` | each gap: how many frames are missing, and why |
//!
//! | topic | message of `magpie.v1` | content |
//! |---|---|---|
//! | `/magpie/packages` | `Packages` | the result of each processed frame, as it was published |
//! | `/magpie/status` | `Status` | what the daemon said about itself |
//! | `/magpie/outcomes` | `PickOutcome` | what was reported of picks, stamped when it was taken; not served live |
//!
//! The stamp of a frame is the `log_time`, `publish_time` and `timestamp` of its messages; the low
//! 32 bits of its sequence are their MCAP sequence.
//! The metadata records `magpie.recording`, `magpie.scene` and `magpie.identity` hold the schema
//! version, the cell and what made the recording; `magpie.gaps` holds the sum of all gaps, if any.
//! A file of others is read as [`ReadOptions`] say, and guessed at where they are silent: Foxglove's
//! images, and ROS 2's in CDR. Color and depth belong together when their stamps are close.
//! Fields are only ever added; the version rises when an older reader would misunderstand a newer
//! file.

mod bag;
mod choice;
mod coding;
mod error;
mod frames;
mod lens;
mod live;
mod mcap_file;
mod messages;
mod pixels;
mod playback;
mod reader;
mod results;
mod ring;
mod ros;
mod schema;
mod sink;
mod storage;
mod tree;
mod views;
mod writer;

pub use choice::ReadOptions;
pub use coding::{ColorCoding, DepthCoding};
pub use error::RecordingError;
pub use frames::Losses;
pub use live::{LiveError, LiveViews};
pub use messages::{MessageReader, RecordedMessage};
pub use playback::{Pace, Playback, StopHandle};
pub use reader::FrameReader;
pub use ring::{Kept, Ring, RingLimits, check_free_bytes, number_of};
pub use schema::{RecordingInfo, SCHEMA_VERSION};
pub use writer::{FrameWriter, Results, StoredFile, WriteOptions};

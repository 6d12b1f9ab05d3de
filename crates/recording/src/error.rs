//! What can go wrong with a recording, and what to do about it.

use std::io;
use std::path::PathBuf;

use magpie_perception::BoxError;

/// Why a recording could not be written or read.
///
/// An error about the whole file names the file. An error about one frame leaves that to the
/// [`SourceError`](magpie_perception::SourceError) around it.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("recording {} is there already: choose another name or remove it", path.display())]
    Exists { path: PathBuf },
    #[error("create recording {}", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("write recording {}: the chunks before this can still be read", path.display())]
    Write { path: PathBuf, source: BoxError },
    #[error(
        "write frame {sequence}, stamped {stamp_ns} ns, after one stamped {previous_ns} ns: \
         give the recording frames of one clock, oldest first"
    )]
    WriteBackwards { sequence: u64, stamp_ns: u64, previous_ns: u64 },

    #[error("use {} for recordings: check that it is a folder this user may write to", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("record to {}: its disk is not mounted any more; mount it again", path.display())]
    Unmounted { path: PathBuf },
    #[error(
        "keep recordings in {}: it is a link; name the folder that it leads to for recordings, or \
         remove it",
        path.display()
    )]
    KeptElsewhere { path: PathBuf },
    #[error(
        "record to {}: {free_mb} MB are free on its disk, and {free_mb_min} MB are to stay free",
        path.display()
    )]
    Space { path: PathBuf, free_mb: u64, free_mb_min: u64 },

    #[error("open recording {name}")]
    Open { name: String, source: io::Error },
    #[error("{name} is not an MCAP file: give one made by `magpie record` or ROS 2")]
    NotMcap { name: String },
    #[error(
        "{name} holds no pictures that are read, its channels are: {topics}; give a recording of \
         `magpie record`, or of ROS 2 or Foxglove with images"
    )]
    NoPictures { name: String, topics: String },
    #[error(
        "{name} has no {what} images on {topic}, or they are not read; {what} images are on: {there}"
    )]
    NoTopic { name: String, what: &'static str, topic: String, there: String },
    #[error("{name} does not say where its camera is in {base}: {reason}")]
    NoBase { name: String, base: String, reason: String },
    #[error("{name} says itself where its camera is: leave the base frame out")]
    BaseKnown { name: String },
    #[error("read {name} as a ROS 2 bag: record it again, or convert it with `ros2 bag convert`")]
    NoBag { name: String, source: BoxError },
    #[error(
        "read {name} as a ROS 2 bag: it is damaged or cut; rescue what is left with \
         `sqlite3 {name} .recover | sqlite3 rescued.db3`, and list it anew with `ros2 bag reindex`"
    )]
    DamagedBag { name: String, source: BoxError },
    #[error(
        "{name} is compressed as a whole, which is not read: unpack it with `zstd -d {name}`, and \
         name what comes out"
    )]
    Compressed { name: String },
    #[error("{name} is a bag of ROS 1: convert it to ROS 2, with `rosbags-convert` for example")]
    Ros1 { name: String },
    #[error("{name} is a folder with these recordings: {files}; name one .mcap or .db3 file")]
    BagFiles { name: String, files: String },
    #[error("{name} has nothing on {topic}, its channels are: {topics}")]
    NoMessages { name: String, topic: String, topics: String },
    #[error(
        "{name} has recording schema {found}, and this program reads up to {supported}: \
         update Magpie"
    )]
    Newer { name: String, found: u32, supported: u32 },
    #[error("{name} says {record}.{key} = {value:?}, which is not {expected}: record it again")]
    Metadata {
        name: String,
        record: &'static str,
        key: &'static str,
        value: String,
        expected: &'static str,
    },
    #[error("read attachment {attachment:?} of {name}: it is damaged")]
    Attachment { name: String, attachment: String },

    #[error("read the chunk at byte {offset}")]
    Read { offset: u64, source: io::Error },
    #[error("no frame in it is whole, color and depth of one exposure: record it again")]
    NoFrames,
    #[error(
        "frame {sequence} is stamped {stamp_ns} ns, the one before it {previous_ns} ns: \
         put the messages in order with `mcap sort`"
    )]
    Backwards { sequence: u64, stamp_ns: u64, previous_ns: u64 },
    #[error(
        "decode the {what} image of frame {sequence}: \
         cut the frame out with `mcap filter` or record it again"
    )]
    Undecodable { what: &'static str, sequence: u64, source: BoxError },
    #[error(
        "decode the message on {topic} of frame {sequence}: \
         cut the frame out with `mcap filter` or record it again"
    )]
    UndecodableMessage { topic: String, sequence: u32, source: prost::DecodeError },
    #[error(
        "the {what} image of frame {sequence} has {width_px}x{height_px} px, \
         its {other} {other_width_px}x{other_height_px} px: record them at one size"
    )]
    SizeMismatch {
        what: &'static str,
        sequence: u64,
        width_px: u32,
        height_px: u32,
        other: &'static str,
        other_width_px: u32,
        other_height_px: u32,
    },
}

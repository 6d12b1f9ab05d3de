//! The whole frames of a file, still encoded.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use magpie_perception::StampNs;
use mcap::Channel;

use crate::RecordingError;
use crate::mcap_file::{ChunkError, McapFile, StoredMessage};
use crate::schema::{COLOR_TOPIC, DEPTH_TOPIC};

/// Frames whose second image has not come yet. Our own files need one; a sorted or merged one may
/// put other messages between.
const HALVES_MAX: usize = 16;

/// What of a recording could not be read. Grows while the frames are read for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Losses {
    /// The writer was stopped before it closed the file; the chunk it was filling is lost.
    pub unfinished: bool,
    /// Bytes after the last whole record: a chunk cut in two.
    pub bytes_lost: u64,
    /// Chunks whose checksum is wrong; also chunks, and records about the whole file, that the
    /// summary counts and that cannot be told for such any more.
    pub chunks_damaged: u64,
    /// Frames of which only the color or only the depth is there.
    pub frames_incomplete: u64,
    /// Frames that were processed while the recorder was behind: it wrote down that they are
    /// missing.
    pub frames_unrecorded: u64,
}

impl Losses {
    pub fn is_none(&self) -> bool {
        *self == Losses::default()
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if self.unfinished {
            let bytes = self.bytes_lost;
            parts.push(format!("the file was not finished, its last {bytes} bytes are lost"));
        }
        if self.chunks_damaged > 0 {
            parts.push(format!("chunks damaged: {}", self.chunks_damaged));
        }
        if self.frames_incomplete > 0 {
            parts.push(format!("frames incomplete: {}", self.frames_incomplete));
        }
        if self.frames_unrecorded > 0 {
            parts.push(format!("frames not recorded in time: {}", self.frames_unrecorded));
        }
        if parts.is_empty() { f.write_str("nothing lost") } else { f.write_str(&parts.join("; ")) }
    }
}

#[derive(Clone)]
pub(crate) struct StoredImage {
    pub(crate) channel: Arc<Channel<'static>>,
    pub(crate) data: Vec<u8>,
}

impl StoredImage {
    pub(crate) fn schema_name(&self) -> &str {
        self.channel.schema.as_ref().map_or("", |schema| &schema.name)
    }
}

/// A whole frame, still encoded.
pub(crate) struct StoredFrame {
    pub(crate) sequence: u64,
    pub(crate) stamp: StampNs,
    pub(crate) color: StoredImage,
    pub(crate) depth: Option<StoredImage>,
}

/// A frame that may lack an image.
struct Half {
    sequence: u32,
    stamp_ns: u64,
    color: Option<StoredImage>,
    depth: Option<StoredImage>,
}

impl Half {
    fn is_whole(&self) -> bool {
        let with_depth = |color: &StoredImage| {
            color.channel.metadata.get("depth").is_some_and(|t| t == DEPTH_TOPIC)
        };
        self.color.as_ref().is_some_and(|color| self.depth.is_some() || !with_depth(color))
    }
}

/// Walks a file's frames in the order of their messages.
pub(crate) struct StoredFrames {
    file: McapFile,
    chunk_next: usize,
    halves: VecDeque<Half>,
    whole: VecDeque<StoredFrame>,
    losses: Losses,
    /// How color was coded, if that changed it.
    pub(crate) lossy_coding: Option<String>,
    is_first_pass: bool,
}

impl StoredFrames {
    pub(crate) fn new(file: McapFile, frames_unrecorded: u64) -> StoredFrames {
        let losses = Losses {
            unfinished: !file.is_finished,
            bytes_lost: file.bytes_lost,
            frames_unrecorded,
            chunks_damaged: file.unrecognised() as u64,
            ..Losses::default()
        };
        StoredFrames {
            file,
            chunk_next: 0,
            halves: VecDeque::new(),
            whole: VecDeque::new(),
            losses,
            lossy_coding: None,
            is_first_pass: true,
        }
    }

    pub(crate) fn file_mut(&mut self) -> &mut McapFile {
        &mut self.file
    }

    pub(crate) fn losses(&self) -> Losses {
        self.losses
    }

    pub(crate) fn rewind(&mut self) {
        self.chunk_next = 0;
        self.is_first_pass = false;
    }

    pub(crate) fn next(&mut self) -> Result<Option<StoredFrame>, RecordingError> {
        loop {
            if let Some(frame) = self.whole.pop_front() {
                return Ok(Some(frame));
            }
            if self.chunk_next == self.file.chunks() {
                self.give_up_halves(self.halves.len());
                return Ok(None);
            }
            let messages = self.file.messages(self.chunk_next);
            self.chunk_next += 1;
            match messages {
                Ok(messages) => messages.into_iter().for_each(|message| self.take(message)),
                Err(ChunkError::Damaged) => {
                    self.losses.chunks_damaged += u64::from(self.is_first_pass);
                }
                Err(ChunkError::Read { offset, source }) => {
                    return Err(RecordingError::Read { offset, source });
                }
            }
        }
    }

    fn take(&mut self, message: StoredMessage) {
        let StoredMessage { channel, header, data } = message;
        let is_color = channel.topic == COLOR_TOPIC;
        if !is_color && channel.topic != DEPTH_TOPIC {
            return;
        }
        let (sequence, stamp_ns) = (header.sequence, header.log_time);
        let same = |half: &Half| (half.sequence, half.stamp_ns) == (sequence, stamp_ns);
        let at = self.halves.iter().position(same).unwrap_or_else(|| {
            self.halves.push_back(Half { sequence, stamp_ns, color: None, depth: None });
            self.halves.len() - 1
        });
        if is_color && channel.metadata.get("lossless").is_some_and(|value| value == "false") {
            self.lossy_coding = channel.metadata.get("coding").cloned();
        }
        let image = Some(StoredImage { channel, data });
        let half = &mut self.halves[at];
        if is_color {
            half.color = image
        } else {
            half.depth = image
        }
        if half.is_whole() {
            // Order is kept: what came before this frame and is not whole stays behind.
            self.give_up_halves(at);
            self.whole.extend(self.halves.pop_front().and_then(into_whole));
        } else if self.halves.len() > HALVES_MAX {
            self.give_up_halves(1);
        }
    }

    fn give_up_halves(&mut self, count: usize) {
        let lost = self.halves.drain(..count).len();
        self.losses.frames_incomplete += if self.is_first_pass { lost as u64 } else { 0 };
    }
}

fn into_whole(half: Half) -> Option<StoredFrame> {
    let Half { sequence, stamp_ns, color, depth } = half;
    let (sequence, stamp) = (u64::from(sequence), StampNs(stamp_ns));
    color.map(|color| StoredFrame { sequence, stamp, color, depth })
}

//! The whole frames of a file, still encoded.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use magpie_perception::StampNs;
use mcap::Channel;

use crate::RecordingError;
use crate::coding::stamp_of;
use crate::mcap_file::{ChunkError, StoredMessage};
use crate::schema::{COLOR_TOPIC, DEPTH_TOPIC};
use crate::storage::Storage;

/// So many frames may wait for their second image. Our own files need one; a sorted or merged file
/// may put other messages between the two.
const PARTIAL_FRAMES_MAX: usize = 16;

/// What could not be read of a recording. It grows while the frames are read for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Losses {
    /// The writer was stopped before it closed the file; the chunk it was filling is lost.
    pub unfinished: bool,
    /// Bytes after the last whole record: a chunk cut in two.
    pub bytes_lost: u64,
    /// Chunks whose checksum is wrong; also chunks, and records about the whole file, that the
    /// summary counts and that are too damaged to be recognised.
    pub chunks_damaged: u64,
    /// Frames of which only the color or only the depth is there.
    pub frames_incomplete: u64,
    /// Frames that the recorder could not write in time. It wrote down that they are missing.
    pub frames_unrecorded: u64,
    /// How close the closest depth comes to a picture that has none of its exposure, where others made
    /// the recording.
    pub depth_apart_ns: Option<u64>,
    /// No picture has depth of its exposure: they are read without.
    pub depth_unused: bool,
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
            parts.push(match self.bytes_lost {
                0 => "the file was not finished; what was not yet written is lost".to_owned(),
                bytes => format!("the file was not finished, and its last {bytes} bytes are lost"),
            });
        }
        if self.chunks_damaged > 0 {
            parts.push(format!("chunks damaged: {}", self.chunks_damaged));
        }
        let apart = |ns: u64| match ns / 1_000_000 {
            ms @ ..10_000 => format!("stamped {ms} ms away or more"),
            ms => format!("stamped {} s away or more", ms / 1000),
        };
        if self.frames_incomplete > 0 {
            let apart = self.depth_apart_ns.map(|ns| format!(" (depth is {})", apart(ns)));
            parts.push(format!(
                "frames incomplete: {}{}",
                self.frames_incomplete,
                apart.unwrap_or_default()
            ));
        }
        if let Some(ns) = self.depth_apart_ns.filter(|_| self.depth_unused) {
            parts.push(format!(
                "depth is not used, since all of it is {} from color, and within {} ms it would be of \
                 the same exposure",
                apart(ns),
                SAME_EXPOSURE_NS_MAX / 1_000_000
            ));
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

/// A frame of which an image may still be missing.
struct PartialFrame {
    sequence: u32,
    stamp_ns: u64,
    color: Option<StoredImage>,
    depth: Option<StoredImage>,
}

impl PartialFrame {
    fn is_whole(&self) -> bool {
        let with_depth = |color: &StoredImage| {
            color.channel.metadata.get("depth").is_some_and(|t| t == DEPTH_TOPIC)
        };
        self.color.as_ref().is_some_and(|color| self.depth.is_some() || !with_depth(color))
    }
}

/// Where the frames of a file are, and how their images find each other.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) color: String,
    pub(crate) depth: Option<String>,
    /// By stamps that are close, where others wrote the file; else by sequence and stamp, as we
    /// write them, and a color channel says whether depth belongs to it.
    pub(crate) by_stamp: bool,
    /// Whether sequences are those of frames. Others count messages, or nothing.
    pub(crate) is_numbered: bool,
    /// Depth that somebody asked for is not passed over.
    pub(crate) is_depth_asked: bool,
}

impl Selection {
    pub(crate) fn ours() -> Selection {
        let (color, depth) = (COLOR_TOPIC.to_owned(), Some(DEPTH_TOPIC.to_owned()));
        Selection { color, depth, by_stamp: false, is_numbered: true, is_depth_asked: false }
    }
}

/// Color and depth of one exposure are stamped within this.
const SAME_EXPOSURE_NS_MAX: u64 = 16_000_000;
/// So many pictures may wait for depth that comes later.
const WAITING_MAX: usize = 16;

/// An image with the sequence and the stamp of its frame.
type Stamped = (u64, StampNs, StoredImage);

/// Images that wait for their partner.
#[derive(Default)]
struct Waiting {
    color: VecDeque<Stamped>,
    depth: VecDeque<Stamped>,
}

/// Walks a file's frames in the order of their messages.
pub(crate) struct StoredFrames {
    file: Storage,
    selection: Selection,
    waiting: Waiting,
    /// Others number nothing, or everything with 0.
    sequence_next: u64,
    chunk_next: usize,
    partial: VecDeque<PartialFrame>,
    whole: VecDeque<StoredFrame>,
    losses: Losses,
    has_images: bool,
    /// How color was coded, if that changed it.
    pub(crate) lossy_coding: Option<String>,
    is_first_pass: bool,
    /// Whether any picture was read with its depth.
    has_pairs: bool,
}

impl StoredFrames {
    pub(crate) fn new(file: Storage, selection: Selection, frames_unrecorded: u64) -> StoredFrames {
        let losses = Losses {
            unfinished: !file.is_finished(),
            bytes_lost: file.bytes_lost(),
            frames_unrecorded,
            chunks_damaged: file.unrecognised() as u64,
            ..Losses::default()
        };
        StoredFrames {
            file,
            selection,
            waiting: Waiting::default(),
            sequence_next: 0,
            chunk_next: 0,
            partial: VecDeque::new(),
            whole: VecDeque::new(),
            losses,
            has_images: false,
            lossy_coding: None,
            is_first_pass: true,
            has_pairs: false,
        }
    }

    pub(crate) fn file_mut(&mut self) -> &mut Storage {
        &mut self.file
    }

    pub(crate) fn losses(&self) -> Losses {
        self.losses
    }

    /// Whether no image was ever in what has been read.
    pub(crate) fn is_empty(&self) -> bool {
        let Losses { bytes_lost, chunks_damaged, .. } = self.losses;
        !self.has_images && bytes_lost == 0 && chunks_damaged == 0
    }

    pub(crate) fn rewind(&mut self) {
        (self.chunk_next, self.sequence_next) = (0, 0);
        // What is left over at the end has no partner at the beginning.
        self.waiting = Waiting::default();
        self.is_first_pass = false;
    }

    pub(crate) fn next(&mut self) -> Result<Option<StoredFrame>, RecordingError> {
        loop {
            if let Some(mut frame) = self.whole.pop_front() {
                frame.sequence = frame.sequence.max(self.sequence_next);
                self.sequence_next = frame.sequence + 1;
                return Ok(Some(frame));
            }
            if self.chunk_next == self.file.chunks() {
                self.give_up_partial(self.partial.len());
                self.settle(true);
                if self.whole.is_empty() && self.gives_up_depth() {
                    continue;
                }
                if self.whole.is_empty() {
                    return Ok(None);
                }
                continue;
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
        let is_color = channel.topic == self.selection.color;
        if !is_color && self.selection.depth.as_ref() != Some(&channel.topic) {
            return;
        }
        self.has_images = true;
        let (sequence, stamp_ns) = (header.sequence, header.log_time);
        if is_color && channel.metadata.get("lossless").is_some_and(|value| value == "false") {
            self.lossy_coding = channel.metadata.get("coding").cloned();
        }
        let image = StoredImage { channel, data };
        if self.selection.by_stamp {
            let stamp = stamp_of(image.schema_name(), &image.data);
            let stamp = stamp.unwrap_or(StampNs(stamp_ns));
            let waiting = if is_color { &mut self.waiting.color } else { &mut self.waiting.depth };
            let sequence = if self.selection.is_numbered { u64::from(sequence) } else { 0 };
            waiting.push_back((sequence, stamp, image));
            self.settle(false);
            return;
        }
        let same = |frame: &PartialFrame| (frame.sequence, frame.stamp_ns) == (sequence, stamp_ns);
        let at = self.partial.iter().position(same).unwrap_or_else(|| {
            self.partial.push_back(PartialFrame { sequence, stamp_ns, color: None, depth: None });
            self.partial.len() - 1
        });
        let image = Some(image);
        let frame = &mut self.partial[at];
        if is_color {
            frame.color = image
        } else {
            frame.depth = image
        }
        if frame.is_whole() {
            // Frames stay in order: those before this one that are not whole are given up.
            self.give_up_partial(at);
            self.whole.extend(self.partial.pop_front().and_then(into_whole));
        } else if self.partial.len() > PARTIAL_FRAMES_MAX {
            self.give_up_partial(1);
        }
    }

    /// Begins again without depth, if none of it belongs to any picture.
    fn gives_up_depth(&mut self) -> bool {
        let is_apart = self.is_first_pass && self.selection.by_stamp && !self.has_pairs;
        if !is_apart || self.selection.is_depth_asked || self.losses.depth_apart_ns.is_none() {
            return false;
        }
        self.selection.depth = None;
        self.rewind();
        (self.losses.depth_unused, self.losses.frames_incomplete) = (true, 0);
        true
    }

    /// Gives each picture the depth that is closest in time, once no closer one can come.
    fn settle(&mut self, at_end: bool) {
        let Waiting { color, depth } = &mut self.waiting;
        let away = |one: StampNs, other: StampNs| one.since_ns(other).max(other.since_ns(one));
        while let Some((_, stamp, _)) = color.front() {
            let stamp = *stamp;
            let mut partner = None;
            if self.selection.depth.is_some() {
                let passed = depth.back().is_some_and(|(_, last, _)| *last >= stamp);
                if !passed && !at_end && color.len() <= WAITING_MAX {
                    return;
                }
                let all = depth.iter().map(|(_, one, _)| away(*one, stamp));
                let closest = all.enumerate().min_by_key(|(_, apart_ns)| *apart_ns);
                match closest {
                    Some((at, apart_ns)) if apart_ns <= SAME_EXPOSURE_NS_MAX => {
                        depth.drain(..at);
                        partner = depth.pop_front().map(|(.., image)| image);
                        self.has_pairs = true;
                    }
                    Some((_, apart_ns)) => {
                        let least = self.losses.depth_apart_ns.get_or_insert(apart_ns);
                        *least = apart_ns.min(*least);
                    }
                    None => {}
                }
            }
            let Some((sequence, stamp, color)) = color.pop_front() else { return };
            if partner.is_some() || self.selection.depth.is_none() {
                self.whole.push_back(StoredFrame { sequence, stamp, color, depth: partner });
            } else {
                self.losses.frames_incomplete += u64::from(self.is_first_pass);
            }
        }
        // Depth that no picture wants any more.
        while depth.len() > WAITING_MAX {
            depth.pop_front();
        }
    }

    fn give_up_partial(&mut self, count: usize) {
        let lost = self.partial.drain(..count).len();
        self.losses.frames_incomplete += if self.is_first_pass { lost as u64 } else { 0 };
    }
}

fn into_whole(partial: PartialFrame) -> Option<StoredFrame> {
    let PartialFrame { sequence, stamp_ns, color, depth } = partial;
    let (sequence, stamp) = (u64::from(sequence), StampNs(stamp_ns));
    color.map(|color| StoredFrame { sequence, stamp, color, depth })
}

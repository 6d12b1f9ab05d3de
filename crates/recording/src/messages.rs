//! The messages of one topic of a recording, still encoded.

use std::collections::VecDeque;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use magpie_perception::StampNs;

use crate::mcap_file::{ChunkError, McapFile};
use crate::{RecordingError, reader};

/// One message as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedMessage {
    /// The low 32 bits of the frame's sequence.
    pub sequence: u32,
    pub stamp: StampNs,
    pub data: Vec<u8>,
}

/// Reads the messages of one topic in the order of the file. Damaged chunks are left out, as
/// [`FrameReader`](crate::FrameReader) leaves them out and counts them.
pub struct MessageReader {
    topic: String,
    file: McapFile,
    chunk_next: usize,
    read: VecDeque<RecordedMessage>,
}

impl MessageReader {
    pub fn open(path: &Path, topic: &str) -> Result<MessageReader, RecordingError> {
        let name = path.display().to_string();
        let input = match File::open(path) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(source) => return Err(RecordingError::Open { name, source }),
        };
        let (file, _info) = reader::open_own(&name, input)?;
        Ok(MessageReader { topic: topic.to_owned(), file, chunk_next: 0, read: VecDeque::new() })
    }

    /// `Ok(None)` at the end.
    pub fn next_message(&mut self) -> Result<Option<RecordedMessage>, RecordingError> {
        loop {
            if let Some(message) = self.read.pop_front() {
                return Ok(Some(message));
            }
            if self.chunk_next == self.file.chunks() {
                return Ok(None);
            }
            let messages = match self.file.messages(self.chunk_next) {
                Ok(messages) => messages,
                Err(ChunkError::Damaged) => Vec::new(),
                Err(ChunkError::Read { offset, source }) => {
                    return Err(RecordingError::Read { offset, source });
                }
            };
            self.chunk_next += 1;
            let of_topic = messages.into_iter().filter(|m| m.channel.topic == self.topic);
            self.read.extend(of_topic.map(|message| RecordedMessage {
                sequence: message.header.sequence,
                stamp: StampNs(message.header.log_time),
                data: message.data,
            }));
        }
    }
}

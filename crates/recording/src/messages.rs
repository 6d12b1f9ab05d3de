//! Reads the messages of one topic of a recording.

use std::collections::VecDeque;
use std::path::Path;

use magpie_perception::StampNs;
use prost::Message;

use crate::mcap_file::{ChunkError, StoredMessage};
use crate::storage::Storage;
use crate::{RecordingError, RecordingInfo};

/// One message, and which frame it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedMessage<T> {
    /// The low 32 bits of the frame's sequence; 0 for a message that belongs to no frame.
    pub sequence: u32,
    pub stamp: StampNs,
    pub message: T,
}

/// Reads the messages of one topic in the order of the file. Damaged chunks are left out, as
/// [`FrameReader`](crate::FrameReader) leaves them out and counts them.
pub struct MessageReader<T> {
    topic: String,
    file: Storage,
    chunk_next: usize,
    read: VecDeque<Result<RecordedMessage<T>, RecordingError>>,
}

impl<T: Message + Default> MessageReader<T> {
    /// Reads the messages of any topic, the viewers' for example. `T` must be the type of that
    /// topic's messages.
    pub fn open(path: &Path, topic: &str) -> Result<MessageReader<T>, RecordingError> {
        let name = path.display().to_string();
        let file = Storage::open(path)?;
        let own = RecordingInfo::from_records(&name, file.metadata())?;
        if own.is_none() && !file.topics().contains(topic) {
            let topics: Vec<&str> = file.topics().iter().map(String::as_str).collect();
            let (topic, topics) = (topic.to_owned(), topics.join(", "));
            return Err(RecordingError::NoMessages { name, topic, topics });
        }
        Ok(MessageReader { topic: topic.to_owned(), file, chunk_next: 0, read: VecDeque::new() })
    }

    /// The next message; `Ok(None)` at the end.
    pub fn next_message(&mut self) -> Result<Option<RecordedMessage<T>>, RecordingError> {
        loop {
            if let Some(message) = self.read.pop_front() {
                return message.map(Some);
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
            self.read.extend(of_topic.map(decode));
        }
    }
}

fn decode<T: Message + Default>(
    stored: StoredMessage,
) -> Result<RecordedMessage<T>, RecordingError> {
    let StoredMessage { channel, header, data } = stored;
    let (sequence, stamp) = (header.sequence, StampNs(header.log_time));
    match T::decode(&data[..]) {
        Ok(message) => Ok(RecordedMessage { sequence, stamp, message }),
        Err(source) => {
            let topic = channel.topic.clone();
            Err(RecordingError::UndecodableMessage { topic, sequence, source })
        }
    }
}

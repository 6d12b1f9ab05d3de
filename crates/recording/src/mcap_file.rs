//! An MCAP file as its whole chunks, finished or not. Messages that lie between chunks, as some
//! writers leave them, are read as if so many of them were a chunk.
//!
//! The scan goes from the front, record head by record head, and does not use the summary. So a file
//! whose end is missing reads like any other, up to its last whole record.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use mcap::read::ChannelAccumulator;
use mcap::records::{MessageHeader, Record, op};
use mcap::sans_io::linear_reader::{LinearReadEvent, LinearReader, LinearReaderOptions};
use mcap::{Channel, MAGIC, McapError};

use crate::schema::Fields;

/// Opcode and length.
const RECORD_HEAD_BYTES: usize = 1 + 8;
/// Our records are far smaller. The limit keeps a damaged length from allocating all memory.
pub(crate) const RECORD_BYTES_MAX: usize = 1 << 29;

/// A chunk of half a second at a camera's full rate has a tenth of it. The limit keeps a few bytes that
/// unpack to very many from filling all memory.
pub(crate) const CHUNK_BYTES_MAX: usize = 1 << 30;

pub(crate) trait Input: Read + Seek + Send {}
impl<T: Read + Seek + Send> Input for T {}

pub(crate) struct McapFile {
    input: Box<dyn Input>,
    chunks: Vec<Chunk>,
    attachments: Vec<RecordSpan>,
    channels: ChannelAccumulator<'static>,
    channel_ids: BTreeMap<String, BTreeSet<u16>>,
    /// Metadata records by name; the last of a name counts.
    pub(crate) metadata: BTreeMap<String, Fields>,
    pub(crate) topics: BTreeSet<String>,
    /// The writer reached the end of the data, so no chunk is missing.
    pub(crate) is_finished: bool,
    /// Bytes after the last whole record of a file that is not finished.
    pub(crate) bytes_lost: u64,
    /// The summary says that there are so many chunks and metadata records.
    chunks_in_summary: usize,
    metadata_in_summary: usize,
    metadata_read: usize,
}

/// Where a record lies, with its head.
#[derive(Clone, Copy, Debug)]
struct RecordSpan {
    opcode: u8,
    offset: u64,
    bytes: u64,
}

/// What is read at once.
#[derive(Clone, Debug)]
enum Chunk {
    /// With the channels of its messages, as far as indexes behind it say so.
    Packed(RecordSpan, BTreeSet<u16>),
    /// Records that lie side by side, among them messages: `offset` and `bytes` of all of them.
    Loose(RecordSpan),
}

/// So much of a file without chunks is read at once.
const LOOSE_BYTES_MAX: u64 = 4 << 20;

impl RecordSpan {
    fn is_too_long(self) -> bool {
        self.bytes > RECORD_BYTES_MAX as u64
    }
}

pub(crate) struct StoredMessage {
    pub(crate) channel: Arc<Channel<'static>>,
    pub(crate) header: MessageHeader,
    pub(crate) data: Vec<u8>,
}

/// Why a chunk gave no messages.
pub(crate) enum ChunkError {
    Read {
        offset: u64,
        source: io::Error,
    },
    /// The chunk's checksum, compression or records are wrong.
    Damaged,
}

impl McapFile {
    /// `Ok(None)` if it is no MCAP file.
    pub(crate) fn scan(mut input: Box<dyn Input>) -> io::Result<Option<McapFile>> {
        let end = input.seek(SeekFrom::End(0))?;
        input.rewind()?;
        let mut magic = [0; MAGIC.len()];
        if end < magic.len() as u64 {
            return Ok(None);
        }
        input.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Ok(None);
        }
        let mut file = McapFile {
            input,
            chunks: Vec::new(),
            attachments: Vec::new(),
            channels: ChannelAccumulator::default(),
            channel_ids: BTreeMap::new(),
            metadata: BTreeMap::new(),
            topics: BTreeSet::new(),
            is_finished: false,
            bytes_lost: 0,
            chunks_in_summary: 0,
            metadata_in_summary: 0,
            metadata_read: 0,
        };
        let mut at = magic.len() as u64;
        while let Some(span) = file.record_at(at, end)? {
            file.note(span)?;
            at += span.bytes;
        }
        file.bytes_lost = if file.is_finished { 0 } else { end - at };
        Ok(Some(file))
    }

    /// The record that starts at `at`, if all of it is there.
    fn record_at(&mut self, at: u64, end: u64) -> io::Result<Option<RecordSpan>> {
        let head_bytes = RECORD_HEAD_BYTES as u64;
        if end - at < head_bytes {
            return Ok(None);
        }
        let mut head = [0; RECORD_HEAD_BYTES];
        self.input.seek(SeekFrom::Start(at))?;
        self.input.read_exact(&mut head)?;
        let [opcode, length @ ..] = head;
        let length = u64::from_le_bytes(length);
        // MCAP reserves opcode 0; a file system leaves it after a power cut.
        if opcode == 0 || length > end - at - head_bytes {
            return Ok(None);
        }
        Ok(Some(RecordSpan { opcode, offset: at, bytes: head_bytes + length }))
    }

    fn note(&mut self, span: RecordSpan) -> io::Result<()> {
        match span.opcode {
            // The length is damaged. Whoever needs this record reports that it is missing.
            op::STATISTICS | op::METADATA | op::SCHEMA | op::CHANNEL if span.is_too_long() => {}
            op::CHUNK => self.chunks.push(Chunk::Packed(span, BTreeSet::new())),
            op::MESSAGE_INDEX => self.note_index(span)?,
            op::MESSAGE if !self.is_finished => self.note_loose(span),
            op::ATTACHMENT => self.attachments.push(span),
            op::DATA_END => self.is_finished = true,
            op::STATISTICS => {
                let bytes = self.read(span)?;
                let record = mcap::parse_record(span.opcode, &bytes[RECORD_HEAD_BYTES..]);
                if let Ok(Record::Statistics(statistics)) = record {
                    self.chunks_in_summary = statistics.chunk_count as usize;
                    self.metadata_in_summary = statistics.metadata_count as usize;
                }
            }
            // The summary repeats schemas and channels: they help should the first chunk be
            // damaged.
            op::METADATA | op::SCHEMA | op::CHANNEL => {
                let bytes = self.read(span)?;
                match mcap::parse_record(span.opcode, &bytes[RECORD_HEAD_BYTES..]) {
                    Ok(Record::Metadata(record)) => {
                        self.metadata_read += 1;
                        self.metadata.insert(record.name, record.metadata);
                    }
                    // Whoever needs a record that cannot be used reports that it is missing.
                    Ok(record) => drop(self.note_channel(record)),
                    Err(_unreadable) => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// It begins with the channel whose messages it lists.
    fn note_index(&mut self, span: RecordSpan) -> io::Result<()> {
        let mut channel_id = [0; 2];
        if let Some(Chunk::Packed(_, channels)) = self.chunks.last_mut()
            && span.bytes >= (RECORD_HEAD_BYTES + channel_id.len()) as u64
        {
            self.input.seek(SeekFrom::Start(span.offset + RECORD_HEAD_BYTES as u64))?;
            self.input.read_exact(&mut channel_id)?;
            channels.insert(u16::from_le_bytes(channel_id));
        }
        Ok(())
    }

    /// Neighbours are read together, as long as they are small.
    fn note_loose(&mut self, span: RecordSpan) {
        match self.chunks.last_mut() {
            Some(Chunk::Loose(loose))
                if loose.offset + loose.bytes == span.offset
                    && loose.bytes + span.bytes <= LOOSE_BYTES_MAX =>
            {
                loose.bytes += span.bytes;
            }
            _ => self.chunks.push(Chunk::Loose(span)),
        }
    }

    fn note_channel(&mut self, record: Record<'_>) -> Result<(), McapError> {
        match record {
            Record::Schema { header, data } => {
                self.channels.add_schema(header, data.into_owned().into())
            }
            Record::Channel(channel) => {
                self.topics.insert(channel.topic.clone());
                self.channel_ids.entry(channel.topic.clone()).or_default().insert(channel.id);
                self.channels.add_channel(channel)
            }
            _ => Ok(()),
        }
    }

    fn read(&mut self, span: RecordSpan) -> io::Result<Vec<u8>> {
        assert!(!span.is_too_long(), "the callers check before anything is allocated");
        let bytes = usize::try_from(span.bytes).map_err(io::Error::other)?;
        let mut record = vec![0; bytes];
        self.input.seek(SeekFrom::Start(span.offset))?;
        self.input.read_exact(&mut record)?;
        Ok(record)
    }

    /// Those of a topic, as far as they are known.
    pub(crate) fn channels_of(&self, topic: &str) -> Vec<Arc<Channel<'static>>> {
        let ids = self.channel_ids.get(topic).into_iter().flatten();
        ids.filter_map(|id| self.channels.get(*id)).collect()
    }

    pub(crate) fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Whether a chunk may hold messages of these topics; only where its indexes say so it holds none.
    pub(crate) fn may_hold(&self, chunk: usize, is_wanted: &dyn Fn(&str) -> bool) -> bool {
        match &self.chunks[chunk] {
            Chunk::Packed(_, channels) if !channels.is_empty() => {
                let mut channels = channels.iter().map(|id| self.channels.get(*id));
                channels.any(|channel| channel.is_none_or(|channel| is_wanted(&channel.topic)))
            }
            _ => true,
        }
    }

    /// How many chunks and metadata records the summary counts and the scan did not recognise.
    pub(crate) fn unrecognised(&self) -> usize {
        let packed = self.chunks.iter().filter(|chunk| matches!(chunk, Chunk::Packed(..))).count();
        self.chunks_in_summary.saturating_sub(packed)
            + self.metadata_in_summary.saturating_sub(self.metadata_read)
    }

    /// All messages of a chunk, or none: a chunk whose checksum is wrong is not used.
    pub(crate) fn messages(&mut self, chunk: usize) -> Result<Vec<StoredMessage>, ChunkError> {
        let (Chunk::Packed(span, _) | Chunk::Loose(span)) = self.chunks[chunk];
        if span.is_too_long() {
            return Err(ChunkError::Damaged);
        }
        let bytes =
            self.read(span).map_err(|source| ChunkError::Read { offset: span.offset, source })?;
        self.unpack(&bytes).map_err(|_damage| ChunkError::Damaged)
    }

    fn unpack(&mut self, mut chunk: &[u8]) -> Result<Vec<StoredMessage>, McapError> {
        let mut reader = LinearReader::new_with_options(
            LinearReaderOptions::default()
                .with_skip_start_magic(true)
                .with_skip_end_magic(true)
                // The checksum comes first, so that nothing of a damaged chunk is parsed.
                .with_prevalidate_chunk_crcs(true)
                .with_record_length_limit(RECORD_BYTES_MAX),
        );
        let mut messages = Vec::new();
        let mut unpacked_bytes = 0;
        while let Some(event) = reader.next_event() {
            match event? {
                LinearReadEvent::ReadRequest(wanted) => {
                    let (now, later) = chunk.split_at(wanted.min(chunk.len()));
                    reader.insert(now.len()).copy_from_slice(now);
                    reader.notify_read(now.len());
                    chunk = later;
                }
                LinearReadEvent::Record { opcode, data } => {
                    unpacked_bytes += data.len();
                    if unpacked_bytes > CHUNK_BYTES_MAX {
                        return Err(McapError::RecordTooLarge {
                            opcode,
                            len: unpacked_bytes as u64,
                        });
                    }
                    match mcap::parse_record(opcode, data)? {
                        Record::Message { header, data } => {
                            let (sequence, id) = (header.sequence, header.channel_id);
                            let channel = self
                                .channels
                                .get(id)
                                .ok_or(McapError::UnknownChannel(sequence, id))?;
                            let data = data.into_owned();
                            messages.push(StoredMessage { channel, header, data });
                        }
                        record => self.note_channel(record)?,
                    }
                }
            }
        }
        Ok(messages)
    }

    /// The attachment of that name: `Ok(None)` if there is none, `Some(None)` if it is damaged.
    pub(crate) fn attachment(&mut self, name: &str) -> io::Result<Option<Option<Vec<u8>>>> {
        for span in self.attachments.clone() {
            if span.is_too_long() {
                continue;
            }
            let record = self.read(span)?;
            let body = &record[RECORD_HEAD_BYTES..];
            if attachment_name(body) == Some(name.as_bytes()) {
                let data = match mcap::parse_record(op::ATTACHMENT, body) {
                    Ok(Record::Attachment { data, .. }) => Some(data.into_owned()),
                    _ => None,
                };
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}

/// `None` if the body lacks a part that the parser does not check for.
fn attachment_name(body: &[u8]) -> Option<&[u8]> {
    let (_times, rest) = body.split_at_checked(2 * 8)?;
    let (name, rest) = split_string(rest)?;
    let (_media_type, rest) = split_string(rest)?;
    // Length of the data and checksum.
    (rest.len() >= 8 + 4).then_some(name)
}

fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

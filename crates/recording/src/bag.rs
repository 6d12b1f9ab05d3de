//! The messages of a ROS 2 bag that is an SQLite database, `.db3`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use mcap::records::MessageHeader;
use mcap::{Channel, Schema};
use rusqlite::{Connection, OpenFlags, params};

use crate::mcap_file::{CHUNK_BYTES_MAX, ChunkError, RECORD_BYTES_MAX, StoredMessage};

/// With what every SQLite file begins.
pub(crate) const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// So many messages are read at once.
const MESSAGES_AT_ONCE: usize = 16;

pub(crate) struct BagFile {
    database: Connection,
    channels: HashMap<i64, Arc<Channel<'static>>>,
    pub(crate) topics: BTreeSet<String>,
    /// With their topics, in the order of time.
    messages: Vec<(i64, i64)>,
}

/// Why an SQLite file is read as no bag.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BagError {
    #[error("it has no tables `topics` and `messages`")]
    OtherTables,
    #[error(transparent)]
    Damaged(#[from] rusqlite::Error),
}

impl BagFile {
    pub(crate) fn open(path: &Path) -> Result<BagFile, BagError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Connection::open_with_flags(path, flags)?;
        // A view may make rows without end, and a virtual table run what it likes.
        let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' \
                      AND name IN ('topics', 'messages') AND sql NOT LIKE '%VIRTUAL%'";
        if database.query_row(tables, (), |row| row.get::<_, i64>(0))? != 2 {
            return Err(BagError::OtherTables);
        }
        let mut channels = HashMap::new();
        let mut topics =
            database.prepare("SELECT id, name, type, serialization_format FROM topics")?;
        let rows = topics.query_map((), |row| {
            let (id, name, kind): (i64, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            Ok((id, channel(id, name, kind, row.get(3)?)))
        })?;
        for row in rows {
            let (id, channel) = row?;
            channels.insert(id, Arc::new(channel));
        }
        drop(topics);
        let mut ids =
            database.prepare("SELECT id, topic_id FROM messages ORDER BY timestamp, id")?;
        let id = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let messages = ids.query_map((), id)?.collect::<rusqlite::Result<_>>()?;
        drop(ids);
        let topics = channels.values().map(|channel| channel.topic.clone()).collect();
        Ok(BagFile { database, channels, topics, messages })
    }

    pub(crate) fn chunks(&self) -> usize {
        self.messages.len().div_ceil(MESSAGES_AT_ONCE)
    }

    fn chunk(&self, chunk: usize) -> &[(i64, i64)] {
        let first = chunk * MESSAGES_AT_ONCE;
        &self.messages[first..self.messages.len().min(first + MESSAGES_AT_ONCE)]
    }

    pub(crate) fn may_hold(&self, chunk: usize, is_wanted: &dyn Fn(&str) -> bool) -> bool {
        let mut channels = self.chunk(chunk).iter().filter_map(|(_, id)| self.channels.get(id));
        channels.any(|channel| is_wanted(&channel.topic))
    }

    pub(crate) fn messages(&mut self, chunk: usize) -> Result<Vec<StoredMessage>, ChunkError> {
        let bytes_max = i64::try_from(RECORD_BYTES_MAX).expect("half a gigabyte");
        let read = || -> rusqlite::Result<Vec<StoredMessage>> {
            let sql = "SELECT topic_id, timestamp, data FROM messages \
                       WHERE id = ? AND length(data) <= ?";
            let mut query = self.database.prepare(sql)?;
            let (mut messages, mut bytes) = (Vec::new(), 0);
            for (id, _) in self.chunk(chunk) {
                let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                let (topic, stamp_ns, data): (i64, i64, Vec<u8>) =
                    query.query_row(params![id, bytes_max], row)?;
                bytes += data.len();
                if bytes > CHUNK_BYTES_MAX {
                    return Err(rusqlite::Error::InvalidQuery);
                }
                // What is on a topic that the bag does not list cannot be understood.
                let Some(channel) = self.channels.get(&topic) else { continue };
                let log_time = u64::try_from(stamp_ns).unwrap_or_default();
                let header = MessageHeader {
                    channel_id: channel.id,
                    sequence: 0,
                    log_time,
                    publish_time: log_time,
                };
                messages.push(StoredMessage { channel: Arc::clone(channel), header, data });
            }
            Ok(messages)
        };
        read().map_err(|_damage| ChunkError::Damaged)
    }
}

fn channel(id: i64, topic: String, kind: String, encoding: String) -> Channel<'static> {
    let schema = Schema {
        id: 1,
        name: kind,
        // What its messages look like is known by their name.
        encoding: String::new(),
        data: Cow::Borrowed(&[]),
    };
    Channel {
        id: u16::try_from(id).unwrap_or_default(),
        topic,
        schema: Some(Arc::new(schema)),
        message_encoding: encoding,
        metadata: BTreeMap::new(),
    }
}

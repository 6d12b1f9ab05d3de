//! A recording's messages, however its file stores them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mcap::Channel;

use crate::RecordingError;
use crate::bag::{BagError, BagFile, SQLITE_MAGIC};
use crate::mcap_file::{ChunkError, Input, McapFile, StoredMessage};
use crate::schema::Fields;

/// With what a file compressed by zstd begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
const ROS_1_MAGIC: &[u8] = b"#ROSBAG V";

pub(crate) enum Storage {
    Mcap(McapFile),
    Bag(BagFile),
}

impl Storage {
    /// A file, or the folder of a ROS 2 bag.
    pub(crate) fn open(path: &Path) -> Result<Storage, RecordingError> {
        let path = if path.is_dir() { file_of_bag(path)? } else { path.to_owned() };
        let name = path.display().to_string();
        let opened = |source| RecordingError::Open { name: name.clone(), source };
        let mut file = magpie_files::open(&path).map_err(opened)?;
        let mut magic = Vec::new();
        (&mut file).take(SQLITE_MAGIC.len() as u64).read_to_end(&mut magic).map_err(opened)?;
        if magic.starts_with(&ZSTD_MAGIC) {
            return Err(RecordingError::Compressed { name });
        }
        if magic.starts_with(ROS_1_MAGIC) {
            return Err(RecordingError::Ros1 { name });
        }
        if magic == *SQLITE_MAGIC {
            return BagFile::open(&path).map(Storage::Bag).map_err(|error| match error {
                BagError::OtherTables => RecordingError::NoBag { name, source: Box::new(error) },
                BagError::Damaged(source) => {
                    RecordingError::DamagedBag { name, source: Box::new(source) }
                }
            });
        }
        file.rewind().map_err(opened)?;
        Storage::scan(&name, Box::new(BufReader::new(file)))
    }

    pub(crate) fn scan(name: &str, input: Box<dyn Input>) -> Result<Storage, RecordingError> {
        let name = name.to_owned();
        match McapFile::scan(input) {
            Ok(Some(file)) => Ok(Storage::Mcap(file)),
            Ok(None) => Err(RecordingError::NotMcap { name }),
            Err(source) => Err(RecordingError::Open { name, source }),
        }
    }

    pub(crate) fn chunks(&self) -> usize {
        match self {
            Storage::Mcap(file) => file.chunks(),
            Storage::Bag(bag) => bag.chunks(),
        }
    }

    pub(crate) fn messages(&mut self, chunk: usize) -> Result<Vec<StoredMessage>, ChunkError> {
        match self {
            Storage::Mcap(file) => file.messages(chunk),
            Storage::Bag(bag) => bag.messages(chunk),
        }
    }

    /// Whether a chunk may hold messages of topics that are wanted.
    pub(crate) fn may_hold(&self, chunk: usize, is_wanted: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Storage::Mcap(file) => file.may_hold(chunk, is_wanted),
            Storage::Bag(bag) => bag.may_hold(chunk, is_wanted),
        }
    }

    /// As far as they are known; chunks that were not read may hold more.
    pub(crate) fn topics(&self) -> &BTreeSet<String> {
        match self {
            Storage::Mcap(file) => &file.topics,
            Storage::Bag(bag) => &bag.topics,
        }
    }

    pub(crate) fn metadata(&self) -> &BTreeMap<String, Fields> {
        static NONE: BTreeMap<String, Fields> = BTreeMap::new();
        match self {
            Storage::Mcap(file) => &file.metadata,
            Storage::Bag(_) => &NONE,
        }
    }

    pub(crate) fn channels_of(&self, topic: &str) -> Vec<Arc<Channel<'static>>> {
        match self {
            Storage::Mcap(file) => file.channels_of(topic),
            Storage::Bag(_) => Vec::new(),
        }
    }

    pub(crate) fn attachment(&mut self, name: &str) -> io::Result<Option<Option<Vec<u8>>>> {
        match self {
            Storage::Mcap(file) => file.attachment(name),
            Storage::Bag(_) => Ok(None),
        }
    }

    /// Whether the writer reached the end of the data.
    pub(crate) fn is_finished(&self) -> bool {
        match self {
            Storage::Mcap(file) => file.is_finished,
            Storage::Bag(_) => true,
        }
    }

    pub(crate) fn bytes_lost(&self) -> u64 {
        match self {
            Storage::Mcap(file) => file.bytes_lost,
            Storage::Bag(_) => 0,
        }
    }

    pub(crate) fn unrecognised(&self) -> usize {
        match self {
            Storage::Mcap(file) => file.unrecognised(),
            Storage::Bag(_) => 0,
        }
    }
}

/// The one file of a bag. One that was split is played file by file.
fn file_of_bag(folder: &Path) -> Result<PathBuf, RecordingError> {
    let name = folder.display().to_string();
    let entries = std::fs::read_dir(folder)
        .map_err(|source| RecordingError::Open { name: name.clone(), source })?;
    // `ros2 bag record` may compress files as a whole; opening one says what to do.
    let is_storage = |path: &PathBuf| {
        path.extension().is_some_and(|end| ["mcap", "db3", "zstd"].iter().any(|one| end == *one))
    };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(is_storage).collect();
    files.sort();
    match files.as_slice() {
        [only] => Ok(only.clone()),
        several => {
            let files = several.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
            let files = if files.is_empty() { "none".to_owned() } else { files.join(", ") };
            Err(RecordingError::BagFiles { name, files })
        }
    }
}

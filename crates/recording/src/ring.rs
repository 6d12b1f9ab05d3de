//! The last minutes of a cell, as files that each stand alone.
//!
//! ```text
//! folder/dock-7_2026-11-23T130508.120Z.mcap    oldest: removed when a limit is reached
//! folder/dock-7_2026-11-23T130538.134Z.mcap
//! folder/dock-7_2026-11-23T130608.101Z.mcap    being written
//! folder/kept/dock-7_2026-11-23T1241...mcap    moved there by `keep`: stays
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use magpie_perception::StampNs;

use crate::{FrameWriter, RecordingError, RecordingInfo, StoredFile, WriteOptions};

/// How much a ring may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// A file is closed when it spans this much time.
    pub segment_ns_max: u64,
    /// The file being written is one of them.
    pub segments_max: usize,
    /// Of all files together, without the kept ones.
    pub bytes_max: u64,
    /// Nothing more is kept beyond this.
    pub kept_bytes_max: u64,
    /// The disk is left this much for others.
    pub free_bytes_min: u64,
}

/// Writes segments and removes the oldest.
pub struct Ring {
    folder: PathBuf,
    /// Files of other names in the folder are nobody's business here.
    prefix: String,
    info: RecordingInfo,
    options: WriteOptions,
    limits: RingLimits,
    /// In every segment.
    attachments: Vec<StoredFile>,
    current: Option<Segment>,
}

struct Segment {
    writer: FrameWriter,
    first: StampNs,
    name: String,
    is_kept: bool,
}

/// A segment fills at most this share of the ring's bytes.
const SEGMENTS_MIN: u64 = 4;
const KEPT: &str = "kept";

impl Ring {
    /// Makes the folder where it is missing. What an earlier run left in it becomes part of the
    /// ring.
    pub fn open(
        folder: &Path,
        name: &str,
        info: RecordingInfo,
        options: WriteOptions,
        limits: RingLimits,
        attachments: Vec<StoredFile>,
    ) -> Result<Ring, RecordingError> {
        let (folder, prefix) = (folder.to_owned(), format!("{name}_"));
        let ring = Ring { folder, prefix, info, options, limits, attachments, current: None };
        ring.in_folder(|| fs::create_dir_all(ring.folder.join(KEPT)))?;
        Ok(ring)
    }

    /// The segment for a frame of this stamp, a new one when the last has its length.
    pub fn writer(&mut self, stamp: StampNs) -> Result<&mut FrameWriter, RecordingError> {
        if self.current.as_ref().is_some_and(|segment| self.is_full(segment, stamp)) {
            self.close()?;
        }
        self.make_room()?;
        let segment = match self.current.take() {
            Some(segment) => segment,
            None => self.begin(stamp)?,
        };
        Ok(&mut self.current.insert(segment).writer)
    }

    /// Moves everything, the segment being written included, to where nothing is removed.
    ///
    /// Nothing moves while the present segment has been kept already.
    pub fn keep(&mut self) -> Result<Kept, RecordingError> {
        if self.current.as_ref().is_some_and(|segment| segment.is_kept) {
            return Ok(Kept::default());
        }
        self.flush()?;
        let (folder, kept) = (self.folder.clone(), self.folder.join(KEPT));
        let mut kept_bytes: u64 = self.files_in(&kept)?.iter().map(|file| file.bytes).sum();
        let files = self.files_in(&folder)?;
        let count = files.len();
        let mut moved = 0;
        // The newest matter most, should there be no room for all.
        for file in files.into_iter().rev() {
            kept_bytes += file.bytes;
            if kept_bytes > self.limits.kept_bytes_max {
                break;
            }
            self.in_folder(|| fs::rename(folder.join(&file.name), kept.join(&file.name)))?;
            moved += 1;
            let current = self.current.as_mut().filter(|segment| segment.name == file.name);
            if let Some(segment) = current {
                segment.is_kept = true;
            }
        }
        Ok(Kept { moved, left: count - moved })
    }

    /// What was written so far survives a kill.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        self.current.as_mut().map_or(Ok(()), |segment| segment.writer.flush())
    }

    /// Closes the segment being written.
    pub fn finish(mut self) -> Result<(), RecordingError> {
        self.close()
    }

    fn close(&mut self) -> Result<(), RecordingError> {
        match self.current.take() {
            Some(segment) => segment.writer.finish(),
            None => Ok(()),
        }
    }

    fn is_full(&self, segment: &Segment, stamp: StampNs) -> bool {
        stamp.since_ns(segment.first) >= self.limits.segment_ns_max
            || segment.writer.bytes() >= self.limits.bytes_max / SEGMENTS_MIN
    }

    fn begin(&self, stamp: StampNs) -> Result<Segment, RecordingError> {
        let time = UNIX_EPOCH + Duration::from_nanos(stamp.0);
        // Colons are no part of file names elsewhere.
        let time = humantime::format_rfc3339_millis(time).to_string().replace(':', "");
        let name = format!("{}{time}.mcap", self.prefix);
        let path = self.folder.join(&name);
        let mut writer = FrameWriter::create(&path, self.info.clone(), self.options)?;
        for stored in &self.attachments {
            writer.attach(stored)?;
        }
        Ok(Segment { writer, first: stamp, name, is_kept: false })
    }

    /// Removes the oldest segments until there is room for one more, or for the rest of this one.
    fn make_room(&self) -> Result<(), RecordingError> {
        let is_writing = self.current.is_some();
        let mut old = self.files_in(&self.folder)?;
        let current = self.current.as_ref().map(|segment| segment.name.as_str());
        old.retain(|file| Some(file.name.as_str()) != current);
        let mut bytes: u64 = old.iter().map(|file| file.bytes).sum();
        let bytes_max = self.limits.bytes_max - self.limits.bytes_max / SEGMENTS_MIN;
        let mut left = old.len();
        for file in old {
            let too_many = !is_writing && left >= self.limits.segments_max;
            if !too_many && bytes <= bytes_max && self.free_bytes()? >= self.limits.free_bytes_min {
                return Ok(());
            }
            self.in_folder(|| fs::remove_file(self.folder.join(&file.name)))?;
            bytes -= file.bytes;
            left -= 1;
        }
        check_free_bytes(&self.folder, self.limits.free_bytes_min)
    }

    fn free_bytes(&self) -> Result<u64, RecordingError> {
        self.in_folder(|| free_bytes(&self.folder))
    }

    /// The ring's files in a folder, oldest first: names sort as times do.
    fn files_in(&self, folder: &Path) -> Result<Vec<RingFile>, RecordingError> {
        let mut files = Vec::new();
        for entry in self.in_folder(|| fs::read_dir(folder))? {
            let entry = self.in_folder(|| entry)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if name.starts_with(&self.prefix) && name.ends_with(".mcap") {
                let bytes = self.in_folder(|| entry.metadata())?.len();
                files.push(RingFile { name, bytes });
            }
        }
        files.sort();
        Ok(files)
    }

    fn in_folder<T>(&self, act: impl FnOnce() -> io::Result<T>) -> Result<T, RecordingError> {
        act().map_err(|source| RecordingError::Folder { path: self.folder.clone(), source })
    }
}

/// What [`Ring::keep`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Kept {
    /// Files that nothing will remove any more.
    pub moved: usize,
    /// Files for which there was no room: the ring will overwrite them.
    pub left: usize,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RingFile {
    name: String,
    bytes: u64,
}

/// An error if the disk of `folder` has less than this much free.
pub fn check_free_bytes(folder: &Path, free_bytes_min: u64) -> Result<(), RecordingError> {
    let path = folder.to_owned();
    match free_bytes(folder) {
        Ok(free) if free < free_bytes_min => {
            let megabytes = |bytes: u64| bytes / 1_000_000;
            let (free_mb, free_mb_min) = (megabytes(free), megabytes(free_bytes_min));
            Err(RecordingError::Space { path, free_mb, free_mb_min })
        }
        Ok(_enough) => Ok(()),
        Err(source) => Err(RecordingError::Folder { path, source }),
    }
}

/// What the disk of `folder` has left for such as us.
fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

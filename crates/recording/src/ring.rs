//! The last minutes of a cell, as files that each stand alone.
//!
//! ```text
//! folder/dock-7_2026-11-23T130508.120Z-00000041.mcap    oldest: removed when a limit is reached
//! folder/dock-7_2026-11-23T130538.134Z-00000042.mcap
//! folder/dock-7_2026-11-23T130608.101Z-00000043.mcap    being written
//! folder/kept/dock-7_2026-11-23T1241...mcap             moved there by `keep`: stays
//! ```
//!
//! Files are ordered by their number, for the machine's clock may have been set back since. Another
//! program may remove files or the folder: the ring goes on with what is left. It does not go on
//! below the disk that it was on, once that is unmounted.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use magpie_perception::StampNs;

use crate::{FrameWriter, RecordingError, RecordingInfo, StoredFile, WriteOptions};

/// How much a ring may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingLimits {
    /// A file is closed when it spans this much time.
    pub segment_ns_max: u64,
    /// The ring has at most so many files, with the one being written.
    pub segments_max: usize,
    /// All files together, without the kept ones, are at most so large.
    pub bytes_max: u64,
    /// The kept files together are at most so large.
    pub kept_bytes_max: u64,
    /// So much of the disk stays free for others.
    pub free_bytes_min: u64,
}

/// Writes segments and removes the oldest.
pub struct Ring {
    folder: PathBuf,
    /// The devices that the folder is on while its own, or those between, are not mounted.
    devices_below: Vec<u64>,
    /// Files whose names do not begin with this are never touched.
    name: String,
    info: RecordingInfo,
    options: WriteOptions,
    limits: RingLimits,
    /// Files that are stored in every segment.
    attachments: Vec<StoredFile>,
    number_next: u64,
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
/// Written and removed to see whether writing is possible: as much as a chunk of a small camera.
const PROBE: &str = ".magpie-probe";
const PROBE_BYTES: usize = 1 << 20;

impl Ring {
    /// Makes the folder if it is missing. Files that an earlier run left there become part of the
    /// ring.
    pub fn open(
        folder: &Path,
        name: &str,
        info: RecordingInfo,
        options: WriteOptions,
        limits: RingLimits,
        attachments: Vec<StoredFile>,
    ) -> Result<Ring, RecordingError> {
        let (folder, name) = (folder.to_owned(), name.to_owned());
        let mut ring = Ring {
            folder,
            devices_below: Vec::new(),
            name,
            info,
            options,
            limits,
            attachments,
            number_next: 1,
            current: None,
        };
        ring.make_folder()?;
        ring.devices_below = ring.in_folder(|| devices_below(&ring.folder))?;
        let newest = ring.files_in(&ring.folder)?.pop();
        ring.number_next = newest.map_or(1, |file| file.number + 1);
        Ok(ring)
    }

    /// Whether a frame could be written now. Nothing of a file that may be cut short is left behind.
    pub fn check_writable(&self) -> Result<(), RecordingError> {
        self.make_folder()?;
        self.make_room()?;
        let path = self.folder.join(PROBE);
        let probe = || {
            // What an earlier process left there is no file of ours.
            unless_gone(fs::remove_file(&path))?;
            let mut file = File::create_new(&path)?;
            file.write_all(&vec![0; PROBE_BYTES])?;
            file.sync_all()
        };
        let outcome = self.in_folder(probe);
        let _ = fs::remove_file(&path);
        outcome
    }

    fn make_folder(&self) -> Result<(), RecordingError> {
        let device = self.in_folder(|| device_of_nearest(&self.folder))?;
        if self.devices_below.contains(&device) {
            return Err(RecordingError::Unmounted { path: self.folder.clone() });
        }
        let kept = self.folder.join(KEPT);
        self.in_folder(|| fs::create_dir_all(&kept))?;
        if self.in_folder(|| fs::symlink_metadata(&kept))?.is_symlink() {
            return Err(RecordingError::KeptElsewhere { path: kept });
        }
        Ok(())
    }

    /// The segment for a frame of this stamp. It is a new one where the last segment is full.
    pub fn writer(&mut self, stamp: StampNs) -> Result<&mut FrameWriter, RecordingError> {
        let ends = |segment: &Segment| self.is_full(segment, stamp) || self.is_gone(segment);
        if self.current.as_ref().is_some_and(ends) {
            self.close()?;
        }
        self.make_folder()?;
        self.make_room()?;
        let segment = match self.current.take() {
            Some(segment) => segment,
            None => self.begin(stamp)?,
        };
        Ok(&mut self.current.insert(segment).writer)
    }

    /// Moves all segments, with the one being written, to the folder from which nothing is removed.
    ///
    /// Does nothing if the segment being written has been moved already.
    pub fn keep(&mut self) -> Result<Kept, RecordingError> {
        if self.current.as_ref().is_some_and(|segment| segment.is_kept) {
            return Ok(Kept::default());
        }
        self.flush()?;
        self.make_folder()?;
        let (folder, kept) = (self.folder.clone(), self.folder.join(KEPT));
        let mut kept_bytes: u64 = self.files_in(&kept)?.iter().map(|file| file.bytes).sum();
        let files = self.files_in(&folder)?;
        let count = files.len();
        let mut moved = 0;
        // The newest files go first, because they matter most if there is no room for all.
        for file in files.into_iter().rev() {
            kept_bytes += file.bytes;
            if kept_bytes > self.limits.kept_bytes_max {
                break;
            }
            let (from, to) = (folder.join(&file.name), kept.join(&file.name));
            self.in_folder(|| unless_gone(fs::rename(from, to)))?;
            moved += 1;
            let current = self.current.as_mut().filter(|segment| segment.name == file.name);
            if let Some(segment) = current {
                segment.is_kept = true;
            }
        }
        Ok(Kept { moved, left: count - moved })
    }

    /// The segment being written, whatever limit it has reached.
    pub fn current(&mut self) -> Option<&mut FrameWriter> {
        self.current.as_mut().map(|segment| &mut segment.writer)
    }

    /// Closes the open chunk: what was written so far survives a kill.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        self.current.as_mut().map_or(Ok(()), |segment| segment.writer.flush())
    }

    /// Closes the segment being written; the next frame begins another one, whatever its stamp.
    pub fn cut(&mut self) -> Result<(), RecordingError> {
        self.close()
    }

    /// What the segments from the next one on say about themselves.
    pub fn set_info(&mut self, info: RecordingInfo) {
        self.info = info;
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

    /// Another program removed the file that is being written.
    fn is_gone(&self, segment: &Segment) -> bool {
        let folder = if segment.is_kept { self.folder.join(KEPT) } else { self.folder.clone() };
        !folder.join(&segment.name).exists()
    }

    fn begin(&mut self, stamp: StampNs) -> Result<Segment, RecordingError> {
        let time = UNIX_EPOCH + Duration::from_nanos(stamp.0);
        // Some file systems allow no colons in names.
        let time = humantime::format_rfc3339_millis(time).to_string().replace(':', "");
        let name = format!("{}_{time}-{:08}.mcap", self.name, self.number_next);
        self.number_next += 1;
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
            self.in_folder(|| unless_gone(fs::remove_file(self.folder.join(&file.name))))?;
            bytes -= file.bytes;
            left -= 1;
        }
        check_free_bytes(&self.folder, self.limits.free_bytes_min)
    }

    fn free_bytes(&self) -> Result<u64, RecordingError> {
        self.in_folder(|| free_bytes(&self.folder))
    }

    /// The ring's files in a folder, oldest first.
    fn files_in(&self, folder: &Path) -> Result<Vec<RingFile>, RecordingError> {
        let mut files = Vec::new();
        for entry in self.in_folder(|| fs::read_dir(folder))? {
            let entry = self.in_folder(|| entry)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Some(number) = number_of(&self.name, &name) else { continue };
            let metadata = self.in_folder(|| unless_gone(entry.metadata().map(Some)))?;
            let Some(metadata) = metadata else { continue };
            files.push(RingFile { number, name, bytes: metadata.len() });
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
    /// So many files are safe now: the ring does not remove them any more.
    pub moved: usize,
    /// For so many files there was no room: the ring will remove them.
    pub left: usize,
}

/// A file of the ring. Files compare by number, so the oldest is the least.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RingFile {
    number: u64,
    name: String,
    bytes: u64,
}

/// The number of a file of this cell; `None` for a file of another cell, which may be called
/// `dock-7_2`. Files of the first versions have no number and count as 0.
pub fn number_of(cell: &str, file: &str) -> Option<u64> {
    // Neither time nor number holds a `_`.
    let (of, rest) = file.strip_suffix(".mcap")?.rsplit_once('_')?;
    let (time, number) = rest.split_once('Z')?;
    let is_time = time.chars().all(|c| c.is_ascii_digit() || "-T.".contains(c));
    let number = number.strip_prefix('-').map_or(Some(0), |number| number.parse().ok())?;
    (of == cell && is_time).then_some(number)
}

/// A file that should be removed or moved and is gone already is no error.
fn unless_gone<T: Default>(outcome: io::Result<T>) -> io::Result<T> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        outcome => outcome,
    }
}

/// The device of a folder, or of the nearest one above it that exists.
fn device_of_nearest(folder: &Path) -> io::Result<u64> {
    for place in std::path::absolute(folder)?.ancestors() {
        match fs::metadata(place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            metadata => return Ok(metadata?.dev()),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// The devices on the way from a folder's own to the machine's first.
fn devices_below(folder: &Path) -> io::Result<Vec<u64>> {
    let own = fs::metadata(folder)?.dev();
    let mut devices = Vec::new();
    for place in std::path::absolute(folder)?.ancestors() {
        let device = fs::metadata(place)?.dev();
        if device != own && !devices.contains(&device) {
            devices.push(device);
        }
    }
    Ok(devices)
}

/// Refuses with [`RecordingError::Space`] where the disk of `folder` has less free than this.
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

/// What the disk of `folder` has left for users without privileges.
fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

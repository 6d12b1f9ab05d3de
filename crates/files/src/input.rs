//! Reading, within bounds.

use std::collections::HashSet;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::OFlags;

/// For files that people write: configurations, calibrations, poses, recipes. The largest that we
/// know of, a camera_info with comments, has some kilobytes.
pub const TEXT_BYTES_MAX: u64 = 1_000_000;

/// Device, number and time of birth: a number alone is given to another file later.
type Identity = (u64, u64, Option<std::time::SystemTime>);

/// Every file that this process has read.
static INPUTS: Mutex<Option<HashSet<Identity>>> = Mutex::new(None);

/// Opens a regular file of any size, to be read piece by piece.
pub fn open(path: &Path) -> io::Result<File> {
    // Without this flag, opening a named pipe would wait for its writer.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of open(2) is an int");
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        let found = kind_of(&metadata);
        let why = format!("it is {found}; only files are read: copy what it gives into one");
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    note(&metadata);
    Ok(file)
}

/// Refuses what [`read`] would refuse, for a file that a library opens by its path.
pub fn check_input(path: &Path, bytes_max: u64) -> io::Result<()> {
    open_bounded(path, bytes_max).map(drop)
}

/// The whole of a file that has at most so many bytes.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = open_bounded(path, bytes_max)?;
    let mut bytes = Vec::new();
    // One byte more than allowed shows a file that grew, or that does not know its length.
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large(bytes.len() as u64, bytes_max));
    }
    Ok(bytes)
}

fn open_bounded(path: &Path, bytes_max: u64) -> io::Result<File> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    if length > bytes_max { Err(too_large(length, bytes_max)) } else { Ok(file) }
}

fn too_large(found: u64, bytes_max: u64) -> io::Error {
    let why = format!("it has {found} bytes, and {bytes_max} are the most; is it the right file?");
    io::Error::new(ErrorKind::FileTooLarge, why)
}

/// [`read`], for text in UTF-8, or in UTF-16 where its mark says so, as editors of Windows write it.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let bytes = read(path, bytes_max)?;
    let unit: Option<fn([u8; 2]) -> u16> = match bytes.first_chunk::<2>() {
        Some([0xFF, 0xFE]) => Some(u16::from_le_bytes),
        Some([0xFE, 0xFF]) => Some(u16::from_be_bytes),
        _ => None,
    };
    if let Some(unit) = unit {
        let (pairs, rest) = bytes[2..].as_chunks::<2>();
        if !rest.is_empty() {
            let why = "it is no text: it ends within a letter of UTF-16; save it as UTF-8";
            return Err(io::Error::new(ErrorKind::InvalidData, why));
        }
        let units = pairs.iter().map(|pair| unit(*pair));
        return char::decode_utf16(units).collect::<Result<String, _>>().map_err(|error| {
            let why = format!("it is no text: {error}; save it as UTF-8");
            io::Error::new(ErrorKind::InvalidData, why)
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let why = format!("it is no text: byte {at} is not UTF-8; save it as UTF-8");
        io::Error::new(ErrorKind::InvalidData, why)
    })
}

/// Says that this file will be read, so that no output replaces it before.
pub fn note_input(path: &Path) {
    // A file that is not there is reported by who reads it.
    if let Ok(metadata) = std::fs::metadata(path) {
        note(&metadata);
    }
}

/// Whether this process has read, or will read, the file.
pub(crate) fn is_input(metadata: &Metadata) -> bool {
    let inputs = INPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    inputs.as_ref().is_some_and(|inputs| inputs.contains(&identity(metadata)))
}

fn note(metadata: &Metadata) {
    let mut inputs = INPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    inputs.get_or_insert_with(HashSet::new).insert(identity(metadata));
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino(), metadata.created().ok())
}

pub(crate) fn kind_of(metadata: &Metadata) -> &'static str {
    let kind = metadata.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "no regular file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    #[test]
    fn a_file_is_read_up_to_its_bound_and_refused_beyond() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ten");
        std::fs::write(&path, b"0123456789").unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"0123456789");
        let why = read(&path, 9).unwrap_err().to_string();
        assert!(why.contains("10 bytes") && why.contains("9 are the most"), "{why}");
        std::fs::write(&path, b"01\xff").unwrap();
        let why = read_text(&path, 10).unwrap_err().to_string();
        assert!(why.contains("byte 2") && why.contains("UTF-8"), "{why}");
        std::fs::write(&path, b"\xff\xfea\0\xe4\0").unwrap();
        assert_eq!(read_text(&path, 10).unwrap(), "aä");
        std::fs::write(&path, b"\xfe\xff\0a\xd8\x00\0b").unwrap();
        let why = read_text(&path, 10).unwrap_err().to_string();
        assert!(why.contains("save it as UTF-8"), "{why}");
        std::fs::write(&path, b"\xff\xfea\0b").unwrap();
        let why = read_text(&path, 10).unwrap_err().to_string();
        assert!(why.contains("within a letter"), "{why}");
    }

    #[test]
    fn a_file_that_hides_its_length_is_bounded_too() {
        let why = read(Path::new("/proc/self/status"), 100).unwrap_err().to_string();
        assert!(why.contains("100 are the most"), "{why}");
    }

    #[test]
    fn what_never_ends_is_refused_at_once_by_its_kind() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for (path, kind) in [
            (pipe.as_path(), "a named pipe"),
            (Path::new("/dev/zero"), "a device"),
            (folder.path(), "a folder"),
        ] {
            let why = read_text(path, TEXT_BYTES_MAX).unwrap_err().to_string();
            assert!(why.contains(kind) && why.contains("copy"), "{why}");
        }
    }
}

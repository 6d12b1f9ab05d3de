//! Writing: whole, under the name that was given, and onto nothing that matters.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, FileType, Metadata, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tempfile::{NamedTempFile, TempPath};

use crate::input::{is_input, kind_of};

/// Refuses what [`OutputFile::create`] would refuse, before the work for it is done.
pub fn check_output(path: &Path) -> io::Result<()> {
    match Target::of(path)? {
        // Opening a pipe a second time would end its reader's input.
        Target::Stream => Ok(()),
        Target::File { replaced } => part_beside(path, replaced.as_ref()).map(drop),
    }
}

/// Writes a whole file; one that is there is replaced at once, and stays if writing fails.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = OutputFile::create(path)?;
    file.write_all(bytes.as_ref())?;
    file.finish()
}

/// Writes a whole file under a name that nothing has yet.
pub fn write_new(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    let taken = || {
        let why = "there is one of this name, which is left as it is; choose another name";
        io::Error::new(ErrorKind::AlreadyExists, why)
    };
    if path.file_name().is_none() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it names no file; name one"));
    }
    if fs::symlink_metadata(path).is_ok() {
        return Err(taken());
    }
    let mut part = part_beside(path, None)?;
    part.write_all(bytes.as_ref())?;
    match part.persist_noclobber(path) {
        Ok(_) => Ok(()),
        // Somebody was quicker.
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Err(taken()),
        Err(error) => Err(error.error),
    }
}

/// Does what [`write`] does, and whoever the mode says may read it, whatever the umask. The mode is set
/// before the file has its name: behind a name anybody may put a link who may write into its folder.
pub fn write_with_mode(path: &Path, bytes: impl AsRef<[u8]>, mode: u32) -> io::Result<()> {
    let mut file = OutputFile::create_with_mode(path, mode)?;
    file.write_all(bytes.as_ref())?;
    file.finish()
}

/// Makes a folder, and opens it. What is set through that is set of this folder and of no other,
/// whoever puts a link in its place.
pub fn create_folder(path: &Path, mode: u32) -> io::Result<File> {
    DirBuilder::new().mode(0o700).create(path)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    folder.set_permissions(Permissions::from_mode(mode))?;
    Ok(folder)
}

/// Sets the mode of what is at a path itself, such as a socket; a link is refused, and not followed.
pub fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if found.metadata()?.is_symlink() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is a symbolic link; remove it"));
    }
    // The system's own link to what is open, and to nothing else.
    let itself = format!("/proc/self/fd/{}", found.as_raw_fd());
    fs::set_permissions(itself, Permissions::from_mode(mode))
}

/// Creates a folder for outputs, or takes one that is empty: another may hold what somebody
/// corrected.
pub fn create_empty_folder(path: &Path) -> io::Result<()> {
    if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
        let why = "it is not empty: it may hold what somebody corrected; name another folder";
        return Err(io::Error::new(ErrorKind::DirectoryNotEmpty, why));
    }
    fs::create_dir_all(path)
}

/// A file that gets its name when it is finished. Dropped before, it leaves nothing behind.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    file: BufWriter<File>,
    /// `None` where a pipe or a device is written to as it comes.
    part: Option<TempPath>,
}

impl OutputFile {
    pub fn create(path: &Path) -> io::Result<OutputFile> {
        let path = path.to_owned();
        match Target::of(&path)? {
            Target::Stream => {
                // What standard output was redirected to may have lines in it already.
                let file = open_stream(&path, READER_LOOKS)?;
                Ok(OutputFile { path, file: BufWriter::new(file), part: None })
            }
            Target::File { replaced } => {
                let (file, part) = part_beside(&path, replaced.as_ref())?.into_parts();
                Ok(OutputFile { path, file: BufWriter::new(file), part: Some(part) })
            }
        }
    }

    /// Does the same, with a mode that the umask takes nothing away from.
    pub fn create_with_mode(path: &Path, mode: u32) -> io::Result<OutputFile> {
        let output = OutputFile::create(path)?;
        if output.part.is_some() {
            output.file.get_ref().set_permissions(Permissions::from_mode(mode))?;
        }
        Ok(output)
    }

    /// Gives the file its name.
    pub fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        match self.part.take() {
            Some(part) => part.persist(&self.path).map_err(|error| error.error),
            None => Ok(()),
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A pipe waits ten seconds for somebody who reads it.
const READER_LOOKS: u32 = 200;
const READER_LOOK_PERIOD: Duration = Duration::from_millis(50);

/// Opens a stream, which a pipe without a reader would have waited for without an end.
fn open_stream(path: &Path, looks: u32) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).expect("a flag of open(2) is an int");
    let is_pipe = || fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    for _ in 0..looks {
        match OpenOptions::new().append(true).custom_flags(flags).open(path) {
            Ok(file) => {
                // Whoever reads slowly is waited for.
                let flags = rustix::fs::fcntl_getfl(&file)? - OFlags::NONBLOCK;
                rustix::fs::fcntl_setfl(&file, flags)?;
                return Ok(file);
            }
            Err(error) if error.raw_os_error() == Some(NO_READER) && is_pipe() => {
                std::thread::sleep(READER_LOOK_PERIOD);
            }
            Err(error) => return Err(error),
        }
    }
    let why = "it is a named pipe that nobody reads; start its reader first, or name a file";
    Err(io::Error::new(ErrorKind::TimedOut, why))
}

/// ENXIO.
const NO_READER: i32 = rustix::io::Errno::NXIO.raw_os_error();

/// What is at the path of an output.
enum Target {
    File { replaced: Option<Metadata> },
    Stream,
}

impl Target {
    fn of(path: &Path) -> io::Result<Target> {
        let refuse = |why: &str| Err(io::Error::new(ErrorKind::InvalidInput, why));
        if path.file_name().is_none() {
            return refuse("it names no file; name one");
        }
        let found = match fs::symlink_metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Target::File { replaced: None });
            }
            Err(error) => return Err(error),
        };
        let kind = found.file_type();
        if is_stream(path, kind) {
            return Ok(Target::Stream);
        }
        if kind.is_symlink() {
            return refuse("it is a symbolic link; name the file that it leads to, or remove it");
        }
        if !kind.is_file() {
            let why = format!("it is {}; name a file", kind_of(&found));
            return refuse(&why);
        }
        if is_input(&found) {
            return refuse("it is read here, and would be written over; name another output");
        }
        if found.permissions().readonly() {
            return refuse("it is write-protected; allow writing, or name another output");
        }
        Ok(Target::File { replaced: Some(found) })
    }
}

/// A pipe, a terminal, `/dev/null`; and the links by which the system offers a process its own open
/// files, such as `/dev/stdout`.
fn is_stream(path: &Path, kind: FileType) -> bool {
    let is_descriptor = || {
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        ["/dev", "/dev/fd", "/proc/self/fd"].iter().any(|known| folder == Path::new(known))
    };
    kind.is_fifo()
        || kind.is_char_device()
        || kind.is_socket()
        || (kind.is_symlink() && is_descriptor())
}

/// Creates the part in the folder of `path`: only within one file system is a file renamed at once.
fn part_beside(path: &Path, replaced: Option<&Metadata>) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().expect("checked"));
    // Of a new file, the user's umask takes away from these.
    let mode = replaced.map_or(0o666, |replaced| replaced.permissions().mode());
    let part = tempfile::Builder::new()
        .prefix(&prefix)
        .suffix(".part")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(|error| {
            let folder = folder.display();
            let why = match error.kind() {
                ErrorKind::NotFound => format!("there is no folder {folder}; make it first"),
                ErrorKind::PermissionDenied => {
                    format!("this user may not write in {folder}: {error}")
                }
                _ => format!("make a file in {folder}: {error}"),
            };
            io::Error::new(error.kind(), why)
        })?;
    if let Some(replaced) = replaced {
        part.as_file().set_permissions(replaced.permissions())?;
    }
    Ok(part)
}

/// Why nothing can be written into a folder, or into the one in which it would be made.
pub fn unwritable(folder: &Path) -> Option<String> {
    // A link that leads nowhere is there, too: no folder can be made in its place.
    let existing = folder.ancestors().find(|folder| folder.symlink_metadata().is_ok())?;
    let trial = existing.join(format!(".magpie-trial-{}", std::process::id()));
    let written = write(&trial, "magpie looks whether it may write here");
    // What could not be written need not be removed.
    let _ = fs::remove_file(trial);
    written.err().map(|error| format!("{} cannot be written: {error}", existing.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{note_input, read};
    use std::os::unix::fs::symlink;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[track_caller]
    fn check_refused(path: &Path, expected: &str) {
        for error in [check_output(path).unwrap_err(), write(path, "new").unwrap_err()] {
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_or_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        check_output(&path).unwrap();
        assert!(names(folder.path()).is_empty(), "a check leaves nothing");
        write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let mut file = OutputFile::create(&path).unwrap();
        file.write_all(b"half of").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        write(&path, "new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn a_new_file_takes_no_name_that_a_file_or_a_link_has() {
        let folder = tempfile::tempdir().unwrap();
        let [new, old, link] = ["new", "old", "link"].map(|name| folder.path().join(name));
        fs::write(&old, "mine").unwrap();
        symlink(folder.path().join("nowhere"), &link).unwrap();
        write_new(&new, "whole").unwrap();
        assert_eq!(fs::read(&new).unwrap(), b"whole");
        for path in [&new, &old, &link] {
            let why = write_new(path, "other").unwrap_err();
            assert_eq!(why.kind(), ErrorKind::AlreadyExists);
            assert!(why.to_string().contains("choose another name"), "{why}");
        }
        assert_eq!(fs::read(&old).unwrap(), b"mine");
        assert_eq!(names(folder.path()), ["link", "new", "old"], "no part is left");
        assert_eq!(write_new(Path::new(""), "x").unwrap_err().kind(), ErrorKind::InvalidInput);
        let why = write_new(&folder.path().join("gone/a"), "x").unwrap_err().to_string();
        assert!(why.contains("make it first"), "{why}");
    }

    #[test]
    fn a_mode_is_given_to_the_file_itself_before_it_has_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let file = OutputFile::create_with_mode(&path, 0o644).unwrap();
        let part = folder.path().join(&names(folder.path())[0]);
        assert_eq!(mode(&part), 0o644);
        file.finish().unwrap();
        assert_eq!(mode(&path), 0o644);
        write_with_mode(&path, "new", 0o604).unwrap();
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (0o604, b"new".to_vec()));
    }

    #[test]
    fn no_mode_is_set_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (precious, link) = (folder.path().join("precious"), folder.path().join("link"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        create_folder(&precious, 0o700).unwrap();
        symlink(&precious, &link).unwrap();
        set_mode(&link, 0o755).unwrap_err();
        create_folder(&link, 0o755).unwrap_err();
        assert_eq!(mode(&precious), 0o700);
        set_mode(&precious, 0o750).unwrap();
        assert_eq!(mode(&precious), 0o750);
    }

    #[test]
    fn no_link_is_followed_to_a_file_or_to_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("precious"), folder.path().join("out"));
        symlink(&path, &link).unwrap();
        check_refused(&link, "symbolic link");
        fs::write(&path, "mine").unwrap();
        check_refused(&link, "name the file that it leads to");
        assert_eq!(fs::read(&path).unwrap(), b"mine");
    }

    #[test]
    fn what_was_read_or_will_be_is_not_written_over_under_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let [read_one, noted, other] = ["a", "b", "c"].map(|name| folder.path().join(name));
        for path in [&read_one, &noted] {
            fs::write(path, "mine").unwrap();
        }
        fs::hard_link(&read_one, &other).unwrap();
        read(&read_one, 10).unwrap();
        note_input(&noted);
        for path in [&read_one, &noted, &other] {
            check_refused(path, "written over; name another");
            assert_eq!(fs::read(path).unwrap(), b"mine");
        }
    }

    #[test]
    fn folders_and_protected_files_are_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        check_refused(folder.path(), "it is a folder; name a file");
        check_refused(&folder.path().join("none/a"), "make it first");
        let path = folder.path().join("a");
        fs::write(&path, "mine").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).unwrap();
        check_refused(&path, "write-protected");
    }

    #[test]
    fn a_stream_is_written_as_it_comes() {
        write(Path::new("/dev/null"), "gone").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("redirected");
        fs::write(&path, "before, ").unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let descriptor = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        write(Path::new(&descriptor), "after").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"before, after");
    }

    #[test]
    fn a_pipe_waits_for_its_reader_and_not_for_ever() {
        use rustix::fs::{CWD, FileType, mknodat};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let error = open_stream(&path, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("that nobody reads; start its reader"), "{error}");
        // More than a pipe holds: the writer waits for the reader's pace.
        let bytes = vec![7; 1 << 20];
        let read = std::thread::scope(|scope| {
            let reader = scope.spawn(|| fs::read(&path));
            write(&path, &bytes).unwrap();
            reader.join().unwrap().unwrap()
        });
        assert_eq!(read.len(), bytes.len());
    }

    #[test]
    fn a_folder_with_anything_in_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        create_empty_folder(&folder.path().join("new/one")).unwrap();
        create_empty_folder(&folder.path().join("new/one")).unwrap();
        let why = create_empty_folder(&folder.path().join("new")).unwrap_err().to_string();
        assert!(why.contains("not empty") && why.contains("name another"), "{why}");
    }

    #[test]
    fn a_folder_in_which_nothing_can_be_made_is_told_whatever_stands_there_instead() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (link, to) in [("looping", "looping"), ("dangling", "gone/away")] {
            std::os::unix::fs::symlink(at(to), at(link)).unwrap();
        }
        fs::write(at("file"), "").unwrap();
        for name in ["looping", "dangling", "file", "looping/new", "file/new"] {
            let why = unwritable(&at(name)).unwrap_or_else(|| panic!("{name} can be written"));
            assert!(why.contains("cannot be written"), "{why}");
        }
        assert_eq!(
            unwritable(Path::new("/dev/full")).map(|why| why.contains("/dev/full")),
            Some(true)
        );
        assert_eq!(unwritable(&at("new/and/newer")), None);
    }
}

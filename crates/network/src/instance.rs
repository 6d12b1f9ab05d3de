//! What a running daemon leaves in the runtime directory: a note that says where it listens, and its
//! control socket.
//!
//! ```text
//! /run/magpie/dock-7/cell.json       for everybody to read
//! /run/magpie/dock-7/control.sock    for root and the service's group
//! ```
//!
//! systemd makes the folder (`RuntimeDirectory=`). A daemon that somebody starts by hand has it in
//! `XDG_RUNTIME_DIR`, as root in `/run`, else in `/tmp/magpie-UID`. A note may outlive its daemon, so
//! whoever reads one asks before believing it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use magpie_wire::CellName;
use serde::{Deserialize, Serialize};

const NOTE: &str = "cell.json";
const SOCKET: &str = "control.sock";
/// Where systemd makes folders, and root.
const SYSTEM: &str = "/run";
const NOTE_BYTES_MAX: u64 = 64 * 1024;
/// A machine has fewer cameras.
const NOTES_MAX: usize = 256;

/// Where one daemon of this machine is to be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub cell: String,
    pub pid: u32,
    pub listens: Vec<String>,
    /// The routers through which it can be reached.
    pub connects: Vec<String>,
    /// The folder that it lies in.
    #[serde(skip)]
    pub folder: PathBuf,
}

impl Note {
    /// Where the daemon takes orders.
    pub fn control(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    /// Whether its process lives. Another one may have its number since: nobody answers at the socket
    /// then.
    pub fn is_live(&self) -> bool {
        if self.is_refused() {
            return false;
        }
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        let Some(pid) = pid else { return false };
        // Whoever may not send it a signal hears that it is there.
        rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
    }

    /// Whether nobody listens at the socket. A hung daemon's queue may be full: that is not waited for.
    fn is_refused(&self) -> bool {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let (Ok(socket), Ok(address)) = (socket, SocketAddrUnix::new(self.control())) else {
            return false;
        };
        rustix::net::connect(&socket, &address) == Err(rustix::io::Errno::CONNREFUSED)
    }
}

/// The folder of this process, with its note in it. Dropping it takes the note away.
#[derive(Debug)]
pub struct Instance {
    folder: PathBuf,
}

impl Instance {
    /// Makes the folder, or takes the one that systemd has made.
    pub fn create(cell: &CellName) -> io::Result<Instance> {
        let given = std::env::var_os("RUNTIME_DIRECTORY").filter(|given| !given.is_empty());
        // systemd gives several as one value.
        let given = given.map(|given| given.to_string_lossy().split(':').next().map(PathBuf::from));
        if let Some(folder) = given.flatten() {
            return Ok(Instance { folder });
        }
        let base = own_base();
        make_own_folder(&base)?;
        let folder = base.join(cell.as_str());
        make_own_folder(&folder)?;
        Ok(Instance { folder })
    }

    pub fn control(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    /// Tells everybody on this machine where the cell listens.
    pub fn write_note(
        &self,
        cell: &CellName,
        listens: &[String],
        connects: &[String],
    ) -> io::Result<()> {
        let note = Note {
            cell: cell.to_string(),
            pid: std::process::id(),
            listens: listens.to_vec(),
            connects: connects.to_vec(),
            folder: PathBuf::new(),
        };
        let path = self.folder.join(NOTE);
        // The note of a daemon before this one, which may have been read by this process.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let text = serde_json::to_string(&note).expect("text and numbers");
        // systemd's UMask keeps everything else from others.
        magpie_files::write_with_mode(&path, text, 0o644)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // A second daemon of the same name may have written its own over it.
        if read_note(&self.folder).is_none_or(|note| note.pid != std::process::id()) {
            return;
        }
        // What cannot be removed is found to be stale.
        let _ = fs::remove_file(self.folder.join(NOTE));
        let _ = fs::remove_file(self.control());
        // Only one that this process made, and that nothing else is in.
        if std::env::var_os("RUNTIME_DIRECTORY").is_none() {
            let _ = fs::remove_dir(&self.folder);
        }
    }
}

/// Where a daemon that nobody gave a folder makes its own.
fn own_base() -> PathBuf {
    let uid = rustix::process::geteuid();
    let user = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match user.filter(|folder| folder.is_absolute() && folder.is_dir()) {
        Some(folder) => folder.join("magpie"),
        None if uid.is_root() => Path::new(SYSTEM).join("magpie"),
        None => std::env::temp_dir().join(format!("magpie-{}", uid.as_raw())),
    }
}

/// In a folder where everybody may write, somebody else may have been here first.
fn make_own_folder(path: &Path) -> io::Result<()> {
    match magpie_files::create_folder(path, 0o755) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let found = fs::symlink_metadata(path)?;
    let is_own = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw();
    if is_own && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    let why = format!(
        "{} is no folder that this user alone can write in; remove it, or set XDG_RUNTIME_DIR",
        path.display()
    );
    Err(io::Error::new(ErrorKind::PermissionDenied, why))
}

/// What the daemons of this machine say of themselves. They may have ended since.
pub fn notes() -> Vec<Note> {
    let mut bases = vec![Path::new(SYSTEM).join("magpie"), own_base()];
    bases.dedup();
    bases.iter().flat_map(|base| notes_in(base)).take(NOTES_MAX).collect()
}

fn notes_in(base: &Path) -> Vec<Note> {
    let own = [0, rustix::process::geteuid().as_raw()];
    let is_trusted = |path: &Path| {
        fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && own.contains(&found.uid()))
    };
    if !is_trusted(base) {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(base) else { return Vec::new() };
    let folders = entries.flatten().take(NOTES_MAX).map(|entry| entry.path());
    folders.filter_map(|folder| read_note(&folder)).collect()
}

/// `None` for whatever is no note: a daemon that starts or ends just now, or what others left there.
fn read_note(folder: &Path) -> Option<Note> {
    let path = folder.join(NOTE);
    let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    if is_link(folder) || is_link(&path) {
        return None;
    }
    let text = magpie_files::read_text(&path, NOTE_BYTES_MAX).ok()?;
    let note: Note = serde_json::from_str(&text).ok()?;
    CellName::new(&note.cell).ok()?;
    Some(Note { folder: folder.to_owned(), ..note })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn write(folder: &Path, text: &str) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(NOTE), text).unwrap();
    }

    #[test]
    fn a_note_is_read_as_it_was_written_and_goes_with_its_daemon() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("dock-7");
        fs::create_dir(&folder).unwrap();
        let instance = Instance { folder: folder.clone() };
        let cell = CellName::new("dock-7").unwrap();
        let listens = ["tcp/127.0.0.1:17448".to_owned()];
        instance.write_note(&cell, &listens, &[]).unwrap();
        let [note] = <[Note; 1]>::try_from(notes_in(base.path())).unwrap();
        assert_eq!((note.cell.as_str(), &note.listens[..]), ("dock-7", &listens[..]));
        assert_eq!(note.control(), folder.join(SOCKET));
        assert!(note.is_live());
        assert_eq!(fs::metadata(folder.join(NOTE)).unwrap().mode() & 0o777, 0o644);
        // Written again after it was read: the next daemon of the same process.
        instance.write_note(&cell, &listens, &[]).unwrap();
        drop(instance);
        assert!(notes_in(base.path()).is_empty());
    }

    #[test]
    fn what_is_no_note_is_passed_over() {
        let base = tempfile::tempdir().unwrap();
        let path = |name: &str| base.path().join(name);
        let good = r#"{"cell": "a", "pid": 1, "listens": [], "connects": []}"#;
        write(&path("good"), good);
        write(&path("broken"), "{");
        write(&path("hostile"), &good.replace("\"a\"", "\"a/../b\""));
        write(&path("long"), &" ".repeat(100_000));
        fs::create_dir(path("empty")).unwrap();
        fs::write(path("file"), good).unwrap();
        symlink(path("good"), path("link")).unwrap();
        fs::create_dir(path("linked")).unwrap();
        symlink(path("good").join(NOTE), path("linked").join(NOTE)).unwrap();
        let cells: Vec<String> = notes_in(base.path()).into_iter().map(|note| note.cell).collect();
        assert_eq!(cells, ["a"]);
        symlink(base.path(), path("base")).unwrap();
        assert!(notes_in(&path("base")).is_empty(), "a link in place of the folder");
    }

    #[test]
    fn a_process_that_ended_is_not_live() {
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        let pid = ended.id();
        ended.wait().unwrap();
        let note = |pid| Note {
            cell: "a".into(),
            pid,
            listens: Vec::new(),
            connects: Vec::new(),
            folder: PathBuf::new(),
        };
        assert!(!note(pid).is_live() && !note(0).is_live() && !note(u32::MAX).is_live());
        let folder = tempfile::tempdir().unwrap();
        let own = Note { folder: folder.path().to_owned(), ..note(std::process::id()) };
        let listener = std::os::unix::net::UnixListener::bind(own.control()).unwrap();
        assert!(own.is_live());
        drop(listener);
        assert!(!own.is_live());
    }

    #[test]
    fn a_folder_that_others_may_write_or_that_is_a_link_is_not_taken() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join("magpie");
        make_own_folder(&path).unwrap();
        make_own_folder(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(make_own_folder(&path).unwrap_err().to_string().contains("this user alone"));
        let link = base.path().join("link");
        symlink(base.path(), &link).unwrap();
        assert!(make_own_folder(&link).unwrap_err().to_string().contains("remove it"));
    }
}

//! The recordings that the page links to: the ring's files, and those that were kept.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::Serialize;

/// The newest of them.
const LISTED_MAX: usize = 200;
const SUFFIX: &str = ".mcap";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Recording {
    pub(crate) place: Place,
    pub(crate) name: String,
    pub(crate) bytes: u64,
    /// When something was last written into it: seconds since the Unix epoch.
    pub(crate) written_s: u64,
}

/// A folder of recordings, by its name in a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    Kept,
    Ring,
}

impl Place {
    pub(crate) fn named(name: &str) -> Option<Place> {
        [("kept", Place::Kept), ("ring", Place::Ring)]
            .into_iter()
            .find_map(|(known, place)| (known == name).then_some(place))
    }

    fn folder(self, recordings: &Path) -> PathBuf {
        match self {
            Place::Kept => recordings.join("kept"),
            Place::Ring => recordings.to_owned(),
        }
    }
}

/// The newest first.
pub(crate) fn list(recordings: &Path) -> io::Result<Vec<Recording>> {
    let mut listed = Vec::new();
    for place in [Place::Kept, Place::Ring] {
        let entries = match fs::read_dir(place.folder(recordings)) {
            Ok(entries) => entries,
            // The recorder makes its folders when it first writes.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // The ring may have removed the file since.
            let Ok(metadata) = entry.metadata() else { continue };
            if !metadata.is_file() || !is_name(&name) {
                continue;
            }
            let written = metadata.modified().unwrap_or(UNIX_EPOCH);
            let written_s = written.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            listed.push(Recording { place, name, bytes: metadata.len(), written_s });
        }
    }
    listed.sort_by(|a, b| (b.written_s, &b.name).cmp(&(a.written_s, &a.name)));
    listed.truncate(LISTED_MAX);
    Ok(listed)
}

/// Opens a recording that [`list`] may name, and says how long it is now.
pub(crate) fn open(recordings: &Path, place: Place, name: &str) -> io::Result<(fs::File, u64)> {
    if !is_name(name) {
        return Err(ErrorKind::NotFound.into());
    }
    let path = place.folder(recordings).join(name);
    // A link could lead anywhere.
    if !fs::symlink_metadata(&path)?.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let file = magpie_files::open(&path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

/// A name alone, that leads into no other folder.
fn is_name(name: &str) -> bool {
    name.ends_with(SUFFIX) && !name.starts_with('.') && !name.contains(['/', '\\', '"', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_listed_and_nothing_else_can_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("kept")).unwrap();
        fs::write(path.join("a.mcap"), "ring").unwrap();
        fs::write(path.join("kept/b.mcap"), "kept").unwrap();
        fs::write(path.join("secret.toml"), "no").unwrap();
        fs::write(path.join(".hidden.mcap"), "no").unwrap();
        std::os::unix::fs::symlink(path.join("secret.toml"), path.join("link.mcap")).unwrap();
        let mut names: Vec<_> =
            list(path).unwrap().into_iter().map(|r| (r.name, r.bytes)).collect();
        names.sort();
        assert_eq!(names, [("a.mcap".to_owned(), 4), ("b.mcap".to_owned(), 4)]);
        assert!(open(path, Place::Ring, "a.mcap").is_ok());
        assert!(open(path, Place::Kept, "b.mcap").is_ok());
        for name in ["secret.toml", "link.mcap", "kept/b.mcap", "../a.mcap", "gone.mcap", ".mcap"] {
            assert!(open(path, Place::Ring, name).is_err(), "{name}");
        }
        assert!(list(&path.join("not made yet")).unwrap().is_empty());
    }
}

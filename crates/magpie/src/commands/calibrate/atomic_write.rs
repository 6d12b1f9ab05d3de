//! Files that are written whole or not at all.

use std::path::{Path, PathBuf};

use magpie_daemon::failure::{Failure, Outcome};

/// Replaces the file at once: a reader never finds half of it, and a failure leaves the old one.
pub(super) fn write_atomically(path: &Path, bytes: &[u8]) -> Outcome {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part: PathBuf = path.with_file_name(name);
    let written = std::fs::write(&part, bytes).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| {
        // What is left of a full disk is of no use.
        let _ = std::fs::remove_file(&part);
        Failure::fault(anyhow::Error::new(error).context(format!("write {}", path.display())))
    })
}

//! The folder that pictures and scores are written into.

use std::path::Path;

use anyhow::Context;
use magpie_daemon::failure::Failure;

/// Creates the folder; one that holds anything is refused.
pub(super) fn create_empty(folder: &Path) -> Result<(), Failure> {
    let holds_files = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if holds_files {
        let folder = folder.display();
        let error = anyhow::anyhow!("{folder} is not empty; name another folder");
        return Err(Failure::Fault(error));
    }
    std::fs::create_dir_all(folder)
        .with_context(|| format!("make folder {}", folder.display()))
        .map_err(Failure::Fault)
}

//! Which model one cell uses, written down so that the next process starts with it.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use magpie_files::TEXT_BYTES_MAX;
use magpie_wire::CellName;
use serde::{Deserialize, Serialize};

use super::store::make_folder;

/// What the model of the configuration is called in orders.
pub const CONFIGURED: &str = "configured";

const END: &str = ".in-use.json";

/// Models are named by their SHA-256.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// What the configuration named when this was written: it is void when that changes.
    pub configured: String,
    pub in_use: String,
    /// What a rollback goes back to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// A process that finds this set has followed one that ended in the middle of a trial.
    #[serde(default)]
    pub on_trial: bool,
    /// Why a model was given up, until somebody gives an order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<String>,
}

impl Selection {
    /// As the configuration says.
    pub fn of_configuration(sha256: &str) -> Selection {
        let sha256 = sha256.to_owned();
        Selection { configured: sha256.clone(), in_use: sha256, ..Selection::default() }
    }

    /// Goes back to the model before, and says why, unless somebody asked for it.
    pub fn roll_back(&mut self, why: Option<String>) {
        self.in_use = self.previous.take().unwrap_or_else(|| self.configured.clone());
        self.on_trial = false;
        self.rolled_back = why;
    }

    pub fn path(folder: &Path, cell: &CellName) -> PathBuf {
        folder.join(format!("{cell}{END}"))
    }

    /// `None` where nothing is written down.
    pub fn read(folder: &Path, cell: &CellName) -> io::Result<Option<Selection>> {
        let text = match magpie_files::read_text(&Selection::path(folder, cell), TEXT_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_str(&text).map(Some).map_err(io::Error::from)
    }

    /// What is written down about every cell of a folder.
    pub fn all(folder: &Path) -> Vec<(String, Selection)> {
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let cells = names.filter_map(|name| CellName::new(name.strip_suffix(END)?).ok());
        let read = |cell: CellName| {
            let selection = Selection::read(folder, &cell).ok().flatten()?;
            Some((cell.to_string(), selection))
        };
        let mut all: Vec<_> = cells.filter_map(read).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// Writes it whole, or leaves what was there.
    pub fn write(&self, folder: &Path, cell: &CellName) -> io::Result<()> {
        make_folder(folder)?;
        let path = Selection::path(folder, cell);
        // This process has read the file that it replaces, which `magpie_files` would not.
        let fresh = path.with_extension("json.new");
        let text = serde_json::to_string_pretty(self).expect("text");
        magpie_files::write(&fresh, text)?;
        fs::rename(&fresh, &path).inspect_err(|_| {
            let _ = fs::remove_file(&fresh);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_read_as_it_was_written_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, cell) = (folder.path().join("models"), CellName::new("dock-7").unwrap());
        assert_eq!(Selection::read(&folder, &cell).unwrap(), None);
        let mut selection = Selection::of_configuration("aa");
        for in_use in ["bb", "cc"] {
            selection.previous = Some(std::mem::replace(&mut selection.in_use, in_use.to_owned()));
            selection.on_trial = true;
            selection.write(&folder, &cell).unwrap();
            assert_eq!(Selection::read(&folder, &cell).unwrap().as_ref(), Some(&selection));
        }
        selection.roll_back(Some("too slow".to_owned()));
        assert_eq!((selection.in_use.as_str(), selection.previous.as_deref()), ("bb", None));
        selection.roll_back(None);
        assert_eq!((selection.in_use.as_str(), selection.rolled_back), ("aa", None));
        fs::write(Selection::path(&folder, &cell), "{").unwrap();
        assert!(Selection::read(&folder, &cell).is_err());
    }
}

//! The folder of installed models: `NAME.HASH.onnx`, with the first digits of its SHA-256.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::fchown;
use std::path::{Path, PathBuf};

use magpie_files::OutputFile;
use magpie_inference::{MODEL_BYTES_MAX, ModelError, ModelFile};
use minisign_verify::PublicKey;
use rustix::fs::AtFlags;

use crate::config::StoreConfig;
use crate::signature::{SignatureError, check_beside, signature_path};

/// How many digits of the hash stand in a name.
const DIGITS: usize = 12;
/// Fewer digits of a hash name nothing.
const DIGITS_MIN: usize = 6;
const END: &str = ".onnx";
const NAME_CHARACTERS_MAX: usize = 64;

/// Installed models.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
    key: Option<PublicKey>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    pub name: String,
    /// The first digits of its SHA-256.
    pub digits: String,
    pub path: PathBuf,
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("read the folder of models {folder}")]
    Folder {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("no model {wanted:?} is installed in {folder}{}; `magpie model install` does that", there(.known))]
    Unknown { wanted: String, folder: PathBuf, known: Vec<String> },
    #[error("{wanted:?} names {}; say which one by the first digits of its hash", .found.join(" and "))]
    Ambiguous { wanted: String, found: Vec<String> },
    #[error(
        "{name:?} is no name for an installed model: letters, digits, `-` and `_`; give one with --name"
    )]
    Name { name: String },
    #[error("install into {folder}; nothing was left there")]
    Write {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

fn there(known: &[String]) -> String {
    match known {
        [] => ", and nothing else is".to_owned(),
        known => format!("; there are {}", known.join(", ")),
    }
}

impl StoreError {
    /// Whether the file itself is to blame, so that trying again cannot help.
    pub fn is_configuration(&self) -> bool {
        !matches!(
            self,
            StoreError::Folder { .. } | StoreError::Write { .. } | StoreError::Read { .. }
        )
    }
}

impl Store {
    pub fn new(config: &StoreConfig) -> Store {
        Store { folder: config.folder.clone(), key: config.public_key.clone() }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Sorted by name.
    pub fn list(&self) -> Result<Vec<Installed>, StoreError> {
        let broken = |source| StoreError::Folder { folder: self.folder.clone(), source };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(broken(error)),
        };
        let mut installed = Vec::new();
        for entry in entries {
            installed.extend(installed_at(&entry.map_err(broken)?.path()));
        }
        installed.sort_by(|a, b| (&a.name, &a.digits).cmp(&(&b.name, &b.digits)));
        Ok(installed)
    }

    /// By name, or by the first digits of the hash.
    pub fn find(&self, wanted: &str) -> Result<Installed, StoreError> {
        let all = self.list()?;
        let is_hash = wanted.len() >= DIGITS_MIN && wanted.bytes().all(|b| b.is_ascii_hexdigit());
        let digits = wanted.get(..DIGITS).unwrap_or(wanted);
        let is_wanted = |known: &&Installed| {
            let by_hash = is_hash && known.digits.starts_with(&digits.to_ascii_lowercase());
            known.name == wanted || format!("{}.{}", known.name, known.digits) == wanted || by_hash
        };
        let found: Vec<Installed> = all.iter().filter(is_wanted).cloned().collect();
        let named = |all: &[Installed]| {
            all.iter().map(|known| format!("{}.{}", known.name, known.digits)).collect()
        };
        let wanted = wanted.to_owned();
        match <[Installed; 1]>::try_from(found) {
            Ok([found]) => Ok(found),
            Err(found) if found.is_empty() => {
                Err(StoreError::Unknown { wanted, folder: self.folder.clone(), known: named(&all) })
            }
            Err(found) => Err(StoreError::Ambiguous { wanted, found: named(&found) }),
        }
    }

    /// Reads and checks an installed model: whoever can write into the folder may have changed it.
    pub fn read(&self, installed: &Installed) -> Result<ModelFile, StoreError> {
        let path = &installed.path;
        let bytes = magpie_files::read(path, MODEL_BYTES_MAX)
            .map_err(|source| StoreError::Read { path: path.clone(), source })?;
        if let Some(key) = &self.key {
            check_beside(key, path, &bytes, &signature_path(path))?;
        }
        let model = ModelFile::from_bytes(&installed.name, bytes, None)?;
        if model.spec().sha256.starts_with(&installed.digits) {
            return Ok(model);
        }
        let why = "its hash is not the one in its name; install it again";
        let source = io::Error::new(io::ErrorKind::InvalidData, why);
        Err(StoreError::Read { path: path.clone(), source })
    }

    /// Puts a model that was checked into the folder, with the text of its signature.
    pub fn install(
        &self,
        model: &ModelFile,
        signature: Option<&str>,
    ) -> Result<Installed, StoreError> {
        let (name, sha256) = (&model.spec().name, &model.spec().sha256);
        check_name(name)?;
        let path = self.folder.join(format!("{name}.{}{END}", &sha256[..DIGITS]));
        let failed = |source| StoreError::Write { folder: self.folder.clone(), source };
        make_folder(&self.folder).map_err(failed)?;
        // The signature goes first: a model without one would be refused.
        let signed = signature.map(|text| (signature_path(&path), text.as_bytes()));
        let files = signed.into_iter().chain([(path.clone(), model.bytes())]);
        let parts: io::Result<Vec<_>> =
            files.map(|(path, bytes)| part_for_all(&path, bytes)).collect();
        // Both are on the disk before either has its name: another may install the same model.
        parts.map_err(failed)?.into_iter().try_for_each(OutputFile::finish).map_err(failed)?;
        let gone = || failed(io::Error::other("somebody removed or replaced what was written"));
        installed_at(&path).ok_or_else(gone)
    }
}

/// Refuses a name that no installed model can have.
pub fn check_name(name: &str) -> Result<(), StoreError> {
    if !name.is_empty() && name.len() <= NAME_CHARACTERS_MAX && name.chars().all(is_part_of_name) {
        return Ok(());
    }
    Err(StoreError::Name { name: name.to_owned() })
}

/// The name of a model whose file is called so: `best.v2` becomes `best-v2`.
pub fn name_from(file_stem: &str) -> String {
    file_stem.chars().map(|c| if is_part_of_name(c) { c } else { '-' }).collect()
}

fn is_part_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_".contains(c)
}

/// `None` for other files.
fn installed_at(path: &Path) -> Option<Installed> {
    let file_name = path.file_name()?.to_str()?;
    let (name, digits) = file_name.strip_suffix(END)?.rsplit_once('.')?;
    let is_hash = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_hexdigit());
    let found = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    (is_hash && !name.is_empty()).then(|| Installed {
        name: name.to_owned(),
        digits: digits.to_owned(),
        path: path.to_owned(),
        bytes: found.len(),
    })
}

/// The daemon notes there what is in use, so what root makes belongs to whom the folder above belongs.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    above.map_or(Ok(()), fs::create_dir_all)?;
    // The service's user may write in the folder above, and put a link in the place of this one.
    let made = magpie_files::create_folder(folder, 0o755)?;
    if rustix::process::geteuid().is_root() {
        let above = rustix::fs::statat(&made, "..", AtFlags::empty())?;
        fchown(&made, Some(above.st_uid), Some(above.st_gid))?;
    }
    Ok(())
}

/// A file that has no name yet, and that the service may read: it is another user than the one who
/// installs.
fn part_for_all(path: &Path, bytes: &[u8]) -> io::Result<OutputFile> {
    let mut part = OutputFile::create_with_mode(path, 0o644)?;
    part.write_all(bytes)?;
    part.flush()?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_perception::BoxError;
    use std::time::Duration;

    fn tiny(name: &str) -> ModelFile {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/tests/data");
        let bytes = fs::read(path.join("tiny_bgr8.onnx")).unwrap();
        ModelFile::from_bytes(name, bytes, None).unwrap()
    }

    fn store(folder: &Path) -> Store {
        let folder = folder.to_owned();
        Store::new(&StoreConfig { folder, public_key: None, trial: Duration::from_secs(1) })
    }

    fn check_unknown(found: Result<Installed, StoreError>, parts: &[&str]) {
        let error: BoxError = found.unwrap_err().into();
        for part in parts {
            assert!(error.to_string().contains(part), "{part:?} is not in {error}");
        }
    }

    #[test]
    fn an_installed_model_is_found_by_its_name_and_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(&folder.path().join("models"));
        check_unknown(store.find("tiny"), &["no model \"tiny\"", "nothing else", "model install"]);
        let model = tiny("tiny");
        let installed = store.install(&model, None).unwrap();
        let sha256 = model.spec().sha256.clone();
        for wanted in ["tiny", &sha256[..6], &sha256, &format!("tiny.{}", &sha256[..12])] {
            assert_eq!(store.find(wanted).unwrap(), installed, "{wanted}");
        }
        assert_eq!(store.read(&installed).unwrap().spec(), model.spec());
        check_unknown(store.find(&sha256[..5]), &["there are tiny."]);
        store.install(&tiny("other"), None).unwrap();
        check_unknown(store.find(&sha256[..8]), &["other.", " and tiny.", "first digits"]);
        check_unknown(store.install(&tiny("../tiny"), None), &["../tiny", "--name"]);
    }

    #[test]
    fn a_files_name_becomes_one_that_a_model_can_have() {
        for (stem, name) in
            [("best.v2", "best-v2"), ("my model (3)", "my-model--3-"), ("a_b", "a_b")]
        {
            assert_eq!(name_from(stem), name);
            check_name(name).unwrap();
        }
        for name in ["", "a.b", "../a", &"a".repeat(65)] {
            check_name(name).unwrap_err();
        }
    }

    #[test]
    fn what_another_installed_stays_where_an_own_install_fails() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let installed = store.install(&tiny("tiny"), Some("signed")).unwrap();
        // Nothing can take its name any more: there is a folder of that name.
        let other = folder
            .path()
            .join(installed.path.file_name().unwrap().to_str().unwrap().replace("tiny", "other"));
        fs::create_dir(&other).unwrap();
        let error = store.install(&tiny("other"), None).unwrap_err();
        assert!(matches!(error, StoreError::Write { .. }), "{error}");
        assert!(
            other.is_dir() && installed.path.is_file() && signature_path(&installed.path).is_file()
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "nothing else is left");
    }

    #[test]
    fn a_folder_that_is_a_link_to_nothing_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let (models, elsewhere) = (folder.path().join("models"), folder.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, &models).unwrap();
        make_folder(&models).unwrap_err();
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_model_that_was_changed_in_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let installed = store.install(&tiny("tiny"), None).unwrap();
        let mut bytes = fs::read(&installed.path).unwrap();
        let at = bytes.windows(3).position(|window| window == b"box").unwrap();
        bytes[at] = b'f';
        fs::write(&installed.path, bytes).unwrap();
        let error = store.read(&installed).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("its hash"));
        fs::write(folder.path().join("notes.txt"), "").unwrap();
        std::os::unix::fs::symlink(&installed.path, folder.path().join("a.000000000000.onnx"))
            .unwrap();
        assert_eq!(store.list().unwrap(), [store.find("tiny").unwrap()]);
    }
}

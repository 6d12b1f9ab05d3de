//! Finds ONNX Runtime's shared library and starts its one environment.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use magpie_perception::BoxError;
use ort::LoadDynamicError;
use ort::environment::Environment;
use ort::logging::LogLevel;

const VARIABLE: &str = "ORT_DYLIB_PATH";
const FILE_NAME: &str = "libonnxruntime.so";
const INSTALLED: &str = "/usr/lib/magpie/libonnxruntime.so";

/// ONNX Runtime itself cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "load ONNX Runtime from {from}; run `scripts/install`, or set {VARIABLE} to a libonnxruntime.so of version 1.31 or newer"
)]
pub struct LibraryError {
    pub from: PathBuf,
    #[source]
    pub source: BoxError,
}

/// Returns the process's environment; the library is looked for when the first session asks.
pub(crate) fn environment() -> Result<Environment, LibraryError> {
    static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);
    let mut slot = ENVIRONMENT.lock().expect("nobody panics while holding it");
    if let Some(environment) = slot.as_ref() {
        return Ok(environment.clone());
    }
    let from = find_library();
    let environment = start(&from).map_err(|source| LibraryError { from, source })?;
    Ok(slot.insert(environment).clone())
}

/// Loads ONNX Runtime as a session would, and says from where.
///
/// # Errors
/// If it cannot be loaded, or is too old.
pub fn load_runtime() -> Result<PathBuf, LibraryError> {
    environment()?;
    let from = find_library();
    // The name behind the link has the version.
    Ok(fs::canonicalize(&from).unwrap_or(from))
}

fn start(library: &Path) -> Result<Environment, BoxError> {
    let builder = ort::init_from(library).map_err(|err| match err {
        // ort's own message leaves the loader's reason out.
        LoadDynamicError::Dlopen { error, .. } => BoxError::from(error),
        other => other.into(),
    })?;
    let environment = builder.with_name("magpie").with_telemetry(false).build()?;
    environment.set_log_level(LogLevel::Warning);
    tracing::info!(library = %library.display(), "loaded ONNX Runtime");
    Ok(environment)
}

/// Looks for the variable's library, then for a development tree's, the installed one, and the
/// loader's.
fn find_library() -> PathBuf {
    if let Some(path) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
        return path.into();
    }
    let developed = env::current_exe().ok().and_then(|exe| beside_target(&exe));
    let installed = Some(PathBuf::from(INSTALLED)).filter(|path| path.is_file());
    developed.or(installed).unwrap_or_else(|| PathBuf::from(FILE_NAME))
}

/// Finds `.cache/onnxruntime/libonnxruntime.so*` beside the `target` folder that holds the program.
fn beside_target(program: &Path) -> Option<PathBuf> {
    let target = program.ancestors().find(|folder| folder.ends_with("target"))?;
    let folder = target.parent()?.join(".cache/onnxruntime");
    let mut libraries: Vec<PathBuf> = fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(FILE_NAME)))
        .collect();
    libraries.sort();
    libraries.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_development_tree_keeps_its_library_beside_target() {
        let tree = tempfile::tempdir().unwrap();
        let cache = tree.path().join(".cache/onnxruntime");
        let program = tree.path().join("target/debug/deps/magpie-1a2b");
        assert_eq!(beside_target(&program), None);
        fs::create_dir_all(&cache).unwrap();
        for name in ["libonnxruntime.so.1.31.1", "libonnxruntime_providers_shared.so", "notes"] {
            fs::write(cache.join(name), "").unwrap();
        }
        assert_eq!(beside_target(&program), Some(cache.join("libonnxruntime.so.1.31.1")));
        assert_eq!(beside_target(Path::new("/usr/bin/magpie")), None);
    }
}

//! Where the graph's nodes really ran, from ONNX Runtime's own profile of one run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use magpie_perception::Provider;

use crate::provider::runtime_name;

/// The provider that runs the model, and how much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    pub provider: Provider,
    /// How many nodes ran in one run, after ONNX Runtime's optimisations.
    pub nodes: usize,
    pub nodes_on_provider: usize,
    pub nodes_on_cpu: usize,
}

impl Placement {
    /// Returns the share of the nodes that ran on the provider, `0.0..=1.0`.
    pub fn share(&self) -> f64 {
        self.nodes_on_provider as f64 / self.nodes.max(1) as f64
    }

    /// Whether the provider does the work: some nodes on it, and at most half on the CPU instead.
    pub(crate) fn is_real(&self) -> bool {
        let on_cpu = if self.provider == Provider::Cpu { 0 } else { self.nodes_on_cpu };
        self.nodes_on_provider > 0 && 2 * on_cpu <= self.nodes
    }
}

/// ONNX Runtime's profile could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("write a profile of the warm-up run under {folder}; set TMPDIR to a writable folder")]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error("read the profile of the warm-up run from {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "read the profile of the warm-up run, whose layout is not the known one; use \
         ONNX Runtime 1.31"
    )]
    Parse(#[source] serde_json::Error),
    #[error(
        "the profile of the warm-up run breaks off, as on a full disk or beyond a limit on the size of \
         files (RLIMIT_FSIZE): make room in {folder}, or set TMPDIR to another folder"
    )]
    Cut { folder: PathBuf },
}

pub(crate) fn read_placement(path: &Path, asked: Provider) -> Result<Placement, ProfileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ProfileError::Read { path: path.to_owned(), source })?;
    let nodes = match count_nodes(&text) {
        Err(ProfileError::Parse(error)) if error.is_eof() => {
            let folder = path.parent().map_or_else(PathBuf::new, Path::to_owned);
            return Err(ProfileError::Cut { folder });
        }
        counted => counted?,
    };
    let on = |provider| nodes.get(runtime_name(provider)).copied().unwrap_or(0);
    Ok(Placement {
        provider: asked,
        nodes: nodes.values().sum(),
        nodes_on_provider: on(asked),
        nodes_on_cpu: on(Provider::Cpu),
    })
}

/// Counts nodes by ONNX Runtime's name of the provider that ran them.
fn count_nodes(profile: &str) -> Result<BTreeMap<String, usize>, ProfileError> {
    let events: Vec<serde_json::Value> =
        serde_json::from_str(profile).map_err(ProfileError::Parse)?;
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|event| event["cat"] == "Node") {
        if let Some(provider) = event["args"]["provider"].as_str() {
            *counts.entry(provider.to_owned()).or_default() += 1;
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(providers: &[&str], asked: Provider, expected: (usize, usize, bool)) {
        let events: Vec<String> = providers
            .iter()
            .map(|provider| {
                format!(
                    r#"{{"cat": "Node", "args": {{"provider": "{provider}ExecutionProvider"}}}}"#
                )
            })
            .collect();
        let session = r#"{"cat": "Session", "args": {}}"#;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("[{session}, {}]", events.join(","))).unwrap();
        let placement = read_placement(file.path(), asked).unwrap();
        let found = (placement.nodes_on_provider, placement.nodes, placement.is_real());
        assert_eq!(found, expected, "{providers:?}");
    }

    #[test]
    fn nodes_are_counted_where_they_ran() {
        check(&["CPU", "CPU", "CPU"], Provider::Cpu, (3, 3, true));
        check(&["CUDA", "CUDA", "CPU"], Provider::Cuda, (2, 3, true));
        check(&["Tensorrt", "CUDA", "CUDA"], Provider::TensorRt, (1, 3, true));
    }

    #[test]
    fn a_provider_that_leaves_the_work_to_the_cpu_is_not_what_was_asked_for() {
        check(&["CPU", "CPU"], Provider::Cuda, (0, 2, false));
        check(&["CPU", "CPU", "CUDA"], Provider::Cuda, (1, 3, false));
        check(&["CUDA", "CUDA"], Provider::TensorRt, (0, 2, false));
    }

    #[test]
    fn a_profile_that_was_cut_off_names_its_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for cut in ["", r#"[{"cat": "Node", "ar"#] {
            std::fs::write(file.path(), cut).unwrap();
            let error = read_placement(file.path(), Provider::Cpu).unwrap_err();
            assert!(matches!(error, ProfileError::Cut { .. }), "{error}");
        }
    }

    #[test]
    fn another_layout_of_the_profile_is_an_error() {
        assert!(matches!(count_nodes("{}"), Err(ProfileError::Parse(_))));
        assert!(matches!(count_nodes("[{"), Err(ProfileError::Parse(_))));
    }
}

//! `[model]`: which model runs, and on what.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use magpie_inference::SessionOptions;
use magpie_perception::Provider;
use minisign_verify::PublicKey;
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ModelFile {
    path: Option<PathBuf>,
    sha256: Option<String>,
    providers: Option<Vec<String>>,
    allow_fallback: Option<bool>,
    threads: Option<usize>,
    spinning: Option<bool>,
    engine_cache: Option<PathBuf>,
    load_s_max: Option<u64>,
    engine_build_s_max: Option<u64>,
    folder: Option<PathBuf>,
    public_key: Option<String>,
    trial_s: Option<u64>,
}

/// `[model]`, checked.
pub(super) struct ModelChoice {
    /// `None`: the universal model, which is part of the program.
    pub(super) path: Option<PathBuf>,
    pub(super) sha256: Option<String>,
    pub(super) session: SessionOptions,
    pub(super) store: StoreConfig,
}

/// Where installed models are, and when one is trusted.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    pub folder: PathBuf,
    /// Every model must be signed with the secret half of this.
    pub public_key: Option<PublicKey>,
    /// How long a model that was changed to is watched.
    pub trial: Duration,
}

pub(super) fn check(checker: &Checker<'_>, file: ModelFile) -> Result<ModelChoice, ConfigError> {
    let public_key = file.public_key.as_deref().map(PublicKey::from_base64).transpose();
    let public_key = public_key.map_err(|_| ConfigError::Value {
        path: checker.path.to_owned(),
        key: "model.public_key",
        value: file.public_key.clone().unwrap_or_default(),
        why: "is no public key of minisign's; it is the second line of minisign.pub",
    })?;
    Ok(ModelChoice {
        store: StoreConfig {
            folder: checker.resolve(&shipped(file.folder.clone())),
            public_key,
            trial: seconds(checker, "model.trial_s", file.trial_s)?,
        },
        session: session_options(checker, &file)?,
        path: file.path.map(|path| checker.resolve(&path)),
        sha256: file.sha256,
    })
}

fn session_options(checker: &Checker<'_>, file: &ModelFile) -> Result<SessionOptions, ConfigError> {
    let mut providers = Vec::new();
    for name in file.providers.as_ref().expect("the shipped file has providers") {
        match Provider::from_name(name) {
            Some(provider) => providers.push(provider),
            None => {
                let why = "is no execution provider; there are tensorrt, cuda, openvino and cpu";
                checker.refuse("model.providers", name, why)?;
            }
        }
    }
    if providers.is_empty() {
        checker.refuse("model.providers", "[]", "must name at least one, for example \"cpu\"")?;
    }
    let builds_engine = providers.contains(&Provider::TensorRt);
    let load_max = seconds(checker, "model.load_s_max", file.load_s_max)?;
    let engine_build_max = seconds(checker, "model.engine_build_s_max", file.engine_build_s_max)?;
    Ok(SessionOptions {
        load_max: if builds_engine { load_max + engine_build_max } else { load_max },
        providers,
        allow_fallback: shipped(file.allow_fallback),
        threads: NonZeroUsize::new(shipped(file.threads)),
        spinning: shipped(file.spinning),
        engine_cache: file.engine_cache.as_ref().map(|path| checker.resolve(path)),
        ..SessionOptions::default()
    })
}

fn seconds(
    checker: &Checker<'_>,
    key: &'static str,
    value: Option<u64>,
) -> Result<Duration, ConfigError> {
    match shipped(value) {
        seconds @ 1..=86_400 => Ok(Duration::from_secs(seconds)),
        other => checker.refuse(key, other, "must lie between 1 and 86400 s"),
    }
}

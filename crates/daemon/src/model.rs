//! The model that a run uses.

use std::path::Path;

use magpie_inference::{ModelFile, OnnxSession, SessionError, SessionOptions};

use crate::config::Config;
use crate::failure::Failure;
use crate::signature::{check_beside, signature_path};

/// The universal model, part of the program.
static UNIVERSAL_MODEL: &[u8] = include_bytes!("../../../models/universal.onnx");

/// The file at `path`, or the universal model.
pub fn read(path: Option<&Path>, sha256: Option<&str>) -> Result<ModelFile, Failure> {
    match path {
        Some(path) => ModelFile::read(path, sha256),
        None => ModelFile::from_bytes("universal", UNIVERSAL_MODEL.to_vec(), sha256),
    }
    .map_err(Failure::config)
}

/// The file that was named beside the configuration, or the configuration's own, whose hash and
/// signature the configuration may demand.
pub fn chosen(named: Option<&Path>, config: &Config) -> Result<ModelFile, Failure> {
    if named.is_some() {
        return read(named, None);
    }
    let model = read(config.model_path.as_deref(), config.model_sha256.as_deref())?;
    // The universal model is part of the program, and signed as that is.
    if let (Some(key), Some(path)) = (&config.model_store.public_key, &config.model_path) {
        check_beside(key, path, model.bytes(), &signature_path(path)).map_err(Failure::config)?;
    }
    Ok(model)
}

/// Loads and warms the model up. A provider that is not there is a matter of configuration; what may
/// pass by itself is a fault, and the next start may succeed.
pub fn load(model: &ModelFile, options: &SessionOptions) -> Result<OnnxSession, Failure> {
    load_while(model, options, &|| true)
}

fn load_while(
    model: &ModelFile,
    options: &SessionOptions,
    is_wanted: &dyn Fn() -> bool,
) -> Result<OnnxSession, Failure> {
    OnnxSession::load_while(model, options, is_wanted).map_err(|error| match error {
        SessionError::TooSlow { .. } => {
            let keys = "model.load_s_max (with TensorRT model.engine_build_s_max, too)";
            Failure::Fault(anyhow::anyhow!("{error}: {keys} in the configuration"))
        }
        error if error.may_pass() => Failure::fault(error),
        error => Failure::config(error),
    })
}

/// Loads it on a thread of its own, from which the model's threads inherit their scheduling.
pub fn load_scheduled(model: &ModelFile, config: &Config) -> Result<OnnxSession, Failure> {
    load_scheduled_while(model, config, &|| true)
}

/// Does the same while `is_wanted` says that somebody waits for it.
pub(crate) fn load_scheduled_while(
    model: &ModelFile,
    config: &Config,
    is_wanted: &(dyn Fn() -> bool + Sync),
) -> Result<OnnxSession, Failure> {
    std::thread::scope(|scope| {
        let load_here = || {
            config.scheduling.enter().map_err(Failure::config)?;
            load_while(model, &config.session, &is_wanted)
        };
        let loader = std::thread::Builder::new().name("magpie-load".into());
        let loader = loader.spawn_scoped(scope, load_here).map_err(Failure::fault)?;
        loader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

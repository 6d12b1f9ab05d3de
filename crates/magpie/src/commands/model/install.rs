//! `magpie model install`: nothing is installed that was not checked and tried.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use magpie_daemon::config::{Config, RecordingTarget};
use magpie_daemon::failure::{Failure, Outcome};
use magpie_daemon::models::{Store, StoreError, check_name, name_from, present};
use magpie_daemon::signature::{check_beside, signature_path};
use magpie_daemon::source::DEMO_RECORDING;
use magpie_inference::ModelFile;
use magpie_recording::{FrameReader, Playback, number_of};

use super::shadow;
use crate::arguments;
use crate::present::output;

#[derive(Debug, clap::Args)]
pub(super) struct InstallArgs {
    /// The model: one ONNX file that keeps the contract.
    file: PathBuf,
    /// The configuration of the cell that it is for; absent: the shipped one.
    #[arg(long)]
    config: Option<PathBuf>,
    /// What to call it; absent: as the file is called, with `-` for what a name cannot have.
    #[arg(long)]
    name: Option<String>,
    /// Refuse a file with another hash.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Its signature by minisign; absent: FILE.minisig. It is looked at where model.public_key is set.
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// The recording to try it on; absent: the newest of the cell, else the demo recording.
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    /// Try it on at most so many frames.
    #[arg(long, default_value_t = 100, value_parser = arguments::count::<u32>)]
    frames_max: u32,
}

pub(super) fn install(args: &InstallArgs) -> Outcome {
    let config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    let (model, signature) = checked(args, &config)?;
    let store = Store::new(&config.model_store);
    let (mut frames, name) = recording(args, &config)?;
    frames.use_tool(&config.tool);
    let present = present(&config)?;
    say("new", &model)?;
    say("present", &present)?;
    if present.spec().sha256 == model.spec().sha256 {
        output::line("they are the same file: nothing would change")?;
    } else {
        output::line(&format!("tried on {name}"))?;
        let shadow = shadow::run(&mut frames, &config, [&present, &model], args.frames_max)?;
        output::line(&shadow.table())?;
        shadow.warnings().into_iter().try_for_each(|warning| output::line(&warning))?;
    }
    let installed = store.install(&model, signature.as_deref()).map_err(refused)?;
    output::line(&format!(
        "installed as {}; `magpie model use {}.{}` lets a running cell use it",
        installed.path.display(),
        installed.name,
        installed.digits
    ))
}

/// The contract, the hash, the signature.
fn checked(args: &InstallArgs, config: &Config) -> Result<(ModelFile, Option<String>), Failure> {
    let path = &args.file;
    // What would be refused in the end is refused before the work.
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = args.name.clone().unwrap_or_else(|| name_from(&stem));
    check_name(&name).map_err(refused)?;
    // The whole contract, with messages that name the file.
    let model = ModelFile::read(path, args.sha256.as_deref()).map_err(Failure::config)?;
    let model = if name == model.spec().name {
        model
    } else {
        ModelFile::from_bytes(&name, model.bytes().to_vec(), None).map_err(Failure::config)?
    };
    let Some(key) = &config.model_store.public_key else { return Ok((model, None)) };
    let signature = args.signature.clone().unwrap_or_else(|| signature_path(path));
    let text = check_beside(key, path, model.bytes(), &signature).map_err(Failure::config)?;
    Ok((model, Some(text)))
}

fn refused(error: StoreError) -> Failure {
    if error.is_configuration() { Failure::config(error) } else { Failure::fault(error) }
}

fn say(what: &str, model: &ModelFile) -> Outcome {
    let spec = model.spec();
    output::line(&format!(
        "{what:<8} {}, {}x{} px, {}, sha256 {}",
        spec.name,
        spec.width_px,
        spec.height_px,
        spec.class_names.join(", "),
        spec.sha256
    ))
}

/// What was recorded last, by the cell itself if it records.
fn recording(args: &InstallArgs, config: &Config) -> Result<(FrameReader, String), Failure> {
    let open = |path: &Path| FrameReader::open(path, Playback::default());
    if let Some(path) = &args.recording {
        let name = path.display().to_string();
        return Ok((open(path).map_err(Failure::config)?, name));
    }
    if let Some(RecordingTarget::Ring { folder, .. }) = &config.recording.target {
        // The newest may have only just begun.
        for path in newest_first(folder, config.cell.as_str()) {
            match open(&path) {
                Ok(reader) => return Ok((reader, path.display().to_string())),
                Err(error) => tracing::debug!(%error, "pass over a recording"),
            }
        }
    }
    let name = "the demo recording, since the cell has none: see --recording and [recording]";
    let demo = FrameReader::from_bytes("the demo recording", DEMO_RECORDING, Playback::default());
    Ok((demo.map_err(|error| Failure::Fault(anyhow!(error)))?, name.to_owned()))
}

/// The recordings of a cell; their names end with a number that rises.
fn newest_first(folder: &Path, cell: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let number = |path: &Path| number_of(cell, path.file_name()?.to_str()?);
    let paths = entries.flatten().map(|entry| entry.path());
    let mut numbered: Vec<(u64, PathBuf)> =
        paths.filter_map(|path| Some((number(&path)?, path))).collect();
    numbered.sort();
    numbered.into_iter().rev().map(|(_, path)| path).collect()
}

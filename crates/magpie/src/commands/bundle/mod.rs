//! `magpie bundle`: one archive for a report about a fault. It asks nothing, removes secrets, and says
//! what is in it.

mod archive;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use magpie_client::{WatchEvent, WatchOptions, Watcher, find_cell};
use magpie_network::{SystemClock, ZenohConfig};
use magpie_recording::{FrameReader, Playback, number_of};
use magpie_wire as wire;

use self::archive::Contents;
use crate::arguments::ZenohArgs;
use crate::doctor::{Scope, configurations, examine, versions};
use crate::inspection::{NamedFile, named_files};
use crate::present::output;
use magpie_daemon::config::{Config, RecordingTarget};
use magpie_daemon::failure::{Failure, Outcome, one_line};

#[derive(Debug, clap::Args)]
pub struct BundleArgs {
    /// A cell's configuration, once or more; absent: all in /etc/magpie.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// The archive to write; absent: magpie-bundle-TIME.tar.gz in this folder.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Add so many of the last seconds of the cells' recordings, with what the cameras saw, at most
    /// 500 MB.
    #[arg(long, value_name = "SECONDS")]
    recording_s: Option<u64>,
    #[command(flatten)]
    zenoh: ZenohArgs,
}

/// A daemon says how it is doing ten times a second.
const STATUS_PATIENCE: Duration = Duration::from_secs(2);
const LOG_LINES: &str = "3000";
const RECORDING_BYTES_MAX: u64 = 500_000_000;
/// Sections whose files go into a report: what the others name is large, or a secret.
const TOLD: [&str; 4] = ["scene.", "drift.", "depth.", "zenoh."];
/// Files of calibrations and of zenoh have kilobytes.
const TEXT_BYTES_MAX: u64 = magpie_files::TEXT_BYTES_MAX;

pub fn bundle(args: &BundleArgs) -> Outcome {
    // It holds what only root and the service's group could read.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let unix = Duration::from_nanos(SystemClock::start().now().0);
    let now = humantime::format_rfc3339_seconds(UNIX_EPOCH + unix).to_string();
    let folder = format!("magpie-bundle-{}", now.replace([':', '-'], ""));
    let path = args.out.clone().unwrap_or_else(|| format!("{folder}.tar.gz").into());
    output::check(&path)?;

    let mut contents = Contents::default();
    let versions: Vec<String> =
        versions().into_iter().map(|(name, version)| format!("{name}: {version}")).collect();
    contents.add("versions.txt", "the program, its libraries, the system", &versions.join("\n"));
    let scope = Scope { configurations: &args.config, zenoh: &args.zenoh, ask_networks: false };
    let findings: Vec<String> = examine(&scope).iter().map(|finding| finding.line()).collect();
    contents.add("doctor.txt", "what `magpie doctor --offline` finds", &findings.join("\n"));
    for configuration in configurations(&args.config) {
        add_cell(&mut contents, configuration.as_deref(), args);
    }
    let written = contents.write(&path, &folder, unix.as_secs());
    written.with_context(|| format!("write {}", path.display())).map_err(Failure::Fault)?;
    output::line(&format!("{}:", path.display()))?;
    output::line(contents.listing().trim_end())
}

fn add_cell(contents: &mut Contents, path: Option<&Path>, args: &BundleArgs) {
    let stem = path
        .and_then(Path::file_stem)
        .map_or_else(|| "shipped".into(), |stem| stem.to_string_lossy());
    if let Some(path) = path {
        add_configuration(contents, &stem, path);
    }
    let config = Config::load(path);
    if let Ok(mut config) = config {
        args.zenoh.apply(&mut config);
        add_status(contents, &stem, &config);
        add_recording(contents, &stem, &config, args.recording_s);
    } else {
        contents.leave_out(format!("{stem}/status.json"), "the configuration is wrong: doctor.txt");
    }
    add_log(contents, &stem);
}

/// The configuration, and what it names that is text: keys and certificates stay where they are.
fn add_configuration(contents: &mut Contents, stem: &str, path: &Path) {
    let name = format!("{stem}/magpie.toml");
    let text = match magpie_files::read_text(path, TEXT_BYTES_MAX) {
        Ok(text) => text,
        Err(error) => return contents.leave_out(name, format!("{}: {error}", path.display())),
    };
    contents.add(name, path.display().to_string(), &text);
    let is_told = |file: &NamedFile| TOLD.iter().any(|section| file.key.starts_with(section));
    for NamedFile { key, path } in named_files(path, &text).into_iter().filter(is_told) {
        let end = path.extension().unwrap_or_default().to_string_lossy();
        let name = format!("{stem}/{key}.{end}");
        match magpie_files::read_text(&path, TEXT_BYTES_MAX) {
            Ok(text) => contents.add(name, path.display().to_string(), &text),
            Err(error) => contents.leave_out(name, format!("{}: {error}", path.display())),
        }
    }
}

/// What the daemon says of itself now.
fn add_status(contents: &mut Contents, stem: &str, config: &Config) {
    let name = format!("{stem}/status.json");
    match status(config) {
        Ok(Some(status)) => {
            contents.add(
                name,
                "what the daemon says of itself",
                &wire::status_to_json(&status).to_string(),
            );
        }
        Ok(None) => contents.leave_out(name, "its daemon says nothing; does it run?"),
        Err(error) => contents.leave_out(name, one_line(&error)),
    }
}

/// `None` if nothing is heard.
fn status(config: &Config) -> anyhow::Result<Option<Box<wire::Status>>> {
    let zenoh = match &config.zenoh {
        // A daemon's file makes a daemon, which cannot be there twice.
        ZenohConfig::File(path) => match config.zenoh.check()?.listen {
            endpoints if endpoints.is_empty() => ZenohConfig::File(path.clone()),
            endpoints => ZenohConfig::FileAsClient { path: path.clone(), endpoints },
        },
        _ => find_cell(&config.cell)?,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let cell = config.cell.clone();
    let open = async { Watcher::open(cell, &zenoh, WatchOptions::default()) };
    let mut watcher = runtime.block_on(open)?;
    let heard = async {
        loop {
            if let WatchEvent::Status(status) = watcher.next().await {
                return status;
            }
        }
    };
    let heard = async { tokio::time::timeout(STATUS_PATIENCE, heard).await };
    Ok(runtime.block_on(heard).ok())
}

/// The journal of the cell's unit.
fn add_log(contents: &mut Contents, stem: &str) {
    let unit = format!("magpie@{stem}.service");
    let name = format!("{stem}/log.txt");
    let asked = ["-u", &unit, "-n", LOG_LINES, "--no-pager", "-q", "-o", "short-iso"];
    let journal = Command::new("journalctl").args(asked).env("LC_ALL", "C").output();
    match journal {
        Ok(journal) if journal.status.success() && !journal.stdout.is_empty() => {
            let text = String::from_utf8_lossy(&journal.stdout);
            contents.add(name, format!("the last {LOG_LINES} lines of {unit}"), &text);
        }
        Ok(_) => {
            let why =
                format!("the journal has nothing of {unit} for this user; root sees all of it");
            contents.leave_out(name, why);
        }
        Err(error) => contents.leave_out(name, format!("ask journalctl: {error}")),
    }
}

/// The newest files of the cell's recording, if that was asked for.
fn add_recording(contents: &mut Contents, stem: &str, config: &Config, seconds: Option<u64>) {
    let name = format!("{stem}/recording");
    let Some(RecordingTarget::Ring { folder, .. }) = &config.recording.target else {
        return contents.leave_out(name, "nothing is recorded: [recording] folder is not set");
    };
    let Some(seconds) = seconds else {
        return contents.leave_out(name, "--recording-s 30 adds the last seconds, with pictures");
    };
    let files = newest(folder, config.cell.as_str(), Duration::from_secs(seconds));
    if files.is_empty() {
        let why =
            format!("{} holds no file of this cell that this user may read", folder.display());
        return contents.leave_out(name, why);
    }
    let mut room = RECORDING_BYTES_MAX;
    for file in files {
        let inside = format!("{name}/{}", file.name);
        let Some(left) = room.checked_sub(file.bytes) else {
            contents
                .leave_out(inside, format!("{} MB are the most", RECORDING_BYTES_MAX / 1_000_000));
            continue;
        };
        let opened = match secrets_in(&file.path) {
            None => magpie_files::open(&file.path).map_err(|error| error.to_string()),
            Some(why) => Err(why),
        };
        match opened {
            Ok(opened) => {
                room = left;
                contents.add_file(inside, file.path.display().to_string(), opened, file.bytes);
            }
            Err(why) => contents.leave_out(inside, why),
        }
    }
}

struct RecordedFile {
    path: PathBuf,
    name: String,
    bytes: u64,
    modified: SystemTime,
}

/// The files of a cell that were written in the last seconds of its recording, the newest first.
fn newest(folder: &Path, cell: &str, span: Duration) -> Vec<RecordedFile> {
    let mut files: Vec<RecordedFile> = [folder.to_owned(), folder.join("kept")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten())
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            number_of(cell, &name)?;
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            let modified = metadata.modified().ok()?;
            Some(RecordedFile { path: entry.path(), name, bytes: metadata.len(), modified })
        })
        .collect();
    files.sort_by_key(|file| std::cmp::Reverse(file.modified));
    let last = files.first().map(|file| file.modified);
    let is_recent = |file: &RecordedFile| {
        last.and_then(|last| last.duration_since(file.modified).ok()).is_some_and(|age| age <= span)
    };
    files.retain(is_recent);
    files
}

/// Why a recording is not to be handed on. Versions before this one stored passwords in it.
fn secrets_in(path: &Path) -> Option<String> {
    let stored = FrameReader::open(path, Playback::default())
        .and_then(|mut reader| reader.attachment("magpie.toml"));
    match stored {
        Ok(Some(toml)) => {
            let toml = String::from_utf8_lossy(&toml);
            let why = "it holds a configuration with a password: an older version wrote it";
            (magpie_camera::redact(&toml) != toml).then(|| why.to_owned())
        }
        Ok(None) => None,
        Err(error) => Some(one_line(&error.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};

    use super::*;

    #[test]
    fn the_last_seconds_are_those_before_the_newest_file_of_the_cell() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("kept")).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (name, age_s) in [
            ("dock-7_2026-11-23T130508.120Z-00000041.mcap", 100),
            ("dock-7_2026-11-23T130538.120Z-00000042.mcap", 70),
            ("kept/dock-7_2026-11-23T130608.120Z-00000043.mcap", 40),
            ("dock-7_2_2026-11-23T130608.120Z-00000043.mcap", 0),
            ("notes.txt", 0),
        ] {
            let file = File::create(folder.path().join(name)).unwrap();
            let then = now - Duration::from_secs(age_s);
            file.set_times(FileTimes::new().set_modified(then)).unwrap();
        }
        let names = |span_s| {
            let found = newest(folder.path(), "dock-7", Duration::from_secs(span_s));
            found.iter().map(|file| file.name[file.name.len() - 7..].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(10), ["43.mcap"]);
        assert_eq!(names(35), ["43.mcap", "42.mcap"]);
        assert_eq!(names(1000).len(), 3);
        assert!(newest(&folder.path().join("none"), "dock-7", Duration::MAX).is_empty());
    }
}

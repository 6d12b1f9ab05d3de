//! `magpie record`: the daemon, with a recording of what it sees and finds.

use std::path::PathBuf;
use std::time::Duration;

use crate::arguments::{self, ZenohArgs};
use magpie_daemon::config::{Config, FileLimits};
use magpie_daemon::failure::{Failure, Outcome};
use magpie_daemon::run::{self, asked_to_stop};

#[derive(Debug, clap::Args)]
pub struct RecordArgs {
    /// The recording to write; the name must be free.
    #[arg(long)]
    out: PathBuf,
    /// The configuration; absent: the shipped one, which plays the demo recording.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Stop after this many seconds.
    #[arg(long, value_parser = arguments::count::<u64>)]
    duration_s: Option<u64>,
    /// Stop after this many frames.
    #[arg(long, value_parser = arguments::count::<u64>)]
    frames: Option<u64>,
    /// Stop when the file has this size, a chunk more or less.
    #[arg(long, value_parser = arguments::count::<u64>)]
    size_mb_max: Option<u64>,
    #[command(flatten)]
    zenoh: ZenohArgs,
}

/// Runs until a limit is reached, the source ends, or somebody asks to stop.
pub fn record(args: &RecordArgs) -> Outcome {
    let stop = asked_to_stop()?;
    let mut config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    args.zenoh.apply(&mut config);
    let limits = FileLimits {
        duration_max: args.duration_s.map(Duration::from_secs),
        frames_max: args.frames,
        bytes_max: args.size_mb_max.map(|mb| mb.saturating_mul(1_000_000)),
    };
    config.recording = config.recording.into_file(&args.out, limits);
    run::run(&config, stop)
}

//! `magpie run`: the daemon.

use std::path::PathBuf;

use crate::arguments::ZenohArgs;
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome};
use magpie_daemon::run::{self, asked_to_stop};

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The configuration; absent: the shipped one, which plays the demo recording.
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    zenoh: ZenohArgs,
}

pub fn run(args: &RunArgs) -> Outcome {
    let stop = asked_to_stop()?;
    let mut config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    args.zenoh.apply(&mut config);
    run::run(&config, stop)
}

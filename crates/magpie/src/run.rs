//! `magpie run`: the daemon.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::service;

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The configuration; absent: the shipped one, which plays the demo recording.
    #[arg(long)]
    config: Option<PathBuf>,
}

pub fn run(args: &RunArgs) -> Outcome {
    let config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    service::run(&config, asked_to_stop())
}

/// SIGTERM from systemd, SIGINT from a terminal.
pub(crate) async fn asked_to_stop() {
    let listen = |kind| signal(kind).expect("signal handlers can be installed");
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

//! `magpie view`: a recording or a running cell in the viewer Rerun.
//!
//! ```text
//!  recording -> FrameReader, MessageReader -+
//!                                           +-> Shown -> Viewer -> viewer.py -> Rerun's viewer, or a file
//!  cell      -> Watcher --------------------+
//! ```
//!
//! Rerun's library for Rust is larger than all of this program. Its Python package is there wherever
//! its viewer is, so a program of Python that is compiled in draws what it is handed.

mod file;
mod live;
mod surface;
mod viewer;

use std::path::PathBuf;

use magpie_client::CellName;
use magpie_daemon::failure::Outcome;

use crate::arguments::{self, ZenohArgs, endpoint};
use crate::present::output;
use crate::topics::TopicArgs;

#[derive(Debug, clap::Args)]
pub struct ViewArgs {
    /// A recording made by `magpie record`, a ROS 2 bag (.mcap, .db3 or its folder), or an MCAP file of
    /// Foxglove's.
    #[arg(required_unless_present = "live")]
    file: Option<PathBuf>,
    /// Show this cell as it runs: each picture that it sends, with what was found in it.
    #[arg(long, value_name = "CELL", value_parser = CellName::new, conflicts_with_all = ["file", "TopicArgs"])]
    live: Option<CellName>,
    #[command(flatten)]
    topics: TopicArgs,
    /// Where the cell's daemon, or a zenoh router, listens; absent: the cell is looked for on this
    /// machine.
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint, conflicts_with = "zenoh", requires = "live")]
    connect: Option<String>,
    #[command(flatten)]
    zenoh: ZenohArgs,
    /// Give up when the first picture of a cell does not come for this long.
    #[arg(long, value_parser = arguments::seconds, default_value_t = 10.0)]
    silence_s_max: f64,
    /// End after this many frames.
    #[arg(long, value_parser = arguments::count::<u64>)]
    frames: Option<u64>,
    /// Write a recording of Rerun's (.rrd) here, and open no window.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The Python that has the package `rerun-sdk`.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
}

pub fn view(args: &ViewArgs) -> Outcome {
    args.out.as_deref().map_or(Ok(()), output::check)?;
    match (&args.live, &args.file) {
        (Some(cell), _) => live::view(args, cell),
        (None, Some(file)) => file::view(args, file),
        (None, None) => unreachable!("clap asks for one of them"),
    }
}

//! What the command line says.

use std::path::PathBuf;

use magpie_client::CellName;

use crate::arguments::{self, ZenohArgs, endpoint};
use crate::topics::TopicArgs;

#[derive(Debug, clap::Args)]
pub struct ViewArgs {
    /// A recording made by `magpie record`, a ROS 2 bag (.mcap, .db3 or its folder), or an MCAP file of
    /// Foxglove's.
    #[arg(required_unless_present = "live", conflicts_with = "zenoh")]
    pub(super) file: Option<PathBuf>,
    /// Show this cell as it runs: each picture that it sends, with what was found in it.
    #[arg(long, value_name = "CELL", value_parser = CellName::new, conflicts_with_all = ["file", "TopicArgs"])]
    pub(super) live: Option<CellName>,
    #[command(flatten)]
    pub(super) topics: TopicArgs,
    /// Where the cell's daemon, or a zenoh router, listens; absent: the cell is looked for on this
    /// machine.
    #[arg(long, value_name = "ENDPOINT", value_parser = endpoint, conflicts_with = "zenoh", requires = "live")]
    pub(super) connect: Option<String>,
    #[command(flatten)]
    pub(super) zenoh: ZenohArgs,
    /// Give up when the first picture of a cell does not come for this long.
    #[arg(long, value_parser = arguments::seconds, default_value_t = 10.0)]
    pub(super) silence_s_max: f64,
    /// End after this many frames.
    #[arg(long, value_parser = arguments::count::<u64>)]
    pub(super) frames: Option<u64>,
    /// Write a recording of Rerun's (.rrd) here, and open no window.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// The Python that has the package `rerun-sdk`.
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    pub(super) python: PathBuf,
}

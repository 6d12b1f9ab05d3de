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

mod args;
mod file;
mod live;
mod surface;
mod viewer;

use magpie_daemon::failure::Outcome;

pub use self::args::ViewArgs;
use crate::present::output;

pub fn view(args: &ViewArgs) -> Outcome {
    args.out.as_deref().map_or(Ok(()), output::check)?;
    match (&args.live, &args.file) {
        (Some(cell), _) => live::view(args, cell),
        (None, Some(file)) => file::view(args, file),
        (None, None) => unreachable!("clap asks for one of them"),
    }
}

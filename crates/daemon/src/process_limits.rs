//! Limits that the system sets to a process: told by name, before or instead of what they would do.

use rustix::process::{Resource, getrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, Outcome};

/// zenoh, cameras, model and recording have some sixty files open, the page's viewers take up to 136,
/// zenoh's readers 256, and those who connect to it and say nothing 512 for a moment.
const DESCRIPTORS_MIN: u64 = 1024;

/// Refuses a limit on open files with which a run could not be reached, or lose its camera.
pub fn check_descriptors() -> Outcome {
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < DESCRIPTORS_MIN => Err(Failure::Fault(anyhow::anyhow!(
            "open at most {limit} files (RLIMIT_NOFILE), where magpie needs {DESCRIPTORS_MIN}: raise \
             it with `ulimit -n 1024`, or by LimitNOFILE=1024 in the unit"
        ))),
        _ => Ok(()),
    }
}

/// A file that grows past RLIMIT_FSIZE gives an error to its writer; unhandled, the signal that
/// comes with it ends the process.
pub fn outlive_file_size_limit() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(Failure::fault)?;
    let _context = runtime.enter();
    // The handler stays for the life of the process.
    let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(kind).map(drop).map_err(Failure::fault)
}

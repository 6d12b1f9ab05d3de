//! Limits that the system sets to a process: told by name, before or instead of what they would do.

use magpie_perception::StampNs;
use magpie_wire::Reason;
use rustix::process::{Resource, getrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::{Failure, Outcome};

/// zenoh, cameras, model and recording have some sixty files open, the page's viewers take up to 136,
/// Foxglove's 88, zenoh's readers 256, and those who connect to it and say nothing 400 for a moment.
const DESCRIPTORS_MIN: u64 = 1024;
/// With fewer free ones, the next segment of a recording or a camera that is reopened may find none.
const DESCRIPTORS_FREE_MIN: u64 = 100;
/// Between two counts of the open files.
const COUNT_PERIOD_NS: u64 = 1_000_000_000;

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

/// Notices that hardly another file could be opened.
#[derive(Debug, Default)]
pub(crate) struct DescriptorWatch {
    counted: Option<StampNs>,
    reason: Option<Reason>,
}

impl DescriptorWatch {
    pub(crate) fn look(&mut self, now: StampNs) -> Option<Reason> {
        if self.counted.is_none_or(|at| now.since_ns(at) >= COUNT_PERIOD_NS) {
            self.counted = Some(now);
            let limit = getrlimit(Resource::Nofile).current;
            self.reason = limit.and_then(|limit| reason(open_files(limit)?, limit));
        }
        self.reason.clone()
    }
}

fn reason(used: u64, limit: u64) -> Option<Reason> {
    let is_low = limit.saturating_sub(used) < DESCRIPTORS_FREE_MIN;
    is_low.then_some(Reason::DescriptorsLow { used, limit })
}

/// All of them, where not even this can be looked up; `None` where the system does not tell.
fn open_files(limit: u64) -> Option<u64> {
    match std::fs::read_dir("/proc/self/fd") {
        Ok(entries) => u64::try_from(entries.count()).ok(),
        Err(error) => magpie_files::is_passing(&error).then_some(limit),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_can_hardly_open_a_file_says_so() {
        assert_eq!(reason(900, 1024), None);
        let told = reason(950, 1024).unwrap();
        assert_eq!(told, Reason::DescriptorsLow { used: 950, limit: 1024 });
        assert!(told.to_string().starts_with("950 of the 1024 files"), "{told}");
        assert!(open_files(1024).is_some_and(|used| used > 2 && used < 1024));
        assert_eq!(DescriptorWatch::default().look(StampNs(0)), None);
    }
}

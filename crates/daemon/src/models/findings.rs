//! How much is found: the loop counts, the rule reads.

use std::sync::atomic::{AtomicU64, Ordering};

use magpie_perception::FrameReport;

/// Packages of all results so far.
#[derive(Debug, Default)]
pub(crate) struct Findings(AtomicU64);

impl Findings {
    pub(crate) fn count(&self, report: &FrameReport) {
        self.0.fetch_add(report.packages.packages.len() as u64, Ordering::Relaxed);
    }

    pub(crate) fn packages(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

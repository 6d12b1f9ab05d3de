//! What the loop counts for metrics: how long each stage took, and what the newest result holds.

use std::sync::atomic::{AtomicU64, Ordering};

use magpie_perception::{FrameReport, StageLatencies};

/// The stages by the name of their label.
pub(crate) const STAGES: [&str; 6] = ["wait", "preprocess", "inference", "decode", "plan", "total"];

/// Upper bounds of the buckets; what takes longer is in one more. They are dense where deadlines are
/// set, and reach from the planner's half millisecond to a model that takes seconds.
pub(crate) const BOUNDS_S: [f64; 18] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5,
    1.0, 2.0, 5.0,
];

/// Written by the loop, which never waits for a reader; read by `/metrics`.
#[derive(Debug, Default)]
pub struct Tally {
    stages: [Histogram; STAGES.len()],
    packages: AtomicU64,
    packages_with_grasp: AtomicU64,
}

#[derive(Debug, Default)]
struct Histogram {
    counts: [AtomicU64; BOUNDS_S.len() + 1],
    sum_ns: AtomicU64,
}

/// A histogram at one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HistogramSnapshot {
    /// One for each of [`BOUNDS_S`], and one for what lies beyond; not cumulative.
    pub(crate) counts: Vec<u64>,
    pub(crate) sum_s: f64,
}

impl Tally {
    /// Counts a published result.
    pub fn count(&self, report: &FrameReport) {
        let StageLatencies { wait_ns, preprocess_ns, inference_ns, decode_ns, plan_ns, total_ns } =
            report.latencies;
        let latencies_ns = [wait_ns, preprocess_ns, inference_ns, decode_ns, plan_ns, total_ns];
        for (histogram, ns) in self.stages.iter().zip(latencies_ns) {
            histogram.note(ns);
        }
        let packages = &report.packages.packages;
        let held = packages.iter().filter(|package| package.refusal().is_none()).count();
        self.packages.store(packages.len() as u64, Ordering::Relaxed);
        self.packages_with_grasp.store(held as u64, Ordering::Relaxed);
    }

    pub(crate) fn stages(&self) -> impl Iterator<Item = (&'static str, HistogramSnapshot)> {
        STAGES.into_iter().zip(self.stages.iter().map(Histogram::snapshot))
    }

    /// Packages of the newest result, and those of them that can be held.
    pub(crate) fn packages(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.packages), read(&self.packages_with_grasp))
    }
}

impl Histogram {
    fn note(&self, ns: u64) {
        let seconds = ns as f64 / 1e9;
        let bucket = BOUNDS_S.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    fn snapshot(&self) -> HistogramSnapshot {
        HistogramSnapshot {
            counts: self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect(),
            sum_s: self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for ns in [0, 500_000, 500_001, 200_000_000, 6_000_000_000] {
            histogram.note(ns);
        }
        let HistogramSnapshot { counts, sum_s } = histogram.snapshot();
        let filled: Vec<_> = (0..counts.len()).filter(|at| counts[*at] > 0).collect();
        assert_eq!(filled, [0, 1, 12, 18]);
        assert_eq!((counts[0], BOUNDS_S[12]), (2, 0.2));
        assert!((sum_s - 6.201_000_001).abs() < 1e-9, "{sum_s}");
    }
}

//! The metrics by which two runs of a bench are compared, and their standard errors.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::stages::{RESOLUTION_MS, Round, Stage, ms, stage_ms};
use crate::distribution::Distribution;

/// The standard error of a run comes from this many consecutive parts, each measured alone.
const BLOCKS: usize = 10;
/// Standard errors beyond which a change is taken for real.
const NOISE_SIGMAS: f64 = 3.0;

/// A number of a run with its standard error.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Measure {
    pub value: f64,
    /// Standard error, from consecutive parts of the run; `None`: the parts are too short.
    pub error: Option<f64>,
}

type OfRounds = Box<dyn Fn(&[Round]) -> f64>;

/// A number that two runs are compared by. Machines change their speed, so times are multiples of
/// the median bare run that was measured between the same frames.
pub(super) struct Metric {
    pub name: String,
    pub more_is_better: bool,
    /// A part of the run must have so many rounds to give the metric.
    pub part_min: usize,
    pub of: OfRounds,
}

pub(super) fn metrics() -> Vec<Metric> {
    let metric = |name: &str, more_is_better, of: OfRounds| Metric {
        name: name.to_owned(),
        more_is_better,
        part_min: 1,
        of,
    };
    let times = Stage::ALL.into_iter().filter(|stage| *stage != Stage::BareRun).flat_map(|stage| {
        // The p99 of less than a hundred frames is the worst of them.
        [("p50", 0.5, 1), ("p99", 0.99, 100)].map(|(name, share, part_min)| {
            let of =
                move |rounds: &[Round]| quantile_ms(rounds, stage, share) / bare_run_ms(rounds);
            let metric =
                metric(&format!("{} {name}, bare runs", stage.name()), false, Box::new(of));
            Metric { part_min, ..metric }
        })
    });
    let cpu = |rounds: &[Round]| mean(rounds, |round| ms(round.cpu_ns)) / bare_run_ms(rounds);
    let frames = |rounds: &[Round]| bare_run_ms(rounds) / mean(rounds, |r| ms(r.published_ns));
    let allocations = |rounds: &[Round]| median(rounds, |round| round.allocations);
    let kib = |rounds: &[Round]| median(rounds, |round| round.allocated_bytes) / 1024.0;
    times
        .chain([
            metric("throughput, frames in a bare run", true, Box::new(frames)),
            metric("processor time of a frame, bare runs", false, Box::new(cpu)),
            metric("allocations of a frame", false, Box::new(allocations)),
            metric("allocated by a frame, KiB", false, Box::new(kib)),
        ])
        .collect()
}

fn bare_run_ms(rounds: &[Round]) -> f64 {
    quantile_ms(rounds, Stage::BareRun, 0.5)
}

/// `NaN` where no result arrived.
fn quantile_ms(rounds: &[Round], stage: Stage, share: f64) -> f64 {
    Distribution::new(stage_ms(rounds, stage), RESOLUTION_MS).quantile(share).unwrap_or(f64::NAN)
}

pub(super) fn mean(rounds: &[Round], value: impl Fn(&Round) -> f64) -> f64 {
    rounds.iter().map(value).sum::<f64>() / rounds.len() as f64
}

/// The median of a whole number of each round; `NaN` without rounds.
pub(super) fn median(rounds: &[Round], value: impl Fn(&Round) -> u64) -> f64 {
    let values = rounds.iter().map(|round| value(round) as f64);
    Distribution::new(values, 1.0).median().unwrap_or(f64::NAN)
}

pub(super) fn measure(rounds: &[Round], metric: &Metric) -> Measure {
    let length = rounds.len() / BLOCKS;
    let error = (length >= metric.part_min).then(|| {
        let parts: Vec<f64> = rounds.chunks_exact(length).take(BLOCKS).map(&metric.of).collect();
        deviation(&parts) / (BLOCKS as f64).sqrt()
    });
    // A part without any arrival measures nothing.
    Measure { value: (metric.of)(rounds), error: error.filter(|error| error.is_finite()) }
}

/// Resident memory is known at one moment only, and differs by so much from run to run: allocators
/// return it when it suits them.
pub(super) const RSS_ERROR_SHARE: f64 = 0.01;

pub(super) fn verdict(before: Measure, now: Measure, more_is_better: bool) -> &'static str {
    let (Some(before_error), Some(now_error)) = (before.error, now.error) else {
        return "too few frames to tell";
    };
    let change = now.value - before.value;
    if change.abs() <= NOISE_SIGMAS * before_error.hypot(now_error) {
        return "no";
    }
    if (change > 0.0) == more_is_better { "better" } else { "worse" }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.error {
            Some(error) => write!(f, "{:.4} ± {error:.4}", self.value),
            None => write!(f, "{:.4}", self.value),
        }
    }
}

pub(super) fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

//! Percentiles of the latest frames' latencies.

use std::collections::VecDeque;

use hdrhistogram::Histogram;
use magpie_wire as wire;

/// How many of the latest frames the percentiles are over: 20 s at 15 frames a second.
const LATENCIES_MAX: usize = 300;
/// A percentile is off by one part in a thousand at most.
const SIGNIFICANT_DIGITS: u8 = 3;

/// The latest frames, the oldest first, in microseconds.
#[derive(Debug)]
pub(crate) struct Latencies(VecDeque<u64>);

impl Latencies {
    pub(crate) fn new() -> Latencies {
        Latencies(VecDeque::with_capacity(LATENCIES_MAX))
    }

    pub(crate) fn note(&mut self, total_ns: u64) {
        if self.0.len() == LATENCIES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(total_ns / 1000);
    }

    /// To be summed up by [`percentiles`], while the loop may go on noting.
    pub(crate) fn latest_us(&self) -> Vec<u64> {
        self.0.iter().copied().collect()
    }
}

pub(crate) fn percentiles(latencies_us: &[u64]) -> wire::LatencyPercentiles {
    let mut histogram =
        Histogram::<u32>::new(SIGNIFICANT_DIGITS).expect("up to five digits are allowed");
    for &us in latencies_us {
        histogram.record(us).expect("the histogram grows with its values");
    }
    if histogram.is_empty() {
        return wire::LatencyPercentiles::default();
    }
    let ms = |us: u64| us as f64 / 1e3;
    let at = |share: f64| ms(histogram.median_equivalent(histogram.value_at_quantile(share)));
    wire::LatencyPercentiles {
        frames: u32::try_from(histogram.len()).expect("a few hundred"),
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        max_ms: ms(histogram.max()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_value_of_its_rank() {
        let latencies: Vec<u64> = (1..=200).rev().map(|ms| ms * 1000).collect();
        let p = percentiles(&latencies);
        assert_eq!(p.frames, 200);
        for (found, ms) in
            [(p.p50_ms, 100.0), (p.p90_ms, 180.0), (p.p99_ms, 198.0), (p.max_ms, 200.0)]
        {
            assert!((found / ms - 1.0).abs() < 1e-3, "{found} ms instead of {ms} ms");
        }
    }

    #[test]
    fn without_frames_there_are_no_latencies() {
        assert_eq!(percentiles(&[]), wire::LatencyPercentiles::default());
    }

    #[test]
    fn the_oldest_frames_are_forgotten() {
        let mut latencies = Latencies::new();
        (0..400).for_each(|ms| latencies.note(ms * 1_000_000));
        let latest = latencies.latest_us();
        assert_eq!((latest.len(), latest[0]), (LATENCIES_MAX, 100_000));
    }
}

//! The last minutes, one sample a second: what the page draws over time.

use std::collections::VecDeque;

use magpie_wire as wire;
use serde::Serialize;

/// Ten minutes.
const SAMPLES_MAX: usize = 600;
const SAMPLE_PERIOD_NS: u64 = 1_000_000_000;

/// What a status told, and what happened since the sample before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// Counts from 1.
    pub(crate) number: u64,
    pub(crate) uptime_s: f64,
    /// Of the last frames that were processed; `None` where none was since the sample before.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    pub(crate) frames_per_s: f64,
    pub(crate) dropped_per_s: f64,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    taken: u64,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    uptime_ns: u64,
    results: u64,
    dropped: u64,
}

impl History {
    /// Takes a sample if one is due.
    pub(crate) fn note(&mut self, status: &wire::Status) {
        let counters = status.counters.unwrap_or_default();
        let now = Last {
            uptime_ns: status.uptime_ns,
            results: counters.results_published,
            dropped: counters.frames_stale + counters.frames_superseded + counters.frames_corrupt,
        };
        let Some(last) = self.last else {
            self.last = Some(now);
            return;
        };
        let since_ns = now.uptime_ns.saturating_sub(last.uptime_ns);
        if since_ns < SAMPLE_PERIOD_NS {
            return;
        }
        let since_s = since_ns as f64 / 1e9;
        let results = now.results - last.results;
        let latency = status.latency.filter(|_| results > 0);
        self.taken += 1;
        if self.samples.len() == SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            number: self.taken,
            uptime_s: now.uptime_ns as f64 / 1e9,
            p50_ms: latency.map(|latency| latency.p50_ms),
            p99_ms: latency.map(|latency| latency.p99_ms),
            frames_per_s: results as f64 / since_s,
            dropped_per_s: (now.dropped - last.dropped) as f64 / since_s,
        });
        self.last = Some(now);
    }

    /// The samples after this one, the oldest first.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = &Sample> {
        self.samples.iter().skip_while(move |sample| sample.number <= number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(uptime_ms: u64, results: u64, stale: u64) -> wire::Status {
        wire::Status {
            uptime_ns: uptime_ms * 1_000_000,
            counters: Some(wire::Counters {
                results_published: results,
                frames_stale: stale,
                ..Default::default()
            }),
            latency: Some(wire::LatencyPercentiles { p50_ms: 40.0, ..Default::default() }),
            ..Default::default()
        }
    }

    #[test]
    fn a_sample_is_taken_each_second_and_tells_rates() {
        let mut history = History::default();
        for uptime_ms in (0..=4000).step_by(100) {
            history.note(&status(uptime_ms, uptime_ms / 50, uptime_ms / 500));
        }
        let samples: Vec<_> = history.after(1).collect();
        assert_eq!(samples.iter().map(|s| s.number).collect::<Vec<_>>(), [2, 3, 4]);
        assert_eq!((samples[0].frames_per_s, samples[0].dropped_per_s), (20.0, 2.0));
        assert_eq!(samples[0].p50_ms, Some(40.0));
    }

    #[test]
    fn a_second_without_a_result_has_no_latency() {
        let mut history = History::default();
        history.note(&status(0, 7, 0));
        history.note(&status(1000, 7, 0));
        assert_eq!(history.after(0).next().unwrap().p50_ms, None);
    }

    #[test]
    fn ten_minutes_are_kept() {
        let mut history = History::default();
        (0..=700).for_each(|s| history.note(&status(1000 * s, s, 0)));
        let numbers: Vec<_> = history.after(0).map(|sample| sample.number).collect();
        assert_eq!((numbers.len(), numbers[0], numbers[599]), (600, 101, 700));
    }
}

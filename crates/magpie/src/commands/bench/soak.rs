//! `magpie bench --soak`: many frames, and whether anything grew or slowed down on the way.

use anyhow::anyhow;
use serde::Serialize;

use super::process;
use super::report::{StageReport, stage_report};
use super::system::SystemUnderTest;
use crate::present::{progress, table};
use magpie_daemon::failure::{Failure, Outcome};

const PARTS: u64 = 10;
/// Resident memory may differ by this much between the first part and the last: allocators return
/// memory when it suits them.
const RSS_GROWTH_MAX: f64 = 0.02;
const RSS_GROWTH_MIB_MAX: f64 = 1.0;
/// The last part may be slower by these factors: machines change their speed, and their tails more.
const P50_FACTOR_MAX: f64 = 1.25;
const P99_FACTOR_MAX: f64 = 2.0;
/// A p99 of fewer frames is too uncertain to judge.
const LATENCY_FRAMES_MIN: u64 = 1000;

/// A tenth of the frames, and what the process used when they were done.
#[derive(Clone, Debug, Serialize)]
struct Part {
    end_to_end: StageReport,
    packages_mean: f64,
    /// Results that no subscriber received.
    lost: usize,
    rss_mib: Option<f64>,
    /// Memory that our own code and its crates hold; ONNX Runtime's is not among it.
    heap_mib: f64,
    descriptors: Option<u64>,
    threads: Option<u64>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Soak {
    frames: u64,
    parts: Vec<Part>,
}

impl Soak {
    pub(super) fn new(frames: u64) -> Soak {
        Soak { frames: frames.max(PARTS) / PARTS * PARTS, parts: Vec::new() }
    }

    pub(super) fn run(&mut self, system: &mut SystemUnderTest<'_>) -> Outcome {
        let length = self.frames / PARTS;
        // The vector is filled again and again: what a soak keeps must not look like a leak.
        let length = usize::try_from(length).expect("a count");
        let mut latencies_ms = Vec::with_capacity(length);
        let bar = progress::bar(self.frames, "frames");
        for _ in 0..PARTS {
            latencies_ms.clear();
            let mut packages = 0;
            for _ in 0..length {
                let round = system.frame()?;
                latencies_ms.extend(round.received_ns.map(|ns| ns as f64 / 1e6));
                packages += round.packages;
                bar.inc(1);
            }
            self.parts.push(Part {
                end_to_end: stage_report(&latencies_ms),
                packages_mean: packages as f64 / length as f64,
                lost: length - latencies_ms.len(),
                rss_mib: process::rss_bytes().map(|bytes| bytes as f64 / f64::from(1 << 20)),
                heap_mib: process::allocations().live_bytes as f64 / f64::from(1 << 20),
                descriptors: process::descriptors(),
                threads: process::threads(),
            });
        }
        bar.finish_and_clear();
        Ok(())
    }

    pub(super) fn table(&self) -> String {
        let mut table = table::new(&[
            "tenth",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "packages",
            "lost",
            "RSS MiB",
            "heap MiB",
            "descriptors",
            "threads",
        ]);
        for (i, part) in self.parts.iter().enumerate() {
            let latency = &part.end_to_end;
            let count = |value: Option<u64>| table::decimal(value.map(|v| v as f64), 0);
            table.add_row([
                table::number(i + 1),
                table::decimal(Some(latency.p50_ms), 3),
                table::decimal(Some(latency.p90_ms), 3),
                table::decimal(Some(latency.p99_ms), 3),
                table::decimal(Some(latency.p999_ms), 3),
                table::decimal(Some(latency.max_ms), 3),
                table::decimal(Some(part.packages_mean), 1),
                table::number(part.lost),
                table::decimal(part.rss_mib, 1),
                table::decimal(Some(part.heap_mib), 2),
                count(part.descriptors),
                count(part.threads),
            ]);
        }
        format!("{} frames, end to end\n\n{table}\n\n{}", self.frames, self.slowdown())
    }

    fn factors(&self) -> Option<[(&'static str, f64, f64); 2]> {
        let (first, last) = (&self.parts.first()?.end_to_end, &self.parts.last()?.end_to_end);
        Some([
            ("p50", last.p50_ms / first.p50_ms, P50_FACTOR_MAX),
            ("p99", last.p99_ms / first.p99_ms, P99_FACTOR_MAX),
        ])
    }

    fn is_long_enough(&self) -> bool {
        self.frames / PARTS >= LATENCY_FRAMES_MIN
    }

    fn slowdown(&self) -> String {
        let factors = self.factors().into_iter().flatten();
        let factors =
            factors.map(|(name, factor, max)| format!("{name} {factor:.3} (at most {max})"));
        let factors = factors.collect::<Vec<_>>().join(", ");
        let judged = match self.is_long_enough() {
            true => String::new(),
            false => format!("; not judged below {} frames", PARTS * LATENCY_FRAMES_MIN),
        };
        format!("the last tenth over the first: {factors}{judged}")
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and names serialize") + "\n"
    }

    /// A fault if memory, descriptors, threads or latencies grew, or a result was lost.
    pub(super) fn verdict(&self) -> Outcome {
        let (Some(first), Some(last)) = (self.parts.first(), self.parts.last()) else {
            return Ok(());
        };
        let mut grown = Vec::new();
        if last.descriptors > first.descriptors {
            grown.push("open descriptors");
        }
        if last.threads > first.threads {
            grown.push("threads");
        }
        if let (Some(first), Some(last)) = (first.rss_mib, last.rss_mib)
            && last - first > RSS_GROWTH_MAX * first + RSS_GROWTH_MIB_MAX
        {
            grown.push("resident memory");
        }
        let factors = self.factors().into_iter().flatten().filter(|_| self.is_long_enough());
        let slower = factors.filter(|(_, factor, max)| factor > max);
        grown.extend(slower.map(|(name, ..)| name));
        let lost: usize = self.parts.iter().map(|part| part.lost).sum();
        let mut reasons = Vec::new();
        if !grown.is_empty() {
            reasons.push(format!("{} grew", grown.join(" and ")));
        }
        if lost > 0 {
            reasons.push(format!("{lost} results were lost"));
        }
        if reasons.is_empty() {
            return Ok(());
        }
        Err(Failure::fault(anyhow!("soak: {}: see the table", reasons.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soaked(rss_mib: [f64; 2], threads: [u64; 2]) -> Soak {
        let part = |i: usize| Part {
            end_to_end: stage_report(&[1.0]),
            packages_mean: 1.0,
            lost: 0,
            rss_mib: Some(rss_mib[i]),
            heap_mib: 1.0,
            descriptors: Some(9),
            threads: Some(threads[i]),
        };
        Soak { frames: 2, parts: vec![part(0), part(1)] }
    }

    #[test]
    fn growth_is_a_fault_that_names_what_grew() {
        assert!(soaked([100.0, 102.5], [8, 8]).verdict().is_ok());
        let grown = soaked([100.0, 110.0], [8, 9]).verdict().unwrap_err().message();
        assert!(grown.contains("threads and resident memory"), "{grown}");
    }

    #[test]
    fn a_last_part_that_is_slower_or_lost_something_is_a_fault_if_there_was_enough_of_it() {
        let soaked = |frames: u64, last_ms: f64, lost: usize| {
            let mut soak = soaked([100.0; 2], [8; 2]);
            soak.frames = frames;
            soak.parts[1].end_to_end = stage_report(&[last_ms]);
            soak.parts[1].lost = lost;
            soak.verdict().err().map(|error| error.message()).unwrap_or_default()
        };
        assert_eq!(soaked(10_000, 1.2, 0), "");
        assert!(soaked(10_000, 1.3, 0).contains("p50 grew"), "{}", soaked(10_000, 1.3, 0));
        assert!(soaked(10_000, 2.1, 0).contains("p50 and p99 grew"));
        assert_eq!(soaked(200, 2.1, 0), "");
        assert!(soaked(200, 1.0, 3).contains("3 results were lost"));
    }
}

//! The report of a bench: as JSON for the next comparison, as a table for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow};
use magpie_network::SystemClock;
use magpie_perception::ModelSpec;
use serde::{Deserialize, Serialize};

use super::frames::BenchFrames;
use super::measures::{
    Measure, RSS_ERROR_SHARE, deviation, mean, measure, median, metrics, verdict,
};
use super::process;
use super::stages::{RESOLUTION_MS, Run, Stage, ms, stage_ms};
use crate::distribution::Distribution;
use crate::present::table;
use magpie_daemon::failure::Failure;

/// A report has some kilobytes.
const REPORT_BYTES_MAX: u64 = 10_000_000;

/// Raised whenever numbers of an earlier report can no longer be compared with new ones.
const SCHEMA_VERSION: u32 = 2;
/// Latencies of one stage in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StageReport {
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
    /// An HDR histogram: percent of the frames, and the milliseconds that they took at most.
    pub histogram: Vec<(f64, f64)>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub schema_version: u32,
    /// The program's version.
    pub version: String,
    /// The processor, and how many cores the program may use. Empty in reports of earlier versions.
    #[serde(default)]
    pub machine: String,
    /// When the run ended, in UTC.
    #[serde(default)]
    pub measured: String,
    /// Names the recording, folder or cell that the pictures come from.
    pub frames: String,
    pub image_width_px: u32,
    pub image_height_px: u32,
    pub model: String,
    pub model_sha256: String,
    pub provider: String,
    /// Threads of the model.
    pub threads: usize,
    pub has_scene: bool,
    pub has_depth: bool,
    /// Why no grasp was planned: `plan` measures tracks alone.
    pub why_no_grasps: Option<String>,
    pub rounds: usize,
    /// Packages that the pipeline found in a frame.
    pub packages_median: f64,
    /// Packages that were really in view, where that is known.
    pub packages_visible: Option<usize>,
    /// Median `end_to_end` over median `bare_run`.
    pub end_to_end_over_run_ratio: f64,
    /// How many frames a second the pipeline can take, one after the other.
    pub throughput_fps: f64,
    /// Standard deviation of `end_to_end`.
    pub jitter_ms: f64,
    /// Results that no subscriber received.
    pub lost: usize,
    pub cpu_ms_per_frame: f64,
    /// The median, since what other threads allocate now and then is not the frame's.
    pub allocations_per_frame: f64,
    pub allocated_kib_per_frame: f64,
    pub rss_start_mib: Option<f64>,
    pub rss_end_mib: Option<f64>,
    pub stages: BTreeMap<Stage, StageReport>,
    /// The metrics that `--against` compares.
    pub measures: BTreeMap<String, Measure>,
}

impl Report {
    pub(super) fn new(run: &Run, model: &ModelSpec, frames: &BenchFrames) -> Report {
        let mut stages = BTreeMap::new();
        let rounds = &run.rounds;
        for stage in Stage::ALL {
            stages.insert(stage, stage_report(&stage_ms(rounds, stage)));
        }
        let mib = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / f64::from(1 << 20));
        let color = &frames.frames[0].color;
        let measures = metrics().into_iter().map(|metric| {
            let measured = measure(rounds, &metric);
            (metric.name, measured)
        });
        Report {
            schema_version: SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            machine: process::machine(),
            measured: humantime::format_rfc3339_seconds(now()).to_string(),
            frames: frames.name.clone(),
            image_width_px: color.width_px(),
            image_height_px: color.height_px(),
            model: model.name.clone(),
            model_sha256: model.sha256.clone(),
            provider: run.provider.clone(),
            threads: run.threads,
            has_scene: frames.scene.is_some(),
            has_depth: frames.frames.iter().any(|frame| frame.depth.is_some()),
            why_no_grasps: frames.why_no_grasps().map(str::to_owned),
            rounds: rounds.len(),
            packages_median: median(rounds, |round| round.packages as u64),
            packages_visible: frames.packages_visible,
            end_to_end_over_run_ratio: stages[&Stage::EndToEnd].p50_ms
                / stages[&Stage::BareRun].p50_ms,
            throughput_fps: 1e3 / mean(rounds, |round| ms(round.published_ns)),
            jitter_ms: deviation(&stage_ms(rounds, Stage::EndToEnd)),
            lost: rounds.iter().filter(|round| round.received_ns.is_none()).count(),
            cpu_ms_per_frame: mean(rounds, |round| ms(round.cpu_ns)),
            allocations_per_frame: median(rounds, |round| round.allocations),
            allocated_kib_per_frame: median(rounds, |round| round.allocated_bytes) / 1024.0,
            rss_start_mib: mib(run.rss_start_bytes),
            rss_end_mib: mib(run.rss_end_bytes),
            stages,
            measures: measures.collect(),
        }
    }

    pub(super) fn read(path: &Path) -> Result<Report, Failure> {
        let read = || -> anyhow::Result<Report> {
            let report: Report =
                serde_json::from_slice(&magpie_files::read(path, REPORT_BYTES_MAX)?)?;
            if report.schema_version == SCHEMA_VERSION {
                return Ok(report);
            }
            Err(anyhow!(
                "it has schema version {}, this program compares with {SCHEMA_VERSION}: measure it again",
                report.schema_version
            ))
        };
        let context = || format!("read {}, which should be a bench's --json", path.display());
        read().with_context(context).map_err(Failure::fault)
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and names serialize") + "\n"
    }

    /// The headline, the stages, and the rest.
    pub(super) fn table(&self) -> String {
        let mut table = table::new(&["ms", "p50", "p90", "p99", "p99.9", "max", ""]);
        for stage in Stage::ALL {
            let report = &self.stages[&stage];
            let number = |value: f64| table::number(format!("{value:.3}"));
            table.add_row([
                table::Cell::new(stage.name()),
                number(report.p50_ms),
                number(report.p90_ms),
                number(report.p99_ms),
                number(report.p999_ms),
                number(report.max_ms),
                table::Cell::new(stage.meaning()),
            ]);
        }
        format!("{}\n\n{table}\n\n{}", self.headline(), self.rest())
    }

    /// Where, when and with what it was measured.
    pub(super) fn conditions(&self) -> String {
        format!("{}, {}, magpie {}", self.machine, self.measured, self.version)
    }

    pub(super) fn headline(&self) -> String {
        let visible = self.packages_visible.map(|seen| format!(" ({seen} to be seen)"));
        let grasps = self.why_no_grasps.as_ref();
        let grasps = grasps.map(|why| format!("\nwithout grasps, so these numbers flatter: {why}"));
        format!(
            "end to end {:.3} x the bare session.run: {} on {}, {}x{} px, {} packages{}, {} frames\n\
             magpie {}, provider {}, {} threads, scene: {}, depth: {}{}",
            self.end_to_end_over_run_ratio,
            self.model,
            self.frames,
            self.image_width_px,
            self.image_height_px,
            self.packages_median,
            visible.unwrap_or_default(),
            self.rounds,
            self.version,
            self.provider,
            self.threads,
            yes_no(self.has_scene),
            yes_no(self.has_depth),
            grasps.unwrap_or_default()
        )
    }

    pub(super) fn rest(&self) -> String {
        let mib = |value: Option<f64>| {
            value.map_or_else(|| "unknown".to_owned(), |mib| format!("{mib:.0} MiB"))
        };
        format!(
            "{:.1} frames a second, jitter {:.2} ms, {} dropped, {:.1} ms of processor time and \
             {:.0} allocations of {:.1} KiB a frame, memory {} at the start and {} at the end",
            self.throughput_fps,
            self.jitter_ms,
            self.lost,
            self.cpu_ms_per_frame,
            self.allocations_per_frame,
            self.allocated_kib_per_frame,
            mib(self.rss_start_mib),
            mib(self.rss_end_mib)
        )
    }

    /// Compares with `earlier`: what changed by more than the noise of both runs.
    pub(super) fn against(&self, earlier: &Report) -> String {
        let mut text = String::new();
        for difference in self.other_conditions(earlier) {
            let _ = writeln!(text, "not the same: {difference}");
        }
        let mut table = table::new(&["", "before", "now", "change", "beyond noise"]);
        let mut row = |name: &str, before: Measure, now: Measure, more_is_better: bool| {
            table.add_row([
                table::Cell::new(name),
                table::number(before),
                table::number(now),
                table::number(format!("{:+.1} %", 100.0 * (now.value / before.value - 1.0))),
                table::Cell::new(verdict(before, now, more_is_better)),
            ]);
        };
        for metric in metrics() {
            let name = metric.name.as_str();
            if let Some(before) = earlier.measures.get(name) {
                row(name, *before, self.measures[name], metric.more_is_better);
            }
        }
        if let (Some(before), Some(now)) = (earlier.rss_end_mib, self.rss_end_mib) {
            let measure = |mib: f64| Measure { value: mib, error: Some(RSS_ERROR_SHARE * mib) };
            row("memory at the end, MiB", measure(before), measure(now), false);
        }
        let bare_ms = |report: &Report| report.stages[&Stage::BareRun].p50_ms;
        let _ = write!(
            text,
            "bare session.run: {:.3} ms before, {:.3} ms now; results lost: {} before, {} now\n\n\
             {table}",
            bare_ms(earlier),
            bare_ms(self),
            earlier.lost,
            self.lost
        );
        text
    }

    fn other_conditions(&self, earlier: &Report) -> Vec<String> {
        let size = |r: &Report| format!("{}x{} px", r.image_width_px, r.image_height_px);
        let packages = |r: &Report| format!("{} packages", r.packages_median);
        let grasps = |r: &Report| yes_no(r.why_no_grasps.is_none()).to_owned();
        [
            ("model", earlier.model_sha256.clone(), self.model_sha256.clone()),
            ("frames", earlier.frames.clone(), self.frames.clone()),
            ("size", size(earlier), size(self)),
            ("packages", packages(earlier), packages(self)),
            ("grasps", grasps(earlier), grasps(self)),
            ("provider", earlier.provider.clone(), self.provider.clone()),
            ("threads", earlier.threads.to_string(), self.threads.to_string()),
            ("machine", earlier.machine.clone(), self.machine.clone()),
        ]
        .into_iter()
        .filter(|(_, before, now)| before != now && !before.is_empty())
        .map(|(what, before, now)| format!("{what}, {before} before and {now} now"))
        .collect()
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(SystemClock::start().now().0)
}

fn yes_no(is: bool) -> &'static str {
    if is { "yes" } else { "no" }
}

/// All zero where no result arrived.
pub(super) fn stage_report(values_ms: &[f64]) -> StageReport {
    let distribution = Distribution::new(values_ms.iter().copied(), RESOLUTION_MS);
    let at = |share: f64| distribution.quantile(share).unwrap_or_default();
    StageReport {
        p50_ms: at(0.5),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        max_ms: distribution.max().unwrap_or_default(),
        histogram: distribution.curve(),
    }
}

#[cfg(test)]
mod tests {
    use magpie_perception::StageLatencies;

    use super::super::stages::Round;
    use super::*;

    /// Rounds whose model takes `inference_ms` and everything else one millisecond a stage.
    fn run(inference_ms: &[u64]) -> Run {
        let ns = |ms: u64| ms * 1_000_000;
        let round = |model_ms: &u64| Round {
            stages: StageLatencies {
                wait_ns: 0,
                preprocess_ns: ns(1),
                inference_ns: ns(*model_ms),
                decode_ns: ns(1),
                plan_ns: ns(1),
                total_ns: ns(model_ms + 3),
            },
            published_ns: ns(model_ms + 4),
            received_ns: Some(ns(model_ms + 5)),
            bare_run_ns: ns(*model_ms),
            cpu_ns: ns(7),
            allocations: 3,
            allocated_bytes: 2048,
            packages: 2,
        };
        let rounds = inference_ms.iter().map(round).collect();
        Run { rounds, provider: "cpu".into(), threads: 2, ..Run::default() }
    }

    fn report(inference_ms: &[u64]) -> Report {
        report_of(&run(inference_ms))
    }

    fn report_of(run: &Run) -> Report {
        let model = ModelSpec {
            name: "m".into(),
            sha256: "0".into(),
            input_form: magpie_perception::InputForm::Bgr8Nhwc,
            width_px: 32,
            height_px: 32,
            class_names: vec![],
            output_layout: magpie_perception::OutputLayout::YoloSeg,
            predictions_shape: [36, 1],
            coefficients: 32,
            prototype_width_px: 8,
            prototype_height_px: 8,
            score_min: None,
        };
        let color = magpie_perception::BgrImage::new(1, 1, vec![0; 3]).unwrap();
        let frame = magpie_perception::Frame {
            sequence: 0,
            stamp: magpie_perception::StampNs::default(),
            stamp_source: magpie_perception::StampSource::Recorded,
            color,
            depth: None,
        };
        let frames = BenchFrames {
            name: "f".into(),
            packages_visible: Some(2),
            frames: vec![frame],
            scene: None,
        };
        Report::new(run, &model, &frames)
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-3 * b.abs()
    }

    #[test]
    fn the_ratio_is_of_medians_and_overhead_is_what_the_model_does_not_take() {
        let report = report(&[20; 40]);
        assert!(near(report.end_to_end_over_run_ratio, 25.0 / 20.0), "{report:?}");
        assert!(near(report.stages[&Stage::Overhead].p50_ms, 5.0), "{report:?}");
        assert!(near(report.stages[&Stage::Arrival].p50_ms, 1.0), "{report:?}");
        assert_eq!((report.lost, report.rounds), (0, 40));
    }

    #[test]
    fn percentiles_jitter_drops_and_costs_are_those_of_the_rounds() {
        let mut run = run(&(1..=1000).collect::<Vec<_>>());
        run.rounds[999].received_ns = None;
        (run.rss_start_bytes, run.rss_end_bytes) = (Some(3 << 20), Some(5 << 20));
        let report = report_of(&run);
        // Latencies go from 6 to 1004 ms.
        let found = &report.stages[&Stage::EndToEnd];
        for (found_ms, ms) in [
            (found.p50_ms, 505.0),
            (found.p90_ms, 905.0),
            (found.p99_ms, 995.0),
            (found.p999_ms, 1004.0),
            (found.max_ms, 1004.0),
        ] {
            assert!((found_ms - ms).abs() < 3.0, "{found_ms} for {ms}");
        }
        // The deviation of a uniform distribution is its width over the square root of twelve.
        assert!((report.jitter_ms - 288.5).abs() < 1.0, "{}", report.jitter_ms);
        assert_eq!((report.lost, report.rounds), (1, 1000));
        assert_eq!((report.cpu_ms_per_frame, report.allocations_per_frame), (7.0, 3.0));
        let memory = (report.allocated_kib_per_frame, report.rss_start_mib, report.rss_end_mib);
        assert_eq!(memory, (2.0, Some(3.0), Some(5.0)));
    }

    /// The verdict on one metric of the comparison.
    fn said(before: &Run, now: &Run, name: &str) -> String {
        let text = report_of(now).against(&report_of(before));
        let line = text.lines().find(|line| line.contains(name));
        let line = line.unwrap_or_else(|| panic!("{name} is not in {text}"));
        line.rsplit('|').map(str::trim).find(|cell| !cell.is_empty()).unwrap().to_owned()
    }

    /// Overhead of so many milliseconds, which the model has no part in.
    fn with_overhead(mut run: Run, overhead_ms: &[u64]) -> Run {
        for (round, ms) in run.rounds.iter_mut().zip(overhead_ms.iter().cycle()) {
            round.received_ns = round.received_ns.map(|ns| ns + ms * 1_000_000);
        }
        run
    }

    #[test]
    fn only_a_change_beyond_the_spread_of_both_runs_is_called_one() {
        // Six of ten parts are slow, so the median is theirs by any definition.
        let noise: Vec<u64> = (0..100).map(|i| if i / 10 % 5 < 2 { 0 } else { 4 }).collect();
        let noisy = with_overhead(run(&[20; 100]), &noise);
        let name = "end_to_end p50";
        assert_eq!(said(&noisy, &with_overhead(run(&[20; 100]), &[3]), name), "no");
        assert_eq!(said(&noisy, &with_overhead(run(&[20; 100]), &[12]), name), "worse");
        assert_eq!(said(&noisy, &run(&[20; 100]), "allocations of a frame"), "no");
        let mut frugal = run(&[20; 100]);
        frugal.rounds.iter_mut().for_each(|round| round.allocations = 1);
        assert_eq!(said(&noisy, &frugal, "allocations of a frame"), "better");
    }

    #[test]
    fn a_slow_tail_alone_is_a_change() {
        let steady = run(&[20; 1000]);
        let tail: Vec<u64> = (0..50).map(|i| if i == 7 { 30 } else { 0 }).collect();
        let slow = with_overhead(run(&[20; 1000]), &tail);
        assert_eq!(said(&steady, &slow, "end_to_end p50"), "no");
        assert_eq!(said(&steady, &slow, "end_to_end p99"), "worse");
    }

    #[test]
    fn a_machine_of_another_speed_changes_nothing() {
        let mut slower = run(&[20; 100]);
        for round in &mut slower.rounds {
            let stages = &mut round.stages;
            for ns in [
                &mut stages.preprocess_ns,
                &mut stages.inference_ns,
                &mut stages.decode_ns,
                &mut stages.plan_ns,
                &mut stages.total_ns,
                &mut round.published_ns,
                &mut round.bare_run_ns,
                &mut round.cpu_ns,
            ] {
                *ns *= 2;
            }
            round.received_ns = round.received_ns.map(|ns| 2 * ns);
        }
        for name in ["end_to_end p50", "overhead p50", "throughput", "processor time"] {
            assert_eq!(said(&run(&[20; 100]), &slower, name), "no");
        }
    }

    #[test]
    fn of_a_few_frames_no_change_is_called_one() {
        let text = said(&run(&[20; 9]), &run(&[40; 9]), "decode p50");
        assert_eq!(text, "too few frames to tell");
        let tail = said(&run(&[20; 300]), &run(&[40; 300]), "decode p99");
        assert_eq!(tail, "too few frames to tell");
    }

    #[test]
    fn frames_without_a_calibration_are_said_to_flatter() {
        let report = report(&[20; 10]);
        assert_eq!(report.why_no_grasps.as_deref(), Some("the frames have no calibration"));
        assert!(report.table().contains("without grasps"), "{}", report.table());
        assert_eq!((report.packages_median, report.packages_visible), (2.0, Some(2)));
    }

    #[test]
    fn the_histogram_holds_every_percentile() {
        let histogram =
            report(&(1..=1000).collect::<Vec<_>>()).stages[&Stage::EndToEnd].histogram.clone();
        assert!(histogram.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{histogram:?}");
        let (percent, ms) = *histogram.iter().find(|(percent, _)| *percent >= 75.0).unwrap();
        assert!((ms - 10.0 * percent).abs() < 15.0, "{ms} ms at {percent} %");
    }

    #[test]
    fn a_report_comes_back_from_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bench.json");
        std::fs::write(&path, report(&[20; 10]).to_json()).unwrap();
        assert_eq!(Report::read(&path).unwrap().rounds, 10);
        std::fs::write(&path, "{}").unwrap();
        assert!(Report::read(&path).unwrap_err().message().contains("bench.json"));
    }
}

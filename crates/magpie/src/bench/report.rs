//! What a bench found: as JSON for the next comparison, as a table for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, anyhow};
use comfy_table::Cell;
use hdrhistogram::Histogram;
use magpie_perception::ModelSpec;
use serde::{Deserialize, Serialize};

use super::Round;
use super::frames::BenchFrames;
use crate::failure::Failure;
use crate::table;

const SCHEMA_VERSION: u32 = 1;
/// Medians of this many consecutive parts of a run tell how far its median can be trusted.
const BLOCKS: usize = 10;
/// Standard errors beyond which a change is taken for real.
const NOISE_SIGMAS: f64 = 3.0;

/// Ten minutes: anything longer is no latency any more.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// Stages in the order of the frame's way, and what they mean.
pub(super) const STAGES: [(&str, &str); 9] = [
    ("preprocess", "letterbox into the model's input"),
    ("inference", "session.run within the frame"),
    ("decode", "boxes, NMS, masks"),
    ("plan", "tracks and grasps"),
    ("publish", "hand-over to the publisher"),
    ("arrival", "encoding, zenoh, decoding by a subscriber"),
    ("end_to_end", "frame in memory to a subscriber's hands"),
    ("overhead", "end_to_end without inference"),
    ("bare_run", "session.run alone, between the frames"),
];

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    pub rounds: Vec<Round>,
    pub rss_start_bytes: Option<u64>,
    pub rss_end_bytes: Option<u64>,
}

impl Run {
    /// Milliseconds of one stage, round by round.
    pub(super) fn stage_ms(&self, name: &str) -> Vec<f64> {
        self.rounds.iter().filter_map(|round| stage_ns(round, name)).map(ms).collect()
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// `None`: the result never arrived.
fn stage_ns(round: &Round, name: &str) -> Option<u64> {
    let stages = &round.stages;
    let publish_ns = round.published_ns.saturating_sub(stages.total_ns);
    Some(match name {
        "preprocess" => stages.preprocess_ns,
        "inference" => stages.inference_ns,
        "decode" => stages.decode_ns,
        "plan" => stages.plan_ns,
        "publish" => publish_ns,
        "arrival" => round.received_ns?.saturating_sub(round.published_ns),
        "end_to_end" => round.received_ns?,
        "overhead" => round.received_ns?.saturating_sub(stages.inference_ns),
        "bare_run" => round.bare_run_ns,
        _ => unreachable!("a stage of STAGES"),
    })
}

/// Latencies of one stage in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StageReport {
    pub p50_ms: f64,
    /// Standard error of `p50_ms`, from the medians of consecutive parts of the run.
    pub p50_error_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub schema_version: u32,
    pub frames: String,
    pub image_width_px: u32,
    pub image_height_px: u32,
    pub model: String,
    pub model_sha256: String,
    pub rounds: usize,
    pub packages_mean: f64,
    /// Median `end_to_end` over median `bare_run`.
    pub end_to_end_over_run_ratio: f64,
    /// How many frames a second the pipeline can take, one after the other.
    pub throughput_fps: f64,
    /// Standard deviation of `end_to_end`.
    pub jitter_ms: f64,
    /// Results that no subscriber received: dropped on the way.
    pub lost: usize,
    pub cpu_ms_per_frame: f64,
    /// Medians: what other threads allocate now and then is not the frame's.
    #[serde(default)]
    pub allocations_per_frame: f64,
    #[serde(default)]
    pub allocated_kib_per_frame: f64,
    pub rss_start_mib: Option<f64>,
    pub rss_end_mib: Option<f64>,
    pub stages: BTreeMap<String, StageReport>,
}

impl Report {
    pub(super) fn new(run: &Run, model: &ModelSpec, frames: &BenchFrames) -> Report {
        let mut stages = BTreeMap::new();
        for (name, _) in STAGES {
            stages.insert(name.to_owned(), stage_report(&run.stage_ms(name)));
        }
        let rounds = run.rounds.len();
        let mean =
            |value: fn(&Round) -> f64| run.rounds.iter().map(value).sum::<f64>() / rounds as f64;
        let middle =
            |value: fn(&Round) -> f64| median(&run.rounds.iter().map(value).collect::<Vec<_>>());
        let mib = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / f64::from(1 << 20));
        let color = &frames.frames[0].color;
        Report {
            schema_version: SCHEMA_VERSION,
            frames: frames.name.clone(),
            image_width_px: color.width_px(),
            image_height_px: color.height_px(),
            model: model.name.clone(),
            model_sha256: model.sha256.clone(),
            rounds,
            packages_mean: mean(|round| round.packages as f64),
            end_to_end_over_run_ratio: stages["end_to_end"].p50_ms / stages["bare_run"].p50_ms,
            throughput_fps: 1e3 / mean(|round| ms(round.published_ns)),
            jitter_ms: deviation(&run.stage_ms("end_to_end")),
            lost: run.rounds.iter().filter(|round| round.received_ns.is_none()).count(),
            cpu_ms_per_frame: mean(|round| ms(round.cpu_ns)),
            allocations_per_frame: middle(|round| round.allocations as f64),
            allocated_kib_per_frame: middle(|round| round.allocated_bytes as f64 / 1024.0),
            rss_start_mib: mib(run.rss_start_bytes),
            rss_end_mib: mib(run.rss_end_bytes),
            stages,
        }
    }

    pub(super) fn read(path: &Path) -> Result<Report, Failure> {
        let read = || -> anyhow::Result<Report> {
            let report: Report = serde_json::from_slice(&std::fs::read(path)?)?;
            if report.schema_version == SCHEMA_VERSION {
                return Ok(report);
            }
            Err(anyhow!("schema version {} is not known here", report.schema_version))
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
        for (name, meaning) in STAGES {
            let stage = &self.stages[name];
            let number = |value: f64| table::number(format!("{value:.3}"));
            table.add_row([
                Cell::new(name),
                number(stage.p50_ms),
                number(stage.p90_ms),
                number(stage.p99_ms),
                number(stage.p999_ms),
                number(stage.max_ms),
                Cell::new(meaning),
            ]);
        }
        format!("{}\n\n{table}\n\n{}", self.headline(), self.rest())
    }

    pub(super) fn headline(&self) -> String {
        format!(
            "end to end {:.3} x the bare session.run: {} on {}, {}x{} px, {:.1} packages, {} frames",
            self.end_to_end_over_run_ratio,
            self.model,
            self.frames,
            self.image_width_px,
            self.image_height_px,
            self.packages_mean,
            self.rounds
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

    /// What changed since `earlier` by more than both runs' noise.
    pub(super) fn against(&self, earlier: &Report) -> String {
        let mut text = String::new();
        for difference in self.other_conditions(earlier) {
            let _ = writeln!(text, "not the same: {difference}");
        }
        let mut table = table::new(&["p50", "before ms", "now ms", "change", "beyond noise"]);
        for (name, _) in STAGES {
            let (Some(before), now) = (earlier.stages.get(name), &self.stages[name]) else {
                continue;
            };
            let change_ms = now.p50_ms - before.p50_ms;
            let noise_ms = NOISE_SIGMAS * before.p50_error_ms.hypot(now.p50_error_ms);
            let beyond = if change_ms.abs() <= noise_ms {
                "no"
            } else if change_ms < 0.0 {
                "faster"
            } else {
                "slower"
            };
            table.add_row([
                Cell::new(name),
                table::number(format!("{:.3}", before.p50_ms)),
                table::number(format!("{:.3}", now.p50_ms)),
                table::number(format!("{:+.1} %", 100.0 * change_ms / before.p50_ms)),
                Cell::new(beyond),
            ]);
        }
        let _ = write!(
            text,
            "ratio to the bare session.run: {:.3} before, {:.3} now\n\n{table}",
            earlier.end_to_end_over_run_ratio, self.end_to_end_over_run_ratio
        );
        text
    }

    fn other_conditions(&self, earlier: &Report) -> Vec<String> {
        let size = |r: &Report| format!("{}x{} px", r.image_width_px, r.image_height_px);
        let packages = |r: &Report| format!("{:.1} packages", r.packages_mean);
        [
            ("model", earlier.model_sha256.clone(), self.model_sha256.clone()),
            ("frames", earlier.frames.clone(), self.frames.clone()),
            ("size", size(earlier), size(self)),
            ("packages", packages(earlier), packages(self)),
        ]
        .into_iter()
        .filter(|(_, before, now)| before != now)
        .map(|(what, before, now)| format!("{what}, {before} before and {now} now"))
        .collect()
    }
}

pub(super) fn stage_report(values_ms: &[f64]) -> StageReport {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, LATENCY_NS_MAX, 3)
        .expect("bounds in order and three digits are allowed");
    for value_ms in values_ms {
        histogram.saturating_record(nanoseconds(*value_ms));
    }
    let at = |quantile: f64| ms(histogram.value_at_quantile(quantile));
    StageReport {
        p50_ms: at(0.5),
        p50_error_ms: median_error(values_ms),
        p90_ms: at(0.9),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        max_ms: ms(histogram.max()),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "latencies fit u64")]
fn nanoseconds(value_ms: f64) -> u64 {
    (value_ms * 1e6).round() as u64
}

/// Standard error of the median; zero where there is too little to tell.
fn median_error(values: &[f64]) -> f64 {
    let length = values.len() / BLOCKS;
    if length == 0 {
        return 0.0;
    }
    let medians: Vec<f64> = values.chunks_exact(length).take(BLOCKS).map(median).collect();
    deviation(&medians) / (medians.len() as f64).sqrt()
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use magpie_perception::StageLatencies;

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
        Run { rounds: inference_ms.iter().map(round).collect(), ..Run::default() }
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
            coefficients: 32,
            anchors: 1,
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
        let frames = BenchFrames { name: "f".into(), frames: vec![frame], scene: None };
        Report::new(run, &model, &frames)
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-3 * b.abs()
    }

    #[test]
    fn the_ratio_is_of_medians_and_overhead_is_what_the_model_does_not_take() {
        let report = report(&[20; 40]);
        assert!(near(report.end_to_end_over_run_ratio, 25.0 / 20.0), "{report:?}");
        assert!(near(report.stages["overhead"].p50_ms, 5.0), "{report:?}");
        assert!(near(report.stages["arrival"].p50_ms, 1.0), "{report:?}");
        assert_eq!((report.lost, report.rounds), (0, 40));
    }

    #[test]
    fn percentiles_jitter_drops_and_costs_are_those_of_the_rounds() {
        let mut run = run(&(1..=1000).collect::<Vec<_>>());
        run.rounds[999].received_ns = None;
        (run.rss_start_bytes, run.rss_end_bytes) = (Some(3 << 20), Some(5 << 20));
        let report = report_of(&run);
        // From 6 to 1004 ms.
        let found = &report.stages["end_to_end"];
        for (found_ms, ms) in [
            (found.p50_ms, 505.0),
            (found.p90_ms, 905.0),
            (found.p99_ms, 995.0),
            (found.p999_ms, 1004.0),
            (found.max_ms, 1004.0),
        ] {
            assert!((found_ms - ms).abs() < 3.0, "{found_ms} for {ms}");
        }
        // Of a uniform distribution: its width over the square root of twelve.
        assert!((report.jitter_ms - 288.5).abs() < 1.0, "{}", report.jitter_ms);
        assert_eq!((report.lost, report.rounds), (1, 1000));
        assert_eq!((report.cpu_ms_per_frame, report.allocations_per_frame), (7.0, 3.0));
        let memory = (report.allocated_kib_per_frame, report.rss_start_mib, report.rss_end_mib);
        assert_eq!(memory, (2.0, Some(3.0), Some(5.0)));
    }

    #[test]
    fn only_a_change_beyond_the_spread_of_both_runs_is_called_one() {
        let noisy: Vec<u64> = (0..100).map(|i| if i / 10 % 2 == 0 { 18 } else { 22 }).collect();
        let line = |text: &str, name: &str| {
            text.lines().find(|line| line.contains(name)).map(str::to_owned).unwrap()
        };
        let text = report(&[19; 100]).against(&report(&noisy));
        assert!(line(&text, "inference").contains("no"), "{text}");
        let text = report(&[30; 100]).against(&report(&noisy));
        assert!(line(&text, "inference").contains("slower"), "{text}");
        assert!(line(&text, "decode").contains("no"), "{text}");
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

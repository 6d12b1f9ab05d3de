//! The numbers for machines, in Prometheus' text format (OpenMetrics 1.0).
//!
//! # Conventions
//!
//! Prometheus' own: base units (seconds, metres, radians), counters end in `_total`. Every metric
//! begins with `magpie_` and has the label `cell`. A reason has the label `code`, by which alerts decide.

use std::fmt::Error;

use magpie_wire as wire;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, MetricEncoder,
    NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::tally::{BOUNDS_S, HistogramSnapshot};

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const STATES: [(&str, wire::State); 4] = [
    ("starting", wire::State::Starting),
    ("ok", wire::State::Ok),
    ("degraded", wire::State::Degraded),
    ("fault", wire::State::Fault),
];

/// Everything that is told at one moment.
#[derive(Debug)]
pub(crate) struct Scrape {
    pub(crate) cell: String,
    pub(crate) version: &'static str,
    /// `None` while the daemon starts.
    pub(crate) status: Option<wire::Status>,
    pub(crate) stages: Vec<(&'static str, HistogramSnapshot)>,
    /// Packages of the newest result, and those of them that can be held.
    pub(crate) packages: (u64, u64),
    pub(crate) lookers: usize,
    pub(crate) refused: [(&'static str, u64); 3],
}

/// The whole text of `/metrics`.
pub(crate) fn exposition(scrape: Scrape) -> String {
    let cell = ("cell".into(), scrape.cell.clone().into());
    let mut registry = Registry::with_prefix_and_labels("magpie", [cell].into_iter());
    registry.register_collector(Box::new(scrape));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).expect("a string takes all");
    text
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut told = Told { encoder };
        let starting = wire::Status { state: wire::State::Starting.into(), ..Default::default() };
        let status = self.status.as_ref().unwrap_or(&starting);
        told.info("build_info", "The program", [("version", self.version)])?;
        self.encode_state(&mut told, status)?;
        self.encode_frames(&mut told, status)?;
        self.encode_picks(&mut told, status)?;
        // Until the daemon has said what runs, nobody is told that it is nothing.
        if self.status.is_some() {
            self.encode_identities(&mut told, status)?;
        }
        self.encode_page(&mut told)
    }
}

impl Scrape {
    fn encode_state(&self, told: &mut Told<'_>, status: &wire::Status) -> Result<(), Error> {
        let state = status.state();
        let states = STATES.map(|(name, known)| ([("state", name)], u64::from(known == state)));
        told.gauges("state", "1 for the state that the daemon is in", None, states)?;
        let given = status.coded_reasons();
        let is_given = |code: &str| given.iter().any(|reason| reason.code == code);
        let codes = wire::REMEDIES.iter().map(|(code, _)| *code);
        let reasons = codes.map(|code| ([("code", code)], u64::from(is_given(code))));
        told.gauges("reason", "1 for each reason why the state is not ok", None, reasons)?;
        let uptime_s = status.uptime_ns as f64 / 1e9;
        told.gauge("uptime", "Time since the daemon joined the network", Unit::Seconds, uptime_s)?;
        let steps = "How often the machine's Unix time was set";
        told.counters("clock_steps", steps, [([], status.clock_steps)])
    }

    fn encode_frames(&self, told: &mut Told<'_>, status: &wire::Status) -> Result<(), Error> {
        let counters = status.counters.unwrap_or_default();
        told.counters("frames", "Frames that the loop took", [([], counters.frames)])?;
        let dropped = [
            ([("reason", "stale")], counters.frames_stale),
            ([("reason", "superseded")], counters.frames_superseded),
            ([("reason", "corrupt")], counters.frames_corrupt),
        ];
        told.counters("frames_dropped", "Frames that were dropped", dropped)?;
        let published = counters.results_published;
        told.counters("results_published", "Results that were published", [([], published)])?;
        let expired = "Results that were published without their packages, being too old";
        told.counters("results_expired", expired, [([], counters.results_expired)])?;
        let superseded = "Results that a newer one replaced before the network took them";
        told.counters("results_superseded", superseded, [([], counters.results_superseded)])?;
        let missed = "Results that came later than limits.deadline_ms";
        told.counters("deadline_misses", missed, [([], counters.deadline_misses)])?;
        let help = "How long each stage of a frame took; wait and total count from its exposure";
        told.histograms("stage_duration", help, &self.stages)?;
        let (packages, held) = self.packages;
        told.gauges("packages", "Packages in the newest result", None, [([], packages)])?;
        let help = "Packages in the newest result that can be held";
        told.gauges("packages_with_grasp", help, None, [([], held)])
    }

    fn encode_picks(&self, told: &mut Told<'_>, status: &wire::Status) -> Result<(), Error> {
        let picks = status.picks.clone().unwrap_or_default();
        let outcomes = picks.by_outcome().map(|(name, count)| ([("outcome", name)], count));
        let help = "Picks by the outcome that was reported first";
        told.counters("pick_outcomes", help, outcomes)?;
        let help = "Later reports about a pick that was reported before";
        told.counters("pick_outcomes_amended", help, [([], picks.amended)])?;
        let count = |code: &str| {
            let known = picks.refused.iter().find(|refused| refused.reason == code);
            known.map_or(0, |refused| refused.count)
        };
        let refused = wire::OutcomeRefusal::CODES.map(|code| ([("reason", code)], count(code)));
        told.counters("pick_outcomes_refused", "Reports of picks that were not taken", refused)
    }

    fn encode_identities(&self, told: &mut Told<'_>, status: &wire::Status) -> Result<(), Error> {
        let model = status.model.clone().unwrap_or_default();
        let labels = [("name", &*model.name), ("sha256", &*model.sha256)];
        told.info("model_info", "The model that runs", labels)?;
        let asked = status.providers_asked.join(",");
        let labels = [("got", &*status.provider_got), ("asked", &*asked)];
        told.info("provider_info", "The execution provider that runs the model", labels)?;
        told.info("calibration_info", "The calibration in use", [("id", &*status.calibration_id)])?;
        let Some(drift) = status.drift else { return Ok(()) };
        let metres = |mm: f64| [([], mm / 1000.0)];
        let unit = || Some(Unit::Other("meters".into()));
        let help = "How far fixed fiducials seem to have moved";
        told.gauges("camera_displacement", help, unit(), metres(drift.displacement_mm))?;
        let help = "The displacement beyond which the state is degraded";
        told.gauges("camera_displacement_limit", help, unit(), metres(drift.limit_mm))
    }

    fn encode_page(&self, told: &mut Told<'_>) -> Result<(), Error> {
        let lookers = self.lookers as u64;
        told.gauges("page_viewers", "Viewers that wait for a picture", None, [([], lookers)])?;
        let refused = self.refused.map(|(why, count)| ([("reason", why)], count));
        told.counters("page_requests_refused", "Requests that the page refused", refused)
    }
}

type Labels<'a, const N: usize> = [(&'a str, &'a str); N];

/// What was told so far, to be told more.
struct Told<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Told<'_> {
    /// A gauge, not an `info`, which readers of Prometheus' older text format do not know.
    fn info<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        labels: Labels<'_, N>,
    ) -> Result<(), Error> {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        labelled(&mut metric, &labels, |metric| metric.encode_gauge(&1_u64))
    }

    fn gauge(&mut self, name: &str, help: &str, unit: Unit, value: f64) -> Result<(), Error> {
        self.gauges(name, help, Some(unit), [([], value)])
    }

    fn gauges<const N: usize, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        values: impl IntoIterator<Item = (Labels<'static, N>, V)>,
    ) -> Result<(), Error> {
        let unit = unit.as_ref();
        let mut metric = self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, value) in values {
            labelled(&mut metric, &labels, |metric| metric.encode_gauge(&value))?;
        }
        Ok(())
    }

    fn counters<const N: usize, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'static, N>, V)>,
    ) -> Result<(), Error> {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            labelled(&mut metric, &labels, |metric| {
                metric.encode_counter::<NoLabelSet, V, f64>(&value, None)
            })?;
        }
        Ok(())
    }

    fn histograms(
        &mut self,
        name: &str,
        help: &str,
        stages: &[(&'static str, HistogramSnapshot)],
    ) -> Result<(), Error> {
        let unit = Unit::Seconds;
        let mut metric =
            self.encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        for (stage, HistogramSnapshot { counts, sum_s }) in stages {
            // The encoder writes the last bound as infinity.
            let bounds = BOUNDS_S.into_iter().chain([f64::MAX]);
            let buckets: Vec<_> = bounds.zip(counts.iter().copied()).collect();
            let count = counts.iter().sum();
            labelled(&mut metric, &[("stage", *stage)], |metric| {
                metric.encode_histogram::<NoLabelSet>(*sum_s, count, &buckets, None)
            })?;
        }
        Ok(())
    }
}

fn labelled<const N: usize>(
    metric: &mut MetricEncoder<'_>,
    labels: &Labels<'_, N>,
    encode: impl FnOnce(&mut MetricEncoder<'_>) -> Result<(), Error>,
) -> Result<(), Error>
where
    for<'a> Labels<'a, N>: EncodeLabelSet,
{
    if N == 0 { encode(metric) } else { encode(&mut metric.encode_family(labels)?) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Tally;

    fn scrape(status: Option<wire::Status>) -> String {
        exposition(Scrape {
            cell: "dock-7".into(),
            version: "1.2.3",
            status,
            stages: Tally::default().stages().collect(),
            packages: (3, 2),
            lookers: 1,
            refused: [("host", 0), ("origin", 0), ("token", 4)],
        })
    }

    #[track_caller]
    fn check(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|told| told == *line), "no line {line:?} in\n{text}");
        }
    }

    #[test]
    fn a_status_is_told_with_its_reasons_by_code() {
        let reason = wire::Reason::CameraLost { why: "unplugged".into() };
        let status = wire::Status {
            state: wire::State::Degraded.into(),
            reasons_coded: vec![(&reason).into()],
            counters: Some(wire::Counters {
                frames: 12,
                frames_superseded: 5,
                ..Default::default()
            }),
            provider_got: "cpu".into(),
            providers_asked: vec!["cuda".into(), "cpu".into()],
            drift: Some(wire::Drift { displacement_mm: 1.5, ..Default::default() }),
            uptime_ns: 2_500_000_000,
            picks: Some(wire::PickCounters {
                held: 12,
                doubles: 1,
                amended: 3,
                refused: vec![wire::RefusedReports { reason: "instance".into(), count: 2 }],
                ..Default::default()
            }),
            ..Default::default()
        };
        check(
            &scrape(Some(status)),
            &[
                "magpie_build_info{cell=\"dock-7\",version=\"1.2.3\"} 1",
                "magpie_state{cell=\"dock-7\",state=\"degraded\"} 1",
                "magpie_state{cell=\"dock-7\",state=\"ok\"} 0",
                "magpie_reason{cell=\"dock-7\",code=\"camera_lost\"} 1",
                "magpie_reason{cell=\"dock-7\",code=\"recording_behind\"} 0",
                "magpie_frames_total{cell=\"dock-7\"} 12",
                "magpie_frames_dropped_total{cell=\"dock-7\",reason=\"superseded\"} 5",
                "magpie_uptime_seconds{cell=\"dock-7\"} 2.5",
                "magpie_provider_info{cell=\"dock-7\",got=\"cpu\",asked=\"cuda,cpu\"} 1",
                "magpie_camera_displacement_meters{cell=\"dock-7\"} 0.0015",
                "magpie_packages_with_grasp{cell=\"dock-7\"} 2",
                "# TYPE magpie_pick_outcomes counter",
                "magpie_pick_outcomes_total{cell=\"dock-7\",outcome=\"held\"} 12",
                "magpie_pick_outcomes_total{cell=\"dock-7\",outcome=\"double\"} 1",
                "magpie_pick_outcomes_total{cell=\"dock-7\",outcome=\"not_tried\"} 0",
                "magpie_pick_outcomes_amended_total{cell=\"dock-7\"} 3",
                "magpie_pick_outcomes_refused_total{cell=\"dock-7\",reason=\"instance\"} 2",
                "magpie_pick_outcomes_refused_total{cell=\"dock-7\",reason=\"too_many\"} 0",
                "magpie_page_requests_refused_total{cell=\"dock-7\",reason=\"token\"} 4",
                "# EOF",
            ],
        );
    }

    #[test]
    fn a_daemon_that_starts_is_starting() {
        check(&scrape(None), &["magpie_state{cell=\"dock-7\",state=\"starting\"} 1"]);
    }

    #[test]
    fn a_histogram_has_cumulative_buckets_a_sum_and_a_count() {
        let total = HistogramSnapshot {
            counts: (0..19).map(|at| u64::from(at > 16)).collect(),
            sum_s: 9.5,
        };
        let text = exposition(Scrape {
            cell: "dock".into(),
            version: "1",
            status: None,
            stages: vec![("total", total)],
            packages: (0, 0),
            lookers: 0,
            refused: [("host", 0), ("origin", 0), ("token", 0)],
        });
        check(
            &text,
            &[
                "magpie_stage_duration_seconds_sum{cell=\"dock\",stage=\"total\"} 9.5",
                "magpie_stage_duration_seconds_count{cell=\"dock\",stage=\"total\"} 2",
                "magpie_stage_duration_seconds_bucket{cell=\"dock\",le=\"2.0\",stage=\"total\"} 0",
                "magpie_stage_duration_seconds_bucket{cell=\"dock\",le=\"5.0\",stage=\"total\"} 1",
                "magpie_stage_duration_seconds_bucket{cell=\"dock\",le=\"+Inf\",stage=\"total\"} 2",
            ],
        );
    }
}

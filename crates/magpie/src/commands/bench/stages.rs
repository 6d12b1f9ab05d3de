//! What a run of the bench measures: the stages of a frame's way, the rounds and the run.

use magpie_perception::StageLatencies;
use serde::{Deserialize, Serialize};

/// The stages in the order of the frame's way, then what is made of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    Preprocess,
    Inference,
    Decode,
    Plan,
    Publish,
    Arrival,
    EndToEnd,
    Overhead,
    BareRun,
}

impl Stage {
    pub(super) const ALL: [Stage; 9] = [
        Stage::Preprocess,
        Stage::Inference,
        Stage::Decode,
        Stage::Plan,
        Stage::Publish,
        Stage::Arrival,
        Stage::EndToEnd,
        Stage::Overhead,
        Stage::BareRun,
    ];

    /// The name in tables and in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Stage::Preprocess => "preprocess",
            Stage::Inference => "inference",
            Stage::Decode => "decode",
            Stage::Plan => "plan",
            Stage::Publish => "publish",
            Stage::Arrival => "arrival",
            Stage::EndToEnd => "end_to_end",
            Stage::Overhead => "overhead",
            Stage::BareRun => "bare_run",
        }
    }

    pub(super) fn meaning(self) -> &'static str {
        match self {
            Stage::Preprocess => "letterbox into the model's input",
            Stage::Inference => "session.run within the frame",
            Stage::Decode => "boxes, NMS, masks",
            Stage::Plan => "tracks and grasps",
            Stage::Publish => "hand-over to the publisher",
            Stage::Arrival => "encoding, zenoh, decoding by a subscriber",
            Stage::EndToEnd => "frame in memory to a subscriber's hands",
            Stage::Overhead => "end_to_end without inference",
            Stage::BareRun => "session.run alone, between the frames",
        }
    }
}

/// What one round took, in nanoseconds.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub stages: StageLatencies,
    /// Time from the frame in memory to the publisher having taken the result.
    pub published_ns: u64,
    /// Time from the frame in memory to a subscriber's hands; `None`: it never came.
    pub received_ns: Option<u64>,
    pub bare_run_ns: u64,
    /// Processor time of the whole process for the frame, without the bare run.
    pub cpu_ns: u64,
    /// Allocations of the whole process, from the frame in memory to the publisher having taken the
    /// result.
    pub allocations: u64,
    pub allocated_bytes: u64,
    pub packages: usize,
}

impl Round {
    /// `None`: the result never arrived.
    pub(super) fn stage_ns(&self, stage: Stage) -> Option<u64> {
        let stages = &self.stages;
        Some(match stage {
            Stage::Preprocess => stages.preprocess_ns,
            Stage::Inference => stages.inference_ns,
            Stage::Decode => stages.decode_ns,
            Stage::Plan => stages.plan_ns,
            Stage::Publish => self.published_ns.saturating_sub(stages.total_ns),
            Stage::Arrival => self.received_ns?.saturating_sub(self.published_ns),
            Stage::EndToEnd => self.received_ns?,
            Stage::Overhead => self.received_ns?.saturating_sub(stages.inference_ns),
            Stage::BareRun => self.bare_run_ns,
        })
    }
}

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    pub rounds: Vec<Round>,
    pub provider: String,
    /// Threads of the model.
    pub threads: usize,
    pub rss_start_bytes: Option<u64>,
    pub rss_end_bytes: Option<u64>,
}

/// Milliseconds of one stage, round by round; rounds whose result never arrived are left out.
pub(super) fn stage_ms(rounds: &[Round], stage: Stage) -> Vec<f64> {
    rounds.iter().filter_map(|round| round.stage_ns(stage)).map(ms).collect()
}

/// Distributions of milliseconds are counted in nanoseconds.
pub(super) const RESOLUTION_MS: f64 = 1e-6;

pub(super) fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_has_the_same_name_in_tables_and_in_json() {
        for stage in Stage::ALL {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.name());
        }
    }
}

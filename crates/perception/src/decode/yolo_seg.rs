//! The output layout `yolo-seg`, as Ultralytics exports it: one column for each anchor, with
//! duplicates, so the best ones are ranked and the others suppressed here.
//!
//! # Conventions
//! Predictions are f32 `[4 + classes + coefficients, anchors]`: cx, cy, w, h in input pixels, the
//! class scores, the mask coefficients.

use std::collections::BinaryHeap;

use ndarray::{ArrayView1, ArrayView2, Axis};

use super::candidate::{Candidate, DecodeLimits};
use crate::BboxPx;

/// The axis that boxes, scores and coefficients share.
const CHANNEL: Axis = Axis(0);
/// Channels of a box: cx, cy, w, h.
const BBOX_CHANNELS: usize = 4;
/// Candidates that enter NMS at most: what a low `score_min` may cost is bounded.
const CANDIDATES_MAX: usize = 2000;

/// Buffers of [`find`], kept from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    best_score: Vec<f32>,
    /// Anchors worth a look, as [`rank`]s.
    ranked: BinaryHeap<u64>,
}

/// The three parts of the predictions.
#[derive(Clone, Copy)]
struct Anchors<'a> {
    /// `[cx cy w h, anchor]`, in input pixels.
    boxes: ArrayView2<'a, f32>,
    /// `[class, anchor]`.
    scores: ArrayView2<'a, f32>,
    /// `[coefficient, anchor]`.
    coefficients: ArrayView2<'a, f32>,
}

impl<'a> Anchors<'a> {
    fn new(predictions: ArrayView2<'a, f32>, classes: usize) -> Anchors<'a> {
        let (boxes, rest) = predictions.split_at(CHANNEL, BBOX_CHANNELS);
        let (scores, coefficients) = rest.split_at(CHANNEL, classes);
        Anchors { boxes, scores, coefficients }
    }

    /// One anchor with the class of its best score.
    #[inline(always)]
    fn candidate(&self, anchor: usize) -> Candidate {
        let scores = self.scores.column(anchor);
        let (mut class_id, mut score) = (0, scores[0]);
        for other in 1..scores.len() {
            if scores[other] > score {
                (class_id, score) = (other, scores[other]);
            }
        }
        Candidate { index: anchor, class_id, score, bbox: bbox(self.boxes.column(anchor)) }
    }
}

#[inline(always)]
fn bbox(channels: ArrayView1<'_, f32>) -> BboxPx {
    let [cx, cy, w, h] = std::array::from_fn(|channel| channels[channel]);
    BboxPx {
        x_min_px: cx - 0.5 * w,
        y_min_px: cy - 0.5 * h,
        x_max_px: cx + 0.5 * w,
        y_max_px: cy + 0.5 * h,
    }
}

/// Fills `kept`, in falling order of score, and returns the mask coefficients as
/// `[coefficient, candidate's index]`.
#[inline(always)]
pub(super) fn find<'a>(
    predictions: ArrayView2<'a, f32>,
    classes: usize,
    limits: &DecodeLimits,
    scratch: &mut Scratch,
    kept: &mut Vec<Candidate>,
) -> ArrayView2<'a, f32> {
    let anchors = Anchors::new(predictions, classes);
    rank_anchors(anchors.scores, limits.score_min, scratch);
    suppress(&anchors, limits, &mut scratch.ranked, kept);
    anchors.coefficients
}

/// Orders anchors by score, and those of the same score by their own order.
fn rank(score: f32, anchor: usize) -> u64 {
    let anchor = u32::try_from(anchor).expect("anchors are thousands");
    // Bits of floats that are not negative sort as the floats do; the sum turns -0 into 0.
    u64::from((score + 0.0).to_bits()) << 32 | u64::from(!anchor)
}

fn anchor_of(rank: u64) -> usize {
    let [low @ .., _, _, _, _] = rank.to_le_bytes();
    !u32::from_le_bytes(low) as usize
}

/// Collects the anchors whose best class reaches the limit. `scores` is `[class, anchor]`.
#[inline(always)]
fn rank_anchors(scores: ArrayView2<'_, f32>, score_min: f32, scratch: &mut Scratch) {
    let Scratch { best_score, ranked } = scratch;
    let mut classes =
        scores.outer_iter().map(|row| row.to_slice().expect("anchors lie side by side in memory"));
    best_score.clear();
    best_score.extend_from_slice(classes.next().unwrap_or_default());
    for scores in classes {
        for (best, &score) in best_score.iter_mut().zip(scores) {
            *best = if score > *best { score } else { *best };
        }
    }
    let score_min = score_min.max(0.0);
    // Also false for a NaN, which no score is.
    let passing = best_score.iter().enumerate().filter(|(_, score)| **score >= score_min);
    ranked.clear();
    ranked.extend(passing.map(|(anchor, &score)| rank(score, anchor)));
}

/// Greedy NMS, from the best anchor on.
#[inline(always)]
fn suppress(
    anchors: &Anchors<'_>,
    limits: &DecodeLimits,
    ranked: &mut BinaryHeap<u64>,
    kept: &mut Vec<Candidate>,
) {
    kept.clear();
    for _ in 0..CANDIDATES_MAX {
        if kept.len() == limits.instances_max {
            return;
        }
        let Some(rank) = ranked.pop() else { return };
        let candidate = anchors.candidate(anchor_of(rank));
        let suppressed = kept.iter().any(|better| {
            (limits.nms_class_agnostic || better.class_id == candidate.class_id)
                && better.bbox.iou(&candidate.bbox) > limits.iou_max
        });
        if !suppressed {
            kept.push(candidate);
        }
    }
}

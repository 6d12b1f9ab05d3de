//! The output layout `yolo-seg` with its duplicates removed inside the graph, as Ultralytics exports
//! its end-to-end models, and others with `nms=True`: one row for each finding.
//!
//! # Conventions
//! Predictions are f32 `[rows, 6 + coefficients]`: x_min, y_min, x_max, y_max in input pixels, the
//! score, the class id, the mask coefficients. Rows that found nothing have a score of 0.

use ndarray::{ArrayView1, ArrayView2, Axis, s};

use super::candidate::{Candidate, DecodeLimits};
use crate::BboxPx;
use crate::number::floor_index;

/// The axis of the findings.
const ROW: Axis = Axis(0);
const SCORE: usize = 4;
const CLASS_ID: usize = 5;
/// Where the mask coefficients begin.
const COEFFICIENTS: usize = 6;

/// Fills `kept`, in falling order of score, and returns the mask coefficients as
/// `[coefficient, candidate's index]`.
#[inline(always)]
pub(super) fn find<'a>(
    predictions: ArrayView2<'a, f32>,
    classes: usize,
    limits: &DecodeLimits,
    kept: &mut Vec<Candidate>,
) -> ArrayView2<'a, f32> {
    let rows = predictions.axis_iter(ROW).enumerate();
    // Also false for a NaN, and for the class -1 that fills rows without a finding.
    let is_finding =
        |row: &ArrayView1<'_, f32>| row[SCORE] >= limits.score_min && row[CLASS_ID] >= 0.0;
    let passing = rows.filter(|(_, row)| is_finding(row));
    kept.clear();
    kept.extend(passing.map(candidate).filter(|candidate| candidate.class_id < classes));
    kept.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
    if limits.nms_class_agnostic {
        keep_best_class(kept, limits.instances_max);
    }
    kept.truncate(limits.instances_max);
    predictions.slice_move(s![.., COEFFICIENTS..]).reversed_axes()
}

#[inline(always)]
fn candidate((index, row): (usize, ArrayView1<'_, f32>)) -> Candidate {
    let [x_min_px, y_min_px, x_max_px, y_max_px] = std::array::from_fn(|channel| row[channel]);
    Candidate {
        index,
        class_id: floor_index(row[CLASS_ID]),
        score: row[SCORE],
        bbox: BboxPx { x_min_px, y_min_px, x_max_px, y_max_px },
    }
}

/// The best scores are taken over anchors and classes together, so one anchor may stand there once
/// for each of its classes, with the very same box.
fn keep_best_class(kept: &mut Vec<Candidate>, instances_max: usize) {
    let mut unique = 0;
    for at in 0..kept.len() {
        if unique == instances_max {
            break;
        }
        if !kept[..unique].iter().any(|better| better.bbox == kept[at].bbox) {
            kept[unique] = kept[at];
            unique += 1;
        }
    }
    kept.truncate(unique);
}

//! Degrees that were taken for radians.
//!
//! A rotation vector in degrees only needs its unit back. Once it was made a matrix, whole turns
//! are lost: 30 "radians" look like -1.42. But arm and board turn by the same angle between two
//! stops, so the lost turns can be found again by trying all of them.

use std::f64::consts::{PI, TAU};

use nalgebra::{Isometry3, UnitQuaternion};

use super::model::RawPose;

/// No rotation is larger than 180 "radians", which are this many turns.
const TURNS_MAX: i32 = 28;
/// This many stops tell right from wrong turns; the others are matched with them.
const STOPS: usize = 8;
/// The direction of a board is noisy by less than this.
const OFF_DEG_MAX: f64 = 1.0;

/// Takes the rotations for degrees. Returns `None` if they cannot have been degrees. Matrices are
/// only looked into on request: it takes a while.
pub(crate) fn undo(poses: &mut [RawPose], others: &[RawPose], matrices: bool) -> Option<()> {
    let vectors: Option<Vec<_>> = poses.iter().map(|raw| raw.rotation_vector).collect();
    let rotations = match vectors {
        Some(vectors) => vectors
            .into_iter()
            .map(|degrees| UnitQuaternion::from_scaled_axis(degrees * (PI / 180.0)))
            .collect(),
        None if matrices => with_turns(poses, others)?,
        None => return None,
    };
    for (raw, rotation) in poses.iter_mut().zip(rotations) {
        raw.pose = Isometry3::from_parts(raw.pose.translation, rotation);
    }
    Some(())
}

/// Lists what the rotation may have been, if its angle was in degrees.
fn candidates(raw: &RawPose) -> Vec<UnitQuaternion<f64>> {
    let Some((axis, angle)) = raw.pose.rotation.axis_angle() else {
        return vec![UnitQuaternion::identity()];
    };
    let turns = (-TURNS_MAX - 1..=TURNS_MAX).map(|turn| angle + TAU * f64::from(turn));
    turns
        .filter(|degrees| degrees.abs() <= 180.5)
        .map(|degrees| UnitQuaternion::from_axis_angle(&axis, degrees.to_radians()))
        .collect()
}

/// Picks the rotations between which the poses turn as the others do.
fn with_turns(poses: &[RawPose], others: &[RawPose]) -> Option<Vec<UnitQuaternion<f64>>> {
    if poses.len() < 4 {
        return None;
    }
    let candidates: Vec<_> = poses.iter().map(candidates).collect();
    let off_max = OFF_DEG_MAX.to_radians();
    let off = |a: &UnitQuaternion<f64>, b: &UnitQuaternion<f64>, i: usize, j: usize| {
        (a.angle_to(b) - others[i].pose.rotation.angle_to(&others[j].pose.rotation)).abs()
    };
    let mut best: Option<(f64, Vec<UnitQuaternion<f64>>)> = None;
    for first in &candidates[0] {
        for second in candidates[1].iter().filter(|second| off(first, second, 0, 1) < off_max) {
            let mut picked = vec![*first, *second];
            let mut worst = 0.0_f64;
            for (index, options) in candidates.iter().enumerate().skip(2) {
                let known = picked.len().min(STOPS);
                let cost = |candidate: &UnitQuaternion<f64>| {
                    (0..known).map(|k| off(&picked[k], candidate, k, index)).fold(0.0, f64::max)
                };
                let costs = options.iter().map(|candidate| (cost(candidate), candidate));
                let (cost, pick) = costs.min_by(|a, b| a.0.total_cmp(&b.0))?;
                worst = worst.max(cost);
                if worst > off_max {
                    break;
                }
                picked.push(*pick);
            }
            let is_whole = picked.len() == poses.len();
            if is_whole && best.as_ref().is_none_or(|(least, _)| worst < *least) {
                best = Some((worst, picked));
            }
        }
    }
    best.map(|(_, picked)| picked)
}

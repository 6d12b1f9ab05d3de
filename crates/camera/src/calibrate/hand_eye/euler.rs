//! Euler angles that were taken for rotation vectors, or for those of another order.
//!
//! Between two stops arm and board turn by the same angle, wherever the camera is. The order of
//! Euler angles in which that holds is the one that the controller writes.

use nalgebra::{UnitQuaternion, Vector3};

use super::model::RawPose;
use crate::calibrate::euler::EulerOrder;

/// Angles of a calibrated arm and of boards in pictures agree better than this, in degrees.
const FIT_DEG_MAX: f64 = 2.0;
/// An order must fit this many times better than rotation vectors do.
const BETTER_BY: f64 = 3.0;
/// Orders that fit nearly as well as the best: swapping the axes in a ring changes no angle.
const TIE: f64 = 1.2;

/// Rotations that differ by less are the same.
const SAME_RAD: f64 = 1e-6;

/// What three angles may have been.
pub(crate) struct Reading {
    /// `None` for a rotation vector where Euler angles were said.
    pub(crate) order: Option<EulerOrder>,
    /// Whether they are degrees where radians were said.
    pub(crate) degrees: bool,
    pub(crate) poses: Vec<RawPose>,
}

/// Lists the readings, other than what was said, under which `poses` turn as `others` do. Rotation
/// vectors that do so are not questioned; an order of Euler angles is, for its reverse turns by the
/// same angles about other axes.
pub(crate) fn readings(poses: &[RawPose], others: &[RawPose]) -> Vec<Reading> {
    let angles: Option<Vec<Vector3<f64>>> =
        poses.iter().map(|raw| raw.rotation_vector.or(raw.euler)).collect();
    let Some(angles) = angles else { return Vec::new() };
    let given: Vec<_> = poses.iter().map(|raw| raw.pose.rotation).collect();
    let given_deg = mismatch_deg(&given, others);
    let is_euler = poses.iter().any(|raw| raw.euler.is_some());
    if given_deg < FIT_DEG_MAX && !is_euler {
        return Vec::new();
    }
    let mut found = Vec::new();
    let orders = EulerOrder::all().map(Some).chain(is_euler.then_some(None));
    for order in orders {
        for degrees in [false, true] {
            let unit = if degrees { 1.0_f64.to_radians() } else { 1.0 };
            let rotation = |angles: &Vector3<f64>| match order {
                Some(order) => order.rotation(&(angles * unit)),
                None => UnitQuaternion::from_scaled_axis(angles * unit),
            };
            let turns: Vec<_> = angles.iter().map(rotation).collect();
            let is_as_said =
                given.iter().zip(&turns).all(|(given, turn)| given.angle_to(turn) < SAME_RAD);
            if is_as_said {
                continue;
            }
            found.push((mismatch_deg(&turns, others), order, degrees, turns));
        }
    }
    let least = found.iter().map(|(off, ..)| *off).fold(f64::MAX, f64::min);
    let is_better = is_euler || BETTER_BY * least <= given_deg;
    if least > FIT_DEG_MAX || !is_better || least > TIE * given_deg + 1e-3 {
        return Vec::new();
    }
    let good = found.into_iter().filter(|(off, ..)| *off <= TIE * least + 1e-3);
    good.map(|(_, order, degrees, turns)| {
        let poses = poses.iter().zip(turns).map(|(raw, rotation)| {
            let mut pose = raw.pose;
            pose.rotation = rotation;
            pose.into()
        });
        Reading { order, degrees, poses: poses.collect() }
    })
    .collect()
}

/// How differently two sequences turn between stops: the root of the mean square.
fn mismatch_deg(turns: &[UnitQuaternion<f64>], others: &[RawPose]) -> f64 {
    let (mut sum, mut count) = (0.0, 0_usize);
    for (index, a) in turns.iter().enumerate() {
        for (other, b) in turns.iter().enumerate().skip(index + 1) {
            let angle = others[index].pose.rotation.angle_to(&others[other].pose.rotation);
            sum += (a.angle_to(b) - angle).powi(2);
            count += 1;
        }
    }
    (sum / count.max(1) as f64).sqrt().to_degrees()
}

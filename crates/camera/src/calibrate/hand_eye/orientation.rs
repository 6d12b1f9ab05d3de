//! Chessboards that look the same when they are turned by half a turn: how each picture has them.
//!
//! Between two stops the arm and the board turn by the same angle, wherever the camera is. A view
//! in which the board was taken for its half turn turned by another.

use nalgebra::{Isometry3, UnitQuaternion, Vector3};

use super::model::{HandEyePair, STOPS_MIN, stops};
use crate::calibrate::board::{Board, BoardPoint};
use crate::calibrate::errors::CalibrateError;

/// Angles of a calibrated arm and of boards in pictures agree better than this, in degrees.
const FIT_DEG_MAX: f64 = 1.0;
/// The wrong orientation must be this much worse.
const WORSE_BY: f64 = 4.0;
/// Beyond this, one wrong angle is as wrong as another.
const OFF_DEG_MAX: f64 = 20.0;

/// Turns boards round that were taken for their half turn; refuses where the arm's poses do not
/// tell. All boards may come out turned, which changes nothing about the camera.
pub fn resolve_orientations(
    board: &Board,
    pairs: &mut [HandEyePair],
) -> Result<(), CalibrateError> {
    // With fewer the calibration itself says what is missing.
    if board.has_unique_orientation() || stops(pairs).len() < STOPS_MIN {
        return Ok(());
    }
    let refuse = || board.check_unique_orientation();
    let Some((corners_x, corners_y)) = board.corners() else { return refuse() };
    // A square one has four orientations.
    if corners_x == corners_y {
        return refuse();
    }
    let costs = costs(pairs);
    let may_turn = |index: usize| pairs[index].view.is_some();
    let turned = (0..pairs.len())
        .map(|root| assign(&costs, root, may_turn))
        .min_by(|a, b| total(&costs, a).total_cmp(&total(&costs, b)))
        .expect("there are pairs");
    if !is_certain(&costs, &turned, may_turn) {
        return refuse();
    }
    for (pair, turned) in pairs.iter_mut().zip(turned) {
        if turned {
            turn(pair, board);
        }
    }
    Ok(())
}

/// Returns, for each two pairs, the squared mismatch of their angles: with the boards oriented
/// alike, and with one of them turned.
fn costs(pairs: &[HandEyePair]) -> Vec<Vec<[f64; 2]>> {
    let half_turn = half_turn();
    let cost = |a: &HandEyePair, b: &HandEyePair| {
        let arm = a.base_from_gripper.rotation.angle_to(&b.base_from_gripper.rotation);
        let (from, to) = (a.camera_from_board.rotation, b.camera_from_board.rotation);
        [to, to * half_turn].map(|to| {
            let off_deg = (from.angle_to(&to) - arm).to_degrees();
            off_deg.abs().min(OFF_DEG_MAX).powi(2)
        })
    };
    pairs.iter().map(|a| pairs.iter().map(|b| cost(a, b)).collect()).collect()
}

fn half_turn() -> UnitQuaternion<f64> {
    UnitQuaternion::from_axis_angle(&Vector3::z_axis(), std::f64::consts::PI)
}

/// Sums what one view costs beside all others.
fn cost_of(costs: &[Vec<[f64; 2]>], turned: &[bool], index: usize, is_turned: bool) -> f64 {
    let others = (0..turned.len()).filter(|&other| other != index);
    others.map(|other| costs[index][other][usize::from(is_turned != turned[other])]).sum()
}

fn total(costs: &[Vec<[f64; 2]>], turned: &[bool]) -> f64 {
    (0..turned.len()).map(|index| cost_of(costs, turned, index, turned[index])).sum()
}

/// Begins with what suits view `root`, then turns every view that fits better turned.
fn assign(costs: &[Vec<[f64; 2]>], root: usize, may_turn: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut turned: Vec<bool> =
        (0..costs.len()).map(|i| may_turn(i) && costs[root][i][1] < costs[root][i][0]).collect();
    for _ in 0..costs.len() {
        for index in (0..costs.len()).filter(|&index| may_turn(index)) {
            let [as_it_is, turned_round] =
                [false, true].map(|is_turned| cost_of(costs, &turned, index, is_turned));
            turned[index] = turned_round < as_it_is;
        }
    }
    turned
}

fn is_certain(costs: &[Vec<[f64; 2]>], turned: &[bool], may_turn: impl Fn(usize) -> bool) -> bool {
    let links = turned.len() * (turned.len() - 1);
    let fits = total(costs, turned) / links as f64 <= FIT_DEG_MAX * FIT_DEG_MAX;
    let floor = FIT_DEG_MAX * FIT_DEG_MAX * turned.len() as f64;
    let is_clear = |index: usize| {
        let [now, other] = [turned[index], !turned[index]]
            .map(|is_turned| cost_of(costs, turned, index, is_turned));
        other > WORSE_BY * now.max(floor)
    };
    fits && (0..turned.len()).filter(|&index| may_turn(index)).all(is_clear)
}

fn turn(pair: &mut HandEyePair, board: &Board) {
    let Some(view) = &mut pair.view else { return };
    let last = view.points.len() - 1;
    let far = board.corner_in_board(last);
    pair.camera_from_board *= Isometry3::from_parts(far.into(), half_turn());
    let px: Vec<_> = view.points.iter().rev().map(|point| point.px).collect();
    for (point, px) in view.points.iter_mut().zip(px) {
        *point = BoardPoint { px, ..*point };
    }
}

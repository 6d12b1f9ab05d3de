//! Chessboards that look the same when they are turned by half a turn: from which end each picture
//! has them.
//!
//! Between two stops the arm and the board turn by the same angle, wherever the camera is. A view
//! that was read from the wrong end turned by another.

use nalgebra::{Isometry3, UnitQuaternion, Vector3};

use super::hand_eye::{HandEyePair, PAIRS_MIN};
use super::{Board, BoardPoint, CalibrateError};

/// Angles of a calibrated arm and of boards in pictures agree better than this, in degrees.
const FIT_DEG_MAX: f64 = 1.0;
/// The wrong end must be this much worse.
const WORSE_BY: f64 = 4.0;
/// Beyond, one wrong angle is as wrong as another.
const OFF_DEG_MAX: f64 = 20.0;

/// Turns round what was read from the wrong end; refuses where the arm's poses do not tell. The
/// board may come out turned as a whole, which changes nothing about the camera.
pub fn settle_readings(board: &Board, pairs: &mut [HandEyePair]) -> Result<(), CalibrateError> {
    // With fewer the calibration itself says what is missing.
    if board.has_one_reading() || pairs.len() < PAIRS_MIN {
        return Ok(());
    }
    let refuse = || board.check_one_reading();
    let Some((corners_x, corners_y)) = board.corners() else { return refuse() };
    // A square one has four readings.
    if corners_x == corners_y {
        return refuse();
    }
    let costs = costs(pairs);
    let free = |index: usize| pairs[index].view.is_some();
    let turned = (0..pairs.len())
        .map(|root| settle(&costs, root, free))
        .min_by(|a, b| total(&costs, a).total_cmp(&total(&costs, b)))
        .expect("there are pairs");
    if !is_settled(&costs, &turned, free) {
        return refuse();
    }
    for (pair, turned) in pairs.iter_mut().zip(turned) {
        if turned {
            turn(pair, board);
        }
    }
    Ok(())
}

/// For each two pairs the squared mismatch of their angles: read from the same end, and from
/// opposite ones.
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

/// What one view costs beside all others.
fn cost_of(costs: &[Vec<[f64; 2]>], turned: &[bool], index: usize, is_turned: bool) -> f64 {
    let others = (0..turned.len()).filter(|&other| other != index);
    others.map(|other| costs[index][other][usize::from(is_turned != turned[other])]).sum()
}

fn total(costs: &[Vec<[f64; 2]>], turned: &[bool]) -> f64 {
    (0..turned.len()).map(|index| cost_of(costs, turned, index, turned[index])).sum()
}

/// Begins with what suits one of them, then turns whatever is better turned.
fn settle(costs: &[Vec<[f64; 2]>], root: usize, free: impl Fn(usize) -> bool) -> Vec<bool> {
    let mut turned: Vec<bool> =
        (0..costs.len()).map(|i| free(i) && costs[root][i][1] < costs[root][i][0]).collect();
    for _ in 0..costs.len() {
        for index in (0..costs.len()).filter(|&index| free(index)) {
            let [straight, round] =
                [false, true].map(|is_turned| cost_of(costs, &turned, index, is_turned));
            turned[index] = round < straight;
        }
    }
    turned
}

fn is_settled(costs: &[Vec<[f64; 2]>], turned: &[bool], free: impl Fn(usize) -> bool) -> bool {
    let links = turned.len() * (turned.len() - 1);
    let fits = total(costs, turned) / links as f64 <= FIT_DEG_MAX * FIT_DEG_MAX;
    let floor = FIT_DEG_MAX * FIT_DEG_MAX * turned.len() as f64;
    let is_plain = |index: usize| {
        let [now, other] = [turned[index], !turned[index]]
            .map(|is_turned| cost_of(costs, turned, index, is_turned));
        other > WORSE_BY * now.max(floor)
    };
    fits && (0..turned.len()).filter(|&index| free(index)).all(is_plain)
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

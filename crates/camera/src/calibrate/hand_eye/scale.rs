//! How long the squares of the board really are, as a share of what was said.
//!
//! The length of a square scales where the board is seen, and turns nothing. With the rotation of
//! the camera known, positions, board and scale stand in linear equations: at each stop the board
//! is where it always is.

use nalgebra::{DMatrix, DVector, Vector3};

use super::jackknife::deviation;
use super::model::{HandEye, HandEyePair, Setup, stops};

/// The factor for the positions in which the board was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoardScale {
    pub scale: f64,
    /// Its standard deviation, from leaving stops out.
    pub std: f64,
}

/// Fewer stops leave nothing to judge the scale by.
const SCALE_STOPS_MIN: usize = 5;
/// Arms themselves are this exact, as a share of what they move.
const OFF_MIN: f64 = 0.005;
/// A scale is believed from so many standard deviations on.
const SIGMAS_MIN: f64 = 4.0;

impl BoardScale {
    /// Whether the squares certainly have another length than was said.
    pub fn is_off(&self) -> bool {
        let off = (self.scale - 1.0).abs();
        off > OFF_MIN && off > SIGMAS_MIN * self.std
    }
}

/// Fits the scale, by the rotation of a solution. Returns `None` where the motion does not tell.
pub(crate) fn fit(hand_eye: &HandEye, pairs: &[HandEyePair]) -> Option<BoardScale> {
    let stops = stops(pairs);
    if stops.len() < SCALE_STOPS_MIN {
        return None;
    }
    let scale = solve(hand_eye, pairs.iter())?;
    let without: Option<Vec<f64>> = (stops.iter())
        .map(|left_out| {
            let others = pairs.iter().enumerate().filter(|(index, _)| !left_out.contains(index));
            solve(hand_eye, others.map(|(_, pair)| pair))
        })
        .collect();
    let without = without?;
    let mean = without.iter().sum::<f64>() / without.len() as f64;
    let square: f64 = without.iter().map(|scale| (scale - mean).powi(2)).sum();
    let std = deviation(square, without.len());
    (scale.is_finite() && std.is_finite()).then_some(BoardScale { scale, std })
}

/// The camera's position, the board's, and the scale, by least squares: with the eye in hand
/// `R_arm camera + scale R_arm R_camera seen - board = -arm`, else with the arm's inverse.
fn solve<'a>(hand_eye: &HandEye, pairs: impl Iterator<Item = &'a HandEyePair>) -> Option<f64> {
    let (mut rows, mut right) = (Vec::new(), Vec::new());
    for pair in pairs {
        let arm = match hand_eye.setup {
            Setup::EyeInHand => pair.base_from_gripper,
            Setup::EyeToHand => pair.base_from_gripper.inverse(),
        };
        let turn = arm.rotation.to_rotation_matrix();
        let seen: Vector3<f64> = arm.rotation
            * (hand_eye.parent_from_camera.rotation * pair.camera_from_board.translation.vector);
        for axis in 0..3 {
            let mut row = [0.0; 7];
            for column in 0..3 {
                row[column] = turn[(axis, column)];
            }
            row[3 + axis] = -1.0;
            row[6] = seen[axis];
            rows.push(row);
            right.push(-arm.translation.vector[axis]);
        }
    }
    let matrix = DMatrix::from_fn(rows.len(), 7, |row, column| rows[row][column]);
    let parts = matrix.svd(true, true);
    let largest = parts.singular_values.max();
    if parts.singular_values.min() < 1e-6 * largest {
        return None;
    }
    parts.solve(&DVector::from_vec(right), 0.0).ok().map(|solved| solved[6])
}

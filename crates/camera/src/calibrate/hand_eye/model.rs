//! Poses of arm, camera and board, and how well they fit together.
//!
//! # Conventions
//!
//! | setup | camera's parent | board's parent | what is constant |
//! |---|---|---|---|
//! | eye in hand | gripper | base | `base_from_gripper * gripper_from_camera * camera_from_board` |
//! | eye to hand | base | gripper | `base_from_gripper^-1 * base_from_camera * camera_from_board` |

use nalgebra::{Isometry3, Point3, Vector3};

use crate::calibrate::board::View;

/// Fewer stops do not determine a calibration with anything left to judge it by.
pub(crate) const STOPS_MIN: usize = 4;
/// Arms come back to a stop more closely than this, and new stops are further away.
const SAME_STOP_M: f64 = 0.002;
const SAME_STOP_RAD: f64 = 0.5 / 180.0 * std::f64::consts::PI;

/// Where the camera is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// The camera is on the arm.
    EyeInHand,
    /// The camera is fixed in the cell; the arm holds the board.
    EyeToHand,
}

/// What arm and camera say at one stop of the arm.
#[derive(Clone, Debug, PartialEq)]
pub struct HandEyePair {
    pub base_from_gripper: Isometry3<f64>,
    pub camera_from_board: Isometry3<f64>,
    /// The board in the picture, where there is one.
    pub view: Option<View>,
}

/// What hand-eye calibration finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HandEye {
    pub setup: Setup,
    /// `gripper_from_camera` with the eye in hand, else `base_from_camera`.
    pub parent_from_camera: Isometry3<f64>,
    /// `base_from_board` with the eye in hand, else `gripper_from_board`.
    pub parent_from_board: Isometry3<f64>,
}

/// How far the board seems to be from where it is: in one place in base or, when the arm holds it,
/// where the arm has it.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Spread {
    pub rms_mm: f64,
    pub max_mm: f64,
    pub rms_deg: f64,
    pub max_deg: f64,
}

/// A pose as it was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawPose {
    /// The pose as it was understood.
    pub pose: Isometry3<f64>,
    /// The rotation vector, taken for radians, where the pose was given as one.
    pub rotation_vector: Option<Vector3<f64>>,
}

impl From<Isometry3<f64>> for RawPose {
    fn from(pose: Isometry3<f64>) -> RawPose {
        RawPose { pose, rotation_vector: None }
    }
}

impl HandEye {
    /// Returns where the board is in base, as the camera sees it.
    pub fn base_from_board_seen(&self, pair: &HandEyePair) -> Isometry3<f64> {
        let camera_in_base = match self.setup {
            Setup::EyeInHand => pair.base_from_gripper * self.parent_from_camera,
            Setup::EyeToHand => self.parent_from_camera,
        };
        camera_in_base * pair.camera_from_board
    }

    /// Returns where the board is in base, as the arm has it.
    pub fn base_from_board_known(&self, pair: &HandEyePair) -> Isometry3<f64> {
        match self.setup {
            Setup::EyeInHand => self.parent_from_board,
            Setup::EyeToHand => pair.base_from_gripper * self.parent_from_board,
        }
    }

    /// Returns where the camera must see the board.
    pub(crate) fn camera_from_board(&self, base_from_gripper: &Isometry3<f64>) -> Isometry3<f64> {
        match self.setup {
            Setup::EyeInHand => {
                (base_from_gripper * self.parent_from_camera).inverse() * self.parent_from_board
            }
            Setup::EyeToHand => {
                self.parent_from_camera.inverse() * base_from_gripper * self.parent_from_board
            }
        }
    }

    /// Returns the distance between the two in millimetres and degrees.
    pub(crate) fn error(&self, pair: &HandEyePair, center_in_board: &Point3<f64>) -> [f64; 2] {
        let (seen, known) = (self.base_from_board_seen(pair), self.base_from_board_known(pair));
        let off_m = (seen * center_in_board - known * center_in_board).norm();
        [1000.0 * off_m, seen.rotation.angle_to(&known.rotation).to_degrees()]
    }

    pub(crate) fn spread(&self, pairs: &[HandEyePair]) -> Spread {
        let center = center_in_board(pairs);
        let errors: Vec<_> = pairs.iter().map(|pair| self.error(pair, &center)).collect();
        Spread::of(&errors)
    }
}

impl Spread {
    pub(crate) fn of(errors: &[[f64; 2]]) -> Spread {
        let rms = |axis: usize| {
            let sum: f64 = errors.iter().map(|error| error[axis] * error[axis]).sum();
            (sum / errors.len() as f64).sqrt()
        };
        let max = |axis: usize| errors.iter().map(|error| error[axis]).fold(0.0, f64::max);
        Spread { rms_mm: rms(0), max_mm: max(0), rms_deg: rms(1), max_deg: max(1) }
    }
}

/// The pairs of each stop: those whose arm stands where another one's does. Pictures that are taken
/// twice share one stop's error, and tell nothing new about it.
pub(crate) fn stops(pairs: &[HandEyePair]) -> Vec<Vec<usize>> {
    let mut stops: Vec<Vec<usize>> = Vec::new();
    for (index, pair) in pairs.iter().enumerate() {
        let is_here = |stop: &&mut Vec<usize>| {
            is_same_stop(&pairs[stop[0]].base_from_gripper, &pair.base_from_gripper)
        };
        match stops.iter_mut().find(is_here) {
            Some(stop) => stop.push(index),
            None => stops.push(vec![index]),
        }
    }
    stops
}

/// Whether the arm stands where it did.
pub(crate) fn is_same_stop(there: &Isometry3<f64>, here: &Isometry3<f64>) -> bool {
    (there.translation.vector - here.translation.vector).norm() < SAME_STOP_M
        && there.rotation.angle_to(&here.rotation) < SAME_STOP_RAD
}

/// Returns the centroid of what was seen of the board, else its origin.
pub(crate) fn center_in_board(pairs: &[HandEyePair]) -> Point3<f64> {
    let views = pairs.iter().filter_map(|pair| pair.view.as_ref());
    let points: Vec<_> = views.flat_map(|view| &view.points).map(|p| p.in_board.coords).collect();
    if points.is_empty() {
        return Point3::origin();
    }
    Point3::from(points.iter().sum::<Vector3<f64>>() / points.len() as f64)
}

//! OpenCV's closed solutions of the hand-eye problem.
//!
//! Foreign names are translated here: OpenCV's `R_gripper2base` is our `base_from_gripper`, its
//! `R_target2cam` our `camera_from_board`, its `R_cam2gripper` our `gripper_from_camera`. For a
//! camera that is fixed in the cell the arm's poses go in inverted, and `base_from_camera` comes
//! out (OpenCV `calib3d`, `calibrateHandEye`).

use std::fmt;

use opencv::calib3d::{self, HandEyeCalibrationMethod, RobotWorldHandEyeCalibrationMethod};
use opencv::core::{Mat, Vector};

use super::mean::mean_pose;
use super::model::{HandEye, HandEyePair, Setup};
use crate::calibrate::matrices::{CvResult, pose_of, rotation_mat, translation_mat};

/// A closed solution, by the names of those who found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Solver {
    Tsai,
    Park,
    Horaud,
    Andreff,
    Daniilidis,
    Shah,
    Li,
}

impl Solver {
    pub const ALL: [Solver; 7] = [
        Solver::Tsai,
        Solver::Park,
        Solver::Horaud,
        Solver::Andreff,
        Solver::Daniilidis,
        Solver::Shah,
        Solver::Li,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Solver::Tsai => "Tsai",
            Solver::Park => "Park",
            Solver::Horaud => "Horaud",
            Solver::Andreff => "Andreff",
            Solver::Daniilidis => "Daniilidis",
            Solver::Shah => "Shah",
            Solver::Li => "Li",
        }
    }

    /// Returns `None` if the solver finds no rigid transform.
    pub(crate) fn solve(self, setup: Setup, pairs: &[HandEyePair]) -> Option<HandEye> {
        match self {
            Solver::Tsai => hand_eye(setup, pairs, HandEyeCalibrationMethod::CALIB_HAND_EYE_TSAI),
            Solver::Park => hand_eye(setup, pairs, HandEyeCalibrationMethod::CALIB_HAND_EYE_PARK),
            Solver::Horaud => {
                hand_eye(setup, pairs, HandEyeCalibrationMethod::CALIB_HAND_EYE_HORAUD)
            }
            Solver::Andreff => {
                hand_eye(setup, pairs, HandEyeCalibrationMethod::CALIB_HAND_EYE_ANDREFF)
            }
            Solver::Daniilidis => {
                hand_eye(setup, pairs, HandEyeCalibrationMethod::CALIB_HAND_EYE_DANIILIDIS)
            }
            Solver::Shah => robot_world(
                setup,
                pairs,
                RobotWorldHandEyeCalibrationMethod::CALIB_ROBOT_WORLD_HAND_EYE_SHAH,
            ),
            Solver::Li => robot_world(
                setup,
                pairs,
                RobotWorldHandEyeCalibrationMethod::CALIB_ROBOT_WORLD_HAND_EYE_LI,
            ),
        }
        // OpenCV throws on motions that its solvers cannot use.
        .ok()
        .flatten()
    }
}

impl fmt::Display for Solver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

type Mats = (Vector<Mat>, Vector<Mat>);

fn mats(poses: impl Iterator<Item = nalgebra::Isometry3<f64>>) -> CvResult<Mats> {
    let (mut rotations, mut translations) = (Vector::new(), Vector::new());
    for pose in poses {
        rotations.push(rotation_mat(&pose)?);
        translations.push(translation_mat(&pose)?);
    }
    Ok((rotations, translations))
}

fn hand_eye(
    setup: Setup,
    pairs: &[HandEyePair],
    method: HandEyeCalibrationMethod,
) -> CvResult<Option<HandEye>> {
    let arm = |pair: &HandEyePair| match setup {
        Setup::EyeInHand => pair.base_from_gripper,
        Setup::EyeToHand => pair.base_from_gripper.inverse(),
    };
    let (arm_rotations, arm_translations) = mats(pairs.iter().map(arm))?;
    let (board_rotations, board_translations) =
        mats(pairs.iter().map(|pair| pair.camera_from_board))?;
    let (mut rotation, mut translation) = (Mat::default(), Mat::default());
    calib3d::calibrate_hand_eye(
        &arm_rotations,
        &arm_translations,
        &board_rotations,
        &board_translations,
        &mut rotation,
        &mut translation,
        method,
    )?;
    let Some(parent_from_camera) = pose_of(&rotation, &translation)? else { return Ok(None) };
    let board: Vec<_> = pairs
        .iter()
        .map(|pair| match setup {
            Setup::EyeInHand => {
                pair.base_from_gripper * parent_from_camera * pair.camera_from_board
            }
            Setup::EyeToHand => {
                pair.base_from_gripper.inverse() * parent_from_camera * pair.camera_from_board
            }
        })
        .collect();
    Ok(Some(HandEye { setup, parent_from_camera, parent_from_board: mean_pose(&board) }))
}

fn robot_world(
    setup: Setup,
    pairs: &[HandEyePair],
    method: RobotWorldHandEyeCalibrationMethod,
) -> CvResult<Option<HandEye>> {
    let arm = |pair: &HandEyePair| match setup {
        Setup::EyeInHand => pair.base_from_gripper.inverse(),
        Setup::EyeToHand => pair.base_from_gripper,
    };
    let (board_rotations, board_translations) =
        mats(pairs.iter().map(|pair| pair.camera_from_board))?;
    let (arm_rotations, arm_translations) = mats(pairs.iter().map(arm))?;
    let (mut board_rotation, mut board_translation) = (Mat::default(), Mat::default());
    let (mut camera_rotation, mut camera_translation) = (Mat::default(), Mat::default());
    calib3d::calibrate_robot_world_hand_eye(
        &board_rotations,
        &board_translations,
        &arm_rotations,
        &arm_translations,
        &mut board_rotation,
        &mut board_translation,
        &mut camera_rotation,
        &mut camera_translation,
        method,
    )?;
    let camera_from_parent = pose_of(&camera_rotation, &camera_translation)?;
    let board_from_other = pose_of(&board_rotation, &board_translation)?;
    Ok(camera_from_parent.zip(board_from_other).map(|(camera_from_parent, board_from_other)| {
        HandEye {
            setup,
            parent_from_camera: camera_from_parent.inverse(),
            parent_from_board: board_from_other.inverse(),
        }
    }))
}

#[cfg(test)]
mod tests {
    use nalgebra::{Isometry3, Vector3};

    use super::*;

    fn pose(translation: [f64; 3], rotation: [f64; 3]) -> Isometry3<f64> {
        Isometry3::new(Vector3::from(translation), Vector3::from(rotation))
    }

    /// Where the arm stops: the gripper looks down, from everywhere around the board.
    fn stops() -> impl Iterator<Item = Isometry3<f64>> {
        (0..12_u8).map(|stop| {
            let angle = 2.4 * f64::from(stop);
            let tilt = 0.15 + 0.03 * f64::from(stop % 5);
            let above = [0.5 + 0.1 * angle.cos(), 0.1 * angle.sin(), 0.3 + 0.02 * f64::from(stop)];
            let down = pose([0.0; 3], [std::f64::consts::PI, 0.0, 0.0]);
            let aside = pose([0.0; 3], [tilt * angle.cos(), tilt * angle.sin(), 0.5 * angle.sin()]);
            pose(above, [0.0; 3]) * down * aside
        })
    }

    /// Pairs without noise have one solution, and every solver finds it.
    fn check_exact_pairs(hand_eye: &HandEye) {
        let pairs: Vec<HandEyePair> = stops()
            .map(|base_from_gripper| HandEyePair {
                base_from_gripper,
                camera_from_board: hand_eye.camera_from_board(&base_from_gripper),
                view: None,
            })
            .collect();
        for solver in Solver::ALL {
            let found = solver.solve(hand_eye.setup, &pairs).unwrap();
            let spread = found.spread(&pairs);
            assert!(spread.max_mm < 1e-6 && spread.max_deg < 1e-6, "{solver}: {spread:?}");
            let moved = hand_eye.parent_from_camera.inverse() * found.parent_from_camera;
            assert!(moved.translation.vector.norm() < 1e-9, "{solver}: {moved}");
            assert!(moved.rotation.angle() < 1e-7, "{solver}: {moved}");
        }
    }

    #[test]
    fn exact_pairs_of_a_camera_on_the_arm_have_no_spread_with_any_solver() {
        check_exact_pairs(&HandEye {
            setup: Setup::EyeInHand,
            parent_from_camera: pose([0.05, -0.02, 0.08], [0.1, 0.0, 1.6]),
            parent_from_board: pose([0.55, 0.05, 0.0], [std::f64::consts::PI, 0.0, 0.3]),
        });
    }

    #[test]
    fn exact_pairs_of_a_fixed_camera_have_no_spread_with_any_solver() {
        check_exact_pairs(&HandEye {
            setup: Setup::EyeToHand,
            parent_from_camera: pose([0.9, 0.3, 0.9], [2.2, 1.1, 0.4]),
            parent_from_board: pose([0.02, 0.01, 0.1], [0.2, -0.1, 0.7]),
        });
    }
}

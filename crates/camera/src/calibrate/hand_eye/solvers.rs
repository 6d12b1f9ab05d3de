//! OpenCV's closed solutions of the hand-eye problem.
//!
//! Foreign names are translated here: OpenCV's `R_gripper2base` is our `base_from_gripper`, its
//! `R_target2cam` our `camera_from_board`, its `R_cam2gripper` our `gripper_from_camera`. For a
//! camera that is fixed in the cell the arm's poses go in inverted, and `base_from_camera` comes
//! out (OpenCV `calib3d`, `calibrateHandEye`).

use std::fmt;

use opencv::calib3d::{self, HandEyeCalibrationMethod, RobotWorldHandEyeCalibrationMethod};
use opencv::core::{Mat, Vector};

use super::model::{HandEye, HandEyePair, Setup, mean_pose};
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

//! One stop of the arm: its pose, and the board in the picture that was taken there.

use magpie_perception::CameraInfo;
use nalgebra::Isometry3;

use super::model::HandEyePair;
use crate::calibrate::board::View;
use crate::calibrate::errors::{CalibrateError, Mismatch};
use crate::calibrate::pose::board_pose;

/// Why a picture tells nothing about where the board is.
#[derive(Debug, thiserror::Error)]
pub enum NoStop {
    #[error("no board found")]
    NoBoard,
    #[error("{0}")]
    Mismatch(Mismatch),
    #[error("the board reaches out of the picture, or is covered")]
    Cut,
    #[error(transparent)]
    Pose(#[from] CalibrateError),
}

impl HandEyePair {
    /// `view` is what [`detect`](crate::calibrate::detect) found in the picture.
    pub fn at_stop(
        base_from_gripper: Isometry3<f64>,
        view: Option<View>,
        info: &CameraInfo,
    ) -> Result<HandEyePair, NoStop> {
        let view = view.ok_or(NoStop::NoBoard)?;
        if let Some(mismatch) = view.mismatch {
            return Err(NoStop::Mismatch(mismatch));
        }
        if view.points.is_empty() {
            return Err(NoStop::Cut);
        }
        let camera_from_board = board_pose(&view.points, info)?.camera_from_board;
        Ok(HandEyePair { base_from_gripper, camera_from_board, view: Some(view) })
    }

    /// Whether the arm stands where it did: pictures from there share one stop's error.
    pub fn is_at_stop_of(&self, other: &HandEyePair) -> bool {
        super::model::is_same_stop(&self.base_from_gripper, &other.base_from_gripper)
    }
}

//! Where a board is, from one picture.

use magpie_perception::CameraInfo;
use nalgebra::Isometry3;
use opencv::calib3d;
use opencv::core::Mat;

use super::board::BoardPoint;
use super::errors::CalibrateError;
use super::matrices::{camera_matrix, distortion, isometry, objects_f64, pixels, vector3};

/// A board's pose and how well it explains what was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoardPose {
    pub camera_from_board: Isometry3<f64>,
    pub rms_px: f64,
}

/// Solves with OpenCV's `solvePnP` and refines with Levenberg-Marquardt. Six points are needed, or
/// four on a plane.
pub fn board_pose(points: &[BoardPoint], info: &CameraInfo) -> Result<BoardPose, CalibrateError> {
    let no_pose = || CalibrateError::NoPose { points: points.len() };
    let is_flat = points.iter().all(|point| point.in_board.z.abs() < 1e-9);
    if points.len() < if is_flat { 4 } else { 6 } {
        return Err(no_pose());
    }
    let (objects, seen) = (objects_f64(points), pixels(points));
    let (camera, lens) = (camera_matrix(info)?, distortion(info)?);
    // For a plane there are two poses that look alike: IPPE finds both, and gives the better.
    let method = if is_flat { calib3d::SOLVEPNP_IPPE } else { calib3d::SOLVEPNP_SQPNP };
    let (mut rotation, mut translation) = (Mat::default(), Mat::default());
    let solved = calib3d::solve_pnp(
        &objects,
        &seen,
        &camera,
        &lens,
        &mut rotation,
        &mut translation,
        false,
        method,
    )?;
    if !solved {
        return Err(no_pose());
    }
    calib3d::solve_pnp_refine_lm_def(
        &objects,
        &seen,
        &camera,
        &lens,
        &mut rotation,
        &mut translation,
    )?;
    let camera_from_board = isometry(&vector3(&rotation)?, &vector3(&translation)?);
    let rms_px = reprojection_rms_px(points, info, &camera_from_board).ok_or_else(no_pose)?;
    Ok(BoardPose { camera_from_board, rms_px })
}

/// Returns the root of the mean squared distance, per point; `None` if a point lies behind the
/// camera.
pub(crate) fn reprojection_rms_px(
    points: &[BoardPoint],
    info: &CameraInfo,
    camera_from_board: &Isometry3<f64>,
) -> Option<f64> {
    let mut sum = 0.0;
    for point in points {
        sum += (info.project(&(camera_from_board * point.in_board))? - point.px).norm_squared();
    }
    Some((sum / points.len() as f64).sqrt()).filter(|rms| rms.is_finite())
}

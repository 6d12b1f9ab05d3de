//! Where a board is, from one picture.

use magpie_perception::{CameraInfo, Distortion};
use nalgebra::{DVector, Isometry3, Vector3};
use opencv::calib3d;
use opencv::core::{CV_64F, Mat, Point2d, Vector};
use opencv::prelude::*;

use super::board::BoardPoint;
use super::errors::CalibrateError;
use super::least_squares::minimise;
use super::matrices::{camera_matrix, distortion, isometry, objects_f64, vector3};

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
    let objects = objects_f64(points);
    let is_fisheye = matches!(info.distortion, Distortion::Equidistant(_));
    // OpenCV's solvers know no fisheye lens: they are given rays, as a lens of 1 px sees them.
    let (seen, camera, lens) = if is_fisheye {
        let rays = points.iter().map(|point| info.ray(point.px.x, point.px.y));
        let seen = rays.map(|ray| Point2d::new(ray.x, ray.y)).collect();
        (seen, Mat::eye(3, 3, CV_64F)?.to_mat()?, Mat::default())
    } else {
        let seen = points.iter().map(|point| Point2d::new(point.px.x, point.px.y)).collect();
        (seen, camera_matrix(info)?, distortion(info)?)
    };
    let seen: Vector<Point2d> = seen;
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
    let mut camera_from_board = isometry(&vector3(&rotation)?, &vector3(&translation)?);
    if is_fisheye {
        camera_from_board =
            refine_in_pixels(points, info, &camera_from_board).ok_or_else(no_pose)?;
    }
    let rms_px = reprojection_rms_px(points, info, &camera_from_board).ok_or_else(no_pose)?;
    Ok(BoardPose { camera_from_board, rms_px })
}

/// Rays weigh what lies aside many times as much as what lies ahead; pixels are as good everywhere.
fn refine_in_pixels(
    points: &[BoardPoint],
    info: &CameraInfo,
    start: &Isometry3<f64>,
) -> Option<Isometry3<f64>> {
    let moved = |p: &DVector<f64>| {
        start * Isometry3::new(Vector3::new(p[0], p[1], p[2]), Vector3::new(p[3], p[4], p[5]))
    };
    let residuals = |parameters: &DVector<f64>| {
        let pose = moved(parameters);
        let off = |point: &BoardPoint| {
            let px = info.project(&(pose * point.in_board))? - point.px;
            Some([px.x, px.y])
        };
        let values: Option<Vec<[f64; 2]>> = points.iter().map(off).collect();
        Some(DVector::from_vec(values?.concat()))
    };
    minimise(6, residuals).map(|parameters| moved(&parameters))
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

#[cfg(test)]
mod tests {
    use magpie_perception::Intrinsics;
    use nalgebra::Point3;

    use super::*;

    /// A pose, the pixels that it gives by our lens, and the pose back; OpenCV puts the same points
    /// on the same pixels.
    fn check(distortion: Distortion) {
        let info = CameraInfo {
            camera_name: "test".into(),
            frame_id: "test".into(),
            width_px: 1280,
            height_px: 960,
            intrinsics: Intrinsics { fx_px: 500.0, fy_px: 505.0, cx_px: 630.0, cy_px: 470.0 },
            distortion,
        };
        let pose = Isometry3::new(Vector3::new(0.1, -0.08, 0.3), Vector3::new(0.3, -0.4, 0.2));
        let points: Vec<BoardPoint> = (0..35_u8)
            .map(|id| {
                let in_board = Point3::new(0.03 * f64::from(id % 7), 0.03 * f64::from(id / 7), 0.0);
                let px = info.project(&(pose * in_board)).unwrap();
                BoardPoint { id: id.into(), in_board, px }
            })
            .collect();
        let found = board_pose(&points, &info).unwrap();
        let off = pose.inverse() * found.camera_from_board;
        assert!(off.translation.vector.norm() < 1e-8, "{off}");
        assert!(off.rotation.angle() < 1e-7 && found.rms_px < 1e-4, "{off}: {}", found.rms_px);
        for (ours, theirs) in points.iter().zip(project_by_opencv(&points, &info, &pose)) {
            assert!((ours.px.x - theirs.x).hypot(ours.px.y - theirs.y) < 1e-6, "{distortion:?}");
        }
    }

    fn project_by_opencv(
        points: &[BoardPoint],
        info: &CameraInfo,
        pose: &Isometry3<f64>,
    ) -> Vector<Point2d> {
        let (r, t) = (pose.rotation.scaled_axis(), pose.translation.vector);
        let rotation = Mat::from_slice_2d(&[[r.x], [r.y], [r.z]]).unwrap();
        let translation = Mat::from_slice_2d(&[[t.x], [t.y], [t.z]]).unwrap();
        let (camera, lens) = (camera_matrix(info).unwrap(), distortion(info).unwrap());
        let (objects, mut pixels) = (objects_f64(points), Vector::new());
        if matches!(info.distortion, Distortion::Equidistant(_)) {
            calib3d::fisheye_project_points_vec_def(
                &objects,
                &mut pixels,
                &rotation,
                &translation,
                &camera,
                &lens,
            )
            .unwrap();
        } else {
            calib3d::project_points_def(
                &objects,
                &rotation,
                &translation,
                &camera,
                &lens,
                &mut pixels,
            )
            .unwrap();
        }
        pixels
    }

    #[test]
    fn a_board_is_where_its_pixels_say_through_every_kind_of_lens() {
        check(Distortion::default());
        check(Distortion::plumb_bob([-0.2, 0.05, 0.001, -0.002, 0.01]));
        check(Distortion::Polynomial([0.5, -2.7, 0.0006, -0.0002, 1.6, 0.4, -2.5, 1.5]));
        check(Distortion::Equidistant([-0.008, 0.045, -0.042, 0.008]));
    }
}

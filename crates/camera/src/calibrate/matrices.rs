//! Our geometry to OpenCV's matrices and back.

use magpie_perception::{CameraInfo, nearest_rotation};
use nalgebra::{Isometry3, Matrix3, Point2, Translation3, Vector3};
use opencv::core::{CV_64F, Mat, Point2f, Point3d, Point3f, Vector};
use opencv::prelude::*;

use super::board::BoardPoint;

pub(crate) type CvResult<T> = Result<T, opencv::Error>;

/// Returns f64 3x3.
pub(crate) fn camera_matrix(info: &CameraInfo) -> CvResult<Mat> {
    let k = &info.intrinsics;
    Mat::from_slice_2d(&[[k.fx_px, 0.0, k.cx_px], [0.0, k.fy_px, k.cy_px], [0.0, 0.0, 1.0]])
}

/// Returns f64 1x5 or 1x8.
pub(crate) fn distortion(info: &CameraInfo) -> CvResult<Mat> {
    Mat::from_slice_2d(&[info.distortion.coefficients()])
}

#[expect(clippy::cast_possible_truncation, reason = "OpenCV's detectors deliver f32")]
pub(crate) fn point2f(point: Point2<f64>) -> Point2f {
    Point2f::new(point.x as f32, point.y as f32)
}

pub(crate) fn pixels(points: &[BoardPoint]) -> Vector<Point2f> {
    points.iter().map(|point| point2f(point.px)).collect()
}

pub(crate) fn objects(points: &[BoardPoint]) -> Vector<Point3f> {
    #[expect(clippy::cast_possible_truncation, reason = "what OpenCV's calibration takes")]
    let object = |point: &BoardPoint| {
        let at = point.in_board;
        Point3f::new(at.x as f32, at.y as f32, at.z as f32)
    };
    points.iter().map(object).collect()
}

pub(crate) fn objects_f64(points: &[BoardPoint]) -> Vector<Point3d> {
    points.iter().map(|p| Point3d::new(p.in_board.x, p.in_board.y, p.in_board.z)).collect()
}

/// Reads three numbers in a row or a column.
pub(crate) fn vector3(mat: &impl MatTraitConst) -> CvResult<Vector3<f64>> {
    let mut wide = Mat::default();
    mat.convert_to(&mut wide, CV_64F, 1.0, 0.0)?;
    let values = wide.reshape(1, 1)?.try_clone()?;
    let values = values.data_typed::<f64>()?;
    Ok(Vector3::new(values[0], values[1], values[2]))
}

/// Takes OpenCV's rotation vector and translation.
pub(crate) fn isometry(rotation: &Vector3<f64>, translation: &Vector3<f64>) -> Isometry3<f64> {
    Isometry3::new(*translation, *rotation)
}

/// Returns f64 3x3.
pub(crate) fn rotation_mat(pose: &Isometry3<f64>) -> CvResult<Mat> {
    let r = pose.rotation.to_rotation_matrix();
    let row = |i: usize| [r[(i, 0)], r[(i, 1)], r[(i, 2)]];
    Mat::from_slice_2d(&[row(0), row(1), row(2)])
}

/// Returns f64 3x1.
pub(crate) fn translation_mat(pose: &Isometry3<f64>) -> CvResult<Mat> {
    let t = pose.translation.vector;
    Mat::from_slice_2d(&[[t.x], [t.y], [t.z]])
}

/// Returns `None` if the rotation is none, as a solver leaves it that found nothing.
pub(crate) fn pose_of(rotation: &Mat, translation: &Mat) -> CvResult<Option<Isometry3<f64>>> {
    if rotation.rows() != 3 || rotation.cols() != 3 || translation.total() != 3 {
        return Ok(None);
    }
    let mut wide = Mat::default();
    rotation.convert_to(&mut wide, CV_64F, 1.0, 0.0)?;
    let matrix = Matrix3::from_row_slice(wide.data_typed::<f64>()?);
    let translation = vector3(translation)?;
    let rigid = (matrix * matrix.transpose() - Matrix3::identity()).norm() < 1e-3
        && translation.iter().all(|value| value.is_finite());
    let rotation = nearest_rotation(&matrix).filter(|_| rigid);
    Ok(rotation.map(|rotation| Isometry3::from_parts(Translation3::from(translation), rotation)))
}

/// Fits the projective map that takes `from` to `to`, and tells which points it holds for. With a
/// tolerance of 0 it is fitted to all points.
pub(crate) fn homography(
    from: &[Point2<f64>],
    to: &[Point2<f64>],
    tolerance: f64,
) -> CvResult<Option<(Matrix3<f64>, Vec<bool>)>> {
    let vector = |points: &[Point2<f64>]| -> Vector<Point2f> {
        points.iter().map(|&point| point2f(point)).collect()
    };
    let method = if tolerance > 0.0 { opencv::calib3d::RANSAC } else { 0 };
    let mut mask = Mat::default();
    let mat =
        opencv::calib3d::find_homography(&vector(from), &vector(to), &mut mask, method, tolerance)?;
    if mat.empty() {
        return Ok(None);
    }
    let matrix = Matrix3::from_row_slice(mat.data_typed::<f64>()?);
    let inliers = mask.data_typed::<u8>()?.iter().map(|&value| value != 0).collect();
    Ok(Some((matrix, inliers)))
}

pub(crate) fn apply(homography: &Matrix3<f64>, point: Point2<f64>) -> Point2<f64> {
    let mapped = homography * Vector3::new(point.x, point.y, 1.0);
    Point2::new(mapped.x / mapped.z, mapped.y / mapped.z)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_homography_of_exact_points_is_the_map_that_made_them() {
        let truth = Matrix3::new(1.2, -0.3, 5.0, 0.2, 0.9, -7.0, 1e-3, -2e-3, 1.0);
        let from: Vec<_> = (0..12_u8)
            .map(|i| Point2::new(10.0 * f64::from(i % 4), 12.0 * f64::from(i / 4)))
            .collect();
        let to: Vec<_> = from.iter().map(|point| apply(&truth, *point)).collect();
        for tolerance in [0.0, 1.0] {
            let (found, fits) = homography(&from, &to, tolerance).unwrap().unwrap();
            // OpenCV takes points with the digits of f32.
            assert!((found / found[(2, 2)] - truth).norm() < 1e-3, "{found}");
            assert!(tolerance == 0.0 || fits.iter().all(|&fits| fits));
        }
    }

    #[test]
    fn a_pose_survives_opencvs_matrices() {
        let pose = Isometry3::new(Vector3::new(0.1, 2.0, -0.3), Vector3::new(0.0, 0.0, 3.1));
        let mats = (rotation_mat(&pose).unwrap(), translation_mat(&pose).unwrap());
        let back = pose_of(&mats.0, &mats.1).unwrap().unwrap();
        assert!((back.to_homogeneous() - pose.to_homogeneous()).norm() < 1e-12);
        let same = isometry(&pose.rotation.scaled_axis(), &pose.translation.vector);
        assert!((same.to_homogeneous() - pose.to_homogeneous()).norm() < 1e-12);
    }
}

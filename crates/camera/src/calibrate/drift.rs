//! Whether the camera still hangs where it was calibrated, by a board or markers that are fixed in
//! its view.

use magpie_perception::{BgrImage, CameraInfo};
use nalgebra::{Isometry3, Point3, Vector3};

use super::board::{Board, BoardPoint};
use super::detect::{detect, view_of};
use super::errors::CalibrateError;
use super::pose::board_pose;

/// Where a fiducial point was when the reference was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferencePoint {
    pub id: usize,
    pub in_camera: Point3<f64>,
}

/// What drift is measured against: all of it is fixed in the cell, like the camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    pub board: Board,
    pub points: Vec<ReferencePoint>,
}

/// How far the camera moved since the reference was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drift {
    /// How far the fiducials seem to have moved: the largest over their points.
    pub displacement_mm: f64,
    pub rotation_deg: f64,
    /// How many fiducial points it was measured with.
    pub points: usize,
    pub rms_px: f64,
}

/// Fewer points say nothing.
const POINTS_MIN: usize = 6;
/// Points that do not lie as in the reference are something else.
const RMS_PX_MAX: f64 = 3.0;

/// Returns the fiducials of one picture, in the optical frame.
pub fn reference_points(
    image: &BgrImage,
    board: &Board,
    info: &CameraInfo,
) -> Result<Vec<ReferencePoint>, CalibrateError> {
    let view = view_of(image, board)?;
    let mut points = Vec::new();
    for body in bodies(board, &view.points) {
        let camera_from_board = board_pose(body, info)?.camera_from_board;
        points.extend(body.iter().map(|point| ReferencePoint {
            id: point.id,
            in_camera: camera_from_board * point.in_board,
        }));
    }
    Ok(points)
}

/// Splits the points into rigid bodies: a board is one, and each single marker is one.
fn bodies<'a>(board: &Board, points: &'a [BoardPoint]) -> Vec<&'a [BoardPoint]> {
    match board {
        Board::Markers { .. } => points.chunk_by(|a, b| a.id / 4 == b.id / 4).collect(),
        _ => vec![points],
    }
}

/// Measures drift. Returns `None` while too little of the reference is in view.
pub fn measure_drift(
    image: &BgrImage,
    reference: &Reference,
    info: &CameraInfo,
) -> Result<Option<Drift>, CalibrateError> {
    let Some(view) = detect(image, &reference.board)? else { return Ok(None) };
    // The reference's points are a rigid body in the optical frame of that time.
    let points: Vec<BoardPoint> = view
        .points
        .iter()
        .filter_map(|seen| {
            let known = reference.points.iter().find(|known| known.id == seen.id)?;
            Some(BoardPoint { id: seen.id, in_board: known.in_camera, px: seen.px })
        })
        .collect();
    if points.len() < POINTS_MIN {
        return Ok(None);
    }
    // Points in their own plane let the solver use that boards are flat.
    let camera_from_plane = plane_frame(&points);
    let local: Vec<BoardPoint> = points
        .iter()
        .map(|point| BoardPoint {
            in_board: flat(&camera_from_plane.inverse_transform_point(&point.in_board)),
            ..*point
        })
        .collect();
    let pose = board_pose(&local, info)?;
    if pose.rms_px > RMS_PX_MAX {
        return Ok(None);
    }
    let now_from_then = pose.camera_from_board * camera_from_plane.inverse();
    let moved = |point: &BoardPoint| (now_from_then * point.in_board - point.in_board).norm();
    Ok(Some(Drift {
        displacement_mm: 1000.0 * points.iter().map(moved).fold(0.0, f64::max),
        rotation_deg: now_from_then.rotation.angle().to_degrees(),
        points: points.len(),
        rms_px: pose.rms_px,
    }))
}

/// Rounding must not make a flat board look bent.
fn flat(point: &Point3<f64>) -> Point3<f64> {
    if point.z.abs() < 1e-6 { Point3::new(point.x, point.y, 0.0) } else { *point }
}

/// Returns a reference frame in the centroid of the points, z across their main plane.
fn plane_frame(points: &[BoardPoint]) -> Isometry3<f64> {
    let center = points.iter().map(|point| point.in_board.coords).sum::<Vector3<f64>>()
        / points.len() as f64;
    let scatter: nalgebra::Matrix3<f64> = points
        .iter()
        .map(|point| {
            (point.in_board.coords - center) * (point.in_board.coords - center).transpose()
        })
        .sum();
    let eigen = scatter.symmetric_eigen();
    let across = eigen.eigenvectors.column(eigen.eigenvalues.imin()).into_owned();
    let along = eigen.eigenvectors.column(eigen.eigenvalues.imax()).into_owned();
    let rotation = nalgebra::UnitQuaternion::face_towards(&across, &along);
    Isometry3::from_parts(center.into(), rotation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_of_points_lies_in_their_plane_and_is_right_handed() {
        let place = Isometry3::new(Vector3::new(0.1, -0.3, 0.9), Vector3::new(0.4, -2.0, 0.7));
        let points: Vec<BoardPoint> = (0..12_u8)
            .map(|id| {
                let in_board = Point3::new(0.03 * f64::from(id % 4), 0.02 * f64::from(id / 4), 0.0);
                BoardPoint {
                    id: id.into(),
                    in_board: place * in_board,
                    px: nalgebra::Point2::origin(),
                }
            })
            .collect();
        let frame = plane_frame(&points);
        for point in &points {
            let local = frame.inverse_transform_point(&point.in_board);
            assert!(local.z.abs() < 1e-12, "{local}");
        }
        let center = place * Point3::new(0.045, 0.02, 0.0);
        assert!((frame.translation.vector - center.coords).norm() < 1e-12);
        let matrix = frame.rotation.to_rotation_matrix().into_inner();
        assert!((matrix.determinant() - 1.0).abs() < 1e-12);
        assert!((matrix * matrix.transpose() - nalgebra::Matrix3::identity()).norm() < 1e-12);
    }
}

//! Chessboards without markers.

use nalgebra::Point2;
use opencv::calib3d;
use opencv::core::{Mat, Point2f, Size, Vector};
use opencv::prelude::*;

use super::board::{Board, BoardPoint};
use super::charuco::{Detection, refine_corner};
use super::errors::CalibrateError;
use super::matrices::CvResult;

pub(crate) fn detect(gray: &Mat, board: &Board) -> Result<Option<Detection>, CalibrateError> {
    let (corners_x, corners_y) = board.corners().expect("a chessboard has corners");
    let Some(mut corners) = find(gray, corners_x, corners_y)? else {
        return Ok(None);
    };
    if board.has_unique_orientation() && starts_bright(gray, &corners, corners_x)? {
        corners.reverse();
    }
    let point = |(id, px)| BoardPoint { id, in_board: board.corner_in_board(id), px };
    let points = corners.into_iter().enumerate().map(point).collect();
    Ok(Some(Detection { points, mismatch: None }))
}

/// Returns the inner corners each way of a chessboard of another size.
pub(crate) fn other_size(gray: &Mat, board: &Board) -> CvResult<Option<(usize, usize)>> {
    let Some((x, y)) = board.corners() else { return Ok(None) };
    // Squares are often counted for corners, so that is tried first.
    let others = [(x - 1, y - 1), (x + 1, y + 1), (x - 1, y), (x, y - 1), (x + 1, y), (x, y + 1)];
    for (corners_x, corners_y) in others.into_iter().filter(|&(x, y)| x.min(y) >= 3) {
        if find(gray, corners_x, corners_y)?.is_some() {
            return Ok(Some((corners_x, corners_y)));
        }
    }
    Ok(None)
}

fn find(gray: &Mat, corners_x: usize, corners_y: usize) -> CvResult<Option<Vec<Point2<f64>>>> {
    let side = |corners: usize| i32::try_from(corners).expect("checked to be small");
    let size = Size::new(side(corners_x), side(corners_y));
    let mut corners = Vector::<Point2f>::new();
    let flags = calib3d::CALIB_CB_NORMALIZE_IMAGE | calib3d::CALIB_CB_ACCURACY;
    if calib3d::find_chessboard_corners_sb(gray, size, &mut corners, flags)? {
        return Ok(Some(points(&corners)));
    }
    // The older detector finds boards without a white rim, which the newer one does not.
    let flags = calib3d::CALIB_CB_ADAPTIVE_THRESH
        | calib3d::CALIB_CB_NORMALIZE_IMAGE
        | calib3d::CALIB_CB_FAST_CHECK;
    if !calib3d::find_chessboard_corners(gray, size, &mut corners, flags)? {
        return Ok(None);
    }
    let rough = points(&corners);
    let mut fine = Vec::with_capacity(rough.len());
    for (index, &corner) in rough.iter().enumerate() {
        let right = if index % corners_x + 1 < corners_x { index + 1 } else { index - 1 };
        let down =
            if index + corners_x < rough.len() { index + corners_x } else { index - corners_x };
        let square_px = (rough[right] - corner).norm().min((rough[down] - corner).norm());
        fine.push(refine_corner(gray, corner, 0.4 * square_px)?.unwrap_or(corner));
    }
    Ok(Some(fine))
}

fn points(corners: &Vector<Point2f>) -> Vec<Point2<f64>> {
    corners.iter().map(|c| Point2::new(f64::from(c.x), f64::from(c.y))).collect()
}

/// Whether the first whole square inside the corners is brighter than its neighbour: the board is
/// then read from its other end.
fn starts_bright(gray: &Mat, corners: &[Point2<f64>], corners_x: usize) -> CvResult<bool> {
    let center = |column: usize| {
        let at = |i: usize| corners[i].coords;
        let sum = at(column) + at(column + 1) + at(column + corners_x) + at(column + corners_x + 1);
        Point2::from(sum / 4.0)
    };
    Ok(brightness(gray, center(0))? > brightness(gray, center(1))?)
}

/// Sums the pixel and its neighbours; outside of the picture they are 0.
fn brightness(gray: &Mat, at: Point2<f64>) -> CvResult<f64> {
    #[expect(clippy::cast_possible_truncation, reason = "pixels of an image")]
    let (x, y) = (at.x.round() as i32, at.y.round() as i32);
    let mut sum = 0.0;
    for (dx, dy) in [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)] {
        let inside = (0..gray.cols()).contains(&(x + dx)) && (0..gray.rows()).contains(&(y + dy));
        if inside {
            sum += f64::from(*gray.at_2d::<u8>(y + dy, x + dx)?);
        }
    }
    Ok(sum)
}

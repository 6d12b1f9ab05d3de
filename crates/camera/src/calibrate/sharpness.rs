//! How sharp a board is in a picture, from its own edges.
//!
//! Between two neighbouring corners runs an edge from black to white. Across its centre the
//! brightness is read, and the distance over which it rises from a tenth to nine tenths is the
//! edge's width. Unlike the variance of a Laplacian it does not depend on what else is in view.

use nalgebra::{Point2, Vector2};
use opencv::core::Mat;
use opencv::prelude::*;

use super::board::{Board, BoardPoint};
use super::matrices::CvResult;

/// A weaker edge is noise.
const CONTRAST_MIN: f64 = 20.0;
const STEP_PX: f64 = 0.25;

/// Returns the 80th percentile of the widths of edges: motion blurs only the edges across it.
pub(crate) fn edge_width_px(
    gray: &Mat,
    board: &Board,
    points: &[BoardPoint],
) -> CvResult<Option<f64>> {
    let Some((corners_x, _)) = board.corners() else { return Ok(None) };
    let margin = match *board {
        Board::Charuco { square_length_m, marker_length_m, .. } => {
            (1.0 - marker_length_m / square_length_m) / 2.0
        }
        _ => 0.5,
    };
    let mut widths = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let neighbours = points[index + 1..].iter().filter(|other| {
            let is_right = other.id == point.id + 1 && other.id % corners_x != 0;
            is_right || other.id == point.id + corners_x
        });
        for other in neighbours {
            widths.extend(edge_width(gray, point.px, other.px, margin)?);
        }
    }
    widths.sort_by(f64::total_cmp);
    Ok(widths.get(widths.len() * 4 / 5).copied())
}

/// Measures across the centre of the edge from `a` to `b`, no further than `margin` of its length.
fn edge_width(gray: &Mat, a: Point2<f64>, b: Point2<f64>, margin: f64) -> CvResult<Option<f64>> {
    let along = b - a;
    let reach_px = (0.9 * margin * along.norm()).min(15.0);
    if reach_px < 2.0 {
        return Ok(None);
    }
    let across = Vector2::new(-along.y, along.x).normalize();
    let center = nalgebra::center(&a, &b);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most 120")]
    let samples = (2.0 * reach_px / STEP_PX) as usize + 1;
    let mut profile = Vec::with_capacity(samples);
    for sample in 0..samples {
        let at = center + across * (sample as f64 * STEP_PX - reach_px);
        let Some(value) = bilinear(gray, at)? else { return Ok(None) };
        profile.push(value);
    }
    if profile[0] > profile[samples - 1] {
        profile.reverse();
    }
    let (dark, bright) = (profile[0], profile[samples - 1]);
    if bright - dark < CONTRAST_MIN {
        return Ok(None);
    }
    let crossing = |share: f64| {
        let level = dark + share * (bright - dark);
        profile.iter().position(|&value| value >= level).unwrap_or(samples - 1) as f64
    };
    Ok(Some((crossing(0.9) - crossing(0.1)) * STEP_PX))
}

fn bilinear(gray: &Mat, at: Point2<f64>) -> CvResult<Option<f64>> {
    let (x, y) = (at.x.floor(), at.y.floor());
    let inside = x >= 0.0
        && y >= 0.0
        && x + 1.0 < f64::from(gray.cols())
        && y + 1.0 < f64::from(gray.rows());
    if !inside {
        return Ok(None);
    }
    #[expect(clippy::cast_possible_truncation, reason = "pixels of an image")]
    let (column, row) = (x as i32, y as i32);
    let value = |dx: i32, dy: i32| -> CvResult<f64> {
        Ok(f64::from(*gray.at_2d::<u8>(row + dy, column + dx)?))
    };
    let (fx, fy) = (at.x - x, at.y - y);
    let top = value(0, 0)? * (1.0 - fx) + value(1, 0)? * fx;
    let bottom = value(0, 1)? * (1.0 - fx) + value(1, 1)? * fx;
    Ok(Some(top * (1.0 - fy) + bottom * fy))
}

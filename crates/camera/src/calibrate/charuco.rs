//! Markers, and the chessboard corners between them.
//!
//! The corners are interpolated here rather than by OpenCV: which squares carry the markers of a
//! board with an even number of rows changed with OpenCV 4.6, and both kinds hang on walls.

use nalgebra::{Matrix3, Point2, Point3};
use opencv::aruco;
use opencv::core::{Mat, Point2f, Size, TermCriteria, TermCriteria_Type, Vector};
use opencv::imgproc;
use opencv::prelude::*;

use super::board::{Board, BoardPoint};
use super::dictionary::Dictionary;
use super::errors::{CalibrateError, Mismatch};
use super::matrices::{CvResult, apply, homography, point2f};

/// What a detector finds of a board.
pub(crate) struct Detection {
    pub(crate) points: Vec<BoardPoint>,
    /// How the board differs from its description, if it does.
    pub(crate) mismatch: Option<Mismatch>,
    /// See [`View::ends_seen`](super::board::View::ends_seen).
    pub(crate) ends_seen: bool,
}

/// A single marker is too easily imagined.
const MARKERS_MIN: usize = 2;
/// A lens bends a board away from a plane's picture by less than this share of its extent.
const BENT_SHARE_MAX: f64 = 0.04;
/// This share of the markers must lie where the board has them.
const INLIER_SHARE_MIN: f64 = 0.7;
/// No two sizes have so many markers in the same places.
const CERTAIN_MARKERS: usize = 8;
/// As many as [`Board::check`] lets through.
const SQUARES_MAX: usize = 50;
/// How far the ratio of marker to square may be off: corners of small markers are found a pixel
/// further out.
const RATIO_OFF_MAX: f64 = 0.12;

/// A marker in the picture, clockwise from the upper left of the print.
struct Marker {
    id: usize,
    px: [Point2<f64>; 4],
}

/// Where a ChArUco board has its squares and markers.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    squares_x: usize,
    squares_y: usize,
    square_m: f64,
    marker_m: f64,
    /// Whether the upper left square is white: boards of OpenCV before 4.6 with even rows, and of
    /// others with any.
    starts_white: bool,
}

impl Layout {
    /// Describes a board as OpenCV has them from 4.6 on.
    pub(crate) fn new(squares_x: usize, squares_y: usize, square_m: f64, marker_m: f64) -> Layout {
        Layout { squares_x, squares_y, square_m, marker_m, starts_white: false }
    }

    fn has_marker(&self, column: usize, row: usize) -> bool {
        (column + row).is_multiple_of(2) == self.starts_white
    }

    /// Lists column and row of the squares with markers, by the markers' numbers.
    fn marker_squares(&self) -> Vec<(usize, usize)> {
        let all = (0..self.squares_y).flat_map(|row| (0..self.squares_x).map(move |c| (c, row)));
        all.filter(|&(column, row)| self.has_marker(column, row)).collect()
    }

    /// Lists the corners clockwise from the upper left.
    fn marker_corners(&self, (column, row): (usize, usize)) -> [Point2<f64>; 4] {
        let margin_m = (self.square_m - self.marker_m) / 2.0;
        let (x, y) =
            (column as f64 * self.square_m + margin_m, row as f64 * self.square_m + margin_m);
        let side = self.marker_m;
        [(0.0, 0.0), (side, 0.0), (side, side), (0.0, side)]
            .map(|(dx, dy)| Point2::new(x + dx, y + dy))
    }
}

/// Whether a square of a printed board carries a marker.
pub(crate) fn has_marker(column: usize, row: usize) -> bool {
    !(column + row).is_multiple_of(2)
}

/// Finds the inner corners of a ChArUco board, whichever colour its upper left square has.
pub(crate) fn detect(
    gray: &Mat,
    board: &Board,
    layout: Layout,
    dictionary: Dictionary,
) -> Result<Option<Detection>, CalibrateError> {
    let markers = find_markers(gray, dictionary)?;
    let (mut best, mut known) = fit_layout(&markers, layout)?;
    let white = fit_layout(&markers, Layout { starts_white: true, ..layout })?;
    if white.0.inliers.len() > best.inliers.len() {
        (best, known) = white;
    }
    let count = best.squares.len();
    let beyond = markers.iter().filter(|marker| marker.id >= count).map(|marker| marker.id).max();
    if known < MARKERS_MIN {
        let Some(id) = beyond else { return Ok(None) };
        let mismatch = Some(Mismatch::Other(too_large(id, count, &markers, layout)?));
        return Ok(Some(Detection { points: Vec::new(), mismatch, ends_seen: true }));
    }
    let mismatch = match beyond {
        // Others may lie about; a board is larger than said when most of it is unknown.
        Some(id) if markers.len() - known > known => Some(too_large(id, count, &markers, layout)?),
        _ => find_mismatch(&markers, known, &best)?,
    };
    let mismatch = mismatch.map(Mismatch::Other);
    let points = interpolate(gray, board, &best)?;
    Ok(Some(Detection { points, mismatch, ends_seen: true }))
}

fn too_large(id: usize, count: usize, markers: &[Marker], layout: Layout) -> CvResult<String> {
    Ok(format!(
        "marker {id} is in view, but a board of this size has the markers 0 to {}{}",
        count - 1,
        advice(markers, layout)?
    ))
}

/// The size that explains the markers, if there is just one: by the very test that refuses others.
fn advice(markers: &[Marker], said: Layout) -> CvResult<String> {
    let mut best: Option<(usize, usize, usize)> = None;
    let mut is_only_one = false;
    // The third row begins with as many markers before it as there are columns.
    let columns_max =
        markers.iter().map(|marker| marker.id + 1).max().unwrap_or(0).min(SQUARES_MAX);
    for (squares_x, starts_white) in
        (3..=columns_max).flat_map(|columns| [(columns, false), (columns, true)])
    {
        // As many rows as there may be: they do not change where a marker lies.
        let layout = Layout { squares_x, squares_y: SQUARES_MAX, starts_white, ..said };
        let (fit, _) = fit_layout(markers, layout)?;
        let rows = fit.inliers.iter().map(|marker| fit.squares[marker.id].1 + 1).max().unwrap_or(0);
        let found = fit.inliers.len();
        if rows < 3 || (found as f64) < INLIER_SHARE_MIN * markers.len() as f64 {
            continue;
        }
        if found == markers.len() && found >= CERTAIN_MARKERS {
            (best, is_only_one) = (Some((found, squares_x, rows)), true);
            break;
        }
        if best.is_none_or(|(most, ..)| found >= most) {
            is_only_one =
                best.is_none_or(|(most, columns, _)| found > most || columns == squares_x);
            best = Some((found, squares_x, rows));
        }
    }
    Ok(match best.filter(|_| is_only_one) {
        Some((_, x, y)) => format!("; they do on {x}x{y} squares: columns come first"),
        None => "; count its squares again".to_owned(),
    })
}

/// Finds the four corners of each marker, wherever the markers lie.
pub(crate) fn detect_markers(
    gray: &Mat,
    marker_length_m: f64,
    dictionary: Dictionary,
) -> CvResult<Option<Detection>> {
    let half_m = marker_length_m / 2.0;
    let corners = [(-1.0, 1.0), (1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)]
        .map(|(x, y)| Point3::new(x * half_m, y * half_m, 0.0));
    let mut points = Vec::new();
    for mut marker in find_markers(gray, dictionary)? {
        let side_px = (marker.px[1] - marker.px[0]).norm();
        for px in &mut marker.px {
            *px = refine_corner(gray, *px, 0.1 * side_px)?.unwrap_or(*px);
        }
        points.extend((0..4).map(|corner| BoardPoint {
            id: 4 * marker.id + corner,
            in_board: corners[corner],
            px: marker.px[corner],
        }));
    }
    points.sort_by_key(|point| point.id);
    points.dedup_by_key(|point| point.id);
    Ok((!points.is_empty()).then_some(Detection { points, mismatch: None, ends_seen: true }))
}

pub(crate) fn count_markers(gray: &Mat, dictionary: Dictionary) -> CvResult<usize> {
    Ok(find_markers(gray, dictionary)?.len())
}

fn find_markers(gray: &Mat, dictionary: Dictionary) -> CvResult<Vec<Marker>> {
    let dictionary = dictionary.open_cv()?;
    let mut corners = Vector::<Vector<Point2f>>::new();
    let mut ids = Vector::<i32>::new();
    aruco::detect_markers_def(gray, &dictionary, &mut corners, &mut ids)?;
    let marker = |(id, corners): (i32, Vector<Point2f>)| {
        let at = |index: usize| -> CvResult<Point2<f64>> {
            let corner = corners.get(index)?;
            Ok(Point2::new(f64::from(corner.x), f64::from(corner.y)))
        };
        let id = usize::try_from(id).expect("markers are numbered from 0");
        Ok(Marker { id, px: [at(0)?, at(1)?, at(2)?, at(3)?] })
    };
    ids.iter().zip(corners.iter()).map(marker).collect()
}

/// A layout, and the markers that lie where it has them.
struct LayoutFit<'a> {
    layout: Layout,
    inliers: Vec<&'a Marker>,
    squares: Vec<(usize, usize)>,
}

/// Fits the layout to the markers. Returns, too, how many of the markers the layout has at all.
fn fit_layout(markers: &[Marker], layout: Layout) -> CvResult<(LayoutFit<'_>, usize)> {
    let squares = layout.marker_squares();
    let markers: Vec<_> = markers.iter().filter(|marker| marker.id < squares.len()).collect();
    if markers.is_empty() {
        return Ok((LayoutFit { layout, inliers: Vec::new(), squares }, 0));
    }
    let printed: Vec<_> =
        markers.iter().flat_map(|marker| layout.marker_corners(squares[marker.id])).collect();
    let seen: Vec<_> = markers.iter().flat_map(|marker| marker.px).collect();
    let tolerance_px = (BENT_SHARE_MAX * extent_px(&seen)).max(3.0);
    let fits = find_inliers(&printed, &seen, tolerance_px)?;
    let inliers = (0..markers.len())
        .filter(|&index| fits[4 * index..4 * index + 4].iter().all(|&fits| fits))
        .map(|index| markers[index])
        .collect();
    Ok((LayoutFit { layout, inliers, squares }, markers.len()))
}

/// Finds the points that one projective map takes from `from` to `to`. RANSAC is content with the
/// first map that holds for most; fitting it to those again gathers the rest.
fn find_inliers(from: &[Point2<f64>], to: &[Point2<f64>], tolerance: f64) -> CvResult<Vec<bool>> {
    let Some((_, mut fits)) = homography(from, to, tolerance)? else {
        return Ok(vec![false; from.len()]);
    };
    for _ in 0..3 {
        let those = |points: &[Point2<f64>]| -> Vec<_> {
            points.iter().zip(&fits).filter(|(_, fits)| **fits).map(|(point, _)| *point).collect()
        };
        let (from_those, to_those) = (those(from), those(to));
        if from_those.len() < 4 {
            break;
        }
        let Some((map, _)) = homography(&from_those, &to_those, 0.0)? else { break };
        fits = from.iter().zip(to).map(|(a, b)| (apply(&map, *a) - b).norm() < tolerance).collect();
    }
    Ok(fits)
}

fn extent_px(points: &[Point2<f64>]) -> f64 {
    let span = |of: fn(&Point2<f64>) -> f64| {
        let values = points.iter().map(of);
        let (min, max) =
            values.fold((f64::MAX, f64::MIN), |(min, max), v| (min.min(v), max.max(v)));
        max - min
    };
    span(|point| point.x).max(span(|point| point.y))
}

/// Says how the markers differ from the board that was described, if they do.
fn find_mismatch(
    markers: &[Marker],
    known: usize,
    best: &LayoutFit<'_>,
) -> CvResult<Option<String>> {
    let Layout { squares_x, squares_y, square_m, marker_m, .. } = best.layout;
    let fitting = best.inliers.len();
    if (fitting as f64) < INLIER_SHARE_MIN * known as f64 {
        let hint = advice(markers, best.layout)?;
        return Ok(Some(format!(
            "only {fitting} of {known} markers lie where a board of {squares_x}x{squares_y} squares \
             has them{hint}"
        )));
    }
    let Some(ratio) = measured_ratio(best)? else { return Ok(None) };
    let said = marker_m / square_m;
    if (ratio / said - 1.0).abs() <= RATIO_OFF_MAX {
        return Ok(None);
    }
    Ok(Some(format!(
        "its markers are {:.0} % as long as its squares, but {:.0} % were said: measure both",
        100.0 * ratio,
        100.0 * said
    )))
}

/// Measures marker side over square side, from where the markers' centres lie; `None` with few
/// markers.
fn measured_ratio(best: &LayoutFit<'_>) -> CvResult<Option<f64>> {
    if best.inliers.len() < 6 {
        return Ok(None);
    }
    let center = |corners: &[Point2<f64>; 4]| {
        Point2::from(
            corners.iter().map(|corner| corner.coords).sum::<nalgebra::Vector2<f64>>() / 4.0,
        )
    };
    let seen: Vec<_> = best.inliers.iter().map(|marker| center(&marker.px)).collect();
    let printed: Vec<_> = best
        .inliers
        .iter()
        .map(|marker| center(&best.layout.marker_corners(best.squares[marker.id])))
        .collect();
    let Some((board_from_px, _)) = homography(&seen, &printed, 0.0)? else { return Ok(None) };
    let mut sides: Vec<f64> = best
        .inliers
        .iter()
        .flat_map(|marker| {
            let corners = marker.px.map(|px| apply(&board_from_px, px));
            (0..4).map(move |i| (corners[(i + 1) % 4] - corners[i]).norm())
        })
        .collect();
    sides.sort_by(f64::total_cmp);
    Ok(Some(sides[sides.len() / 2] / best.layout.square_m))
}

/// Finds the corners whose two neighbouring markers were both found: each is predicted from the
/// nearest markers and then searched for in the picture.
fn interpolate(
    gray: &Mat,
    board: &Board,
    best: &LayoutFit<'_>,
) -> Result<Vec<BoardPoint>, CalibrateError> {
    let (corners_x, corners_y) = board.corners().expect("a ChArUco board has corners");
    let mut points = Vec::new();
    for id in 0..corners_x * corners_y {
        let in_board = board.corner_in_board(id);
        let Some((predicted, square_px)) = predict(best, in_board.xy())? else { continue };
        // The window must not reach the markers' own corners.
        let margin = (1.0 - best.layout.marker_m / best.layout.square_m) / 2.0;
        if let Some(px) = refine_corner(gray, predicted, margin * square_px)? {
            points.push(BoardPoint { id, in_board, px });
        }
    }
    Ok(points)
}

/// Predicts where a corner is in the picture, and how long a square is there.
fn predict(best: &LayoutFit<'_>, corner: Point2<f64>) -> CvResult<Option<(Point2<f64>, f64)>> {
    let distance = |marker: &Marker| {
        let corners = best.layout.marker_corners(best.squares[marker.id]);
        let center = nalgebra::center(&corners[0], &corners[2]);
        (center - corner).norm() / best.layout.square_m
    };
    let mut nearest: Vec<(f64, &Marker)> =
        best.inliers.iter().map(|marker| (distance(marker), *marker)).collect();
    nearest.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The two squares with markers that meet in a corner are 0.71 squares away.
    if nearest.iter().take(2).filter(|(squares, _)| *squares < 0.8).count() < 2 {
        return Ok(None);
    }
    let near: Vec<&Marker> = nearest.iter().take(4).map(|(_, marker)| *marker).collect();
    let printed: Vec<_> = near
        .iter()
        .flat_map(|marker| best.layout.marker_corners(best.squares[marker.id]))
        .collect();
    let seen: Vec<_> = near.iter().flat_map(|marker| marker.px).collect();
    let Some((px_from_board, _)) = homography(&printed, &seen, 0.0)? else { return Ok(None) };
    Ok(Some((apply(&px_from_board, corner), shortest_step_px(&px_from_board, corner, best))))
}

/// Returns the length of a square in the picture, along its shorter direction.
fn shortest_step_px(
    px_from_board: &Matrix3<f64>,
    corner: Point2<f64>,
    best: &LayoutFit<'_>,
) -> f64 {
    let step = |dx: f64, dy: f64| {
        let to = Point2::new(corner.x + dx, corner.y + dy);
        (apply(px_from_board, to) - apply(px_from_board, corner)).norm()
    };
    step(best.layout.square_m, 0.0).min(step(0.0, best.layout.square_m))
}

/// Finds the saddle point near `at`; `None` if the picture has none within `reach_px`.
pub(crate) fn refine_corner(
    gray: &Mat,
    at: Point2<f64>,
    reach_px: f64,
) -> CvResult<Option<Point2<f64>>> {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to a few pixels")]
    let half = reach_px.clamp(2.0, 10.0) as i32;
    let border = f64::from(half) + 2.0;
    let (width, height) = (f64::from(gray.cols()), f64::from(gray.rows()));
    let inside =
        (border..width - border).contains(&at.x) && (border..height - border).contains(&at.y);
    if !inside {
        return Ok(None);
    }
    let kind = TermCriteria_Type::COUNT as i32 + TermCriteria_Type::EPS as i32;
    let criteria = TermCriteria::new(kind, 50, 0.001)?;
    let mut corner = Vector::<Point2f>::from_slice(&[point2f(at)]);
    imgproc::corner_sub_pix(gray, &mut corner, Size::new(half, half), Size::new(-1, -1), criteria)?;
    let corner = corner.get(0)?;
    let found = Point2::new(f64::from(corner.x), f64::from(corner.y));
    // OpenCV leaves the corner where it was when the search runs out of its window.
    Ok(((found - at).norm() <= f64::from(half)).then_some(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detect_board(gray: &Mat, board: &Board) -> Detection {
        let Board::Charuco { squares_x, squares_y, square_length_m, marker_length_m, dictionary } =
            *board
        else {
            panic!("{board} is no ChArUco board");
        };
        let layout = Layout::new(squares_x, squares_y, square_length_m, marker_length_m);
        detect(gray, board, layout, dictionary).unwrap().unwrap()
    }

    /// A board that OpenCV itself draws, with 100 px a square and a rim of 40 px.
    fn check_drawn_by_open_cv(squares_x: usize, squares_y: usize) {
        let dictionary: Dictionary = "DICT_4X4_50".parse().unwrap();
        let side = |squares: usize| i32::try_from(squares).unwrap();
        let mut drawn = aruco::CharucoBoard::create(
            side(squares_x),
            side(squares_y),
            0.03,
            0.021,
            &dictionary.open_cv().unwrap(),
        )
        .unwrap();
        let size = Size::new(100 * side(squares_x) + 80, 100 * side(squares_y) + 80);
        let mut sharp = Mat::default();
        drawn.draw(size, &mut sharp, 40, 1).unwrap();
        let mut image = Mat::default();
        imgproc::gaussian_blur_def(&sharp, &mut image, Size::new(5, 5), 1.0).unwrap();
        let board = Board::Charuco {
            squares_x,
            squares_y,
            square_length_m: 0.03,
            marker_length_m: 0.021,
            dictionary,
        };
        let Detection { points, mismatch, .. } = detect_board(&image, &board);
        assert_eq!(mismatch, None);
        assert_eq!(points.len(), (squares_x - 1) * (squares_y - 1));
        for point in points {
            let expected = point.in_board.xy() / 0.03 * 100.0;
            let off = point.px - Point2::new(expected.x + 39.5, expected.y + 39.5);
            assert!(off.norm() < 0.2, "corner {} is off by {off}", point.id);
        }
    }

    #[test]
    fn boards_that_open_cv_drew_are_read_with_odd_and_even_rows() {
        check_drawn_by_open_cv(7, 5);
        check_drawn_by_open_cv(7, 6);
        check_drawn_by_open_cv(8, 6);
    }

    #[test]
    fn boards_that_begin_white_are_read_too() {
        for (squares_x, squares_y) in [(5, 6), (7, 5), (6, 5)] {
            for starts_white in [false, true] {
                let (board, layout) = described(squares_x, squares_y, starts_white);
                let Detection { points, mismatch, .. } = detect_board(&drawn(&layout, &[]), &board);
                let corners = (squares_x - 1) * (squares_y - 1);
                assert_eq!(
                    (points.len(), mismatch),
                    (corners, None),
                    "{board}, white {starts_white}"
                );
            }
        }
    }

    /// Parts and crates carry markers, too.
    #[test]
    fn stray_markers_beside_the_board_do_not_spoil_the_view() {
        let (board, layout) = described(7, 5, false);
        let stray = [(44, 0), (45, 1), (46, 2)];
        let Detection { points, mismatch, .. } = detect_board(&drawn(&layout, &stray), &board);
        assert_eq!((points.len(), mismatch), (24, None));
        // With most of its markers unknown it is another board.
        let (small, _) = described(4, 3, false);
        let mismatch = detect_board(&drawn(&layout, &stray), &small).mismatch;
        let mismatch = mismatch.unwrap().to_string();
        assert!(mismatch.contains("on 7x5 squares: columns come first"), "{mismatch}");
    }

    #[test]
    fn advice_for_another_size_passes_the_test_that_refused() {
        for (squares_x, squares_y) in [(8, 6), (5, 7), (9, 4), (6, 6)] {
            for starts_white in [false, true] {
                let (board, layout) = described(squares_x, squares_y, starts_white);
                let picture = drawn(&layout, &[]);
                let found = detect_board(&picture, &board);
                assert_eq!(found.mismatch, None, "{board}");
                for (said_x, said_y) in [(7, 5), (squares_y, squares_x), (4, 3), (10, 9)] {
                    if said_x == squares_x {
                        continue;
                    }
                    let (said, _) = described(said_x, said_y, false);
                    let mismatch = detect_board(&picture, &said).mismatch;
                    let mismatch = mismatch.expect("another board").to_string();
                    let advice = format!("they do on {squares_x}x{squares_y} squares");
                    assert!(mismatch.contains(&advice), "{board} as {said}: {mismatch}");
                }
            }
        }
    }

    fn described(squares_x: usize, squares_y: usize, starts_white: bool) -> (Board, Layout) {
        let board = Board::Charuco {
            squares_x,
            squares_y,
            square_length_m: 0.03,
            marker_length_m: 0.021,
            dictionary: "DICT_4X4_50".parse().unwrap(),
        };
        (board, Layout { squares_x, squares_y, square_m: 0.03, marker_m: 0.021, starts_white })
    }

    /// 60 px a square, with stray markers in the given rows to the right of it.
    fn drawn(layout: &Layout, stray: &[(usize, usize)]) -> Mat {
        let dictionary: Dictionary = "DICT_4X4_50".parse().unwrap();
        let squares = layout.marker_squares();
        let pixel = |x: usize, y: usize| -> u8 {
            let (Some(x), Some(y)) = (x.checked_sub(40), y.checked_sub(40)) else { return 230 };
            let (column, row) = (x / 60, y / 60);
            let beside =
                || stray.iter().find(|(_, at)| (column, row) == (layout.squares_x + 1, *at));
            let id = if column < layout.squares_x && row < layout.squares_y {
                let Some(id) = squares.iter().position(|square| *square == (column, row)) else {
                    return 20;
                };
                id
            } else if let Some((id, _)) = beside() {
                *id
            } else {
                return 230;
            };
            // Markers of 42 px: six modules of 7 px.
            let inside = |at: usize| (at % 60).checked_sub(9).filter(|at| *at < 42);
            match (inside(x), inside(y)) {
                (Some(x), Some(y)) if !dictionary.modules(id).unwrap()[y / 7][x / 7] => 20,
                _ => 230,
            }
        };
        let (width, height) = (layout.squares_x * 60 + 220, layout.squares_y * 60 + 80);
        let rows: Vec<Vec<u8>> =
            (0..height).map(|y| (0..width).map(|x| pixel(x, y)).collect()).collect();
        Mat::from_slice_2d(&rows).unwrap()
    }
}

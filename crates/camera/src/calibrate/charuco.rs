//! Markers, and the chessboard corners between them.
//!
//! The corners are interpolated here rather than by OpenCV: which squares carry the markers of a
//! board with an even number of rows changed with OpenCV 4.6, and both kinds hang on walls.

use nalgebra::{Matrix3, Point2, Point3};
use opencv::aruco;
use opencv::core::{Mat, Point2f, Size, TermCriteria, TermCriteria_Type, Vector};
use opencv::imgproc;
use opencv::prelude::*;

use super::matrices::{CvResult, apply, homography, point2f};
use super::{Board, BoardPoint, CalibrateError, Dictionary};

/// What a detector hands over: the points, and what looks wrong with them.
pub(crate) type Found = Option<(Vec<BoardPoint>, Option<String>)>;

/// One marker is too easily imagined.
const MARKERS_MIN: usize = 2;
/// A lens bends a board away from a plane's picture by less than this share of its extent.
const BENT_SHARE_MAX: f64 = 0.04;
/// Of the markers, this share must lie where the board has them.
const FITTING_SHARE_MIN: f64 = 0.7;
/// How far the ratio of marker to square may be off: corners of small markers are found a pixel
/// further out.
const RATIO_OFF_MAX: f64 = 0.12;

/// A marker in the picture, clockwise from the upper left of the print.
struct Marker {
    id: usize,
    px: [Point2<f64>; 4],
}

/// The numbers of a ChArUco board, unpacked.
#[derive(Clone, Copy)]
struct Sheet {
    squares_x: usize,
    squares_y: usize,
    square_m: f64,
    marker_m: f64,
    /// Whether the upper left square is white: boards of OpenCV before 4.6 with even rows, and of
    /// others with any.
    starts_white: bool,
}

impl Sheet {
    fn has_marker(&self, column: usize, row: usize) -> bool {
        (column + row).is_multiple_of(2) == self.starts_white
    }

    /// Upper left corners of the squares with markers, by the markers' numbers.
    fn marker_squares(&self) -> Vec<(usize, usize)> {
        let all = (0..self.squares_y).flat_map(|row| (0..self.squares_x).map(move |c| (c, row)));
        all.filter(|&(column, row)| self.has_marker(column, row)).collect()
    }

    /// Clockwise from the upper left.
    fn marker_corners(&self, (column, row): (usize, usize)) -> [Point2<f64>; 4] {
        let margin_m = (self.square_m - self.marker_m) / 2.0;
        let (x, y) =
            (column as f64 * self.square_m + margin_m, row as f64 * self.square_m + margin_m);
        let side = self.marker_m;
        [(0.0, 0.0), (side, 0.0), (side, side), (0.0, side)]
            .map(|(dx, dy)| Point2::new(x + dx, y + dy))
    }
}

/// Which white squares carry markers, for those who print.
pub(crate) fn has_marker(column: usize, row: usize) -> bool {
    !(column + row).is_multiple_of(2)
}

pub(crate) fn detect(gray: &Mat, board: &Board) -> Result<Found, CalibrateError> {
    let &Board::Charuco { squares_x, squares_y, square_length_m, marker_length_m, dictionary } =
        board
    else {
        unreachable!("asked for a ChArUco board")
    };
    let sheet = Sheet {
        squares_x,
        squares_y,
        square_m: square_length_m,
        marker_m: marker_length_m,
        starts_white: false,
    };
    let markers = find_markers(gray, dictionary)?;
    let (mut best, mut known) = place(&markers, sheet)?;
    let white = place(&markers, Sheet { starts_white: true, ..sheet })?;
    if white.0.fitting.len() > best.fitting.len() {
        (best, known) = white;
    }
    let count = best.squares.len();
    let beyond = markers.iter().filter(|marker| marker.id >= count).map(|marker| marker.id).max();
    if known < MARKERS_MIN {
        return Ok(beyond.map(|id| (Vec::new(), Some(too_large(id, count)))));
    }
    let doubt = match beyond {
        // Others may lie about; a board is larger than said when most of it is unknown.
        Some(id) if markers.len() - known > known => Some(too_large(id, count)),
        _ => doubt(&markers, known, &best)?,
    };
    let points = interpolate(gray, board, &best)?;
    Ok(Some((points, doubt)))
}

fn too_large(id: usize, count: usize) -> String {
    format!(
        "marker {id} is in view, but a board of this size has the markers 0 to {}; count its \
         squares again",
        count - 1
    )
}

/// Each marker's four corners, of markers that lie anywhere.
pub(crate) fn detect_markers(gray: &Mat, board: &Board) -> Result<Found, CalibrateError> {
    let &Board::Markers { marker_length_m, dictionary } = board else {
        unreachable!("asked for markers")
    };
    let half_m = marker_length_m / 2.0;
    let corners = [(-1.0, 1.0), (1.0, 1.0), (1.0, -1.0), (-1.0, -1.0)]
        .map(|(x, y)| Point3::new(x * half_m, y * half_m, 0.0));
    let mut points = Vec::new();
    for mut marker in find_markers(gray, dictionary)? {
        let side_px = (marker.px[1] - marker.px[0]).norm();
        for px in &mut marker.px {
            *px = refine(gray, *px, 0.1 * side_px)?.unwrap_or(*px);
        }
        points.extend((0..4).map(|corner| BoardPoint {
            id: 4 * marker.id + corner,
            in_board: corners[corner],
            px: marker.px[corner],
        }));
    }
    points.sort_by_key(|point| point.id);
    points.dedup_by_key(|point| point.id);
    Ok((!points.is_empty()).then_some((points, None)))
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

/// The markers that lie where the sheet has them.
struct Placement<'a> {
    sheet: Sheet,
    fitting: Vec<&'a Marker>,
    squares: Vec<(usize, usize)>,
}

/// And how many of the markers the sheet has at all.
fn place(markers: &[Marker], sheet: Sheet) -> CvResult<(Placement<'_>, usize)> {
    let squares = sheet.marker_squares();
    let markers: Vec<_> = markers.iter().filter(|marker| marker.id < squares.len()).collect();
    if markers.is_empty() {
        return Ok((Placement { sheet, fitting: Vec::new(), squares }, 0));
    }
    let printed: Vec<_> =
        markers.iter().flat_map(|marker| sheet.marker_corners(squares[marker.id])).collect();
    let seen: Vec<_> = markers.iter().flat_map(|marker| marker.px).collect();
    let tolerance_px = (BENT_SHARE_MAX * extent_px(&seen)).max(3.0);
    let fits = holds_for(&printed, &seen, tolerance_px)?;
    let fitting = (0..markers.len())
        .filter(|&index| fits[4 * index..4 * index + 4].iter().all(|&fits| fits))
        .map(|index| markers[index])
        .collect();
    Ok((Placement { sheet, fitting, squares }, markers.len()))
}

/// The points that one projective map takes from `from` to `to`. RANSAC is content with the first
/// map that holds for most; fitting it to those again gathers the rest.
fn holds_for(from: &[Point2<f64>], to: &[Point2<f64>], tolerance: f64) -> CvResult<Vec<bool>> {
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

/// What does not look like the board that was described.
fn doubt(markers: &[Marker], known: usize, best: &Placement<'_>) -> CvResult<Option<String>> {
    let Sheet { squares_x, squares_y, square_m, marker_m, .. } = best.sheet;
    let fitting = best.fitting.len();
    if (fitting as f64) < FITTING_SHARE_MIN * known as f64 {
        let turned = Sheet { squares_x: squares_y, squares_y: squares_x, ..best.sheet };
        let hint = if place(markers, turned)?.0.fitting.len() > fitting {
            format!("; they do on {squares_y}x{squares_x} squares: columns come first")
        } else {
            "; count its squares again".to_owned()
        };
        return Ok(Some(format!(
            "only {fitting} of {known} markers lie where a board of {squares_x}x{squares_y} squares \
             has them{hint}"
        )));
    }
    let Some(ratio) = seen_ratio(best)? else { return Ok(None) };
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

/// Marker side over square side, from where the markers' middles lie; `None` with few markers.
fn seen_ratio(best: &Placement<'_>) -> CvResult<Option<f64>> {
    if best.fitting.len() < 6 {
        return Ok(None);
    }
    let middle = |corners: &[Point2<f64>; 4]| {
        Point2::from(
            corners.iter().map(|corner| corner.coords).sum::<nalgebra::Vector2<f64>>() / 4.0,
        )
    };
    let seen: Vec<_> = best.fitting.iter().map(|marker| middle(&marker.px)).collect();
    let printed: Vec<_> = best
        .fitting
        .iter()
        .map(|marker| middle(&best.sheet.marker_corners(best.squares[marker.id])))
        .collect();
    let Some((board_from_px, _)) = homography(&seen, &printed, 0.0)? else { return Ok(None) };
    let mut sides: Vec<f64> = best
        .fitting
        .iter()
        .flat_map(|marker| {
            let corners = marker.px.map(|px| apply(&board_from_px, px));
            (0..4).map(move |i| (corners[(i + 1) % 4] - corners[i]).norm())
        })
        .collect();
    sides.sort_by(f64::total_cmp);
    Ok(Some(sides[sides.len() / 2] / best.sheet.square_m))
}

/// Corners whose two neighbouring markers were both found, predicted from the nearest markers and
/// then found in the picture.
fn interpolate(
    gray: &Mat,
    board: &Board,
    best: &Placement<'_>,
) -> Result<Vec<BoardPoint>, CalibrateError> {
    let (corners_x, corners_y) = board.corners().expect("a ChArUco board has corners");
    let mut points = Vec::new();
    for id in 0..corners_x * corners_y {
        let in_board = board.corner_in_board(id);
        let Some((predicted, square_px)) = predict(best, in_board.xy())? else { continue };
        // The window must not reach the markers' own corners.
        let margin = (1.0 - best.sheet.marker_m / best.sheet.square_m) / 2.0;
        if let Some(px) = refine(gray, predicted, margin * square_px)? {
            points.push(BoardPoint { id, in_board, px });
        }
    }
    Ok(points)
}

/// Where a corner should be in the picture, and how long a square is there.
fn predict(best: &Placement<'_>, corner: Point2<f64>) -> CvResult<Option<(Point2<f64>, f64)>> {
    let distance = |marker: &Marker| {
        let corners = best.sheet.marker_corners(best.squares[marker.id]);
        let middle = nalgebra::center(&corners[0], &corners[2]);
        (middle - corner).norm() / best.sheet.square_m
    };
    let mut nearest: Vec<(f64, &Marker)> =
        best.fitting.iter().map(|marker| (distance(marker), *marker)).collect();
    nearest.sort_by(|a, b| a.0.total_cmp(&b.0));
    // The two squares with markers that meet in a corner are 0.71 squares away.
    if nearest.iter().take(2).filter(|(squares, _)| *squares < 0.8).count() < 2 {
        return Ok(None);
    }
    let near: Vec<&Marker> = nearest.iter().take(4).map(|(_, marker)| *marker).collect();
    let printed: Vec<_> =
        near.iter().flat_map(|marker| best.sheet.marker_corners(best.squares[marker.id])).collect();
    let seen: Vec<_> = near.iter().flat_map(|marker| marker.px).collect();
    let Some((px_from_board, _)) = homography(&printed, &seen, 0.0)? else { return Ok(None) };
    Ok(Some((apply(&px_from_board, corner), shortest_step_px(&px_from_board, corner, best))))
}

/// The shorter of a square's two directions, in the picture.
fn shortest_step_px(
    px_from_board: &Matrix3<f64>,
    corner: Point2<f64>,
    best: &Placement<'_>,
) -> f64 {
    let step = |dx: f64, dy: f64| {
        let to = Point2::new(corner.x + dx, corner.y + dy);
        (apply(px_from_board, to) - apply(px_from_board, corner)).norm()
    };
    step(best.sheet.square_m, 0.0).min(step(0.0, best.sheet.square_m))
}

/// The saddle point near `at`; `None` if the picture has none within `reach_px`.
pub(crate) fn refine(gray: &Mat, at: Point2<f64>, reach_px: f64) -> CvResult<Option<Point2<f64>>> {
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
        let (points, doubt) = detect(&image, &board).unwrap().unwrap();
        assert_eq!(doubt, None);
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
                let (board, sheet) = described(squares_x, squares_y, starts_white);
                let (points, doubt) = detect(&drawn(&sheet, &[]), &board).unwrap().unwrap();
                let corners = (squares_x - 1) * (squares_y - 1);
                assert_eq!((points.len(), doubt), (corners, None), "{board}, white {starts_white}");
            }
        }
    }

    /// Parts and crates carry markers, too.
    #[test]
    fn stray_markers_beside_the_board_do_not_spoil_the_view() {
        let (board, sheet) = described(7, 5, false);
        let stray = [(44, 0), (45, 1), (46, 2)];
        let (points, doubt) = detect(&drawn(&sheet, &stray), &board).unwrap().unwrap();
        assert_eq!((points.len(), doubt), (24, None));
        // With most of its markers unknown it is another board.
        let (small, _) = described(4, 3, false);
        let (_, doubt) = detect(&drawn(&sheet, &stray), &small).unwrap().unwrap();
        assert!(doubt.unwrap().contains("count its squares again"));
    }

    fn described(squares_x: usize, squares_y: usize, starts_white: bool) -> (Board, Sheet) {
        let board = Board::Charuco {
            squares_x,
            squares_y,
            square_length_m: 0.03,
            marker_length_m: 0.021,
            dictionary: "DICT_4X4_50".parse().unwrap(),
        };
        (board, Sheet { squares_x, squares_y, square_m: 0.03, marker_m: 0.021, starts_white })
    }

    /// 60 px a square, with stray markers in the given rows to the right of it.
    fn drawn(sheet: &Sheet, stray: &[(usize, usize)]) -> Mat {
        let dictionary: Dictionary = "DICT_4X4_50".parse().unwrap();
        let squares = sheet.marker_squares();
        let pixel = |x: usize, y: usize| -> u8 {
            let (Some(x), Some(y)) = (x.checked_sub(40), y.checked_sub(40)) else { return 230 };
            let (column, row) = (x / 60, y / 60);
            let beside =
                || stray.iter().find(|(_, at)| (column, row) == (sheet.squares_x + 1, *at));
            let id = if column < sheet.squares_x && row < sheet.squares_y {
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
        let (width, height) = (sheet.squares_x * 60 + 220, sheet.squares_y * 60 + 80);
        let rows: Vec<Vec<u8>> =
            (0..height).map(|y| (0..width).map(|x| pixel(x, y)).collect()).collect();
        Mat::from_slice_2d(&rows).unwrap()
    }
}

//! Chessboards without markers.
//!
//! OpenCV's detectors find a part of a board as willingly as the whole. So a grid is believed when
//! its squares alternate and nothing alternates on beyond its rim; a larger one is followed to its
//! end and named.

use nalgebra::{Point2, Vector2};
use opencv::core::{Mat, Point2f, Size, Vector};
use opencv::prelude::*;
use opencv::{calib3d, imgproc};

use super::board::{Board, BoardPoint};
use super::charuco::{Detection, refine_corner};
use super::errors::{CalibrateError, Mismatch};
use super::matrices::CvResult;

/// From a corner into each of the four squares that meet in it, as a share of their sides.
const ASIDE: f64 = 0.3;
/// Where squares meet, they differ by this share of what they do in the middle of the board.
const CONTRAST_SHARE_MIN: f64 = 0.3;
/// Corners of a board that may be covered by glare or a finger.
const CORNER_SHARE_MIN: f64 = 0.8;
const LINE_SHARE_MIN: f64 = 0.5;
/// A side goes on if so many corners lie beyond it, and ends if hardly any do.
const BEYOND_SHARE: f64 = 0.5;
const ENDS_SHARE: f64 = 0.25;
/// The detector for boards without a rim takes seconds for this, and minutes for more.
const RIMLESS_SIDE_PX_MAX: i32 = 640;
/// So many other boards beside the one that was said are passed over.
const OTHERS_MAX: usize = 4;
/// A longer board is none.
const CORNERS_MAX: usize = 60;

/// Inner corners, row by row.
#[derive(Clone, Debug)]
struct Grid {
    columns: usize,
    corners: Vec<Point2<f64>>,
}

/// What the picture says about a grid.
#[derive(Clone)]
struct Verdict {
    /// Share of its corners in which squares alternate.
    share: f64,
    /// The least share in any row or column: OpenCV may leave a whole one out.
    line_share: f64,
    /// Whether they go on beyond the left, right, upper and lower side; `None` where that is
    /// outside of the picture, or something lies there.
    goes_on: [Option<bool>; 4],
}

impl Verdict {
    fn alternates(&self) -> bool {
        self.share >= CORNER_SHARE_MIN && self.line_share >= LINE_SHARE_MIN
    }

    fn is_part(&self) -> bool {
        self.goes_on.contains(&Some(true))
    }

    fn ends_seen(&self) -> bool {
        self.goes_on.iter().all(Option::is_some)
    }
}

pub(crate) fn detect(gray: &Mat, board: &Board) -> Result<Option<Detection>, CalibrateError> {
    let size = board.corners().expect("a chessboard has corners");
    let Some((mut grid, verdict)) = find(gray, size)? else { return Ok(None) };
    if verdict.is_part() || grid.size() != size {
        return Ok(Some(Detection {
            points: Vec::new(),
            mismatch: other_size(&grid, size, &verdict),
            ends_seen: false,
        }));
    }
    if board.has_unique_orientation() && starts_bright(gray, &grid)? {
        grid.corners.reverse();
    }
    let point = |(id, px)| BoardPoint { id, in_board: board.corner_in_board(id), px };
    let points = grid.corners.into_iter().enumerate().map(point).collect();
    Ok(Some(Detection { points, mismatch: None, ends_seen: verdict.ends_seen() }))
}

/// What the grid says against the size that was said; `None` where it may be a part of that board,
/// whose rest cannot be seen.
fn other_size(grid: &Grid, said: (usize, usize), verdict: &Verdict) -> Option<Mismatch> {
    let (a, b) = grid.size();
    let (x, y) = if said.0 < said.1 { (a.min(b), a.max(b)) } else { (a.max(b), a.min(b)) };
    if verdict.is_part() {
        let (said_x, said_y) = said;
        return Some(Mismatch::Other(format!(
            "squares go on beyond {said_x}x{said_y} inner corners; count them again"
        )));
    }
    if verdict.ends_seen() {
        return Some(Mismatch::Corners { corners_x: x, corners_y: y });
    }
    (x > said.0 || y > said.1).then(|| {
        Mismatch::Other(format!(
            "{x}x{y} inner corners are in view, and it may be larger: bring it wholly into view, and \
             count them again"
        ))
    })
}

/// The board in view, of whatever size; of the size that was said if there is one, though others
/// stand beside it.
fn find(gray: &Mat, size: (usize, usize)) -> CvResult<Option<(Grid, Verdict)>> {
    let first = find_one(gray, size)?;
    let is_other = |(grid, verdict): &(Grid, Verdict)| grid.size() != size && !verdict.is_part();
    let Some(mut other) = first.clone().filter(is_other) else { return Ok(first) };
    let mut rest = gray.try_clone()?;
    for _ in 0..OTHERS_MAX {
        other.0.cover(&mut rest)?;
        match find_one(&rest, size)? {
            Some(found) if is_other(&found) => other = found,
            Some(found) if found.0.size() == size && !found.1.is_part() => return Ok(Some(found)),
            _ => break,
        }
    }
    Ok(first)
}

fn find_one(gray: &Mat, size: (usize, usize)) -> CvResult<Option<(Grid, Verdict)>> {
    let mut part = None;
    if let Some(grid) = find_exactly(gray, size)? {
        let verdict = judge(gray, &grid)?;
        match verdict.is_part() {
            false if verdict.alternates() => return Ok(Some((grid, verdict))),
            true if verdict.alternates() => part = Some((grid, verdict)),
            _ => {}
        }
    }
    if let Some(grid) = find_any(gray)? {
        let (grid, verdict) = follow(gray, grid)?;
        let grid = grid.turned_to(size);
        // A corner that only the lines of others led to may be covered.
        if verdict.share >= 1.0 || (verdict.alternates() && grid.size() != size) {
            return Ok(Some((grid, verdict)));
        }
        // The board is there, with corners that no detector sees.
        if verdict.alternates() && part.is_none() {
            return Ok(None);
        }
    }
    if part.is_some() {
        return Ok(part);
    }
    let Some(grid) = find_without_rim(gray, size)? else { return Ok(None) };
    let verdict = judge(gray, &grid)?;
    Ok(verdict.alternates().then_some((grid, verdict)))
}

fn find_exactly(gray: &Mat, (x, y): (usize, usize)) -> CvResult<Option<Grid>> {
    let mut corners = Vector::<Point2f>::new();
    let flags = calib3d::CALIB_CB_NORMALIZE_IMAGE | calib3d::CALIB_CB_ACCURACY;
    let found = calib3d::find_chessboard_corners_sb(gray, cv_size(x, y), &mut corners, flags)?;
    Ok(found.then(|| Grid { columns: x, corners: points(&corners) }))
}

/// The largest grid around the first one that is found.
fn find_any(gray: &Mat) -> CvResult<Option<Grid>> {
    let (mut corners, mut meta) = (Vector::<Point2f>::new(), Mat::default());
    let flags =
        calib3d::CALIB_CB_NORMALIZE_IMAGE | calib3d::CALIB_CB_ACCURACY | calib3d::CALIB_CB_LARGER;
    let found = calib3d::find_chessboard_corners_sb_with_meta(
        gray,
        cv_size(3, 3),
        &mut corners,
        flags,
        &mut meta,
    )?;
    let columns = usize::try_from(meta.cols()).unwrap_or(0);
    let grid = Grid { columns, corners: points(&corners) };
    let is_whole =
        columns >= 3 && grid.corners.len() >= 9 && grid.corners.len().is_multiple_of(columns);
    Ok((found && is_whole).then_some(grid))
}

/// The older detector finds boards without a white rim, which the newer one does not. Its time grows
/// without bounds with the picture, so it looks at a small one.
fn find_without_rim(gray: &Mat, (x, y): (usize, usize)) -> CvResult<Option<Grid>> {
    let mut corners = Vector::<Point2f>::new();
    let scale = (f64::from(RIMLESS_SIDE_PX_MAX) / f64::from(gray.cols().max(gray.rows()))).min(1.0);
    let mut small = Mat::default();
    imgproc::resize(gray, &mut small, Size::default(), scale, scale, imgproc::INTER_AREA)?;
    let flags = calib3d::CALIB_CB_ADAPTIVE_THRESH
        | calib3d::CALIB_CB_NORMALIZE_IMAGE
        | calib3d::CALIB_CB_FAST_CHECK;
    if !calib3d::find_chessboard_corners(&small, cv_size(x, y), &mut corners, flags)? {
        return Ok(None);
    }
    // The middle of the first pixel is at 0.
    let whole = |p: Point2<f64>| Point2::from((p.coords.add_scalar(0.5) / scale).add_scalar(-0.5));
    let rough = Grid { columns: x, corners: points(&corners).into_iter().map(whole).collect() };
    let mut fine = Vec::with_capacity(rough.corners.len());
    for (index, &corner) in rough.corners.iter().enumerate() {
        let [along, across] = rough.steps(index % x, index / x);
        let square_px = along.norm().min(across.norm());
        fine.push(refine_corner(gray, corner, 0.4 * square_px)?.unwrap_or(corner));
    }
    Ok(Some(Grid { corners: fine, ..rough }))
}

fn cv_size(columns: usize, rows: usize) -> Size {
    let side = |corners: usize| i32::try_from(corners).expect("checked to be small");
    Size::new(side(columns), side(rows))
}

fn points(corners: &Vector<Point2f>) -> Vec<Point2<f64>> {
    corners.iter().map(|c| Point2::new(f64::from(c.x), f64::from(c.y))).collect()
}

/// Lets a grid grow as far as its squares alternate.
fn follow(gray: &Mat, mut grid: Grid) -> CvResult<(Grid, Verdict)> {
    loop {
        let verdict = judge(gray, &grid)?;
        let side = verdict.goes_on.iter().position(|goes_on| *goes_on == Some(true));
        let (columns, rows) = grid.size();
        let Some(side) = side.filter(|_| verdict.alternates() && columns.max(rows) < CORNERS_MAX)
        else {
            return Ok((grid, verdict));
        };
        grid = grid.grown(gray, side)?;
    }
}

fn judge(gray: &Mat, grid: &Grid) -> CvResult<Verdict> {
    let columns = grid.columns;
    let mut contrasts = Vec::with_capacity(grid.corners.len());
    for (index, corner) in grid.corners.iter().enumerate() {
        let steps = grid.steps(index % columns, index / columns);
        contrasts
            .push(contrast(gray, *corner, steps)?.map_or(0.0, |it| it * parity(index, columns)));
    }
    // The sign tells which squares are bright; most corners agree on it.
    let mut sorted = contrasts.clone();
    sorted.sort_by(f64::total_cmp);
    let typical = sorted[sorted.len() / 2];
    let fits = |contrast: f64| contrast / typical >= CONTRAST_SHARE_MIN;
    let share_of = |line: &mut dyn Iterator<Item = usize>| {
        let (mut good, mut all) = (0_usize, 0_usize);
        for index in line {
            good += usize::from(typical != 0.0 && fits(contrasts[index]));
            all += 1;
        }
        good as f64 / all as f64
    };
    let count = contrasts.len();
    let share = share_of(&mut (0..count));
    let rows = (0..count / columns).map(|row| share_of(&mut (row * columns..(row + 1) * columns)));
    let lines = (0..columns).map(|column| share_of(&mut (column..count).step_by(columns)));
    let line_share = rows.chain(lines).fold(1.0, f64::min);
    let mut goes_on = [None; 4];
    for (side, goes_on) in goes_on.iter_mut().enumerate() {
        let beyond = grid.beyond(side);
        let (mut seen, mut corners) = (0_usize, 0_usize);
        for (at, steps, sign) in &beyond {
            let Some(found) = contrast(gray, *at, *steps)? else { continue };
            seen += 1;
            corners += usize::from(typical != 0.0 && fits(found * sign));
        }
        let share = corners as f64 / seen as f64;
        if 2 * seen >= beyond.len() && !(ENDS_SHARE..BEYOND_SHARE).contains(&share) {
            *goes_on = Some(share >= BEYOND_SHARE);
        }
    }
    Ok(Verdict { share, line_share, goes_on })
}

/// Squares of one colour meet every second corner the other way round.
fn parity(index: usize, columns: usize) -> f64 {
    if (index % columns + index / columns).is_multiple_of(2) { 1.0 } else { -1.0 }
}

/// How much brighter the squares to the lower right and upper left of a corner are than the two
/// others: the least difference between two of them. 0 where it is no corner of squares, `None`
/// outside of the picture.
fn contrast(
    gray: &Mat,
    corner: Point2<f64>,
    [along, across]: [Vector2<f64>; 2],
) -> CvResult<Option<f64>> {
    let square = |x: f64, y: f64| brightness(gray, corner + (along * x + across * y) * ASIDE);
    let (Some(a), Some(b), Some(c), Some(d)) =
        (square(1.0, 1.0)?, square(-1.0, -1.0)?, square(1.0, -1.0)?, square(-1.0, 1.0)?)
    else {
        return Ok(None);
    };
    let (first_over, second_over) = (a.min(b) - c.max(d), c.min(d) - a.max(b));
    Ok(Some(if first_over > 0.0 { first_over } else { -second_over.max(0.0) }))
}

impl Grid {
    fn size(&self) -> (usize, usize) {
        (self.columns, self.corners.len() / self.columns)
    }

    fn at(&self, column: usize, row: usize) -> Point2<f64> {
        self.corners[row * self.columns + column]
    }

    /// From a corner to the next one in its row and in its column.
    fn steps(&self, column: usize, row: usize) -> [Vector2<f64>; 2] {
        let (columns, rows) = self.size();
        let (left, up) = (column.min(columns - 2), row.min(rows - 2));
        [self.at(left + 1, row) - self.at(left, row), self.at(column, up + 1) - self.at(column, up)]
    }

    /// Where the corners beyond a side would be, with the steps there and the sign that their
    /// contrast would have. Three corners tell how steps change along a line.
    fn beyond(&self, side: usize) -> Vec<(Point2<f64>, [Vector2<f64>; 2], f64)> {
        let (columns, rows) = self.size();
        let line = |at: usize| {
            let place = |inward: usize| match side {
                0 => (inward, at),
                1 => (columns - 1 - inward, at),
                2 => (at, inward),
                _ => (at, rows - 1 - inward),
            };
            let [(c0, r0), (c1, r1), (c2, r2)] = [place(0), place(1), place(2)];
            let (p0, p1, p2) = (self.at(c0, r0), self.at(c1, r1), self.at(c2, r2));
            let next = p0 + (p0 - p1) * 2.0 - (p1 - p2);
            let outward = next - p0;
            let [along, across] = self.steps(c0, r0);
            let steps = match side {
                0 => [-outward, across],
                1 => [outward, across],
                2 => [along, -outward],
                _ => [along, outward],
            };
            (next, steps, -parity(r0 * columns + c0, columns))
        };
        (0..if side < 2 { rows } else { columns }).map(line).collect()
    }

    /// Paints over the board in the brightness of its white squares, so that others are found.
    fn cover(&self, gray: &mut Mat) -> CvResult<()> {
        let (columns, rows) = self.size();
        let mut squares = Vec::new();
        for (column, row) in (0..columns - 1).flat_map(|c| (0..rows - 1).map(move |r| (c, r))) {
            let [along, across] = self.steps(column, row);
            squares.extend(brightness(gray, self.at(column, row) + (along + across) / 2.0)?);
        }
        squares.sort_by(f64::total_cmp);
        let white = squares.get(3 * squares.len() / 4).copied().unwrap_or(255.0);
        // The squares of the rim, and a little more.
        let corner = |column: usize, row: usize, right: f64, down: f64| {
            let [along, across] = self.steps(column, row);
            let at = self.at(column, row) + (along * right + across * down) * 1.15;
            #[expect(clippy::cast_possible_truncation, reason = "pixels about an image")]
            let (x, y) = (at.x.round() as i32, at.y.round() as i32);
            opencv::core::Point::new(x, y)
        };
        let (last_column, last_row) = (columns - 1, rows - 1);
        let outline: Vector<opencv::core::Point> = Vector::from_iter([
            corner(0, 0, -1.0, -1.0),
            corner(last_column, 0, 1.0, -1.0),
            corner(last_column, last_row, 1.0, 1.0),
            corner(0, last_row, -1.0, 1.0),
        ]);
        imgproc::fill_convex_poly_def(gray, &outline, opencv::core::Scalar::all(white))
    }

    fn grown(&self, gray: &Mat, side: usize) -> CvResult<Grid> {
        let (columns, rows) = self.size();
        let mut line = Vec::new();
        for (at, [along, across], _) in self.beyond(side) {
            let reach_px = 0.4 * along.norm().min(across.norm());
            line.push(refine_corner(gray, at, reach_px)?.unwrap_or(at));
        }
        let row = |row: usize| self.corners[row * columns..][..columns].iter().copied();
        let corners: Vec<Point2<f64>> = match side {
            0 => (0..rows).flat_map(|r| std::iter::once(line[r]).chain(row(r))).collect(),
            1 => (0..rows).flat_map(|r| row(r).chain([line[r]])).collect(),
            2 => line.into_iter().chain(self.corners.iter().copied()).collect(),
            _ => self.corners.iter().copied().chain(line).collect(),
        };
        Ok(Grid { columns: if side < 2 { columns + 1 } else { columns }, corners })
    }

    /// With as many columns as were said, if that is a matter of turning; seen from the front.
    fn turned_to(mut self, (x, y): (usize, usize)) -> Grid {
        let (columns, rows) = self.size();
        if (columns, rows) == (y, x) && x != y {
            let corners = (0..columns).flat_map(|c| (0..rows).map(move |r| (c, r)));
            let corners = corners.map(|(c, r)| self.at(c, r)).collect();
            self = Grid { columns: rows, corners };
        }
        let [along, across] = self.steps(0, 0);
        if along.perp(&across) < 0.0 {
            let columns = self.columns;
            self.corners.chunks_mut(columns).for_each(<[_]>::reverse);
        }
        self
    }
}

/// Whether the first whole square inside the corners is brighter than its neighbour: the board is
/// then read from its other end.
fn starts_bright(gray: &Mat, grid: &Grid) -> CvResult<bool> {
    let center = |column: usize| {
        let at = |c: usize, r: usize| grid.at(c, r).coords;
        let sum = at(column, 0) + at(column + 1, 0) + at(column, 1) + at(column + 1, 1);
        Point2::from(sum / 4.0)
    };
    Ok(brightness(gray, center(0))? > brightness(gray, center(1))?)
}

/// The mean of the pixel and its neighbours; `None` outside of the picture.
fn brightness(gray: &Mat, at: Point2<f64>) -> CvResult<Option<f64>> {
    #[expect(clippy::cast_possible_truncation, reason = "pixels of an image")]
    let (x, y) = (at.x.round() as i32, at.y.round() as i32);
    if !(1..gray.cols() - 1).contains(&x) || !(1..gray.rows() - 1).contains(&y) {
        return Ok(None);
    }
    let mut sum = 0.0;
    for (dx, dy) in [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)] {
        sum += f64::from(*gray.at_2d::<u8>(y + dy, x + dx)?);
    }
    Ok(Some(sum / 5.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Squares of 20 px from (60, 40) on, black first, on white.
    fn drawn(squares_x: i32, squares_y: i32, width: i32, height: i32) -> Mat {
        let pixel = |x: i32, y: i32| {
            let (column, row) = ((x - 60).div_euclid(20), (y - 40).div_euclid(20));
            let inside = (0..squares_x).contains(&column) && (0..squares_y).contains(&row);
            if inside && (column + row) % 2 == 0 { 30_u8 } else { 220 }
        };
        let rows: Vec<Vec<u8>> =
            (0..height).map(|y| (0..width).map(|x| pixel(x, y)).collect()).collect();
        Mat::from_slice_2d(&rows).unwrap()
    }

    /// The corner between the squares `column, row` and the ones to their upper left.
    fn corners(columns: std::ops::Range<u8>, rows: std::ops::Range<u8>) -> Grid {
        let at = |index: u8, start: f64| start + 20.0 * f64::from(index) - 0.5;
        let count = columns.len();
        let corners = rows.flat_map(|row| {
            columns.clone().map(move |column| Point2::new(at(column, 60.0), at(row, 40.0)))
        });
        Grid { columns: count, corners: corners.collect() }
    }

    #[test]
    fn a_whole_board_ends_on_all_sides() {
        let verdict = judge(&drawn(12, 9, 400, 300), &corners(1..12, 1..9)).unwrap();
        assert!(verdict.alternates());
        assert_eq!(verdict.goes_on, [Some(false); 4]);
    }

    #[test]
    fn a_part_is_known_by_its_sides_and_followed_to_the_boards_end() {
        let picture = drawn(12, 9, 400, 300);
        let part = corners(1..9, 3..8);
        let verdict = judge(&picture, &part).unwrap();
        assert_eq!(verdict.goes_on, [Some(false), Some(true), Some(true), Some(true)]);
        let (whole, verdict) = follow(&picture, part).unwrap();
        assert_eq!((whole.size(), verdict.goes_on), ((11, 8), [Some(false); 4]));
        for (found, true_) in whole.corners.iter().zip(&corners(1..12, 1..9).corners) {
            assert!((found - true_).norm() < 0.05, "{found} for {true_}");
        }
    }

    #[test]
    fn a_side_outside_of_the_picture_is_not_judged() {
        // The picture ends with the last column of squares: 60 + 12 * 20 = 300.
        let verdict = judge(&drawn(12, 9, 300, 300), &corners(1..12, 1..9)).unwrap();
        assert!(verdict.share >= 1.0 && !verdict.is_part());
        assert_eq!(verdict.goes_on, [Some(false), None, Some(false), Some(false)]);
    }

    #[test]
    fn what_does_not_alternate_is_no_board() {
        // Every second line of corners of a board with squares of 20 px.
        let wide = corners(1..12, 1..9);
        let every_second = Grid {
            columns: 5,
            corners: (0..4)
                .flat_map(|row| (0..5).map(move |column| (2 * column, 2 * row)))
                .map(|(column, row)| wide.at(column, row))
                .collect(),
        };
        assert!(!judge(&drawn(12, 9, 400, 300), &every_second).unwrap().alternates());
        assert!(!judge(&drawn(0, 0, 400, 300), &wide).unwrap().alternates());
    }

    #[test]
    fn a_grid_that_leaves_a_row_out_is_no_board() {
        let whole = corners(1..12, 1..9);
        let rows = [0, 1, 2, 3, 4, 5, 7];
        let corners = rows.into_iter().flat_map(|row| (0..11).map(move |column| (column, row)));
        let corners = corners.map(|(column, row)| whole.at(column, row)).collect();
        let verdict = judge(&drawn(12, 9, 400, 300), &Grid { columns: 11, corners }).unwrap();
        assert!(verdict.share > CORNER_SHARE_MIN && !verdict.alternates());
    }

    #[test]
    fn turning_a_grid_keeps_its_front() {
        let turned = corners(1..12, 1..9).turned_to((8, 11));
        assert_eq!(turned.size(), (8, 11));
        let [along, across] = turned.steps(0, 0);
        assert!(along.perp(&across) > 0.0);
        assert_eq!(turned.turned_to((9, 9)).size(), (8, 11));
    }

    /// The picture from `left` on is out of the camera's view.
    fn cut(picture: &Mat, left: i32) -> Mat {
        let whole = opencv::core::Rect::new(0, 0, left, picture.rows());
        Mat::roi(picture, whole).unwrap().try_clone().unwrap()
    }

    #[test]
    fn a_board_that_reaches_out_of_the_picture_is_of_no_other_size() {
        let board = |corners_x, corners_y| Board::Chessboard {
            corners_x,
            corners_y,
            square_length_m: 0.02,
        };
        let picture = cut(&drawn(12, 9, 400, 300), 245);
        let found = detect(&picture, &board(11, 8)).unwrap().unwrap();
        assert!(found.points.is_empty() && !found.ends_seen);
        assert_eq!(found.mismatch, None);
        // What is seen of it is more than was said.
        let found = detect(&picture, &board(6, 5)).unwrap().unwrap();
        let mismatch = found.mismatch.unwrap().to_string();
        assert!(mismatch.contains("8x8 inner corners are in view, and it may be"), "{mismatch}");
        // Wholly in view it is one of another size.
        let found = detect(&drawn(12, 9, 400, 300), &board(9, 6)).unwrap().unwrap();
        assert_eq!(found.mismatch, Some(Mismatch::Corners { corners_x: 11, corners_y: 8 }));
    }

    #[test]
    fn the_board_that_was_said_is_found_beside_others() {
        let board = |corners_x, corners_y| Board::Chessboard {
            corners_x,
            corners_y,
            square_length_m: 0.02,
        };
        // Squares of 20 px on the left, of 26 px on the right, and a small board below them.
        let mut picture = Mat::new_rows_cols_with_default(
            480,
            640,
            opencv::core::CV_8UC1,
            opencv::core::Scalar::all(220.0),
        )
        .unwrap();
        for (x, y, columns, rows, side) in
            [(40, 40, 10, 7, 20), (320, 40, 8, 6, 32), (60, 300, 7, 5, 22)]
        {
            for (column, row) in (0..columns).flat_map(|c| (0..rows).map(move |r| (c, r))) {
                if (column + row) % 2 == 0 {
                    let square =
                        opencv::core::Rect::new(x + side * column, y + side * row, side, side);
                    let black = opencv::core::Scalar::all(30.0);
                    imgproc::rectangle(&mut picture, square, black, -1, 8, 0).unwrap();
                }
            }
        }
        for (size, x) in [((9, 6), 60.0), ((7, 5), 352.0), ((6, 4), 82.0)] {
            let found = detect(&picture, &board(size.0, size.1)).unwrap().unwrap();
            assert_eq!((found.mismatch, found.points.len()), (None, size.0 * size.1), "{size:?}");
            let left = found.points.iter().map(|point| point.px.x).fold(f64::MAX, f64::min);
            assert!((left - x).abs() < 1.0, "{size:?}: {left}");
        }
        // Where none of them was said, the one that is named is there.
        let found = detect(&picture, &board(8, 5)).unwrap().unwrap();
        assert!(matches!(found.mismatch, Some(Mismatch::Corners { .. })), "{:?}", found.mismatch);
    }

    /// A board has its end where no square lies beyond; what covers a part of them is no end.
    #[test]
    fn a_side_that_something_lies_on_is_no_end() {
        let mut picture = drawn(12, 9, 400, 300);
        // From the middle of the seventh column of squares on, and over five of nine rows.
        let patch = opencv::core::Rect::new(190, 70, 130, 100);
        imgproc::rectangle(&mut picture, patch, opencv::core::Scalar::all(90.0), -1, 8, 0).unwrap();
        let verdict = judge(&picture, &corners(1..7, 1..9)).unwrap();
        assert!(verdict.alternates(), "{}", verdict.share);
        assert_eq!(verdict.goes_on[1], None);
    }
}

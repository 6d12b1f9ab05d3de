//! Outlines of masks as closed lines, for viewers and annotation tools that know no run-length
//! encoding.
//!
//! # Conventions
//!
//! Points are corners of pixels, and the top-left pixel covers `(0, 0)` to `(1, 1)`, as COCO's
//! polygons and Foxglove count. Outer lines run clockwise as seen on the screen, lines around holes
//! counter-clockwise.

use crate::Mask;

/// Below this deviation a line follows each corner of the pixels.
const DEVIATION_PX_MIN: f64 = 0.1;

/// A closed line; the last point joins the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    pub points_px: Vec<[i32; 2]>,
    pub is_hole: bool,
}

impl Outline {
    /// What the line encloses, holes in it included.
    pub fn area_px(&self) -> f64 {
        doubled_area(&self.points_px).abs() as f64 / 2.0
    }
}

/// Every outline of the mask, holes included. No point of the true outline is farther than
/// `deviation_px_max` from the line.
pub fn outlines(mask: &Mask, deviation_px_max: f64) -> Vec<Outline> {
    let Some(pixels) = Pixels::new(mask) else { return Vec::new() };
    let mut edges = pixels.edges();
    let mut loops = Vec::new();
    for start in 0..edges.to.len() {
        while let Some(corners) = edges.take_loop(start) {
            let points_px: Vec<[i32; 2]> = corners.iter().map(|&at| pixels.corner(at)).collect();
            let is_hole = doubled_area(&points_px) < 0;
            loops.push(Outline { points_px: simplify(&points_px, deviation_px_max), is_hole });
        }
    }
    loops
}

/// The mask inside its box, with a rim of one pixel of background.
struct Pixels {
    x_min: i32,
    y_min: i32,
    width: usize,
    inside: Vec<bool>,
}

impl Pixels {
    /// `None` for an empty mask.
    fn new(mask: &Mask) -> Option<Pixels> {
        let [x_min, y_min, x_max, y_max] = mask.bounds_px()?;
        let (width, height) = ((x_max - x_min) as usize + 2, (y_max - y_min) as usize + 2);
        let mut inside = vec![false; width * height];
        for (x, y, length) in mask.columns() {
            let column = (x - x_min) as usize + 1;
            for row in (y - y_min) as usize + 1..(y + length - y_min) as usize + 1 {
                inside[row * width + column] = true;
            }
        }
        let signed = |value: u32| i32::try_from(value).expect("images are smaller than 2^31 px");
        Some(Pixels { x_min: signed(x_min), y_min: signed(y_min), width, inside })
    }

    /// Corner `at` is the top-left one of pixel `at`.
    fn corner(&self, at: usize) -> [i32; 2] {
        let small = |value: usize| i32::try_from(value).expect("images are smaller than 2^31 px");
        [self.x_min + small(at % self.width) - 1, self.y_min + small(at / self.width) - 1]
    }

    /// The sides of inside pixels that face the outside, each from corner to corner with the
    /// inside on its right.
    fn edges(&self) -> Edges {
        let width = self.width;
        let mut edges = Edges { to: vec![[None; 2]; self.inside.len()], width };
        for at in (0..self.inside.len()).filter(|&at| self.inside[at]) {
            let (right, below) = (at + 1, at + width);
            if !self.inside[at - width] {
                edges.add(at, right);
            }
            if !self.inside[right] {
                edges.add(right, below + 1);
            }
            if !self.inside[below] {
                edges.add(below + 1, below);
            }
            if !self.inside[at - 1] {
                edges.add(below, at);
            }
        }
        edges
    }
}

/// Where the line goes from each corner: two ways where pixels only touch at it.
struct Edges {
    to: Vec<[Option<usize>; 2]>,
    width: usize,
}

impl Edges {
    fn add(&mut self, from: usize, to: usize) {
        let ways = &mut self.to[from];
        *ways.iter_mut().find(|way| way.is_none()).expect("two edges leave a corner at most") =
            Some(to);
    }

    /// Follows and removes one loop through `start`.
    fn take_loop(&mut self, start: usize) -> Option<Vec<usize>> {
        let mut corners = Vec::new();
        let (mut at, mut heading) = (start, None);
        while let Some(next) = self.take(at, heading) {
            corners.push(at);
            heading = Some(next.wrapping_sub(at));
            at = next;
            if at == start {
                break;
            }
        }
        (!corners.is_empty()).then_some(corners)
    }

    /// Where two ways leave, the right turn stays with the pixel that the line has followed.
    fn take(&mut self, at: usize, heading: Option<usize>) -> Option<usize> {
        let right_turn = heading.map(|heading| at.wrapping_add(right_of(heading, self.width)));
        let ways = &mut self.to[at];
        let preferred = ways.iter().position(|way| way.is_some() && *way == right_turn);
        let chosen = preferred.or_else(|| ways.iter().position(Option::is_some))?;
        ways[chosen].take()
    }
}

/// Steps as wrapping differences of indices, `y` down: right, down, left, up.
fn right_of(heading: usize, width: usize) -> usize {
    if heading == 1 {
        width
    } else if heading == width {
        1_usize.wrapping_neg()
    } else if heading == 1_usize.wrapping_neg() {
        width.wrapping_neg()
    } else {
        1
    }
}

/// Positive for a line that runs clockwise on the screen.
fn doubled_area(points: &[[i32; 2]]) -> i64 {
    let next = points.iter().skip(1).chain(points.first());
    let wide = |[x, y]: [i32; 2]| (i64::from(x), i64::from(y));
    let areas = points.iter().zip(next).map(|(a, b)| {
        let ((ax, ay), (bx, by)) = (wide(*a), wide(*b));
        ax * by - bx * ay
    });
    areas.sum()
}

/// Leaves out points that the line hardly bends at, so that a staircase of pixels becomes the slope
/// it stands for.
fn simplify(points: &[[i32; 2]], deviation_px_max: f64) -> Vec<[i32; 2]> {
    let bends = bends(points, deviation_px_max);
    // A line that would be left without an inside is drawn more exactly.
    match bends.len() {
        0..3 if deviation_px_max > DEVIATION_PX_MIN => simplify(points, 0.5 * deviation_px_max),
        0..3 => points.to_vec(),
        _ => bends,
    }
}

/// Ramer, Douglas and Peucker's, begun at two points that lie far apart, hence at corners.
fn bends(points: &[[i32; 2]], deviation_px_max: f64) -> Vec<[i32; 2]> {
    let farthest = |from: usize| {
        let distances = points.iter().enumerate();
        distances.max_by_key(|(_, point)| squared(points[from], **point)).map_or(0, |(at, _)| at)
    };
    if points.is_empty() {
        return Vec::new();
    }
    let (count, first) = (points.len(), farthest(0));
    let second = farthest(first);
    let (low, high) = (first.min(second), first.max(second));
    let point = |at: usize| points[at % count];
    let mut kept = vec![false; count];
    (kept[low], kept[high]) = (true, true);
    // A stack instead of recursion: outlines can be long.
    let mut spans = vec![(low, high), (high, low + count)];
    while let Some((from, to)) = spans.pop() {
        let deviations = (from + 1..to)
            .map(|at| (at, distance_px(point(at), point(from), point(to))))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((at, _)) = deviations.filter(|(_, px)| *px > deviation_px_max) {
            kept[at % count] = true;
            spans.extend([(from, at), (at, to)]);
        }
    }
    points.iter().zip(kept).filter_map(|(point, kept)| kept.then_some(*point)).collect()
}

fn squared([ax, ay]: [i32; 2], [bx, by]: [i32; 2]) -> i64 {
    let (dx, dy) = (i64::from(bx) - i64::from(ax), i64::from(by) - i64::from(ay));
    dx * dx + dy * dy
}

/// From a point to the straight line through `a` and `b`, or to `a` where they are one.
fn distance_px(point: [i32; 2], a: [i32; 2], b: [i32; 2]) -> f64 {
    let minus = |p: [i32; 2]| (f64::from(p[0] - a[0]), f64::from(p[1] - a[1]));
    let ((px, py), (bx, by)) = (minus(point), minus(b));
    let length = bx.hypot(by);
    if length == 0.0 { px.hypot(py) } else { (bx * py - by * px).abs() / length }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(rows: &[&str]) -> Mask {
        let bitmap: Vec<u8> = rows.concat().bytes().map(|b| u8::from(b == b'#')).collect();
        let size = |length: usize| u32::try_from(length).unwrap();
        Mask::from_bitmap(size(rows[0].len()), size(rows.len()), &bitmap)
    }

    fn check(rows: &[&str], expected: &[(bool, &[[i32; 2]])]) {
        let found = outlines(&mask(rows), 0.75);
        let found: Vec<_> = found.iter().map(|l| (l.is_hole, l.points_px.as_slice())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_pixel_is_outlined_at_its_corners() {
        check(&["..", ".#"], &[(false, &[[1, 1], [2, 1], [2, 2], [1, 2]])]);
    }

    #[test]
    fn nothing_has_no_outline() {
        check(&["..", ".."], &[]);
    }

    #[test]
    fn a_hole_has_an_outline_of_its_own() {
        let outer: &[[i32; 2]] = &[[0, 0], [4, 0], [4, 4], [0, 4]];
        let hole: &[[i32; 2]] = &[[1, 1], [1, 3], [3, 3], [3, 1]];
        check(&["####", "#..#", "#..#", "####"], &[(false, outer), (true, hole)]);
    }

    #[test]
    fn pixels_that_touch_at_a_corner_stay_two() {
        let first: &[[i32; 2]] = &[[0, 0], [1, 0], [1, 1], [0, 1]];
        let second: &[[i32; 2]] = &[[1, 1], [2, 1], [2, 2], [1, 2]];
        check(&["#.", ".#"], &[(false, first), (false, second)]);
    }

    #[test]
    fn a_staircase_becomes_a_slope() {
        let rows = ["########", ".#######", "..######", "...#####", "....####", ".....###"];
        let found = outlines(&mask(&rows), 0.75);
        assert_eq!(found.len(), 1);
        assert!(found[0].points_px.len() <= 6, "{:?}", found[0].points_px);
    }

    #[test]
    fn an_outline_of_few_points_still_has_an_inside() {
        let rows = ["#...", "##..", ".##.", "..##"];
        let found = outlines(&mask(&rows), 50.0);
        assert!(found.iter().all(|line| line.points_px.len() >= 3 && line.area_px() > 0.0));
        let square: &[[i32; 2]] = &[[0, 0], [3, 0], [3, 2], [0, 2]];
        assert_eq!(outlines(&mask(&["###", "###"]), 1.0)[0].points_px, square);
    }

    #[test]
    fn outlines_enclose_as_much_as_the_mask_before_they_are_simplified() {
        let side = 40;
        let bitmap: Vec<u8> = (0..side * side)
            .map(|i: i32| {
                u8::from((i % side - 20).pow(2) + (i / side - 18).pow(2) < 200 && i % 7 != 3)
            })
            .collect();
        let mask = Mask::from_bitmap(40, 40, &bitmap);
        let pixels = Pixels::new(&mask).unwrap();
        let mut edges = pixels.edges();
        let mut doubled = 0;
        for start in 0..edges.to.len() {
            while let Some(corners) = edges.take_loop(start) {
                let points: Vec<_> = corners.iter().map(|&at| pixels.corner(at)).collect();
                doubled += doubled_area(&points);
            }
        }
        assert_eq!(doubled, 2 * i64::from(mask.area_px()));
        assert!(edges.to.iter().flatten().all(Option::is_none));
    }
}

//! A box as a polygon of few corners.
//!
//! The outline of a box that nothing hides is convex, and its edges are straight: its corners lie where
//! the edges meet, which is outside a mask with rounded corners. So the convex hull loses one edge
//! after the other; its neighbours are prolonged until they meet. Then each edge is laid through the
//! outline beside it, since a hull lies outside of everything ragged.

use magpie_perception::convex_hull;
use nalgebra::Point2;

/// A box seen from anywhere has at most six corners; one more for the border of the picture, and one for
/// a dent.
const CORNERS_MAX: usize = 8;
/// How far a rounded corner may lie inside of where the edges meet, as a share of the root of the area.
/// This and the next left the least work on cartons, of those tried.
const ROUNDED_SHARE: f64 = 0.1;
/// A mask that fills less of its polygon is no whole box: something hides a part of it.
const FILLED_SHARE_MIN: f64 = 0.88;
/// So much of an edge at each end belongs to a rounded corner.
const END_SHARE: f64 = 0.15;
/// An edge with fewer pixels beside it stays where it is.
const BESIDE_MIN: usize = 4;
/// Lines that turn by less are one: where they would meet is not known.
const PARALLEL: f64 = 1e-6;
/// Edges that meet at less, as a sine, keep the corner that they had.
const FLAT: f64 = 0.1;

type Point = [f64; 2];

/// The corners of a box, from the outline of its mask along the edges of pixels; `None` if it is no
/// whole box. `size`: width and height of the picture, out of which no corner may lie.
pub(super) fn corners(
    outline: &[[i32; 2]],
    area_px: f64,
    size: (u32, u32),
) -> Option<Vec<[i32; 2]>> {
    let reach_px = ROUNDED_SHARE * area_px.sqrt();
    let points = outline.iter().map(|point| Point2::from(point.map(f64::from)));
    let hull = convex_hull(points.collect());
    let mut hull: Vec<Point> = hull.iter().map(|point| [point.x, point.y]).collect();
    while let Some((edge, corner)) = cheapest(&hull, reach_px, size) {
        let next = (edge + 1) % hull.len();
        hull[edge] = corner;
        hull.remove(next);
    }
    let is_box =
        (3..=CORNERS_MAX).contains(&hull.len()) && area_px >= FILLED_SHARE_MIN * area_of(&hull);
    is_box.then(|| laid_through(&hull, &along(outline), 2.0 * reach_px, size))
}

/// A point for each pixel that the outline passes.
fn along(outline: &[[i32; 2]]) -> Vec<Point> {
    let next = outline.iter().cycle().skip(1);
    let of_edge = |(from, to): (&[i32; 2], &[i32; 2])| {
        let (from, to) = (from.map(f64::from), to.map(f64::from));
        let steps = (to[0] - from[0]).abs().max((to[1] - from[1]).abs()).max(1.0);
        let at = move |step: u32| {
            let share = (f64::from(step) + 0.5) / steps;
            [0, 1].map(|axis| from[axis] + share * (to[axis] - from[axis]))
        };
        (0_u32..).take_while(move |step| f64::from(*step) < steps).map(at)
    };
    outline.iter().zip(next).flat_map(of_edge).collect()
}

/// The corners where lines through the points beside each edge meet; none moves farther than
/// `reach_px`.
fn laid_through(
    polygon: &[Point],
    points: &[Point],
    reach_px: f64,
    size: (u32, u32),
) -> Vec<[i32; 2]> {
    let edges: Vec<Edge> = (0..polygon.len())
        .map(|at| Edge::new(polygon[at], polygon[(at + 1) % polygon.len()]))
        .collect();
    let mut beside = vec![Vec::new(); edges.len()];
    for point in points {
        let away = |edge: &Edge| edge.away_px(*point);
        let nearest = (0..edges.len()).min_by(|a, b| away(&edges[*a]).total_cmp(&away(&edges[*b])));
        let nearest = nearest.expect("a polygon has edges");
        let share = edges[nearest].share(*point);
        if (END_SHARE..=1.0 - END_SHARE).contains(&share) {
            beside[nearest].push(*point);
        }
    }
    let lines: Vec<Edge> =
        edges.iter().zip(&beside).map(|(edge, points)| edge.through(points)).collect();
    let limits = [f64::from(size.0), f64::from(size.1)];
    let corner = |at: usize| {
        let (line, before) = (&lines[at], &lines[(at + lines.len() - 1) % lines.len()]);
        let met = before.meets(line).filter(|met| distance_px(*met, polygon[at]) <= reach_px);
        let corner = met.unwrap_or(polygon[at]);
        rounded([0, 1].map(|axis| corner[axis].clamp(0.0, limits[axis])))
    };
    (0..polygon.len()).map(corner).collect()
}

/// A straight edge, or the line that it lies on.
struct Edge {
    start: Point,
    /// Of length 1.
    direction: Point,
    length_px: f64,
}

impl Edge {
    fn new(start: Point, end: Point) -> Edge {
        let length_px = distance_px(start, end).max(f64::MIN_POSITIVE);
        let direction = [0, 1].map(|axis| (end[axis] - start[axis]) / length_px);
        Edge { start, direction, length_px }
    }

    /// Where beside the edge a point lies: 0 at its start, 1 at its end.
    fn share(&self, point: Point) -> f64 {
        let [x, y] = [point[0] - self.start[0], point[1] - self.start[1]];
        (x * self.direction[0] + y * self.direction[1]) / self.length_px
    }

    /// From the edge, not from the line beyond its ends.
    fn away_px(&self, point: Point) -> f64 {
        let along_px = self.share(point).clamp(0.0, 1.0) * self.length_px;
        let nearest = [0, 1].map(|axis| self.start[axis] + along_px * self.direction[axis]);
        distance_px(nearest, point)
    }

    /// The line with the least squared distances from the points.
    fn through(&self, points: &[Point]) -> Edge {
        if points.len() < BESIDE_MIN {
            return Edge { ..*self };
        }
        let count = points.len() as f64;
        let mean = [0, 1].map(|axis| points.iter().map(|p| p[axis]).sum::<f64>() / count);
        let moment = |a: usize, b: usize| {
            points.iter().map(|p| (p[a] - mean[a]) * (p[b] - mean[b])).sum::<f64>()
        };
        let angle = 0.5 * (2.0 * moment(0, 1)).atan2(moment(0, 0) - moment(1, 1));
        let (sine, cosine) = angle.sin_cos();
        Edge { start: mean, direction: [cosine, sine], length_px: self.length_px }
    }

    fn meets(&self, other: &Edge) -> Option<Point> {
        let (u, v) = (self.direction, other.direction);
        let sine = u[0] * v[1] - u[1] * v[0];
        let apart = [other.start[0] - self.start[0], other.start[1] - self.start[1]];
        let along_px = (apart[0] * v[1] - apart[1] * v[0]) / sine;
        (sine.abs() >= FLAT)
            .then(|| [self.start[0] + along_px * u[0], self.start[1] + along_px * u[1]])
    }
}

fn distance_px(a: Point, b: Point) -> f64 {
    (b[0] - a[0]).hypot(b[1] - a[1])
}

/// The edge whose loss adds least area, within reach, and where its neighbours meet.
fn cheapest(hull: &[Point], reach_px: f64, size: (u32, u32)) -> Option<(usize, Point)> {
    if hull.len() <= 4 {
        return None;
    }
    let count = hull.len();
    let at = |index: usize| hull[index % count];
    let removable = (0..count).filter_map(|edge| {
        let (before, start, end, after) =
            (at(edge + count - 1), at(edge), at(edge + 1), at(edge + 2));
        let corner = meeting(before, start, after, end)?;
        let length = distance_px(start, end);
        let doubled = cross(start, end, corner).abs();
        let is_near = doubled <= reach_px * length;
        (is_near && is_inside(corner, size)).then_some((doubled, edge, corner))
    });
    let least = removable.min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some((least.1, least.2))
}

/// Where the line from `a` through `b` meets the one from `c` through `d`, beyond `b` and `d`.
fn meeting(a: Point, b: Point, c: Point, d: Point) -> Option<Point> {
    let (u, v) = ([b[0] - a[0], b[1] - a[1]], [d[0] - c[0], d[1] - c[1]]);
    let turn = u[0] * v[1] - u[1] * v[0];
    if turn.abs() < PARALLEL {
        return None;
    }
    let along = |w: Point| ((c[0] - a[0]) * w[1] - (c[1] - a[1]) * w[0]) / turn;
    let (on_first, on_second) = (along(v), along(u));
    (on_first >= 1.0 && on_second >= 1.0).then(|| [a[0] + on_first * u[0], a[1] + on_first * u[1]])
}

fn is_inside(point: Point, (width_px, height_px): (u32, u32)) -> bool {
    // Half a pixel is rounded away.
    let within = |value: f64, side: u32| (-0.5..=f64::from(side) + 0.5).contains(&value);
    within(point[0], width_px) && within(point[1], height_px)
}

/// Twice the area of the triangle.
fn cross(a: Point, b: Point, c: Point) -> f64 {
    (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
}

fn area_of(polygon: &[Point]) -> f64 {
    let next = polygon.iter().cycle().skip(1);
    0.5 * polygon.iter().zip(next).map(|(a, b)| a[0] * b[1] - b[0] * a[1]).sum::<f64>().abs()
}

#[expect(clippy::cast_possible_truncation, reason = "corners lie in the picture")]
fn rounded(point: Point) -> [i32; 2] {
    point.map(|value| value.round() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_perception::{Mask, outlines};

    const SIDE: u32 = 120;

    /// What `fitted` makes of the pixels that are inside.
    fn fitted(inside: impl Fn(f64, f64) -> bool) -> Option<Vec<[i32; 2]>> {
        let center = |at: u32| f64::from(at) + 0.5;
        let bitmap: Vec<u8> = (0..SIDE * SIDE)
            .map(|at| u8::from(inside(center(at % SIDE), center(at / SIDE))))
            .collect();
        let mask = Mask::from_bitmap(SIDE, SIDE, &bitmap);
        let outline = outlines(&mask, 0.0).swap_remove(0);
        corners(&outline.points_px, f64::from(mask.area_px()), (SIDE, SIDE))
    }

    #[test]
    fn a_box_with_rounded_corners_gets_four_where_its_edges_meet() {
        // A square of 60 px, turned by 30 degrees, its corners rounded by 6 px.
        let (sine, cosine) = 30_f64.to_radians().sin_cos();
        let rounded_square = |x: f64, y: f64| {
            let (x, y) = (x - 60.0, y - 60.0);
            let along = (cosine * x + sine * y).abs() - 24.0;
            let across = (cosine * y - sine * x).abs() - 24.0;
            along.max(0.0).hypot(across.max(0.0)) <= 6.0
        };
        let found = fitted(rounded_square).unwrap();
        assert_eq!(found.len(), 4, "{found:?}");
        for [u, v] in [[-30.0, -30.0], [30.0, -30.0], [30.0, 30.0], [-30.0, 30.0]] {
            let [x, y] = [60.0 + cosine * u - sine * v, 60.0 + sine * u + cosine * v];
            let away = |p: &[i32; 2]| (f64::from(p[0]) - x).hypot(f64::from(p[1]) - y);
            let nearest = found.iter().map(away).fold(f64::INFINITY, f64::min);
            assert!(nearest < 1.5, "{nearest} px from {x}, {y}: {found:?}");
        }
    }

    #[test]
    fn a_box_that_the_picture_cuts_off_ends_at_its_border() {
        let found = fitted(|x, y| x < 50.0 && y < 70.0 && x + y > 20.0).unwrap();
        for [x, y] in &found {
            assert!((0..=SIDE as i32).contains(x) && (0..=SIDE as i32).contains(y), "{found:?}");
        }
        assert_eq!(found.len(), 5, "{found:?}");
    }

    #[test]
    fn a_box_of_which_a_part_is_hidden_is_none() {
        assert_eq!(
            fitted(|x, y| (20.0..100.0).contains(&x)
                && (20.0..100.0).contains(&y)
                && (x < 60.0 || y < 60.0)),
            None
        );
    }
}

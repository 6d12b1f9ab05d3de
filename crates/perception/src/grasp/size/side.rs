//! One side of a top face, found to a fraction of a pixel.
//!
//! Seen from above, a side that leans away ends the mask: where a line across it leaves the mask
//! needs no depth at all. On a side that faces the camera the mask ends at the foot of a wall; what
//! is measured of the wall says how far below the top it was seen, and with that where the wall
//! stands, taken to be perpendicular to the top. A wall a few pixels wide shows little depth: if
//! nothing stands before it, it is seen down to its foot.

use nalgebra::Vector3;

use super::face::{Face, Walls};
use crate::grasp::surface::depth::smooth_depth_m;
use crate::grasp::surface::grid::Grid;
use crate::grasp::surface::view::View;
use crate::number::round_px;

/// Lines across one side, over this share of it: its corners may be rounded or hidden.
const LINES: usize = 5;
const LINES_SHARE: f32 = 0.7;
/// Lines that have to agree.
const LINES_MIN: usize = 3;
/// How far off the first guess of a half side may be, as a share of it, and in pixels.
const GUESS_SHARE: f32 = 0.3;
const GUESS_PX: f32 = 3.0;
/// The end of the mask is found to this part of a pixel.
const END_PX: f32 = 0.5;
/// A wall seen this wide is looked at half-way down, a narrower one just inside the mask's edge.
const WIDE_WALL_PX: f32 = 5.0;
const INSIDE_PX: f32 = 1.5;
/// What is beside a wall leaves its foot free where it lies below this share of its height.
const FREE_SHARE: f32 = 0.5;
/// A narrow wall that was not measured is taken to be seen down to this share of its height.
const UNSEEN_SHARE: f32 = 0.5;

/// One side of a face, in metres from its centre.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side {
    pub(super) at_m: f32,
    /// Outwards, over the way along the other axis.
    pub(super) slope: f32,
}

impl Side {
    /// The median of the lines, and the median of the slopes between lines half a side apart. A line
    /// is its place along the side, and where the side is there.
    fn through(lines: &mut [[f32; 2]]) -> Side {
        let half = lines.len() / 2;
        let mut slopes = [0.0; LINES];
        let pairs = lines.len() - half;
        for (slope, first) in slopes.iter_mut().zip(0..pairs) {
            let ([one_m, one], [other_m, other]) = (lines[first], lines[first + half]);
            *slope = (other - one) / (other_m - one_m);
        }
        let slope = *slopes[..pairs].select_nth_unstable_by(pairs / 2, f32::total_cmp).1;
        lines.select_nth_unstable_by(half, |a, b| a[1].total_cmp(&b[1]));
        Side { at_m: lines[half][1], slope }
    }
}

/// What is to be known of a face to find one of its sides in a picture.
pub(super) struct SideSearch<'a> {
    grid: &'a Grid,
    view: View<'a>,
    walls: Walls,
    center: Vector3<f32>,
    normal: Vector3<f32>,
    /// Across the side, and along it.
    outwards: Vector3<f32>,
    along: Vector3<f32>,
    /// First guesses: from the centre to the side, and half of the side's own length.
    half_m: f32,
    half_length_m: f32,
    pixel_m: f32,
    camera_above_m: f32,
    /// How far beyond the side the camera stands: only then its wall is seen.
    beyond_m: f32,
}

impl<'a> SideSearch<'a> {
    /// The side along the other axis than `axis`, ahead (`sign` is 1) or behind (-1) on that.
    pub(super) fn new(
        face: &Face,
        (axis, sign): (usize, f32),
        grid: &'a Grid,
        view: View<'a>,
        walls: Walls,
    ) -> SideSearch<'a> {
        let (outwards, half_m) = (face.axes[axis] * sign, face.half_m[axis]);
        SideSearch {
            grid,
            view,
            walls,
            center: face.center,
            normal: face.normal,
            outwards,
            along: face.axes[1 - axis],
            half_m,
            half_length_m: face.half_m[1 - axis],
            pixel_m: face.center.z / view.rays.focal_px,
            camera_above_m: -face.normal.dot(&face.center),
            beyond_m: (-outwards.dot(&face.center) - half_m).max(0.0),
        }
    }

    /// `None` where the side shows too little.
    pub(super) fn find(&self) -> Option<Side> {
        let (mut lines, mut count) = ([[0.0; 2]; LINES], 0);
        for line in 0..LINES {
            let share = (2 * line + 1) as f32 / LINES as f32 - 1.0;
            let aside_m = share * LINES_SHARE * self.half_length_m;
            let start = self.center + self.along * aside_m;
            if let Some(at_m) = self.side_on_line_m(&start) {
                lines[count] = [aside_m, at_m];
                count += 1;
            }
        }
        (count >= LINES_MIN).then(|| Side::through(&mut lines[..count]))
    }

    /// Where the side is on the line from `start` outwards.
    #[inline]
    fn side_on_line_m(&self, start: &Vector3<f32>) -> Option<f32> {
        let end_m = self.mask_end_m(start)?;
        if self.beyond_m > 0.0 { self.wall_m(start, end_m) } else { Some(end_m) }
    }

    /// Where the mask ends, by bisection; `None` unless it does so near the guess.
    #[inline]
    fn mask_end_m(&self, start: &Vector3<f32>) -> Option<f32> {
        let slack_m = GUESS_SHARE * self.half_m + GUESS_PX * self.pixel_m;
        let outermost_m = self.half_m + slack_m + self.shown_m(self.walls.thickness_m);
        let is_inside = |at_m: f32| self.grid.contains(self.px(start, at_m));
        let (mut inside_m, mut outside_m) = ((self.half_m - slack_m).max(0.0), outermost_m);
        if !is_inside(inside_m) || is_inside(outside_m) {
            return None;
        }
        while outside_m - inside_m > END_PX * self.pixel_m {
            let at_m = 0.5 * (inside_m + outside_m);
            let bound = if is_inside(at_m) { &mut inside_m } else { &mut outside_m };
            *bound = at_m;
        }
        Some(0.5 * (inside_m + outside_m))
    }

    /// Where the wall stands whose picture ends at `end_m`; `None` where nothing says how far down
    /// a wide wall was seen.
    #[inline]
    fn wall_m(&self, start: &Vector3<f32>, end_m: f32) -> Option<f32> {
        let Walls { thickness_m, reach_down } = self.walls;
        let is_wide = end_m - self.half_m > WIDE_WALL_PX * self.pixel_m;
        let inside_m = INSIDE_PX * self.pixel_m;
        let look_m = if is_wide { 0.5 * (end_m + self.half_m) } else { end_m - inside_m };
        // Where nothing stands before it the mask ends at the wall's foot.
        let is_free = |beside_m| beside_m > FREE_SHARE * thickness_m;
        let ends_at_foot =
            reach_down && self.below_top_m(start, end_m + inside_m).is_none_or(is_free);
        let is_shown = self.grid.contains(self.px(start, look_m));
        let seen = is_shown.then(|| self.below_top_m(start, look_m)).flatten();
        let below_m = match seen {
            Some(below_m) if is_wide || !ends_at_foot => below_m,
            Some(below_m) => {
                below_m + thickness_m * inside_m / self.shown_m(thickness_m).max(inside_m)
            }
            // A hole, as there are many beside walls; the whole wall would be this wide.
            None if self.shown_m(thickness_m) < WIDE_WALL_PX * self.pixel_m => {
                if ends_at_foot {
                    thickness_m
                } else {
                    UNSEEN_SHARE * thickness_m
                }
            }
            None => return None,
        };
        let from_m = if is_wide { look_m } else { end_m };
        Some(from_m - self.shown_m(below_m.clamp(0.0, thickness_m)))
    }

    /// How wide a wall is seen, measured on the face, down to so far below the top.
    #[inline]
    fn shown_m(&self, below_m: f32) -> f32 {
        self.beyond_m * below_m / (self.camera_above_m + below_m)
    }

    /// How far below the top lies what is seen on the line.
    #[inline]
    fn below_top_m(&self, start: &Vector3<f32>, at_m: f32) -> Option<f32> {
        let [x, y] = self.px(start, at_m);
        let (x_px, y_px) = (round_px(x), round_px(y));
        let depth = self.view.depth;
        let is_seen = x_px < depth.width_px() && y_px < depth.height_px();
        let z_m = is_seen.then(|| smooth_depth_m(depth, x_px, y_px))??;
        let point = self.view.rays.at(x, y) * z_m;
        Some(-self.normal.dot(&(point - self.center)))
    }

    /// The pixel of a place on the line.
    #[inline]
    fn px(&self, start: &Vector3<f32>, at_m: f32) -> [f32; 2] {
        let point = start + self.outwards * at_m;
        self.view.rays.project(point.x / point.z, point.y / point.z)
    }
}

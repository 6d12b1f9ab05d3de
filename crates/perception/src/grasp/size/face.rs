//! The top face of a package as a rectangle whose four sides are found to a fraction of a pixel.
//!
//! Seen from above, a side that leans away ends the mask: where a line across it leaves the mask
//! needs no depth at all. On a side that faces the camera the mask ends at the foot of a wall; what
//! is measured of the wall says how far below the top it was seen, and with that where the wall
//! stands, taken to be perpendicular to the top. Of a wall a few pixels wide depth shows little: if
//! nothing stands before it, it is seen down to its foot.

use nalgebra::Vector3;

use crate::grasp::surface::grid::{Grid, smooth_depth_m};
use crate::grasp::surface::patch::View;
use crate::number::round_px;

/// Lines across one side, over this share of it: its corners may be rounded or hidden.
const LINES: usize = 5;
const LINES_SHARE: f32 = 0.7;
/// Lines that have to agree.
const LINES_MIN: usize = 3;
/// How far off the first guess of a half side may be, as a share of it, and in pixels.
const GUESS_SHARE: f32 = 0.3;
const GUESS_PX: f32 = 3.0;
/// A wall seen this wide is looked at in its middle, a narrower one just inside the mask's edge.
const WIDE_WALL_PX: f32 = 5.0;
const INSIDE_PX: f32 = 1.5;
/// In radians: below it the sides' places do not change, above it the first guess was of no use.
const TURN_MIN: f32 = 0.03;
const TURN_MAX: f32 = 0.4;

/// A rectangle in the optical frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Face {
    pub(crate) middle: Vector3<f32>,
    /// Of unit length, towards the camera.
    pub(crate) normal: Vector3<f32>,
    /// Of unit length, along the sides.
    pub(crate) axes: [Vector3<f32>; 2],
    pub(crate) half_m: [f32; 2],
}

/// Of a package between its top face and the support plane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walls {
    pub(crate) thickness_m: f32,
    /// Straight down to where the package ends, as those of boxes do.
    pub(crate) reach_down: bool,
}

impl Face {
    /// Moves each side to where the picture has it, after turning the rectangle as its sides lie; a
    /// side that shows too little stays.
    pub(crate) fn refine(&mut self, grid: &Grid, view: View<'_>, walls: Walls) {
        let mut sides = self.sides(grid, view, walls);
        let turn = self.turn(&sides);
        if turn.abs() > TURN_MIN {
            let [along, across] = self.axes;
            let (cos, sin) = (turn.cos(), turn.sin());
            self.axes = [along * cos + across * sin, across * cos - along * sin];
            sides = self.sides(grid, view, walls);
        }
        for (axis, pair) in sides.iter().enumerate() {
            let [ahead_m, behind_m] = pair.map(|side| side.map_or(self.half_m[axis], |s| s.at_m));
            self.middle += self.axes[axis] * (0.5 * (ahead_m - behind_m));
            self.half_m[axis] = 0.5 * (ahead_m + behind_m);
        }
    }

    fn sides(&self, grid: &Grid, view: View<'_>, walls: Walls) -> [[Option<Side>; 2]; 2] {
        [0, 1].map(|axis| [1.0, -1.0].map(|sign| self.side(axis, sign, grid, view, walls)))
    }

    /// The angle from the axes to the sides, from the first axis to the second one, in radians:
    /// the mean of all sides, long ones counting most.
    fn turn(&self, sides: &[[Option<Side>; 2]; 2]) -> f32 {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (axis, pair) in sides.iter().enumerate() {
            // Along the second axis a side of the first one recedes when turned, and so on.
            let direction = if axis == 0 { -1.0 } else { 1.0 };
            for (side, sign) in pair.iter().zip([1.0, -1.0]) {
                if let Some(side) = side {
                    let weight = self.half_m[1 - axis].powi(2);
                    sum += weight * direction * sign * side.slope;
                    weights += weight;
                }
            }
        }
        if weights > 0.0 { (sum / weights).atan().clamp(-TURN_MAX, TURN_MAX) } else { 0.0 }
    }

    fn side(
        &self,
        axis: usize,
        sign: f32,
        grid: &Grid,
        view: View<'_>,
        walls: Walls,
    ) -> Option<Side> {
        let Walls { thickness_m, reach_down } = walls;
        let (outwards, along) = (self.axes[axis] * sign, self.axes[1 - axis]);
        let half_m = self.half_m[axis];
        let pixel_m = self.middle.z / view.rays.focal_px;
        let camera_above_m = -self.normal.dot(&self.middle);
        // How far beyond the side the camera stands: only then its wall is seen.
        let beyond_m = (-outwards.dot(&self.middle) - half_m).max(0.0);
        let on_face = |below_m: f32| beyond_m * below_m / (camera_above_m + below_m);
        let slack_m = GUESS_SHARE * half_m + GUESS_PX * pixel_m;
        let outermost_m = half_m + slack_m + on_face(thickness_m);
        let (mut lines, mut count) = ([[0.0; 2]; LINES], 0);
        for line in 0..LINES {
            let share = (2 * line + 1) as f32 / LINES as f32 - 1.0;
            let aside_m = share * LINES_SHARE * self.half_m[1 - axis];
            let start = self.middle + along * aside_m;
            let px = |at_m: f32| {
                let point = start + outwards * at_m;
                view.rays.project(point.x / point.z, point.y / point.z)
            };
            let (mut inside_m, mut outside_m) = ((half_m - slack_m).max(0.0), outermost_m);
            if !grid.contains(px(inside_m)) || grid.contains(px(outside_m)) {
                continue;
            }
            while outside_m - inside_m > 0.5 * pixel_m {
                let at_m = 0.5 * (inside_m + outside_m);
                let bound = if grid.contains(px(at_m)) { &mut inside_m } else { &mut outside_m };
                *bound = at_m;
            }
            let end_m = 0.5 * (inside_m + outside_m);
            let mut at_m = end_m;
            if beyond_m > 0.0 {
                let is_wide = end_m - half_m > WIDE_WALL_PX * pixel_m;
                let look_m =
                    if is_wide { 0.5 * (end_m + half_m) } else { end_m - INSIDE_PX * pixel_m };
                let below_m = |at_m: f32| {
                    let [x, y] = px(at_m);
                    let (x_px, y_px) = (round_px(x), round_px(y));
                    let is_seen = x_px < view.depth.width_px() && y_px < view.depth.height_px();
                    let z_m = is_seen.then(|| smooth_depth_m(view.depth, x_px, y_px))??;
                    let point = view.rays.at(x, y) * z_m;
                    Some(-self.normal.dot(&(point - self.middle)))
                };
                let inside_m = INSIDE_PX * pixel_m;
                // Where nothing stands before it the mask ends at the wall's foot.
                let is_free = |beside_m| beside_m > 0.5 * thickness_m;
                let ends_at_foot = reach_down && below_m(end_m + inside_m).is_none_or(is_free);
                let seen = grid.contains(px(look_m)).then(|| below_m(look_m)).flatten();
                let below_m = match seen {
                    Some(below_m) if is_wide || !ends_at_foot => below_m,
                    Some(below_m) => {
                        below_m + thickness_m * inside_m / on_face(thickness_m).max(inside_m)
                    }
                    // A hole, as there are many beside walls; the whole wall would be this wide.
                    None if on_face(thickness_m) < WIDE_WALL_PX * pixel_m => {
                        if ends_at_foot {
                            thickness_m
                        } else {
                            0.5 * thickness_m
                        }
                    }
                    None => continue,
                };
                let from_m = if is_wide { look_m } else { end_m };
                at_m = from_m - on_face(below_m.clamp(0.0, thickness_m));
            }
            lines[count] = [aside_m, at_m];
            count += 1;
        }
        (count >= LINES_MIN).then(|| Side::through(&mut lines[..count]))
    }
}

/// One side of a face, in metres from its middle.
#[derive(Clone, Copy, Debug)]
struct Side {
    at_m: f32,
    /// Outwards, over the way along the other axis.
    slope: f32,
}

impl Side {
    /// The median, and the median of the slopes between lines half a side apart.
    fn through(lines: &mut [[f32; 2]]) -> Side {
        let half = lines.len() / 2;
        let mut slopes = [0.0; LINES];
        let pairs = lines.len() - half;
        for (slope, first) in slopes.iter_mut().zip(0..pairs) {
            let ([one_m, one], [other_m, other]) = (lines[first], lines[first + half]);
            *slope = (other - one) / (other_m - one_m);
        }
        let slope = *slopes[..pairs].select_nth_unstable_by(pairs / 2, f32::total_cmp).1;
        let middle = lines.len() / 2;
        lines.select_nth_unstable_by(middle, |a, b| a[1].total_cmp(&b[1]));
        Side { at_m: lines[middle][1], slope }
    }
}

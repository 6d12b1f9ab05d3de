//! The rectangle of a top face, moved to where the picture has its sides.

use super::face::{Face, Walls};
use super::side::{Side, SideSearch};
use crate::grasp::surface::grid::Grid;
use crate::grasp::surface::view::View;

/// In radians: below it the sides' places do not change, above it the first guess was of no use.
const TURN_MIN: f32 = 0.03;
const TURN_MAX: f32 = 0.4;

/// By axis, then ahead and behind on it; `None` where a side shows too little.
type Sides = [[Option<Side>; 2]; 2];
const SIGNS: [f32; 2] = [1.0, -1.0];

/// Moves each side to where the picture has it, after turning the rectangle as its sides lie; a side
/// that shows too little stays.
pub(super) fn refine(face: &mut Face, grid: &Grid, view: View<'_>, walls: Walls) {
    let find_sides = |face: &Face| -> Sides {
        [0, 1].map(|axis| {
            SIGNS.map(|sign| SideSearch::new(face, (axis, sign), grid, view, walls).find())
        })
    };
    let mut sides = find_sides(face);
    let turn = turn(face, &sides);
    if turn.abs() > TURN_MIN {
        let [along, across] = face.axes;
        let (cos, sin) = (turn.cos(), turn.sin());
        face.axes = [along * cos + across * sin, across * cos - along * sin];
        sides = find_sides(face);
    }
    for (axis, pair) in sides.iter().enumerate() {
        let [ahead_m, behind_m] = pair.map(|side| side.map_or(face.half_m[axis], |s| s.at_m));
        face.center += face.axes[axis] * (0.5 * (ahead_m - behind_m));
        face.half_m[axis] = 0.5 * (ahead_m + behind_m);
    }
}

/// The angle from the axes to the sides, from the first axis to the second one, in radians: the mean
/// of all sides, long ones counting most.
fn turn(face: &Face, sides: &Sides) -> f32 {
    let (mut sum, mut weights) = (0.0, 0.0);
    for (axis, pair) in sides.iter().enumerate() {
        // Along the second axis a side of the first one recedes when turned, and so on.
        let direction = if axis == 0 { -1.0 } else { 1.0 };
        for (side, sign) in pair.iter().zip(SIGNS) {
            if let Some(side) = side {
                let weight = face.half_m[1 - axis].powi(2);
                sum += weight * direction * sign * side.slope;
                weights += weight;
            }
        }
    }
    if weights > 0.0 { (sum / weights).atan().clamp(-TURN_MAX, TURN_MAX) } else { 0.0 }
}

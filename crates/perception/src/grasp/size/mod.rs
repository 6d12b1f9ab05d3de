//! Length, width and height of a package: its top face by a robust plane, its outline by moments,
//! its sides by where the mask ends.
//!
//! # Conventions
//! Heights are along the support plane's normal; `u` and `v` are the other two directions.

mod cells;
pub(crate) mod extent;
mod face;
mod moments;
mod refine;
mod side;
pub(crate) mod support;
mod top;

use nalgebra::Vector3;

use self::cells::CellCoordinates;
use self::extent::Extent;
use self::face::{Face, Walls};
use self::moments::{Bounds, Moments};
use self::refine::refine;
use self::support::SupportPlane;
use self::top::{CELLS_MIN, TopPlane};
use super::surface::grid::Grid;
use super::surface::rays::Rays;
use super::surface::view::View;
use crate::number::floor_index;

/// Fewer cells away from the face's edges do not tell its slope.
const CELLS_INNER_MIN: usize = 30;
/// A top face that holds less of what is seen is not what the package is bounded by,
const FLAT_SHARE_MIN: f32 = 0.5;
/// unless the rest is a side, which a camera aslant sees more of: this share of it, far below.
const SIDE_SHARE_MIN: f32 = 0.7;
const SIDE_BELOW_M: f32 = 0.025;
const FLAT_SHARE_MIN_BESIDE: f32 = 0.2;
/// Cells this near to the plane through the upper half are on the top, and at last those this near to
/// the plane through them; both with so many standard deviations of the noise more.
const NEAR_UPPER_M: f32 = 0.015;
const NEAR_TOP_M: f32 = 0.007;
const NOISE_SIGMAS: f32 = 3.0;
/// A package without a flat top is as high as this quantile of its cells: the highest may be noise.
const HEIGHT_QUANTILE: f32 = 0.97;
/// Noise tilts every face a little: up to this slope the top counts as level.
const LEVEL_SLOPE_MAX: f32 = 0.06;
/// Second moments of a face with such proportions hardly tell its direction.
const NEARLY_SQUARE: f32 = 1.25;

/// What a cell of the grid is, in [`SizeBuffers::state`].
const UNKNOWN: u8 = 0;
const ON_TOP: u8 = 1;
const OFF_TOP: u8 = 2;

/// Buffers of a measurement, kept from package to package.
#[derive(Debug, Default)]
pub(crate) struct SizeBuffers {
    /// An entry for each cell with depth, as in the next three.
    cells: CellCoordinates,
    heights_m: Vec<f32>,
    on_top: Vec<bool>,
    inner: Vec<bool>,
    /// By grid index.
    state: Vec<u8>,
    /// By grid index, from the second column on: 1 where a cell and its neighbours are on the top.
    amid: Vec<u8>,
}

impl SizeBuffers {
    /// `None` where too little of the package was measured. `has_walls`: the package is as wide at
    /// its foot as at its top. `noise_m` is that of a cell.
    pub(crate) fn measure(
        &mut self,
        grid: &Grid,
        view: View<'_>,
        support: &SupportPlane,
        noise_m: f32,
        has_walls: bool,
    ) -> Option<Extent> {
        if grid.cells.len() < CELLS_MIN {
            return None;
        }
        let origin = grid.cells[grid.cells.len() / 2].point_in_camera;
        self.cells.fill(grid, support, &origin);
        let top = self.find_top(grid, noise_m).filter(|top| self.is_bounded_by(top, noise_m));
        if top.is_none() {
            self.on_top.fill(true);
        }
        let moments = self.outline(grid, view.rays, support, &origin, top);
        let cell_m = grid.step_px as f32 * origin.z / view.rays.focal_px;
        let Some(top) = top else {
            let height_m = self.quantile_m(HEIGHT_QUANTILE);
            let face = level_face(support, &origin, &moments, cell_m, height_m);
            return Some(Extent::below(&face, support, height_m));
        };
        let mut face = self.top_face(grid, support, &origin, &top, &moments, cell_m);
        let thickness_m = support.height_m(&face.center).max(0.0);
        refine(&mut face, grid, view, Walls { thickness_m, reach_down: has_walls });
        let rise_m = if top.u_slope.hypot(top.v_slope) > LEVEL_SLOPE_MAX {
            (0..2).map(|axis| support.up.dot(&face.axes[axis]).abs() * face.half_m[axis]).sum()
        } else {
            0.0
        };
        Some(Extent::below(&face, support, support.height_m(&face.center) + rise_m))
    }

    /// First guess of the top face, from its moments.
    fn top_face(
        &self,
        grid: &Grid,
        support: &SupportPlane,
        origin: &Vector3<f32>,
        top: &TopPlane,
        moments: &Moments,
        cell_m: f32,
    ) -> Face {
        let mut axis = moments.long_axis();
        let mut sides_m = moments.sides_m(axis, cell_m);
        if sides_m[0] < NEARLY_SQUARE * sides_m[1] {
            axis = self.square_axis(grid, moments);
            sides_m = moments.sides_m(axis, cell_m);
        }
        let normal = (support.up - support.u * top.u_slope - support.v * top.v_slope).normalize();
        let along = support.direction(axis);
        let along = (along - normal * normal.dot(&along)).normalize();
        let across = normal.cross(&along);
        // On the slope lengths are longer than on the support plane.
        let stretched = |extent_m: f32, direction: &Vector3<f32>| {
            0.5 * extent_m / (1.0 - support.up.dot(direction).powi(2)).sqrt()
        };
        Face {
            center: center(support, origin, moments, top.height_m(moments.u, moments.v)),
            normal,
            axes: [along, across],
            half_m: [stretched(sides_m[0], &along), stretched(sides_m[1], &across)],
        }
    }

    /// Along a side of a square, whose second moments have no direction: its fourth ones do.
    fn square_axis(&self, grid: &Grid, moments: &Moments) -> [f32; 2] {
        let (mut real, mut imaginary) = (0.0, 0.0);
        let seen = grid.cells.iter().zip(self.cells.iter()).zip(&self.on_top);
        for ((cell, (u, v, _)), _) in seen.filter(|(_, on)| **on) {
            let (u, v) = (u - moments.u, v - moments.v);
            // (u + iv)^4, squared twice.
            let (re, im) = (u * u - v * v, 2.0 * u * v);
            let weight = cell.point_in_camera.z.powi(2);
            real += weight * (re * re - im * im);
            imaginary += weight * 2.0 * re * im;
        }
        // The corners reach farthest, an eighth of a turn off the sides.
        let angle = 0.25 * (-imaginary).atan2(-real);
        [angle.cos(), angle.sin()]
    }

    /// Whether the package ends where its top face does.
    fn is_bounded_by(&self, top: &TopPlane, noise_m: f32) -> bool {
        let share = |count: usize, of: usize| count as f32 / of.max(1) as f32;
        let (all, on_top) = (self.on_top.len(), self.on_top.iter().filter(|on| **on).count());
        let flat_share = share(on_top, all);
        if !(FLAT_SHARE_MIN_BESIDE..FLAT_SHARE_MIN).contains(&flat_share) {
            return flat_share >= FLAT_SHARE_MIN;
        }
        let below_m = SIDE_BELOW_M + NOISE_SIGMAS * noise_m;
        let off_top = self.cells.iter().zip(&self.on_top).filter(|(_, on)| !**on);
        let beside = off_top.filter(|((u, v, h), _)| top.height_m(*u, *v) - h > below_m);
        share(beside.count(), all - on_top) >= SIDE_SHARE_MIN
    }

    fn quantile_m(&mut self, share: f32) -> f32 {
        let at = floor_index(share * (self.heights_m.len() - 1) as f32);
        *self.heights_m.select_nth_unstable_by(at, f32::total_cmp).1
    }

    /// A plane through the upper half, narrowed to what lies on it.
    fn find_top(&mut self, grid: &Grid, noise_m: f32) -> Option<TopPlane> {
        self.heights_m.clone_from(&self.cells.height_m);
        let median_m = self.quantile_m(0.5);
        self.on_top.clear();
        self.on_top.extend(self.cells.height_m.iter().map(|height_m| *height_m >= median_m));
        let upper = TopPlane::fit(&self.cells, &self.on_top)?;
        self.keep_near(&upper, NEAR_UPPER_M + NOISE_SIGMAS * noise_m);
        self.keep_inner(grid);
        let inner = self.inner.iter().filter(|inner| **inner).count();
        let near = if inner < CELLS_INNER_MIN { &self.on_top } else { &self.inner };
        let top = TopPlane::fit(&self.cells, near)?;
        self.keep_near(&top, NEAR_TOP_M + NOISE_SIGMAS * noise_m);
        Some(top)
    }

    fn keep_near(&mut self, top: &TopPlane, limit_m: f32) {
        for (on, (u, v, h)) in self.on_top.iter_mut().zip(self.cells.iter()) {
            *on = (h - top.height_m(u, v)).abs() < limit_m;
        }
    }

    /// Those on the top whose neighbours are: next to a wall, a cell's depth is part of the wall's.
    fn keep_inner(&mut self, grid: &Grid) {
        self.state.clear();
        self.state.resize(grid.edge.len(), UNKNOWN);
        for (cell, on) in grid.cells.iter().zip(&self.on_top) {
            self.state[cell.index as usize] = if *on { ON_TOP } else { UNKNOWN };
        }
        let rows = grid.rows;
        let count = self.state.len() - 2 * rows;
        let from = |first: usize| self.state[first..][..count].iter();
        let lines = from(rows - 1).zip(from(rows)).zip(from(rows + 1));
        let aside = from(0).zip(from(2 * rows));
        self.amid.clear();
        self.amid.extend(lines.zip(aside).map(|(((a, b), c), (d, e))| a & b & c & d & e));
        self.inner.clear();
        let amid = grid.cells.iter().map(|cell| self.amid[cell.index as usize - rows] == ON_TOP);
        self.inner.extend(amid);
    }

    /// Moments of the face, holes in it included.
    fn outline(
        &mut self,
        grid: &Grid,
        rays: &Rays,
        support: &SupportPlane,
        origin: &Vector3<f32>,
        top: Option<TopPlane>,
    ) -> Moments {
        let (mut moments, mut bounds) = (Moments::default(), Bounds::default());
        let cell_m = grid.step_px as f32 * origin.z / rays.focal_px;
        self.state.clear();
        self.state.resize(grid.edge.len(), UNKNOWN);
        let seen = grid.cells.iter().zip(self.cells.iter());
        for ((cell, (u, v, _)), on) in seen.zip(&self.on_top) {
            self.state[cell.index as usize] = if *on { ON_TOP } else { OFF_TOP };
            if *on {
                // A cell shows the more of the face the farther away it is.
                let weight = cell.point_in_camera.z.powi(2);
                moments.add(u, v, weight);
                bounds = bounds.with(u, v);
            }
        }
        let Some(top) = top else { return moments.centered() };
        let normal = support.up - support.u * top.u_slope - support.v * top.v_slope;
        let offset_m = normal.dot(origin) - support.height_m(origin) + top.at_m;
        for index in grid.rows + 1..grid.edge.len() - grid.rows - 1 {
            if grid.edge[index] == 0 || self.state[index] != UNKNOWN {
                continue;
            }
            let beside = [index - 1, index + 1, index - grid.rows, index + grid.rows];
            let count = |of| beside.iter().filter(|at| self.state[**at] == of).count();
            if count(ON_TOP) <= count(OFF_TOP) {
                continue;
            }
            let [x, y] = grid.px(index);
            let ray = rays.at(x as f32, y as f32);
            let z_m = offset_m / normal.dot(&ray);
            let d = ray * z_m - origin;
            let (u, v) = (support.u.dot(&d), support.v.dot(&d));
            // A face seen edge-on would be met anywhere.
            if z_m > 0.0 && bounds.contains(u, v, cell_m) {
                moments.add(u, v, z_m * z_m);
            }
        }
        moments.centered()
    }
}

/// The face of a package without a flat top: level, at this height.
fn level_face(
    support: &SupportPlane,
    origin: &Vector3<f32>,
    moments: &Moments,
    cell_m: f32,
    height_m: f32,
) -> Face {
    let axis = moments.long_axis();
    Face {
        center: center(support, origin, moments, height_m),
        normal: support.up,
        axes: [support.direction(axis), support.direction([-axis[1], axis[0]])],
        half_m: moments.sides_m(axis, cell_m).map(|side_m| 0.5 * side_m),
    }
}

/// The point above the centre of the outline, whose moments count from `origin`.
fn center(
    support: &SupportPlane,
    origin: &Vector3<f32>,
    moments: &Moments,
    height_m: f32,
) -> Vector3<f32> {
    let (base_u, base_v) = (support.u.dot(origin), support.v.dot(origin));
    support.point(moments.u + base_u, moments.v + base_v, height_m)
}

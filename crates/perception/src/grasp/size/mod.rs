//! Length, width and height of a package: its top face by a robust plane, its outline by moments.
//!
//! # Conventions
//! Heights are along the support plane's normal; `u` and `v` are the other two directions.

mod face;

use nalgebra::{Point3, Unit, Vector3};

use self::face::{Face, Walls};
use crate::grasp::surface::grid::Grid;
use crate::grasp::surface::patch::View;
use crate::grasp::surface::rays::Rays;
use crate::number::to_f32;
use crate::{Plane, SizeM};

/// Fewer cells show no face.
const CELLS_MIN: usize = 12;
/// Fewer away from the face's edges do not tell its slope.
const CELLS_INNER_MIN: usize = 30;
/// A top face that holds less of what is seen is not what the package is bounded by,
const FLAT_SHARE_MIN: f32 = 0.5;
/// unless the rest is a side, which a camera aslant sees more of: this share of it, far below.
const SIDE_SHARE_MIN: f32 = 0.7;
const SIDE_BELOW_M: f32 = 0.025;
const FLAT_SHARE_MIN_BESIDE: f32 = 0.2;

/// Of such proportions a face's second moments hardly tell its direction.
const NEARLY_SQUARE: f32 = 1.25;

/// The support plane, and two directions in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ground {
    pub(crate) up: Vector3<f32>,
    pub(crate) offset_m: f32,
    u: Vector3<f32>,
    v: Vector3<f32>,
}

impl Ground {
    pub(crate) fn new(plane: &Plane) -> Ground {
        Ground::upwards(&plane.normal, to_f32(plane.offset_m))
    }

    pub(crate) fn upwards(normal: &Unit<Vector3<f64>>, offset_m: f32) -> Ground {
        let up = normal.into_inner().cast::<f32>();
        let u = crate::grasp::surface::patch::tangent(&up);
        Ground { up, offset_m, u, v: up.cross(&u) }
    }

    pub(crate) fn height_m(&self, point: &Vector3<f32>) -> f32 {
        self.up.dot(point) - self.offset_m
    }

    fn direction(&self, [u, v]: [f32; 2]) -> Vector3<f32> {
        self.u * u + self.v * v
    }

    fn point(&self, u: f32, v: f32, height_m: f32) -> Vector3<f32> {
        self.u * u + self.v * v + self.up * (height_m + self.offset_m)
    }
}

/// What the visible surface says about the whole package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Body {
    pub(crate) size: SizeM,
    /// Middle of the top.
    pub(crate) top: Vector3<f32>,
    /// Guess of the middle of the package itself: below the top, against the top's normal, by half
    /// of its thickness, which is no more than its height above the support and than its width.
    pub(crate) center: Vector3<f32>,
    /// Half-way between top and support.
    pub(crate) middle: Point3<f64>,
    /// Direction of the length, along the surface.
    pub(crate) long_axis: Vector3<f32>,
    /// Cosine of the angle by which the top leans.
    pub(crate) upright: f32,
}

impl Body {
    fn below(face: &Face, ground: &Ground, height_m: f32) -> Body {
        let [one_m, other_m] = face.half_m.map(|half_m| 2.0 * half_m);
        let (length_m, width_m) = (one_m.max(other_m), one_m.min(other_m));
        let height_m = height_m.max(0.0);
        let above_m = ground.height_m(&face.middle);
        let thickness_m = above_m.max(0.0).min(width_m);
        let middle = face.middle - ground.up * (0.5 * above_m);
        Body {
            size: SizeM {
                length_m: f64::from(length_m),
                width_m: f64::from(width_m),
                height_m: f64::from(height_m),
            },
            top: face.middle,
            center: face.middle - face.normal * (0.5 * thickness_m),
            middle: Point3::from(middle.cast::<f64>()),
            long_axis: face.axes[usize::from(other_m > one_m)],
            upright: face.normal.dot(&ground.up),
        }
    }
}

/// The cells of a grid as the ground has them: along it from an origin, and over it.
#[derive(Debug, Default)]
struct Places {
    u_m: Vec<f32>,
    v_m: Vec<f32>,
    height_m: Vec<f32>,
}

impl Places {
    fn fill(&mut self, grid: &Grid, ground: &Ground, origin: &Vector3<f32>) {
        let along = |axis: Vector3<f32>| {
            grid.cells.iter().map(move |cell| axis.dot(&(cell.point_in_camera - origin)))
        };
        self.u_m.clear();
        self.u_m.extend(along(ground.u));
        self.v_m.clear();
        self.v_m.extend(along(ground.v));
        self.height_m.clear();
        self.height_m.extend(grid.cells.iter().map(|cell| cell.height_m));
    }

    /// `u`, `v` and the height of each.
    fn iter(&self) -> impl Iterator<Item = (f32, f32, f32)> {
        let ground = self.u_m.iter().zip(&self.v_m);
        ground.zip(&self.height_m).map(|((u, v), height_m)| (*u, *v, *height_m))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Sizing {
    places: Places,
    heights_m: Vec<f32>,
    on_top: Vec<bool>,
    inner: Vec<bool>,
    /// By grid index: 0 is unseen or outside, 1 on the top, 2 off it.
    state: Vec<u8>,
    /// By grid index, from the second column on: whether a place and its neighbours are on the top.
    amid: Vec<u8>,
}

/// `height = at + u_slope * u + v_slope * v`.
#[derive(Clone, Copy, Debug)]
struct Top {
    at_m: f32,
    u_slope: f32,
    v_slope: f32,
}

impl Top {
    fn height_m(&self, u: f32, v: f32) -> f32 {
        self.at_m + self.u_slope * u + self.v_slope * v
    }
}

impl Sizing {
    /// `has_walls`: the package is as wide at its foot as at its top.
    pub(crate) fn measure(
        &mut self,
        grid: &Grid,
        view: View<'_>,
        ground: &Ground,
        noise_m: f32,
        has_walls: bool,
    ) -> Option<Body> {
        if grid.cells.len() < CELLS_MIN {
            return None;
        }
        let origin = grid.cells[grid.cells.len() / 2].point_in_camera;
        self.places.fill(grid, ground, &origin);
        let top = self.find_top(grid, noise_m);
        let is_flat = top.is_some_and(|top| self.is_bounded_by(&top, noise_m));
        if !is_flat {
            self.on_top.iter_mut().for_each(|on| *on = true);
        }
        let top = top.filter(|_| is_flat);
        let moments = self.outline(grid, view.rays, ground, &origin, top);
        let mut axis = moments.long_axis();
        let cell_m = grid.step_px as f32 * origin.z / view.rays.focal_px;
        let extents_m =
            |axis| moments.variances(axis).map(|v| (12.0 * v.max(0.0) + cell_m * cell_m).sqrt());
        let mut sides_m = extents_m(axis);
        let (base_u, base_v) = (ground.u.dot(&origin), ground.v.dot(&origin));
        let point = |height_m| ground.point(moments.u + base_u, moments.v + base_v, height_m);
        let Some(top) = top else {
            let height_m = self.quantile_m(0.97);
            let face = Face {
                middle: point(height_m),
                normal: ground.up,
                axes: [ground.direction(axis), ground.direction([-axis[1], axis[0]])],
                half_m: sides_m.map(|side_m| 0.5 * side_m),
            };
            return Some(Body::below(&face, ground, height_m));
        };
        if sides_m[0] < NEARLY_SQUARE * sides_m[1] {
            axis = self.square_axis(grid, &moments);
            sides_m = extents_m(axis);
        }
        let normal = (ground.up - ground.u * top.u_slope - ground.v * top.v_slope).normalize();
        let along = ground.direction(axis);
        let along = (along - normal * normal.dot(&along)).normalize();
        let across = normal.cross(&along);
        // On the slope lengths are longer than on the ground.
        let stretched = |extent_m: f32, direction: &Vector3<f32>| {
            0.5 * extent_m / (1.0 - ground.up.dot(direction).powi(2)).sqrt()
        };
        let middle = point(top.height_m(moments.u, moments.v));
        let half_m = [stretched(sides_m[0], &along), stretched(sides_m[1], &across)];
        let mut face = Face { middle, normal, axes: [along, across], half_m };
        let walls = Walls { thickness_m: ground.height_m(&middle).max(0.0), reach_down: has_walls };
        face.refine(grid, view, walls);
        // Noise tilts every face a little.
        let rise_m = if top.u_slope.hypot(top.v_slope) > 0.06 {
            (0..2).map(|axis| ground.up.dot(&face.axes[axis]).abs() * face.half_m[axis]).sum()
        } else {
            0.0
        };
        Some(Body::below(&face, ground, ground.height_m(&face.middle) + rise_m))
    }

    /// Along a side of a square, whose second moments have no direction: its fourth ones do.
    fn square_axis(&self, grid: &Grid, moments: &Moments) -> [f32; 2] {
        let (mut real, mut imaginary) = (0.0, 0.0);
        let seen = grid.cells.iter().zip(self.places.iter()).zip(&self.on_top);
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
    fn is_bounded_by(&self, top: &Top, noise_m: f32) -> bool {
        let share = |count: usize, of: usize| count as f32 / of.max(1) as f32;
        let (all, on_top) = (self.on_top.len(), self.on_top.iter().filter(|on| **on).count());
        let flat_share = share(on_top, all);
        if !(FLAT_SHARE_MIN_BESIDE..FLAT_SHARE_MIN).contains(&flat_share) {
            return flat_share >= FLAT_SHARE_MIN;
        }
        let below_m = SIDE_BELOW_M + 3.0 * noise_m;
        let off_top = self.places.iter().zip(&self.on_top).filter(|(_, on)| !**on);
        let beside = off_top.filter(|((u, v, h), _)| top.height_m(*u, *v) - h > below_m);
        share(beside.count(), all - on_top) >= SIDE_SHARE_MIN
    }

    fn quantile_m(&mut self, share: f32) -> f32 {
        let at = crate::number::floor_index(share * (self.heights_m.len() - 1) as f32);
        *self.heights_m.select_nth_unstable_by(at, f32::total_cmp).1
    }

    /// A plane through the upper half, narrowed to what lies on it.
    fn find_top(&mut self, grid: &Grid, noise_m: f32) -> Option<Top> {
        self.heights_m.clone_from(&self.places.height_m);
        let median_m = self.quantile_m(0.5);
        self.on_top.clear();
        self.on_top.extend(self.places.height_m.iter().map(|height_m| *height_m >= median_m));
        let upper = fit_top(&self.places, &self.on_top)?;
        self.keep_near(&upper, 0.015 + 3.0 * noise_m);
        self.keep_inner(grid);
        let inner = self.inner.iter().filter(|inner| **inner).count();
        let near = if inner < CELLS_INNER_MIN { &self.on_top } else { &self.inner };
        let top = fit_top(&self.places, near)?;
        self.keep_near(&top, 0.007 + 3.0 * noise_m);
        Some(top)
    }

    fn keep_near(&mut self, top: &Top, limit_m: f32) {
        for (on, (u, v, h)) in self.on_top.iter_mut().zip(self.places.iter()) {
            *on = (h - top.height_m(u, v)).abs() < limit_m;
        }
    }

    /// Those on the top whose neighbours are: next to a wall, a cell's depth is part of the wall's.
    fn keep_inner(&mut self, grid: &Grid) {
        self.state.clear();
        self.state.resize(grid.edge.len(), 0);
        for (cell, on) in grid.cells.iter().zip(&self.on_top) {
            self.state[cell.index as usize] = u8::from(*on);
        }
        let rows = grid.rows;
        let count = self.state.len() - 2 * rows;
        let from = |first: usize| self.state[first..][..count].iter();
        let lines = from(rows - 1).zip(from(rows)).zip(from(rows + 1));
        let aside = from(0).zip(from(2 * rows));
        self.amid.clear();
        self.amid.extend(lines.zip(aside).map(|(((a, b), c), (d, e))| a & b & c & d & e));
        self.inner.clear();
        let amid = grid.cells.iter().map(|cell| self.amid[cell.index as usize - rows] == 1);
        self.inner.extend(amid);
    }

    /// Moments of the face, holes in it included.
    fn outline(
        &mut self,
        grid: &Grid,
        rays: &Rays,
        ground: &Ground,
        origin: &Vector3<f32>,
        top: Option<Top>,
    ) -> Moments {
        let (mut moments, mut span) = (Moments::default(), Span::default());
        let cell_m = grid.step_px as f32 * origin.z / rays.focal_px;
        self.state.clear();
        self.state.resize(grid.edge.len(), 0);
        let seen = grid.cells.iter().zip(self.places.iter());
        for ((cell, (u, v, _)), on) in seen.zip(&self.on_top) {
            self.state[cell.index as usize] = if *on { 1 } else { 2 };
            if *on {
                // A cell shows the more of the face the farther away it is.
                let weight = cell.point_in_camera.z.powi(2);
                moments.add(u, v, weight);
                span = span.with(u, v);
            }
        }
        let Some(top) = top else { return moments.centered() };
        let normal = ground.up - ground.u * top.u_slope - ground.v * top.v_slope;
        let offset_m = normal.dot(origin) - ground.height_m(origin) + top.at_m;
        for index in grid.rows + 1..grid.edge.len() - grid.rows - 1 {
            if grid.edge[index] == 0 || self.state[index] != 0 {
                continue;
            }
            let beside = [index - 1, index + 1, index - grid.rows, index + grid.rows];
            let count = |of| beside.iter().filter(|at| self.state[**at] == of).count();
            if count(1) <= count(2) {
                continue;
            }
            let [x, y] = grid.px(index);
            let ray = rays.at(x as f32, y as f32);
            let z_m = offset_m / normal.dot(&ray);
            let d = ray * z_m - origin;
            let (u, v) = (ground.u.dot(&d), ground.v.dot(&d));
            // A face seen edge-on would be met anywhere.
            if z_m > 0.0 && span.holds(u, v, cell_m) {
                moments.add(u, v, z_m * z_m);
            }
        }
        moments.centered()
    }
}

fn fit_top(places: &Places, on_top: &[bool]) -> Option<Top> {
    let (mut n, mut mean, mut squares) = (0.0f32, [0.0f32; 3], [0.0f32; 5]);
    for ((u, v, h), on) in places.iter().zip(on_top) {
        // Nothing is added for the others: among heights that are noise, a branch would be a guess.
        let weight = f32::from(u8::from(*on));
        let [wu, wv, wh] = [weight * u, weight * v, weight * h];
        n += weight;
        mean = [mean[0] + wu, mean[1] + wv, mean[2] + wh];
        let products = [wu * u, wu * v, wv * v, wu * h, wv * h];
        squares.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
    }
    if n < CELLS_MIN as f32 {
        return None;
    }
    let [u, v, h] = mean.map(|sum| sum / n);
    let [uu, uv, vv, uh, vh] = squares.map(|sum| sum / n);
    let (uu, uv, vv, uh, vh) = (uu - u * u, uv - u * v, vv - v * v, uh - u * h, vh - v * h);
    let determinant = uu * vv - uv * uv;
    if determinant <= 1e-6 * uu * vv {
        return None;
    }
    let u_slope = (uh * vv - vh * uv) / determinant;
    let v_slope = (vh * uu - uh * uv) / determinant;
    Some(Top { at_m: h - u_slope * u - v_slope * v, u_slope, v_slope })
}

/// Smallest and largest `u` and `v`.
#[derive(Clone, Copy, Debug)]
struct Span([f32; 4]);

impl Default for Span {
    fn default() -> Span {
        Span([f32::MAX, f32::MIN, f32::MAX, f32::MIN])
    }
}

impl Span {
    fn with(self, u: f32, v: f32) -> Span {
        // Not `f32::min`, which takes four instructions for the sake of NaN.
        let least = |a: f32, b: f32| if a < b { a } else { b };
        let most = |a: f32, b: f32| if a > b { a } else { b };
        let Span([u_min, u_max, v_min, v_max]) = self;
        Span([least(u, u_min), most(u, u_max), least(v, v_min), most(v, v_max)])
    }

    /// Whether a point lies in it, or beside it by no more than `reach`.
    fn holds(&self, u: f32, v: f32, reach: f32) -> bool {
        let Span([u_min, u_max, v_min, v_max]) = self;
        (u_min - reach..=u_max + reach).contains(&u) && (v_min - reach..=v_max + reach).contains(&v)
    }
}

/// Of an area: weight, mean and second moments.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    weight: f32,
    u: f32,
    v: f32,
    uu: f32,
    uv: f32,
    vv: f32,
}

impl Moments {
    fn add(&mut self, u: f32, v: f32, weight: f32) {
        self.weight += weight;
        self.u += weight * u;
        self.v += weight * v;
        self.uu += weight * u * u;
        self.uv += weight * u * v;
        self.vv += weight * v * v;
    }

    fn centered(self) -> Moments {
        let w = self.weight.max(f32::MIN_POSITIVE);
        let (u, v) = (self.u / w, self.v / w);
        Moments {
            weight: w,
            u,
            v,
            uu: self.uu / w - u * u,
            uv: self.uv / w - u * v,
            vv: self.vv / w - v * v,
        }
    }

    fn long_axis(&self) -> [f32; 2] {
        let angle = 0.5 * (2.0 * self.uv).atan2(self.uu - self.vv);
        [angle.cos(), angle.sin()]
    }

    /// Along a direction and across it. Along its sides, a rectangle has a twelfth of their squared
    /// lengths.
    fn variances(&self, [u, v]: [f32; 2]) -> [f32; 2] {
        let along = |u: f32, v: f32| self.uu * u * u + 2.0 * self.uv * u * v + self.vv * v * v;
        [along(u, v), along(-v, u)]
    }
}

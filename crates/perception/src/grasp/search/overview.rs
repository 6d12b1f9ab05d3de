//! The whole frame at a glance: whose pixel it is, what is in the way, whether depth is usable.

use nalgebra::Vector3;

use crate::grasp::search::memory::middle_px;
use crate::grasp::surface::grid::{CELL_NOISE, Grid, smooth_depth_m};
use crate::grasp::surface::patch::View;
use crate::grasp::surface::rays::Rays;
use crate::number::{floor_px, round_px, to_f32, to_u16};
use crate::{DepthImage, DepthProblem, Instance, Plane, Tool};

/// Columns of the map of owners.
const COLUMNS: u32 = 320;
/// Nearer by this much than a rim beside it: on top of it, or at least in its way.
const STEP_ON_TOP_M: f32 = 0.012;
/// Cells to the next depth across an edge: beside a step the sensor sees nothing.
const STEPS: i64 = 4;
/// Depth is a few pixels off at the edges of walls, and an arm a little off its way.
const ASIDE_M: f32 = 0.004;
/// No depth camera measures nearer.
const SEEN_M_MIN: f32 = 0.05;
/// Depth samples that decide whether depth is usable.
const PROBES: (u32, u32) = (24, 18);
/// Depth over what the support plane says: packages are in front of it, not ten times nearer.
const PLAUSIBLE_RATIO: std::ops::Range<f32> = 0.2..2.5;
/// Nothing lies below what it rests on: depth of so many packages over what the plane says is above
/// one only if depth, or the plane, is wrong. Around the plane the floor may well be deeper.
const BELOW_RATIO: f32 = 1.08;
const PACKAGES_MIN: usize = 3;
/// Without a support plane: where cameras over cells measure.
const PLAUSIBLE_M: std::ops::Range<f32> = 0.1..12.0;

/// Which package owns each pixel, on a coarse map stored column by column.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    step_px: u32,
    rows: usize,
    /// Index of the instance plus one.
    owner: Vec<u16>,
}

impl Owners {
    pub(crate) fn fill(&mut self, instances: &[Instance]) {
        self.owner.clear();
        let Some(first) = instances.first() else { return };
        let (width, height) = (first.mask.width_px(), first.mask.height_px());
        self.step_px = width.div_ceil(COLUMNS);
        self.rows = height.div_ceil(self.step_px) as usize;
        self.owner.resize(width.div_ceil(self.step_px) as usize * self.rows, 0);
        // The surest come first, and what is painted last stays.
        for (index, instance) in instances.iter().enumerate().rev() {
            let label = u16::try_from(index + 1).expect("a few hundred packages at most");
            let step = self.step_px;
            let (mut x_next, mut column) = (0, 0);
            instance.mask.for_each_column(|x, y, length| {
                while x_next < x {
                    (x_next, column) = (x_next + step, column + 1);
                }
                if x == x_next {
                    let (from, to) = (y.div_ceil(step), (y + length).div_ceil(step));
                    let line = &mut self.owner[column * self.rows..][..self.rows];
                    line[from as usize..to as usize].fill(label);
                }
            });
        }
    }

    fn at(&self, x_px: i64, y_px: i64) -> u16 {
        let step = i64::from(self.step_px);
        let (Ok(column), Ok(row)) =
            (usize::try_from(x_px.div_euclid(step)), usize::try_from(y_px.div_euclid(step)))
        else {
            return 0;
        };
        if row < self.rows {
            self.owner.get(column * self.rows + row).copied().unwrap_or(0)
        } else {
            0
        }
    }

    /// Share of a package's rim where another package is nearer to the camera.
    pub(crate) fn occluded_share(
        &self,
        grid: &Grid,
        index: usize,
        view: View<'_>,
        noise_m: f32,
    ) -> f32 {
        let own = u16::try_from(index + 1).expect("a few hundred packages at most");
        // The first depth of an owner on the way from a pixel.
        let depth_m = |owner: u16, [x, y]: [i64; 2], [dx, dy]: [i64; 2]| {
            (0..STEPS).find_map(|n| {
                let (x, y) = (x + n * dx, y + n * dy);
                let (x_px, y_px) = (u32::try_from(x).ok()?, u32::try_from(y).ok()?);
                let is_inside = x_px < view.depth.width_px() && y_px < view.depth.height_px();
                (is_inside && self.at(x, y) == owner)
                    .then(|| smooth_depth_m(view.depth, x_px, y_px))?
            })
        };
        let (mut rim, mut covered) = (0u32, 0u32);
        grid.for_each_rim(|cell, beside| {
            rim += 1;
            let other = self.at(beside[0], beside[1]);
            if other == 0 || other == own {
                return;
            }
            let at = grid.px(cell).map(i64::from);
            let (dx, dy) = (beside[0] - at[0], beside[1] - at[1]);
            let own_m = depth_m(own, at, [-dx, -dy]);
            let Some((own_m, other_m)) = own_m.zip(depth_m(other, beside, [dx, dy])) else {
                return;
            };
            covered += u32::from(own_m - other_m > STEP_ON_TOP_M + 3.0 * CELL_NOISE * noise_m);
        });
        covered as f32 / rim.max(1) as f32
    }
}

/// Whether something measured stands in the cylinder that the tool takes on its way: from its lips,
/// `origin` being that of its reference frame, back along `normal`.
pub(crate) fn is_blocked(
    view: View<'_>,
    origin: &Vector3<f32>,
    normal: &Vector3<f32>,
    tool: &Tool,
    noise_m: f32,
) -> bool {
    let contact = &(origin - normal * to_f32(tool.lips_z_m()));
    let radius_m = to_f32(tool.approach_radius_m) + ASIDE_M;
    // What is nearer to the camera it does not see, and nothing stands there but the camera.
    let towards = -normal.z;
    let seen_m = if towards > 0.0 { (contact.z - SEEN_M_MIN) / towards } else { f32::MAX };
    let length_m = to_f32(tool.approach_length_m).min(seen_m);
    // What a cup pushes aside, or may touch: as high as half a finger.
    let margin_m = 0.008 + 4.0 * CELL_NOISE * noise_m;
    let far = contact + normal * length_m;
    let (near_px, far_px) = (on_screen(view.rays, contact), on_screen(view.rays, &far));
    let Some((near_px, far_px)) = near_px.zip(far_px) else { return false };
    // What stands near the far end is seen near it; its radius there bounds the nearer ones.
    let reach = view.pixels(radius_m, contact.z.min(far.z).max(0.1));
    let low = [near_px[0].min(far_px[0]) - reach, near_px[1].min(far_px[1]) - reach];
    let high = [near_px[0].max(far_px[0]) + reach, near_px[1].max(far_px[1]) + reach];
    let step = floor_px(2.0 * reach / 14.0).max(1);
    let last = [view.depth.width_px() - 1, view.depth.height_px() - 1];
    let near = view.rays.near(near_px.map(|px| px.max(0.0)));
    // Deeper than this nothing in the cylinder can be, whichever way it leans.
    let lean = normal.x.hypot(normal.y);
    let z_max_m = contact.z + margin_m * normal.z + radius_m * lean + 3.0 * noise_m;
    let mm_max = to_u16(floor_px(1000.0 * z_max_m.max(0.0)).min(u32::from(u16::MAX)));
    // Neither a hole, which is 0, nor deeper.
    let is_near = |mm: u16| mm.wrapping_sub(1) < mm_max;
    let end = [0, 1].map(|axis| floor_px(high[axis]).min(last[axis]) + 1);
    let first = [0, 1].map(|axis| floor_px(low[axis]).min(end[axis]));
    let mut hits = 0;
    for y in (first[1]..end[1]).step_by(step as usize) {
        let line = &view.depth.row_mm(y)[first[0] as usize..end[0] as usize];
        // Most rows hold nothing so near: seen many pixels at once, that takes less than the samples.
        if !line.iter().fold(false, |any, mm| any | is_near(*mm)) {
            continue;
        }
        let columns = (first[0]..end[0]).step_by(step as usize);
        for (x, &mm) in columns.zip(line.iter().step_by(step as usize)) {
            if !is_near(mm) {
                continue;
            }
            let Some(z_m) = smooth_depth_m(view.depth, x, y) else { continue };
            let d = near.at(x as f32, y as f32) * z_m - contact;
            // What is seen above the cylinder's end stands on something inside of it.
            let above = normal.dot(&d);
            let aside = d.norm_squared() - above * above;
            hits += u32::from(above > margin_m && aside < radius_m * radius_m);
        }
    }
    // One may be a flying pixel.
    hits >= 2
}

fn on_screen(rays: &Rays, point: &Vector3<f32>) -> Option<[f32; 2]> {
    if point.z < 0.9 * SEEN_M_MIN {
        return None;
    }
    Some(rays.project(point.x / point.z, point.y / point.z))
}

/// Whether the frame's depth can be meant in millimetres at all, and is that of this support plane.
/// `ratios` is a buffer.
pub(crate) fn check_depth(
    depth: &DepthImage,
    rays: &Rays,
    plane: Option<&Plane>,
    instances: &[Instance],
    ratios: &mut Vec<f32>,
) -> Option<DepthProblem> {
    ratios.clear();
    let ratio = |x: u32, y: u32| {
        let mm = depth.mm(x, y);
        if mm == 0 {
            return None;
        }
        let expected_m = match plane {
            None => 1.0,
            Some(plane) => {
                let ray = rays.at(x as f32, y as f32).cast::<f64>();
                // The horizon says nothing.
                to_f32(plane.intersect_ray(&ray).filter(|point| point.z < 12.0)?.z)
            }
        };
        Some(f32::from(mm) * 0.001 / expected_m)
    };
    for row in 0..PROBES.1 {
        for column in 0..PROBES.0 {
            let x = (2 * column + 1) * depth.width_px() / (2 * PROBES.0);
            let y = (2 * row + 1) * depth.height_px() / (2 * PROBES.1);
            ratios.extend(ratio(x, y));
        }
    }
    let Some(middle) = ratios.len().checked_sub(1).map(|last| last / 2) else {
        return depth.data_mm().iter().all(|mm| *mm == 0).then_some(DepthProblem::Empty);
    };
    let median = *ratios.select_nth_unstable_by(middle, f32::total_cmp).1;
    match plane {
        Some(_) if !PLAUSIBLE_RATIO.contains(&median) => {
            Some(DepthProblem::NotTheSupportPlanes { ratio: median })
        }
        None if !PLAUSIBLE_M.contains(&median) => {
            Some(DepthProblem::OutOfRange { median_m: median })
        }
        None => None,
        Some(_) => {
            ratios.clear();
            ratios.extend(instances.iter().filter_map(|instance| {
                let [x, y] = middle_px(instance).map(round_px);
                instance.mask.contains(x, y).then(|| ratio(x, y)).flatten()
            }));
            if ratios.len() < PACKAGES_MIN {
                return None;
            }
            let middle = ratios.len() / 2;
            let median = *ratios.select_nth_unstable_by(middle, f32::total_cmp).1;
            (median > BELOW_RATIO).then_some(DepthProblem::BelowTheSupportPlane { ratio: median })
        }
    }
}

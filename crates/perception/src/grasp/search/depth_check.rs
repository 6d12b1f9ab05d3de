//! Whether the depth of a frame can be used.

use crate::grasp::surface::depth::M_PER_MM;
use crate::grasp::surface::rays::Rays;
use crate::number::{round_px, to_f32};
use crate::{DepthImage, DepthProblem, Instance, Plane};

/// Depth samples that decide: columns and rows.
const SAMPLES: (u32, u32) = (24, 18);
/// Depth over what the support plane says: packages are in front of it, not ten times nearer.
const PLAUSIBLE_RATIO: std::ops::Range<f32> = 0.2..2.5;
/// Nothing lies below what it rests on: the median over so many packages of depth over what the plane
/// says is above this one only if depth, or the plane, is wrong. Around the plane the floor may well
/// be deeper.
const BELOW_RATIO: f32 = 1.08;
const PACKAGES_MIN: usize = 3;
/// Without a support plane: where cameras over cells measure.
const PLAUSIBLE_M: std::ops::Range<f32> = 0.1..12.0;
/// A support plane that a ray meets farther away is seen near its horizon, and says nothing.
const PLANE_M_MAX: f64 = 12.0;

/// Whether the frame's depth can be meant in millimetres at all, and is that of this support plane.
/// `ratios` is a buffer.
pub(crate) fn check_depth(
    depth: &DepthImage,
    rays: &Rays,
    plane: Option<&Plane>,
    instances: &[Instance],
    ratios: &mut Vec<f32>,
) -> Option<DepthProblem> {
    let ratio = |x: u32, y: u32| depth_ratio(depth, rays, plane, x, y);
    ratios.clear();
    for row in 0..SAMPLES.1 {
        for column in 0..SAMPLES.0 {
            let x = (2 * column + 1) * depth.width_px() / (2 * SAMPLES.0);
            let y = (2 * row + 1) * depth.height_px() / (2 * SAMPLES.1);
            ratios.extend(ratio(x, y));
        }
    }
    if ratios.is_empty() {
        return depth.data_mm().iter().all(|mm| *mm == 0).then_some(DepthProblem::Empty);
    }
    let median_at = (ratios.len() - 1) / 2;
    let median = *ratios.select_nth_unstable_by(median_at, f32::total_cmp).1;
    if plane.is_none() {
        let problem = DepthProblem::OutOfRange { median_m: median };
        return (!PLAUSIBLE_M.contains(&median)).then_some(problem);
    }
    if !PLAUSIBLE_RATIO.contains(&median) {
        return Some(DepthProblem::NotTheSupportPlanes { ratio: median });
    }
    ratios.clear();
    ratios.extend(instances.iter().filter_map(|instance| {
        let [x, y] = instance.bbox.center_px().map(round_px);
        instance.mask.contains(x, y).then(|| ratio(x, y)).flatten()
    }));
    if ratios.len() < PACKAGES_MIN {
        return None;
    }
    let median_at = ratios.len() / 2;
    let median = *ratios.select_nth_unstable_by(median_at, f32::total_cmp).1;
    (median > BELOW_RATIO).then_some(DepthProblem::BelowTheSupportPlane { ratio: median })
}

/// Depth over that of the support plane, or in metres where there is no plane; `None` in a hole.
fn depth_ratio(
    depth: &DepthImage,
    rays: &Rays,
    plane: Option<&Plane>,
    x: u32,
    y: u32,
) -> Option<f32> {
    let mm = depth.mm(x, y);
    if mm == 0 {
        return None;
    }
    let expected_m = match plane {
        None => 1.0,
        Some(plane) => {
            let ray = rays.at(x as f32, y as f32).cast::<f64>();
            to_f32(plane.intersect_ray(&ray).filter(|point| point.z < PLANE_M_MAX)?.z)
        }
    };
    Some(f32::from(mm) * M_PER_MM / expected_m)
}

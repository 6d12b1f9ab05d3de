//! A tool with several cups: how it is turned, which of its cups seal, and which are switched on.

use arrayvec::ArrayVec;
use nalgebra::Vector3;

use super::context::PackageContext;
use super::placement::{ToolPlacement, tilt};
use super::shares::{clearance_share, moment_share, seal_share};
use crate::grasp::surface::depth::DEPTH_M_MIN;
use crate::grasp::surface::patch::{ContactPoint, PatchSampler, Sampling, SurfacePatch};
use crate::grasp::vector::perpendicular;
use crate::number::to_f32;
use crate::{CupSet, Quality, Tool};

/// A cup below this is better switched off.
const SEAL_MIN: f32 = 0.2;
/// Turns of the tool that are tried.
const TURNS: usize = 4;
/// With the tool's axis on the contact, quality above this is good enough not to try its cups there.
const QUALITY_ENOUGH: f32 = 0.4;
/// The hold of a tool whose last cup is about to be switched off.
const HOLD_MIN: f32 = 0.5;
/// A long axis that leaves less than this on the surface has no direction on it.
const DIRECTION_MIN: f32 = 1e-3;

/// The tool's reference frame, without its approach: `normal` is against that.
struct ToolPose {
    origin: Vector3<f32>,
    normal: Vector3<f32>,
    tool_x: Vector3<f32>,
    tool_y: Vector3<f32>,
}

/// One cup, in place.
#[derive(Clone, Copy, Debug)]
struct SealedCup {
    index: usize,
    center: Vector3<f32>,
    radius_m: f32,
    /// Squared radius: areas are only compared.
    area: f32,
    clearance: f32,
    seal: f32,
    depth_hole_fraction: f32,
}

type SealedCups = ArrayVec<SealedCup, { Tool::CUPS_MAX }>;

/// The best turn and subset of the tool, put down with its axis, or else with one of its cups, on the
/// contact. `None` where the surface is too steep or no cup seals.
pub(super) fn place(
    context: &PackageContext<'_>,
    patch: &SurfacePatch,
    sampler: &mut PatchSampler,
) -> Option<ToolPlacement> {
    let PackageContext { load, tool, .. } = *context;
    let normal = patch.normal_in_camera;
    let tilt = tilt(context, &normal)?;
    let along = load.long_axis - normal * normal.dot(&load.long_axis);
    let along = along.try_normalize(DIRECTION_MIN).unwrap_or_else(|| perpendicular(&-normal));
    let across = normal.cross(&along);
    let mut best: Option<ToolPlacement> = None;
    let axis = Vector3::<f32>::zeros();
    let anchors =
        std::iter::once(axis).chain(tool.cups.iter().map(|cup| cup.position().cast::<f32>()));
    for (at, anchor) in anchors.enumerate() {
        // The tool as a whole is what it is for; a lone cup is for what is smaller than the tool.
        if at == 1 && best.is_some_and(|best| best.quality.product() > QUALITY_ENOUGH) {
            break;
        }
        for turn in 0..TURNS {
            let (sin, cos) = (std::f32::consts::PI * turn as f32 / TURNS as f32).sin_cos();
            let tool_x = along * cos + across * sin;
            let tool_y = (-normal).cross(&tool_x);
            let origin = patch.point_in_camera - tool_x * anchor.x - tool_y * anchor.y;
            let pose = ToolPose { origin, normal, tool_x, tool_y };
            let sealed = seal_cups(context, patch, &pose, sampler);
            best = better(best, best_subset(context, &sealed, &pose, patch, tilt));
        }
    }
    best
}

/// The first one, unless the other one is better.
fn better(first: Option<ToolPlacement>, other: Option<ToolPlacement>) -> Option<ToolPlacement> {
    let product = |placement: ToolPlacement| placement.quality.product();
    if other.is_some_and(|other| first.is_none_or(|first| product(first) < product(other))) {
        other
    } else {
        first
    }
}

/// The cups that hold at all.
fn seal_cups(
    context: &PackageContext<'_>,
    patch: &SurfacePatch,
    pose: &ToolPose,
    sampler: &mut PatchSampler,
) -> SealedCups {
    (0..context.tool.cups.len())
        .filter_map(|index| seal_cup(context, patch, pose, index, sampler))
        .collect()
}

fn seal_cup(
    context: &PackageContext<'_>,
    patch: &SurfacePatch,
    pose: &ToolPose,
    index: usize,
    sampler: &mut PatchSampler,
) -> Option<SealedCup> {
    let PackageContext { grid, view, load, .. } = *context;
    let (cup, noise_m) = (&context.tool.cups[index], load.noise_m);
    let position: Vector3<f32> = cup.position().cast();
    let center = pose.origin + pose.tool_x * position.x + pose.tool_y * position.y
        - pose.normal * position.z;
    // Nothing is seen so near for the cup to be over.
    if center.z < DEPTH_M_MIN {
        return None;
    }
    let at_px = view.rays.project(center.x / center.z, center.y / center.z);
    let cell = grid.cell_at(at_px)?;
    let radius_m = to_f32(cup.radius_m);
    let clearance_m = grid.clearance_px(cell) * patch.point_in_camera.z / view.rays.focal_px;
    let clearance = clearance_share(clearance_m, radius_m);
    if clearance <= 0.0 {
        return None;
    }
    let at = ContactPoint { at_px, z_m: center.z, clearance_m };
    let under = sampler.measure(view, &at, radius_m, noise_m, Sampling::Coarse)?;
    // A cup that stands askew or off the surface has to give way by as much.
    let askew = pose.normal.cross(&under.normal_in_camera).norm();
    let off_m = pose.normal.dot(&(under.point_in_camera - center)).abs();
    let deviation_m =
        under.deviation_m.hypot(2.0 * radius_m * askew).hypot((off_m - noise_m).max(0.0));
    let seal = seal_share(deviation_m, to_f32(cup.compliance_m));
    let (area, depth_hole_fraction) = (radius_m * radius_m, under.depth_hole_fraction);
    let sealed = SealedCup { index, center, radius_m, area, clearance, seal, depth_hole_fraction };
    (seal >= SEAL_MIN).then_some(sealed)
}

/// Tries every subset: more cups hold more, but the worst of them decides about the vacuum.
fn best_subset(
    context: &PackageContext<'_>,
    sealed: &[SealedCup],
    pose: &ToolPose,
    patch: &SurfacePatch,
    tilt: f32,
) -> Option<ToolPlacement> {
    let PackageContext { load, tool, .. } = *context;
    let area_all: f32 = tool.cups.iter().map(|cup| to_f32(cup.radius_m).powi(2)).sum();
    let mut best = None;
    for subset in 1u32..1 << sealed.len() {
        let chosen = || sealed.iter().enumerate().filter(|(at, _)| subset >> at & 1 == 1);
        let (mut cups, mut area, mut center) = (CupSet::default(), 0.0, Vector3::zeros());
        let (mut clearance, mut seal, mut depth_hole_fraction) = (1.0f32, 1.0f32, 0.0f32);
        for (_, cup) in chosen() {
            cups = cups.with(cup.index);
            area += cup.area;
            center += cup.center * cup.area;
            clearance = clearance.min(cup.clearance);
            seal = seal.min(cup.seal);
            depth_hole_fraction = depth_hole_fraction.max(cup.depth_hole_fraction);
        }
        let center = center / area;
        let reach_m = chosen()
            .map(|(_, cup)| (cup.center - center).norm() + cup.radius_m)
            .fold(0.0, f32::max);
        let lever_m = load.lever_m(&center, &pose.normal);
        let quality = Quality {
            clearance,
            seal,
            moment: moment_share(lever_m, load.lever_max_m(tool, reach_m), reach_m),
            tilt,
            hold: HOLD_MIN + (1.0 - HOLD_MIN) * area / area_all,
            depth_share: Some(1.0 - depth_hole_fraction),
        };
        let placement = ToolPlacement {
            at_px: patch.at_px,
            origin: pose.origin,
            normal: pose.normal,
            tool_x: pose.tool_x,
            cups,
            quality,
            sigma_m: patch.sigma_m,
        };
        best = better(best, Some(placement));
    }
    best
}

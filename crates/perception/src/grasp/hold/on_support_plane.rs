//! Without depth: contacts on the support plane, at the mask's deepest point.

use nalgebra::{Point3, Vector3};

use crate::grasp::hold::{Held, clearance_share};
use crate::grasp::surface::grid::Grid;
use crate::grasp::surface::patch::tangent;
use crate::grasp::{grasp, in_reference};
use crate::number::to_f32;
use crate::{CupSet, GraspLimits, GraspRefusal, Package, PoseSource, Scene};

/// Without depth nobody knows how flat the surface is.
const SEAL_UNKNOWN: f32 = 0.5;
/// Nor how high: the contact is off by the package's height, a hand's breadth or so.
const SIGMA_M: f64 = 0.1;

pub(crate) fn plan(
    package: &mut Package,
    grid: &Grid,
    deepest: Option<usize>,
    scene: &Scene,
    limits: &GraspLimits,
) {
    let Some(plane) = &scene.support_plane_in_camera else {
        package.refusal = Some(GraspRefusal::NoSurface);
        return;
    };
    let [x, y] = package.deepest_px;
    let ray = scene.camera_info.ray(f64::from(x), f64::from(y));
    let Some(point) = plane.intersect_ray(&ray) else {
        package.refusal = Some(GraspRefusal::NoSurface);
        return;
    };
    let k = &scene.camera_info.intrinsics;
    let clearance_px = deepest.map_or(0.5, |cell| grid.clearance_px(cell));
    let clearance_m = clearance_px * to_f32(point.z / (0.5 * (k.fx_px + k.fy_px)));
    let radius_m = to_f32(scene.tool.smallest_radius_m());
    let clearance = clearance_share(clearance_m, radius_m);
    if clearance <= 0.0 {
        package.refusal = Some(GraspRefusal::ToolTooLarge);
        return;
    }
    let normal = plane.normal.into_inner().cast::<f32>();
    let tool_x = tangent(&-normal);
    // The cup nearest to the axis that is there: with nothing known of the surface, one is enough.
    let cup = innermost_cup(scene);
    let position: Vector3<f32> = scene.tool.cups[cup].position().cast();
    let tool_y = (-normal).cross(&tool_x);
    let at: Vector3<f32> = point.coords.cast();
    let held = Held {
        at_px: package.deepest_px,
        origin: at - tool_x * position.x - tool_y * position.y + normal * position.z,
        normal,
        tool_x,
        cups: CupSet::of(cup),
        clearance,
        seal: SEAL_UNKNOWN,
        moment: 1.0,
        tilt: 1.0,
        hold: 1.0,
        depth_hole_fraction: 0.0,
        sigma_m: to_f32(SIGMA_M),
    };
    package.position_in_reference = Some(in_reference(scene, &Point3::from(point.coords)));
    if held.quality() < limits.quality_min {
        package.refusal = Some(GraspRefusal::NoSeal);
        return;
    }
    let mut grasp = grasp(scene, &held);
    grasp.pose_source = PoseSource::SupportPlane;
    grasp.depth_hole_fraction = 1.0;
    package.refusal = None;
    package.grasps.push(grasp);
}

fn innermost_cup(scene: &Scene) -> usize {
    let aside = |at: &usize| {
        let position = scene.tool.cups[*at].position_m;
        position[0].hypot(position[1])
    };
    (0..scene.tool.cups.len()).min_by(|a, b| aside(a).total_cmp(&aside(b))).unwrap_or(0)
}

//! Without depth: contacts on the support plane, at the mask's deepest point.

use nalgebra::{Point3, Vector3};

use super::placement::ToolPlacement;
use super::shares::clearance_share;
use crate::grasp::limits::GraspLimits;
use crate::grasp::surface::grid::Grid;
use crate::grasp::vector::perpendicular;
use crate::number::to_f32;
use crate::{CupSet, Grasp, GraspRefusal, Package, PoseSource, Quality, Scene, Tool};

/// Without depth nobody knows how flat the surface is.
const SEAL_UNKNOWN: f32 = 0.5;
/// Nor how high: the contact is off by the package's height, a hand's breadth or so.
const SIGMA_M: f32 = 0.1;
/// A mask that is thinner than the grid has this much room around its deepest pixel.
const THIN_CLEARANCE_PX: f32 = 0.5;

/// The only grasp. Sets the position of a package that a cup fits on.
///
/// # Errors
/// Why there is none.
pub(crate) fn grasp(
    package: &mut Package,
    grid: &Grid,
    deepest: Option<usize>,
    scene: &Scene,
    limits: &GraspLimits,
) -> Result<Grasp, GraspRefusal> {
    let plane = scene.support_plane_in_camera.as_ref().ok_or(GraspRefusal::NoSurface)?;
    let [x, y] = package.deepest_px;
    let ray = scene.camera_info.ray(f64::from(x), f64::from(y));
    let point = plane.intersect_ray(&ray).ok_or(GraspRefusal::NoSurface)?;
    let k = &scene.camera_info.intrinsics;
    let clearance_px = deepest.map_or(THIN_CLEARANCE_PX, |cell| grid.clearance_px(cell));
    let clearance_m = clearance_px * to_f32(point.z / (0.5 * (k.fx_px + k.fy_px)));
    let clearance = clearance_share(clearance_m, to_f32(scene.tool.smallest_radius_m()));
    if clearance <= 0.0 {
        return Err(GraspRefusal::ToolTooLarge);
    }
    package.position_in_reference = Some(scene.reference_from_camera() * point);
    let normal = plane.normal.into_inner().cast::<f32>();
    let placement = place(&scene.tool, &point, normal, package.deepest_px, clearance);
    if placement.quality.product() < limits.quality_min {
        return Err(GraspRefusal::NoSeal);
    }
    Ok(placement.grasp(scene, PoseSource::SupportPlane))
}

/// The cup nearest to the tool's axis on the point: with nothing known of the surface, one is enough.
fn place(
    tool: &Tool,
    point: &Point3<f64>,
    normal: Vector3<f32>,
    at_px: [f32; 2],
    clearance: f32,
) -> ToolPlacement {
    let tool_x = perpendicular(&-normal);
    let tool_y = (-normal).cross(&tool_x);
    let cup = innermost_cup(tool);
    let position: Vector3<f32> = tool.cups[cup].position().cast();
    let at: Vector3<f32> = point.coords.cast();
    ToolPlacement {
        at_px,
        origin: at - tool_x * position.x - tool_y * position.y + normal * position.z,
        normal,
        tool_x,
        cups: CupSet::of(cup),
        quality: Quality {
            clearance,
            seal: SEAL_UNKNOWN,
            moment: 1.0,
            tilt: 1.0,
            hold: 1.0,
            depth_share: None,
        },
        sigma_m: SIGMA_M,
    }
}

fn innermost_cup(tool: &Tool) -> usize {
    let aside = |at: &usize| {
        let position = tool.cups[*at].position_m;
        position[0].hypot(position[1])
    };
    (0..tool.cups.len()).min_by(|a, b| aside(a).total_cmp(&aside(b))).unwrap_or(0)
}

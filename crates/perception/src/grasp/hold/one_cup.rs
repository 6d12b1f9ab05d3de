//! A tool with a single cup on its axis.

use super::context::PackageContext;
use super::placement::{ToolPlacement, tilt};
use super::shares::{clearance_share, moment_share, seal_share};
use crate::grasp::surface::patch::SurfacePatch;
use crate::grasp::vector::perpendicular;
use crate::number::to_f32;
use crate::{CupSet, Quality};

/// The contact is the tool's. `None` where the surface is too steep.
pub(super) fn place(
    context: &PackageContext<'_>,
    patch: &SurfacePatch,
    clearance_m: f32,
) -> Option<ToolPlacement> {
    let PackageContext { load, tool, .. } = *context;
    let cup = &tool.cups[0];
    let radius_m = to_f32(cup.radius_m);
    let normal = patch.normal_in_camera;
    let lever_m = load.lever_m(&patch.point_in_camera, &normal);
    Some(ToolPlacement {
        at_px: patch.at_px,
        origin: patch.point_in_camera + normal * to_f32(cup.position_m[2]),
        normal,
        tool_x: perpendicular(&-normal),
        cups: CupSet::of(0),
        quality: Quality {
            clearance: clearance_share(clearance_m, radius_m),
            seal: seal_share(patch.deviation_m, to_f32(cup.compliance_m)),
            moment: moment_share(lever_m, load.lever_max_m(tool, radius_m), radius_m),
            tilt: tilt(context, &normal)?,
            hold: 1.0,
            depth_share: Some(1.0 - patch.depth_hole_fraction),
        },
        sigma_m: patch.sigma_m,
    })
}

//! How well a tool holds: which of its cups seal, and what pulls at them.

pub(crate) mod context;
pub(crate) mod load;
mod many_cups;
pub(crate) mod on_support_plane;
mod one_cup;
pub(crate) mod placement;
pub(crate) mod shares;

use self::context::PackageContext;
use self::placement::ToolPlacement;
use super::surface::patch::{ContactPoint, PatchSampler, Sampling};
use crate::GraspRefusal;
use crate::number::to_f32;

/// Puts the tool down on a contact point of a package that is as rough as this all over.
///
/// # Errors
/// [`GraspRefusal::NoSurface`] where too little was measured, [`GraspRefusal::TooSteep`] beyond the
/// tilt limit.
pub(crate) fn hold(
    context: &PackageContext<'_>,
    at: &ContactPoint,
    roughness_m: f32,
    sampling: Sampling,
    sampler: &mut PatchSampler,
) -> Result<ToolPlacement, GraspRefusal> {
    let PackageContext { view, tool, load, .. } = *context;
    let smallest_m = to_f32(tool.smallest_radius_m());
    // Several cups lie on what is under all of them, as far as the package reaches.
    let radius_m = if tool.is_round() {
        smallest_m
    } else {
        to_f32(tool.reach_m()).min(at.clearance_m).max(smallest_m)
    };
    let patch = sampler.measure(view, at, radius_m, load.noise_m, sampling);
    let patch = patch.ok_or(GraspRefusal::NoSurface)?.on_package(roughness_m);
    let placement = if tool.is_round() {
        one_cup::place(context, &patch, at.clearance_m)
    } else {
        many_cups::place(context, &patch, sampler)
    };
    placement.ok_or(GraspRefusal::TooSteep)
}

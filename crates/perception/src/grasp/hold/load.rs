//! What a package asks of the tool.

use nalgebra::Vector3;

use crate::Tool;
use crate::grasp::size::extent::Extent;
use crate::grasp::size::support::SupportPlane;
use crate::grasp::surface::grid::Grid;
use crate::number::to_f32;

/// 0.6 bar below the atmosphere: what ejectors reach on cardboard.
const VACUUM_PA: f32 = 60_000.0;
/// What carriers reckon a parcel weighs by its volume, which usual ones stay below: 6000 cm3 are a
/// kilogram (167 kg/m3).
const DENSITY_KG_M3: f32 = 120.0;
const GRAVITY_M_S2: f32 = 9.81;
/// The tool was chosen for the goods: nothing weighs more than this share of what it lifts.
const LOAD_SHARE_MAX: f32 = 1.0 / 3.0;
/// Nor does anything weigh less, for the lever to stay finite.
const LOAD_SHARE_MIN: f32 = 0.02;
/// Where more of the rim is hidden, nobody knows how much larger the package is.
const HIDDEN_SHARE_MAX: f32 = 0.4;
/// What hides a share of the rim hides about so many times that of the face.
const FACE_PER_RIM: f32 = 2.0;
/// How far hidden parts pull the centre of mass, as a share of what they may add to the length.
const CENTER_SHARE: f32 = 0.35;

/// What the package asks of the tool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Estimate of the centre of mass.
    pub(crate) center: Vector3<f32>,
    /// How far it may be off: the part of the package that is hidden pulls, too.
    center_sigma_m: f32,
    /// Against gravity; `None` where nobody knows.
    pub(crate) up: Option<Vector3<f32>>,
    pub(super) long_axis: Vector3<f32>,
    /// `None` where the size is unknown.
    volume_m3: Option<f32>,
    /// From trough to crest under a lip, where nothing smoother was seen.
    pub(crate) roughness_min_m: f32,
    /// Standard deviation of single depth values.
    pub(crate) noise_m: f32,
}

impl Load {
    /// The centre of mass is guessed to lie in the middle of the package, or at the mean of its
    /// cells. `hidden_share` is that of the rim.
    pub(crate) fn estimate(
        grid: &Grid,
        extent: Option<&Extent>,
        support: Option<&SupportPlane>,
        noise_m: f32,
        hidden_share: f32,
        roughness_min_m: f32,
    ) -> Load {
        let mean = || {
            let sum: Vector3<f32> = grid.cells.iter().map(|cell| cell.point_in_camera).sum();
            sum / grid.cells.len().max(1) as f32
        };
        let growth = 1.0 / (1.0 - FACE_PER_RIM * hidden_share.min(HIDDEN_SHARE_MAX));
        Load {
            center: extent.map_or_else(mean, |extent| extent.center_of_mass),
            center_sigma_m: extent
                .map_or(0.0, |extent| CENTER_SHARE * (growth - 1.0) * to_f32(extent.size.length_m)),
            up: support.map(|support| support.up),
            long_axis: extent.map_or_else(Vector3::x, |extent| extent.long_axis),
            volume_m3: extent.map(|extent| {
                let size = &extent.size;
                to_f32(size.length_m * size.width_m * size.height_m) * growth
            }),
            roughness_min_m,
            noise_m,
        }
    }

    /// Share of what a whole tool lifts, `0.0..=1.0`.
    fn weight_share(&self, tool: &Tool) -> f32 {
        let lifts_n =
            VACUUM_PA * tool.cups.iter().map(|cup| area_m2(to_f32(cup.radius_m))).sum::<f32>();
        self.volume_m3.map_or(LOAD_SHARE_MAX, |volume_m3| {
            (DENSITY_KG_M3 * GRAVITY_M_S2 * volume_m3 / lifts_n).min(LOAD_SHARE_MAX)
        })
    }

    /// How far from the centre of a tool of this reach the centre of mass may hang: there the
    /// weight's moment lifts the far side of the lip off, against what the vacuum has to spare.
    pub(crate) fn lever_max_m(&self, tool: &Tool, reach_m: f32) -> f32 {
        reach_m * (1.0 / self.weight_share(tool).max(LOAD_SHARE_MIN) - 1.0)
    }

    /// How far from a point that is held the centre of mass hangs, what may be hidden included.
    pub(super) fn lever_m(&self, at: &Vector3<f32>, normal: &Vector3<f32>) -> f32 {
        let d = self.center - at;
        let up = self.up.as_ref().unwrap_or(normal);
        (d.norm_squared() - up.dot(&d).powi(2)).max(0.0).sqrt().hypot(self.center_sigma_m)
    }
}

fn area_m2(radius_m: f32) -> f32 {
    std::f32::consts::PI * radius_m * radius_m
}

//! A tool in place on a package.

use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};

use super::context::PackageContext;
use super::shares::tilt_share;
use crate::number::to_f32;
use crate::{CupSet, Grasp, PoseSource, Quality, Scene};

/// A tool in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ToolPlacement {
    pub(crate) at_px: [f32; 2],
    /// Origin of the tool's reference frame when the cups touch.
    pub(crate) origin: Vector3<f32>,
    /// Out of the surface: against the approach.
    pub(crate) normal: Vector3<f32>,
    pub(super) tool_x: Vector3<f32>,
    pub(super) cups: CupSet,
    pub(crate) quality: Quality,
    /// Standard deviation of the contact along the approach.
    pub(super) sigma_m: f32,
}

impl ToolPlacement {
    /// The same in the reference frame of the poses.
    pub(crate) fn grasp(&self, scene: &Scene, pose_source: PoseSource) -> Grasp {
        let z = -self.normal.cast::<f64>().normalize();
        let x = self.tool_x.cast::<f64>();
        let x = (x - z * z.dot(&x)).normalize();
        let columns = Matrix3::from_columns(&[x, z.cross(&x), z]);
        let rotation = Rotation3::from_matrix_unchecked(columns);
        let camera_from_grasp = Isometry3::from_parts(
            Translation3::from(self.origin.cast::<f64>()),
            UnitQuaternion::from_rotation_matrix(&rotation),
        );
        Grasp {
            contact_px: self.at_px,
            reference_from_grasp: scene.reference_from_camera() * camera_from_grasp,
            pose_source,
            quality: self.quality,
            cups: self.cups,
            position_sigma_m: f64::from(self.sigma_m),
        }
    }
}

/// How little the approach leans; `None` beyond the limit.
pub(super) fn tilt(context: &PackageContext<'_>, normal: &Vector3<f32>) -> Option<f32> {
    let Some(up) = &context.load.up else { return Some(1.0) };
    let tilt_deg = normal.dot(up).clamp(-1.0, 1.0).acos().to_degrees();
    tilt_share(tilt_deg, to_f32(context.limits.tilt_deg_max))
}

//! The ground truth of a frame.

use magpie_perception::{CameraInfo, Mask, PackageType, Plane};
use nalgebra::{Isometry3, Quaternion, Translation3, Unit, UnitQuaternion, Vector3};
use rapier3d::math::Pose;

/// The truth about one frame.
#[derive(Clone, Debug)]
pub struct Truth {
    pub camera_info: CameraInfo,
    pub base_from_camera: Isometry3<f64>,
    /// The support plane in the base frame is z = 0, and its normal points up.
    pub support_plane_in_base: Plane,
    /// The packages that are visible enough to be annotated, by the recipe's limits.
    pub packages: Vec<TruePackage>,
    /// Pixels of packages that are visible too little to be annotated.
    pub unannotated: Mask,
    /// `belt`, `tote`, `pallet`, `floor`, `table` or `shelf`.
    pub background: &'static str,
    /// Angle between the optical axis and straight down.
    pub tilt_deg: f64,
    /// Distance from the camera to the point that it looks at.
    pub distance_m: f64,
    /// Standard deviation of single depth values at one metre.
    pub depth_sigma_m: f64,
}

#[derive(Clone, Debug)]
pub struct TruePackage {
    /// The same in all views of a scene and all frames of a belt sequence.
    pub package_id: u32,
    pub package_type: PackageType,
    /// Everything visible of the package in the distorted picture.
    pub mask: Mask,
    /// Visible part of the outline that lies within the field of view, `0.0..=1.0`.
    pub visible_fraction: f64,
    /// The package's origin is its centre.
    pub base_from_package: Isometry3<f64>,
    /// Extents along the package's own x, y and z.
    pub length_m: f64,
    pub width_m: f64,
    pub height_m: f64,
}

pub(crate) fn isometry(pose: &Pose) -> Isometry3<f64> {
    let t = pose.translation;
    let q = pose.rotation;
    let quaternion =
        Quaternion::new(f64::from(q.w), f64::from(q.x), f64::from(q.y), f64::from(q.z));
    Isometry3::from_parts(
        Translation3::new(f64::from(t.x), f64::from(t.y), f64::from(t.z)),
        UnitQuaternion::from_quaternion(quaternion),
    )
}

pub(crate) fn support_plane() -> Plane {
    Plane { normal: Unit::new_unchecked(Vector3::z()), offset_m: 0.0 }
}

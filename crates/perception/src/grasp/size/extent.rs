//! Where a package begins and ends, from its top face.

use nalgebra::{Point3, Vector3};

use super::face::Face;
use super::support::SupportPlane;
use crate::SizeM;

/// What the visible surface says about the whole package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) size: SizeM,
    /// Centre of the top face.
    pub(crate) top_center: Vector3<f32>,
    /// Guess of the centre of mass: below the top, against the top's normal, by half of the
    /// package's thickness, which is no more than its height above the support and than its width.
    pub(crate) center_of_mass: Vector3<f32>,
    /// Half-way between top and support.
    pub(crate) center_in_camera: Point3<f64>,
    /// Direction of the length, along the surface.
    pub(crate) long_axis: Vector3<f32>,
    /// Cosine of the angle by which the top leans.
    pub(crate) upright: f32,
}

impl Extent {
    /// A package from its top face down to the support plane.
    pub(super) fn below(face: &Face, support: &SupportPlane, height_m: f32) -> Extent {
        let [one_m, other_m] = face.half_m.map(|half_m| 2.0 * half_m);
        let (length_m, width_m) = (one_m.max(other_m), one_m.min(other_m));
        let height_m = height_m.max(0.0);
        let above_m = support.height_m(&face.center);
        let thickness_m = above_m.max(0.0).min(width_m);
        let center = face.center - support.up * (0.5 * above_m);
        Extent {
            size: SizeM {
                length_m: f64::from(length_m),
                width_m: f64::from(width_m),
                height_m: f64::from(height_m),
            },
            top_center: face.center,
            center_of_mass: face.center - face.normal * (0.5 * thickness_m),
            center_in_camera: Point3::from(center.cast::<f64>()),
            long_axis: face.axes[usize::from(other_m > one_m)],
            upright: face.normal.dot(&support.up),
        }
    }
}

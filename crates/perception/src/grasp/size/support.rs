//! The support plane as packages are measured against it.

use nalgebra::Vector3;

use crate::Plane;
use crate::grasp::vector::perpendicular;
use crate::number::to_f32;

/// The support plane, and two directions in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SupportPlane {
    /// Its normal, towards the camera.
    pub(crate) up: Vector3<f32>,
    offset_m: f32,
    pub(super) u: Vector3<f32>,
    pub(super) v: Vector3<f32>,
}

impl SupportPlane {
    pub(crate) fn new(plane: &Plane) -> SupportPlane {
        let up = plane.normal.into_inner().cast::<f32>();
        let u = perpendicular(&up);
        SupportPlane { up, offset_m: to_f32(plane.offset_m), u, v: up.cross(&u) }
    }

    pub(crate) fn height_m(&self, point: &Vector3<f32>) -> f32 {
        self.up.dot(point) - self.offset_m
    }

    pub(super) fn direction(&self, [u, v]: [f32; 2]) -> Vector3<f32> {
        self.u * u + self.v * v
    }

    pub(super) fn point(&self, u: f32, v: f32, height_m: f32) -> Vector3<f32> {
        self.u * u + self.v * v + self.up * (height_m + self.offset_m)
    }
}

//! The top face of a package.

use nalgebra::Vector3;

/// A rectangle in the optical frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Face {
    pub(super) center: Vector3<f32>,
    /// Unit vector, towards the camera.
    pub(super) normal: Vector3<f32>,
    /// Unit vectors along the sides.
    pub(super) axes: [Vector3<f32>; 2],
    pub(super) half_m: [f32; 2],
}

/// What a package is like between its top face and the support plane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walls {
    pub(super) thickness_m: f32,
    /// Whether the walls go straight down to where the package ends, as those of boxes do.
    pub(super) reach_down: bool,
}

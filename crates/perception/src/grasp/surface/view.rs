//! The depth of a frame with the lens it was seen through.

use super::rays::Rays;
use crate::DepthImage;

/// The camera's view of a frame.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) depth: &'a DepthImage,
    pub(crate) rays: &'a Rays,
}

impl View<'_> {
    /// How long a length at depth `z_m` is in the picture.
    pub(crate) fn pixels(&self, length_m: f32, z_m: f32) -> f32 {
        length_m * self.rays.focal_px / z_m
    }
}

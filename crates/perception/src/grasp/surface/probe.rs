//! The surface under a cup anywhere in a picture.

use nalgebra::{Point3, Vector3};

use super::grid::Grid;
use super::noise::{ROUNDING_SIGMA_M, noise_m};
use super::patch::{ContactPoint, PatchSampler, Sampling};
use super::rays::Rays;
use super::view::View;
use crate::number::{round_px, to_f32};
use crate::{DepthImage, Mask, Scene};

/// The surface under a cup as the planner sees it, anywhere: for pictures, and for evaluations that
/// compare other ways to choose a contact.
pub struct CupProbe<'a> {
    depth: &'a DepthImage,
    rays: Rays,
    sampler: PatchSampler,
    noise_m: f32,
}

/// What a [`CupProbe`] met.
#[derive(Clone, Copy, Debug)]
pub struct SurfaceUnderCup {
    pub point_in_camera: Point3<f64>,
    /// Towards the camera.
    pub normal_in_camera: Vector3<f64>,
    /// Highest against lowest place under the lip.
    pub deviation_m: f64,
}

impl<'a> CupProbe<'a> {
    pub fn new(depth: &'a DepthImage, scene: &Scene) -> CupProbe<'a> {
        let rays = Rays::new(&scene.camera_info);
        CupProbe { depth, rays, sampler: PatchSampler::default(), noise_m: ROUNDING_SIGMA_M }
    }

    /// Takes the sensor's noise on this package out of what follows, as the planner does.
    pub fn quieten(&mut self, mask: &Mask) {
        let mut grid = Grid::default();
        grid.fill(mask);
        grid.measure(self.depth, &self.rays, |_| 0.0);
        let view = View { depth: self.depth, rays: &self.rays };
        self.noise_m = noise_m(view, &grid, &mut Vec::new());
    }

    /// `None` in a hole, and where too little around it was measured.
    pub fn touch(&mut self, at_px: [f32; 2], radius_m: f64) -> Option<SurfaceUnderCup> {
        let view = View { depth: self.depth, rays: &self.rays };
        let [x, y] = at_px.map(round_px);
        let z_m = to_f32(self.depth.depth_m(x, y)?);
        let at = ContactPoint { at_px, z_m, clearance_m: 0.0 };
        let patch =
            self.sampler.measure(view, &at, to_f32(radius_m), self.noise_m, Sampling::Fine)?;
        Some(SurfaceUnderCup {
            point_in_camera: Point3::from(patch.point_in_camera.cast::<f64>()),
            normal_in_camera: patch.normal_in_camera.cast::<f64>(),
            deviation_m: f64::from(patch.deviation_m),
        })
    }
}

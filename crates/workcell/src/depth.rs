//! The depth camera: noise that grows with distance, steps of a millimetre, holes.

use magpie_perception::DepthImage;

use crate::noise;
use crate::random::{PixelRng, Rng};
use crate::recipe::Recipe;
use rapier3d::math::Vec3;

/// Exact depth, and how likely it is lost, for each pixel of the distorted picture.
pub(crate) struct ExactDepth {
    /// Depth along the optical axis; 0 where there is nothing.
    pub(crate) depth_m: Vec<f32>,
    /// `0..=255`, as [`shade`](crate::shade) finds it.
    pub(crate) hole_risk: Vec<u8>,
}

/// The camera measures only what lies in this range.
const RANGE_M: std::ops::Range<f32> = 0.25..9.0;

/// A stereo camera with its faults.
#[derive(Clone, Debug)]
pub(crate) struct DepthSensor {
    noise_scale: f32,
    hole_scale: f32,
    /// Width of a stereo shadow per difference of inverse depths, for a picture 640 pixels wide.
    shadow_px_m: f32,
}

impl DepthSensor {
    pub(crate) fn random(rng: &mut Rng, recipe: &Recipe) -> DepthSensor {
        let range = &recipe.sensor;
        DepthSensor {
            noise_scale: rng.within(0.4..1.4) * range.depth_noise,
            hole_scale: rng.within(0.5..1.3) * range.depth_holes,
            shadow_px_m: rng.within(8.0..30.0) * range.depth_holes,
        }
    }

    pub(crate) fn steady() -> DepthSensor {
        DepthSensor { noise_scale: 0.8, hole_scale: 0.8, shadow_px_m: 15.0 }
    }

    /// Standard deviation of a depth value.
    pub(crate) fn sigma_m(&self, z_m: f32) -> f32 {
        self.noise_scale * (0.0006 + 0.0012 * z_m * z_m)
    }

    pub(crate) fn measure(
        &self,
        width: u32,
        height: u32,
        exact: &ExactDepth,
        seed: u32,
    ) -> DepthImage {
        let mut depth_mm = Vec::with_capacity((width * height) as usize);
        for y in 0..height {
            depth_mm.extend(self.measure_row(width as usize, y as usize, exact, seed));
        }
        DepthImage::new(width, height, depth_mm).expect("one value per pixel")
    }

    fn measure_row(&self, width: usize, y: usize, exact: &ExactDepth, seed: u32) -> Vec<u16> {
        let shadow_px_m = self.shadow_px_m * width as f32 / 640.0;
        let mut rng = PixelRng::new(seed, y as u32);
        let mut row = vec![0; width];
        // The second eye does not see what lies left of a near edge. The shadow ends at this column.
        let mut shadow_end = f32::MAX;
        for x in (0..width).rev() {
            let at = y * width + x;
            let z = exact.depth_m[at];
            let right = if x + 1 < width { exact.depth_m[at + 1] } else { z };
            if right > 0.0 && z - right > 0.02 {
                shadow_end = x as f32 - shadow_px_m * (1.0 / right - 1.0 / z);
            } else if right - z > 0.02 || (x as f32) <= shadow_end {
                shadow_end = f32::MAX;
            }
            let shadowed = shadow_end != f32::MAX && x as f32 > shadow_end;
            let edge =
                neighbours(exact, x, y, width).any(|other| (other - z).abs() > 0.02 + 0.02 * z);
            let patch = noise::value(Vec3::new(x as f32 / 9.0, y as f32 / 9.0, z * 5.0), seed);
            let hole_risk = f32::from(exact.hole_risk[at]) / 255.0;
            let edge_risk = if edge { 0.45 } else { 0.0 };
            let risk =
                self.hole_scale * (0.002 + edge_risk + hole_risk * (patch * 1.6 - 0.25).max(0.0));
            let chance = rng.unit();
            let sigma_m = self.sigma_m(z);
            let measured_m = z + sigma_m * rng.normal();
            if RANGE_M.contains(&z) && !shadowed && chance >= risk {
                row[x] = (1000.0 * measured_m + 0.5) as u16;
            }
        }
        row
    }
}

fn neighbours(exact: &ExactDepth, x: usize, y: usize, width: usize) -> impl Iterator<Item = f32> {
    let at = y * width + x;
    let places = [
        (x > 0).then(|| at - 1),
        (x + 1 < width).then_some(at + 1),
        (y > 0).then(|| at - width),
        Some(at + width),
    ];
    places.into_iter().flatten().filter_map(|at| exact.depth_m.get(at).copied())
}

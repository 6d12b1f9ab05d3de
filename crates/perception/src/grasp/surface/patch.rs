//! The surface under one cup: a plane through its depth, and what its lip would have to follow.

use nalgebra::Vector3;

use super::depth::M_PER_MM;
use super::lip::{LipDeviation, REACH_RADII};
use super::noise::ROUNDING_SIGMA_M;
use super::plane_fit::PlaneFit;
use super::view::View;
use crate::number::{floor_px, round_px};

/// Depth samples across a cup, where single ones can be believed.
const SAMPLES_ACROSS: f32 = 8.0;
/// Where the sensor is noisier than this, fine sampling takes more: their mean is what counts.
const QUIET_M: f32 = 0.000_8;
const SAMPLES_ACROSS_MAX: f32 = 16.0;
/// Samples across the face around a cup, which tells its slope better than what is under the cup.
const FACE_SAMPLES_ACROSS: f32 = 14.0;
/// That face reaches up to so many radii from the contact, and not to the edge of the package.
const FACE_REACH_RADII: std::ops::Range<f32> = 1.6..4.0;
const FACE_EDGE_SHARE: f32 = 0.8;
/// A face is flat where what is left of it is the sensor's noise, which is known to a third, and
/// this.
const FACE_NOISE_MAX: f32 = 1.3;
const FACE_RMS_M: f32 = 0.000_8;
/// Smaller patches hold too few pixels for a plane; larger ones are nearer than any tool goes.
const RADIUS_PX: std::ops::RangeInclusive<f32> = 2.5..=400.0;
/// How much flatter or rougher than the rest of its package a place may be: a standard deviation,
/// and a share of the package's squared roughness.
const ROUGHNESS_SIGMA_M: f32 = 0.002;
const ROUGHNESS_VARIANCE_SHARE: f32 = 0.2;

/// Where a cup may touch a package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ContactPoint {
    pub(crate) at_px: [f32; 2],
    pub(crate) z_m: f32,
    /// To the edge of the package, at least.
    pub(crate) clearance_m: f32,
}

/// How densely the depth under a cup is sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// To compare many contact points.
    Coarse,
    /// To act on one: as many samples as the noise asks for, and the slope of the face around it.
    Fine,
}

/// What one cup meets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SurfacePatch {
    pub(crate) at_px: [f32; 2],
    pub(crate) point_in_camera: Vector3<f32>,
    /// Out of the surface, towards the camera.
    pub(crate) normal_in_camera: Vector3<f32>,
    /// Highest against lowest place under the lip, after the plane and the sensor's noise are
    /// taken out.
    pub(crate) deviation_m: f32,
    /// How far that may be off.
    pub(crate) deviation_sigma_m: f32,
    /// Standard deviation of the contact point, from the scatter about the plane.
    pub(crate) sigma_m: f32,
    pub(crate) depth_hole_fraction: f32,
}

impl SurfacePatch {
    /// The patch on a package that is as rough as this all over: where noise hides what is under the
    /// lip, it is taken to be like the rest.
    pub(crate) fn on_package(self, roughness_m: f32) -> SurfacePatch {
        let own2 = ROUGHNESS_SIGMA_M * ROUGHNESS_SIGMA_M
            + ROUGHNESS_VARIANCE_SHARE * roughness_m * roughness_m;
        let trust = own2 / (own2 + self.deviation_sigma_m * self.deviation_sigma_m);
        SurfacePatch { deviation_m: roughness_m + trust * (self.deviation_m - roughness_m), ..self }
    }
}

/// Samples depth under a cup. The buffer is kept from cup to cup.
#[derive(Debug, Default)]
pub(crate) struct PatchSampler {
    points: Vec<Vector3<f32>>,
    /// Pixels that were looked at, holes included.
    sampled: u32,
}

impl PatchSampler {
    /// The surface under a cup of `radius_m`; `None` where too little of it was measured, or where it
    /// is seen edge-on.
    pub(crate) fn measure(
        &mut self,
        view: View<'_>,
        at: &ContactPoint,
        radius_m: f32,
        noise_m: f32,
        sampling: Sampling,
    ) -> Option<SurfacePatch> {
        let across = match sampling {
            Sampling::Coarse => SAMPLES_ACROSS,
            Sampling::Fine => {
                (SAMPLES_ACROSS * noise_m / QUIET_M).clamp(SAMPLES_ACROSS, SAMPLES_ACROSS_MAX)
            }
        };
        self.gather(view, at.at_px, view.pixels(radius_m * REACH_RADII, at.z_m), across);
        let ray = view.rays.at(at.at_px[0], at.at_px[1]);
        let center = ray * at.z_m;
        let fit = PlaneFit::robust(&self.points, &center, noise_m)?;
        let (point, normal) = fit.contact(&ray, &center)?;
        let lip = LipDeviation::new(&self.points, &point, &normal, radius_m, noise_m)?;
        let measured = self.points.len() as f32;
        let patch = SurfacePatch {
            at_px: at.at_px,
            point_in_camera: point,
            normal_in_camera: normal,
            deviation_m: lip.deviation_m,
            deviation_sigma_m: lip.sigma_m,
            sigma_m: (fit.rms_m / measured.sqrt()).hypot(ROUNDING_SIGMA_M),
            depth_hole_fraction: 1.0 - measured / self.sampled.max(1) as f32,
        };
        let face = match sampling {
            Sampling::Coarse => None,
            Sampling::Fine => self.fit_face(view, at, &center, radius_m, noise_m),
        };
        let on_face = face.and_then(|face| face.contact(&ray, &center));
        Some(on_face.map_or(patch, |(point_in_camera, normal_in_camera)| SurfacePatch {
            point_in_camera,
            normal_in_camera,
            ..patch
        }))
    }

    /// The plane of the face around a contact point; `None` unless it is flat.
    fn fit_face(
        &mut self,
        view: View<'_>,
        at: &ContactPoint,
        center: &Vector3<f32>,
        radius_m: f32,
        noise_m: f32,
    ) -> Option<PlaneFit> {
        let reach_m = (FACE_EDGE_SHARE * at.clearance_m).min(FACE_REACH_RADII.end * radius_m);
        if reach_m < FACE_REACH_RADII.start * radius_m {
            return None;
        }
        self.gather(view, at.at_px, view.pixels(reach_m, at.z_m), FACE_SAMPLES_ACROSS);
        let fit = PlaneFit::robust(&self.points, center, noise_m)?;
        (fit.rms_m <= (FACE_NOISE_MAX * noise_m).hypot(FACE_RMS_M)).then_some(fit)
    }

    /// Collects the points of a disc, about so many samples across.
    fn gather(&mut self, view: View<'_>, at_px: [f32; 2], radius_px: f32, samples_across: f32) {
        self.points.clear();
        self.sampled = 0;
        let radius_px = radius_px.clamp(*RADIUS_PX.start(), *RADIUS_PX.end());
        let step = floor_px(2.0 * radius_px / samples_across + 0.5).max(1);
        let [x, y] = at_px.map(round_px);
        let (width, height) = (view.depth.width_px(), view.depth.height_px());
        let near = view.rays.near(at_px);
        let reach = floor_px(radius_px) / step * step;
        let (mut y_px, last) = (first_in(y, reach, step), (y + reach).min(height - 1));
        while y_px <= last {
            let dy = y_px as f32 - y as f32;
            let across = floor_px((radius_px * radius_px - dy * dy).max(0.0).sqrt()) / step * step;
            let line = &view.depth.row_mm(y_px)[..(x + across).min(width - 1) as usize + 1];
            let mut x_px = first_in(x, across, step);
            while let Some(&mm) = line.get(x_px as usize) {
                self.sampled += 1;
                if mm != 0 {
                    let ray = near.at(x_px as f32, y_px as f32);
                    self.points.push(ray * (f32::from(mm) * M_PER_MM));
                }
                x_px += step;
            }
            y_px += step;
        }
    }
}

/// The first of the places `center - reach`, a step apart, that is not left of or above the image.
fn first_in(center: u32, reach: u32, step: u32) -> u32 {
    if reach <= center { center - reach } else { center % step }
}

//! The surface under one cup: a plane through its depth, and what its lip would have to follow.

use nalgebra::Vector3;

use crate::DepthImage;
use crate::grasp::surface::rays::Rays;
use crate::number::{floor_px, round_px};

/// Depth samples across a cup, where single ones can be believed.
const SAMPLES_ACROSS: f32 = 8.0;
/// Where the sensor is noisier than this, more samples are taken: their mean is what counts.
const QUIET_M: f32 = 0.000_8;
const SAMPLES_ACROSS_MAX: f32 = 16.0;
/// Across the face around a cup, which tells its slope better than what is under the cup.
const FACE_SAMPLES_ACROSS: f32 = 14.0;
/// That face reaches up to so many radii from the contact, and not to the edge of the package.
const FACE_REACH: std::ops::Range<f32> = 1.6..4.0;
const FACE_EDGE_SHARE: f32 = 0.8;
/// What is left of a flat face is the sensor's noise, which is known to a third, and this.
const FACE_RMS_M: f32 = 0.000_8;
/// Three points make any plane perfect; a dozen make it mean something.
const FIT_POINTS_MIN: usize = 12;
/// Beyond the lip, by this share of its radius, the surface still counts.
const REACH: f32 = 1.1;
/// The lip, in shares of the cup's radius.
const RING: std::ops::Range<f32> = 0.65..REACH;
/// Waves around the lip: the second, the third and the fourth harmonic.
const HARMONICS: usize = 3;
/// From their joint amplitude to trough against crest, finer wrinkles included: measured on simulated
/// bags seen from near.
const CREST: f32 = 3.2;
/// What noise does on average is taken for noise; more would hide wrinkles.
const NOISE_TAKEN: f32 = 1.0;
/// Depth comes in millimetres: rounding alone scatters by this much.
pub(crate) const STEP_SIGMA_M: f32 = 0.000_29;

/// The camera's view of a frame.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) depth: &'a DepthImage,
    pub(crate) rays: &'a Rays,
}

impl View<'_> {
    pub(crate) fn pixels(&self, length_m: f32, z_m: f32) -> f32 {
        length_m * self.rays.focal_px / z_m
    }
}

/// What one cup meets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Contact {
    pub(crate) at_px: [f32; 2],
    pub(crate) point_in_camera: Vector3<f32>,
    /// Out of the surface, towards the camera.
    pub(crate) normal_in_camera: Vector3<f32>,
    /// Highest against lowest place under the lip, after the plane and the sensor's noise are
    /// taken out.
    pub(crate) deviation_m: f32,
    /// How far that may be off.
    pub(crate) deviation_sigma_m: f32,
    /// Of the contact point, from the scatter about the plane.
    pub(crate) sigma_m: f32,
    pub(crate) depth_hole_fraction: f32,
}

/// How much flatter or rougher than the rest of its package a place may be.
const ROUGH_SIGMA_M: f32 = 0.002;

impl Contact {
    /// On a package as rough as this all over: where noise hides what is under the lip, it is taken
    /// to be like the rest.
    pub(crate) fn on_surface(self, rough_m: f32) -> Contact {
        let own2 = ROUGH_SIGMA_M * ROUGH_SIGMA_M + 0.2 * rough_m * rough_m;
        let trust = own2 / (own2 + self.deviation_sigma_m * self.deviation_sigma_m);
        Contact { deviation_m: rough_m + trust * (self.deviation_m - rough_m), ..self }
    }
}

/// Depth samples under a cup. The buffer is kept from cup to cup.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    points: Vec<Vector3<f32>>,
    looked: u32,
}

/// A place on a package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    pub(crate) at_px: [f32; 2],
    pub(crate) z_m: f32,
    /// To the edge of the package, at least.
    pub(crate) clearance_m: f32,
}

/// How closely a spot is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// To compare many.
    Glance,
    /// To act on one: as many samples as the noise asks for, and the slope of the face around it.
    Close,
}

impl Patch {
    /// The contact of a cup of `radius_m`.
    pub(crate) fn touch(
        &mut self,
        view: View<'_>,
        spot: &Spot,
        radius_m: f32,
        noise_m: f32,
        care: Care,
    ) -> Option<Contact> {
        let across = match care {
            Care::Glance => SAMPLES_ACROSS,
            Care::Close => {
                (SAMPLES_ACROSS * noise_m / QUIET_M).clamp(SAMPLES_ACROSS, SAMPLES_ACROSS_MAX)
            }
        };
        self.gather(view, spot.at_px, view.pixels(radius_m * REACH, spot.z_m), across);
        let ray = view.rays.at(spot.at_px[0], spot.at_px[1]);
        let center = ray * spot.z_m;
        let fit = fit_twice(&self.points, &center, noise_m)?;
        let (point, normal) = fit.contact(&ray, &center)?;
        let (deviation_m, deviation_sigma_m) =
            lip_deviation_m(&self.points, &point, &normal, radius_m, noise_m)?;
        let seen = self.points.len() as f32;
        let contact = Contact {
            at_px: spot.at_px,
            point_in_camera: point,
            normal_in_camera: normal,
            deviation_m,
            deviation_sigma_m,
            sigma_m: (fit.rms_m / seen.sqrt()).hypot(STEP_SIGMA_M),
            depth_hole_fraction: 1.0 - seen / self.looked.max(1) as f32,
        };
        let face = match care {
            Care::Glance => None,
            Care::Close => self.face(view, spot, &center, radius_m, noise_m),
        };
        let on_face = face.and_then(|face| face.contact(&ray, &center));
        Some(on_face.map_or(contact, |(point_in_camera, normal_in_camera)| Contact {
            point_in_camera,
            normal_in_camera,
            ..contact
        }))
    }

    /// The plane of the face around a spot; `None` unless it is flat.
    fn face(
        &mut self,
        view: View<'_>,
        spot: &Spot,
        center: &Vector3<f32>,
        radius_m: f32,
        noise_m: f32,
    ) -> Option<Fit> {
        let reach_m = (FACE_EDGE_SHARE * spot.clearance_m).min(FACE_REACH.end * radius_m);
        if reach_m < FACE_REACH.start * radius_m {
            return None;
        }
        self.gather(view, spot.at_px, view.pixels(reach_m, spot.z_m), FACE_SAMPLES_ACROSS);
        let fit = fit_twice(&self.points, center, noise_m)?;
        (fit.rms_m <= (1.3 * noise_m).hypot(FACE_RMS_M)).then_some(fit)
    }

    fn gather(&mut self, view: View<'_>, at_px: [f32; 2], radius_px: f32, samples_across: f32) {
        self.points.clear();
        self.looked = 0;
        let radius_px = radius_px.clamp(2.5, 400.0);
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
                self.looked += 1;
                if mm != 0 {
                    let ray = near.at(x_px as f32, y_px as f32);
                    self.points.push(ray * (f32::from(mm) * 0.001));
                }
                x_px += step;
            }
            y_px += step;
        }
    }
}

/// The first of the places `middle - reach`, a step apart, that is not left of or above the image.
fn first_in(middle: u32, reach: u32, step: u32) -> u32 {
    if reach <= middle { middle - reach } else { middle % step }
}

/// `z - center.z = offset + slope . (x - center.x, y - center.y)`.
#[derive(Clone, Copy, Debug)]
struct Fit {
    slope: [f32; 2],
    offset_m: f32,
    rms_m: f32,
}

impl Fit {
    /// Where a pixel's ray meets the plane, and the plane's normal towards the camera; `None`
    /// where it is seen edge-on: that is no surface to touch.
    fn contact(
        &self,
        ray: &Vector3<f32>,
        center: &Vector3<f32>,
    ) -> Option<(Vector3<f32>, Vector3<f32>)> {
        let [x_slope, y_slope] = self.slope;
        let facing = 1.0 - x_slope * ray.x - y_slope * ray.y;
        let through = center.z + self.offset_m - x_slope * center.x - y_slope * center.y;
        let z_m = through / facing;
        let normal = Vector3::new(x_slope, y_slope, -1.0).normalize();
        (facing >= 0.05 && z_m.is_finite() && z_m > 0.0).then_some((ray * z_m, normal))
    }
}

/// Least squares, and, unless what is left is noise, once more without the points that lie far off.
fn fit_twice(points: &[Vector3<f32>], center: &Vector3<f32>, noise_m: f32) -> Option<Fit> {
    let first = fit(points, center, None)?;
    if first.rms_m < 0.001 + noise_m {
        return Some(first);
    }
    fit(points, center, Some((first, 2.5 * first.rms_m))).or(Some(first))
}

fn fit(points: &[Vector3<f32>], center: &Vector3<f32>, near: Option<(Fit, f32)>) -> Option<Fit> {
    let (mut n, mut sum, mut squares) = (0u32, Vector3::zeros(), [0.0f32; 6]);
    for point in points {
        let d = point - center;
        if let Some((fit, limit_m)) = &near
            && (d.z - fit.offset_m - fit.slope[0] * d.x - fit.slope[1] * d.y).abs() > *limit_m
        {
            continue;
        }
        n += 1;
        sum += d;
        for (square, value) in squares.iter_mut().zip([
            d.x * d.x,
            d.x * d.y,
            d.y * d.y,
            d.x * d.z,
            d.y * d.z,
            d.z * d.z,
        ]) {
            *square += value;
        }
    }
    if (n as usize) < FIT_POINTS_MIN {
        return None;
    }
    let count = n as f32;
    let mean = sum / count;
    let [xx, xy, yy, xz, yz, zz] = squares.map(|square| square / count);
    let (xx, xy, yy) = (xx - mean.x * mean.x, xy - mean.x * mean.y, yy - mean.y * mean.y);
    let (xz, yz, zz) = (xz - mean.x * mean.z, yz - mean.y * mean.z, zz - mean.z * mean.z);
    let determinant = xx * yy - xy * xy;
    // All points on one line.
    if determinant <= 1e-6 * xx * yy {
        return None;
    }
    let slope = [(xz * yy - yz * xy) / determinant, (yz * xx - xz * xy) / determinant];
    let left = zz - slope[0] * xz - slope[1] * yz;
    Some(Fit {
        slope,
        offset_m: mean.z - slope[0] * mean.x - slope[1] * mean.y,
        rms_m: left.max(0.0).sqrt(),
    })
}

/// The lip follows its plane. What is left under it are waves: the second harmonic around the lip
/// is the saddle that a rolled surface makes, the third and fourth are wrinkles. Each is a mean over
/// all of the lip, so it shows in noise that hides it in any single place. `None` where too little
/// of the lip was measured.
fn lip_deviation_m(
    points: &[Vector3<f32>],
    contact: &Vector3<f32>,
    normal: &Vector3<f32>,
    radius_m: f32,
    noise_m: f32,
) -> Option<(f32, f32)> {
    let across = tangent(normal);
    let along = normal.cross(&across);
    let (inner, outer) = ((RING.start * radius_m).powi(2), (RING.end * radius_m).powi(2));
    let (mut n, mut waves) = (0.0f32, [[0.0f32; 2]; HARMONICS]);
    for point in points {
        let d = point - contact;
        let (x, y) = (across.dot(&d), along.dot(&d));
        let aside = x * x + y * y;
        if aside < inner || aside > outer {
            continue;
        }
        // A lone spike is the sensor's, and no cup cares how deep a gap is.
        let h = normal.dot(&d).clamp(-3.0 * radius_m, 3.0 * radius_m);
        n += 1.0;
        // Cosine and sine of the multiples of the angle.
        let (x2, y2) = ((x * x - y * y) / aside, 2.0 * x * y / aside);
        let scale = 1.0 / aside.sqrt();
        let (x3, y3) = (scale * (x2 * x - y2 * y), scale * (x2 * y + y2 * x));
        let (x4, y4) = (x2 * x2 - y2 * y2, 2.0 * x2 * y2);
        for (wave, [cos, sin]) in waves.iter_mut().zip([[x2, y2], [x3, y3], [x4, y4]]) {
            wave[0] += h * cos;
            wave[1] += h * sin;
        }
    }
    if n < 8.0 {
        return None;
    }
    let squares: f32 = waves.iter().map(|[cos, sin]| cos * cos + sin * sin).sum();
    // Noise alone gives each harmonic four times its variance over n.
    let of_noise = 4.0 * HARMONICS as f32 * noise_m * noise_m / n;
    let amplitude2 = (4.0 * squares / (n * n) - NOISE_TAKEN * of_noise).max(0.0);

    Some((CREST * amplitude2.sqrt(), CREST * of_noise.sqrt()))
}

/// Any direction across `z`, the nearest to the camera's x.
pub(crate) fn tangent(z: &Vector3<f32>) -> Vector3<f32> {
    let aside = if z.x.abs() < 0.9 { Vector3::x() } else { Vector3::y() };
    (aside - z * z.dot(&aside)).normalize()
}

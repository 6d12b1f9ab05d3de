//! The surface under one cup: a plane through its depth, and what its lip would have to follow.

use nalgebra::Vector3;

use super::rays::Rays;
use crate::DepthImage;
use crate::number::{floor_px, round_px};

/// Depth samples across a cup.
const SAMPLES_ACROSS: f32 = 10.0;
/// Three points make any plane perfect; a dozen make it mean something.
const FIT_POINTS_MIN: usize = 12;
/// Beyond the lip, by this share of its radius, the surface still counts.
const REACH: f32 = 1.1;
/// The lip, in shares of the cup's radius.
const RING: std::ops::Range<f32> = 0.65..REACH;
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

    /// `None` outside the image and in a hole.
    pub(crate) fn point(&self, x_px: i64, y_px: i64) -> Option<Vector3<f32>> {
        let (x, y) = (u32::try_from(x_px).ok()?, u32::try_from(y_px).ok()?);
        if x >= self.depth.width_px() || y >= self.depth.height_px() {
            return None;
        }
        let mm = self.depth.mm(x, y);
        (mm != 0).then(|| self.rays.at(x as f32, y as f32) * (f32::from(mm) * 0.001))
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
    /// Of the contact point, from the scatter about the plane.
    pub(crate) sigma_m: f32,
    pub(crate) depth_hole_fraction: f32,
}

/// Depth samples under a cup. The buffer is kept from cup to cup.
#[derive(Debug, Default)]
pub(crate) struct Patch {
    points: Vec<Vector3<f32>>,
    looked: u32,
}

impl Patch {
    /// The contact of a cup of `radius_m` at a pixel whose depth is about `z_m`.
    pub(crate) fn touch(
        &mut self,
        view: View<'_>,
        at_px: [f32; 2],
        z_m: f32,
        radius_m: f32,
        noise_m: f32,
    ) -> Option<Contact> {
        self.gather(view, at_px, view.pixels(radius_m * REACH, z_m));
        let center = view.rays.at(at_px[0], at_px[1]) * z_m;
        let fit = fit_twice(&self.points, &center, noise_m)?;
        let normal = Vector3::new(fit.slope[0], fit.slope[1], -1.0).normalize();
        // Where the pixel's ray meets the plane.
        let ray = view.rays.at(at_px[0], at_px[1]);
        let facing = 1.0 - fit.slope[0] * ray.x - fit.slope[1] * ray.y;
        let through = center.z + fit.offset_m - fit.slope[0] * center.x - fit.slope[1] * center.y;
        let z_m = through / facing;
        // A surface seen edge-on is no surface to touch.
        if facing < 0.05 || !z_m.is_finite() || z_m <= 0.0 {
            return None;
        }
        let point = ray * z_m;
        let deviation_m = lip_deviation_m(&self.points, &point, &normal, radius_m, noise_m)?;
        let share = self.points.len() as f32 / self.looked.max(1) as f32;
        Some(Contact {
            at_px,
            point_in_camera: point,
            normal_in_camera: normal,
            deviation_m,
            sigma_m: (fit.rms_m / (self.points.len() as f32).sqrt()).hypot(STEP_SIGMA_M),
            depth_hole_fraction: 1.0 - share,
        })
    }

    fn gather(&mut self, view: View<'_>, at_px: [f32; 2], radius_px: f32) {
        self.points.clear();
        self.looked = 0;
        let radius_px = radius_px.clamp(2.5, 400.0);
        let step = floor_px(2.0 * radius_px / SAMPLES_ACROSS).max(1);
        let [x, y] = at_px.map(round_px);
        let (width, height) = (view.depth.width_px(), view.depth.height_px());
        let near = view.rays.near(at_px);
        let reach = floor_px(radius_px) / step * step;
        let (mut y_px, last) = (first_in(y, reach, step), (y + reach).min(height - 1));
        while y_px <= last {
            let dy = y_px as f32 - y as f32;
            let across = floor_px((radius_px * radius_px - dy * dy).max(0.0).sqrt()) / step * step;
            let from = first_in(x, across, step);
            let to = (x + across).min(width - 1);
            if from <= to {
                let line = view.depth.row_mm(y_px);
                for x_px in (from..=to).step_by(step as usize) {
                    self.looked += 1;
                    let mm = line[x_px as usize];
                    if mm != 0 {
                        let ray = near.at(x_px as f32, y_px as f32);
                        self.points.push(ray * (f32::from(mm) * 0.001));
                    }
                }
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

/// The lip follows its plane. What is left under it is a saddle, which a rolled surface makes and
/// which shows as the second harmonic around the lip, and wrinkles, which are the rest. `None`
/// where too little of the lip was measured.
fn lip_deviation_m(
    points: &[Vector3<f32>],
    contact: &Vector3<f32>,
    normal: &Vector3<f32>,
    radius_m: f32,
    noise_m: f32,
) -> Option<f32> {
    let across = tangent(normal);
    let along = normal.cross(&across);
    let (inner, outer) = ((RING.start * radius_m).powi(2), (RING.end * radius_m).powi(2));
    let (mut n, mut sum, mut square, mut saddle) = (0.0f32, 0.0, 0.0, [0.0f32; 2]);
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
        sum += h;
        square += h * h;
        saddle[0] += h * (x * x - y * y) / aside;
        saddle[1] += h * 2.0 * x * y / aside;
    }
    if n < 8.0 {
        return None;
    }
    let mean = sum / n;
    let noise2 = noise_m * noise_m;
    let amplitude2 = 4.0 * (saddle[0] * saddle[0] + saddle[1] * saddle[1]) / (n * n);
    // Noise alone makes a saddle of four times its variance over n, and scatters in its own
    // variance by the root of two over n: of both, twice as much is taken for noise.
    let saddle_m = (amplitude2 - 8.0 * noise2 / n).max(0.0).sqrt();
    let scatter2 = square / n - mean * mean - 0.5 * amplitude2;
    let rest_m = (scatter2 - noise2 * (1.0 + (8.0 / n).sqrt())).max(0.0).sqrt();
    // From trough to crest: of a sine twice its amplitude; of wrinkles 2.8 times their scatter.
    Some(2.0 * saddle_m + 2.8 * rest_m)
}

/// Any direction across `z`, the nearest to the camera's x.
pub(crate) fn tangent(z: &Vector3<f32>) -> Vector3<f32> {
    let aside = if z.x.abs() < 0.9 { Vector3::x() } else { Vector3::y() };
    (aside - z * z.dot(&aside)).normalize()
}

//! A plane through points by least squares.

use nalgebra::Vector3;

/// Three points make any plane perfect; a dozen make it mean something.
const POINTS_MIN: usize = 12;
/// A fit is good where what is left is the noise and this.
const RMS_GOOD_M: f32 = 0.001;
/// Else points farther off than so many standard deviations are left out.
const OUTLIER_SIGMAS: f32 = 2.5;
/// Points whose determinant is a smaller share of their spread lie on one line.
const COLLINEAR_SHARE: f32 = 1e-6;
/// A plane that faces a ray less is seen edge-on.
const FACING_MIN: f32 = 0.05;

/// `z - center.z = offset + slope . (x - center.x, y - center.y)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlaneFit {
    slope: [f32; 2],
    offset_m: f32,
    pub(super) rms_m: f32,
}

impl PlaneFit {
    /// Least squares, and, unless what is left is noise, once more without the points that lie far
    /// off. `None` of too few points, or of points on one line.
    pub(super) fn robust(
        points: &[Vector3<f32>],
        center: &Vector3<f32>,
        noise_m: f32,
    ) -> Option<PlaneFit> {
        let first = PlaneFit::new(points, center, |_| true)?;
        if first.rms_m < RMS_GOOD_M + noise_m {
            return Some(first);
        }
        let limit_m = OUTLIER_SIGMAS * first.rms_m;
        PlaneFit::new(points, center, |d| first.residual_m(d).abs() <= limit_m).or(Some(first))
    }

    /// Where a pixel's ray meets the plane, and the plane's normal towards the camera; `None`
    /// where it is seen edge-on: that is no surface to touch.
    pub(super) fn contact(
        &self,
        ray: &Vector3<f32>,
        center: &Vector3<f32>,
    ) -> Option<(Vector3<f32>, Vector3<f32>)> {
        let [x_slope, y_slope] = self.slope;
        let facing = 1.0 - x_slope * ray.x - y_slope * ray.y;
        let through = center.z + self.offset_m - x_slope * center.x - y_slope * center.y;
        let z_m = through / facing;
        let normal = Vector3::new(x_slope, y_slope, -1.0).normalize();
        (facing >= FACING_MIN && z_m.is_finite() && z_m > 0.0).then_some((ray * z_m, normal))
    }

    /// How far a point, relative to the center, lies off along z.
    #[inline(always)]
    fn residual_m(&self, d: &Vector3<f32>) -> f32 {
        d.z - self.offset_m - self.slope[0] * d.x - self.slope[1] * d.y
    }

    /// Least squares through the points that count; `counts` gets them relative to the center.
    #[inline(always)]
    fn new(
        points: &[Vector3<f32>],
        center: &Vector3<f32>,
        counts: impl Fn(&Vector3<f32>) -> bool,
    ) -> Option<PlaneFit> {
        let (mut n, mut sum, mut squares) = (0u32, Vector3::zeros(), [0.0f32; 6]);
        for point in points {
            let d = point - center;
            if !counts(&d) {
                continue;
            }
            n += 1;
            sum += d;
            let products = [d.x * d.x, d.x * d.y, d.y * d.y, d.x * d.z, d.y * d.z, d.z * d.z];
            squares.iter_mut().zip(products).for_each(|(square, product)| *square += product);
        }
        if (n as usize) < POINTS_MIN {
            return None;
        }
        let count = n as f32;
        let mean = sum / count;
        let [xx, xy, yy, xz, yz, zz] = squares.map(|square| square / count);
        let (xx, xy, yy) = (xx - mean.x * mean.x, xy - mean.x * mean.y, yy - mean.y * mean.y);
        let (xz, yz, zz) = (xz - mean.x * mean.z, yz - mean.y * mean.z, zz - mean.z * mean.z);
        let determinant = xx * yy - xy * xy;
        if determinant <= COLLINEAR_SHARE * xx * yy {
            return None;
        }
        let slope = [(xz * yy - yz * xy) / determinant, (yz * xx - xz * xy) / determinant];
        let left = zz - slope[0] * xz - slope[1] * yz;
        Some(PlaneFit {
            slope,
            offset_m: mean.z - slope[0] * mean.x - slope[1] * mean.y,
            rms_m: left.max(0.0).sqrt(),
        })
    }
}

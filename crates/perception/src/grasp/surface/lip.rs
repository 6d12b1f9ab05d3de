//! What the lip of a cup would have to follow.

use nalgebra::Vector3;

use crate::grasp::vector::perpendicular;

/// Beyond the lip, up to so many of its radii, the surface still counts.
pub(super) const REACH_RADII: f32 = 1.1;
/// The lip, in radii of the cup.
const LIP_RADII: std::ops::Range<f32> = 0.65..REACH_RADII;
/// Waves around the lip: the second, the third and the fourth harmonic.
const HARMONICS: usize = 3;
/// Fewer samples around the lip tell no fourth harmonic: two for each of its half waves.
const POINTS_MIN: f32 = 8.0;
/// Heights are cut off at so many radii: a lone spike is the sensor's, and no cup cares how deep a
/// gap is.
const HEIGHT_RADII_MAX: f32 = 3.0;
/// The squared amplitude of a harmonic is four times that of the mean product with its cosine and
/// sine; noise alone gives it four times the noise's variance over the count of samples.
const SQUARED_AMPLITUDE: f32 = 4.0;
/// From the harmonics' joint amplitude to trough against crest, finer wrinkles included: measured on
/// simulated bags seen from near.
const CREST_AMPLITUDES: f32 = 3.2;

/// What a lip would have to follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct LipDeviation {
    /// From the lowest to the highest place under the lip, without what noise makes on average:
    /// taking out more would hide wrinkles.
    pub(super) deviation_m: f32,
    /// How far that may be off.
    pub(super) sigma_m: f32,
}

impl LipDeviation {
    /// The lip follows its plane. What is left under it are waves: the second harmonic around the lip
    /// is the saddle that a rolled surface makes, the third and fourth are wrinkles. Each is a mean
    /// over all of the lip, so it shows in noise that hides it in any single place. `None` where too
    /// little of the lip was measured.
    pub(super) fn new(
        points: &[Vector3<f32>],
        contact: &Vector3<f32>,
        normal: &Vector3<f32>,
        radius_m: f32,
        noise_m: f32,
    ) -> Option<LipDeviation> {
        let across = perpendicular(normal);
        let along = normal.cross(&across);
        let [inner, outer] =
            [LIP_RADII.start, LIP_RADII.end].map(|radii| (radii * radius_m).powi(2));
        let height_m_max = HEIGHT_RADII_MAX * radius_m;
        let (mut n, mut waves) = (0.0f32, [[0.0f32; 2]; HARMONICS]);
        for point in points {
            let d = point - contact;
            let (x, y) = (across.dot(&d), along.dot(&d));
            let aside = x * x + y * y;
            if aside < inner || aside > outer {
                continue;
            }
            let h = normal.dot(&d).clamp(-height_m_max, height_m_max);
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
        if n < POINTS_MIN {
            return None;
        }
        let squares: f32 = waves.iter().map(|[cos, sin]| cos * cos + sin * sin).sum();
        let of_noise = SQUARED_AMPLITUDE * HARMONICS as f32 * noise_m * noise_m / n;
        let amplitude2 = (SQUARED_AMPLITUDE * squares / (n * n) - of_noise).max(0.0);
        Some(LipDeviation {
            deviation_m: CREST_AMPLITUDES * amplitude2.sqrt(),
            sigma_m: CREST_AMPLITUDES * of_noise.sqrt(),
        })
    }
}

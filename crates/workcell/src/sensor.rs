//! Turns light into bytes: exposure, colour, blur, noise, compression.

use image::ImageEncoder as _;
use image::codecs::jpeg::JpegEncoder;
use magpie_perception::BgrImage;
use rapier3d::math::Vec3;

use crate::random::{PixelRng, Rng};
use crate::recipe::Recipe;

/// One camera with its settings.
#[derive(Clone, Debug)]
pub(crate) struct Sensor {
    /// Over- or underexposure, in stops.
    exposure_ev: f32,
    balance: Vec3,
    white: f32,
    contrast: f32,
    saturation: f32,
    vignette: f32,
    /// Standard deviations along x and y of defocus and motion, for a picture 640 pixels wide.
    blur_px: [f32; 2],
    noise: f32,
    jpeg_quality: Option<u8>,
}

impl Sensor {
    pub(crate) fn random(rng: &mut Rng, recipe: &Recipe) -> Sensor {
        let range = &recipe.sensor;
        let color = range.color;
        let mut blur_px =
            if rng.chance(0.6) { [range.blur * rng.within(0.2..1.3); 2] } else { [0.0; 2] };
        if rng.chance(0.12) {
            blur_px[rng.below(2)] += range.blur * rng.within(0.8..2.5);
        }
        let gray = rng.chance(0.03 * color.min(1.0));
        let balance =
            Vec3::ONE + 0.1 * color * Vec3::new(rng.around(1.0), rng.around(1.0), rng.around(1.0));
        Sensor {
            exposure_ev: color * (0.42 * rng.normal() + 0.05),
            balance,
            white: rng.within(1.6..4.0),
            contrast: 1.0 + color * rng.within(-0.2..0.2),
            saturation: if gray { 0.0 } else { 1.0 + color * rng.within(-0.4..0.2) },
            vignette: color * rng.within(0.0..0.45),
            blur_px,
            noise: range.noise * rng.within_log(0.002..0.03),
            jpeg_quality: rng.chance(range.jpeg_share).then(|| rng.count(45, 95) as u8),
        }
    }

    /// An ordinary machine vision camera, well adjusted.
    pub(crate) fn steady() -> Sensor {
        Sensor {
            exposure_ev: 0.0,
            balance: Vec3::ONE,
            white: 2.5,
            contrast: 1.0,
            saturation: 0.95,
            vignette: 0.12,
            blur_px: [0.4; 2],
            noise: 0.006,
            jpeg_quality: None,
        }
    }

    /// `light` is linear RGB, row by row.
    pub(crate) fn expose(
        &self,
        width: u32,
        height: u32,
        mut light: Vec<Vec3>,
        seed: u32,
    ) -> BgrImage {
        let development = Development::new(self, &light);
        vignette(&mut light, width, height, self.vignette);
        let [along_x, along_y] = self.blur_px.map(|sigma_px| sigma_px * width as f32 / 640.0);
        blur(&mut light, width, height, along_x, along_y);
        let mut rgb = Vec::with_capacity(light.len() * 3);
        for (row, pixels) in (0_u32..).zip(light.chunks(width as usize)) {
            let mut rng = PixelRng::new(seed, row);
            for pixel in pixels {
                let developed = development.apply(*pixel);
                // Noise is stronger where there is little light, once developed.
                let grain = self.noise * (1.3 - 0.8 * developed.y);
                for channel in developed.to_array() {
                    let byte = 255.0 * (channel + grain * rng.normal()) + 0.5;
                    rgb.push(byte.clamp(0.0, 255.0) as u8);
                }
            }
        }
        if let Some(quality) = self.jpeg_quality {
            rgb = through_jpeg(&rgb, width, height, quality);
        }
        for pixel in rgb.chunks_exact_mut(3) {
            pixel.swap(0, 2);
        }
        BgrImage::new(width, height, rgb).expect("three bytes per pixel")
    }
}

struct Development<'a> {
    sensor: &'a Sensor,
    gain: Vec3,
    /// Linear to display values.
    gamma: Vec<f32>,
}

impl<'a> Development<'a> {
    /// Exposes for the mean of the picture's brightness, as cameras do.
    fn new(sensor: &'a Sensor, light: &[Vec3]) -> Development<'a> {
        let sum: f32 = light.iter().map(|pixel| (luminance(*pixel) + 0.01).ln()).sum();
        let mean = (sum / light.len() as f32).exp();
        let gain = 0.26 / mean * sensor.exposure_ev.exp2() * sensor.balance;
        let gamma = (0..8192).map(|step| (step as f32 / 8191.0).powf(1.0 / 2.2)).collect();
        Development { sensor, gain, gamma }
    }

    fn display(&self, linear: f32) -> f32 {
        self.gamma[(linear * (self.gamma.len() - 1) as f32) as usize]
    }

    /// Converts light to display values, `0.0..=1.0`.
    fn apply(&self, light: Vec3) -> Vec3 {
        let Sensor { white, contrast, saturation, .. } = *self.sensor;
        let c = light * self.gain;
        // Highlights roll off (Reinhard, extended): 1.25 keeps middle grey where it is.
        let c = 1.25 * c * (Vec3::ONE + c / (white * white)) / (Vec3::ONE + c);
        let gray = Vec3::splat(luminance(c));
        let c = (gray + (c - gray) * saturation).clamp(Vec3::ZERO, Vec3::ONE);
        let display = Vec3::new(self.display(c.x), self.display(c.y), self.display(c.z));
        ((display - Vec3::splat(0.5)) * contrast + Vec3::splat(0.5)).clamp(Vec3::ZERO, Vec3::ONE)
    }
}

fn luminance(c: Vec3) -> f32 {
    0.2126 * c.x + 0.7152 * c.y + 0.0722 * c.z
}

fn vignette(light: &mut [Vec3], width: u32, height: u32, strength: f32) {
    let (cx, cy) = (0.5 * width as f32, 0.5 * height as f32);
    let scale = 1.0 / (cx * cx + cy * cy);
    for (index, pixel) in light.iter_mut().enumerate() {
        let x = (index as u32 % width) as f32 - cx;
        let y = (index as u32 / width) as f32 - cy;
        *pixel *= 1.0 - strength * (x * x + y * y) * scale;
    }
}

/// Gaussian, one direction after the other.
fn blur(light: &mut Vec<Vec3>, width: u32, height: u32, sigma_x_px: f32, sigma_y_px: f32) {
    if sigma_x_px > 0.05 {
        *light = blurred_along(light, width as usize, height as usize, 1, sigma_x_px);
    }
    if sigma_y_px > 0.05 {
        *light = blurred_along(light, width as usize, height as usize, width as usize, sigma_y_px);
    }
}

fn blurred_along(
    light: &[Vec3],
    width: usize,
    height: usize,
    stride: usize,
    sigma_px: f32,
) -> Vec<Vec3> {
    let reach = (2.5 * sigma_px).ceil() as isize;
    let mut kernel: Vec<f32> =
        (-reach..=reach).map(|k| (-0.5 * (k as f32 / sigma_px).powi(2)).exp()).collect();
    let sum: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|weight| *weight /= sum);
    let mut out = Vec::with_capacity(light.len());
    for y in 0..height {
        for x in 0..width {
            let (at, last) = if stride == 1 { (x, width - 1) } else { (y, height - 1) };
            let start = if stride == 1 { y * width } else { x };
            let mut sum = Vec3::ZERO;
            for (k, weight) in (-reach..=reach).zip(&kernel) {
                let from = at.saturating_add_signed(k).min(last);
                sum += light[start + from * stride] * *weight;
            }
            out.push(sum);
        }
    }
    out
}

fn through_jpeg(rgb: &[u8], width: u32, height: u32, quality: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let coded = JpegEncoder::new_with_quality(&mut bytes, quality)
        .write_image(rgb, width, height, image::ExtendedColorType::Rgb8)
        .and_then(|()| image::load_from_memory_with_format(&bytes, image::ImageFormat::Jpeg));
    coded.expect("our own encoder's output in memory is readable").into_rgb8().into_raw()
}

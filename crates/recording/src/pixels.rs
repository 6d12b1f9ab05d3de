//! Pixels as cameras and their drivers code them, by the names that ROS and Foxglove share.

use magpie_perception::{BoxError, bits_of_camera, highest_eight};

const READ: &str = "bgr8, rgb8, bgra8, rgba8, mono8, mono16, bgr16, rgb16, 8UC1, 8UC3, uyvy, yuyv";

pub(crate) fn bytes_per_pixel(encoding: &str) -> Result<usize, BoxError> {
    match encoding {
        "mono8" | "8UC1" => Ok(1),
        "mono16" | "uyvy" | "yuv422" | "yuyv" | "yuv422_yuy2" => Ok(2),
        "bgr8" | "8UC3" | "rgb8" => Ok(3),
        "bgra8" | "8UC4" | "rgba8" => Ok(4),
        "bgr16" | "16UC3" | "rgb16" => Ok(6),
        other if other.starts_with("bayer") => Err(format!(
            "encoding {other:?} is a sensor's mosaic; record the topic in colour, of image_proc for \
             example"
        )
        .into()),
        other => Err(format!("encoding {other:?} is none of {READ}").into()),
    }
}

/// How many bits the camera of a stream has, as far as its pictures have shown: the largest value so
/// far tells, so that a dark picture is not brighter than the one before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CameraBits(u32);

impl CameraBits {
    pub(crate) fn eight(&mut self, values: impl Iterator<Item = u16> + Clone) -> Vec<u8> {
        let largest = values.clone().max().unwrap_or_default();
        self.0 = self.0.max(bits_of_camera(largest));
        values.map(|value| highest_eight(value, self.0)).collect()
    }

    fn eight_of_bytes(&mut self, packed: &[u8]) -> Vec<u8> {
        self.eight(packed.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)))
    }
}

/// Of an encoding that [`bytes_per_pixel`] knows, without padding.
pub(crate) fn to_bgr(encoding: &str, packed: Vec<u8>, camera_bits: &mut CameraBits) -> Vec<u8> {
    let triple = |grey: u8| [grey; 3];
    match encoding {
        "rgb8" => swap_red_blue(&packed),
        "mono8" | "8UC1" => packed.into_iter().flat_map(triple).collect(),
        "mono16" => camera_bits.eight_of_bytes(&packed).into_iter().flat_map(triple).collect(),
        "bgr16" | "16UC3" => camera_bits.eight_of_bytes(&packed),
        "rgb16" => swap_red_blue(&camera_bits.eight_of_bytes(&packed)),
        "bgra8" | "8UC4" => {
            packed.as_chunks().0.iter().flat_map(|[b, g, r, _]| [*b, *g, *r]).collect()
        }
        "rgba8" => packed.as_chunks().0.iter().flat_map(|[r, g, b, _]| [*b, *g, *r]).collect(),
        "uyvy" | "yuv422" => pairs(&packed, |[u, y0, v, y1]| (u, v, y0, y1)),
        "yuyv" | "yuv422_yuy2" => pairs(&packed, |[y0, u, y1, v]| (u, v, y0, y1)),
        _ => packed,
    }
}

pub(crate) fn swap_red_blue(pixels: &[u8]) -> Vec<u8> {
    let mut swapped = pixels.to_vec();
    swapped.chunks_exact_mut(3).for_each(|pixel| pixel.swap(0, 2));
    swapped
}

fn pairs(packed: &[u8], order: impl Fn([u8; 4]) -> (u8, u8, u8, u8)) -> Vec<u8> {
    let both = |four: &[u8; 4]| {
        let (u, v, y0, y1) = order(*four);
        let ([b0, g0, r0], [b1, g1, r1]) = (bgr(y0, u, v), bgr(y1, u, v));
        [b0, g0, r0, b1, g1, r1]
    };
    packed.as_chunks().0.iter().flat_map(both).collect()
}

/// By BT.601, whose black is 16 and whose white is 235.
fn bgr(y: u8, u: u8, v: u8) -> [u8; 3] {
    let (y, u, v) = (f32::from(y) - 16.0, f32::from(u) - 128.0, f32::from(v) - 128.0);
    let y = 255.0 / 219.0 * y;
    [y + 2.0172 * u, y - 0.3918 * u - 0.8130 * v, y + 1.5960 * v].map(byte)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn byte(value: f32) -> u8 {
    value.round() as u8
}

/// Millimetres of metres; 0 for what was not measured or is beyond the format.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range")]
pub(crate) fn mm_of(metres: f64) -> u16 {
    let mm = (1000.0 * metres).round();
    if (0.0..f64::from(u16::MAX)).contains(&mm) { mm as u16 } else { 0 }
}

/// The length that 1 stands for in depth, as REP-118 has it or as somebody says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DepthUnit {
    pub(crate) said_m: Option<f64>,
}

impl DepthUnit {
    /// Of 16 bits, where REP-118 has millimetres.
    pub(crate) fn mm_of_bits(self, value: u16) -> u16 {
        match self.said_m {
            // All bits set: nothing was measured.
            Some(unit_m) if value < u16::MAX => mm_of(f64::from(value) * unit_m),
            Some(_) => 0,
            None => value,
        }
    }

    /// Of a number, where REP-118 has metres.
    pub(crate) fn mm_of_number(self, value: f32) -> u16 {
        mm_of(f64::from(value) * self.said_m.unwrap_or(1.0))
    }
}

/// What ROS's `compressedDepth` puts before a PNG: how depth in metres became 16 bits.
pub(crate) struct Quantized {
    pub(crate) head_bytes: usize,
    /// Depth in metres is `a / (value - b)`; `None` where values are millimetres.
    inverse: Option<(f32, f32)>,
}

impl Quantized {
    /// What it is, and two numbers.
    const HEAD_BYTES: usize = 12;

    pub(crate) fn of(format: &str, data: &[u8]) -> Result<Quantized, BoxError> {
        if !format.contains("compressedDepth") {
            return Ok(Quantized { head_bytes: 0, inverse: None });
        }
        if format.contains("rvl") {
            return Err(
                format!("format {format:?} is not read; record it as compressedDepth png").into()
            );
        }
        let Some(head) = data.first_chunk::<{ Quantized::HEAD_BYTES }>() else {
            return Err("it ends within the head of compressedDepth".into());
        };
        let number = |at: usize| f32::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
        let in_metres = format.starts_with("32FC1");
        let inverse = in_metres.then(|| (number(4), number(8)));
        Ok(Quantized { head_bytes: Quantized::HEAD_BYTES, inverse })
    }

    pub(crate) fn mm(&self, value: u16, unit: DepthUnit) -> u16 {
        match self.inverse {
            None => unit.mm_of_bits(value),
            Some(_) if value == 0 => 0,
            Some((a, b)) => unit.mm_of_number(a / (f32::from(value) - b)),
        }
    }
}

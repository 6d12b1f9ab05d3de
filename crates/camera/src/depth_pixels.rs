//! Sixteen-bit values on their way through a capture thread that carries BGR images.

use magpie_perception::{BgrImage, DepthImage};
use opencv::core::{CV_8UC1, CV_8UC2, CV_16UC1, Mat};
use opencv::prelude::*;

use crate::ImageProblem;

/// The low byte as blue, the high byte as green. `size_px` is of a driver that hands over bare bytes.
pub(crate) fn pack(mat: &Mat, size_px: (u32, u32)) -> Result<BgrImage, ImageProblem> {
    if mat.empty() {
        return Err(ImageProblem::Empty);
    }
    let mat = mat.try_clone()?;
    let (size, bytes) = (mat.size()?, mat.data_bytes()?);
    let (width_px, height_px) = match mat.typ() {
        CV_16UC1 => (size.width.unsigned_abs(), size.height.unsigned_abs()),
        CV_8UC1 | CV_8UC2 if bytes.len() == 2 * size_px.0 as usize * size_px.1 as usize => size_px,
        other => {
            let found = opencv::core::type_to_string(other)?;
            return Err(ImageProblem::DepthPixelType { found });
        }
    };
    let data = bytes.chunks_exact(2).flat_map(|pair| [pair[0], pair[1], 0]).collect();
    BgrImage::new(width_px, height_px, data).map_err(|_| ImageProblem::Empty)
}

/// Millimetres of what [`pack`] packed; what is farther than 16 bits can say is a hole.
pub(crate) fn unpack(packed: &BgrImage, unit_m: f64) -> DepthImage {
    let mm = |pixel: &[u8]| {
        let value = u16::from_le_bytes([pixel[0], pixel[1]]);
        let mm = f64::from(value) * unit_m * 1000.0;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
        if mm < 65_535.5 { mm.round() as u16 } else { 0 }
    };
    let data_mm = packed.data().chunks_exact(3).map(mm).collect();
    DepthImage::new(packed.width_px(), packed.height_px(), data_mm)
        .expect("as many values as the image has pixels")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_come_through_in_their_unit() {
        let mat = Mat::from_slice_2d(&[[0_u16, 1000, 4001], [65_535, 2, 3]]).unwrap();
        let packed = pack(&mat, (3, 2)).unwrap();
        assert_eq!(unpack(&packed, 0.001).data_mm(), [0, 1000, 4001, 65_535, 2, 3]);
        assert_eq!(unpack(&packed, 0.000_25).data_mm(), [0, 250, 1000, 16_384, 1, 1]);
        assert_eq!(unpack(&packed, 0.01).data_mm(), [0, 10_000, 40_010, 0, 20, 30]);
    }

    #[test]
    fn bare_bytes_are_taken_by_the_drivers_size_and_pictures_refused() {
        let bytes = Mat::from_slice_2d(&[[0_u8, 0, 232, 3]]).unwrap();
        assert_eq!(unpack(&pack(&bytes, (2, 1)).unwrap(), 0.001).data_mm(), [0, 1000]);
        let message = pack(&bytes, (640, 480)).unwrap_err().to_string();
        assert!(message.contains("Z16"), "{message}");
    }
}

//! OpenCV's matrices to our images.

use magpie_perception::{BgrImage, DepthImage, bits_of_camera, highest_eight};
use opencv::core::{CV_8UC1, CV_8UC2, CV_8UC3, CV_16UC1, CV_16UC3, Mat, Vec3b};
use opencv::imgproc;
use opencv::prelude::*;

use crate::errors::ImageProblem;

/// Copies 8-bit BGR, converts 8-bit grey, refuses everything else.
pub(crate) fn bgr_from_mat(mat: &Mat) -> Result<BgrImage, ImageProblem> {
    if mat.empty() {
        return Err(ImageProblem::Empty);
    }
    match mat.typ() {
        CV_8UC3 => copy_bgr(mat),
        CV_8UC1 => {
            let mut bgr = Mat::default();
            imgproc::cvt_color_def(mat, &mut bgr, imgproc::COLOR_GRAY2BGR)?;
            copy_bgr(&bgr)
        }
        other => Err(ImageProblem::PixelType { found: opencv::core::type_to_string(other)? }),
    }
}

fn copy_bgr(mat: &Mat) -> Result<BgrImage, ImageProblem> {
    let size = mat.size()?;
    let (width_px, height_px) = (size.width.unsigned_abs(), size.height.unsigned_abs());
    let data = if mat.is_continuous() {
        mat.data_bytes()?.to_vec()
    } else {
        mat.try_clone()?.data_bytes()?.to_vec()
    };
    BgrImage::new(width_px, height_px, data).map_err(|_| ImageProblem::Empty)
}

/// The highest 8 bits of a camera with the least of 8, 10, 12, 14 and 16 bits that hold the largest
/// value, of 16-bit BGR; and how many bits those are.
pub(crate) fn eight_bits(mat: &Mat) -> Result<(Mat, u32), ImageProblem> {
    if mat.typ() != CV_16UC3 {
        return Err(ImageProblem::PixelType { found: opencv::core::type_to_string(mat.typ())? });
    }
    let mat = mat.try_clone()?;
    let values = || mat.data_bytes().map(|bytes| bytes.as_chunks().0.iter());
    let value = |pair: &[u8; 2]| u16::from_ne_bytes(*pair);
    let largest = values()?.map(value).max().unwrap_or(0);
    let bits = bits_of_camera(largest);
    let shallow: Vec<u8> = values()?.map(|pair| highest_eight(value(pair), bits)).collect();
    let (rows, cols) = (mat.rows(), mat.cols());
    Ok((Mat::new_rows_cols_with_bytes::<Vec3b>(rows, cols, &shallow)?.try_clone()?, bits))
}

/// Turns 16-bit values, one step of which is `unit_m`, into millimetres; what is farther than 16
/// bits of millimetres can say becomes a hole.
///
/// A driver may hand over bare bytes, low byte first: `size_px` is the size that it named.
pub(crate) fn depth_from_mat(
    mat: &Mat,
    size_px: (u32, u32),
    unit_m: f64,
) -> Result<DepthImage, ImageProblem> {
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
    let data_mm = bytes
        .as_chunks()
        .0
        .iter()
        .map(|&value| millimetres(u16::from_le_bytes(value), unit_m))
        .collect();
    DepthImage::new(width_px, height_px, data_mm).map_err(|_| ImageProblem::Empty)
}

/// What sensors write where they measured nothing, besides 0: all bits set.
const SATURATED: u16 = u16::MAX;

/// A step of `unit_m` for each value; 0 where nothing was measured, or farther away than 16 bits of
/// millimetres can say.
pub(crate) fn millimetres(value: u16, unit_m: f64) -> u16 {
    if value == SATURATED {
        return 0;
    }
    let mm = f64::from(value) * unit_m * 1000.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    if mm < 65_535.5 { mm.round() as u16 } else { 0 }
}

#[cfg(test)]
mod tests {
    use opencv::core::{CV_8UC4, Rect, Scalar};

    use super::*;

    fn mat(kind: i32) -> Mat {
        Mat::new_rows_cols_with_default(2, 3, kind, Scalar::new(1.0, 2.0, 3.0, 4.0)).unwrap()
    }

    #[test]
    fn bgr_is_copied_and_grey_converted() {
        let bgr = bgr_from_mat(&mat(CV_8UC3)).unwrap();
        assert_eq!((bgr.width_px(), bgr.height_px(), bgr.pixel(2, 1)), (3, 2, [1, 2, 3]));
        assert_eq!(bgr_from_mat(&mat(CV_8UC1)).unwrap().pixel(2, 1), [1, 1, 1]);
    }

    #[test]
    fn a_part_of_a_larger_matrix_is_copied_row_by_row() {
        let mut whole = mat(CV_8UC3);
        *whole.at_2d_mut::<opencv::core::Vec3b>(1, 1).unwrap() = [7, 8, 9].into();
        let part = Mat::roi(&whole, Rect::new(1, 0, 2, 2)).unwrap().try_clone().unwrap();
        assert_eq!(bgr_from_mat(&part).unwrap().pixel(0, 1), [7, 8, 9]);
    }

    #[test]
    fn garbage_is_refused_by_name() {
        assert!(matches!(bgr_from_mat(&Mat::default()), Err(ImageProblem::Empty)));
        for (kind, name) in [(CV_16UC1, "CV_16UC1"), (CV_8UC4, "CV_8UC4")] {
            let message = bgr_from_mat(&mat(kind)).unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn sixteen_bits_come_through_in_their_unit() {
        let mat = Mat::from_slice_2d(&[[0_u16, 1000, 4001], [65_535, 2, 3]]).unwrap();
        let check = |unit_m: f64, expected: [u16; 6]| {
            let depth = depth_from_mat(&mat, (3, 2), unit_m).unwrap();
            assert_eq!((depth.width_px(), depth.height_px()), (3, 2));
            assert_eq!(depth.data_mm(), expected);
        };
        check(0.001, [0, 1000, 4001, 0, 2, 3]);
        check(0.000_25, [0, 250, 1000, 0, 1, 1]);
        check(0.01, [0, 10_000, 40_010, 0, 20, 30]);
    }

    #[test]
    fn bare_bytes_are_taken_by_the_drivers_size_and_pictures_refused() {
        let bytes = Mat::from_slice_2d(&[[0_u8, 0, 232, 3]]).unwrap();
        let depth = depth_from_mat(&bytes, (2, 1), 0.001).unwrap();
        assert_eq!((depth.width_px(), depth.data_mm()), (2, [0, 1000].as_slice()));
        let message = depth_from_mat(&bytes, (640, 480), 0.001).unwrap_err().to_string();
        assert!(message.contains("Z16"), "{message}");
    }
}

//! OpenCV's matrices to our images.

use magpie_perception::BgrImage;
use opencv::core::{CV_8UC1, CV_8UC3, Mat};
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

#[cfg(test)]
mod tests {
    use opencv::core::{CV_8UC4, CV_16UC1, Rect, Scalar};

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
}

//! Messages as programs compute with them: poses as matrices, masks as pixels.

use magpie_perception::{self as domain, MaskError};
use nalgebra::{Isometry3, Matrix3, Quaternion, Rotation3, Translation3, UnitQuaternion};

use crate::proto::{Mask, Pose};

/// Rows and columns of a rotation may be off by this much: single precision, and some arithmetic.
const ROTATION_ERROR_MAX: f64 = 1e-4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the matrix is no pose: it needs a rotation in its upper left 3x3, metres in the last column, and \
     0 0 0 1 in the last row"
)]
pub struct NotAPose;

impl Pose {
    /// The inverse of [`matrix`](Pose::matrix).
    ///
    /// # Errors
    /// If it is not finite, not rigid, or mirrored.
    pub fn from_matrix(matrix: &[[f64; 4]; 4]) -> Result<Pose, NotAPose> {
        let rotation = Matrix3::from_fn(|row, column| matrix[row][column]);
        let error = (rotation * rotation.transpose() - Matrix3::identity()).abs().max();
        let is_rotation = error < ROTATION_ERROR_MAX && rotation.determinant() > 0.0;
        let position = [matrix[0][3], matrix[1][3], matrix[2][3]];
        // What holds a value that is not a number has no positive determinant.
        let is_pose = is_rotation
            && position.iter().all(|value| value.is_finite())
            && matrix[3] == [0.0, 0.0, 0.0, 1.0];
        if !is_pose {
            return Err(NotAPose);
        }
        let rotation = Rotation3::from_matrix_unchecked(rotation);
        let turn = UnitQuaternion::from_rotation_matrix(&rotation);
        Ok((&Isometry3::from_parts(Translation3::from(position), turn)).into())
    }

    /// `None` where the message leaves a part out.
    pub fn isometry(&self) -> Option<Isometry3<f64>> {
        let (p, q) = (self.position_m.as_ref()?, self.orientation.as_ref()?);
        let rotation = UnitQuaternion::from_quaternion(Quaternion::new(q.w, q.x, q.y, q.z));
        Some(Isometry3::from_parts(Translation3::new(p.x, p.y, p.z), rotation))
    }

    /// As a homogeneous matrix, row by row: `base_from_grasp[0][3]` is x in metres, and the third
    /// column is the approach. `None` where the message leaves a part out.
    pub fn matrix(&self) -> Option<[[f64; 4]; 4]> {
        // nalgebra keeps columns.
        self.isometry().map(|pose| pose.to_homogeneous().transpose().into())
    }
}

impl Mask {
    /// One byte for each pixel, row by row: 1 on the package and 0 elsewhere.
    ///
    /// # Errors
    /// If the runs do not cover the picture; those of an accepted message do.
    pub fn to_bitmap(&self) -> Result<Vec<u8>, MaskError> {
        domain::Mask::try_from(self).map(|mask| mask.to_bitmap())
    }

    /// [`to_bitmap`](Mask::to_bitmap) into a buffer of `width_px * height_px` bytes.
    ///
    /// # Errors
    /// If the runs do not cover the picture.
    ///
    /// # Panics
    /// If the buffer is of another length.
    pub fn write_bitmap(&self, bitmap: &mut [u8]) -> Result<(), MaskError> {
        domain::Mask::try_from(self).map(|mask| mask.write_bitmap(bitmap))
    }
}

/// What an enumeration of a message says, without the name of the enumeration: `STATE_OK` is `ok`.
pub fn plain(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_ascii_lowercase()
}

/// An error and its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pose_is_the_matrix_that_takes_the_grasp_s_axes_to_base() {
        // A quarter turn about z: the grasp's x axis is base's y axis.
        let turn = UnitQuaternion::from_euler_angles(0.0, 0.0, std::f64::consts::FRAC_PI_2);
        let pose = Isometry3::from_parts(Translation3::new(0.1, 0.2, 0.3), turn);
        let matrix = Pose::from(&pose).matrix().unwrap();
        let expected = [
            [0.0, -1.0, 0.0, 0.1],
            [1.0, 0.0, 0.0, 0.2],
            [0.0, 0.0, 1.0, 0.3],
            [0.0, 0.0, 0.0, 1.0],
        ];
        for (row, expected) in matrix.iter().zip(expected) {
            for (value, expected) in row.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-12, "{matrix:?}");
            }
        }
        assert_eq!(Pose::default().matrix(), None);
        let back = Pose::from_matrix(&matrix).unwrap().isometry().unwrap();
        assert!((back.inverse() * pose).rotation.angle() < 1e-6);
        assert_eq!(back.translation, pose.translation);
    }

    #[test]
    fn a_matrix_that_is_no_pose_is_refused() {
        let whole = Pose::from(&Isometry3::identity()).matrix().unwrap();
        for (row, column, value) in [
            (0, 0, f64::NAN),
            (0, 3, f64::INFINITY),
            (2, 2, -1.0),
            (0, 0, 1.1),
            (3, 0, 0.5),
            (3, 3, 0.0),
        ] {
            let mut broken = whole;
            broken[row][column] = value;
            assert_eq!(Pose::from_matrix(&broken), Err(NotAPose), "{row} {column} {value}");
        }
        // As of a controller that calculates in single precision.
        let mut rough = whole;
        rough[0][0] = 1.00001;
        assert!(Pose::from_matrix(&rough).is_ok());
    }

    #[test]
    fn a_mask_is_bytes_row_by_row() {
        // Three columns of two: the first one is background, then three pixels of the package.
        let counts = domain::Mask::from_counts(3, 2, vec![2, 3, 1]).unwrap().to_coco_string();
        let mask = Mask { width_px: 3, height_px: 2, counts: counts.into_bytes() };
        assert_eq!(mask.to_bitmap().unwrap(), [0, 1, 1, 0, 1, 0]);
        let mut buffer = [7; 6];
        mask.write_bitmap(&mut buffer).unwrap();
        assert_eq!(buffer, [0, 1, 1, 0, 1, 0]);
        let larger = Mask { width_px: 4, ..mask };
        assert!(larger.to_bitmap().is_err());
    }
}

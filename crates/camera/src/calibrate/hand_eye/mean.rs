//! The mean of rotations and of poses.

use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};

/// Returns the mean position and the [`mean_rotation`] of poses.
pub(crate) fn mean_pose(poses: &[Isometry3<f64>]) -> Isometry3<f64> {
    let sum: Vector3<f64> = poses.iter().map(|pose| pose.translation.vector).sum();
    let rotation = mean_rotation(poses.iter().map(|pose| pose.rotation));
    Isometry3::from_parts(Translation3::from(sum / poses.len() as f64), rotation)
}

/// Returns the chordal L2 mean: the rotation whose matrix has the least sum of squared distances
/// from the matrices of `rotations`. It is the rotation nearest to their sum (Hartley et al. 2013,
/// "Rotation Averaging", section 5.2).
///
/// Rotations that spread too far, such as two half turns about different axes, may have more than
/// one mean; it is then any of them.
pub(crate) fn mean_rotation(
    rotations: impl Iterator<Item = UnitQuaternion<f64>>,
) -> UnitQuaternion<f64> {
    let sum: Matrix3<f64> =
        rotations.map(|rotation| rotation.to_rotation_matrix().into_inner()).sum();
    let parts = sum.svd(true, true);
    let (mut u, v_t) = (parts.u.expect("asked for"), parts.v_t.expect("asked for"));
    if (u * v_t).determinant() < 0.0 {
        // The sum is nearer to a mirror: turning its weakest axis round costs least.
        u.column_mut(parts.singular_values.imin()).neg_mut();
    }
    UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(u * v_t))
}

#[cfg(test)]
mod tests {
    use nalgebra::{Unit, UnitVector3};

    use super::*;

    fn axis(x: f64, y: f64, z: f64) -> UnitVector3<f64> {
        Unit::new_normalize(Vector3::new(x, y, z))
    }

    fn turn(axis: &UnitVector3<f64>, deg: f64) -> UnitQuaternion<f64> {
        UnitQuaternion::from_axis_angle(axis, deg.to_radians())
    }

    /// Half turns and more are among them: their quaternions have a negative or no real part.
    fn rotations() -> impl Iterator<Item = UnitQuaternion<f64>> {
        let axes = [axis(1.0, 0.0, 0.0), axis(0.0, 0.0, 1.0), axis(0.3, -0.8, 0.5)];
        let degrees = [0.0, 1e-4, 20.0, 90.0, 120.0, 179.9, 180.0, 200.0, 350.0];
        axes.into_iter().flat_map(move |axis| degrees.map(|deg| turn(&axis, deg)))
    }

    fn check(rotations: &[UnitQuaternion<f64>], expected: UnitQuaternion<f64>) {
        let mean = mean_rotation(rotations.iter().copied());
        let off = mean.to_rotation_matrix().matrix() - expected.to_rotation_matrix().matrix();
        assert!(off.norm() < 1e-12, "{mean} is not {expected} for {rotations:?}");
    }

    #[test]
    fn the_mean_of_one_rotation_or_of_equal_ones_is_that_rotation() {
        for rotation in rotations() {
            check(&[rotation], rotation);
            check(&[rotation; 7], rotation);
            // Both signs of a quaternion are one rotation.
            let negated = UnitQuaternion::new_unchecked(-rotation.into_inner());
            check(&[rotation, negated, rotation], rotation);
        }
    }

    #[test]
    fn the_mean_of_a_rotation_and_its_inverse_is_none() {
        for axis in [axis(1.0, 0.0, 0.0), axis(0.3, -0.8, 0.5)] {
            for deg in [1e-3, 10.0, 60.0, 89.0] {
                check(&[turn(&axis, deg), turn(&axis, -deg)], UnitQuaternion::identity());
            }
        }
    }

    #[test]
    fn the_mean_about_one_axis_is_the_mean_angle() {
        let axis = axis(-0.2, 0.5, 0.9);
        check(&[turn(&axis, 10.0), turn(&axis, 50.0)], turn(&axis, 30.0));
        check(&[turn(&axis, 170.0), turn(&axis, 200.0)], turn(&axis, 185.0));
        let spread = [-40.0, -10.0, 0.0, 10.0, 40.0].map(|deg| turn(&axis, 130.0 + deg));
        check(&spread, turn(&axis, 130.0));
    }

    #[test]
    fn turning_all_rotations_turns_their_mean() {
        let some = [turn(&axis(1.0, 0.0, 0.0), 25.0), turn(&axis(0.0, 1.0, 0.2), -40.0)];
        let mean = mean_rotation(some.into_iter());
        for rotation in rotations() {
            check(&some.map(|one| rotation * one), rotation * mean);
            check(&some.map(|one| one * rotation), mean * rotation);
        }
    }

    #[test]
    fn the_mean_of_rotations_all_around_is_still_a_rotation() {
        // The sum of these three is diag(-1, -1, -1): nearest to it is a mirror.
        let half_turns = [axis(1.0, 0.0, 0.0), axis(0.0, 1.0, 0.0), axis(0.0, 0.0, 1.0)]
            .map(|axis| turn(&axis, 180.0));
        let mean = mean_rotation(half_turns.into_iter());
        let matrix = mean.to_rotation_matrix().into_inner();
        assert!((matrix.determinant() - 1.0).abs() < 1e-12, "{matrix}");
    }

    #[test]
    fn a_mean_pose_has_the_mean_position() {
        let rotation = turn(&axis(0.0, 1.0, 0.0), 33.0);
        let poses = [[0.0, 1.0, 2.0], [4.0, -1.0, 0.0]]
            .map(|[x, y, z]| Isometry3::from_parts(Translation3::new(x, y, z), rotation));
        let mean = mean_pose(&poses);
        assert!((mean.translation.vector - Vector3::new(2.0, 0.0, 1.0)).norm() < 1e-12);
        assert!(mean.rotation.angle_to(&rotation) < 1e-12);
    }
}

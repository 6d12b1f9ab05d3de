//! Rotations from matrices that people and other programs wrote.

use nalgebra::{Matrix3, Rotation3, UnitQuaternion};

/// The rotation nearest to a matrix that is one but for rounding; `None` for a mirror and for what
/// is not finite.
///
/// In closed form: `Rotation3::from_matrix` searches from the identity, and stays there for some
/// half turns.
pub fn nearest_rotation(matrix: &Matrix3<f64>) -> Option<UnitQuaternion<f64>> {
    if !matrix.iter().all(|value| value.is_finite()) {
        return None;
    }
    let parts = matrix.svd(true, true);
    let rotation = parts.u? * parts.v_t?;
    (rotation.determinant() > 0.0)
        .then(|| UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix_unchecked(rotation)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{Unit, Vector3};

    fn check(matrix: Matrix3<f64>, off_max: f64) {
        let found = nearest_rotation(&matrix).unwrap().to_rotation_matrix();
        let off = (found.matrix() - matrix).norm();
        assert!(off <= off_max, "{found} is not {matrix}");
    }

    fn rounded(matrix: &Matrix3<f64>, digits: i32) -> Matrix3<f64> {
        let scale = 10.0_f64.powi(digits);
        matrix.map(|value| (value * scale).round() / scale)
    }

    #[test]
    fn a_half_turn_about_any_axis_stays_one() {
        check(Matrix3::from_diagonal(&Vector3::new(-1.0, 1.0, -1.0)), 1e-12);
        let (c, s) = (0.866_025, 0.5);
        check(Matrix3::new(-c, s, 0.0, s, c, 0.0, 0.0, 0.0, -1.0), 1e-6);
        for [x, y, z] in (0..27_u8).map(|i| [i % 3, i / 3 % 3, i / 9].map(|at| f64::from(at) - 1.0))
        {
            let Some(axis) = Unit::try_new(Vector3::new(x, y, z), 1e-9) else { continue };
            let turn = Rotation3::from_axis_angle(&axis, std::f64::consts::PI);
            check(*turn.matrix(), 1e-12);
            check(rounded(turn.matrix(), 4), 2e-4);
        }
    }

    #[test]
    fn a_vertical_tool_keeps_its_yaw_however_it_was_rounded() {
        let down = Rotation3::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
        for yaw_deg in (0..360).step_by(5) {
            let yaw = f64::from(yaw_deg).to_radians();
            let pose = Rotation3::from_axis_angle(&Vector3::z_axis(), yaw) * down;
            for digits in [3, 4, 6, 17] {
                check(rounded(pose.matrix(), digits), 2.0 * 10.0_f64.powi(-digits).max(1e-12));
            }
        }
    }

    #[test]
    fn a_mirror_and_nonsense_are_no_rotation() {
        for x in [-1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(nearest_rotation(&Matrix3::from_diagonal(&Vector3::new(x, 1.0, 1.0))), None);
        }
    }
}

//! Euler angles, in any order.

use std::fmt;
use std::str::FromStr;

use nalgebra::{UnitQuaternion, Vector3};

/// Which axes three angles turn about, one after the other. Small letters are the axes of the frame
/// that stays (`xyz`: roll, pitch, yaw), capital letters those that turn along (`ZYX`), as SciPy
/// writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EulerOrder {
    axes: [usize; 3],
    is_fixed: bool,
}

/// From the most usual on: roll, pitch, yaw; KUKA's A, B, C; Stäubli's; the Z-Y-Z of Kawasaki and
/// Doosan.
const AXES: [[usize; 3]; 12] = [
    [0, 1, 2],
    [2, 1, 0],
    [2, 1, 2],
    [2, 0, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [0, 1, 0],
    [0, 2, 0],
    [1, 0, 1],
    [1, 2, 1],
];

impl EulerOrder {
    pub(crate) fn all() -> impl Iterator<Item = EulerOrder> {
        AXES.into_iter()
            .flat_map(|axes| [true, false].map(|is_fixed| EulerOrder { axes, is_fixed }))
    }

    /// The rotation of three angles, in the order in which they are written.
    pub fn rotation(self, angles_rad: &Vector3<f64>) -> UnitQuaternion<f64> {
        let turn = |at: usize| {
            let mut about = Vector3::zeros();
            about[self.axes[at]] = angles_rad[at];
            UnitQuaternion::from_scaled_axis(about)
        };
        if self.is_fixed { turn(2) * turn(1) * turn(0) } else { turn(0) * turn(1) * turn(2) }
    }
}

impl FromStr for EulerOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<EulerOrder, String> {
        EulerOrder::all().find(|order| order.to_string() == text).ok_or_else(|| {
            format!(
                "{text:?} is no order of Euler angles; `xyz` is roll, pitch, yaw about fixed axes, \
                 `ZYX` turns about axes that turn along"
            )
        })
    }
}

impl fmt::Display for EulerOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for axis in self.axes {
            let letter = ["x", "y", "z"][axis];
            f.write_str(&if self.is_fixed { letter.into() } else { letter.to_uppercase() })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::Matrix3;

    use super::*;

    fn check(order: &str, angles_deg: [f64; 3], expected: &Matrix3<f64>) {
        let angles = Vector3::from(angles_deg.map(f64::to_radians));
        let found = order.parse::<EulerOrder>().unwrap().rotation(&angles).to_rotation_matrix();
        assert!((found.matrix() - expected).norm() < 1e-12, "{order}: {found} for {expected}");
    }

    /// A quarter turn about each of two axes, by hand.
    #[test]
    fn quarter_turns_follow_one_another_as_the_order_says() {
        // First about x, then about the z that stayed: y goes to z and stays there.
        let fixed = Matrix3::new(0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0);
        check("xyz", [90.0, 0.0, 90.0], &fixed);
        // About z, then about the x that turned along: the same.
        check("ZYX", [90.0, 0.0, 90.0], &fixed);
        // About x, then about the z that turned along.
        let moving = Matrix3::new(0.0, -1.0, 0.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0);
        check("XYZ", [90.0, 0.0, 90.0], &moving);
        // Two quarter turns about one axis are a half turn.
        let half = Matrix3::from_diagonal(&Vector3::new(-1.0, -1.0, 1.0));
        check("ZYZ", [90.0, 0.0, 90.0], &half);
        check("zyz", [90.0, 0.0, 90.0], &half);
    }

    #[test]
    fn roll_pitch_yaw_is_nalgebras_own() {
        let angles = Vector3::new(0.3, -0.7, 2.1);
        let found = "xyz".parse::<EulerOrder>().unwrap().rotation(&angles);
        let expected = UnitQuaternion::from_euler_angles(0.3, -0.7, 2.1);
        assert!(found.angle_to(&expected) < 1e-12);
        let (roll, pitch, yaw) = found.euler_angles();
        assert!((Vector3::new(roll, pitch, yaw) - angles).norm() < 1e-12);
        let moving = "ZYX".parse::<EulerOrder>().unwrap().rotation(&Vector3::new(2.1, -0.7, 0.3));
        assert!(moving.angle_to(&expected) < 1e-12);
    }

    #[test]
    fn every_order_has_its_own_name() {
        let names: std::collections::BTreeSet<String> =
            EulerOrder::all().map(|order| order.to_string()).collect();
        assert_eq!(names.len(), 24);
        assert!("abc".parse::<EulerOrder>().unwrap_err().contains("roll, pitch, yaw"));
    }
}

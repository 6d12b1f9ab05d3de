//! How the arm moved between its stops, and how it should still move.

use nalgebra::Matrix3;

use super::model::{HandEyePair, stops};

/// What the poses of the arm make of the problem.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct ArmMotion {
    /// How many places of the arm the pairs are from.
    pub stops: usize,
    /// The largest rotation between any two poses.
    pub turned_deg: f64,
    /// The angle between the axes of the rotations.
    pub axes_cone_deg: f64,
}

impl ArmMotion {
    pub const STOPS_WANTED: usize = 12;
    /// A larger rotation drowns the noise of the board's direction.
    pub const TURNED_DEG_WANTED: f64 = 40.0;
    /// Axes that are closer leave the position along them to noise.
    pub const AXES_DEG_WANTED: f64 = 20.0;

    pub fn of(pairs: &[HandEyePair]) -> ArmMotion {
        if pairs.is_empty() {
            return ArmMotion::default();
        }
        let rotations: Vec<_> = pairs.iter().map(|pair| pair.base_from_gripper.rotation).collect();
        let turns = (rotations.iter().enumerate())
            .flat_map(|(index, a)| rotations[index + 1..].iter().map(|b| a.angle_to(b)));
        ArmMotion {
            stops: stops(pairs).len(),
            turned_deg: turns.fold(0.0, f64::max).to_degrees(),
            axes_cone_deg: axes_cone_deg(pairs),
        }
    }

    /// What is still wanted, with what there is; `None` when nothing is.
    pub fn advice(&self) -> Option<String> {
        let is_enough = self.stops >= Self::STOPS_WANTED
            && self.turned_deg >= Self::TURNED_DEG_WANTED
            && self.axes_cone_deg >= Self::AXES_DEG_WANTED;
        (!is_enough).then(|| {
            format!(
                "{} poses and more ({} now), turned by {} degrees and more ({:.0} now) about axes {} \
                 degrees and more apart ({:.0} now)",
                Self::STOPS_WANTED,
                self.stops,
                Self::TURNED_DEG_WANTED,
                self.turned_deg,
                Self::AXES_DEG_WANTED,
                self.axes_cone_deg
            )
        })
    }

    /// What is known poorly because of how the arm turned.
    pub fn doubt(&self) -> Option<String> {
        (self.axes_cone_deg < Self::AXES_DEG_WANTED).then(|| {
            format!(
                "the arm turned about axes that are only {:.0} degrees apart: along them the camera's \
                 position is poorly known; tilt the gripper about another axis at some stops",
                self.axes_cone_deg
            )
        })
    }
}

/// Measures how far apart the axes are of the rotations between any two poses, by their scatter about
/// the main direction: two axes lie that far to either side of it. No pose is the first.
fn axes_cone_deg(pairs: &[HandEyePair]) -> f64 {
    let rotations: Vec<_> = pairs.iter().map(|pair| pair.base_from_gripper.rotation).collect();
    let turns = (rotations.iter().enumerate()).flat_map(|(index, one)| {
        rotations[index + 1..].iter().map(|other| (one.inverse() * other).scaled_axis())
    });
    let scatter: Matrix3<f64> = turns.map(|turn| turn * turn.transpose()).sum();
    let eigenvalues = scatter.symmetric_eigen().eigenvalues;
    let mut sorted: Vec<f64> = eigenvalues.iter().map(|value| value.max(0.0).sqrt()).collect();
    sorted.sort_by(f64::total_cmp);
    2.0 * sorted[1].atan2(sorted[2]).to_degrees()
}

#[cfg(test)]
mod tests {
    use nalgebra::{Isometry3, Vector3};

    use super::*;

    fn turned(turns: &[Vector3<f64>]) -> Vec<HandEyePair> {
        let pair = |turn: &Vector3<f64>| HandEyePair {
            base_from_gripper: Isometry3::rotation(*turn),
            camera_from_board: Isometry3::identity(),
            view: None,
        };
        turns.iter().map(pair).collect()
    }

    #[test]
    fn axes_are_as_far_apart_as_their_scatter_is_wide() {
        let (x, y) = (Vector3::x(), Vector3::y());
        let one = axes_cone_deg(&turned(&[x * 0.0, x * 0.3, x * -0.5, x * 0.8]));
        assert!(one < 1e-5, "{one}");
        let square = axes_cone_deg(&turned(&[x * 0.0, x * 0.5, y * 0.5, x * -0.5, y * -0.5]));
        assert!((square - 90.0).abs() < 1e-9, "{square}");
        let [one, other] = [10.0_f64, -10.0]
            .map(|deg| Vector3::new(deg.to_radians().cos(), deg.to_radians().sin(), 0.0) * 0.1);
        let mut turns = vec![x * 0.0, one, -one, other, -other, one * 0.7, other * 0.4];
        let apart = axes_cone_deg(&turned(&turns[..5]));
        assert!((apart - 20.0).abs() < 0.1, "{apart}");
        let before = axes_cone_deg(&turned(&turns));
        for _ in 0..turns.len() {
            turns.rotate_left(1);
            let after = axes_cone_deg(&turned(&turns));
            assert!((after - before).abs() < 1e-9, "{before} and {after}: the order matters");
        }
    }
}

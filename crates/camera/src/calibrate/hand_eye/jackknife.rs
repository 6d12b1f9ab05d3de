//! How uncertain a pose is, from what it becomes when one stop of the arm after the other is left
//! out.
//!
//! A board shows dozens of corners at each stop, but they share that stop's error: counting corners
//! promises a tenth of the truth.

use nalgebra::Isometry3;

use super::mean::mean_pose;

/// Tukey's estimate of the standard deviations of position and direction, in millimetres and
/// degrees. `without[i]` is the pose that was found without stop `i`.
pub(crate) fn jackknife_mm_deg(without: &[Isometry3<f64>]) -> [f64; 2] {
    let mean = mean_pose(without);
    let (mut square_m, mut square_rad) = (0.0, 0.0);
    for pose in without {
        square_m += (pose.translation.vector - mean.translation.vector).norm_squared();
        square_rad += pose.rotation.angle_to(&mean.rotation).powi(2);
    }
    [1000.0 * deviation(square_m, without.len()), deviation(square_rad, without.len()).to_degrees()]
}

/// `square` is the sum of squared distances from the mean of `count` values.
pub(crate) fn deviation(square: f64, count: usize) -> f64 {
    let count = count as f64;
    ((count - 1.0) / count * square).sqrt()
}

#[cfg(test)]
mod tests {
    use nalgebra::Vector3;

    use super::*;

    /// The mean of values is the estimate whose deviation is known: that of a value over the root
    /// of their number.
    #[test]
    fn the_uncertainty_of_a_mean_is_its_standard_error() {
        let values = [0.3, -0.1, 0.8, 0.2, -0.5, 0.9, 0.0];
        let count = values.len() as f64;
        let sum: f64 = values.iter().sum();
        let mean = sum / count;
        let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let expected = (square / (count - 1.0) / count).sqrt();
        let without = values.map(|value| (sum - value) / (count - 1.0));
        let moved = without.map(|x| Isometry3::translation(x, 0.0, 0.0));
        let [mm, deg] = jackknife_mm_deg(&moved);
        assert!((mm - 1000.0 * expected).abs() < 1e-9 && deg < 1e-9, "{mm} for {expected}");
        let axis = Vector3::new(0.48, -0.6, 0.64);
        let turned = without.map(|angle| Isometry3::rotation(axis * angle));
        let [mm, deg] = jackknife_mm_deg(&turned);
        assert!((deg - expected.to_degrees()).abs() < 1e-6 && mm < 1e-9, "{deg} for {expected}");
    }

    #[test]
    fn the_same_pose_every_time_is_certain() {
        let pose = Isometry3::new(Vector3::new(1.0, 2.0, 3.0), Vector3::new(0.0, 3.0, 0.1));
        let [mm, deg] = jackknife_mm_deg(&[pose; 5]);
        assert!(mm < 1e-9 && deg < 1e-6, "{mm} mm, {deg} degrees");
    }
}

//! Directions across a direction.

use nalgebra::Vector3;

/// A unit vector whose x component is larger lies along x, nearly: y is then the better start.
const ALONG_X_MIN: f32 = 0.9;

/// Any direction perpendicular to `z`, the nearest to the camera's x.
pub(crate) fn perpendicular(z: &Vector3<f32>) -> Vector3<f32> {
    let aside = if z.x.abs() < ALONG_X_MIN { Vector3::x() } else { Vector3::y() };
    (aside - z * z.dot(&aside)).normalize()
}

//! The camera model: pinhole intrinsics with plumb_bob distortion.

use nalgebra::{Point2, Point3, Vector3};

/// Pinhole parameters, in pixels of the full image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intrinsics {
    pub fx_px: f64,
    pub fy_px: f64,
    pub cx_px: f64,
    pub cy_px: f64,
}

/// `plumb_bob` (Brown-Conrady) distortion, in OpenCV's and ROS's order `k1, k2, p1, p2, k3`.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Distortion {
    pub d: [f64; 5],
}

/// Intrinsics, distortion and image size: what ROS calls `sensor_msgs/CameraInfo`.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraInfo {
    pub camera_name: String,
    /// Name of the camera's optical frame.
    pub frame_id: String,
    pub width_px: u32,
    pub height_px: u32,
    pub intrinsics: Intrinsics,
    pub distortion: Distortion,
}

impl CameraInfo {
    /// Pixel of a point in the optical frame; `None` behind the camera.
    pub fn project(&self, point_in_camera: &Point3<f64>) -> Option<Point2<f64>> {
        if point_in_camera.z <= 0.0 {
            return None;
        }
        let (x, y) = (point_in_camera.x / point_in_camera.z, point_in_camera.y / point_in_camera.z);
        let (xd, yd) = self.distortion.distort(x, y);
        let k = &self.intrinsics;
        Some(Point2::new(k.fx_px * xd + k.cx_px, k.fy_px * yd + k.cy_px))
    }

    /// Direction through a pixel in the optical frame, with `z = 1`.
    pub fn ray(&self, x_px: f64, y_px: f64) -> Vector3<f64> {
        let k = &self.intrinsics;
        let (x, y) =
            self.distortion.undistort((x_px - k.cx_px) / k.fx_px, (y_px - k.cy_px) / k.fy_px);
        Vector3::new(x, y, 1.0)
    }
}

impl Distortion {
    fn is_zero(&self) -> bool {
        self.d == [0.0; 5]
    }

    /// Normalised image coordinates to distorted ones (OpenCV `calib3d`, "Detailed Description").
    pub fn distort(&self, x: f64, y: f64) -> (f64, f64) {
        let [k1, k2, p1, p2, k3] = self.d;
        let r2 = x * x + y * y;
        let radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
        (
            x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
            y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
        )
    }

    /// Inverse of [`Distortion::distort`] by fixed-point iteration.
    pub fn undistort(&self, xd: f64, yd: f64) -> (f64, f64) {
        if self.is_zero() {
            return (xd, yd);
        }
        let (mut x, mut y) = (xd, yd);
        // Contracts by roughly |k1| r^2 a round: most pixels need five rounds to 1e-8, ten
        // nanometres in a metre's distance, and 20 suffice for any usual lens.
        for _ in 0..20 {
            let (fx, fy) = self.distort(x, y);
            let (dx, dy) = (xd - fx, yd - fy);
            (x, y) = (x + dx, y + dy);
            if dx.abs() + dy.abs() < 1e-8 {
                break;
            }
        }
        (x, y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_ray_projects_back_to_its_pixel(
            u in 0.0..639.0f64, v in 0.0..479.0f64, z in 0.3..4.0f64,
            k1 in -0.2..0.2f64, k2 in -0.05..0.05f64, p1 in -0.002..0.002f64, p2 in -0.002..0.002f64,
        ) {
            let info = CameraInfo {
                camera_name: "test".into(),
                frame_id: "camera_optical_frame".into(),
                width_px: 640,
                height_px: 480,
                intrinsics: Intrinsics { fx_px: 610.0, fy_px: 612.0, cx_px: 318.0, cy_px: 243.0 },
                distortion: Distortion { d: [k1, k2, p1, p2, 0.0] },
            };
            let pixel = info.project(&Point3::from(info.ray(u, v) * z)).unwrap();
            prop_assert!((pixel - Point2::new(u, v)).norm() < 1e-3, "{pixel} for {u}, {v}");
        }
    }
}

//! What the depth camera saw, as coloured points: through the lens as it is, which Rerun does not know.

use magpie_perception::{BgrImage, DepthImage, Scene};
use nalgebra::{Isometry3, Vector3};

/// So many points are drawn smoothly by processors that have to do without a graphics card.
const POINTS_MAX: f64 = 20_000.0;
/// Three coordinates in `f32`, then red, green and blue.
const POINT_BYTES: usize = 15;

/// Where a regular choice of the picture's pixels looks.
pub(super) struct Surface {
    reference_from_camera: Isometry3<f64>,
    /// Each with `z = 1`, in the optical frame.
    rays: Vec<([u32; 2], Vector3<f64>)>,
}

impl Surface {
    pub(super) fn of(scene: &Scene) -> Surface {
        let info = &scene.camera_info;
        let pixels = f64::from(info.width_px) * f64::from(info.height_px);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few pixels")]
        let step = (pixels / POINTS_MAX).sqrt().ceil().max(1.0) as usize;
        let rows = (0..info.height_px).step_by(step);
        let chosen = rows.flat_map(|y| (0..info.width_px).step_by(step).map(move |x| [x, y]));
        let rays = chosen.map(|[x, y]| ([x, y], info.ray(f64::from(x), f64::from(y))));
        Surface { reference_from_camera: scene.reference_from_camera(), rays: rays.collect() }
    }

    /// The points in the reference frame of the poses, as bytes; `color` and `depth` are of the size of
    /// the scene's picture.
    pub(super) fn points(&self, color: &BgrImage, depth: &DepthImage) -> Vec<u8> {
        let mut points = Vec::with_capacity(POINT_BYTES * self.rays.len());
        for ([x, y], ray) in &self.rays {
            let Some(depth_m) = depth.depth_m(*x, *y) else { continue };
            let point = self.reference_from_camera * nalgebra::Point3::from(ray * depth_m);
            for coordinate in [point.x, point.y, point.z] {
                #[expect(clippy::cast_possible_truncation, reason = "a tenth of a micrometre")]
                points.extend((coordinate as f32).to_le_bytes());
            }
            let [blue, green, red] = color.pixel(*x, *y);
            points.extend([red, green, blue]);
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use magpie_perception::{CameraInfo, CameraPlace, Distortion, Intrinsics, Tool};
    use nalgebra::Translation3;

    use super::*;

    #[test]
    fn a_point_lies_where_its_pixel_looks_at_its_depth_and_a_hole_has_none() {
        let scene = Scene {
            camera_info: CameraInfo {
                camera_name: "camera".into(),
                frame_id: "optical".into(),
                width_px: 3,
                height_px: 1,
                intrinsics: Intrinsics { fx_px: 2.0, fy_px: 2.0, cx_px: 1.0, cy_px: 0.0 },
                distortion: Distortion::Polynomial([0.0; 12]),
            },
            camera_place: Some(CameraPlace::InBase(Translation3::new(10.0, 0.0, 0.0).into())),
            support_plane_in_camera: None,
            tool: Tool::single_cup(0.02),
            calibration_id: String::new(),
        };
        let color = BgrImage::new(3, 1, vec![1, 2, 3, 4, 5, 6, 7, 8, 9]).unwrap();
        let depth = DepthImage::new(3, 1, vec![0, 1000, 2000]).unwrap();
        let points = Surface::of(&scene).points(&color, &depth);
        let floats = |at: usize| {
            [0, 4, 8].map(|o| f32::from_le_bytes(points[at + o..at + o + 4].try_into().unwrap()))
        };
        assert_eq!(points.len(), 2 * POINT_BYTES);
        assert_eq!((floats(0), &points[12..15]), ([10.0, 0.0, 1.0], &[6, 5, 4][..]));
        assert_eq!((floats(15), &points[27..30]), ([11.0, 0.0, 2.0], &[9, 8, 7][..]));
    }
}

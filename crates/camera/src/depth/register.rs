//! Depth from the depth camera's view into the colour camera's.

use magpie_perception::{CameraInfo, DepthImage};
use nalgebra::{Isometry3, Point3, Vector3};

use super::config::DepthCamera;

/// How to register depth, as far as that does not change from image to image.
pub(crate) struct Registration {
    color_info: CameraInfo,
    color_from_depth: Isometry3<f64>,
    depth_width_px: u32,
    depth_height_px: u32,
    /// The rays through the depth pixels, in the depth camera, with `z = 1`.
    rays: Vec<Vector3<f64>>,
    /// How many colour pixels a depth pixel covers, each way.
    footprint_px: i64,
}

impl Registration {
    pub(crate) fn new(camera: &DepthCamera) -> Registration {
        let DepthCamera { depth_info, color_info, color_from_depth } = camera;
        let columns = 0..depth_info.width_px;
        let pixels = (0..depth_info.height_px).flat_map(|y| columns.clone().map(move |x| (x, y)));
        let rays = pixels.map(|(x, y)| depth_info.ray(f64::from(x), f64::from(y))).collect();
        let ratio = color_info.intrinsics.fx_px / depth_info.intrinsics.fx_px;
        #[expect(clippy::cast_possible_truncation, reason = "a few pixels")]
        let footprint_px = ratio.ceil().clamp(1.0, 8.0) as i64;
        Registration {
            color_info: color_info.clone(),
            color_from_depth: *color_from_depth,
            depth_width_px: depth_info.width_px,
            depth_height_px: depth_info.height_px,
            rays,
            footprint_px,
        }
    }

    /// Brings an image into the colour camera's view. The nearer of two surfaces in one colour
    /// pixel is seen. A hole stays a hole, as does what only the colour camera sees. Returns `None`
    /// for an image of another size than the calibration's.
    pub(crate) fn apply(&self, depth: &DepthImage) -> Option<DepthImage> {
        if (depth.width_px(), depth.height_px()) != (self.depth_width_px, self.depth_height_px) {
            return None;
        }
        let (width, height) = (self.color_info.width_px, self.color_info.height_px);
        let mut registered = vec![0_u16; width as usize * height as usize];
        for (ray, &mm) in self.rays.iter().zip(depth.data_mm()) {
            if mm == 0 {
                continue;
            }
            let in_depth = Point3::from(ray * (f64::from(mm) / 1000.0));
            let in_color = self.color_from_depth * in_depth;
            let Some(px) = self.color_info.project(&in_color) else { continue };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
            let mm = match (in_color.z * 1000.0).round() {
                mm if (1.0..65_536.0).contains(&mm) => mm as u16,
                _ => continue,
            };
            self.splat(&mut registered, px.x, px.y, mm);
        }
        let registered = DepthImage::new(width, height, registered);
        Some(registered.expect("as many values as the colour image has pixels"))
    }

    /// Fills all colour pixels that a depth pixel covers: a depth image of lower resolution would
    /// leave a grid of holes.
    fn splat(&self, registered: &mut [u16], x_px: f64, y_px: f64, mm: u16) {
        let half = (self.footprint_px - 1) as f64 / 2.0;
        #[expect(clippy::cast_possible_truncation, reason = "saturates outside of the image")]
        let (left, top) = ((x_px - half).round() as i64, (y_px - half).round() as i64);
        let inside = |at: i64, size: u32| usize::try_from(at).ok().filter(|&at| at < size as usize);
        for y in (top..top + self.footprint_px).filter_map(|y| inside(y, self.color_info.height_px))
        {
            let columns = left..left + self.footprint_px;
            for x in columns.filter_map(|x| inside(x, self.color_info.width_px)) {
                let pixel = &mut registered[y * self.color_info.width_px as usize + x];
                if *pixel == 0 || mm < *pixel {
                    *pixel = mm;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use magpie_perception::{Distortion, Intrinsics};

    use super::*;

    fn camera(width_px: u32, height_px: u32, f_px: f64) -> CameraInfo {
        CameraInfo {
            camera_name: "x".into(),
            frame_id: "x".into(),
            width_px,
            height_px,
            intrinsics: Intrinsics {
                fx_px: f_px,
                fy_px: f_px,
                cx_px: f64::from(width_px - 1) / 2.0,
                cy_px: f64::from(height_px - 1) / 2.0,
            },
            distortion: Distortion::default(),
        }
    }

    fn registration(shift_m: f64) -> Registration {
        Registration::new(&DepthCamera {
            depth_info: camera(40, 30, 40.0),
            color_info: camera(80, 60, 80.0),
            color_from_depth: Isometry3::translation(shift_m, 0.0, 0.0),
        })
    }

    #[test]
    fn a_wall_is_a_wall_in_the_other_view_without_a_grid_of_holes() {
        let wall = DepthImage::new(40, 30, vec![1000; 40 * 30]).unwrap();
        let seen = registration(0.0).apply(&wall).unwrap();
        let inside = |x: u32, y: u32| seen.depth_m(x, y) == Some(1.0);
        assert!((2..78).all(|x| (2..58).all(|y| inside(x, y))));
        // Ten centimetres aside at one metre are eight colour pixels.
        let aside = registration(0.1).apply(&wall).unwrap();
        assert_eq!((aside.depth_m(4, 30), aside.depth_m(12, 30)), (None, Some(1.0)));
    }

    #[test]
    fn the_nearer_surface_hides_the_farther_and_holes_stay_holes() {
        let mut mm = vec![1000; 40 * 30];
        for y in 10..20 {
            mm[y * 40 + 15..y * 40 + 25].fill(500);
            mm[y * 40 + 2..y * 40 + 6].fill(0);
        }
        let scene = DepthImage::new(40, 30, mm).unwrap();
        let seen = registration(0.0).apply(&scene).unwrap();
        assert_eq!(seen.depth_m(40, 30), Some(0.5));
        assert_eq!(seen.depth_m(8, 30), None);
        // Aside, near things move twice as far as what is behind them.
        let aside = registration(0.1).apply(&scene).unwrap();
        assert_eq!(aside.depth_m(40 + 16, 30), Some(0.5));
    }

    #[test]
    fn an_image_of_another_size_is_not_registered() {
        let small = DepthImage::new(20, 15, vec![1000; 300]).unwrap();
        assert!(registration(0.0).apply(&small).is_none());
    }
}

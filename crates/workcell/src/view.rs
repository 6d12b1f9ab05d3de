//! Where the camera stands, what lens it has, and how its distorted picture maps to the ideal one.

use magpie_perception::{CameraInfo, Distortion, Intrinsics};
use rapier3d::math::{Mat3, Pose, Rotation, Vec2, Vec3};

use crate::random::Rng;
use crate::raster::{self, Pinhole, Soup};
use crate::recipe::Recipe;
use crate::scene::Scene;

#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) camera_info: CameraInfo,
    pub(crate) base_from_camera: Pose,
    /// Angle between the optical axis and straight down.
    pub(crate) tilt_deg: f32,
    /// Distance from the camera to the point it looks at.
    pub(crate) distance_m: f32,
}

/// So many views are tried until one shows packages.
const ATTEMPTS: u32 = 8;
/// Packages together fill at least this share of the picture.
const SHARE_MIN: f32 = 0.015;
/// The largest package fills at most this share of the picture.
const SHARE_MAX: f32 = 0.5;

impl View {
    /// A view that is not blocked by a wall or turned away, unless all attempts fail.
    pub(crate) fn random(rng: &mut Rng, recipe: &Recipe, scene: &Scene, soup: &Soup) -> View {
        let mut view = View::unchecked(rng, recipe, scene);
        for _ in 1..ATTEMPTS {
            if scene.packages.is_empty() || view.shows_packages(scene, soup) {
                break;
            }
            view = View::unchecked(rng, recipe, scene);
        }
        view
    }

    /// Draws a picture as large as a stamp and counts in it.
    fn shows_packages(&self, scene: &Scene, soup: &Soup) -> bool {
        const SHRINK: f32 = 10.0;
        let k = &self.camera_info.intrinsics;
        let camera = Pinhole {
            width_px: self.camera_info.width_px / SHRINK as u32,
            height_px: self.camera_info.height_px / SHRINK as u32,
            fx_px: k.fx_px as f32 / SHRINK,
            fy_px: k.fy_px as f32 / SHRINK,
            cx_px: k.cx_px as f32 / SHRINK,
            cy_px: k.cy_px as f32 / SHRINK,
            base_from_camera: self.base_from_camera,
        };
        let (seen, _) = raster::draw(scene, soup, &camera);
        let mut seen_px = vec![0_u32; scene.packages.len()];
        for triangle in &seen.triangle {
            if let Some(instance) = soup.owner(scene, *triangle) {
                seen_px[instance as usize] += 1;
            }
        }
        let share = |px: u32| px as f32 / seen.triangle.len() as f32;
        let largest = seen_px.iter().copied().max().map_or(0.0, share);
        share(seen_px.iter().sum()) > SHARE_MIN && largest < SHARE_MAX
    }

    fn unchecked(rng: &mut Rng, recipe: &Recipe, scene: &Scene) -> View {
        let range = &recipe.camera;
        let tilt_deg = if scene.is_stack {
            let low: f32 = if scene.front_yaw.is_some() { 55.0 } else { 15.0 };
            rng.within(low.max(range.tilt_deg_min)..range.tilt_deg_stack_max.max(low + 1.0))
        } else if rng.chance(0.35) {
            // Cells look straight down more often than not.
            rng.within(range.tilt_deg_min..(range.tilt_deg_min + 12.0).min(range.tilt_deg_max))
        } else {
            rng.within(range.tilt_deg_min..range.tilt_deg_max)
        };
        let fov_deg = rng.within(range.fov_deg_min..range.fov_deg_max);
        let fit_m = scene.focus_radius_m * 0.8 / (0.5 * fov_deg.to_radians()).tan();
        let distance_m =
            (fit_m * rng.within_log(0.45..1.9)).clamp(range.distance_m_min, range.distance_m_max);
        let yaw = match scene.front_yaw {
            Some(front) => front + rng.around(0.8),
            None => rng.within(0.0..std::f32::consts::TAU),
        };
        let roll = match tilt_deg {
            tilt if tilt < 25.0 => rng.within(0.0..std::f32::consts::TAU),
            _ if rng.chance(0.1) => rng.within(0.0..std::f32::consts::TAU),
            _ => rng.around(0.12),
        };
        let stray = 0.3 * scene.focus_radius_m;
        let target =
            scene.focus + Vec3::new(rng.around(stray), rng.around(stray), rng.around(0.3 * stray));
        let base_from_camera = looking_at(target, distance_m, tilt_deg.to_radians(), yaw, roll);
        let camera_info = lens(rng, recipe, fov_deg);
        View { camera_info, base_from_camera, tilt_deg, distance_m }
    }
}

/// A camera at `distance_m` from `target`, seen from there under `yaw` and `tilt` from the vertical.
pub(crate) fn looking_at(target: Vec3, distance_m: f32, tilt: f32, yaw: f32, roll: f32) -> Pose {
    let away = Vec3::new(tilt.sin() * yaw.cos(), tilt.sin() * yaw.sin(), tilt.cos());
    let forward = -away;
    // At tilt 0 the picture's top points away from the yaw, as it does for small tilts.
    let top = Vec3::new(-tilt.cos() * yaw.cos(), -tilt.cos() * yaw.sin(), tilt.sin());
    let down = -top;
    let right = down.cross(forward);
    let turn = Rotation::from_mat3(&Mat3::from_cols(right, down, forward)).normalize();
    Pose::from_parts(target + away * distance_m, turn * Rotation::from_rotation_z(roll))
}

pub(crate) fn lens(rng: &mut Rng, recipe: &Recipe, fov_deg: f32) -> CameraInfo {
    let (width, height) = (recipe.width_px as f32, recipe.height_px as f32);
    let fx = 0.5 * width / (0.5 * fov_deg.to_radians()).tan();
    let k1 = rng.around(recipe.camera.distortion_max);
    let d = [k1, -0.3 * k1 * rng.unit(), rng.around(0.0015), rng.around(0.0015), 0.0];
    CameraInfo {
        camera_name: "workcell".to_owned(),
        frame_id: "camera_optical_frame".to_owned(),
        width_px: recipe.width_px,
        height_px: recipe.height_px,
        intrinsics: Intrinsics {
            fx_px: f64::from(fx),
            fy_px: f64::from(fx * rng.within(0.995..1.005)),
            cx_px: f64::from(0.5 * width + rng.around(0.02) * width),
            cy_px: f64::from(0.5 * height + rng.around(0.02) * height),
        },
        distortion: Distortion::plumb_bob(if recipe.camera.distortion_max > 0.0 {
            d.map(f64::from)
        } else {
            [0.0; 5]
        }),
    }
}

/// The ideal picture is finer than the sensor by this factor, which makes edges smooth.
const OVERSAMPLING: f32 = 1.4;
/// Distance of the points where the lens model is solved; between them it is interpolated.
const STEP_PX: u32 = 8;

/// Maps points of the distorted picture to the ideal one, which is larger and finer.
pub(crate) struct Warp {
    pub(crate) pinhole: Pinhole,
    columns: u32,
    nodes: Vec<Vec2>,
}

impl Warp {
    pub(crate) fn new(view: &View) -> Warp {
        let info = &view.camera_info;
        let k = &info.intrinsics;
        let (fx, fy) = (k.fx_px as f32 * OVERSAMPLING, k.fy_px as f32 * OVERSAMPLING);
        // One node more than needed on each side, half a step outside the picture.
        let columns = info.width_px.div_ceil(STEP_PX) + 3;
        let rows = info.height_px.div_ceil(STEP_PX) + 3;
        let mut nodes = Vec::with_capacity((columns * rows) as usize);
        for row in 0..rows {
            for column in 0..columns {
                let x = (f64::from(column) - 1.0) * f64::from(STEP_PX);
                let y = (f64::from(row) - 1.0) * f64::from(STEP_PX);
                let ray = info.ray(x, y);
                nodes.push(Vec2::new(ray.x as f32 * fx, ray.y as f32 * fy));
            }
        }
        let low = nodes.iter().copied().fold(Vec2::MAX, Vec2::min).floor();
        let high = nodes.iter().copied().fold(Vec2::MIN, Vec2::max).ceil();
        for node in &mut nodes {
            *node -= low;
        }
        let pinhole = Pinhole {
            width_px: (high.x - low.x) as u32 + 1,
            height_px: (high.y - low.y) as u32 + 1,
            fx_px: fx,
            fy_px: fy,
            cx_px: -low.x,
            cy_px: -low.y,
            base_from_camera: view.base_from_camera,
        };
        Warp { pinhole, columns, nodes }
    }

    /// Index of the ideal pixel that a point of the distorted picture falls on.
    pub(crate) fn source(&self, x_px: f32, y_px: f32) -> usize {
        let (u, v) = (x_px / STEP_PX as f32 + 1.0, y_px / STEP_PX as f32 + 1.0);
        let (column, row) = (u.floor(), v.floor());
        let first = (row as u32 * self.columns + column as u32) as usize;
        let below = first + self.columns as usize;
        let (s, t) = (u - column, v - row);
        let upper = self.nodes[first].lerp(self.nodes[first + 1], s);
        let lower = self.nodes[below].lerp(self.nodes[below + 1], s);
        let at = upper.lerp(lower, t);
        let x = ((at.x + 0.5) as u32).min(self.pinhole.width_px - 1);
        let y = ((at.y + 0.5) as u32).min(self.pinhole.height_px - 1);
        (y * self.pinhole.width_px + x) as usize
    }
}

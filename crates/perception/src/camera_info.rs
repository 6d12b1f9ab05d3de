//! The camera model: a pinhole behind a lens that bends rays as a `plumb_bob`, a
//! `rational_polynomial` or an `equidistant` (fisheye) lens does.

use std::fmt;

use nalgebra::{Matrix2, Point2, Point3, Vector2, Vector3};

/// Pinhole parameters, in pixels of the full image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intrinsics {
    pub fx_px: f64,
    pub fy_px: f64,
    pub cx_px: f64,
    pub cy_px: f64,
}

/// How a lens bends rays.
#[derive(Clone, Copy, PartialEq)]
pub enum Distortion {
    /// In OpenCV's and ROS's order `k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4`. A `plumb_bob`
    /// (Brown-Conrady) lens is one whose last seven are 0; the last four are of a thin prism.
    Polynomial([f64; 12]),
    /// A fisheye lens, `k1, k2, k3, k4`: what lies `θ` off the axis is seen at a radius of
    /// `θ (1 + k1 θ² + k2 θ⁴ + k3 θ⁶ + k4 θ⁸)` focal lengths (OpenCV `fisheye`, Kannala and Brandt).
    Equidistant([f64; 4]),
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

/// Polynomials of a lens are smooth: what they do shows at so many steps along a side, or a ray.
const STEPS: u8 = 32;
/// Usual lenses need four rounds of Newton's method to a tenth of a nanometre at a metre, and 20
/// suffice up to where a lens turns back.
const NEWTON_ROUNDS_MAX: u32 = 20;
const NEWTON_STEP_MIN: f64 = 1e-10;
/// A ray is found when it comes back to its pixel this closely.
const RAY_OFF_PX_MAX: f64 = 0.01;
/// Further off the axis a fisheye lens is not used: rays have `z = 1`, and a pixel there covers
/// thirty times as much as one in the middle.
const OFF_AXIS_RAD_MAX: f64 = 80.0 / 180.0 * std::f64::consts::PI;

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

    /// Direction through a pixel in the optical frame, with `z = 1`. Finite for every lens, right
    /// for one without a [`CameraInfo::pixel_without_ray`], as far as [`CameraInfo::sees`].
    pub fn ray(&self, x_px: f64, y_px: f64) -> Vector3<f64> {
        let (xd, yd) = self.normalized(x_px, y_px);
        let (x, y) = self.distortion.undistort(xd, yd);
        Vector3::new(x, y, 1.0)
    }

    /// A pixel in focal lengths from the principal point.
    fn normalized(&self, x_px: f64, y_px: f64) -> (f64, f64) {
        let k = &self.intrinsics;
        ((x_px - k.cx_px) / k.fx_px, (y_px - k.cy_px) / k.fy_px)
    }

    /// Whether the lens can be computed with at a pixel: a fisheye lens sees further aside than that.
    pub fn sees(&self, x_px: f64, y_px: f64) -> bool {
        let (xd, yd) = self.normalized(x_px, y_px);
        match &self.distortion {
            Distortion::Polynomial(_) => true,
            Distortion::Equidistant(d) => {
                off_axis_rad(d, xd.hypot(yd)).is_ok_and(|at| at.is_some())
            }
        }
    }

    /// A pixel at the picture's border that no single ray leads to: there the lens's polynomial has
    /// turned back. `None` for a lens that can be used.
    pub fn pixel_without_ray(&self) -> Option<Point2<f64>> {
        let (right, bottom) = (f64::from(self.width_px) - 1.0, f64::from(self.height_px) - 1.0);
        let along = |step: u8| f64::from(step) / f64::from(STEPS);
        let border = (0..=STEPS).map(along).flat_map(|at| {
            [(at * right, 0.0), (at * right, bottom), (0.0, at * bottom), (right, at * bottom)]
        });
        border.map(|(x, y)| Point2::new(x, y)).find(|pixel| !self.has_ray(pixel))
    }

    fn has_ray(&self, pixel: &Point2<f64>) -> bool {
        let d = match &self.distortion {
            Distortion::Polynomial(d) => d,
            Distortion::Equidistant(d) => {
                let (xd, yd) = self.normalized(pixel.x, pixel.y);
                return off_axis_rad(d, xd.hypot(yd)).is_ok();
            }
        };
        let ray = self.ray(pixel.x, pixel.y);
        let back = self.project(&Point3::from(ray));
        // On the way out from the middle the picture must never turn back.
        let grows = (1..=STEPS).map(|step| f64::from(step) / f64::from(STEPS)).all(|share| {
            let (_, slope) = with_slope(d, share * ray.x, share * ray.y);
            slope.determinant() > 0.0 && slope.trace() > 0.0
        });
        grows && back.is_some_and(|back| (back - pixel).norm() < RAY_OFF_PX_MAX)
    }
}

impl Distortion {
    /// `k1, k2, p1, p2, k3`.
    pub const fn plumb_bob([k1, k2, p1, p2, k3]: [f64; 5]) -> Distortion {
        Distortion::Polynomial([k1, k2, p1, p2, k3, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    }

    /// `k1, k2, p1, p2, k3, k4, k5, k6`.
    pub const fn rational([k1, k2, p1, p2, k3, k4, k5, k6]: [f64; 8]) -> Distortion {
        Distortion::Polynomial([k1, k2, p1, p2, k3, k4, k5, k6, 0.0, 0.0, 0.0, 0.0])
    }

    /// The 5 values of a `plumb_bob` lens, the 8 of a `rational_polynomial` one or its 12 with a thin
    /// prism, the 4 of an `equidistant` one.
    pub fn coefficients(&self) -> &[f64] {
        match self {
            Distortion::Polynomial(d) if is_plumb_bob(d) => &d[..5],
            Distortion::Polynomial(d) if d[8..] == [0.0; 4] => &d[..8],
            Distortion::Polynomial(d) => d,
            Distortion::Equidistant(d) => d,
        }
    }

    /// ROS's name of the model.
    pub fn model(&self) -> &'static str {
        match self {
            Distortion::Polynomial(d) if is_plumb_bob(d) => "plumb_bob",
            Distortion::Polynomial(_) => "rational_polynomial",
            Distortion::Equidistant(_) => EQUIDISTANT,
        }
    }

    /// Normalised image coordinates to distorted ones (OpenCV `calib3d`, "Detailed Description").
    pub fn distort(&self, x: f64, y: f64) -> (f64, f64) {
        match self {
            Distortion::Polynomial(d) => bend(d, x, y),
            Distortion::Equidistant(d) => {
                let r = x.hypot(y);
                // In the middle the lens is straight.
                let scale = if r > 0.0 { radius(d, r.atan()) / r } else { 1.0 };
                (x * scale, y * scale)
            }
        }
    }

    /// Inverse of [`Distortion::distort`] by Newton's method. Where there is none, it stops short.
    pub fn undistort(&self, xd: f64, yd: f64) -> (f64, f64) {
        match self {
            Distortion::Polynomial(d) => straighten(d, xd, yd),
            Distortion::Equidistant(d) => {
                let seen = xd.hypot(yd);
                let at = off_axis_rad(d, seen).ok().flatten().unwrap_or(OFF_AXIS_RAD_MAX);
                let scale = if seen > 0.0 { at.tan() / seen } else { 1.0 };
                (xd * scale, yd * scale)
            }
        }
    }
}

impl Default for Distortion {
    fn default() -> Distortion {
        Distortion::Polynomial([0.0; 12])
    }
}

const EQUIDISTANT: &str = "equidistant";

fn is_plumb_bob(d: &[f64; 12]) -> bool {
    d[5..] == [0.0; 7]
}

fn bend(d: &[f64; 12], x: f64, y: f64) -> (f64, f64) {
    let [k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4] = *d;
    let r2 = x * x + y * y;
    let radial = (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1.0 + r2 * (k4 + r2 * (k5 + r2 * k6)));
    (
        x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x) + r2 * (s1 + r2 * s2),
        y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y + r2 * (s3 + r2 * s4),
    )
}

/// [`bend`] and its derivative.
fn with_slope(d: &[f64; 12], x: f64, y: f64) -> (Vector2<f64>, Matrix2<f64>) {
    let [k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4] = *d;
    let r2 = x * x + y * y;
    let above = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3));
    let below = 1.0 + r2 * (k4 + r2 * (k5 + r2 * k6));
    let above_slope = k1 + r2 * (2.0 * k2 + r2 * 3.0 * k3);
    let below_slope = k4 + r2 * (2.0 * k5 + r2 * 3.0 * k6);
    let radial = above / below;
    let radial_slope = 2.0 * (above_slope - radial * below_slope) / below;
    let across = x * y * radial_slope + 2.0 * (p1 * x + p2 * y);
    let prism = 2.0 * Vector2::new(s1 + 2.0 * s2 * r2, s3 + 2.0 * s4 * r2);
    let slope = Matrix2::new(
        radial + x * x * radial_slope + 2.0 * p1 * y + 6.0 * p2 * x + prism.x * x,
        across + prism.x * y,
        across + prism.y * x,
        radial + y * y * radial_slope + 6.0 * p1 * y + 2.0 * p2 * x + prism.y * y,
    );
    (Vector2::from(<[f64; 2]>::from(bend(d, x, y))), slope)
}

fn straighten(d: &[f64; 12], xd: f64, yd: f64) -> (f64, f64) {
    if *d == [0.0; 12] {
        return (xd, yd);
    }
    let wanted = Vector2::new(xd, yd);
    let mut at = wanted;
    // Barrel and pincushion alike are approached from one side.
    for _ in 0..NEWTON_ROUNDS_MAX {
        let (found, slope) = with_slope(d, at.x, at.y);
        let Some(step) = slope.try_inverse().map(|inverse| inverse * (wanted - found)) else {
            break;
        };
        let next = at + step;
        if !(next.x.is_finite() && next.y.is_finite()) {
            break;
        }
        at = next;
        if step.norm() < NEWTON_STEP_MIN {
            break;
        }
    }
    (at.x, at.y)
}

/// The radius, in focal lengths, at which a fisheye lens shows what lies `off_axis_rad` aside.
fn radius([k1, k2, k3, k4]: &[f64; 4], off_axis_rad: f64) -> f64 {
    let t2 = off_axis_rad * off_axis_rad;
    off_axis_rad * (1.0 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
}

/// The lens's picture turns back before it reaches a radius.
struct TurnsBack;

/// The inverse of [`radius`] where the picture grows from the middle on; `Ok(None)` beyond what is
/// computed with.
fn off_axis_rad(d: &[f64; 4], wanted: f64) -> Result<Option<f64>, TurnsBack> {
    let at = |step: u8| OFF_AXIS_RAD_MAX * f64::from(step) / f64::from(STEPS);
    let mut near = 0.0;
    for step in 1..=STEPS {
        let far = radius(d, at(step));
        if far <= near {
            return Err(TurnsBack);
        }
        if far >= wanted {
            return Ok(Some(between(d, [at(step - 1), at(step)], wanted)));
        }
        near = far;
    }
    Ok(None)
}

/// The angle at which [`radius`] grows past `wanted`, by Newton's method within the bracket.
fn between(d: &[f64; 4], [mut low, mut high]: [f64; 2], wanted: f64) -> f64 {
    let [k1, k2, k3, k4] = *d;
    let mut at = f64::midpoint(low, high);
    for _ in 0..2 * NEWTON_ROUNDS_MAX {
        let off = radius(d, at) - wanted;
        if off > 0.0 {
            high = at
        } else {
            low = at
        }
        let t2 = at * at;
        let slope = 1.0 + t2 * (3.0 * k1 + t2 * (5.0 * k2 + t2 * (7.0 * k3 + t2 * 9.0 * k4)));
        let next = at - off / slope;
        let next = if next > low && next < high { next } else { f64::midpoint(low, high) };
        let step = (next - at).abs();
        at = next;
        if step < NEWTON_STEP_MIN {
            break;
        }
    }
    at
}

/// Ids of calibrations are made from this text: it lists five coefficients where five are enough.
impl fmt::Debug for Distortion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Distortion::Polynomial(_) => "Distortion",
            Distortion::Equidistant(_) => "Equidistant",
        };
        f.debug_struct(name).field("d", &self.coefficients()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn camera(f_px: f64, [width_px, height_px]: [u32; 2], distortion: Distortion) -> CameraInfo {
        let (cx_px, cy_px) = (f64::from(width_px) / 2.0 - 2.0, f64::from(height_px) / 2.0 + 3.0);
        CameraInfo {
            camera_name: "test".into(),
            frame_id: "camera_optical_frame".into(),
            width_px,
            height_px,
            intrinsics: Intrinsics { fx_px: f_px, fy_px: f_px + 2.0, cx_px, cy_px },
            distortion,
        }
    }

    /// Rays all over the picture must come back to their pixels.
    fn check(info: &CameraInfo) {
        assert_eq!(info.pixel_without_ray(), None, "{info:?}");
        for (u, v) in (0..=16).flat_map(|v| (0..=16).map(move |u| (u, v))) {
            let u = f64::from(u) / 16.0 * (f64::from(info.width_px) - 1.0);
            let v = f64::from(v) / 16.0 * (f64::from(info.height_px) - 1.0);
            let pixel = info.project(&Point3::from(info.ray(u, v) * 0.7)).unwrap();
            assert!((pixel - Point2::new(u, v)).norm() < 1e-6, "{pixel} for {u}, {v}: {info:?}");
        }
    }

    proptest! {
        #[test]
        fn a_ray_projects_back_to_its_pixel(
            k1 in -0.2..0.2f64, k2 in -0.05..0.05f64, p1 in -0.002..0.002f64, p2 in -0.002..0.002f64,
        ) {
            check(&camera(610.0, [640, 480], Distortion::plumb_bob([k1, k2, p1, p2, 0.0])));
        }
    }

    #[test]
    fn strong_lenses_and_rational_ones_are_inverted_too() {
        check(&camera(600.0, [640, 480], Distortion::plumb_bob([0.8, 0.3, 0.0, 0.0, 0.1])));
        check(&camera(620.0, [640, 480], Distortion::plumb_bob([-0.42, 0.24, 0.0, 0.001, -0.08])));
        // As the depth cameras of a well-known maker come from the factory.
        let d = [0.512, -2.73, 0.0006, -0.0002, 1.59, 0.392, -2.55, 1.51];
        check(&camera(605.0, [1280, 720], Distortion::rational(d)));
        check(&camera(
            500.0,
            [640, 480],
            Distortion::rational([8.1, 4.2, 0.0, 0.0, 0.2, 8.4, 6.5, 1.1]),
        ));
    }

    /// At a radius of 0.5 in a direction of 3 to 4: the prism's polynomials by hand.
    #[test]
    fn a_thin_prism_shifts_by_its_own_polynomials_of_the_radius() {
        let mut d = [0.0; 12];
        d[8..].copy_from_slice(&[0.01, -0.02, 0.03, 0.04]);
        let prism = Distortion::Polynomial(d);
        let (x, y) = prism.distort(0.3, 0.4);
        assert!((x - (0.3 + 0.01 * 0.25 - 0.02 * 0.0625)).abs() < 1e-15, "{x}");
        assert!((y - (0.4 + 0.03 * 0.25 + 0.04 * 0.0625)).abs() < 1e-15, "{y}");
        assert_eq!((prism.model(), prism.coefficients().len()), ("rational_polynomial", 12));
        check(&camera(520.0, [640, 480], prism));
        let all = [0.1, 0.02, 0.001, -0.001, 0.001, 0.1, 0.02, 0.001, 0.001, -0.002, 0.003, 0.001];
        check(&camera(520.0, [640, 480], Distortion::Polynomial(all)));
    }

    #[test]
    fn a_lens_that_turns_back_within_the_picture_is_noticed_and_its_rays_stay_finite() {
        let fold = |f_px, size, d: [f64; 5]| {
            let info = camera(f_px, size, Distortion::plumb_bob(d));
            assert!(info.pixel_without_ray().is_some(), "{info:?}");
            for (u, v) in (0..=info.height_px).flat_map(|v| [0, info.width_px].map(|u| (u, v))) {
                assert!(info.ray(f64::from(u), f64::from(v)).norm().is_finite(), "{u}, {v}");
            }
        };
        fold(900.0, [1920, 1080], [-0.30, 0.09, 0.0, 0.0, -0.012]);
        fold(600.0, [640, 480], [-0.4, 0.0, 0.0, 0.0, 0.0]);
        fold(300.0, [640, 480], [-2.0, 1.0, 0.0, 0.0, 0.0]);
    }

    /// With all coefficients 0 the angle off the axis is the radius in focal lengths.
    #[test]
    fn an_ideal_fisheye_lens_shows_equal_angles_at_equal_distances() {
        let mut info = camera(300.0, [800, 600], Distortion::Equidistant([0.0; 4]));
        info.intrinsics.fy_px = 300.0;
        for deg in [0.0, 10.0, 45.0, 60.0, 79.0_f64] {
            let (angle, off_px) = (deg.to_radians(), 300.0 * deg.to_radians());
            let pixel = info.project(&Point3::new(2.0 * angle.sin(), 0.0, 2.0 * angle.cos()));
            let expected = Point2::new(info.intrinsics.cx_px + off_px, info.intrinsics.cy_px);
            assert!((pixel.unwrap() - expected).norm() < 1e-9, "{deg}: {pixel:?}");
            let ray = info.ray(expected.x, expected.y);
            assert!((ray - Vector3::new(angle.tan(), 0.0, 1.0)).norm() < 1e-8, "{deg}: {ray}");
        }
    }

    /// Halfway between the axes and with every coefficient: the polynomial by hand.
    #[test]
    fn a_fisheye_lens_bends_by_its_polynomial_of_the_angle() {
        let d = [-0.01, 0.04, -0.03, 0.005];
        let (t, half) = (std::f64::consts::FRAC_PI_4, std::f64::consts::FRAC_1_SQRT_2);
        let (x, y) = Distortion::Equidistant(d).distort(half, half);
        let t2 = t * t;
        let expected =
            t * (1.0 - 0.01 * t2 + 0.04 * t2 * t2 - 0.03 * t2.powi(3) + 0.005 * t2.powi(4)) * half;
        assert!((x - expected).abs() < 1e-15 && (y - expected).abs() < 1e-15, "{x}, {y}");
        let (back_x, back_y) = Distortion::Equidistant(d).undistort(x, y);
        assert!((back_x - half).abs() < 1e-12 && (back_y - half).abs() < 1e-12);
    }

    #[test]
    fn fisheye_lenses_are_inverted_up_to_their_corners() {
        // As wide as a tracking camera of a well-known maker: its corners are beyond the field.
        let wide =
            camera(286.0, [848, 800], Distortion::Equidistant([-0.008, 0.045, -0.042, 0.008]));
        assert_eq!(wide.pixel_without_ray(), None);
        assert!(wide.sees(424.0, 20.0) && !wide.sees(0.0, 0.0));
        assert!(wide.ray(0.0, 0.0).norm().is_finite());
        check(&camera(420.0, [640, 480], Distortion::Equidistant([-0.008, 0.045, -0.042, 0.008])));
        check(&camera(500.0, [640, 480], Distortion::Equidistant([0.2, -0.1, 0.05, -0.01])));
        // Its picture stops growing at 1 / sqrt(3 * 0.5) of a radian: 0.54 focal lengths.
        let fold = camera(300.0, [640, 480], Distortion::Equidistant([-0.5, 0.0, 0.0, 0.0]));
        assert!(fold.pixel_without_ray().is_some());
        check(&camera(800.0, [640, 480], Distortion::Equidistant([-0.5, 0.0, 0.0, 0.0])));
    }
}

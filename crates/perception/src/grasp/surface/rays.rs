//! The lens, solved once per calibration: rays through pixels by interpolation.

use nalgebra::Vector3;

use crate::number::{floor_index, to_f32};
use crate::{CameraInfo, Distortion, Intrinsics};

/// Distance of the points at which the lens is solved. Between them the bend of a usual lens stays
/// below a hundredth of a millimetre at a metre.
const STEP_PX: u32 = 8;

/// What rays are made for: the lens, and the picture's width and height.
type Lens = (Intrinsics, Distortion, u32, u32);

/// Directions in the optical frame, with `z = 1`, through any pixel of one camera.
#[derive(Clone, Debug)]
pub(crate) struct Rays {
    /// What they were made for.
    lens: Lens,
    columns: usize,
    /// x and y of the rays, row by row.
    nodes: Vec<[f32; 2]>,
    /// Mean focal length, for sizes in pixels.
    pub(crate) focal_px: f32,
    /// fx, fy, cx, cy.
    pinhole: [f32; 4],
    bend: Bend,
}

/// [`Distortion`] in the width that rays are computed in.
#[derive(Clone, Copy, Debug)]
enum Bend {
    Polynomial([f32; 8]),
    Equidistant([f32; 4]),
}

impl Rays {
    pub(crate) fn new(info: &CameraInfo) -> Rays {
        let columns = info.width_px.div_ceil(STEP_PX) + 2;
        let rows = info.height_px.div_ceil(STEP_PX) + 2;
        let node = |column: u32, row: u32| {
            let ray = info.ray(f64::from(column * STEP_PX), f64::from(row * STEP_PX));
            [to_f32(ray.x), to_f32(ray.y)]
        };
        let nodes =
            (0..rows).flat_map(|row| (0..columns).map(move |column| node(column, row))).collect();
        let k = &info.intrinsics;
        Rays {
            lens: lens(info),
            columns: columns as usize,
            nodes,
            focal_px: to_f32(0.5 * (k.fx_px + k.fy_px)),
            pinhole: [k.fx_px, k.fy_px, k.cx_px, k.cy_px].map(to_f32),
            bend: match info.distortion {
                Distortion::Polynomial(d) => Bend::Polynomial(d.map(to_f32)),
                Distortion::Equidistant(d) => Bend::Equidistant(d.map(to_f32)),
            },
        }
    }

    pub(crate) fn are_of(&self, info: &CameraInfo) -> bool {
        self.lens == lens(info)
    }

    /// The pixel of an ideal direction `(x, y, 1)`; see [`Distortion::distort`].
    pub(crate) fn project(&self, x: f32, y: f32) -> [f32; 2] {
        let [fx, fy, cx, cy] = self.pinhole;
        let [xd, yd] = match &self.bend {
            Bend::Polynomial(d) => bend(d, x, y),
            Bend::Equidistant(d) => bend_equidistant(d, x, y),
        };
        [fx * xd + cx, fy * yd + cy]
    }

    /// Rays around a pixel, the lens taken for straight there: half a millimetre off at most, under
    /// a cup a metre away.
    pub(crate) fn near(&self, at_px: [f32; 2]) -> NearRays {
        /// As far as the nodes are apart.
        const REACH_PX: f32 = STEP_PX as f32;
        let [x, y] = at_px;
        let low = [(x - REACH_PX).max(0.0), (y - REACH_PX).max(0.0)];
        let (along_x, along_y) = (x + REACH_PX - low[0], y + REACH_PX - low[1]);
        NearRays {
            at_px,
            ray: self.at(x, y),
            per_x: (self.at(x + REACH_PX, y) - self.at(low[0], y)) / along_x,
            per_y: (self.at(x, y + REACH_PX) - self.at(x, low[1])) / along_y,
        }
    }

    /// The ray through a pixel of the image.
    #[inline]
    pub(crate) fn at(&self, x_px: f32, y_px: f32) -> Vector3<f32> {
        const PER_PX: f32 = 1.0 / STEP_PX as f32;
        let (u, v) = ((x_px * PER_PX).max(0.0), (y_px * PER_PX).max(0.0));
        let (column, row) = (floor_index(u), floor_index(v));
        let first = (row * self.columns + column).min(self.nodes.len() - self.columns - 2);
        let (s, t) = (u - column as f32, v - row as f32);
        let (upper, lower) =
            (&self.nodes[first..first + 2], &self.nodes[first + self.columns..][..2]);
        let along = |axis: usize| {
            let above = upper[0][axis] + s * (upper[1][axis] - upper[0][axis]);
            let below = lower[0][axis] + s * (lower[1][axis] - lower[0][axis]);
            above + t * (below - above)
        };
        Vector3::new(along(0), along(1), 1.0)
    }
}

#[inline]
fn bend([k1, k2, p1, p2, k3, k4, k5, k6]: &[f32; 8], x: f32, y: f32) -> [f32; 2] {
    let r2 = x * x + y * y;
    let radial = (1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1.0 + r2 * (k4 + r2 * (k5 + r2 * k6)));
    [
        x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
        y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
    ]
}

fn bend_equidistant([k1, k2, k3, k4]: &[f32; 4], x: f32, y: f32) -> [f32; 2] {
    let r = x.hypot(y);
    if r <= 0.0 {
        return [x, y];
    }
    let angle = r.atan();
    let t2 = angle * angle;
    let scale = angle * (1.0 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4)))) / r;
    [x * scale, y * scale]
}

/// See [`Rays::near`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct NearRays {
    at_px: [f32; 2],
    ray: Vector3<f32>,
    per_x: Vector3<f32>,
    per_y: Vector3<f32>,
}

impl NearRays {
    #[inline]
    pub(crate) fn at(&self, x_px: f32, y_px: f32) -> Vector3<f32> {
        let (dx, dy) = (x_px - self.at_px[0], y_px - self.at_px[1]);
        Vector3::new(
            self.ray.x + self.per_x.x * dx + self.per_y.x * dy,
            self.ray.y + self.per_x.y * dx + self.per_y.y * dy,
            1.0,
        )
    }
}

fn lens(info: &CameraInfo) -> Lens {
    (info.intrinsics, info.distortion, info.width_px, info.height_px)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_interpolated_ray_is_the_lens_s_own(
            x in 0.0f32..639.0, y in 0.0f32..479.0, k1 in -0.2f64..0.2, p1 in -0.002f64..0.002,
        ) {
            let info = CameraInfo {
                camera_name: "test".into(),
                frame_id: "camera_optical_frame".into(),
                width_px: 640,
                height_px: 480,
                intrinsics: Intrinsics { fx_px: 610.0, fy_px: 612.0, cx_px: 318.0, cy_px: 243.0 },
                distortion: Distortion::plumb_bob([k1, 0.0, p1, 0.0, 0.0]),
            };
            let found = Rays::new(&info).at(x, y);
            let expected = info.ray(f64::from(x), f64::from(y)).cast::<f32>();
            // A tenth of a millimetre at a metre, the corners of a bent lens included.
            prop_assert!((found - expected).norm() < 1e-4, "{found} for {expected}");
        }
    }

    #[test]
    fn every_kind_of_lens_projects_as_its_calibration_does() {
        let lenses = [
            Distortion::plumb_bob([-0.2, 0.05, 0.001, -0.002, 0.01]),
            Distortion::Polynomial([0.5, -2.7, 0.0006, -0.0002, 1.6, 0.4, -2.5, 1.5]),
            Distortion::Equidistant([-0.008, 0.045, -0.042, 0.008]),
        ];
        for distortion in lenses {
            let info = CameraInfo {
                camera_name: "test".into(),
                frame_id: "camera_optical_frame".into(),
                width_px: 640,
                height_px: 480,
                intrinsics: Intrinsics { fx_px: 610.0, fy_px: 612.0, cx_px: 318.0, cy_px: 243.0 },
                distortion,
            };
            let rays = Rays::new(&info);
            for (x, y) in (-5..=5_i8).flat_map(|y| (-5..=5_i8).map(move |x| (x, y))) {
                let (x, y) = (f64::from(x) / 10.0, f64::from(y) / 14.0);
                let expected = info.project(&nalgebra::Point3::new(x, y, 1.0)).unwrap();
                let [u, v] = rays.project(to_f32(x), to_f32(y)).map(f64::from);
                let off = (u - expected.x).hypot(v - expected.y);
                assert!(off < 1e-3, "{off} px at {x}, {y}: {distortion:?}");
                let ray = rays.at(to_f32(expected.x), to_f32(expected.y));
                let off = (f64::from(ray.x) - x).hypot(f64::from(ray.y) - y);
                assert!(off < 1e-3, "{off} at {x}, {y}: {distortion:?}");
            }
        }
    }
}

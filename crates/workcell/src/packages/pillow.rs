//! Two sheets closed at the rim: the shape of mailers and bags.

use std::sync::Arc;

use rapier3d::math::{Vec2, Vec3};

use crate::material::Material;
use crate::mesh::{FACE_BOTTOM, FACE_TOP, Mesh};
use crate::noise;

pub(crate) struct Pillow {
    pub(crate) length_m: f32,
    pub(crate) width_m: f32,
    pub(crate) thickness_m: f32,
    /// Flat rim around the content.
    pub(crate) rim_m: f32,
    /// 1 is a cushion, 6 a nearly even slab.
    pub(crate) squareness: f32,
    /// How unevenly the content lies, as a part of the thickness.
    pub(crate) lumps: f32,
    /// Height of folds.
    pub(crate) folds_m: f32,
    /// How far the outline strays from the rectangle.
    pub(crate) ragged_m: f32,
    pub(crate) seed: u32,
}

const CELLS: u32 = 22;

impl Pillow {
    pub(crate) fn mesh(&self, material: &Arc<Material>) -> Mesh {
        let mut mesh = Mesh::new(material);
        mesh.add_sheet(CELLS, CELLS, FACE_TOP, |s, t| {
            let (position, uv_m) = self.point(s, t, 1.0);
            (position, uv_m)
        });
        mesh.add_sheet(CELLS, CELLS, FACE_BOTTOM, |s, t| self.point(1.0 - s, t, -1.0));
        mesh.smooth_normals();
        mesh
    }

    /// `side` is 1 on the upper sheet and -1 on the lower one.
    fn point(&self, s: f32, t: f32, side: f32) -> (Vec3, Vec2) {
        let (u, v) = (2.0 * s - 1.0, 2.0 * t - 1.0);
        let uv_m = Vec2::new(0.5 * self.length_m * u, 0.5 * self.width_m * v);
        let stray = |p: Vec3, salt: u32| noise::fractal(p, 3, self.seed ^ salt) - 0.5;
        let at = Vec3::new(uv_m.x, uv_m.y, 0.0);
        // Both sheets share the outline, so its noise must not depend on the side.
        let rim = at * 14.0;
        let x = uv_m.x + 2.0 * self.ragged_m * stray(rim, 1) * u.abs().powi(3);
        let y = uv_m.y + 2.0 * self.ragged_m * stray(rim, 2) * v.abs().powi(3);

        let inside_x = 1.0
            - (u.abs() * self.length_m / (self.length_m - 2.0 * self.rim_m))
                .min(1.0)
                .powf(1.0 + self.squareness);
        let inside_y = 1.0
            - (v.abs() * self.width_m / (self.width_m - 2.0 * self.rim_m))
                .min(1.0)
                .powf(1.0 + self.squareness);
        let body = (inside_x * inside_y).max(0.0).powf(0.6);
        let lump = 1.0 + 2.0 * self.lumps * stray(at * 22.0, 3);
        // The content lies on the ground: the lower sheet is flatter than the upper one.
        let share = if side > 0.0 { 0.75 } else { 0.25 };
        let folds = self.folds_m * 2.0 * (noise::creases(at * 26.0, 3, self.seed ^ 5) - 0.45);
        // The whole rim waves up and down.
        let wave = 2.0 * self.folds_m * stray(at * 17.0, 6) * (1.0 - body);
        let rim_gap = if u.abs() >= 1.0 || v.abs() >= 1.0 { 0.0 } else { 0.0006 };
        let z = side * (rim_gap + share * self.thickness_m * body * lump)
            + wave
            + if side > 0.0 { folds * (0.35 + 0.65 * body) } else { 0.0 }
                * (1.0 - u.abs().max(v.abs()).powi(8));
        let uv_m = if side > 0.0 { uv_m } else { Vec2::new(-uv_m.x, uv_m.y) };
        (Vec3::new(x, y, z), uv_m)
    }
}

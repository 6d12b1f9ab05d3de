//! Turns visible triangles into light: a colour for each pixel, linear and unbounded.

use rapier3d::math::Vec3;

use crate::light::{Lighting, RAYS_MAX};
use crate::material::{Material, Surface};
use crate::raster::{NOTHING, Pinhole, Soup, Visibility};
use crate::scene::Scene;

/// Duller surfaces show no highlight.
const GLOSS_MIN: f32 = 0.04;

/// What the sensor model needs to know of a pixel.
pub(crate) struct Shaded {
    /// Linear RGB.
    pub(crate) color: Vec<Vec3>,
    /// How likely a depth camera misses the point, `0..=255`: grazing and mirror-like surfaces are lost.
    pub(crate) hole_risk: Vec<u8>,
}

pub(crate) fn shade(
    scene: &Scene,
    soup: &Soup,
    lighting: &Lighting,
    camera: &Pinhole,
    seen: &Visibility,
) -> Shaded {
    let pixels = seen.triangle.len();
    let mut shaded = Shaded { color: vec![scene.void_color; pixels], hole_risk: vec![255; pixels] };
    let eye = camera.base_from_camera.translation;
    for top in (0..camera.height_px).step_by(2) {
        for left in (0..camera.width_px).step_by(2) {
            let mut shadows = None;
            for (x, y) in [(left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)] {
                let at = (y * camera.width_px + x) as usize;
                if x >= camera.width_px || y >= camera.height_px || seen.triangle[at] == NOTHING {
                    continue;
                }
                let ray = camera.ray(x, y);
                let point = eye + ray / seen.inverse_depth[at];
                let hit = Hit::new(scene, soup, seen.triangle[at], point, -ray);
                let shadows = hit.shadows(&mut shadows, lighting);
                let (color, hole_risk) = hit.color(lighting, shadows);
                shaded.color[at] = color;
                shaded.hole_risk[at] = hole_risk;
            }
        }
    }
    shaded
}

/// The share of each ray of the lighting that arrives. Neighbours on the same surface share it.
struct Shadows {
    part: u16,
    flat_normal: Vec3,
    lit: [f32; RAYS_MAX],
}

struct Hit<'a> {
    material: &'a Material,
    surface: Surface,
    in_base: Vec3,
    part: u16,
    to_eye: Vec3,
    /// The normal of the triangle, towards the eye.
    flat_normal: Vec3,
    normal: Vec3,
}

impl<'a> Hit<'a> {
    fn new(scene: &'a Scene, soup: &Soup, triangle: u32, in_base: Vec3, to_eye: Vec3) -> Hit<'a> {
        let triangle = soup.triangles[triangle as usize];
        let [a, b, c] = triangle.corners.map(|corner| soup.vertices[corner as usize]);
        let (ab, ac, ap) = (b.in_base - a.in_base, c.in_base - a.in_base, in_base - a.in_base);
        let cross = ab.cross(ac);
        let scale = 1.0 / cross.length_squared().max(1e-20);
        let wb = (ap.cross(ac).dot(cross) * scale).clamp(0.0, 1.0);
        let wc = (ab.cross(ap).dot(cross) * scale).clamp(0.0, 1.0);
        let wa = 1.0 - wb - wc;
        let in_part = a.in_part * wa + b.in_part * wb + c.in_part * wc;
        let uv_m = a.uv_m * wa + b.uv_m * wb + c.uv_m * wc;
        let smooth = a.normal_in_base * wa + b.normal_in_base * wb + c.normal_in_base * wc;
        let part = &scene.parts[triangle.part as usize];
        let material = &*part.mesh.material;
        let turn = part.pose.rotation;
        let smooth_in_part = turn.inverse() * smooth.try_normalize().unwrap_or(Vec3::Z);
        let surface = material.surface(in_part, smooth_in_part, uv_m, triangle.face);
        // Both sides of a sheet are visible, so the normals turn towards the eye.
        let to_eye = to_eye.normalize();
        let flat = cross.try_normalize().unwrap_or(Vec3::Z);
        let flat_normal = if flat.dot(to_eye) < 0.0 { -flat } else { flat };
        let bent = turn * surface.normal;
        let normal = if bent.dot(flat_normal) < 0.0 { -bent } else { bent };
        Hit { material, surface, in_base, part: triangle.part, to_eye, flat_normal, normal }
    }

    /// The shadows of a neighbour if it lies on the same surface, otherwise this point's own.
    fn shadows<'s>(
        &self,
        near: &'s mut Option<Shadows>,
        lighting: &Lighting,
    ) -> &'s [f32; RAYS_MAX] {
        let same = |near: &Shadows| {
            near.part == self.part && near.flat_normal.dot(self.flat_normal) > 0.97
        };
        if !near.as_ref().is_some_and(same) {
            let mut lit = [0.0; RAYS_MAX];
            for (lit, ray) in lit.iter_mut().zip(&lighting.rays) {
                // Relief can face a light that the surface as a whole just misses.
                if self.flat_normal.dot(ray.to_light) > -0.25 {
                    *lit = ray.lit(self.in_base, self.flat_normal);
                }
            }
            *near = Some(Shadows { part: self.part, flat_normal: self.flat_normal, lit });
        }
        &near.as_ref().expect("set above").lit
    }

    fn color(&self, lighting: &Lighting, shadows: &[f32; RAYS_MAX]) -> (Vec3, u8) {
        let (to_eye, flat) = (self.to_eye, self.flat_normal);
        let mut normal = self.normal;
        let facing = normal.dot(to_eye);
        if facing < 0.02 {
            normal = (normal + to_eye * (0.02 - facing)).normalize();
        }
        let gloss = self.surface.gloss;
        // The exponent is a power of two, so that squaring does the work of `powf`.
        let squarings = (1.5 + 7.0 * gloss) as u32;
        let peak_scale = 0.5 * f32::from(1_u16 << squarings) / 8.0 + 0.6;
        let way = 2.0 * normal.dot(to_eye) * normal - to_eye;
        let wrap = 0.5 * self.material.translucency;
        let mut diffuse = lighting.ambient * (0.75 + 0.25 * normal.z);
        let mut highlight = Vec3::ZERO;
        let mut sky_open = 0.0;
        let mut sky_rays = 0.0;
        for (ray, &lit) in lighting.rays.iter().zip(shadows) {
            let slant = (normal.dot(ray.to_light) + wrap) / (1.0 + wrap);
            diffuse += ray.color * (slant.max(0.0) * lit);
            if ray.is_lamp {
                let along = way.dot(ray.to_light);
                if along > 0.3 && lit > 0.0 && gloss > GLOSS_MIN {
                    let peak = (0..squarings).fold(along, |power, _| power * power);
                    highlight += ray.color * (peak * lit * peak_scale);
                }
            } else {
                sky_open += lit;
                sky_rays += 1.0;
            }
        }
        let body = if self.material.metallic { 0.15 } else { 1.0 };
        let matt = self.surface.color * diffuse * body;
        if gloss <= GLOSS_MIN {
            return (matt, self.hole_risk(flat.dot(to_eye), 0.0));
        }
        let open = 0.25 + 0.75 * sky_open / f32::max(sky_rays, 1.0);
        let facing = normal.dot(to_eye).clamp(0.0, 1.0);
        let base_reflectance =
            if self.material.metallic { self.surface.color } else { Vec3::splat(0.04) };
        let fresnel =
            base_reflectance + (Vec3::ONE - base_reflectance) * (1.0 - facing).powi(5) * gloss;
        let mirrored = lighting.reflected(way, 1.0 - gloss) * open;
        let shine = fresnel * (mirrored * gloss + highlight * (0.15 * gloss));
        (matt + shine, self.hole_risk(flat.dot(to_eye), shine.max_element()))
    }

    fn hole_risk(&self, facing: f32, shine: f32) -> u8 {
        let grazing = ((0.28 - facing) / 0.2).clamp(0.0, 1.0);
        let glare = ((shine - 0.35) / 0.6).clamp(0.0, 1.0);
        let clear = 0.5 * self.material.translucency * self.surface.gloss;
        (255.0 * (grazing + glare + clear).min(1.0)) as u8
    }
}

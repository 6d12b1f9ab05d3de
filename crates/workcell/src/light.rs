//! Lamps and sky, and the shadows they cast.
//!
//! An area lamp is a handful of parallel lights that differ a little in direction, the sky a handful
//! that differ a lot; each has a shadow map of its own, so penumbrae and dark corners come by
//! themselves.

use rapier3d::math::{Rotation, Vec3};

use crate::random::Rng;
use crate::raster::{ScreenSize, Soup, spans};
use crate::scene::Scene;

pub(crate) struct Lighting {
    pub(crate) rays: Vec<Ray>,
    /// Light from everywhere, shadowed by nothing: what walls and neighbours throw back.
    pub(crate) ambient: Vec3,
    pub(crate) sky: Vec3,
    pub(crate) ground: Vec3,
    /// Bright shapes that gloss reflects.
    pub(crate) lamps: Vec<Lamp>,
}

pub(crate) struct Ray {
    pub(crate) to_light: Vec3,
    pub(crate) color: Vec3,
    /// The ray belongs to a lamp, which makes highlights, and not to the sky.
    pub(crate) is_lamp: bool,
    shadow: ShadowMap,
}

/// A soft-edged rectangle at infinity.
pub(crate) struct Lamp {
    pub(crate) center: Vec3,
    pub(crate) side: Vec3,
    pub(crate) up: Vec3,
    pub(crate) half_width: f32,
    pub(crate) half_height: f32,
    pub(crate) color: Vec3,
}

const LAMP_RAYS: u32 = 5;
const LAMPS_MAX: u32 = 2;
const SKY_RAYS: u32 = 10;
pub(crate) const RAYS_MAX: usize = (LAMPS_MAX * LAMP_RAYS + SKY_RAYS) as usize;
const LAMP_MAP_PX: u32 = 448;
const SKY_MAP_PX: u32 = 192;

impl Lighting {
    pub(crate) fn random(rng: &mut Rng, scene: &Scene, soup: &Soup) -> Lighting {
        let mut rays = Vec::new();
        let mut lamps = Vec::new();
        // Share of the light that comes from the sky or ceiling: 1 is an overcast day.
        let softness = rng.within(0.2..1.0);
        let warmth = rng.around(0.18);
        let tint = Vec3::new(1.0 + warmth, 1.0, 1.0 - warmth);
        for lamp in 0..rng.count(1, LAMPS_MAX) {
            let strength =
                (1.0 - 0.85 * softness) * if lamp == 0 { 2.6 } else { rng.within(0.2..1.2) };
            let size = rng.within_log(0.03..0.45);
            let elevation = rng.within(0.45..1.5);
            let to_lamp = direction(rng.within(0.0..std::f32::consts::TAU), elevation);
            let color = tint * strength;
            for _ in 0..LAMP_RAYS {
                let to_light = (to_lamp + 0.7 * size * rng.direction()).normalize();
                let shadow = ShadowMap::new(scene, soup, to_light, LAMP_MAP_PX);
                rays.push(Ray { to_light, color: color / LAMP_RAYS as f32, is_lamp: true, shadow });
            }
            lamps.push(Lamp::new(to_lamp, size.max(0.08), size.max(0.08), color * 7.0));
        }
        for _ in 0..rng.count(0, 4) {
            let to_lamp = direction(rng.within(0.0..std::f32::consts::TAU), rng.within(0.3..1.5));
            let strength = rng.within(1.0..5.0);
            lamps.push(Lamp::new(
                to_lamp,
                rng.within(0.08..0.7),
                rng.within(0.05..0.2),
                tint * strength,
            ));
        }
        let cool = rng.around(0.12);
        let sky = Vec3::new(1.0 - cool, 1.0, 1.0 + cool) * (0.35 + 0.65 * softness);
        let turn = rng.within(0.0..std::f32::consts::TAU);
        for index in 0..SKY_RAYS {
            // A spiral of equal solid angles over the upper hemisphere.
            let height = (index as f32 + 0.7) / SKY_RAYS as f32;
            let to_light = direction(turn + 2.4 * index as f32, height.asin());
            let shadow = ShadowMap::new(scene, soup, to_light, SKY_MAP_PX);
            rays.push(Ray {
                to_light,
                color: sky * (1.7 / SKY_RAYS as f32),
                is_lamp: false,
                shadow,
            });
        }
        let ambient = (sky + 0.2 * tint) * rng.within(0.1..0.3);
        Lighting { rays, ambient, sky, ground: sky * rng.within(0.1..0.4), lamps }
    }

    /// What a mirror facing this way would show; `blur` in `0.0..1.0`.
    pub(crate) fn reflected(&self, way: Vec3, blur: f32) -> Vec3 {
        let up = (0.5 + way.z / (0.35 + 1.2 * blur)).clamp(0.0, 1.0);
        let around = self.ground.lerp(self.sky, up);
        self.lamps.iter().fold(around, |sum, lamp| sum + lamp.seen(way, blur))
    }
}

fn direction(azimuth: f32, elevation: f32) -> Vec3 {
    let (sin, cos) = elevation.sin_cos();
    Vec3::new(cos * azimuth.cos(), cos * azimuth.sin(), sin)
}

impl Lamp {
    fn new(center: Vec3, half_width: f32, half_height: f32, color: Vec3) -> Lamp {
        let turn = Rotation::from_rotation_arc(Vec3::Z, center);
        Lamp { center, side: turn * Vec3::X, up: turn * Vec3::Y, half_width, half_height, color }
    }

    fn seen(&self, way: Vec3, blur: f32) -> Vec3 {
        let ahead = way.dot(self.center);
        if ahead <= 0.05 {
            return Vec3::ZERO;
        }
        let edge = 0.03 + 0.9 * blur;
        let inside = |offset: f32, half: f32| {
            (0.5 - (offset.abs() / ahead - half) / (2.0 * edge)).clamp(0.0, 1.0)
        };
        let width = inside(way.dot(self.side), self.half_width);
        let height = inside(way.dot(self.up), self.half_height);
        // The same light over a larger patch.
        let spread = (self.half_width / (self.half_width + edge))
            * (self.half_height / (self.half_height + edge));
        self.color * width * height * spread
    }
}

/// Heights towards the light of the first surface hit, over a square around the scene's focus.
struct ShadowMap {
    size_px: u32,
    side: Vec3,
    up: Vec3,
    to_light: Vec3,
    center: Vec3,
    px_per_m: f32,
    heights_m: Vec<f32>,
}

impl ShadowMap {
    fn new(scene: &Scene, soup: &Soup, to_light: Vec3, size_px: u32) -> ShadowMap {
        let turn = Rotation::from_rotation_arc(Vec3::Z, to_light);
        let mut map = ShadowMap {
            size_px,
            side: turn * Vec3::X,
            up: turn * Vec3::Y,
            to_light,
            center: scene.focus,
            px_per_m: 0.5 * size_px as f32 / scene.focus_radius_m,
            heights_m: vec![f32::MIN; (size_px * size_px) as usize],
        };
        let placed: Vec<Vec3> =
            soup.vertices.iter().map(|vertex| map.place(vertex.in_base)).collect();
        let screen = ScreenSize { width_px: size_px, height_px: size_px };
        for triangle in soup.triangles.iter().filter(|triangle| triangle.casts_shadow) {
            let points = triangle.corners.map(|corner| placed[corner as usize]);
            spans(points, screen, |row, columns, key, slope| {
                let start = row * size_px as usize;
                let mut key = key;
                for height in &mut map.heights_m[start + columns.start..start + columns.end] {
                    *height = height.max(key);
                    key += slope;
                }
            });
        }
        map
    }

    fn place(&self, in_base: Vec3) -> Vec3 {
        let p = in_base - self.center;
        let half = 0.5 * self.size_px as f32;
        Vec3::new(
            self.side.dot(p) * self.px_per_m + half,
            self.up.dot(p) * self.px_per_m + half,
            self.to_light.dot(p),
        )
    }
}

impl Ray {
    /// The share of the light that arrives, `0.0..=1.0`: the share of four map pixels that are lit,
    /// weighted by nearness.
    pub(crate) fn lit(&self, in_base: Vec3, normal: Vec3) -> f32 {
        let map = &self.shadow;
        let pixel_m = 1.0 / map.px_per_m;
        let slope = 1.0 - normal.dot(self.to_light).clamp(0.0, 1.0);
        let at = map.place(in_base + normal * (0.0015 + pixel_m * (0.4 + 0.8 * slope)));
        let size = map.size_px as i32;
        if at.x < 0.0 || at.y < 0.0 {
            return 1.0;
        }
        let (x, y) = (at.x as i32, at.y as i32);
        if x + 1 >= size || y + 1 >= size {
            return 1.0;
        }
        let height = at.z + 0.001 + 0.5 * pixel_m;
        let first = (y * size + x) as usize;
        let open = |index: usize| if map.heights_m[index] <= height { 1.0 } else { 0.0 };
        let (fx, fy) = (at.x - x as f32, at.y - y as f32);
        let near = open(first) * (1.0 - fx) + open(first + 1) * fx;
        let far = open(first + size as usize) * (1.0 - fx) + open(first + size as usize + 1) * fx;
        near * (1.0 - fy) + far * fy
    }
}

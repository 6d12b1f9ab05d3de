//! What a surface looks like at a point: colour, gloss and small relief.
//!
//! # Conventions
//! Colours are linear RGB reflectances, `0.0..=1.0`; positions and normals are in the frame of the
//! object that carries the material; `uv_m` are metres on the face.

use std::sync::{Arc, LazyLock};

use rapier3d::math::{Vec2, Vec3};

use crate::noise;
use crate::print::Picture;

#[derive(Clone, Debug)]
pub(crate) struct Material {
    pub(crate) base: Vec3,
    /// Second colour of the pattern.
    pub(crate) accent: Vec3,
    pub(crate) pattern: Pattern,
    pub(crate) pattern_size_m: f32,
    /// Strength of slow changes of brightness over the surface, `0.0..1.0`.
    pub(crate) mottling: f32,
    /// `0.0` matt, `1.0` like glass.
    pub(crate) gloss: f32,
    pub(crate) metallic: bool,
    pub(crate) relief: Relief,
    pub(crate) relief_size_m: f32,
    /// Slope of the relief.
    pub(crate) relief_strength: f32,
    /// How far light wraps around, as in thin film: `0.0..1.0`.
    pub(crate) translucency: f32,
    pub(crate) decals: Vec<Decal>,
    pub(crate) seed: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    Plain,
    /// Two colours mixed by fractal noise.
    Clouds,
    Planks,
    Tiles,
    Bricks,
    Stripes,
    Checker,
    Speckle,
    /// Ribs of corrugated board showing through.
    Ribs,
    /// A photograph laid over the face again and again.
    Photo(Arc<Picture>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relief {
    Smooth,
    /// Random fine grain: concrete, cloth, carpet.
    Grain,
    /// Crumpled film or paper.
    Creases,
    /// Bubble wrap under or as the surface.
    Bubbles,
}

/// A picture stuck on a face.
#[derive(Clone, Debug)]
pub(crate) struct Decal {
    pub(crate) face: u8,
    pub(crate) center_m: Vec2,
    pub(crate) half_m: Vec2,
    pub(crate) angle: f32,
    pub(crate) picture: Arc<Picture>,
    /// `None` keeps the gloss of what is under it.
    pub(crate) gloss: Option<f32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Surface {
    pub(crate) color: Vec3,
    pub(crate) gloss: f32,
    pub(crate) normal: Vec3,
}

static LINEAR: LazyLock<[f32; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let s = byte as f32 / 255.0;
        if s <= 0.04045 { s / 12.92 } else { ((s + 0.055) / 1.055).powf(2.4) }
    })
});

/// Linear RGB from the bytes that an image editor shows.
pub(crate) fn srgb(r: u8, g: u8, b: u8) -> Vec3 {
    let linear = &*LINEAR;
    Vec3::new(linear[r as usize], linear[g as usize], linear[b as usize])
}

impl Material {
    pub(crate) fn plain(base: Vec3, gloss: f32, seed: u32) -> Material {
        Material {
            base,
            accent: base,
            pattern: Pattern::Plain,
            pattern_size_m: 0.1,
            mottling: 0.1,
            gloss,
            metallic: false,
            relief: Relief::Smooth,
            relief_size_m: 0.01,
            relief_strength: 0.0,
            translucency: 0.0,
            decals: Vec::new(),
            seed,
        }
    }

    pub(crate) fn surface(&self, position: Vec3, normal: Vec3, uv_m: Vec2, face: u8) -> Surface {
        let mut color = self.pattern_color(position, uv_m);
        if self.mottling > 0.0 {
            let shade = noise::fractal(position * 9.0, 2, self.seed) - 0.5;
            let fine = noise::value(position * 160.0, self.seed ^ 0x55) - 0.5;
            color *= 1.0 + self.mottling * (2.0 * shade + 0.5 * fine);
        }
        let mut gloss = self.gloss;
        for decal in self.decals.iter().filter(|decal| decal.face == face) {
            if let Some((paint, cover)) = decal.at(uv_m) {
                color = color.lerp(paint, cover);
                gloss += (decal.gloss.unwrap_or(gloss) - gloss) * cover;
            }
        }
        Surface { color: color.max(Vec3::ZERO), gloss, normal: self.bent_normal(position, normal) }
    }

    fn pattern_color(&self, position: Vec3, uv_m: Vec2) -> Vec3 {
        let scaled = uv_m / self.pattern_size_m;
        match &self.pattern {
            Pattern::Plain => self.base,
            Pattern::Clouds => {
                let t = noise::fractal(position / self.pattern_size_m, 3, self.seed);
                self.base.lerp(self.accent, ((t - 0.5) * 2.2 + 0.5).clamp(0.0, 1.0))
            }
            Pattern::Planks => self.planks(scaled),
            Pattern::Tiles => self.blocks(scaled, 1.0, 0.0, 0.02),
            Pattern::Bricks => self.blocks(scaled, 3.0, 0.5, 0.06),
            Pattern::Stripes => {
                self.base.lerp(self.accent, if scaled.x.rem_euclid(1.0) < 0.5 { 1.0 } else { 0.0 })
            }
            Pattern::Checker => {
                let odd = (scaled.x.floor() as i32 + scaled.y.floor() as i32) & 1;
                if odd == 0 { self.base } else { self.accent }
            }
            Pattern::Speckle => {
                let t = noise::value(position / self.pattern_size_m, self.seed);
                self.base.lerp(self.accent, ((t - 0.62) * 9.0).clamp(0.0, 1.0))
            }
            Pattern::Ribs => {
                let wave = (std::f32::consts::TAU * scaled.x).sin();
                self.base * (1.0 + 0.05 * wave)
            }
            Pattern::Photo(picture) => {
                let aspect = picture.height as f32 / picture.width as f32;
                // Mirrored at each edge, so that no seam shows.
                let fold = |t: f32| (t.rem_euclid(2.0) - 1.0).abs();
                let [r, g, b, _] = picture.at(fold(scaled.x), fold(scaled.y / aspect));
                self.base * srgb(r, g, b)
            }
        }
    }

    fn planks(&self, scaled: Vec2) -> Vec3 {
        let row = scaled.y.floor();
        let shift = noise::cell(row as i32, 3, self.seed);
        let along = scaled.x / 9.0 + 5.0 * shift;
        let tone = noise::cell(row as i32, along.floor() as i32, self.seed ^ 0x77);
        let grain_at = Vec3::new(scaled.x * 0.35, scaled.y * 7.0 + 31.0 * tone, tone * 57.0);
        let grain = noise::fractal(grain_at, 3, self.seed);
        let seam = (scaled.y - row).min(row + 1.0 - scaled.y) < 0.025
            || (along - along.floor()) * 9.0 < 0.03;
        let color = self.base.lerp(self.accent, (0.55 * grain + 0.45 * tone).clamp(0.0, 1.0));
        if seam { color * 0.35 } else { color }
    }

    fn blocks(&self, scaled: Vec2, aspect: f32, bond: f32, joint: f32) -> Vec3 {
        let v = scaled.y * aspect;
        let row = v.floor();
        let u = scaled.x + bond * row;
        let column = u.floor();
        let tone = noise::cell(column as i32, row as i32, self.seed);
        let near_u = (u - column).min(column + 1.0 - u);
        let near_v = (v - row).min(row + 1.0 - v) / aspect;
        if near_u.min(near_v) < 0.5 * joint {
            return self.accent;
        }
        let grain = noise::fractal(Vec3::new(u * 4.0, v * 4.0, tone * 50.0), 2, self.seed);
        self.base * (0.75 + 0.25 * tone + 0.25 * grain)
    }

    fn bent_normal(&self, position: Vec3, normal: Vec3) -> Vec3 {
        if self.relief == Relief::Smooth || self.relief_strength <= 0.0 {
            return normal;
        }
        let p = position / self.relief_size_m;
        let height = |q: Vec3| match self.relief {
            Relief::Smooth => 0.0,
            Relief::Grain => noise::fractal(q, 2, self.seed ^ 0x1234),
            Relief::Creases => noise::creases(q, 3, self.seed ^ 0x4321),
            Relief::Bubbles => bubble(q),
        };
        const STEP: f32 = 0.12;
        let here = height(p);
        let slope = Vec3::new(
            height(p + Vec3::X * STEP) - here,
            height(p + Vec3::Y * STEP) - here,
            height(p + Vec3::Z * STEP) - here,
        ) / STEP;
        let along = slope - normal * slope.dot(normal);
        (normal - self.relief_strength * along).try_normalize().unwrap_or(normal)
    }
}

/// Round bumps on a hexagonal lattice in x and y.
fn bubble(p: Vec3) -> f32 {
    let row = (p.y / 0.866).round();
    let shift = if row.rem_euclid(2.0) < 0.5 { 0.0 } else { 0.5 };
    let dx = p.x - shift - (p.x - shift).round();
    let dy = p.y - row * 0.866;
    (0.2 - dx * dx - dy * dy).max(0.0) * 4.0
}

impl Decal {
    /// Colour and cover (`0.0..=1.0`) at a point of the face, `None` beside the decal.
    fn at(&self, uv_m: Vec2) -> Option<(Vec3, f32)> {
        let (sin, cos) = self.angle.sin_cos();
        let d = uv_m - self.center_m;
        let local = Vec2::new(cos * d.x + sin * d.y, cos * d.y - sin * d.x) / self.half_m;
        if local.x.abs() >= 1.0 || local.y.abs() >= 1.0 {
            return None;
        }
        let [r, g, b, a] = self.picture.at(0.5 + 0.5 * local.x, 0.5 - 0.5 * local.y);
        (a > 0).then(|| (srgb(r, g, b), f32::from(a) / 255.0))
    }
}

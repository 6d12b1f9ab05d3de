//! Materials of floors, walls, belts, totes and furniture.

use std::sync::Arc;

use rapier3d::math::Vec3;

use crate::material::{Material, Pattern, Relief, srgb};
use crate::packages::Photos;
use crate::print;
use crate::random::Rng;

type Rgb = [u8; 3];

fn tone(rng: &mut Rng, choices: &[Rgb]) -> Vec3 {
    let [r, g, b] = *rng.pick(choices);
    srgb(r, g, b) * rng.within(0.75..1.2)
}

fn patterned(
    rng: &mut Rng,
    base: Vec3,
    accent: Vec3,
    pattern: Pattern,
    size_m: f32,
    gloss: f32,
) -> Material {
    let mut material = Material::plain(base, gloss, rng.word());
    material.accent = accent;
    material.pattern = pattern;
    material.pattern_size_m = size_m;
    material.mottling = rng.within(0.05..0.25);
    material
}

const STONE: [Rgb; 6] = [
    [128, 126, 122],
    [160, 156, 150],
    [96, 94, 92],
    [186, 180, 170],
    [146, 130, 112],
    [70, 72, 76],
];
const WOOD: [Rgb; 6] =
    [[178, 130, 82], [120, 78, 46], [206, 170, 124], [92, 62, 40], [150, 112, 80], [196, 186, 172]];
const PAINT: [Rgb; 10] = [
    [226, 222, 212],
    [200, 204, 208],
    [176, 190, 180],
    [214, 196, 170],
    [120, 130, 140],
    [70, 84, 100],
    [160, 70, 60],
    [60, 96, 80],
    [240, 238, 234],
    [44, 46, 50],
];
const CARPET: [Rgb; 7] = [
    [112, 104, 96],
    [84, 88, 98],
    [150, 136, 118],
    [96, 50, 46],
    [60, 70, 62],
    [176, 168, 158],
    [50, 52, 66],
];

fn photo(rng: &mut Rng, photos: &Photos, probability: f32) -> Option<Material> {
    if photos.is_empty() || !rng.chance(probability) {
        return None;
    }
    let picture = Arc::clone(rng.pick(photos));
    let base = Vec3::new(rng.within(0.5..1.1), rng.within(0.5..1.1), rng.within(0.5..1.1));
    let size_m = rng.within_log(0.25..2.0);
    Some(patterned(rng, base, base, Pattern::Photo(picture), size_m, 0.05))
}

fn woven(rng: &mut Rng) -> Material {
    let base = tone(rng, &CARPET);
    let accent = base * rng.within(0.4..1.6);
    let size_m = rng.within_log(0.004..0.3);
    let pattern = if rng.chance(0.6) { Pattern::Clouds } else { Pattern::Speckle };
    let mut carpet = patterned(rng, base, accent, pattern, size_m, 0.0);
    carpet.relief = Relief::Grain;
    carpet.relief_size_m = rng.within(0.003..0.01);
    carpet.relief_strength = rng.within(0.1..0.5);
    carpet
}

pub(crate) fn floor(rng: &mut Rng, photos: &Photos) -> Arc<Material> {
    if let Some(material) = photo(rng, photos, 0.08) {
        return Arc::new(material);
    }
    let gloss = rng.within(0.0..0.5);
    let material = match rng.weighted(&[0.28, 0.18, 0.2, 0.14, 0.08, 0.12]) {
        0 => {
            let base = tone(rng, &STONE);
            let accent = base * rng.within(0.5..0.9);
            let size_m = rng.within_log(0.02..1.2);
            patterned(rng, base, accent, Pattern::Clouds, size_m, gloss * 0.7)
        }
        1 => {
            let base = if rng.chance(0.5) { tone(rng, &STONE) } else { tone(rng, &PAINT) };
            let accent = base * rng.within(0.3..1.4);
            let size_m = rng.within_log(0.06..0.8);
            patterned(rng, base, accent, Pattern::Tiles, size_m, gloss)
        }
        2 => {
            let base = tone(rng, &WOOD);
            let accent = base * rng.within(0.55..0.9);
            let size_m = rng.within(0.05..0.2);
            patterned(rng, base, accent, Pattern::Planks, size_m, gloss)
        }
        3 => woven(rng),
        4 => {
            let base = tone(rng, &[[150, 84, 66], [130, 120, 110], [176, 130, 100], [120, 70, 60]]);
            let accent = tone(rng, &STONE);
            let size_m = rng.within(0.12..0.26);
            patterned(rng, base, accent, Pattern::Bricks, size_m, 0.0)
        }
        _ => {
            // Gravel, asphalt, terrazzo, grass.
            let base = if rng.chance(0.25) { srgb(86, 110, 52) } else { tone(rng, &STONE) };
            let accent = base * rng.within(0.4..1.9);
            let size_m = rng.within_log(0.004..0.03);
            let mut ground = patterned(rng, base, accent, Pattern::Speckle, size_m, 0.02);
            ground.relief = Relief::Grain;
            ground.relief_size_m = rng.within(0.004..0.02);
            ground.relief_strength = rng.within(0.1..0.6);
            ground
        }
    };
    Arc::new(material)
}

pub(crate) fn wall(rng: &mut Rng, photos: &Photos) -> Arc<Material> {
    if let Some(material) = photo(rng, photos, 0.08) {
        return Arc::new(material);
    }
    let base = tone(rng, &PAINT);
    let material = match rng.below(4) {
        0 => {
            let brick =
                tone(rng, &[[150, 84, 66], [190, 180, 166], [120, 110, 104], [226, 222, 216]]);
            let joint = tone(rng, &STONE);
            let size_m = rng.within(0.18..0.45);
            patterned(rng, brick, joint, Pattern::Bricks, size_m, 0.0)
        }
        1 => {
            let accent = base * rng.within(0.6..0.92);
            let size_m = rng.within(0.08..0.25);
            patterned(rng, base, accent, Pattern::Planks, size_m, 0.1)
        }
        _ => {
            let accent = base * rng.within(0.75..1.0);
            let size_m = rng.within(0.1..1.0);
            patterned(rng, base, accent, Pattern::Clouds, size_m, gloss_of_paint(base))
        }
    };
    Arc::new(material)
}

/// Dark paint is usually the glossier one.
fn gloss_of_paint(base: Vec3) -> f32 {
    (0.25 - 0.2 * base.y).clamp(0.02, 0.2)
}

pub(crate) fn belt(rng: &mut Rng) -> Arc<Material> {
    let base = tone(
        rng,
        &[
            [40, 42, 44],
            [58, 60, 62],
            [30, 60, 52],
            [44, 70, 120],
            [196, 196, 192],
            [110, 112, 114],
            [60, 110, 80],
        ],
    );
    let gloss = rng.within(0.02..0.4);
    let material = match rng.below(4) {
        0 => {
            let accent = base * rng.within(0.5..0.85);
            let size_m = rng.within(0.02..0.08);
            patterned(rng, base, accent, Pattern::Stripes, size_m, gloss)
        }
        1 => {
            // Rollers.
            let base = srgb(170, 172, 176) * rng.within(0.5..1.0);
            let size_m = rng.within(0.06..0.12);
            patterned(rng, base, base * 0.25, Pattern::Stripes, size_m, 0.5)
        }
        2 => {
            let accent = base * rng.within(0.4..1.4);
            let size_m = rng.within_log(0.003..0.05);
            patterned(rng, base, accent, Pattern::Checker, size_m, gloss)
        }
        _ => {
            let accent = base * rng.within(0.7..1.3);
            let size_m = rng.within_log(0.01..0.5);
            patterned(rng, base, accent, Pattern::Clouds, size_m, gloss)
        }
    };
    Arc::new(material)
}

pub(crate) fn tote(rng: &mut Rng) -> Arc<Material> {
    let base = tone(
        rng,
        &[
            [40, 80, 160],
            [44, 100, 190],
            [120, 124, 130],
            [70, 72, 76],
            [190, 40, 40],
            [230, 190, 60],
            [50, 120, 70],
            [220, 220, 218],
            [30, 32, 36],
        ],
    );
    let mut material = Material::plain(base, rng.within(0.1..0.5), rng.word());
    material.mottling = rng.within(0.03..0.12);
    Arc::new(material)
}

pub(crate) fn pallet_wood(rng: &mut Rng) -> Arc<Material> {
    let base = tone(
        rng,
        &[[196, 166, 120], [170, 140, 104], [150, 132, 112], [40, 66, 130], [120, 104, 88]],
    );
    let accent = base * rng.within(0.5..0.8);
    let size_m = rng.within(0.05..0.3);
    let mut wood = patterned(rng, base, accent, Pattern::Clouds, size_m, 0.02);
    wood.mottling = 0.3;
    Arc::new(wood)
}

pub(crate) fn table_top(rng: &mut Rng, photos: &Photos) -> Arc<Material> {
    if let Some(material) = photo(rng, photos, 0.1) {
        return Arc::new(material);
    }
    let gloss = rng.within(0.0..0.6);
    let material = match rng.below(5) {
        0 | 1 => {
            let base = tone(rng, &WOOD);
            let accent = base * rng.within(0.6..0.9);
            let size_m = rng.within(0.04..0.16);
            patterned(rng, base, accent, Pattern::Planks, size_m, gloss)
        }
        2 => {
            let base =
                tone(rng, &[[240, 238, 234], [220, 220, 220], [60, 60, 62], [200, 190, 170]]);
            patterned(rng, base, base * 0.85, Pattern::Clouds, 0.4, gloss)
        }
        3 => {
            let base = tone(rng, &STONE);
            let accent = base * rng.within(0.4..1.6);
            let size_m = rng.within_log(0.005..0.2);
            patterned(rng, base, accent, Pattern::Clouds, size_m, gloss)
        }
        _ => {
            let mut cloth = woven(rng);
            cloth.base = tone(rng, &PAINT);
            if rng.chance(0.5) {
                cloth.pattern = Pattern::Checker;
                cloth.pattern_size_m = rng.within(0.01..0.06);
            }
            cloth
        }
    };
    Arc::new(material)
}

pub(crate) fn frame_metal(rng: &mut Rng) -> Arc<Material> {
    let base = tone(
        rng,
        &[
            [150, 152, 156],
            [60, 62, 66],
            [200, 202, 204],
            [44, 84, 150],
            [220, 170, 40],
            [90, 110, 100],
        ],
    );
    let mut metal = Material::plain(base, rng.within(0.2..0.7), rng.word());
    metal.metallic = rng.chance(0.4);
    Arc::new(metal)
}

pub(crate) fn rack_paint(rng: &mut Rng) -> Arc<Material> {
    let base = tone(
        rng,
        &[
            [216, 96, 40],
            [40, 70, 140],
            [120, 124, 128],
            [230, 180, 50],
            [60, 100, 80],
            [180, 182, 184],
        ],
    );
    Arc::new(Material::plain(base, rng.within(0.1..0.5), rng.word()))
}

pub(crate) fn mat(rng: &mut Rng, photos: &Photos) -> Arc<Material> {
    if let Some(material) = photo(rng, photos, 0.1) {
        return Arc::new(material);
    }
    let mut mat = woven(rng);
    match rng.below(3) {
        0 => {
            mat.base = tone(rng, &[[150, 116, 72], [130, 96, 60]]);
            mat.accent = mat.base * 0.7;
        }
        1 => {
            mat.pattern = Pattern::Stripes;
            mat.pattern_size_m = rng.within(0.02..0.2);
        }
        _ => {}
    }
    Arc::new(mat)
}

/// Doors, cupboards, machines, posters: anything large in the background that is no package.
pub(crate) fn furniture(rng: &mut Rng, photos: &Photos) -> Arc<Material> {
    if let Some(material) = photo(rng, photos, 0.08) {
        return Arc::new(material);
    }
    let gloss = rng.within(0.02..0.6);
    let material = match rng.below(6) {
        0 | 1 => {
            let base = tone(rng, &PAINT);
            Material::plain(base, gloss, rng.word())
        }
        2 | 3 => {
            let base = tone(rng, &WOOD);
            let accent = base * rng.within(0.6..0.9);
            let size_m = rng.within(0.05..0.4);
            patterned(rng, base, accent, Pattern::Planks, size_m, gloss)
        }
        4 => {
            let picture = Arc::new(print::artwork(rng));
            let size_m = rng.within(0.4..1.2);
            patterned(rng, Vec3::ONE, Vec3::ONE, Pattern::Photo(picture), size_m, gloss)
        }
        _ => {
            let base = tone(rng, &[[30, 32, 36], [60, 60, 64], [150, 152, 156]]);
            Material::plain(base, gloss, rng.word())
        }
    };
    Arc::new(material)
}

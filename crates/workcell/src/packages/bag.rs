//! Poly bags: crumpled, glossy, coloured or translucent film around something soft.

use std::sync::Arc;

use magpie_perception::PackageType;
use rapier3d::math::{Vec2, Vec3};

use super::boxes::stick_label;
use super::model::{Model, Photos};
use super::pillow::Pillow;
use crate::material::{Decal, Material, Pattern, Relief, srgb};
use crate::mesh::FACE_TOP;
use crate::print::{self, BLACK, WHITE};
use crate::random::Rng;

pub(super) fn random_bag(rng: &mut Rng, photos: &Photos) -> Model {
    let length_m = rng.within_log(0.14..0.5);
    let width_m = length_m * rng.within(0.5..1.0);
    let pillow = Pillow {
        length_m,
        width_m,
        thickness_m: rng.within_log(0.012..0.14).min(0.45 * width_m),
        rim_m: rng.within(0.01..0.16) * width_m,
        squareness: rng.within(0.6..2.5),
        lumps: rng.within(0.3..1.2),
        folds_m: rng.within(0.002..0.012),
        ragged_m: rng.within(0.004..0.03),
        seed: rng.word(),
    };
    let mut material = film(rng, photos);
    dress(rng, length_m, width_m, &mut material);
    Model::new(PackageType::PolyBag, vec![pillow.mesh(&Arc::new(material))])
}

fn film(rng: &mut Rng, photos: &Photos) -> Material {
    let mut material = Material::plain(Vec3::ONE, rng.within(0.35..0.95), rng.word());
    match rng.weighted(&[0.26, 0.17, 0.12, 0.2, 0.25]) {
        0 => material.base = srgb(236, 236, 238) * rng.within(0.75..1.0),
        1 => material.base = srgb(128, 134, 142) * rng.within(0.4..1.3),
        2 => material.base = srgb(26, 26, 30) * rng.within(0.7..1.8),
        3 => {
            let [r, g, b] = *rng.pick(&[
                [30, 70, 160],
                [60, 140, 210],
                [210, 60, 110],
                [240, 160, 190],
                [60, 150, 90],
                [230, 190, 50],
                [220, 100, 40],
                [110, 60, 140],
                [150, 210, 200],
            ]);
            material.base = srgb(r, g, b) * rng.within(0.7..1.2);
        }
        _ => translucent(rng, photos, &mut material),
    }
    material.mottling = rng.within(0.02..0.1);
    material.relief = Relief::Creases;
    material.relief_size_m = rng.within_log(0.012..0.07);
    material.relief_strength = rng.within(0.15..0.6);
    material.translucency = material.translucency.max(rng.within(0.0..0.3));
    material
}

/// Clear or milky film: the content shows through, veiled where the film stands off.
fn translucent(rng: &mut Rng, photos: &Photos, material: &mut Material) {
    let [r, g, b] = *rng.pick(&[
        [40, 44, 60],
        [170, 40, 50],
        [60, 90, 130],
        [200, 190, 170],
        [220, 220, 220],
        [90, 120, 80],
        [230, 170, 60],
        [120, 80, 60],
        [235, 150, 170],
        [30, 30, 34],
    ]);
    material.base = srgb(r, g, b);
    material.accent = material.base.lerp(srgb(225, 228, 230), rng.within(0.3..0.85));
    material.pattern = Pattern::Clouds;
    material.pattern_size_m = rng.within(0.05..0.18);
    material.gloss = rng.within(0.7..1.0);
    material.translucency = rng.within(0.3..0.6);
    if !photos.is_empty() && rng.chance(0.3) {
        material.pattern = Pattern::Photo(Arc::clone(rng.pick(photos)));
        material.pattern_size_m = rng.within(0.15..0.4);
        material.base = Vec3::splat(rng.within(0.8..1.2));
    }
}

fn dress(rng: &mut Rng, length_m: f32, width_m: f32, material: &mut Material) {
    let room = 0.36 * Vec2::new(length_m, width_m);
    let dark = material.base.element_sum() < 0.6;
    let ink = if dark {
        WHITE
    } else {
        *rng.pick(&[BLACK, BLACK, [40, 60, 130, 255], [180, 30, 50, 255]])
    };
    if rng.chance(0.4) {
        let picture =
            if rng.chance(0.6) { print::logo(rng, ink) } else { print::small_print(rng, ink) };
        let aspect = picture.height as f32 / picture.width as f32;
        let half_u = room.x * rng.within(0.35..0.95);
        let half_m = Vec2::new(half_u, half_u * aspect).min(room);
        let center_m = Vec2::new(rng.around(1.0), rng.around(1.0)) * (room - half_m);
        let angle = std::f32::consts::FRAC_PI_2 * rng.below(4) as f32;
        material.decals.push(Decal {
            face: FACE_TOP,
            center_m,
            half_m,
            angle,
            picture: Arc::new(picture),
            gloss: None,
        });
    }
    if rng.chance(0.55) {
        let picture =
            if rng.chance(0.7) { print::shipping_label(rng) } else { print::barcode_sticker(rng) };
        stick_label(rng, room, FACE_TOP, picture, 0.4, &mut material.decals);
    }
}

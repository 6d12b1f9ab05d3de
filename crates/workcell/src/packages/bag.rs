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
use crate::random::Dice;

pub(super) fn random_bag(dice: &mut Dice, photos: &Photos) -> Model {
    let length_m = dice.within_log(0.14..0.5);
    let width_m = length_m * dice.within(0.5..1.0);
    let pillow = Pillow {
        length_m,
        width_m,
        thickness_m: dice.within_log(0.012..0.14).min(0.45 * width_m),
        rim_m: dice.within(0.01..0.16) * width_m,
        squareness: dice.within(0.6..2.5),
        lumps: dice.within(0.3..1.2),
        folds_m: dice.within(0.002..0.012),
        ragged_m: dice.within(0.004..0.03),
        seed: dice.word(),
    };
    let mut material = film(dice, photos);
    dress(dice, length_m, width_m, &mut material);
    Model::new(PackageType::PolyBag, vec![pillow.mesh(&Arc::new(material))])
}

fn film(dice: &mut Dice, photos: &Photos) -> Material {
    let mut material = Material::plain(Vec3::ONE, dice.within(0.35..0.95), dice.word());
    match dice.weighted(&[0.26, 0.17, 0.12, 0.2, 0.25]) {
        0 => material.base = srgb(236, 236, 238) * dice.within(0.75..1.0),
        1 => material.base = srgb(128, 134, 142) * dice.within(0.4..1.3),
        2 => material.base = srgb(26, 26, 30) * dice.within(0.7..1.8),
        3 => {
            let [r, g, b] = *dice.pick(&[
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
            material.base = srgb(r, g, b) * dice.within(0.7..1.2);
        }
        _ => translucent(dice, photos, &mut material),
    }
    material.mottling = dice.within(0.02..0.1);
    material.relief = Relief::Creases;
    material.relief_size_m = dice.within_log(0.012..0.07);
    material.relief_strength = dice.within(0.15..0.6);
    material.translucency = material.translucency.max(dice.within(0.0..0.3));
    material
}

/// Clear or milky film: the content shows through, veiled where the film stands off.
fn translucent(dice: &mut Dice, photos: &Photos, material: &mut Material) {
    let [r, g, b] = *dice.pick(&[
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
    material.accent = material.base.lerp(srgb(225, 228, 230), dice.within(0.3..0.85));
    material.pattern = Pattern::Clouds;
    material.pattern_size_m = dice.within(0.05..0.18);
    material.gloss = dice.within(0.7..1.0);
    material.translucency = dice.within(0.3..0.6);
    if !photos.is_empty() && dice.chance(0.3) {
        material.pattern = Pattern::Photo(Arc::clone(dice.pick(photos)));
        material.pattern_size_m = dice.within(0.15..0.4);
        material.base = Vec3::splat(dice.within(0.8..1.2));
    }
}

fn dress(dice: &mut Dice, length_m: f32, width_m: f32, material: &mut Material) {
    let room = 0.36 * Vec2::new(length_m, width_m);
    let dark = material.base.element_sum() < 0.6;
    let ink = if dark {
        WHITE
    } else {
        *dice.pick(&[BLACK, BLACK, [40, 60, 130, 255], [180, 30, 50, 255]])
    };
    if dice.chance(0.4) {
        let picture =
            if dice.chance(0.6) { print::logo(dice, ink) } else { print::small_print(dice, ink) };
        let aspect = picture.height as f32 / picture.width as f32;
        let half_u = room.x * dice.within(0.35..0.95);
        let half_m = Vec2::new(half_u, half_u * aspect).min(room);
        let center_m = Vec2::new(dice.around(1.0), dice.around(1.0)) * (room - half_m);
        let angle = std::f32::consts::FRAC_PI_2 * dice.below(4) as f32;
        material.decals.push(Decal {
            face: FACE_TOP,
            center_m,
            half_m,
            angle,
            picture: Arc::new(picture),
            gloss: None,
        });
    }
    if dice.chance(0.55) {
        let picture = if dice.chance(0.7) {
            print::shipping_label(dice)
        } else {
            print::barcode_sticker(dice)
        };
        stick_label(dice, room, FACE_TOP, picture, 0.4, &mut material.decals);
    }
}

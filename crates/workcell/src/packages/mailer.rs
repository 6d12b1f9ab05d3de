//! Padded mailers: paper, bubble-lined or foil envelopes.

use std::sync::Arc;

use magpie_perception::PackageType;
use rapier3d::math::Vec2;

use super::boxes::stick_label;
use super::model::{Model, Photos};
use super::pillow::Pillow;
use crate::material::{Decal, Material, Pattern, Relief, srgb};
use crate::mesh::{FACE_BOTTOM, FACE_TOP};
use crate::print::{self, BLACK, Picture};
use crate::random::Rng;

pub(super) fn random_mailer(rng: &mut Rng, photos: &Photos) -> Model {
    let length_m = rng.within_log(0.15..0.46);
    let width_m = length_m * rng.within(0.55..0.92);
    let pillow = Pillow {
        length_m,
        width_m,
        thickness_m: rng.within_log(0.008..0.05),
        rim_m: rng.within(0.006..0.02),
        squareness: rng.within(1.0..5.0),
        lumps: rng.within(0.1..0.7),
        folds_m: rng.within(0.0005..0.004),
        ragged_m: rng.within(0.0..0.004),
        seed: rng.word(),
    };
    let mut material = paper(rng, photos);
    dress(rng, length_m, width_m, &mut material);
    Model::new(PackageType::PaddedMailer, vec![pillow.mesh(&Arc::new(material))])
}

fn paper(rng: &mut Rng, photos: &Photos) -> Material {
    let (color, gloss, relief) = match rng.weighted(&[0.3, 0.2, 0.22, 0.12, 0.1, 0.06]) {
        0 => (srgb(196, 158, 108) * rng.within(0.75..1.15), 0.05, Relief::Creases),
        1 => (srgb(226, 172, 70) * rng.within(0.8..1.1), 0.08, Relief::Creases),
        2 => (srgb(236, 234, 230) * rng.within(0.8..1.0), rng.within(0.1..0.45), Relief::Creases),
        3 => (srgb(160, 164, 170) * rng.within(0.7..1.2), rng.within(0.3..0.7), Relief::Bubbles),
        4 => (srgb(238, 236, 232), rng.within(0.2..0.5), Relief::Bubbles),
        _ => {
            let [r, g, b] = *rng.pick(&[
                [60, 110, 180],
                [200, 90, 120],
                [40, 40, 44],
                [90, 160, 130],
                [180, 150, 200],
            ]);
            (srgb(r, g, b), rng.within(0.2..0.7), Relief::Bubbles)
        }
    };
    let mut material = Material::plain(color, gloss, rng.word());
    material.relief = relief;
    material.relief_size_m =
        if relief == Relief::Bubbles { rng.within(0.009..0.02) } else { rng.within(0.02..0.07) };
    material.relief_strength =
        if relief == Relief::Bubbles { rng.within(0.05..0.3) } else { rng.within(0.05..0.22) };
    material.mottling = rng.within(0.02..0.08);
    if !photos.is_empty() && rng.chance(0.1) {
        material.pattern = Pattern::Photo(Arc::clone(rng.pick(photos)));
        material.pattern_size_m = rng.within(0.2..0.5);
    }
    material
}

fn dress(rng: &mut Rng, length_m: f32, width_m: f32, material: &mut Material) {
    let room = 0.42 * Vec2::new(length_m, width_m);
    let ink = *rng.pick(&[BLACK, [60, 60, 70, 255], [30, 70, 140, 255], [160, 40, 40, 255]]);
    for face in [FACE_TOP, FACE_BOTTOM] {
        if rng.chance(0.4) {
            let picture =
                if rng.chance(0.6) { print::logo(rng, ink) } else { print::small_print(rng, ink) };
            let aspect = picture.height as f32 / picture.width as f32;
            let half_u = room.x * rng.within(0.25..0.7);
            let half_m = Vec2::new(half_u, half_u * aspect).min(room);
            let center_m = Vec2::new(rng.around(1.0), rng.around(1.0)) * (room - half_m);
            let angle = std::f32::consts::FRAC_PI_2 * rng.below(4) as f32;
            material.decals.push(Decal {
                face,
                center_m,
                half_m,
                angle,
                picture: Arc::new(picture),
                gloss: None,
            });
        }
    }
    // The flap, glued down on one side.
    let flap_at = length_m * rng.within(0.28..0.42);
    let line = Arc::new(Picture::filled(1, 1, [70, 56, 40, 150]));
    let half_m = Vec2::new(0.0012, 0.49 * width_m);
    material.decals.push(Decal {
        face: FACE_BOTTOM,
        center_m: Vec2::new(flap_at, 0.0),
        half_m,
        angle: 0.0,
        picture: line,
        gloss: None,
    });
    if rng.chance(0.75) {
        let picture = print::shipping_label(rng);
        stick_label(rng, room, FACE_TOP, picture, 0.2, &mut material.decals);
    }
    if rng.chance(0.2) {
        let picture = print::barcode_sticker(rng);
        stick_label(rng, room, FACE_BOTTOM, picture, 0.2, &mut material.decals);
    }
}

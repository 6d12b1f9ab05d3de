//! Cardboard boxes and retail cartons.

use std::sync::Arc;

use magpie_perception::PackageType;
use rapier3d::math::{Vec2, Vec3};

use super::model::{Model, Photos};
use crate::material::{Decal, Material, Pattern, Relief, srgb};
use crate::mesh::{Mesh, Triangle, cuboid};
use crate::noise;
use crate::print::{self, BLACK, Ink, Picture, WHITE};
use crate::random::Rng;

/// What cartons of one make share.
#[derive(Clone)]
pub(crate) struct BoxStyle {
    material: Material,
    ink: Ink,
    kraft: bool,
}

pub(super) fn random_box(rng: &mut Rng, photos: &Photos) -> Model {
    let length_m = rng.within_log(0.10..0.58);
    let width_m = length_m * rng.within(0.35..1.0);
    let height_m = match rng.below(4) {
        0 => width_m * rng.within(0.08..0.3),
        1 => width_m * rng.within(0.9..1.2),
        _ => width_m * rng.within(0.25..0.9),
    };
    let size_m = Vec3::new(length_m, width_m, height_m.max(0.018));
    let style = BoxStyle::random(rng, photos);
    carton(rng, size_m, &style)
}

impl BoxStyle {
    pub(crate) fn random(rng: &mut Rng, photos: &Photos) -> BoxStyle {
        let kind = rng.weighted(&[0.56, 0.12, 0.16, 0.08, 0.08]);
        let mut material = Material::plain(Vec3::ONE, rng.within(0.02..0.12), rng.word());
        let mut ink = BLACK;
        match kind {
            0 => {
                let tone = rng.within(0.55..1.2);
                let hue = rng.around(0.05);
                material.base =
                    srgb(190, 150, 106) * tone * Vec3::new(1.0 + hue, 1.0, 1.0 - 2.5 * hue);
                material.mottling = rng.within(0.03..0.12);
                if rng.chance(0.4) {
                    material.pattern = Pattern::Ribs;
                    material.pattern_size_m = rng.within(0.006..0.009);
                }
                ink = *rng.pick(&[
                    BLACK,
                    BLACK,
                    [70, 45, 30, 255],
                    [30, 60, 130, 255],
                    [150, 30, 30, 255],
                ]);
            }
            1 => {
                material.base = srgb(232, 230, 224) * rng.within(0.75..1.0);
                material.mottling = 0.03;
                ink =
                    *rng.pick(&[BLACK, [40, 70, 150, 255], [190, 40, 30, 255], [20, 110, 70, 255]]);
            }
            2 => material = retail(rng, material),
            3 => {
                let [r, g, b] = *rng.pick(&[
                    [40, 42, 48],
                    [28, 48, 92],
                    [120, 28, 32],
                    [36, 84, 60],
                    [225, 140, 40],
                    [210, 190, 60],
                    [120, 130, 140],
                    [150, 90, 130],
                    [70, 140, 180],
                ]);
                material.base = srgb(r, g, b) * rng.within(0.8..1.2);
                material.gloss = rng.within(0.05..0.5);
                material.mottling = 0.04;
                ink = WHITE;
            }
            _ if photos.is_empty() => material.base = srgb(176, 140, 100),
            _ => {
                material.pattern = Pattern::Photo(Arc::clone(rng.pick(photos)));
                material.pattern_size_m = rng.within(0.12..0.4);
                material.mottling = 0.02;
            }
        }
        BoxStyle { material, ink, kraft: kind == 0 || kind == 4 }
    }
}

/// Fully printed, as on a shop's shelf.
fn retail(rng: &mut Rng, mut material: Material) -> Material {
    material.pattern = Pattern::Photo(Arc::new(print::artwork(rng)));
    material.pattern_size_m = rng.within(0.10..0.35);
    material.gloss = rng.within(0.1..0.6);
    material.mottling = 0.02;
    material
}

pub(crate) fn carton(rng: &mut Rng, size_m: Vec3, style: &BoxStyle) -> Model {
    let mut material = style.material.clone();
    material.seed = rng.word();
    material.base *= rng.within(0.93..1.07);
    dress(rng, size_m, style, &mut material.decals);
    if rng.chance(0.12) {
        material.relief = Relief::Creases;
        material.relief_size_m = 0.06;
        material.relief_strength = rng.within(0.02..0.08);
    }
    let mut mesh = cuboid(size_m, 7, &Arc::new(material));
    batter(rng, size_m, &mut mesh);
    Model::new(PackageType::Box, vec![mesh])
}

/// Bulges, dents and crushed corners: each point moves the same way on every face it belongs to.
fn batter(rng: &mut Rng, size_m: Vec3, mesh: &mut Mesh) {
    let seed = rng.word();
    let bulge_m = rng.within(0.0..0.025) * size_m.min_element();
    let crush_m =
        if rng.chance(0.3) { rng.within(0.2..0.9) * 0.12 * size_m.min_element() } else { 0.0 };
    let corner = 0.5 * size_m * Vec3::new(sign(rng), sign(rng), sign(rng));
    for vertex in &mut mesh.vertices {
        let p = vertex.position;
        let q = 2.0 * p / size_m;
        let flatness = (Vec3::ONE - q * q).max(Vec3::ZERO);
        let out = Vec3::new(
            q.x * flatness.y * flatness.z,
            q.y * flatness.x * flatness.z,
            q.z * flatness.x * flatness.y,
        );
        let shake = noise::fractal(p * 9.0, 2, seed) - 0.4;
        let dent = (-(p - corner).length_squared() / (0.05 * size_m.length_squared())).exp();
        vertex.position += out * bulge_m * 2.0 * shake - corner.normalize() * crush_m * dent;
    }
    flat_normals(mesh);
}

fn sign(rng: &mut Rng) -> f32 {
    if rng.chance(0.5) { 1.0 } else { -1.0 }
}

/// Smooth within a face, sharp at the box's edges (faces share no vertices).
fn flat_normals(mesh: &mut Mesh) {
    let triangles: Vec<Triangle> = mesh.triangles.clone();
    mesh.smooth_normals();
    debug_assert_eq!(triangles.len(), mesh.triangles.len());
}

/// Half extents of a face, in the directions of its u and v.
fn face_half_m(size_m: Vec3, face: u8) -> Vec2 {
    0.5 * match face {
        0 | 1 => Vec2::new(size_m.y, size_m.z),
        2 | 3 => Vec2::new(size_m.x, size_m.z),
        _ => Vec2::new(size_m.x, size_m.y),
    }
}

fn dress(rng: &mut Rng, size_m: Vec3, style: &BoxStyle, decals: &mut Vec<Decal>) {
    for face in 0..6 {
        if rng.chance(if style.kraft { 0.45 } else { 0.25 }) {
            let picture = match rng.below(4) {
                0 | 1 => print::logo(rng, style.ink),
                2 => print::handling_marks(rng, style.ink),
                _ => print::small_print(rng, style.ink),
            };
            place(rng, size_m, face, picture, 0.3..0.85, None, decals);
        }
    }
    if rng.chance(if style.kraft { 0.9 } else { 0.4 }) {
        seal(rng, size_m, decals);
    }
    if rng.chance(0.12) {
        strap(rng, size_m, decals);
    }
    for _ in 0..rng.weighted(&[0.25, 0.5, 0.2, 0.05]) {
        let face = rng.weighted(&[1.0, 1.0, 1.0, 1.0, 3.0, 1.0]) as u8;
        let (picture, gloss) = if rng.chance(0.65) {
            (print::shipping_label(rng), 0.25)
        } else {
            (print::barcode_sticker(rng), 0.2)
        };
        stick_label(rng, face_half_m(size_m, face), face, picture, gloss, decals);
    }
}

/// A print that fills part of the face, upright on it.
fn place(
    rng: &mut Rng,
    size_m: Vec3,
    face: u8,
    picture: Picture,
    fill: std::ops::Range<f32>,
    gloss: Option<f32>,
    decals: &mut Vec<Decal>,
) {
    let room = face_half_m(size_m, face);
    let aspect = picture.height as f32 / picture.width as f32;
    let half_u = (room.x * rng.within(fill)).min(room.y * 0.9 / aspect);
    let half_m = Vec2::new(half_u, half_u * aspect);
    let free = (room - half_m).max(Vec2::ZERO);
    let center_m = Vec2::new(rng.around(0.9), rng.around(0.9)) * free;
    let angle = if rng.chance(0.85) { 0.0 } else { std::f32::consts::PI };
    decals.push(Decal { face, center_m, half_m, angle, picture: Arc::new(picture), gloss });
}

/// A label of its usual size (80 to 110 mm wide), or as large as the face allows.
pub(super) fn stick_label(
    rng: &mut Rng,
    room: Vec2,
    face: u8,
    picture: Picture,
    gloss: f32,
    decals: &mut Vec<Decal>,
) {
    let aspect = picture.height as f32 / picture.width as f32;
    let half_u = rng.within(0.035..0.055).min(room.x * 0.9).min(room.y * 0.9 / aspect);
    let half_m = Vec2::new(half_u, half_u * aspect);
    let free = (room - half_m * 1.05).max(Vec2::ZERO);
    let center_m = Vec2::new(rng.around(1.0), rng.around(1.0)) * free;
    let quarter = std::f32::consts::FRAC_PI_2 * rng.below(4) as f32;
    let turned = if half_m.y > room.x || half_m.x > room.y { 0.0 } else { quarter };
    let angle = turned + rng.around(0.06);
    decals.push(Decal {
        face,
        center_m,
        half_m,
        angle,
        picture: Arc::new(picture),
        gloss: Some(gloss),
    });
}

/// The seam between the flaps and the tape over it, top and bottom.
fn seal(rng: &mut Rng, size_m: Vec3, decals: &mut Vec<Decal>) {
    let kind = rng.weighted(&[0.35, 0.25, 0.15, 0.15, 0.1]);
    let ink: Ink = match kind {
        0 => [170, 128, 80, 150],
        1 => [235, 225, 200, 70],
        2 => [240, 238, 232, 235],
        3 => [150, 104, 56, 230],
        _ => [*rng.pick(&[20, 60, 200]), *rng.pick(&[30, 90, 160]), *rng.pick(&[40, 140, 60]), 240],
    };
    let printed = kind >= 2 && rng.chance(0.5);
    let tape = Arc::new(print::tape(rng, ink, printed));
    let gap = Arc::new(Picture::filled(1, 1, [52, 36, 22, 220]));
    let gloss = Some(rng.within(0.3..0.75));
    let half_tape_m = rng.within(0.019..0.032).min(0.4 * size_m.y);
    let taped = rng.chance(0.85);
    for face in [4, 5] {
        let half_seam_m = Vec2::new(0.5 * size_m.x, 0.0009);
        decals.push(Decal {
            face,
            center_m: Vec2::ZERO,
            half_m: half_seam_m,
            angle: 0.0,
            picture: Arc::clone(&gap),
            gloss: None,
        });
        if taped {
            let half_m = Vec2::new(0.5 * size_m.x, half_tape_m);
            decals.push(Decal {
                face,
                center_m: Vec2::new(0.0, rng.around(0.004)),
                half_m,
                angle: 0.0,
                picture: Arc::clone(&tape),
                gloss,
            });
        }
    }
    if !taped {
        return;
    }
    let plain = Arc::new(Picture::filled(1, 1, ink));
    let over_m = rng.within(0.03..0.09).min(0.45 * size_m.z);
    for face in [0, 1] {
        for end in [-1.0, 1.0] {
            let center_m = Vec2::new(0.0, end * 0.5 * (size_m.z - over_m));
            let half_m = Vec2::new(half_tape_m, 0.5 * over_m);
            decals.push(Decal {
                face,
                center_m,
                half_m,
                angle: 0.0,
                picture: Arc::clone(&plain),
                gloss,
            });
        }
    }
}

/// Plastic straps around the box, across its length.
fn strap(rng: &mut Rng, size_m: Vec3, decals: &mut Vec<Decal>) {
    let ink = *rng.pick(&[BLACK, WHITE, [220, 200, 60, 255], [40, 90, 160, 255]]);
    let picture = Arc::new(Picture::filled(1, 1, ink));
    let places: &[f32] = if rng.chance(0.5) { &[0.0] } else { &[-0.25, 0.25] };
    for place in places {
        for face in [2, 3, 4, 5] {
            // The -z and -y faces see x mirrored or not; straps are placed symmetrically.
            let center_m = Vec2::new(place * size_m.x, 0.0);
            let half_m = Vec2::new(0.006, face_half_m(size_m, face).y);
            decals.push(Decal {
                face,
                center_m,
                half_m,
                angle: 0.0,
                picture: Arc::clone(&picture),
                gloss: Some(0.5),
            });
        }
    }
}

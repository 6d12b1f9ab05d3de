//! Loose items without packaging: bottles, tins, tubes, books, tools, toys, clothes.

use std::sync::Arc;

use magpie_perception::PackageType;
use rapier3d::math::{Pose, Rotation, Vec2, Vec3};

use super::model::{Model, Photos};
use super::pillow::Pillow;
use crate::material::{Decal, Material, Pattern, Relief, srgb};
use crate::mesh::{Mesh, Vertex, cuboid, lathe};
use crate::noise;
use crate::print;
use crate::random::Rng;

pub(super) fn random_item(rng: &mut Rng, photos: &Photos) -> Model {
    let parts = match rng.below(10) {
        0 => bottle(rng),
        1 => tin(rng),
        2 => tube(rng),
        3 => book(rng),
        4 => hammer(rng),
        5 => screwdriver(rng),
        6 => clothes(rng, photos),
        7 => toy(rng),
        8 => blob(rng),
        _ => cup(rng),
    };
    Model::new(PackageType::Item, parts)
}

fn vivid(rng: &mut Rng) -> Vec3 {
    let [r, g, b] = *rng.pick(&[
        [200, 40, 40],
        [40, 90, 190],
        [50, 150, 70],
        [235, 195, 50],
        [240, 130, 40],
        [240, 240, 240],
        [30, 30, 34],
        [140, 70, 160],
        [235, 140, 170],
        [120, 200, 210],
        [140, 100, 70],
        [150, 150, 155],
    ]);
    srgb(r, g, b) * rng.within(0.8..1.15)
}

fn plastic(rng: &mut Rng) -> Arc<Material> {
    let color = vivid(rng);
    let gloss = rng.within(0.2..0.9);
    Arc::new(Material::plain(color, gloss, rng.word()))
}

fn metal(rng: &mut Rng) -> Arc<Material> {
    let mut material = Material::plain(
        srgb(180, 182, 186) * rng.within(0.7..1.1),
        rng.within(0.5..0.9),
        rng.word(),
    );
    material.metallic = true;
    Arc::new(material)
}

/// A material with artwork around a lathe of this radius and height.
fn labelled(
    rng: &mut Rng,
    radius_m: f32,
    center_m: f32,
    half_height_m: f32,
    gloss: f32,
) -> Arc<Material> {
    let color = vivid(rng);
    let mut material = Material::plain(color, gloss, rng.word());
    let half_m = Vec2::new(std::f32::consts::PI * radius_m, half_height_m);
    let picture = Arc::new(print::artwork(rng));
    material.decals.push(Decal {
        face: 0,
        center_m: Vec2::new(0.0, center_m),
        half_m,
        angle: 0.0,
        picture,
        gloss: Some(0.4),
    });
    Arc::new(material)
}

/// Items lie on their side.
fn lying(mesh: Mesh) -> Mesh {
    mesh.moved(Pose::from_rotation(Rotation::from_rotation_y(std::f32::consts::FRAC_PI_2)))
}

fn bottle(rng: &mut Rng) -> Vec<Mesh> {
    let r = rng.within(0.02..0.05);
    let h = r * rng.within(3.2..5.5);
    let neck = r * rng.within(0.3..0.55);
    let material = labelled(rng, r, 0.32 * h, 0.2 * h, 0.8);
    let body = [
        (0.001, 0.0),
        (0.92 * r, 0.0),
        (r, 0.03 * h),
        (r, 0.3 * h),
        (r, 0.58 * h),
        (0.9 * r, 0.67 * h),
        (0.6 * r, 0.78 * h),
        (neck, 0.86 * h),
        (neck, 0.92 * h),
    ];
    let cap = [(1.15 * neck, 0.89 * h), (1.15 * neck, 0.99 * h), (0.001, h)];
    vec![lying(lathe(&body, 28, &material)), lying(lathe(&cap, 20, &plastic(rng)))]
}

fn tin(rng: &mut Rng) -> Vec<Mesh> {
    let r = rng.within(0.025..0.06);
    let h = r * rng.within(0.8..3.5);
    let material = labelled(rng, r, 0.5 * h, 0.46 * h, 0.6);
    let side = [(r, 0.0), (r, 0.02 * h), (r, 0.5 * h), (r, 0.98 * h), (r, h)];
    let lid = metal(rng);
    let top = [(r, h), (0.92 * r, h), (0.92 * r, h - 0.003), (0.001, h - 0.003)];
    let bottom = [(0.001, 0.003), (0.92 * r, 0.003), (0.92 * r, 0.0), (r, 0.0)];
    let parts = vec![lathe(&side, 28, &material), lathe(&top, 28, &lid), lathe(&bottom, 28, &lid)];
    if rng.chance(0.5) { parts.into_iter().map(lying).collect() } else { parts }
}

fn tube(rng: &mut Rng) -> Vec<Mesh> {
    let l = rng.within(0.1..0.2);
    let r = l * rng.within(0.12..0.2);
    let mut color = Material::plain(vivid(rng), 0.5, rng.word());
    color.pattern = Pattern::Photo(Arc::new(print::artwork(rng)));
    color.pattern_size_m = l;
    let material = Arc::new(color);
    let mut body = lathe(
        &[(r, 0.0), (r, 0.3 * l), (r, 0.6 * l), (r, 0.88 * l), (0.4 * r, 0.93 * l)],
        24,
        &material,
    );
    for vertex in &mut body.vertices {
        let flat = 1.0 - 0.95 * (1.0 - vertex.position.z / (0.7 * l)).clamp(0.0, 1.0);
        vertex.position.x *= flat;
        vertex.position.y *= 1.0 + 0.35 * (1.0 - flat);
    }
    body.smooth_normals();
    let cap = lathe(&[(0.55 * r, 0.91 * l), (0.55 * r, l), (0.001, l)], 18, &plastic(rng));
    vec![lying(body), lying(cap)]
}

fn book(rng: &mut Rng) -> Vec<Mesh> {
    let size_m = Vec3::new(rng.within(0.15..0.3), rng.within(0.1..0.22), rng.within(0.008..0.045));
    let mut cover = Material::plain(Vec3::ONE, rng.within(0.1..0.7), rng.word());
    cover.pattern = Pattern::Photo(Arc::new(print::artwork(rng)));
    cover.pattern_size_m = size_m.x * 0.5;
    let cover = Arc::new(cover);
    let mut pages = Material::plain(srgb(236, 230, 214), 0.03, rng.word());
    pages.pattern = Pattern::Stripes;
    pages.accent = srgb(205, 198, 180);
    pages.pattern_size_m = 0.0015;
    let lid = Vec3::new(size_m.x, size_m.y, 0.002);
    let half = Vec3::Z * (0.5 * size_m.z - 0.001);
    let inner = size_m - Vec3::new(0.006, 0.006, 0.004);
    vec![
        cuboid(lid, 1, &cover).moved(Pose::from_translation(half)),
        cuboid(lid, 1, &cover).moved(Pose::from_translation(-half)),
        cuboid(inner, 1, &Arc::new(pages)),
        cuboid(Vec3::new(size_m.x, 0.002, size_m.z), 1, &cover)
            .moved(Pose::from_translation(Vec3::Y * (0.5 * size_m.y - 0.001))),
    ]
}

fn hammer(rng: &mut Rng) -> Vec<Mesh> {
    let l = rng.within(0.2..0.34);
    let r = rng.within(0.011..0.018);
    let mut wood = Material::plain(srgb(186, 140, 84), 0.2, rng.word());
    wood.pattern = Pattern::Clouds;
    wood.accent = srgb(140, 96, 50);
    let grip = if rng.chance(0.5) { Arc::new(wood) } else { plastic(rng) };
    let handle = lathe(&[(r, 0.0), (1.1 * r, 0.1 * l), (r, 0.4 * l), (0.8 * r, l)], 14, &grip);
    let head_m = Vec3::new(0.03, rng.within(0.09..0.13), 0.028);
    let head = cuboid(head_m, 1, &metal(rng)).moved(Pose::from_translation(Vec3::X * l));
    vec![lying(handle), head]
}

fn screwdriver(rng: &mut Rng) -> Vec<Mesh> {
    let l = rng.within(0.14..0.28);
    let r = rng.within(0.01..0.018);
    let grip = [
        (0.001, 0.0),
        (0.8 * r, 0.0),
        (r, 0.06 * l),
        (0.85 * r, 0.2 * l),
        (r, 0.35 * l),
        (0.5 * r, 0.45 * l),
    ];
    let blade = [(0.28 * r, 0.44 * l), (0.28 * r, 0.7 * l), (0.28 * r, 0.95 * l), (0.001, l)];
    vec![lying(lathe(&grip, 14, &plastic(rng))), lying(lathe(&blade, 10, &metal(rng)))]
}

fn clothes(rng: &mut Rng, photos: &Photos) -> Vec<Mesh> {
    let length_m = rng.within(0.15..0.4);
    let pillow = Pillow {
        length_m,
        width_m: length_m * rng.within(0.6..1.0),
        thickness_m: rng.within(0.02..0.09),
        rim_m: 0.004,
        squareness: rng.within(0.6..2.5),
        lumps: rng.within(0.5..1.3),
        folds_m: rng.within(0.006..0.018),
        ragged_m: rng.within(0.01..0.04),
        seed: rng.word(),
    };
    let mut cloth = Material::plain(vivid(rng) * 0.8, 0.0, rng.word());
    cloth.relief = Relief::Grain;
    cloth.relief_size_m = 0.003;
    cloth.relief_strength = 0.3;
    match rng.below(4) {
        0 => {
            cloth.pattern = Pattern::Stripes;
            cloth.accent = vivid(rng);
            cloth.pattern_size_m = rng.within(0.01..0.06);
        }
        1 => {
            cloth.pattern = Pattern::Checker;
            cloth.accent = cloth.base * 0.6;
            cloth.pattern_size_m = rng.within(0.01..0.04);
        }
        2 if !photos.is_empty() => {
            cloth.pattern = Pattern::Photo(Arc::clone(rng.pick(photos)));
            cloth.pattern_size_m = rng.within(0.1..0.3);
        }
        _ => {}
    }
    vec![pillow.mesh(&Arc::new(cloth))]
}

fn toy(rng: &mut Rng) -> Vec<Mesh> {
    let unit = rng.within(0.02..0.045);
    let mut parts = Vec::new();
    for _ in 0..rng.count(3, 6) {
        let size_m =
            unit * Vec3::new(rng.within(0.6..2.2), rng.within(0.6..1.6), rng.within(0.6..1.4));
        let at = unit * Vec3::new(rng.around(1.2), rng.around(0.8), rng.around(0.5));
        let part = if rng.chance(0.6) {
            cuboid(size_m, 1, &plastic(rng))
        } else {
            let r = 0.5 * size_m.y;
            lathe(
                &[(0.001, -r), (0.7 * r, -0.7 * r), (r, 0.0), (0.7 * r, 0.7 * r), (0.001, r)],
                18,
                &plastic(rng),
            )
        };
        parts.push(part.moved(Pose::from_parts(at, rng.yaw())));
    }
    parts
}

/// Fruit, balls, stones, soap: something round and irregular.
fn blob(rng: &mut Rng) -> Vec<Mesh> {
    let r = rng.within(0.025..0.075);
    let stretch = Vec3::new(rng.within(0.9..1.7), 1.0, rng.within(0.6..1.0));
    let mut material = Material::plain(vivid(rng), rng.within(0.0..0.8), rng.word());
    material.accent = vivid(rng);
    if rng.chance(0.5) {
        material.pattern = Pattern::Clouds;
        material.pattern_size_m = 0.05;
    }
    let profile: Vec<(f32, f32)> = (0..=14)
        .map(|k| {
            let angle = std::f32::consts::PI * (k as f32 / 14.0 - 0.5);
            ((r * angle.cos()).max(0.0005), r * angle.sin())
        })
        .collect();
    let mut mesh = lathe(&profile, 24, &Arc::new(material));
    let (seed, rough) = (rng.word(), rng.within(0.0..0.35));
    for Vertex { position, .. } in &mut mesh.vertices {
        *position *= stretch * (1.0 + rough * (noise::fractal(*position * 25.0, 2, seed) - 0.5));
    }
    mesh.smooth_normals();
    vec![mesh]
}

fn cup(rng: &mut Rng) -> Vec<Mesh> {
    let r = rng.within(0.035..0.06);
    let h = r * rng.within(1.2..2.6);
    let narrow = r * rng.within(0.7..1.0);
    let material = plastic(rng);
    let wall = [
        (0.001, 0.0),
        (narrow, 0.0),
        (0.5 * (r + narrow), 0.5 * h),
        (r, h),
        (r - 0.004, h),
        (0.5 * (r + narrow) - 0.004, 0.5 * h),
        (narrow - 0.004, 0.006),
        (0.001, 0.006),
    ];
    let mesh = lathe(&wall, 26, &material);
    vec![if rng.chance(0.5) { lying(mesh) } else { mesh }]
}

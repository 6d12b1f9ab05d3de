//! Things in the picture that are not to be picked: hands, tape rolls, cables, pots.

use std::f32::consts::{FRAC_PI_2, TAU};
use std::sync::Arc;

use rapier3d::math::{Pose, Rotation, Vec3};

use crate::material::{Material, Relief, srgb};
use crate::mesh::{Mesh, cuboid, lathe};
use crate::part::Part;
use crate::random::Rng;
use crate::support::SupportKind;

pub(crate) fn near(rng: &mut Rng, kind: SupportKind, half_m: Vec3) -> Vec<Part> {
    let mut parts = Vec::new();
    for _ in 0..rng.count(1, 3) {
        match rng.weighted(&[0.4, 0.25, 0.2, 0.15]) {
            0 => arm(rng, half_m, &mut parts),
            1 => tape_roll(rng, half_m, &mut parts),
            2 if kind == SupportKind::Floor => pot(rng, half_m, &mut parts),
            _ => cable(rng, half_m, &mut parts),
        }
    }
    parts
}

fn show(parts: &mut Vec<Part>, mesh: Mesh, pose: Pose) {
    parts.push(Part { mesh: Arc::new(mesh), pose, instance: None, casts_shadow: true });
}

/// A limb from `a` to `b`, round at both ends.
fn limb(a: Vec3, b: Vec3, radius_a: f32, radius_b: f32, material: &Arc<Material>) -> Mesh {
    let length_m = a.distance(b);
    let profile = [
        (0.001, -radius_a),
        (0.7 * radius_a, -0.7 * radius_a),
        (radius_a, 0.0),
        (0.5 * (radius_a + radius_b), 0.5 * length_m),
        (radius_b, length_m),
        (0.7 * radius_b, length_m + 0.7 * radius_b),
        (0.001, length_m + radius_b),
    ];
    let axis = (b - a).try_normalize().unwrap_or(Vec3::Z);
    let turn = Rotation::from_rotation_arc(Vec3::Z, axis);
    lathe(&profile, 14, material).moved(Pose::from_parts(a, turn))
}

/// A hand with fingers on a sleeved arm that reaches in from outside.
fn arm(rng: &mut Rng, half_m: Vec3, parts: &mut Vec<Part>) {
    let [r, g, b] = *rng.pick(&[
        [224, 172, 140],
        [198, 134, 100],
        [141, 85, 54],
        [92, 58, 40],
        [60, 60, 70],
        [240, 200, 60],
    ]);
    let skin = Arc::new(Material::plain(srgb(r, g, b), 0.15, rng.word()));
    let [r, g, b] = *rng.pick(&[
        [40, 44, 60],
        [230, 120, 40],
        [210, 220, 60],
        [90, 96, 104],
        [160, 40, 44],
        [230, 230, 228],
    ]);
    let mut cloth = Material::plain(srgb(r, g, b), 0.0, rng.word());
    cloth.relief = Relief::Creases;
    cloth.relief_size_m = 0.05;
    cloth.relief_strength = 0.4;
    let cloth = Arc::new(cloth);
    let turn = rng.yaw();
    let palm = Vec3::new(rng.within(0.0..half_m.x + 0.1), rng.around(0.1), rng.within(0.03..0.4));
    let wrist = palm + Vec3::new(0.09, rng.around(0.02), 0.03);
    let elbow = wrist + Vec3::new(0.26, rng.around(0.12), rng.within(0.05..0.25));
    let shoulder = elbow + Vec3::new(0.4, rng.around(0.2), rng.within(0.0..0.4));
    let pose = Pose::from_rotation(turn);
    show(parts, limb(palm, wrist, 0.036, 0.028, &skin), pose);
    show(parts, limb(wrist, elbow, 0.03, 0.05, if rng.chance(0.5) { &skin } else { &cloth }), pose);
    show(parts, limb(elbow, shoulder, 0.055, 0.075, &cloth), pose);
    for finger in 0..5 {
        let spread = (finger as f32 - 2.0) * 0.022;
        let knuckle = palm + Vec3::new(-0.03, spread, 0.0);
        let joint = knuckle + Vec3::new(-0.035, 0.5 * spread, rng.within(-0.02..0.01));
        let tip = joint + Vec3::new(-0.02, 0.1 * spread, -rng.within(0.01..0.035));
        show(parts, limb(knuckle, joint, 0.011, 0.0095, &skin), pose);
        show(parts, limb(joint, tip, 0.0095, 0.008, &skin), pose);
    }
}

/// Lies flat beside the packages.
fn tape_roll(rng: &mut Rng, half_m: Vec3, parts: &mut Vec<Part>) {
    let [r, g, b] = *rng.pick(&[[170, 120, 70], [230, 226, 210], [60, 60, 64], [200, 60, 50]]);
    let tape = Arc::new(Material::plain(srgb(r, g, b), 0.6, rng.word()));
    let (outer, inner, h) = (rng.within(0.04..0.07), 0.036, rng.within(0.02..0.05));
    let profile = [(inner, 0.0), (outer, 0.0), (outer, h), (inner, h), (inner, 0.0)];
    let at = Vec3::new(rng.around(1.1 * half_m.x), rng.around(1.1 * half_m.y), 0.0);
    show(parts, lathe(&profile, 30, &tape), Pose::from_translation(at));
}

fn cable(rng: &mut Rng, half_m: Vec3, parts: &mut Vec<Part>) {
    let [r, g, b] = *rng.pick(&[[26, 26, 28], [230, 230, 230], [240, 130, 30], [60, 90, 170]]);
    let sheath = Arc::new(Material::plain(srgb(r, g, b), 0.3, rng.word()));
    let radius = rng.within(0.003..0.008);
    let mut at = Vec3::new(rng.around(half_m.x), rng.around(half_m.y), radius);
    let mut heading = rng.within(0.0..TAU);
    for _ in 0..14 {
        let next = at + 0.06 * Vec3::new(heading.cos(), heading.sin(), 0.0);
        show(parts, limb(at, next, radius, radius, &sheath), Pose::IDENTITY);
        heading += rng.around(0.7);
        at = next;
    }
}

/// A flower pot, an umbrella stand, a bin: with a few leaves.
fn pot(rng: &mut Rng, half_m: Vec3, parts: &mut Vec<Part>) {
    let [r, g, b] = *rng.pick(&[[170, 90, 60], [60, 62, 66], [220, 216, 206], [70, 90, 110]]);
    let clay = Arc::new(Material::plain(srgb(r, g, b), 0.1, rng.word()));
    let (radius, h) = (rng.within(0.1..0.2), rng.within(0.2..0.45));
    let profile = [
        (0.7 * radius, 0.0),
        (radius, h),
        (0.9 * radius, h),
        (0.85 * radius, h - 0.03),
        (0.001, h - 0.03),
    ];
    let side = if rng.chance(0.5) { 1.0 } else { -1.0 };
    let at =
        Vec3::new(side * (half_m.x + radius + rng.within(0.1..0.4)), rng.around(half_m.y), 0.0);
    show(parts, lathe(&profile, 26, &clay), Pose::from_translation(at));
    let leaf = Arc::new(Material::plain(srgb(56, 104, 50) * rng.within(0.6..1.4), 0.2, rng.word()));
    for _ in 0..rng.count(0, 16) {
        let tilt = Rotation::from_rotation_z(rng.within(0.0..TAU))
            * Rotation::from_rotation_y(rng.within(0.1..FRAC_PI_2));
        let blade = Vec3::new(rng.within(0.02..0.05), 0.003, rng.within(0.15..0.4));
        let mesh = cuboid(blade, 1, &leaf).moved(Pose::from_translation(Vec3::Z * 0.5 * blade.z));
        show(parts, mesh, Pose::from_parts(at + Vec3::Z * h, tilt));
    }
}

//! Smooth noise over space: value noise on a lattice, and what is built from it.

use rapier3d::math::Vec3;

fn hash(x: i32, y: i32, z: i32, seed: u32) -> f32 {
    let mut h = (x as u32).wrapping_mul(0x8DA6_B343)
        ^ (y as u32).wrapping_mul(0xD816_3841)
        ^ (z as u32).wrapping_mul(0xCB1A_B31F)
        ^ seed.wrapping_mul(0x9E37_79B1);
    h ^= h >> 15;
    h = h.wrapping_mul(0x2C1B_3C6D);
    h ^= h >> 12;
    (h >> 8) as f32 / (1_u32 << 24) as f32
}

/// `f32::floor` is a call into the C library on plain x86-64.
fn floor(x: f32) -> i32 {
    let toward_zero = x as i32;
    toward_zero - i32::from(x < toward_zero as f32)
}

/// A random number per lattice cell, in `0.0..1.0`.
pub(crate) fn cell(x: i32, y: i32, seed: u32) -> f32 {
    hash(x, y, 7, seed)
}

/// Value noise, in `0.0..1.0`, one feature per unit of length.
pub(crate) fn value(p: Vec3, seed: u32) -> f32 {
    let (x, y, z) = (floor(p.x), floor(p.y), floor(p.z));
    let f = p - Vec3::new(x as f32, y as f32, z as f32);
    let s = f * f * (Vec3::splat(3.0) - 2.0 * f);
    let along_x = |dy: i32, dz: i32| {
        let a = hash(x, y.wrapping_add(dy), z.wrapping_add(dz), seed);
        let b = hash(x.wrapping_add(1), y.wrapping_add(dy), z.wrapping_add(dz), seed);
        a + (b - a) * s.x
    };
    let near = along_x(0, 0) + (along_x(1, 0) - along_x(0, 0)) * s.y;
    let far = along_x(0, 1) + (along_x(1, 1) - along_x(0, 1)) * s.y;
    near + (far - near) * s.z
}

/// Sum of octaves, each half as large and twice as fine; about `0.0..1.0`, mean 0.5.
pub(crate) fn fractal(p: Vec3, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut weight, mut total, mut q) = (0.0, 1.0, 0.0, p);
    for octave in 0..octaves {
        sum += weight * value(q, seed.wrapping_add(octave));
        total += weight;
        weight *= 0.5;
        q = q * 2.03 + Vec3::new(11.7, 5.3, 3.1);
    }
    sum / total
}

/// Sharp creases on smooth ground, like crumpled film: 1 on a crease, towards 0 away from it.
pub(crate) fn creases(p: Vec3, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut weight, mut total, mut q) = (0.0, 1.0, 0.0, p);
    for octave in 0..octaves {
        let ridge = 1.0 - (2.0 * value(q, seed.wrapping_add(octave)) - 1.0).abs();
        sum += weight * ridge * ridge;
        total += weight;
        weight *= 0.55;
        q = q * 1.93 + Vec3::new(4.1, 9.7, 2.3);
    }
    sum / total
}

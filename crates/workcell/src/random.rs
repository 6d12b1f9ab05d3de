//! Random choices, reproducible on every machine.
//!
//! One ChaCha stream per scene and per view, keyed by (seed, stream, index), so that a frame's bytes
//! depend neither on the order nor on the number of threads that make the others.

use std::ops::Range;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rapier3d::math::{Rotation, Vec3};

/// What a stream of random numbers is for; streams never overlap.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Scene = 1,
    View = 2,
    Sensor = 3,
    Belt = 4,
    Picking = 5,
}

pub(crate) struct Rng(ChaCha8Rng);

impl Rng {
    pub(crate) fn new(seed: u64, stream: Stream, index: u64) -> Rng {
        let mut key = [0_u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        key[16] = stream as u8;
        Rng(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f32 {
        // 24 bits fill the mantissa of an f32.
        (self.0.next_u32() >> 8) as f32 / (1_u32 << 24) as f32
    }

    pub(crate) fn within(&mut self, range: Range<f32>) -> f32 {
        range.start + (range.end - range.start) * self.unit()
    }

    /// Log-uniform: small values are as likely, per octave, as large ones.
    pub(crate) fn within_log(&mut self, range: Range<f32>) -> f32 {
        self.within(range.start.ln()..range.end.ln()).exp()
    }

    /// Uniform in `-extent..extent`.
    pub(crate) fn around(&mut self, extent: f32) -> f32 {
        self.within(-extent..extent)
    }

    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Uniform in `0..count`; `count` is at least 1.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        ((self.unit() * count as f32) as usize).min(count - 1)
    }

    /// Uniform between both ends, which count as possible.
    pub(crate) fn count(&mut self, low: u32, high: u32) -> u32 {
        low + self.below((high - low + 1) as usize) as u32
    }

    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Index of the chosen weight; weights are not negative and not all zero.
    pub(crate) fn weighted(&mut self, weights: &[f32]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f32>();
        for (index, weight) in weights.iter().enumerate() {
            if left < *weight {
                return index;
            }
            left -= weight;
        }
        weights.iter().rposition(|weight| *weight > 0.0).unwrap_or(0)
    }

    /// Standard normal (Box and Muller).
    pub(crate) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.unit()).cos()
    }

    pub(crate) fn direction(&mut self) -> Vec3 {
        let v = Vec3::new(self.normal(), self.normal(), self.normal());
        v.try_normalize().unwrap_or(Vec3::Z)
    }

    pub(crate) fn rotation(&mut self) -> Rotation {
        Rotation::from_axis_angle(self.direction(), self.within(0.0..std::f32::consts::TAU))
    }

    pub(crate) fn yaw(&mut self) -> Rotation {
        Rotation::from_rotation_z(self.within(0.0..std::f32::consts::TAU))
    }

    /// A seed for the noise functions.
    pub(crate) fn word(&mut self) -> u32 {
        self.0.next_u32()
    }
}

/// A cheap generator for per-pixel noise: quality matters little there, speed does.
#[derive(Clone, Copy)]
pub(crate) struct PixelRng(u64);

impl PixelRng {
    pub(crate) fn new(seed: u32, row: u32) -> PixelRng {
        let mixed = (u64::from(seed) << 32 | u64::from(row)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        PixelRng(mixed | 1)
    }

    /// Uniform in `0.0..1.0` (xorshift64*).
    pub(crate) fn unit(&mut self) -> f32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// Nearly normal, standard deviation 1: the sum of four uniforms.
    pub(crate) fn normal(&mut self) -> f32 {
        (self.unit() + self.unit() + self.unit() + self.unit() - 2.0) * 1.732
    }
}

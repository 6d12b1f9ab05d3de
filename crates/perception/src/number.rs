//! Conversions between numbers that lose what does not matter, in one place.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` rounds to the nearest float and saturates at the ends of integers"
)]

/// For shares, scales and pixel coordinates, which need no more than seven digits.
#[inline(always)]
pub(crate) fn to_f32(value: f64) -> f32 {
    value as f32
}

/// Towards zero; negative numbers and NaN become zero.
#[inline(always)]
pub(crate) fn to_u32(value: f64) -> u32 {
    value as u32
}

/// The nearest pixel; negative numbers become zero.
#[inline(always)]
pub(crate) fn round_px(value: f32) -> u32 {
    value.round() as u32
}

/// The first pixel at or behind `value`; negative numbers become zero.
#[inline(always)]
pub(crate) fn ceil_px(value: f32) -> u32 {
    value.ceil() as u32
}

/// Towards zero; negative numbers become zero.
#[inline(always)]
pub(crate) fn floor_index(value: f32) -> usize {
    value as usize
}

/// Towards zero; negative numbers become zero.
#[inline(always)]
pub(crate) fn floor_px(value: f32) -> u32 {
    value as u32
}

/// The nearest integer, halves to the even one.
#[inline(always)]
pub(crate) fn round_even_px(value: f32) -> u32 {
    value.round_ties_even() as u32
}

/// Of a value that fits.
#[inline(always)]
pub(crate) fn to_u16(value: u32) -> u16 {
    value as u16
}

/// Of a value that fits.
#[inline(always)]
pub(crate) fn to_i16(value: u32) -> i16 {
    value as i16
}

/// Of a value that fits.
#[inline(always)]
pub(crate) fn to_byte(value: u32) -> u8 {
    value as u8
}

/// Millionths, for solvers that want integers.
#[inline(always)]
pub(crate) fn millionths(value: f32) -> i64 {
    (value * 1e6) as i64
}

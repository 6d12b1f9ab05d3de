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

/// Rounds towards zero; negative numbers and NaN become zero.
#[inline(always)]
pub(crate) fn to_u32(value: f64) -> u32 {
    value as u32
}

/// The nearest pixel; negative numbers become zero. It does without `f32::round`, which is a call
/// where the processor is not known to round.
#[inline(always)]
pub(crate) fn round_px(value: f32) -> u32 {
    let whole = value as u32;
    whole.saturating_add(u32::from(value - whole as f32 >= 0.5))
}

/// The first pixel at or behind `value`; negative numbers become zero.
#[inline(always)]
pub(crate) fn ceil_px(value: f32) -> u32 {
    value.ceil() as u32
}

/// Rounds towards zero; negative numbers become zero. No index is beyond an `u32`, and so it takes half
/// of the instructions.
#[inline(always)]
pub(crate) fn floor_index(value: f32) -> usize {
    value as u32 as usize
}

/// Rounds towards zero; negative numbers become zero.
#[inline(always)]
pub(crate) fn floor_px(value: f32) -> u32 {
    value as u32
}

/// The nearest integer, halves to the even one.
#[inline(always)]
pub(crate) fn round_even_px(value: f32) -> u32 {
    value.round_ties_even() as u32
}

/// For a value that fits; bits above the sixteenth are lost.
#[inline(always)]
pub(crate) fn to_u16(value: u32) -> u16 {
    value as u16
}

/// For a value that fits; bits above the sixteenth are lost.
#[inline(always)]
pub(crate) fn to_i16(value: u32) -> i16 {
    value as i16
}

/// For a value that fits; bits above the eighth are lost.
#[inline(always)]
pub(crate) fn to_byte(value: u32) -> u8 {
    value as u8
}

/// Millionths, for solvers that want integers.
#[inline(always)]
pub(crate) fn millionths(value: f32) -> i64 {
    (value * 1e6) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_pixel_is_rounded_as_a_float_is(value in -9.0f32..9000.0) {
            prop_assert_eq!(round_px(value), value.round() as u32);
            let half = value.round() + 0.5;
            prop_assert_eq!(round_px(half), half.round() as u32);
            prop_assert_eq!(round_px(half.next_down()), half.next_down().round() as u32);
        }
    }
}

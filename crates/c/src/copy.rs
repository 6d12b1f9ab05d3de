//! Values of Rust in arrays of a fixed length.

use std::ffi::c_char;

/// Cut where it does not fit, between two characters.
pub(crate) fn put_text(place: &mut [c_char], text: &str) {
    let text = text.split('\0').next().unwrap_or_default();
    let mut length = text.len().min(place.len().saturating_sub(1));
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    place.fill(0);
    for (place, byte) in place.iter_mut().zip(text[..length].bytes()) {
        *place = c_char::from_ne_bytes([byte]);
    }
}

/// As many as fit; says how many.
pub(crate) fn values<T: Copy>(place: &mut [T], values: &[T]) -> u32 {
    let length = place.len().min(values.len());
    place[..length].copy_from_slice(&values[..length]);
    count(length)
}

pub(crate) fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

pub(crate) fn flat(rows: &[[f64; 4]; 4]) -> [f64; 16] {
    std::array::from_fn(|at| rows[at / 4][at % 4])
}

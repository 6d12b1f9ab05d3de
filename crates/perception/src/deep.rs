//! Pictures of more than eight bits a channel, as cameras of 10, 12 and 14 bits store them in 16.

/// How many bits a camera has whose largest value this is: the least of 8, 10, 12, 14 and 16 that
/// hold it.
pub fn bits_of_camera(largest: u16) -> u32 {
    (u16::BITS - largest.leading_zeros()).next_multiple_of(2).max(8)
}

/// The highest eight of so many bits.
pub fn highest_eight(value: u16, bits: u32) -> u8 {
    u8::try_from(value >> (bits - 8)).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_value_tells_the_cameras_bits() {
        for (largest, bits) in
            [(0, 8), (255, 8), (256, 10), (1023, 10), (4095, 12), (4096, 14), (u16::MAX, 16)]
        {
            assert_eq!(bits_of_camera(largest), bits, "{largest}");
        }
        assert_eq!([0, 2048, 4095].map(|value| highest_eight(value, 12)), [0, 128, 255]);
    }
}

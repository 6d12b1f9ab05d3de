//! One source row shrunk along x, four content pixels at a time.
//!
//! `pulp` hands out the instructions only where the processor has them, so nothing here is unsafe.

use pulp::x86::V3;

use super::pair::pair_at;

/// Content pixels that are made together.
const GROUP: usize = 4;

/// What the loop reads for each content pixel, padded to whole groups.
#[derive(Debug, Default)]
pub(super) struct Taps {
    /// Where the left neighbour begins in a source row.
    offsets: Vec<[u32; GROUP]>,
    /// For pixels 0 and 2, then for 1 and 3: three times the left and the right weight.
    weights: Vec<[[i16; 16]; 2]>,
}

impl Taps {
    /// `taps` are the offset and both weights of each content pixel.
    pub(super) fn new(taps: &[(u32, i16, i16)]) -> Taps {
        let mut made = Taps::default();
        for group in taps.chunks(GROUP) {
            let tap = |i: usize| group.get(i).copied().unwrap_or((group[0].0, 0, 0));
            let weights = |i: usize, j: usize| {
                let ((_, a, b), (_, c, d)) = (tap(i), tap(j));
                [a, b, a, b, a, b, 0, 0, c, d, c, d, c, d, 0, 0]
            };
            made.offsets.push(std::array::from_fn(|i| tap(i).0));
            made.weights.push([weights(0, 2), weights(1, 3)]);
        }
        made
    }

    /// How many values [`shrink`] needs room for: whole groups, and what its last write has over.
    pub(super) fn room(&self) -> usize {
        3 * GROUP * self.offsets.len() + 2
    }
}

/// Shrinks a row to `u16 [content_width_px, 3]`, 8.7 fixed point. `source` goes on behind the row, up to the end
/// of the image.
#[inline(always)]
pub(super) fn shrink(simd: V3, taps: &Taps, source: &[u8], values: &mut [u16]) {
    // B G R b g r of two neighbours to B b G g R r: what is multiplied and added in pairs.
    let interleave = pulp::cast([0i8, 3, 1, 4, 2, 5, -1, -1, 8, 11, 9, 12, 10, 13, -1, -1]);
    // Drops every fourth 16-bit value.
    let third = [0i8, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, -1, -1, -1, -1];
    let compact = pulp::cast([third, third]);
    let mut at = 0;
    for (offsets, weights) in taps.offsets.iter().zip(&taps.weights) {
        // One by one: an array would go through memory, where a wide read has to wait for four
        // narrow writes (measured: twice the time of everything else).
        let (a, b) = (pair_at(source, offsets[0]), pair_at(source, offsets[1]));
        let (c, d) = (pair_at(source, offsets[2]), pair_at(source, offsets[3]));
        let sums = |low: u64, high: u64, weights: [i16; 16]| {
            let two = simd.sse2._mm_set_epi64x(high.cast_signed(), low.cast_signed());
            let two = simd.ssse3._mm_shuffle_epi8(two, interleave);
            let sums = simd
                .avx2
                ._mm256_madd_epi16(simd.avx2._mm256_cvtepu8_epi16(two), pulp::cast(weights));
            // Four of the eleven fractional bits go, as in OpenCV.
            simd.avx2._mm256_srli_epi32::<4>(sums)
        };
        let four = simd.avx2._mm256_packus_epi32(sums(a, c, weights[0]), sums(b, d, weights[1]));
        let four: [u16; 16] = pulp::cast(simd.avx2._mm256_shuffle_epi8(four, compact));
        // Two pixels are six values; the two over are written again by what follows.
        let room = &mut values[at..at + 14];
        room[..8].copy_from_slice(&four[..8]);
        room[6..].copy_from_slice(&four[8..]);
        at += 3 * GROUP;
    }
}

//! Masks as runs, straight from prototypes and coefficients.
//!
//! # Masks without pixels
//!
//! A mask is the set of camera pixels where the bilinearly upsampled logit is positive. Along one
//! image column that logit is a polyline whose corners are the rows of the prototypes, so its sign
//! changes are found corner by corner and written straight into runs: the work per column grows
//! with the prototypes' rows and the outline, not with the camera's pixels.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView3, Axis};

use crate::mask::MaskBuilder;
use crate::number::{ceil_px, floor_index};
use crate::{BboxPx, Letterbox, Mask};

/// Prototypes that are summed together: as many as a processor has registers for.
const PLANES: usize = 4;

/// Floats that are worked on together.
const LANES: usize = 8;

/// The axis of the prototypes that coefficients are summed along.
const COEFFICIENT: Axis = Axis(0);

/// Buffers for one mask after the other.
#[derive(Debug, Default)]
pub(super) struct MaskScratch {
    /// Logits of the prototype pixels that a box sees: by rows, then by columns.
    by_row: Vec<f32>,
    by_column: Vec<f32>,
    /// Logits of one image column at the prototypes' rows, and whether they are positive: one flag
    /// more than rows, the last one twice.
    column: Vec<f32>,
    inside: Vec<u8>,
    runs: Vec<u32>,
    /// Runs of masks that nobody needs any more, for their memory.
    pub(super) spare: Vec<Vec<u32>>,
}

/// Prototypes with their place in the camera image.
pub(super) struct Prototypes<'a> {
    /// `[coefficient, y, x]`.
    values: ArrayView3<'a, f32>,
    width: usize,
    height: usize,
    image_width_px: u32,
    image_height_px: u32,
    /// `u = slope * x + offset`, see [`Letterbox::x_map`].
    x_map: (f32, f32),
    y_map: (f32, f32),
}

impl<'a> Prototypes<'a> {
    pub(super) fn new(values: ArrayView3<'a, f32>, letterbox: &Letterbox) -> Prototypes<'a> {
        let (_, height, width) = values.dim();
        let stride = |input_px: u32, prototype_px: usize| input_px as f32 / prototype_px as f32;
        Prototypes {
            values,
            width,
            height,
            image_width_px: letterbox.image_width_px,
            image_height_px: letterbox.image_height_px,
            x_map: letterbox.x_map(stride(letterbox.input_width_px, width)),
            y_map: letterbox.y_map(stride(letterbox.input_height_px, height)),
        }
    }

    /// The mask inside `bbox` (image pixels); `None` if it shows no pixel.
    #[inline(always)]
    pub(super) fn mask(
        &self,
        coefficients: ArrayView1<'_, f32>,
        bbox: &BboxPx,
        scratch: &mut MaskScratch,
    ) -> Option<Mask> {
        // A pixel belongs to the box when its index lies in [min, max), as in the reference.
        let x_range = pixel_range(bbox.x_min_px, bbox.x_max_px, self.image_width_px);
        let y_range = pixel_range(bbox.y_min_px, bbox.y_max_px, self.image_height_px);
        if x_range.is_empty() || y_range.is_empty() {
            return None;
        }
        let columns = widened(&samples(self.x_map, &x_range, self.width), self.width);
        let rows = widened(&samples(self.y_map, &y_range, self.height), self.height);
        self.sum_logits(coefficients, &columns, &rows, scratch);
        let MaskScratch { by_column, column, inside, runs, spare, .. } = scratch;

        let mut builder = MaskBuilder::new(self.image_width_px, self.image_height_px, runs);
        builder.push(false, x_range.start * self.image_height_px);
        let row_count = rows.len();
        column.resize(row_count, 0.0);
        inside.resize(row_count + 1, 0);
        let mut any = false;
        for x in x_range.clone() {
            let u = (self.x_map.0 * x as f32 + self.x_map.1).clamp(0.0, (self.width - 1) as f32);
            let left = floor_index(u).min(self.width.saturating_sub(2));
            let weight = u - left as f32;
            let left_logits = &by_column[(left - columns.start) * row_count..][..row_count];
            let right = (left + 1).min(self.width - 1);
            let right_logits = &by_column[(right - columns.start) * row_count..][..row_count];
            mix(left_logits, right_logits, weight, column, inside);
            inside[row_count] = inside[row_count - 1];

            builder.push(false, y_range.start);
            any |= push_column(&mut builder, (column, inside), rows.start, self.y_map, &y_range);
            builder.push(false, self.image_height_px - y_range.end);
        }
        builder.push(false, (self.image_width_px - x_range.end) * self.image_height_px);
        any.then(|| builder.finish(spare.pop().unwrap_or_default()))
    }

    /// Mask logits of a patch of prototype pixels, into `by_column`.
    #[inline(always)]
    fn sum_logits(
        &self,
        coefficients: ArrayView1<'_, f32>,
        columns: &Range<usize>,
        rows: &Range<usize>,
        scratch: &mut MaskScratch,
    ) {
        let (width, height) = (columns.len(), rows.len());
        let MaskScratch { by_row, by_column, .. } = scratch;
        by_row.clear();
        by_row.resize(width * height, 0.0);
        by_column.resize(width * height, 0.0);
        // Summed row by row, along memory, some prototypes at a time; then turned.
        let count = coefficients.len();
        let whole = count / PLANES * PLANES;
        for first in (0..whole).step_by(PLANES) {
            let weights: [f32; PLANES] = std::array::from_fn(|k| coefficients[first + k]);
            // Most are zero where a model looks at its input more than once.
            if weights != [0.0; PLANES] {
                self.add_planes(by_row, first, weights, columns, rows);
            }
        }
        for first in whole..count {
            self.add_planes(by_row, first, [coefficients[first]], columns, rows);
        }
        for (y, line) in by_row.chunks_exact(width).enumerate() {
            for (x, value) in line.iter().enumerate() {
                by_column[x * height + y] = *value;
            }
        }
    }

    /// Adds a patch of `N` weighted prototypes to sums `[y, x]`.
    #[inline(always)]
    fn add_planes<const N: usize>(
        &self,
        sums: &mut [f32],
        first: usize,
        weights: [f32; N],
        columns: &Range<usize>,
        rows: &Range<usize>,
    ) {
        let planes: [&[f32]; N] = std::array::from_fn(|k| {
            let plane = self.values.index_axis(COEFFICIENT, first + k);
            plane.to_slice().expect("a prototype lies in one piece in memory")
        });
        // The one offset by hand: a view of each row costs decoding a seventh more instructions.
        for (sums, y) in sums.chunks_exact_mut(columns.len()).zip(rows.clone()) {
            add_lines(sums, weights, planes.map(|plane| &plane[y * self.width + columns.start..]));
        }
    }
}

/// Adds weighted lines, the first one first: sums of floats depend on their order.
#[inline(always)]
fn add_lines<const N: usize>(sums: &mut [f32], weights: [f32; N], lines: [&[f32]; N]) {
    let lines = lines.map(|line| line[..sums.len()].as_chunks::<LANES>());
    let (sums, rest) = sums.as_chunks_mut::<LANES>();
    for (at, sums) in sums.iter_mut().enumerate() {
        let mut added = *sums;
        for (weight, (line, _)) in weights.iter().zip(&lines) {
            let line = line[at];
            added = std::array::from_fn(|i| added[i] + weight * line[i]);
        }
        *sums = added;
    }
    for (i, sum) in rest.iter_mut().enumerate() {
        for (weight, (_, line)) in weights.iter().zip(&lines) {
            *sum += weight * line[i];
        }
    }
}

/// One image column between two columns of prototypes, and where it is positive.
#[inline(always)]
fn mix(left: &[f32], right: &[f32], weight: f32, column: &mut [f32], inside: &mut [u8]) {
    let ((left, left_rest), (right, right_rest)) = (left.as_chunks(), right.as_chunks());
    let (column, column_rest) = column.as_chunks_mut::<LANES>();
    let (inside, inside_rest) = inside.as_chunks_mut::<LANES>();
    for (((column, inside), left), right) in column.iter_mut().zip(inside).zip(left).zip(right) {
        let (left, right): ([f32; LANES], [f32; LANES]) = (*left, *right);
        let mixed: [f32; LANES] = std::array::from_fn(|i| left[i] + weight * (right[i] - left[i]));
        *inside = mixed.map(|value| u8::from(value > 0.0));
        *column = mixed;
    }
    let rest = left_rest.iter().zip(right_rest).zip(column_rest.iter_mut().zip(inside_rest));
    for ((left, right), (column, inside)) in rest {
        *column = left + weight * (right - left);
        *inside = u8::from(*column > 0.0);
    }
}

/// Whole groups of [`LANES`], as far as there are so many.
fn widened(range: &Range<usize>, size: usize) -> Range<usize> {
    range.start / LANES * LANES..range.end.next_multiple_of(LANES).min(size)
}

/// Pixels whose index lies in `[min, max)`.
fn pixel_range(min_px: f32, max_px: f32, size_px: u32) -> Range<u32> {
    ceil_px(min_px).min(size_px)..ceil_px(max_px).min(size_px)
}

/// Prototype samples that the pixels of `range` look at.
fn samples(map: (f32, f32), range: &Range<u32>, size: usize) -> Range<usize> {
    let at = |pixel: u32| floor_index((map.0 * pixel as f32 + map.1).max(0.0)).min(size - 1);
    at(range.start)..(at(range.end - 1) + 2).min(size)
}

/// Writes the pixels of `y_range` of one column, whose logits are `values` at the prototype rows
/// from `first_row` on; `inside` says which are positive. Returns whether any is foreground.
#[inline(always)]
fn push_column(
    builder: &mut MaskBuilder<'_>,
    (values, inside): (&[f32], &[u8]),
    first_row: usize,
    (slope, offset): (f32, f32),
    y_range: &Range<u32>,
) -> bool {
    // The first pixel at or below the position `v`, counted in prototype rows.
    let pixel_at = |v: f32| ceil_px((v - offset) / slope).clamp(y_range.start, y_range.end);
    let mut y = y_range.start;
    let mut any = false;
    let mut push_until = |end: u32, foreground: bool| {
        if end > y {
            builder.push(foreground, end - y);
            any |= foreground;
            y = end;
        }
    };
    // Above the first row and below the last the logit is constant.
    let mut foreground = inside[0] == 1;
    for_each_change(inside, |i| {
        let (above, below) = (values[i], values[i + 1]);
        let row = (first_row + i) as f32;
        push_until(pixel_at(row + above / (above - below)), foreground);
        foreground = !foreground;
    });
    push_until(y_range.end, foreground);
    any
}

/// Calls for each `i` whose flag differs from the next one. Flags are 0 or 1.
#[inline(always)]
fn for_each_change(flags: &[u8], mut call: impl FnMut(usize)) {
    const WORD: usize = size_of::<u64>();
    let mut start = 0;
    // Eight at a time: nearly all of them are alike.
    while let Some(flags) = flags.get(start..start + WORD + 1) {
        let word = |from: usize| {
            u64::from_le_bytes(flags[from..from + WORD].try_into().expect("eight flags"))
        };
        let mut changes = word(0) ^ word(1);
        while changes != 0 {
            call(start + changes.trailing_zeros() as usize / 8);
            changes &= changes - 1;
        }
        start += WORD;
    }
    for (i, pair) in flags.windows(2).enumerate().skip(start) {
        if pair[0] != pair[1] {
            call(i);
        }
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Twice as many as are summed together, and one.
    const PROTOTYPES: usize = 2 * PLANES + 1;

    /// The definition, pixel by pixel.
    fn reference_mask(
        logits: &[f32],
        letterbox: &Letterbox,
        bbox: &BboxPx,
        size: usize,
    ) -> (Vec<u8>, Vec<f32>) {
        let (w, h) = (letterbox.image_width_px, letterbox.image_height_px);
        let (mut bitmap, mut values) = (Vec::new(), Vec::new());
        let position = |pixel: u32, map: (f32, f32)| {
            (map.0 * pixel as f32 + map.1).clamp(0.0, (size - 1) as f32)
        };
        for y in 0..h {
            for x in 0..w {
                let (u, v) = (position(x, letterbox.x_map(4.0)), position(y, letterbox.y_map(4.0)));
                let (i, j) = (u as usize, v as usize);
                let (i1, j1) = ((i + 1).min(size - 1), (j + 1).min(size - 1));
                let (fu, fv) = (u - i as f32, v - j as f32);
                let at = |i: usize, j: usize| logits[j * size + i];
                let value = (at(i, j) * (1.0 - fu) + at(i1, j) * fu) * (1.0 - fv)
                    + (at(i, j1) * (1.0 - fu) + at(i1, j1) * fu) * fv;
                let (xf, yf) = (x as f32, y as f32);
                let inside = (bbox.x_min_px..bbox.x_max_px).contains(&xf)
                    && (bbox.y_min_px..bbox.y_max_px).contains(&yf);
                bitmap.push(u8::from(inside && value > 0.0));
                values.push(if inside { value } else { f32::INFINITY });
            }
        }
        (bitmap, values)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn masks_equal_the_upsampled_logits_pixel_by_pixel(
            logits in proptest::collection::vec(-1.0f32..1.0, PROTOTYPES * 256),
            weights in proptest::array::uniform::<_, PROTOTYPES>(-1.0f32..1.0),
            // So many of the first are zero, as of a model that looks twice.
            zeros in 0usize..2 * PLANES,
            (w, h) in (20u32..150, 20u32..150),
            (x, y, bw, bh) in (0.0f32..60.0, 0.0f32..60.0, 1.0f32..60.0, 1.0f32..60.0),
        ) {
            let letterbox = Letterbox::new((w, h), (64, 64));
            let weight = |k: usize| if k < zeros { 0.0 } else { weights[k] };
            let bbox = letterbox.bbox_to_image(
                &BboxPx { x_min_px: x, y_min_px: y, x_max_px: x + bw, y_max_px: y + bh });
            let weights: Vec<f32> = (0..PROTOTYPES).map(weight).collect();
            let values = ArrayView3::from_shape((PROTOTYPES, 16, 16), &logits).unwrap();
            let prototypes = Prototypes::new(values, &letterbox);
            let coefficients = ArrayView1::from(&weights);
            let mask = prototypes.mask(coefficients, &bbox, &mut MaskScratch::default());
            let found = mask.unwrap_or_else(|| Mask::empty(w, h)).to_bitmap();
            let sum = |at| (0..PROTOTYPES).map(|k| weight(k) * logits[256 * k + at]).sum();
            let logits: Vec<f32> = (0..256).map(sum).collect();
            let (expected, values) = reference_mask(&logits, &letterbox, &bbox, 16);
            for i in 0..found.len() {
                // Rounding may decide differently only where the logit is zero.
                prop_assert!(found[i] == expected[i] || values[i].abs() < 1e-4,
                    "pixel {i}: {} for logit {}", found[i], values[i]);
            }
        }
    }
}

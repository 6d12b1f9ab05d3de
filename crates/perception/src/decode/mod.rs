//! From a `yolo-seg` model's output tensors to instances with masks.
//!
//! # Masks without pixels
//!
//! A mask is the set of camera pixels where the bilinearly upsampled logit is positive. Along one
//! image column that logit is a polyline whose corners are the rows of the prototypes, so its sign
//! changes are found corner by corner and written straight into runs: the work per column grows
//! with the prototypes' rows and the outline, not with the camera's pixels.

use std::collections::BinaryHeap;

use crate::mask::MaskBuilder;
use crate::number::{ceil_px, floor_index};
use crate::{BboxPx, Instance, Letterbox, Mask, ModelSpec, Outputs};

/// What [`decode`] keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecodeLimits {
    /// Lowest score kept, `0.0..=1.0`.
    pub score_min: f32,
    /// NMS: of two boxes that overlap by more, the better stays. `0.0..=1.0`.
    pub iou_max: f32,
    /// `false`: boxes of different classes never suppress each other.
    pub nms_class_agnostic: bool,
    /// Most instances kept, the best first.
    pub instances_max: usize,
}

/// Buffers of [`decode`], kept from frame to frame.
#[derive(Debug, Default)]
pub struct DecodeScratch {
    best_score: Vec<f32>,
    /// Anchors worth a look, as [`rank`]s.
    ranked: BinaryHeap<u64>,
    kept: Vec<Candidate>,
    /// Of each half of what is kept.
    masks: [MaskScratch; 2],
    first_half: Vec<Instance>,
    second_half: Vec<Instance>,
}

impl DecodeScratch {
    /// Takes back instances that nobody needs any more, for the memory that they hold.
    pub fn recycle(&mut self, mut instances: Vec<Instance>) {
        // Of few masks all are drawn with the first scratch: by turns the other's would heap up.
        let [one, other] = &mut self.masks;
        for instance in instances.drain(..) {
            let fewer = if one.spare.len() < other.spare.len() { &mut *one } else { &mut *other };
            fewer.spare.push(instance.mask.into_counts());
        }
        self.first_half = instances;
    }
}

#[derive(Debug, Default)]
struct MaskScratch {
    /// Logits of the prototype pixels that a box sees: by rows, then by columns.
    straight: Vec<f32>,
    turned: Vec<f32>,
    /// Logits of one image column at the prototypes' rows, and whether they are positive: one flag
    /// more than rows, the last one twice.
    column: Vec<f32>,
    inside: Vec<u8>,
    runs: Vec<u32>,
    /// Of masks that nobody needs any more.
    spare: Vec<Vec<u32>>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    anchor: usize,
    class_id: usize,
    score: f32,
    /// In input pixels.
    bbox: BboxPx,
}

/// Of fewer masks there is too little to share to wake another thread for it.
const MASKS_MIN_TO_SHARE: usize = 8;

/// Candidates that enter NMS at most: what a low `score_min` may cost is bounded.
const CANDIDATES_MAX: usize = 2000;

/// Instances in falling order of score; those without a visible pixel are left out. Where they are
/// many, half of the masks are drawn on a second thread of rayon's pool, with the same result.
pub fn decode(
    outputs: Outputs<'_>,
    model: &ModelSpec,
    letterbox: &Letterbox,
    limits: &DecodeLimits,
    scratch: &mut DecodeScratch,
) -> Vec<Instance> {
    let classes = model.class_names.len();
    assert_eq!(outputs.predictions.len(), (4 + classes + model.coefficients) * model.anchors);
    let arch = pulp::Arch::new();
    arch.dispatch(Choose { predictions: outputs.predictions, model, limits, scratch });
    let prototypes = Prototypes::new(outputs.prototypes, model, letterbox);
    let DecodeScratch { kept, masks: [masks, more_masks], first_half, second_half, .. } = scratch;
    let draw = |kept: &[Candidate], scratch: &mut MaskScratch, instances: &mut Vec<Instance>| {
        let predictions = outputs.predictions;
        let prototypes = &prototypes;
        arch.dispatch(Draw { predictions, model, letterbox, prototypes, kept, scratch, instances });
    };
    let mut instances = std::mem::take(first_half);
    if kept.len() >= MASKS_MIN_TO_SHARE {
        let (one, other) = kept.split_at(kept.len() / 2);
        rayon::join(|| draw(one, masks, &mut instances), || draw(other, more_masks, second_half));
        instances.append(second_half);
    } else {
        draw(kept, masks, &mut instances);
    }
    instances
}

/// Compiled for several instruction sets, of which the processor's best is taken: what it calls
/// has to be inlined.
struct Choose<'a> {
    predictions: &'a [f32],
    model: &'a ModelSpec,
    limits: &'a DecodeLimits,
    scratch: &'a mut DecodeScratch,
}

impl pulp::WithSimd for Choose<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Choose { predictions, model, limits, scratch } = self;
        rank_anchors(predictions, model, limits, scratch);
        suppress(predictions, model, limits, scratch);
    }
}

/// As [`Choose`].
struct Draw<'a> {
    predictions: &'a [f32],
    model: &'a ModelSpec,
    letterbox: &'a Letterbox,
    prototypes: &'a Prototypes<'a>,
    kept: &'a [Candidate],
    scratch: &'a mut MaskScratch,
    instances: &'a mut Vec<Instance>,
}

impl pulp::WithSimd for Draw<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Draw { predictions, model, letterbox, prototypes, kept, scratch, instances } = self;
        let first_row = 4 + model.class_names.len();
        for &Candidate { anchor, class_id, score, bbox } in kept {
            let bbox = letterbox.bbox_to_image(&bbox);
            let coefficient = |k: usize| predictions[(first_row + k) * model.anchors + anchor];
            if let Some(mask) = prototypes.mask(coefficient, &bbox, scratch) {
                instances.push(Instance { class_id, score, bbox, mask });
            }
        }
    }
}

/// Orders anchors by score, and those of the same score by their own order.
fn rank(score: f32, anchor: usize) -> u64 {
    let anchor = u32::try_from(anchor).expect("anchors are thousands");
    // Bits of floats that are not negative sort as the floats do; the sum turns -0 into 0.
    u64::from((score + 0.0).to_bits()) << 32 | u64::from(!anchor)
}

fn anchor_of(rank: u64) -> usize {
    let [low @ .., _, _, _, _] = rank.to_le_bytes();
    !u32::from_le_bytes(low) as usize
}

/// The anchors whose best class reaches the limit.
#[inline(always)]
fn rank_anchors(
    predictions: &[f32],
    model: &ModelSpec,
    limits: &DecodeLimits,
    scratch: &mut DecodeScratch,
) {
    let anchors = model.anchors;
    let scores = &predictions[4 * anchors..(4 + model.class_names.len()) * anchors];
    let DecodeScratch { best_score, ranked, .. } = scratch;
    best_score.clear();
    best_score.extend_from_slice(&scores[..anchors]);
    for scores in scores[anchors..].chunks_exact(anchors) {
        for (best, &score) in best_score.iter_mut().zip(scores) {
            *best = if score > *best { score } else { *best };
        }
    }
    let score_min = limits.score_min.max(0.0);
    // Also false for a NaN, which no score is.
    let passing = best_score.iter().enumerate().filter(|(_, score)| **score >= score_min);
    ranked.clear();
    ranked.extend(passing.map(|(anchor, &score)| rank(score, anchor)));
}

/// Greedy NMS, from the best anchor on.
#[inline(always)]
fn suppress(
    predictions: &[f32],
    model: &ModelSpec,
    limits: &DecodeLimits,
    scratch: &mut DecodeScratch,
) {
    let DecodeScratch { ranked, kept, .. } = scratch;
    kept.clear();
    for _ in 0..CANDIDATES_MAX {
        if kept.len() == limits.instances_max {
            return;
        }
        let Some(rank) = ranked.pop() else { return };
        let anchor = anchor_of(rank);
        let candidate = Candidate::read(predictions, model, anchor);
        let suppressed = kept.iter().any(|better| {
            (limits.nms_class_agnostic || better.class_id == candidate.class_id)
                && better.bbox.iou(&candidate.bbox) > limits.iou_max
        });
        if !suppressed {
            kept.push(candidate);
        }
    }
}

impl Candidate {
    fn read(predictions: &[f32], model: &ModelSpec, anchor: usize) -> Candidate {
        let value = |row: usize| predictions[row * model.anchors + anchor];
        let (mut class_id, mut score) = (0, value(4));
        for other in 1..model.class_names.len() {
            if value(4 + other) > score {
                (class_id, score) = (other, value(4 + other));
            }
        }
        let [cx, cy, w, h] = std::array::from_fn(value);
        let bbox = BboxPx {
            x_min_px: cx - 0.5 * w,
            y_min_px: cy - 0.5 * h,
            x_max_px: cx + 0.5 * w,
            y_max_px: cy + 0.5 * h,
        };
        Candidate { anchor, class_id, score, bbox }
    }
}

/// Prototype tensors with their place in the camera image.
struct Prototypes<'a> {
    /// f32 `[coefficients, height, width]`.
    values: &'a [f32],
    width: usize,
    height: usize,
    coefficients: usize,
    image_width_px: u32,
    image_height_px: u32,
    /// `u = slope * x + offset`, see [`Letterbox::x_map`].
    x_map: (f32, f32),
    y_map: (f32, f32),
}

impl<'a> Prototypes<'a> {
    fn new(values: &'a [f32], model: &ModelSpec, letterbox: &Letterbox) -> Prototypes<'a> {
        let width = model.prototype_width_px as usize;
        let height = model.prototype_height_px as usize;
        assert_eq!(values.len(), model.coefficients * width * height);
        let stride = |input_px: u32, prototype_px: u32| input_px as f32 / prototype_px as f32;
        Prototypes {
            values,
            width,
            height,
            coefficients: model.coefficients,
            image_width_px: letterbox.image_width_px,
            image_height_px: letterbox.image_height_px,
            x_map: letterbox.x_map(stride(model.width_px, model.prototype_width_px)),
            y_map: letterbox.y_map(stride(model.height_px, model.prototype_height_px)),
        }
    }

    /// The mask inside `bbox` (image pixels); `None` if it shows no pixel.
    #[inline(always)]
    fn mask(
        &self,
        coefficient: impl Fn(usize) -> f32,
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
        self.logits(coefficient, &columns, &rows, scratch);
        let MaskScratch { turned, column, inside, runs, spare, .. } = scratch;

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
            let left_logits = &turned[(left - columns.start) * row_count..][..row_count];
            let right = (left + 1).min(self.width - 1);
            let right_logits = &turned[(right - columns.start) * row_count..][..row_count];
            mix(left_logits, right_logits, weight, column, inside);
            inside[row_count] = inside[row_count - 1];

            builder.push(false, y_range.start);
            any |= push_column(&mut builder, (column, inside), rows.start, self.y_map, &y_range);
            builder.push(false, self.image_height_px - y_range.end);
        }
        builder.push(false, (self.image_width_px - x_range.end) * self.image_height_px);
        any.then(|| builder.finish(spare.pop().unwrap_or_default()))
    }

    /// Mask logits of a patch of prototype pixels, into `turned`.
    #[inline(always)]
    fn logits(
        &self,
        coefficient: impl Fn(usize) -> f32,
        columns: &std::ops::Range<usize>,
        rows: &std::ops::Range<usize>,
        scratch: &mut MaskScratch,
    ) {
        let (width, height) = (columns.len(), rows.len());
        let MaskScratch { straight, turned, .. } = scratch;
        straight.clear();
        straight.resize(width * height, 0.0);
        turned.resize(width * height, 0.0);
        // Summed row by row, along memory, some prototypes at a time; then turned.
        let plane = self.width * self.height;
        let mut planes = self.values.chunks_exact(PLANES * plane);
        for (i, planes) in planes.by_ref().enumerate() {
            let weights = std::array::from_fn(|k| coefficient(PLANES * i + k));
            // Of a model that looks at its input more than once, most are.
            if weights == [0.0; PLANES] {
                continue;
            }
            let lines: [&[f32]; PLANES] = std::array::from_fn(|k| &planes[k * plane..][..plane]);
            for (sums, y) in straight.chunks_exact_mut(width).zip(rows.clone()) {
                add_lines(sums, weights, lines.map(|line| &line[y * self.width + columns.start..]));
            }
        }
        let whole = self.coefficients / PLANES * PLANES;
        for (k, line) in (whole..).zip(planes.remainder().chunks_exact(plane)) {
            for (sums, y) in straight.chunks_exact_mut(width).zip(rows.clone()) {
                add_lines(sums, [coefficient(k)], [&line[y * self.width + columns.start..]]);
            }
        }
        for (y, line) in straight.chunks_exact(width).enumerate() {
            for (x, value) in line.iter().enumerate() {
                turned[x * height + y] = *value;
            }
        }
    }
}

/// Prototypes that are summed together: as many as a processor has registers for.
const PLANES: usize = 4;

/// Floats that are worked on together.
const LANES: usize = 8;

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
fn widened(range: &std::ops::Range<usize>, size: usize) -> std::ops::Range<usize> {
    range.start / LANES * LANES..range.end.next_multiple_of(LANES).min(size)
}

/// Pixels whose index lies in `[min, max)`.
fn pixel_range(min_px: f32, max_px: f32, size_px: u32) -> std::ops::Range<u32> {
    ceil_px(min_px).min(size_px)..ceil_px(max_px).min(size_px)
}

/// Prototype samples that the pixels of `range` look at.
fn samples(map: (f32, f32), range: &std::ops::Range<u32>, size: usize) -> std::ops::Range<usize> {
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
    y_range: &std::ops::Range<u32>,
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
    use crate::InputForm;
    use proptest::prelude::*;

    const LIMITS: DecodeLimits = DecodeLimits {
        score_min: 0.25,
        iou_max: 0.6,
        nms_class_agnostic: true,
        instances_max: 100,
    };

    fn model(coefficients: usize, anchors: usize) -> ModelSpec {
        ModelSpec {
            name: "test".into(),
            sha256: String::new(),
            input_form: InputForm::Bgr8Nhwc,
            width_px: 64,
            height_px: 64,
            class_names: vec!["box".into(), "item".into()],
            coefficients,
            anchors,
            prototype_width_px: 16,
            prototype_height_px: 16,
            score_min: None,
        }
    }

    /// One anchor a tuple: (cx, cy, w, h), class scores, one coefficient.
    fn predictions(anchors: &[([f32; 4], [f32; 2], f32)]) -> Vec<f32> {
        let mut rows = Vec::new();
        for k in 0..4 {
            rows.extend(anchors.iter().map(|a| a.0[k]));
        }
        for k in 0..2 {
            rows.extend(anchors.iter().map(|a| a.1[k]));
        }
        rows.extend(anchors.iter().map(|a| a.2));
        rows
    }

    fn found(anchors: &[([f32; 4], [f32; 2], f32)], limits: &DecodeLimits) -> Vec<Instance> {
        found_again(anchors, limits, &mut DecodeScratch::default())
    }

    fn found_again(
        anchors: &[([f32; 4], [f32; 2], f32)],
        limits: &DecodeLimits,
        scratch: &mut DecodeScratch,
    ) -> Vec<Instance> {
        let model = model(1, anchors.len());
        let letterbox = Letterbox::new((128, 128), (64, 64));
        let outputs =
            Outputs { predictions: &predictions(anchors), prototypes: &vec![1.0; 16 * 16] };
        decode(outputs, &model, &letterbox, limits, scratch)
    }

    #[test]
    fn a_box_of_positive_logits_is_filled_and_scaled_to_the_image() {
        let instances = found(&[([32.0, 32.0, 16.0, 8.0], [0.1, 0.9], 1.0)], &LIMITS);
        assert_eq!(instances.len(), 1);
        assert_eq!((instances[0].class_id, instances[0].score), (1, 0.9));
        let bbox = BboxPx { x_min_px: 48.0, y_min_px: 56.0, x_max_px: 80.0, y_max_px: 72.0 };
        assert_eq!(instances[0].bbox, bbox);
        assert_eq!(instances[0].mask.bbox(), Some(bbox));
        assert_eq!(instances[0].mask.area_px(), 32 * 16);
    }

    #[test]
    fn many_masks_are_drawn_as_each_of_them_alone() {
        let anchors: Vec<([f32; 4], [f32; 2], f32)> = (0..12u8)
            .map(|at| {
                let (x, y) = (8.0 + f32::from(at % 4) * 16.0, 10.0 + f32::from(at / 4) * 20.0);
                ([x, y, 9.0, 7.0 + 0.5 * f32::from(at)], [0.9 - 0.02 * f32::from(at), 0.0], 1.0)
            })
            .collect();
        let together = found(&anchors, &LIMITS);
        let alone = anchors.iter().flat_map(|anchor| found(&[*anchor], &LIMITS));
        assert_eq!(together, alone.collect::<Vec<_>>());
        // Also in the memory of what was found before, be it more or less.
        let mut scratch = DecodeScratch::default();
        for count in [3, 12, 9, 12] {
            let again = found_again(&anchors[..count], &LIMITS, &mut scratch);
            assert_eq!(again, together[..count]);
            scratch.recycle(again);
        }
    }

    #[test]
    fn overlapping_boxes_are_one_instance_unless_classes_are_kept_apart() {
        let anchors = [
            ([30.0, 30.0, 20.0, 20.0], [0.8, 0.1], 1.0),
            ([31.0, 30.0, 20.0, 20.0], [0.1, 0.7], 1.0),
            ([50.0, 50.0, 10.0, 10.0], [0.6, 0.1], 1.0),
        ];
        assert_eq!(found(&anchors, &LIMITS).len(), 2);
        let per_class = DecodeLimits { nms_class_agnostic: false, ..LIMITS };
        assert_eq!(found(&anchors, &per_class).len(), 3);
        let one = DecodeLimits { instances_max: 1, ..LIMITS };
        assert_eq!(found(&anchors, &one).len(), 1);
    }

    #[test]
    fn low_scores_nan_scores_and_empty_masks_are_left_out() {
        let anchors = [
            ([32.0, 32.0, 9.0, 9.0], [0.2, 0.1], 1.0),
            ([10.0, 10.0, 9.0, 9.0], [f32::NAN, f32::NAN], 1.0),
            ([50.0, 50.0, 9.0, 9.0], [0.9, 0.1], -1.0),
        ];
        assert!(found(&anchors, &LIMITS).is_empty());
    }

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
            let model = model(PROTOTYPES, 1);
            let weight = |k: usize| if k < zeros { 0.0 } else { weights[k] };
            let bbox = letterbox.bbox_to_image(
                &BboxPx { x_min_px: x, y_min_px: y, x_max_px: x + bw, y_max_px: y + bh });
            let prototypes = Prototypes::new(&logits, &model, &letterbox);
            let mask = prototypes.mask(weight, &bbox, &mut MaskScratch::default());
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

        #[test]
        fn scores_fall_and_counts_are_bounded(
            anchors in proptest::collection::vec(
                ((0.0f32..64.0, 0.0f32..64.0, 0.0f32..40.0, 0.0f32..40.0),
                 (0.0f32..1.0, 0.0f32..1.0), -1.0f32..1.0), 1..60),
        ) {
            let anchors: Vec<_> = anchors.into_iter()
                .map(|((a, b, c, d), (s, t), k)| ([a, b, c, d], [s, t], k)).collect();
            let limits = DecodeLimits { instances_max: 10, ..LIMITS };
            let instances = found(&anchors, &limits);
            prop_assert!(instances.len() <= 10);
            prop_assert!(instances.windows(2).all(|pair| pair[0].score >= pair[1].score));
            prop_assert!(instances.iter().all(|i| i.score >= 0.25 && !i.mask.is_empty()));
        }
    }
}

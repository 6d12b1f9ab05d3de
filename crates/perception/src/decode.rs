//! From a `yolo-seg` model's output tensors to instances with masks.
//!
//! # Masks without pixels
//!
//! A mask is the set of camera pixels where the bilinearly upsampled logit is positive. Along one
//! image column that logit is a polyline whose corners are the rows of the prototypes, so its sign
//! changes are found corner by corner and written straight into runs: the work per column grows
//! with the prototypes' rows and the outline, not with the camera's pixels.

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
    best_class: Vec<u32>,
    candidates: Vec<Candidate>,
    kept: Vec<Candidate>,
    patch: Vec<f32>,
    column: Vec<f32>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    anchor: usize,
    class_id: usize,
    score: f32,
    /// In input pixels.
    bbox: BboxPx,
}

/// Candidates that enter NMS at most: what a low `score_min` may cost is bounded.
const CANDIDATES_MAX: usize = 2000;

/// Instances in falling order of score; those without a visible pixel are left out.
pub fn decode(
    outputs: Outputs<'_>,
    model: &ModelSpec,
    letterbox: &Letterbox,
    limits: &DecodeLimits,
    scratch: &mut DecodeScratch,
) -> Vec<Instance> {
    let classes = model.class_names.len();
    assert_eq!(outputs.predictions.len(), (4 + classes + model.coefficients) * model.anchors);
    let prototypes = Prototypes::new(outputs.prototypes, model, letterbox);
    find_candidates(outputs.predictions, model, limits, scratch);
    suppress(limits, scratch);
    let DecodeScratch { kept, patch, column, .. } = scratch;
    kept.iter()
        .filter_map(|candidate| {
            let bbox = letterbox.bbox_to_image(&candidate.bbox);
            let coefficients = |k: usize| {
                outputs.predictions[(4 + classes + k) * model.anchors + candidate.anchor]
            };
            let mask = prototypes.mask(coefficients, &bbox, patch, column)?;
            let Candidate { class_id, score, .. } = *candidate;
            Some(Instance { class_id, score, bbox, mask })
        })
        .collect()
}

/// Anchors whose best class reaches the limit, best first.
fn find_candidates(
    predictions: &[f32],
    model: &ModelSpec,
    limits: &DecodeLimits,
    scratch: &mut DecodeScratch,
) {
    let anchors = model.anchors;
    let row = |k: usize| &predictions[k * anchors..(k + 1) * anchors];
    let DecodeScratch { best_score, best_class, candidates, .. } = scratch;
    best_score.clear();
    best_score.extend_from_slice(row(4));
    best_class.clear();
    best_class.resize(anchors, 0);
    for class_id in 1..model.class_names.len() {
        let class = u32::try_from(class_id).expect("a class id");
        let scores = row(4 + class_id);
        for ((best, id), &score) in best_score.iter_mut().zip(best_class.iter_mut()).zip(scores) {
            let better = score > *best;
            *best = if better { score } else { *best };
            *id = if better { class } else { *id };
        }
    }
    candidates.clear();
    for (anchor, &score) in best_score.iter().enumerate() {
        // Also false for a NaN, which no score is.
        if score >= limits.score_min {
            let [cx, cy, w, h] = std::array::from_fn(|k| row(k)[anchor]);
            let bbox = BboxPx {
                x_min_px: cx - 0.5 * w,
                y_min_px: cy - 0.5 * h,
                x_max_px: cx + 0.5 * w,
                y_max_px: cy + 0.5 * h,
            };
            let class_id = best_class[anchor] as usize;
            candidates.push(Candidate { anchor, class_id, score, bbox });
        }
    }
    // The anchor breaks ties, so that the order never depends on the sort.
    candidates
        .sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.anchor.cmp(&b.anchor)));
    candidates.truncate(CANDIDATES_MAX);
}

/// Greedy NMS.
fn suppress(limits: &DecodeLimits, scratch: &mut DecodeScratch) {
    let DecodeScratch { candidates, kept, .. } = scratch;
    kept.clear();
    for candidate in candidates.iter() {
        let suppressed = kept.iter().any(|better| {
            (limits.nms_class_agnostic || better.class_id == candidate.class_id)
                && better.bbox.iou(&candidate.bbox) > limits.iou_max
        });
        if !suppressed {
            kept.push(*candidate);
            if kept.len() == limits.instances_max {
                return;
            }
        }
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
    fn mask(
        &self,
        coefficient: impl Fn(usize) -> f32,
        bbox: &BboxPx,
        patch: &mut Vec<f32>,
        column: &mut Vec<f32>,
    ) -> Option<Mask> {
        // A pixel belongs to the box when its index lies in [min, max), as in the reference.
        let x_range = pixel_range(bbox.x_min_px, bbox.x_max_px, self.image_width_px);
        let y_range = pixel_range(bbox.y_min_px, bbox.y_max_px, self.image_height_px);
        if x_range.is_empty() || y_range.is_empty() {
            return None;
        }
        let columns = samples(self.x_map, &x_range, self.width);
        let rows = samples(self.y_map, &y_range, self.height);
        self.logits(coefficient, columns.clone(), rows.clone(), patch);

        let mut builder = MaskBuilder::new(self.image_width_px, self.image_height_px);
        builder.push(false, x_range.start * self.image_height_px);
        let row_count = rows.len();
        let mut any = false;
        for x in x_range.clone() {
            let u = (self.x_map.0 * x as f32 + self.x_map.1)
                .clamp(columns.start as f32, (columns.end - 1) as f32);
            let left = floor_index(u).min(columns.end.saturating_sub(2).max(columns.start));
            let weight = u - left as f32;
            let left_logits = &patch[(left - columns.start) * row_count..][..row_count];
            let right = (left + 1).min(columns.end - 1);
            let right_logits = &patch[(right - columns.start) * row_count..][..row_count];
            column.clear();
            column.extend(left_logits.iter().zip(right_logits).map(|(l, r)| l + weight * (r - l)));

            builder.push(false, y_range.start);
            any |= push_column(&mut builder, column, rows.start, self.y_map, &y_range);
            builder.push(false, self.image_height_px - y_range.end);
        }
        builder.push(false, (self.image_width_px - x_range.end) * self.image_height_px);
        any.then(|| builder.finish())
    }

    /// Mask logits of a patch of prototype pixels, column-major.
    fn logits(
        &self,
        coefficient: impl Fn(usize) -> f32,
        columns: std::ops::Range<usize>,
        rows: std::ops::Range<usize>,
        patch: &mut Vec<f32>,
    ) {
        let (width, height) = (columns.len(), rows.len());
        patch.clear();
        patch.resize(2 * width * height, 0.0);
        // Summed row by row, along memory, then turned.
        let (turned, straight) = patch.split_at_mut(width * height);
        for k in 0..self.coefficients {
            let weight = coefficient(k);
            let plane = &self.values[k * self.width * self.height..][..self.width * self.height];
            for (sums, y) in straight.chunks_exact_mut(width).zip(rows.clone()) {
                let line = &plane[y * self.width + columns.start..][..width];
                for (sum, value) in sums.iter_mut().zip(line) {
                    *sum += weight * value;
                }
            }
        }
        for (y, line) in straight.chunks_exact(width).enumerate() {
            for (x, value) in line.iter().enumerate() {
                turned[x * height + y] = *value;
            }
        }
        patch.truncate(width * height);
    }
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
/// from `first_row` on. Returns whether any is foreground.
fn push_column(
    builder: &mut MaskBuilder,
    values: &[f32],
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
    let mut inside = values[0] > 0.0;
    for (i, pair) in values.windows(2).enumerate() {
        let next_inside = pair[1] > 0.0;
        if next_inside != inside {
            let row = (first_row + i) as f32;
            push_until(pixel_at(row + pair[0] / (pair[0] - pair[1])), inside);
            inside = next_inside;
        }
    }
    push_until(y_range.end, inside);
    any
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
        let model = model(1, anchors.len());
        let letterbox = Letterbox::new((128, 128), (64, 64));
        let outputs =
            Outputs { predictions: &predictions(anchors), prototypes: &vec![1.0; 16 * 16] };
        decode(outputs, &model, &letterbox, limits, &mut DecodeScratch::default())
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
            logits in proptest::collection::vec(-1.0f32..1.0, 256),
            (w, h) in (20u32..150, 20u32..150),
            (x, y, bw, bh) in (0.0f32..60.0, 0.0f32..60.0, 1.0f32..60.0, 1.0f32..60.0),
        ) {
            let letterbox = Letterbox::new((w, h), (64, 64));
            let model = model(1, 1);
            let bbox = letterbox.bbox_to_image(
                &BboxPx { x_min_px: x, y_min_px: y, x_max_px: x + bw, y_max_px: y + bh });
            let prototypes = Prototypes::new(&logits, &model, &letterbox);
            let mask = prototypes.mask(|_| 1.0, &bbox, &mut Vec::new(), &mut Vec::new());
            let found = mask.unwrap_or_else(|| Mask::empty(w, h)).to_bitmap();
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

//! From a model's output tensors to instances with masks.
//!
//! Each [`OutputLayout`] has a file that finds the candidates, best first, and says where their mask
//! coefficients are; what comes after is the same for all.

mod candidate;
mod mask_runs;
mod yolo_seg;
mod yolo_seg_end_to_end;

use ndarray::ArrayView2;

use self::candidate::Candidate;
use self::mask_runs::{MaskScratch, Prototypes};
use crate::{Instance, Letterbox, ModelSpec, OutputLayout, Outputs};

pub use self::candidate::DecodeLimits;

/// With fewer masks than this, waking a second thread takes longer than it saves.
const MASKS_MIN_TO_SHARE: usize = 8;

/// Buffers of [`decode`], kept from frame to frame.
#[derive(Debug, Default)]
pub struct DecodeScratch {
    yolo_seg: yolo_seg::Scratch,
    kept: Vec<Candidate>,
    /// One for each half of what is kept.
    masks: [MaskScratch; 2],
    first_half: Vec<Instance>,
    second_half: Vec<Instance>,
}

impl DecodeScratch {
    /// Takes back instances that nobody needs any more, for the memory that they hold.
    pub fn recycle(&mut self, mut instances: Vec<Instance>) {
        // Few masks are all drawn with the first scratch: given back by turns, the other's would
        // heap up.
        let [one, other] = &mut self.masks;
        for instance in instances.drain(..) {
            let fewer = if one.spare.len() < other.spare.len() { &mut *one } else { &mut *other };
            fewer.spare.push(instance.mask.into_counts());
        }
        self.first_half = instances;
    }
}

/// Instances in falling order of score; those without a visible pixel are left out. Where they are
/// many, half of the masks are drawn on a second thread of rayon's pool, with the same result.
pub fn decode(
    outputs: Outputs<'_>,
    model: &ModelSpec,
    letterbox: &Letterbox,
    limits: &DecodeLimits,
    scratch: &mut DecodeScratch,
) -> Vec<Instance> {
    let arch = pulp::Arch::new();
    let DecodeScratch { yolo_seg, kept, masks: [masks, more_masks], first_half, second_half } =
        scratch;
    let coefficients = arch.dispatch(Find { outputs, model, limits, yolo_seg, kept });
    let prototypes = Prototypes::new(outputs.prototypes, letterbox);
    let draw = |kept: &[Candidate], scratch: &mut MaskScratch, instances: &mut Vec<Instance>| {
        let prototypes = &prototypes;
        arch.dispatch(Draw { coefficients, letterbox, prototypes, kept, scratch, instances });
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

/// Fills `kept` and returns the mask coefficients, `[coefficient, candidate's index]`. Compiled for
/// several instruction sets, of which the processor's best is taken: what it calls has to be inlined.
struct Find<'a, 'b> {
    outputs: Outputs<'a>,
    model: &'b ModelSpec,
    limits: &'b DecodeLimits,
    yolo_seg: &'b mut yolo_seg::Scratch,
    kept: &'b mut Vec<Candidate>,
}

impl<'a> pulp::WithSimd for Find<'a, '_> {
    type Output = ArrayView2<'a, f32>;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) -> ArrayView2<'a, f32> {
        let Find { outputs, model, limits, yolo_seg, kept } = self;
        // The one place that knows which layouts there are.
        let (predictions, classes) = (outputs.predictions, model.class_names.len());
        match model.output_layout {
            OutputLayout::YoloSeg => yolo_seg::find(predictions, classes, limits, yolo_seg, kept),
            OutputLayout::YoloSegEndToEnd => {
                yolo_seg_end_to_end::find(predictions, classes, limits, kept)
            }
        }
    }
}

/// Compiled as [`Find`] is.
struct Draw<'a, 'b> {
    coefficients: ArrayView2<'b, f32>,
    letterbox: &'a Letterbox,
    prototypes: &'a Prototypes<'b>,
    kept: &'a [Candidate],
    scratch: &'a mut MaskScratch,
    instances: &'a mut Vec<Instance>,
}

impl pulp::WithSimd for Draw<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let Draw { coefficients, letterbox, prototypes, kept, scratch, instances } = self;
        for &Candidate { index, class_id, score, bbox } in kept {
            let bbox = letterbox.bbox_to_image(&bbox);
            if let Some(mask) = prototypes.mask(coefficients.column(index), &bbox, scratch) {
                // A reader refuses a message whose scores are none.
                let score = score.min(1.0);
                instances.push(Instance { class_id, score, bbox, mask });
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::{BboxPx, InputForm};
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
            output_layout: OutputLayout::YoloSeg,
            predictions_shape: [4 + 2 + coefficients, anchors],
            coefficients,
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
        let (predictions, prototypes) = (predictions(anchors), vec![1.0; 16 * 16]);
        let outputs = Outputs::new(&model, &predictions, &prototypes);
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

    /// One row a tuple: (x_min, y_min, x_max, y_max), score, class id, one coefficient.
    fn found_in_rows(rows: &[([f32; 4], f32, f32, f32)], limits: &DecodeLimits) -> Vec<Instance> {
        let model = ModelSpec {
            output_layout: OutputLayout::YoloSegEndToEnd,
            predictions_shape: [rows.len(), 7],
            ..model(1, 0)
        };
        let values: Vec<f32> = rows
            .iter()
            .flat_map(|&([a, b, c, d], score, class, k)| [a, b, c, d, score, class, k])
            .collect();
        let (letterbox, prototypes) = (Letterbox::new((128, 128), (64, 64)), vec![1.0; 16 * 16]);
        let outputs = Outputs::new(&model, &values, &prototypes);
        decode(outputs, &model, &letterbox, limits, &mut DecodeScratch::default())
    }

    #[test]
    fn rows_without_duplicates_are_what_they_say_best_first() {
        let instances = found_in_rows(
            &[
                ([2.0, 2.0, 12.0, 12.0], 0.5, 0.0, 1.0),
                ([24.0, 28.0, 40.0, 36.0], 0.9, 1.0, 1.0),
                // Overlaps the last one by nearly all: whoever made the rows found both.
                ([24.0, 28.0, 40.0, 35.0], 0.8, 1.0, 1.0),
                ([30.0, 30.0, 50.0, 50.0], 0.7, 0.0, -1.0),
                ([0.0; 4], 0.0, 0.0, 0.0),
            ],
            &LIMITS,
        );
        let found: Vec<_> = instances.iter().map(|i| (i.score, i.class_id)).collect();
        assert_eq!(found, [(0.9, 1), (0.8, 1), (0.5, 0)]);
        let bbox = BboxPx { x_min_px: 48.0, y_min_px: 56.0, x_max_px: 80.0, y_max_px: 72.0 };
        assert_eq!((instances[0].bbox, instances[0].mask.area_px()), (bbox, 32 * 16));
        assert_eq!(instances[0].mask.bbox(), Some(bbox));
    }

    #[test]
    fn one_anchor_is_one_instance_unless_classes_are_kept_apart() {
        let corners = [24.0, 28.0, 40.0, 36.0];
        let rows = [(corners, 0.6, 0.0, 1.0), (corners, 0.7, 1.0, 1.0)];
        let found = found_in_rows(&rows, &LIMITS);
        assert_eq!((found.len(), found[0].class_id), (1, 1));
        let per_class = DecodeLimits { nms_class_agnostic: false, ..LIMITS };
        assert_eq!(found_in_rows(&rows, &per_class).len(), 2);
        let one = DecodeLimits { instances_max: 1, ..per_class };
        assert_eq!(found_in_rows(&rows, &one).len(), 1);
    }

    #[test]
    fn rows_below_the_limit_of_no_class_or_no_number_are_left_out() {
        let corners = [24.0, 28.0, 40.0, 36.0];
        let rows = [
            (corners, 0.2, 0.0, 1.0),
            (corners, f32::NAN, 0.0, 1.0),
            (corners, 0.9, 2.0, 1.0),
            (corners, 0.9, -1.0, 1.0),
            (corners, 0.9, f32::NAN, 1.0),
            ([f32::NAN; 4], 0.9, 0.0, 1.0),
            // Inside out.
            ([40.0, 36.0, 24.0, 28.0], 0.9, 0.0, 1.0),
        ];
        assert!(found_in_rows(&rows, &LIMITS).is_empty());
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

    #[test]
    fn a_score_beyond_one_is_one() {
        let anchors = [
            ([10.0, 10.0, 9.0, 9.0], [0.5, 7.0], 1.0),
            ([40.0, 40.0, 9.0, 9.0], [f32::INFINITY, 0.0], 1.0),
        ];
        let instances = found(&anchors, &LIMITS);
        assert_eq!(instances.iter().map(|found| found.score).collect::<Vec<_>>(), [1.0, 1.0]);
    }

    proptest! {
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

//! Letterbox and decode against `reference.py`, the model contract in plain NumPy, by way of the
//! golden file that it wrote.

#![allow(clippy::unwrap_used, reason = "a test that cannot get its data has failed")]
#![allow(clippy::cast_possible_truncation, reason = "the golden numbers are small")]

use magpie_perception::{
    BboxPx, BgrImage, DecodeLimits, DecodeScratch, InputForm, InputMut, Instance, Letterbox, Mask,
    ModelSpec, OutputLayout, Outputs, PreprocessScratch, decode, preprocess,
};
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/decode.json")).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn number(value: &Value) -> f32 {
    value.as_f64().unwrap() as f32
}

fn size(value: &Value) -> (u32, u32) {
    let px = |i: usize| u32::try_from(value[i].as_u64().unwrap()).unwrap();
    (px(0), px(1))
}

/// All numbers of a nested list, in order.
fn flat(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        value => vec![number(value)],
    }
}

/// Bytes written as two hexadecimal digits each.
fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn per_256(value: &Value) -> Vec<f32> {
    flat(value).iter().map(|value| value / 256.0).collect()
}

/// What our decode makes of a case's tensors.
fn decoded(case: &Value) -> Vec<Instance> {
    let (width_px, height_px) = size(&case["input_size_px"]);
    let classes = case["classes"].as_u64().unwrap();
    let predictions = list(&case["predictions_per_256"]);
    let model = ModelSpec {
        name: "golden".into(),
        sha256: String::new(),
        input_form: InputForm::Bgr8Nhwc,
        width_px,
        height_px,
        class_names: (0..classes).map(|id| id.to_string()).collect(),
        output_layout: if case["end_to_end"].as_bool().unwrap() {
            OutputLayout::YoloSegEndToEnd
        } else {
            OutputLayout::YoloSeg
        },
        predictions_shape: [predictions.len(), list(&predictions[0]).len()],
        coefficients: list(&case["prototypes_per_256"]).len(),
        prototype_width_px: width_px / 4,
        prototype_height_px: height_px / 4,
        score_min: None,
    };
    let limits = DecodeLimits {
        score_min: number(&case["score_min"]),
        iou_max: number(&case["iou_max"]),
        nms_class_agnostic: true,
        instances_max: 1000,
    };
    let predictions = per_256(&case["predictions_per_256"]);
    let prototypes = per_256(&case["prototypes_per_256"]);
    let outputs = Outputs::new(&model, &predictions, &prototypes);
    let letterbox = Letterbox::new(size(&case["image_size_px"]), (width_px, height_px));
    decode(outputs, &model, &letterbox, &limits, &mut DecodeScratch::default())
}

fn expected_instance(value: &Value, image: (u32, u32)) -> Instance {
    let bbox = flat(&value["bbox_px"]);
    Instance {
        class_id: usize::try_from(value["class_id"].as_u64().unwrap()).unwrap(),
        score: number(&value["score"]),
        bbox: BboxPx { x_min_px: bbox[0], y_min_px: bbox[1], x_max_px: bbox[2], y_max_px: bbox[3] },
        mask: Mask::from_coco_string(image.0, image.1, value["mask"].as_str().unwrap()).unwrap(),
    }
}

fn bbox_difference_px(a: &BboxPx, b: &BboxPx) -> f32 {
    [
        a.x_min_px - b.x_min_px,
        a.y_min_px - b.y_min_px,
        a.x_max_px - b.x_max_px,
        a.y_max_px - b.y_max_px,
    ]
    .into_iter()
    .fold(0.0, |worst, difference| worst.max(difference.abs()))
}

#[test]
fn decode_finds_the_references_instances_with_its_masks() {
    for case in list(&golden()["cases"]) {
        let name = case["name"].as_str().unwrap();
        let image = size(&case["image_size_px"]);
        let expected: Vec<Instance> =
            list(&case["instances"]).iter().map(|i| expected_instance(i, image)).collect();
        let found = decoded(case);
        assert!(expected.len() >= 40, "{name}");
        assert_eq!(found.len(), expected.len(), "{name}");

        let mut iou_sum = 0.0;
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found.class_id, expected.class_id, "{name}, instance {i}");
            assert!((found.score - expected.score).abs() < 1e-6, "{name}, instance {i}");
            let difference_px = bbox_difference_px(&found.bbox, &expected.bbox);
            assert!(difference_px < 0.01, "{name}, instance {i}: {difference_px} px");
            iou_sum += f64::from(found.mask.iou(&expected.mask));
        }
        let iou_mean = iou_sum / expected.len() as f64;
        println!("{name}: {} instances, mean mask IoU {iou_mean:.6}", expected.len());
        assert!(iou_mean >= 0.999, "{name}: {iou_mean}");
    }
}

#[test]
fn letterboxing_is_opencvs_within_one_grey_level() {
    for picture in list(&golden()["pictures"]) {
        let (image, input) = (size(&picture["image_size_px"]), size(&picture["input_size_px"]));
        let bgr = BgrImage::new(image.0, image.1, bytes(&picture["bgr"])).unwrap();
        let expected = bytes(&picture["letterboxed"]);
        let mut found = vec![0; expected.len()];
        let mut scratch = PreprocessScratch::default();
        let letterbox = Letterbox::new(image, input);
        preprocess(&bgr, &letterbox, InputMut::Bgr8Nhwc(&mut found), &mut scratch);
        for (at, (&found, &expected)) in found.iter().zip(&expected).enumerate() {
            assert!(found.abs_diff(expected) <= 1, "byte {at}: {found}, not {expected}");
        }
    }
}

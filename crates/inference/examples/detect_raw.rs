//! Segments one picture given as bare BGR bytes and prints the instances as JSON.
//!
//! ```sh
//! cargo run -p magpie-inference --example detect_raw -- MODEL PICTURE.bgr WIDTH HEIGHT SCORE_MIN IOU_MAX
//! ```

use std::error::Error;
use std::io::Write;
use std::path::Path;

use magpie_inference::{ModelFile, OnnxSession, SessionOptions};
use magpie_perception::{
    BgrImage, DecodeLimits, DecodeScratch, InferenceSession, Instance, Letterbox, ModelSpec,
    PreprocessScratch, decode, preprocess,
};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, picture, width_px, height_px, score_min, iou_max] = arguments.as_slice() else {
        return Err("usage: detect_raw MODEL PICTURE.bgr WIDTH HEIGHT SCORE_MIN IOU_MAX".into());
    };
    let image = BgrImage::new(width_px.parse()?, height_px.parse()?, std::fs::read(picture)?)?;
    let limits = DecodeLimits {
        score_min: score_min.parse()?,
        iou_max: iou_max.parse()?,
        nms_class_agnostic: true,
        instances_max: 1000,
    };
    let model = ModelFile::read(Path::new(model), None)?;
    let mut session = OnnxSession::load(&model, &SessionOptions::default())?;
    let instances = detect(&mut session, &image, &limits)?;
    let found: Vec<Value> = instances.iter().map(to_json).collect();
    writeln!(std::io::stdout(), "{}", json!({ "instances": found }))?;
    Ok(())
}

fn detect(
    session: &mut OnnxSession,
    image: &BgrImage,
    limits: &DecodeLimits,
) -> Result<Vec<Instance>, Box<dyn Error>> {
    let spec: ModelSpec = session.spec().clone();
    let letterbox =
        Letterbox::new((image.width_px(), image.height_px()), (spec.width_px, spec.height_px));
    preprocess(image, &letterbox, session.input(), &mut PreprocessScratch::default());
    let outputs = session.run()?;
    Ok(decode(outputs, &spec, &letterbox, limits, &mut DecodeScratch::default()))
}

fn to_json(instance: &Instance) -> Value {
    let bbox = &instance.bbox;
    json!({
        "class_id": instance.class_id,
        "score": instance.score,
        "bbox_px": [bbox.x_min_px, bbox.y_min_px, bbox.x_max_px, bbox.y_max_px],
        "mask": instance.mask.to_coco_string(),
    })
}

//! One model file, read once and screened before ONNX Runtime sees it.
//!
//! # Conventions
//!
//! The metadata keys are Ultralytics': `task`, `names`, `imgsz` (`[height, width]`) and `stride`;
//! `magpie.score_min` is ours.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use magpie_perception::{InputForm, ModelSpec, OutputLayout};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::external::check_self_contained;
use crate::literal::{LiteralError, class_names, height_and_width};
use crate::onnx::{GraphProto, Model};
use crate::refusal::{ModelError, Refusal};
use crate::shape::{Port, Ports, UINT8};

/// What predictions and prototypes may hold.
const FLOATS: &str = "float32 or float16";

/// A larger file is refused unread; the largest YOLO-seg models have about 250 MB.
pub const MODEL_BYTES_MAX: u64 = 1 << 30;

/// A file that keeps the model contract, as far as that shows without running it.
#[derive(Clone)]
pub struct ModelFile {
    spec: ModelSpec,
    ports: Ports,
    metadata: Vec<(String, String)>,
    bytes: Arc<[u8]>,
}

impl std::fmt::Debug for ModelFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelFile").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl ModelFile {
    /// Reads the file once: the bytes that are hashed and screened are those that will run.
    ///
    /// `sha256_expected` is in hexadecimal digits of either case.
    pub fn read(path: &Path, sha256_expected: Option<&str>) -> Result<ModelFile, ModelError> {
        let refused = |refusal| ModelError { model: path.display().to_string(), refusal };
        let bytes = read_bytes(path).map_err(refused)?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        screen(&name.unwrap_or_default(), bytes, sha256_expected).map_err(refused)
    }

    /// Screens a file that is already in memory, under the name given.
    pub fn from_bytes(
        name: &str,
        bytes: Vec<u8>,
        sha256_expected: Option<&str>,
    ) -> Result<ModelFile, ModelError> {
        screen(name, bytes, sha256_expected)
            .map_err(|refusal| ModelError { model: name.to_owned(), refusal })
    }

    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Returns everything the file says about itself, key by key.
    pub fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Refusal> {
    // Asked before opening, since opening a named pipe would wait for its writer.
    let found = std::fs::metadata(path).map_err(|err| match err.kind() {
        ErrorKind::NotFound => Refusal::Missing,
        _ => Refusal::Unreadable(err),
    })?;
    if !found.is_file() {
        return Err(Refusal::NotAFile);
    }
    let file = magpie_files::open(path).map_err(Refusal::Unreadable)?;
    let mut bytes = Vec::new();
    // One byte more than allowed shows a file that grew since it was asked.
    let mut limited = file.take(MODEL_BYTES_MAX + 1);
    if found.len() <= MODEL_BYTES_MAX {
        limited.read_to_end(&mut bytes).map_err(Refusal::Unreadable)?;
    }
    let found_bytes = found.len().max(bytes.len() as u64);
    if found_bytes > MODEL_BYTES_MAX {
        return Err(Refusal::TooLarge { found_bytes, max_bytes: MODEL_BYTES_MAX });
    }
    Ok(bytes)
}

fn screen(name: &str, bytes: Vec<u8>, sha256_expected: Option<&str>) -> Result<ModelFile, Refusal> {
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if let Some(expected) = sha256_expected.filter(|hash| !hash.eq_ignore_ascii_case(&sha256)) {
        return Err(Refusal::Hash { found: sha256, expected: expected.to_owned() });
    }
    let model = Model::decode(bytes.as_slice())
        .map_err(|source| Refusal::NotOnnx { found_bytes: bytes.len(), source })?;
    let graph = model.graph.as_ref().ok_or(Refusal::NoGraph { found_bytes: bytes.len() })?;
    check_self_contained(&model)?;
    let (spec, ports) = read_spec(name, sha256, &model, graph)?;
    let metadata = model.metadata_props.into_iter().map(|entry| (entry.key, entry.value)).collect();
    Ok(ModelFile { spec, ports, metadata, bytes: bytes.into() })
}

fn read_spec(
    name: &str,
    sha256: String,
    model: &Model,
    graph: &GraphProto,
) -> Result<(ModelSpec, Ports), Refusal> {
    let Some(task) = metadata(model, "task") else {
        // Whose outputs are another network's is told that, not how to write metadata.
        Ports::of(graph)?;
        return Err(Refusal::MissingKey { key: "task" });
    };
    if task != "segment" {
        return Err(Refusal::WrongTask { found: abbreviated(task) });
    }
    let class_names = literal(model, "names", class_names)?;
    let (height_px, width_px) = literal(model, "imgsz", height_and_width)?;
    let stride = read_stride(model)?;
    if !height_px.is_multiple_of(stride) || !width_px.is_multiple_of(stride) {
        return Err(Refusal::Indivisible { height_px, width_px, stride });
    }
    let score_min = read_score_min(model)?;

    let ports = Ports::of(graph)?;
    let size = (height_px as usize, width_px as usize);
    let input_form = read_input_form(&ports.image, size)?;
    let coefficients = check_prototypes(&ports.prototypes, size)?;
    let anchors = anchor_counts(size, stride as usize);
    let (output_layout, predictions_shape) =
        read_output_layout(&ports.predictions, class_names.len(), coefficients, &anchors)?;
    if let (OutputLayout::YoloSegEndToEnd, [rows, row]) = (output_layout, predictions_shape)
        && row == 4 + class_names.len() + coefficients
        && anchors.contains(&rows)
        && !says_end_to_end(model)
    {
        return Err(Refusal::Transposed { anchors: rows, channels: row });
    }
    let spec = ModelSpec {
        name: name.to_owned(),
        sha256,
        input_form,
        width_px,
        height_px,
        class_names,
        output_layout,
        predictions_shape,
        coefficients,
        prototype_width_px: width_px / 4,
        prototype_height_px: height_px / 4,
        score_min,
    };
    Ok((spec, ports))
}

fn metadata<'a>(model: &'a Model, key: &str) -> Option<&'a str> {
    model.metadata_props.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
}

/// As Ultralytics writes it, of networks that need no removal of duplicates and of `nms=True`.
fn says_end_to_end(model: &Model) -> bool {
    let is_true =
        |key| metadata(model, key).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let arguments = metadata(model, "args").unwrap_or_default();
    is_true("end2end") || is_true("nms") || arguments.contains("'nms': True")
}

fn required<'a>(model: &'a Model, key: &'static str) -> Result<&'a str, Refusal> {
    metadata(model, key).ok_or(Refusal::MissingKey { key })
}

fn literal<T>(
    model: &Model,
    key: &'static str,
    read: impl Fn(&str) -> Result<T, LiteralError>,
) -> Result<T, Refusal> {
    let text = required(model, key)?;
    read(text).map_err(|source| Refusal::BadLiteral { key, found: abbreviated(text), source })
}

/// Keeps enough of a value to recognise it in a message.
fn abbreviated(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Reads the largest stride of the grids that make the anchors.
fn read_stride(model: &Model) -> Result<u32, Refusal> {
    let text = required(model, "stride")?;
    let stride: Option<u32> = text.trim().parse().ok();
    let usable = |stride: &u32| stride.is_power_of_two() && (4..=256).contains(stride);
    stride.filter(usable).ok_or_else(|| Refusal::BadValue {
        key: "stride",
        found: abbreviated(text),
        expected: "a power of two from 4 to 256",
    })
}

fn read_score_min(model: &Model) -> Result<Option<f32>, Refusal> {
    const KEY: &str = "magpie.score_min";
    let Some(text) = metadata(model, KEY) else { return Ok(None) };
    match text.trim().parse::<f32>() {
        Ok(score) if (0.0..=1.0).contains(&score) => Ok(Some(score)),
        _ => Err(Refusal::BadValue {
            key: KEY,
            found: abbreviated(text),
            expected: "a number from 0 to 1",
        }),
    }
}

fn read_input_form(
    image: &Port<Vec<usize>>,
    (height, width): (usize, usize),
) -> Result<InputForm, Refusal> {
    let (form, expected) = match image.element_type {
        UINT8 => (InputForm::Bgr8Nhwc, [1, height, width, 3]),
        _ => (InputForm::RgbF32Nchw, [1, 3, height, width]),
    };
    if form == InputForm::RgbF32Nchw {
        image.expect_floats("uint8 (BGR), float32 or float16 (RGB)")?;
    }
    if let &[batch, _, _, _] = image.shape.as_slice()
        && batch > 1
    {
        return Err(Refusal::Batch { batch });
    }
    if image.shape != expected {
        return Err(image.wrong_shape(format!("{expected:?} by its type and `imgsz`")));
    }
    Ok(form)
}

/// Returns the number of mask coefficients.
fn check_prototypes(
    prototypes: &Port<[usize; 4]>,
    (height, width): (usize, usize),
) -> Result<usize, Refusal> {
    prototypes.expect_floats(FLOATS)?;
    let [_, coefficients, _, _] = prototypes.shape;
    let expected = [1, coefficients, height / 4, width / 4];
    if prototypes.shape != expected {
        return Err(prototypes.wrong_shape(format!("{expected:?} by `imgsz`")));
    }
    Ok(coefficients)
}

/// Tells the layout by the shape of the predictions, and returns that shape without the batch axis.
fn read_output_layout(
    predictions: &Port<[usize; 3]>,
    names: usize,
    coefficients: usize,
    anchor_counts: &[usize],
) -> Result<(OutputLayout, [usize; 2]), Refusal> {
    predictions.expect_floats(FLOATS)?;
    let (channels, row) = (4 + names + coefficients, 6 + coefficients);
    match predictions.shape {
        [1, found, anchors] if found == channels && anchor_counts.contains(&anchors) => {
            Ok((OutputLayout::YoloSeg, [channels, anchors]))
        }
        [1, rows, found] if found == row => Ok((OutputLayout::YoloSegEndToEnd, [rows, row])),
        [1, channels, anchors] if anchor_counts.contains(&anchors) => {
            Err(Refusal::ClassCount { channels, names, coefficients })
        }
        _ => {
            let counts: Vec<String> = anchor_counts.iter().map(ToString::to_string).collect();
            let counts = counts.join(" or ");
            Err(predictions.wrong_shape(format!(
                "[1, {channels}, {counts}] by `imgsz` and `stride`, or [1, findings, {row}]"
            )))
        }
    }
}

/// Counts the cells of all grids from the finest to the one of `stride`, for every finest stride
/// from 4 up: YOLO-seg has 8, its P2 variants 4.
fn anchor_counts((height, width): (usize, usize), stride: usize) -> Vec<usize> {
    let doubled = |finest: usize| {
        std::iter::successors(Some(finest), |s| Some(2 * s)).take_while(move |s| *s <= stride)
    };
    doubled(4).map(|finest| doubled(finest).map(|s| (height / s) * (width / s)).sum()).collect()
}

//! Every reason why a model file is refused before ONNX Runtime sees it.

use crate::literal::LiteralError;

/// A model file that was not accepted.
#[derive(Debug, thiserror::Error)]
#[error("load model {model}")]
pub struct ModelError {
    /// Path of the file, or the name under which its bytes were handed in.
    pub model: String,
    #[source]
    pub refusal: Refusal,
}

/// What was found, what is expected, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("no such file; check the path, or name no model to get the shipped one")]
    Missing,
    #[error("the file cannot be read; check that the user who runs magpie may read it")]
    Unreadable(#[source] std::io::Error),
    #[error("not a regular file; name the .onnx file itself")]
    NotAFile,
    #[error("{found_bytes} bytes, where {max_bytes} are the most; export a smaller model")]
    TooLarge { found_bytes: u64, max_bytes: u64 },
    #[error(
        "sha256 is {found}, expected {expected}; copy the file again, \
         or expect the new hash if the change was meant"
    )]
    Hash { found: String, expected: String },
    #[error(
        "not a whole ONNX file ({found_bytes} bytes); copy it again, \
         or export it with `yolo export format=onnx`"
    )]
    NotOnnx { found_bytes: usize, source: prost::DecodeError },
    #[error("no graph in {found_bytes} bytes: truncated, or not an ONNX model; copy it again")]
    NoGraph { found_bytes: usize },
    #[error(
        "the weights of {tensor:?} lie in another file; one file must hold them all: \
         `onnx.save(model, path, save_as_external_data=False)`"
    )]
    ExternalData { tensor: String },
    #[error(
        "operator {operator:?} is of the domain {domain:?}, which needs code from outside \
         ONNX Runtime; export with standard operators"
    )]
    CustomOperator { operator: String, domain: String },
    #[error(
        "metadata key {key:?} is missing; export with Ultralytics, \
         or set it with `onnx.helper.set_model_props`"
    )]
    MissingKey { key: &'static str },
    #[error("metadata key {key:?} is {found:?}; {expected} expected")]
    BadValue { key: &'static str, found: String, expected: &'static str },
    #[error("metadata key {key:?} is {found:?}; write it as Ultralytics does")]
    BadLiteral { key: &'static str, found: String, source: LiteralError },
    #[error(
        "`imgsz` [{height_px}, {width_px}] does not divide into cells of {stride} px, its \
         `stride`; export with an imgsz in multiples of {stride}"
    )]
    Indivisible { height_px: u32, width_px: u32, stride: u32 },
    #[error("the task is {found:?}, expected \"segment\"; train and export a -seg model")]
    WrongTask { found: String },
    #[error(
        "{found}; expected one input, prototypes [1, 32, height / 4, width / 4] and predictions, \
         [1, 4 + classes + 32, anchors] or [1, findings, 6 + 32]: export a YOLO-seg model"
    )]
    UnknownLayout { found: String },
    #[error("{tensor} holds {found}, expected {expected}; quantize what lies between alone")]
    ElementType { tensor: String, found: String, expected: &'static str },
    #[error("{tensor} has the open shape {found}; export with `dynamic=False` and a fixed imgsz")]
    OpenShape { tensor: String, found: String },
    #[error("the model takes {batch} pictures at a time; export with `batch=1`")]
    Batch { batch: usize },
    #[error("{tensor} has the shape {found}, expected {expected}; export the model again")]
    WrongShape { tensor: String, found: String, expected: String },
    #[error(
        "predictions have {channels} channels, expected {}: 4 for the box, {names} for the \
         classes in `names`, {coefficients} for the mask; make `names` those of the training",
        4 + names + coefficients
    )]
    ClassCount { channels: usize, names: usize, coefficients: usize },
    #[error(
        "predictions have the shape [1, {anchors}, {channels}], those of YOLO-seg transposed: leave \
         the transposition out; rows that are found end to end say so by `end2end = True`"
    )]
    Transposed { anchors: usize, channels: usize },
}

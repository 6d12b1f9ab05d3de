//! What one model file says about itself.

use std::fmt;

/// How the model takes its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputForm {
    /// u8 NHWC `[1, height_px, width_px, 3]`, BGR, `0..=255`: normalisation lives in the graph.
    Bgr8Nhwc,
    /// f32 NCHW `[1, 3, height_px, width_px]`, RGB, `0.0..=1.0` (Ultralytics).
    RgbF32Nchw,
}

/// How a model's predictions are laid out. `decode` has a file for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputLayout {
    /// f32 `[1, 4 + classes + coefficients, anchors]`: cx, cy, w, h in input pixels, class scores,
    /// mask coefficients; with duplicates (Ultralytics).
    YoloSeg,
    /// f32 `[1, rows, 6 + coefficients]`: x_min, y_min, x_max, y_max in input pixels, score, class
    /// id, mask coefficients; without duplicates (Ultralytics' end-to-end models, `nms=True`).
    YoloSegEndToEnd,
}

/// What is known of a model before it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// File stem, for people.
    pub name: String,
    /// Identity: lower-case hex SHA-256 of the file.
    pub sha256: String,
    pub input_form: InputForm,
    pub width_px: u32,
    pub height_px: u32,
    pub class_names: Vec<String>,
    pub output_layout: OutputLayout,
    /// The shape of the predictions without the batch axis; [`OutputLayout`] says what the axes are.
    pub predictions_shape: [usize; 2],
    /// Prototypes are f32 `[1, coefficients, prototype_height_px, prototype_width_px]`.
    pub coefficients: usize,
    pub prototype_width_px: u32,
    pub prototype_height_px: u32,
    /// Lowest score worth publishing, as the model's makers advise.
    pub score_min: Option<f32>,
}

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    Cpu,
    Cuda,
    TensorRt,
    OpenVino,
}

impl Provider {
    pub const ALL: [Provider; 4] =
        [Provider::TensorRt, Provider::Cuda, Provider::OpenVino, Provider::Cpu];

    pub fn name(self) -> &'static str {
        match self {
            Provider::Cpu => "cpu",
            Provider::Cuda => "cuda",
            Provider::TensorRt => "tensorrt",
            Provider::OpenVino => "openvino",
        }
    }

    pub fn from_name(name: &str) -> Option<Provider> {
        Provider::ALL.into_iter().find(|provider| provider.name() == name)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

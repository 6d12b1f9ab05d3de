//! The four edges of the program: where frames come from, what runs the model, where results go,
//! and what time it is. Each has one real and one recorded implementation.

use std::sync::Arc;

use ndarray::{ArrayView2, ArrayView3};

use crate::{Frame, FrameReport, ModelSpec, StampNs};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Hands out the newest frame: a camera in service, a recording in replay.
pub trait FrameSource {
    /// Blocks until there is a frame. `Ok(None)` ends the stream: end of file, or asked to stop.
    fn next_frame(&mut self) -> Result<Option<Frame>, SourceError>;
}

#[derive(Debug, thiserror::Error)]
#[error("read a frame from {from}")]
pub struct SourceError {
    /// The camera, file or folder, as the configuration names it.
    pub from: String,
    #[source]
    pub source: BoxError,
}

/// The model's input buffer, in the form that [`ModelSpec::input_form`] names.
#[derive(Debug)]
pub enum InputMut<'a> {
    Bgr8Nhwc(&'a mut [u8]),
    RgbF32Nchw(&'a mut [f32]),
}

/// The model's outputs, without the batch axis.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    /// As [`ModelSpec::output_layout`] says.
    pub predictions: ArrayView2<'a, f32>,
    /// `[coefficient, y, x]`.
    pub prototypes: ArrayView3<'a, f32>,
}

impl<'a> Outputs<'a> {
    /// Views of the tensors as they lie in memory, in the shapes that the model states.
    ///
    /// # Panics
    /// Where a tensor has another size: a session checks that when it loads the model.
    pub fn new(model: &ModelSpec, predictions: &'a [f32], prototypes: &'a [f32]) -> Outputs<'a> {
        let size = (model.prototype_height_px as usize, model.prototype_width_px as usize);
        let prototypes_shape = (model.coefficients, size.0, size.1);
        Outputs {
            predictions: ArrayView2::from_shape(model.predictions_shape, predictions)
                .expect("predictions of the shape that the model states"),
            prototypes: ArrayView3::from_shape(prototypes_shape, prototypes)
                .expect("prototypes of the shape that the model states"),
        }
    }
}

/// One loaded model, its buffers bound once.
pub trait InferenceSession {
    fn spec(&self) -> &ModelSpec;
    /// The buffer that the next [`run`](Self::run) reads.
    fn input(&mut self) -> InputMut<'_>;
    fn run(&mut self) -> Result<Outputs<'_>, InferenceError>;
}

#[derive(Debug, thiserror::Error)]
#[error("run {model} on {provider}")]
pub struct InferenceError {
    pub model: String,
    pub provider: &'static str,
    #[source]
    pub source: BoxError,
}

/// Takes each frame's result to its readers. Must not block on any of them.
pub trait Publisher {
    fn publish(&mut self, frame: &Frame, report: &FrameReport) -> Result<(), PublishError>;
}

#[derive(Debug, thiserror::Error)]
#[error("publish on {topic}")]
pub struct PublishError {
    pub topic: String,
    #[source]
    pub source: BoxError,
}

/// Tells the time: the machine's in service, the recording's in replay.
pub trait Clock {
    /// Never steps, whatever becomes of the machine's Unix time.
    fn now(&self) -> StampNs;

    /// How far the machine's Unix time is ahead of [`now`](Self::now): it has been set since.
    fn unix_ahead_ns(&self) -> i64 {
        0
    }
}

/// One clock for all parts of a process.
pub type SharedClock = Arc<dyn Clock + Send + Sync>;

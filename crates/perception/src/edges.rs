//! The four edges of the program: where frames come from, what runs the model, where results go,
//! and what time it is. Each has one real and one recorded implementation.

use std::sync::Arc;

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

/// The model's outputs, shapes as in [`ModelSpec`].
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    pub predictions: &'a [f32],
    pub prototypes: &'a [f32],
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
    fn now(&self) -> StampNs;
}

/// One clock for all parts of a process.
pub type SharedClock = Arc<dyn Clock + Send + Sync>;

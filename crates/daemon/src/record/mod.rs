//! Records what a run sees and finds, on a thread of its own.

mod queue;
mod recorder;
mod tap;
mod writer;

pub use queue::QUEUE_FRAMES_MAX;
pub use queue::{ModelOrigin, Origin};
pub use recorder::Recorder;
pub use tap::{RecordingPublisher, Tap};

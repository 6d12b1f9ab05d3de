//! Loads one ONNX model and runs it on the execution provider that was asked for; the only crate
//! that knows ONNX Runtime.
//!
//! ```text
//! file -> ModelFile -> OnnxSession -> warm-up -> input(), run(), input(), run() ...
//!         screened     on a provider  checked
//! ```
//!
//! [`ModelFile`] holds a file that has passed every check which needs no ONNX Runtime;
//! [`OnnxSession`] has run on the provider that it names, and its outputs were numbers.
//! [`MobileSam`] is another network, for labels alone: no frame of a cell passes it.
//!
//! # Conventions
//!
//! Tensors are those of [`ModelSpec`](magpie_perception::ModelSpec); shapes have height before
//! width.

mod external;
mod floats;
mod library;
mod literal;
mod mobile_sam;
mod model_file;
mod onnx;
mod placement;
mod provider;
mod refusal;
mod session;
mod shape;
mod time_limit;

pub use library::{LibraryError, load_runtime};
pub use literal::LiteralError;
pub use mobile_sam::{MobileSam, MobileSamError};
pub use model_file::{MODEL_BYTES_MAX, ModelFile};
pub use placement::{Placement, ProfileError};
pub use refusal::{ModelError, Refusal};
pub use session::{OnnxSession, SessionError, SessionOptions};

//! Turns a frame into packages and grasps, as pure functions, and declares the edges it needs.
//!
//! No file, socket, thread or clock is touched here: time arrives as [`StampNs`], frames through
//! [`FrameSource`], tensors through [`InferenceSession`].
//!
//! # Conventions
//!
//! - SI units, right-handed; the optical frame has x right, y down, z forward (REP-103).
//! - Pixel coordinates follow OpenCV: the centre of the top-left pixel is `(0, 0)`.
//! - Transforms are named `target_from_source`.
//! - Colour images are BGR8, row-major; depth images are u16 millimetres along the optical axis,
//!   aligned with the colour image, `0` where nothing was measured.

mod camera_info;
mod decode;
mod edges;
mod frame;
mod grasp;
mod letterbox;
mod mask;
mod model;
mod motion;
mod number;
mod outline;
mod package;
mod pipeline;
mod rotation;
mod track;

pub use camera_info::{CameraInfo, Distortion, Intrinsics};
pub use decode::{DecodeLimits, DecodeScratch, decode};
pub use edges::{
    BoxError, Clock, FrameSource, InferenceError, InferenceSession, InputMut, Outputs,
    PublishError, Publisher, SharedClock, SourceError,
};
pub use frame::{BgrImage, DepthImage, Frame, ImageSizeError, StampNs, StampSource};
pub use grasp::{Cup, CupProbe, GraspLimits, Plan, PlanState, SurfaceUnderCup, Tool, plan};
pub use letterbox::{Letterbox, PAD_VALUE, PreprocessScratch, preprocess};
pub use mask::{Mask, MaskError};
pub use model::{InputForm, ModelSpec, Provider};
pub use motion::{Motion, Velocity};
pub use outline::{Outline, outlines};
pub use package::{
    BboxPx, CameraPlace, Counters, CountersSnapshot, CupSet, DepthProblem, FrameReport, Grasp,
    GraspRefusal, Instance, Package, PackageType, Packages, Plane, PoseSource, ReferenceFrame,
    Scene, SizeM, StageLatencies,
};
pub use pipeline::{Edges, Fault, Limits, Pipeline, check_image_size, run};
pub use rotation::nearest_rotation;
pub use track::Tracks;

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

mod bbox;
mod camera_info;
mod counters;
mod decode;
mod deep;
mod edges;
mod frame;
mod grasp;
mod hull;
mod lens;
mod letterbox;
mod mask;
mod model;
mod motion;
mod number;
mod outline;
mod pipeline;
mod plausible;
mod result;
mod rotation;
mod scale;
mod scene;
mod sensor_part;
mod tool;
mod track;

pub use bbox::BboxPx;
pub use camera_info::{CameraInfo, Distortion, Intrinsics};
pub use counters::{Counters, CountersSnapshot, StageLatencies};
pub use decode::{DecodeLimits, DecodeScratch, decode};
pub use deep::{bits_of_camera, highest_eight};
pub use edges::{
    BoxError, Clock, FrameSource, InferenceError, InferenceSession, InputMut, Outputs,
    PublishError, Publisher, SharedClock, SourceError,
};
pub use frame::{BgrImage, DepthImage, Frame, ImageSizeError, PIXELS_MAX, StampNs, StampSource};
pub use grasp::{CupProbe, GraspLimits, Plan, PlanState, SurfaceUnderCup, plan};
pub use hull::convex_hull;
pub use lens::DistortionError;
pub use letterbox::{Letterbox, PAD_VALUE, PreprocessScratch, preprocess};
pub use mask::{Mask, MaskError};
pub use model::{InputForm, ModelSpec, OutputLayout, Provider};
pub use motion::Motion;
pub use outline::{Outline, outlines};
pub use pipeline::{Edges, Fault, Limits, Pipeline, check_image_size, run};
pub use result::{
    DepthProblem, FrameReport, Grasp, GraspRefusal, Grasps, Instance, Package, PackageType,
    Packages, PoseSource, Quality, SizeM, Velocity,
};
pub use rotation::nearest_rotation;
pub use scale::{ScaleDoubt, doubt_extents, doubt_packages, doubt_plane};
pub use scene::{CameraPlace, Plane, ReferenceFrame, Scene};
pub use sensor_part::{SensorPart, SensorPartError};
pub use tool::{Cup, CupSet, Tool};
pub use track::Tracks;

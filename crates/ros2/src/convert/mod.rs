//! Magpie's messages as ROS 2 has them.
//!
//! # Conventions
//!
//! REP-103: metres, radians, right-handed; optical frames with x right, y down and z forward. The stamp
//! of each header is when the frame was exposed, as Unix time. In a picture of ROS, the centre of the
//! top-left pixel is `(0, 0)`.

mod camera;
mod common;
mod detections;
mod diagnostics;
mod footprint;
mod labels;

pub use camera::{camera_info, picture, tf_static};
pub use detections::{detections_2d, detections_3d, grasps};
pub use diagnostics::diagnostics;
pub use labels::labels;

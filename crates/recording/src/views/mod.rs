//! What viewers draw: Foxglove's messages, beside the wire's.

mod image;
mod scene;

pub(crate) use image::{annotations, grasp_poses};
pub(crate) use scene::scene_update;

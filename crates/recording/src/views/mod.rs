//! What viewers draw: Foxglove's messages, made from the results and from the cell.

mod cell;
mod common;
mod image;
mod scene;

pub(crate) use cell::{camera_calibration, frame_transform};
pub(crate) use common::timestamp;
pub(crate) use image::annotations;
pub(crate) use scene::{grasp_poses, scene_update};

//! What belongs to the simulated cell beside its pictures.

use std::path::Path;

use anyhow::Context;
use magpie_daemon::config::plane_in_camera;
use magpie_daemon::failure::Failure;
use magpie_perception::{CameraInfo, CameraPlace, Scene, Tool};
use magpie_workcell::Recipe;
use nalgebra::Isometry3;

/// The calibration of a camera that stands still over the simulated cell.
pub(crate) fn scene(
    camera_info: CameraInfo,
    base_from_camera: Isometry3<f64>,
    tool: Tool,
    seed: u64,
) -> Scene {
    Scene {
        camera_info,
        camera_place: Some(CameraPlace::InBase(base_from_camera)),
        // The base frame of the simulated cell lies on its support plane.
        support_plane_in_camera: Some(plane_in_camera(0.0, &base_from_camera)),
        tool,
        calibration_id: format!("simulated-{seed}"),
    }
}

/// The recipe in a file, laid over the shipped one.
pub(crate) fn recipe(path: Option<&Path>) -> Result<Recipe, Failure> {
    let Some(path) = path else { return Ok(Recipe::default()) };
    let text = magpie_files::read_text(path, magpie_files::TEXT_BYTES_MAX)
        .with_context(|| format!("read recipe {}", path.display()))
        .map_err(Failure::Config)?;
    Recipe::from_toml(&text)
        .with_context(|| format!("recipe {}", path.display()))
        .map_err(Failure::Config)
}

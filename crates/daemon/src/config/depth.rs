//! `[depth]`: the unit of depth, and a depth camera beside the colour camera.

use std::path::PathBuf;

use magpie_camera::{CameraConfig, DepthCamera, DepthConfig, DepthSource, read_camera_info};
use magpie_perception::Scene;
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};
use super::source::{GstreamerFile, Source, V4l2File};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DepthFile {
    gstreamer: Option<GstreamerFile>,
    v4l2: Option<V4l2File>,
    unit_m: Option<f64>,
    pairing_ms_max: Option<u64>,
    camera_info: Option<PathBuf>,
    color_from_depth: Option<[[f64; 4]; 4]>,
}

/// The distance that one step of 16 bits stands for, in metres: of a depth stream, and of depth
/// images in files.
pub(super) fn unit_m(checker: &Checker<'_>, file: &DepthFile) -> Result<f64, ConfigError> {
    let unit_m = shipped(file.unit_m);
    checker.depth_unit("depth.unit_m", unit_m)?;
    Ok(unit_m)
}

/// `None` without a depth stream.
pub(super) fn check(
    checker: &Checker<'_>,
    file: &DepthFile,
    source: &Source,
    scene: Option<&Scene>,
) -> Result<Option<DepthConfig>, ConfigError> {
    let unit_m = unit_m(checker, file)?;
    let pairing_max = checker.time("depth.pairing_ms_max", shipped(file.pairing_ms_max))?;
    let stream = match (&file.gstreamer, &file.v4l2) {
        (None, None) => {
            if file.camera_info.is_some() || file.color_from_depth.is_some() {
                let why = "has no meaning without depth.gstreamer or depth.v4l2; set one of them, or leave this out";
                checker.refuse("depth.camera_info", "...", why)?;
            }
            return Ok(None);
        }
        (Some(_), Some(_)) => {
            let why = "and depth.v4l2 are two streams; remove one of them";
            return checker.refuse("depth.gstreamer", "...", why);
        }
        (Some(stream), None) => DepthSource::GStreamer(stream.clone().source()),
        (None, Some(stream)) => DepthSource::V4l2(stream.clone().source(Some("Z16 "))),
    };
    let limits = match source {
        Source::Camera(CameraConfig::Live(camera)) => camera.limits,
        _ => {
            let why = "needs a live colour camera beside it; files bring their own depth";
            return checker.refuse("depth", stream.describe(), why);
        }
    };
    let registration = registration(checker, file, scene)?;
    Ok(Some(DepthConfig { source: stream, limits, unit_m, registration, pairing_max }))
}

/// `None` if depth is aligned with colour already.
fn registration(
    checker: &Checker<'_>,
    file: &DepthFile,
    scene: Option<&Scene>,
) -> Result<Option<DepthCamera>, ConfigError> {
    let (path, rows) = match (&file.camera_info, &file.color_from_depth) {
        (None, None) => return Ok(None),
        (Some(path), Some(rows)) => (path, rows),
        _ => {
            let why = "and depth.color_from_depth are both needed to register depth";
            return checker.refuse("depth.camera_info", "...", why);
        }
    };
    let Some(scene) = scene else {
        let why = "needs scene.camera_info, the lens of the colour camera";
        return checker.refuse("depth.camera_info", path.display(), why);
    };
    let depth_info = read_camera_info(&checker.resolve(path), None)
        .map_err(|error| checker.unusable("depth.camera_info", error))?;
    let color_from_depth = checker.pose("depth.color_from_depth", rows)?;
    let color_info = scene.camera_info.clone();
    Ok(Some(DepthCamera { depth_info, color_info, color_from_depth }))
}

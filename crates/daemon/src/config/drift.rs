//! `[drift]`: what a running daemon compares its view with.

use std::path::PathBuf;
use std::time::Duration;

use magpie_camera::calibrate::Reference;
use magpie_perception::{CameraInfo, Scene};
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};
use crate::calibration_files::ReferenceFile;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DriftFile {
    reference: Option<PathBuf>,
    period_s: Option<f64>,
    limit_mm: Option<f64>,
}

/// Fixed fiducials and how far they may seem to move.
#[derive(Clone, Debug)]
pub struct DriftConfig {
    pub reference: Reference,
    pub camera_info: CameraInfo,
    pub period: Duration,
    pub limit_mm: f64,
}

pub(super) fn check(
    checker: &Checker<'_>,
    file: &DriftFile,
    scene: Option<&Scene>,
) -> Result<Option<DriftConfig>, ConfigError> {
    let (period_s, limit_mm) = (shipped(file.period_s), shipped(file.limit_mm));
    if !(0.1..=3600.0).contains(&period_s) {
        checker.refuse("drift.period_s", period_s, "must lie between 0.1 and 3600 s")?;
    }
    if !(0.1..=100.0).contains(&limit_mm) {
        checker.refuse("drift.limit_mm", limit_mm, "must lie between 0.1 and 100 mm")?;
    }
    let Some(path) = &file.reference else { return Ok(None) };
    let Some(scene) = scene else {
        let why = "has no meaning without scene.camera_info; set that too, or leave this out";
        return checker.refuse("drift.reference", path.display(), why);
    };
    let reference = ReferenceFile::read(&checker.resolve(path), &scene.camera_info)
        .map_err(|error| checker.unusable("drift.reference", error))?;
    let (camera_info, period) = (scene.camera_info.clone(), Duration::from_secs_f64(period_s));
    Ok(Some(DriftConfig { reference, camera_info, period, limit_mm }))
}

//! `[camera]`: when a live camera counts as lost, and how it is reopened.

use magpie_camera::LiveLimits;
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CameraFile {
    frame_age_ms_max: Option<u64>,
    open_time_ms_max: Option<u64>,
    reopen_pause_ms_min: Option<u64>,
    reopen_pause_ms_max: Option<u64>,
    hang_time_ms_max: Option<u64>,
}

pub(super) fn check(checker: &Checker<'_>, file: &CameraFile) -> Result<LiveLimits, ConfigError> {
    Ok(LiveLimits {
        frame_age_max: checker.time("camera.frame_age_ms_max", shipped(file.frame_age_ms_max))?,
        open_time_max: checker.time("camera.open_time_ms_max", shipped(file.open_time_ms_max))?,
        back_off_min: checker
            .time("camera.reopen_pause_ms_min", shipped(file.reopen_pause_ms_min))?,
        back_off_max: checker
            .time("camera.reopen_pause_ms_max", shipped(file.reopen_pause_ms_max))?,
        hang_time_max: checker.time("camera.hang_time_ms_max", shipped(file.hang_time_ms_max))?,
    })
}

//! `[image]`: the frames that are published as JPEG.

use std::time::Duration;

use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ImageFile {
    period_ms: Option<u64>,
    jpeg_quality_percent: Option<u8>,
}

/// `[image]`, checked.
pub(super) struct ImageSettings {
    pub(super) period: Duration,
    pub(super) jpeg_quality_percent: u8,
}

pub(super) fn check(checker: &Checker<'_>, file: &ImageFile) -> Result<ImageSettings, ConfigError> {
    let jpeg_quality_percent = shipped(file.jpeg_quality_percent);
    if !(1..=100).contains(&jpeg_quality_percent) {
        let why = "must lie between 1 and 100";
        checker.refuse("image.jpeg_quality_percent", jpeg_quality_percent, why)?;
    }
    Ok(ImageSettings {
        period: checker.time("image.period_ms", shipped(file.period_ms))?,
        jpeg_quality_percent,
    })
}

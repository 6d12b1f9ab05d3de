//! `[grasps]`: which grasps may be proposed.

use magpie_perception::GraspLimits;
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GraspsFile {
    per_package_max: Option<usize>,
    tilt_deg_max: Option<f64>,
    quality_min: Option<f64>,
}

pub(super) fn check(checker: &Checker<'_>, file: &GraspsFile) -> Result<GraspLimits, ConfigError> {
    let per_package_max = shipped(file.per_package_max);
    if !(1..=GraspLimits::PER_PACKAGE_MAX).contains(&per_package_max) {
        checker.refuse("grasps.per_package_max", per_package_max, "must lie between 1 and 9")?;
    }
    let tilt_deg_max = shipped(file.tilt_deg_max);
    if !(1.0..=90.0).contains(&tilt_deg_max) {
        checker.refuse("grasps.tilt_deg_max", tilt_deg_max, "must lie between 1 and 90 degrees")?;
    }
    Ok(GraspLimits {
        per_package_max,
        tilt_deg_max,
        quality_min: checker.share("grasps.quality_min", shipped(file.quality_min))?,
    })
}

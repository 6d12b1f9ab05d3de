//! `[limits]`: how old frames and results may become.

use std::time::Duration;

use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsFile {
    frame_age_ms_max: Option<u64>,
    deadline_ms: Option<u64>,
    result_valid_ms: Option<u64>,
}

/// Readers believe no result for longer, unless they were told to.
const RESULT_VALID_MS_MAX: u64 = 5000;

/// `[limits]`, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgeLimits {
    pub(super) frame_age_max: Duration,
    pub(super) deadline: Duration,
    pub(super) result_valid: Duration,
}

pub(super) fn check(checker: &Checker<'_>, file: &LimitsFile) -> Result<AgeLimits, ConfigError> {
    let result_valid_ms = shipped(file.result_valid_ms);
    if result_valid_ms > RESULT_VALID_MS_MAX {
        let why =
            "is longer than the 5000 ms for which an arm believes a result: it would act upon none";
        checker.refuse("limits.result_valid_ms", result_valid_ms, why)?;
    }
    Ok(AgeLimits {
        frame_age_max: checker.time("limits.frame_age_ms_max", shipped(file.frame_age_ms_max))?,
        deadline: checker.time("limits.deadline_ms", shipped(file.deadline_ms))?,
        result_valid: checker.time("limits.result_valid_ms", result_valid_ms)?,
    })
}

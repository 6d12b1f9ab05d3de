//! `[limits]`: how old frames and results may become.

use std::time::Duration;

use magpie_wire::freshness::RESULT_VALID_MAX;
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsFile {
    frame_age_ms_max: Option<u64>,
    deadline_ms: Option<u64>,
    result_valid_ms: Option<u64>,
}

/// `[limits]`, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct AgeLimits {
    pub(super) frame_age_max: Duration,
    pub(super) deadline: Duration,
    pub(super) result_valid: Duration,
}

pub(super) fn check(checker: &Checker<'_>, file: &LimitsFile) -> Result<AgeLimits, ConfigError> {
    Ok(AgeLimits {
        frame_age_max: checker.time("limits.frame_age_ms_max", shipped(file.frame_age_ms_max))?,
        deadline: checker.time("limits.deadline_ms", shipped(file.deadline_ms))?,
        result_valid: result_valid(checker, shipped(file.result_valid_ms))?,
    })
}

/// A longer time than readers believe would have every result refused.
fn result_valid(checker: &Checker<'_>, ms: u64) -> Result<Duration, ConfigError> {
    const KEY: &str = "limits.result_valid_ms";
    let time = checker.time(KEY, ms)?;
    if time <= RESULT_VALID_MAX {
        return Ok(time);
    }
    checker.refuse(KEY, ms, "must be at most 5000 ms: readers refuse results that claim more")
}

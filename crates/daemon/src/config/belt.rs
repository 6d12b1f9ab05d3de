//! `[belt]`: how the packages move.

use magpie_perception::Velocity;
use nalgebra::Vector3;
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BeltFile {
    velocity_m_s: Option<[f64; 3]>,
    velocity_sigma_m_s: Option<f64>,
}

/// `None`: the belt's velocity is measured.
pub(super) fn check(
    checker: &Checker<'_>,
    file: &BeltFile,
) -> Result<Option<Velocity>, ConfigError> {
    let sigma_m_s = shipped(file.velocity_sigma_m_s);
    if !(0.0..=10.0).contains(&sigma_m_s) {
        checker.refuse("belt.velocity_sigma_m_s", sigma_m_s, "must lie between 0 and 10 m/s")?;
    }
    let Some(velocity_m_s) = file.velocity_m_s else { return Ok(None) };
    if !velocity_m_s.iter().all(|value| value.abs() <= 10.0) {
        let why = "is faster than any belt: are these millimetres a second?";
        checker.refuse("belt.velocity_m_s", format!("{velocity_m_s:?}"), why)?;
    }
    Ok(Some(Velocity { linear_m_s: Vector3::from(velocity_m_s), sigma_m_s }))
}

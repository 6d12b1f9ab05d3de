//! `[tool]`, `[grasps]` and `[belt]`: what holds the packages, what may be proposed, and how the
//! packages move.

use magpie_perception::{Cup, GraspLimits, Tool, Velocity};
use nalgebra::Vector3;
use serde::Deserialize;

use super::{Checker, ConfigError, shipped};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ToolFile {
    cups: Option<Vec<CupFile>>,
    approach_radius_m: Option<f64>,
    approach_length_m: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CupFile {
    position_m: [f64; 3],
    radius_m: f64,
    compliance_m: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GraspsFile {
    per_package_max: Option<usize>,
    tilt_deg_max: Option<f64>,
    quality_min: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct BeltFile {
    velocity_m_s: Option<[f64; 3]>,
    velocity_sigma_m_s: Option<f64>,
}

/// `None`: the belt's velocity is measured.
pub(super) fn check_belt(
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

pub(super) fn check_tool(checker: &Checker<'_>, file: ToolFile) -> Result<Tool, ConfigError> {
    let cups: Vec<Cup> = shipped(file.cups)
        .into_iter()
        .map(|CupFile { position_m, radius_m, compliance_m }| Cup {
            position_m,
            radius_m,
            compliance_m,
        })
        .collect();
    if !(1..=Tool::CUPS_MAX).contains(&cups.len()) {
        checker.refuse("tool.cups", cups.len(), "must be one to eight cups")?;
    }
    for cup in &cups {
        if !(0.001..=0.5).contains(&cup.radius_m) {
            checker.refuse(
                "tool.cups.radius_m",
                cup.radius_m,
                "must lie between 0.001 and 0.5 m",
            )?;
        }
        if !(0.0001..=0.1).contains(&cup.compliance_m) {
            let why = "must lie between 0.0001 and 0.1 m";
            checker.refuse("tool.cups.compliance_m", cup.compliance_m, why)?;
        }
        if !cup.position_m.iter().all(|value| value.abs() <= 1.0) {
            let why = "is more than a metre from the tool's axis: are these millimetres?";
            checker.refuse("tool.cups.position_m", format!("{:?}", cup.position_m), why)?;
        }
    }
    let approach_radius_m = shipped(file.approach_radius_m);
    if !(0.0..=1.0).contains(&approach_radius_m) {
        let why = "must lie between 0 and 1 m";
        checker.refuse("tool.approach_radius_m", approach_radius_m, why)?;
    }
    let approach_length_m = shipped(file.approach_length_m);
    if !(0.0..=3.0).contains(&approach_length_m) {
        let why = "must lie between 0 and 3 m";
        checker.refuse("tool.approach_length_m", approach_length_m, why)?;
    }
    let tool = Tool { cups, approach_radius_m, approach_length_m };
    if approach_radius_m < tool.reach_m() {
        let why =
            "does not reach the outermost lip: outer cups would hit what stands beside a package";
        checker.refuse("tool.approach_radius_m", approach_radius_m, why)?;
    }
    Ok(tool)
}

pub(super) fn check_grasps(
    checker: &Checker<'_>,
    file: &GraspsFile,
) -> Result<GraspLimits, ConfigError> {
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

//! `[tool]`: what holds the packages.

use magpie_perception::{Cup, Tool};
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

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

pub(super) fn check(checker: &Checker<'_>, file: ToolFile) -> Result<Tool, ConfigError> {
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
        let why = "does not reach the outermost lip, so outer cups would hit what stands beside a package; \
             make it larger";
        checker.refuse("tool.approach_radius_m", approach_radius_m, why)?;
    }
    Ok(tool)
}

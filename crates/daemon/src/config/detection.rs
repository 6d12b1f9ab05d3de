//! `[detection]`: which of the model's findings count.

use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DetectionFile {
    score_min: Option<f64>,
    iou_max: Option<f64>,
    nms_class_agnostic: Option<bool>,
    packages_max: Option<usize>,
}

/// `[detection]`, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Detection {
    /// `None`: as the model advises.
    pub(super) score_min: Option<f32>,
    pub(super) iou_max: f32,
    pub(super) nms_class_agnostic: bool,
    pub(super) packages_max: usize,
}

pub(super) fn check(checker: &Checker<'_>, file: &DetectionFile) -> Result<Detection, ConfigError> {
    let packages_max = shipped(file.packages_max);
    if !(1..=1000).contains(&packages_max) {
        checker.refuse("detection.packages_max", packages_max, "must lie between 1 and 1000")?;
    }
    let score_min = file.score_min.map(|score| checker.share("detection.score_min", score));
    Ok(Detection {
        score_min: score_min.transpose()?,
        iou_max: checker.share("detection.iou_max", shipped(file.iou_max))?,
        nms_class_agnostic: shipped(file.nms_class_agnostic),
        packages_max,
    })
}

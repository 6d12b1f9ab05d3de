//! The scores of one dataset.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::dataset::{LabelledDataset, is_outlined};
use super::prediction::Prediction;
use super::score::{self, CategoryIds, Scores};
use crate::present::{output, table};
use magpie_daemon::failure::{Failure, Outcome};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) model: String,
    pub(super) dataset: PathBuf,
    pub(super) class_agnostic: bool,
    /// Over the instances with an outline.
    pub(super) mask: Scores,
    pub(super) bbox: Scores,
    /// Mask AP by type; empty when types are ignored.
    pub(super) per_type: BTreeMap<String, f64>,
    pub(super) images: usize,
    pub(super) instances: usize,
    /// Instances whose label has an outline, not just a box drawn around.
    pub(super) instances_outlined: usize,
}

/// Scores what was predicted as COCO does.
pub(super) fn report(
    dataset: &LabelledDataset,
    predictions: &[Prediction],
    categories: &CategoryIds,
    model: &str,
) -> Result<Report, Failure> {
    let found = categories.annotations(predictions);
    let bbox = score::boxes(dataset, found.clone(), categories)?;
    let mask = score::masks(dataset, found, categories)?;
    let per_type = if categories.agnostic { BTreeMap::new() } else { score::ap_per_type(&mask) };
    let annotations = &dataset.coco.dataset.annotations;
    Ok(Report {
        model: model.to_owned(),
        dataset: dataset.path.clone(),
        class_agnostic: categories.agnostic,
        mask: score::averages(&mask),
        bbox: score::averages(&bbox),
        per_type,
        images: dataset.coco.dataset.images.len(),
        instances: annotations.len(),
        instances_outlined: annotations.iter().filter(|a| is_outlined(a)).count(),
    })
}

pub(super) fn print(report: &Report, as_json: bool) -> Outcome {
    if as_json {
        return output::line(&serde_json::to_string(report).map_err(Failure::fault)?);
    }
    let mut table = table::new(&["", "AP", "AP50", "AP75", "AR"]);
    let cell = |value: Option<f64>| table::decimal(value, 3);
    for (name, scores) in [("mask", &report.mask), ("bbox", &report.bbox)] {
        table.add_row([
            table::Cell::new(name),
            cell(scores.ap),
            cell(scores.ap50),
            cell(scores.ap75),
            cell(scores.ar),
        ]);
    }
    for (name, ap) in &report.per_type {
        table.add_row([table::Cell::new(format!("mask, {name}")), cell(Some(*ap))]);
    }
    output::line(&format!(
        "{table}\n{} on {} images, {} instances ({} outlined){}",
        report.model,
        report.images,
        report.instances,
        report.instances_outlined,
        if report.class_agnostic { ", types ignored" } else { "" }
    ))
}

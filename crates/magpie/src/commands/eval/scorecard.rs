//! The scorecard: scores by type, size in the picture, distance, tilt and background, and how far
//! scores can be believed.
//!
//! # Conventions
//! All scores are of masks. A counterpart overlaps by IoU 0.5 or more, whatever its type. "Found" is
//! the share of outlined labels with a counterpart; "right" is the share of findings with one. Both
//! count findings at or above the score that a robot would act on. "Right", and calibration with it, is known only in pictures that are labelled
//! throughout. A finding on a crowd or on a mere rectangle counts neither way.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use hotcoco::COCOeval;
use hotcoco::metrics::calibration::{calibration_curve, calibration_error};
use magpie_perception::ModelSpec;

use super::card::{Calibration, CurvePoint, GroupScores, Scorecard, Section, TypeScores};
use super::dataset::LabelledDataset;
use super::groups::groups;
use super::matches::{Matches, Verdict};
use super::prediction::Prediction;
use super::report::Report;
use super::score::{CategoryIds, ap_per_type, ap50_of, averages, from_metrics, masks};
use super::{markdown, plots, worst};
use crate::present::output;
use magpie_daemon::failure::{Failure, Outcome};

const CALIBRATION_BINS: usize = 10;

type Scored<'a> = (&'a LabelledDataset, CategoryIds, Vec<Prediction>, Report);

/// Builds the card; datasets of one name are numbered.
pub(super) fn scorecard<'a>(
    spec: &ModelSpec,
    score_min: f32,
    scored: Vec<Scored<'a>>,
) -> Result<Scorecard<'a>, Failure> {
    let score_min = f64::from(score_min);
    let sections = scored.into_iter().map(|scored| section(spec, score_min, scored));
    let mut datasets = sections.collect::<Result<Vec<_>, _>>()?;
    let mut taken = HashSet::new();
    for section in &mut datasets {
        let name = section.name.clone();
        let mut numbered = (2..).map(|number| format!("{name}_{number}"));
        while !taken.insert(section.name.clone()) {
            section.name = numbered.next().expect("numbers do not end");
        }
    }
    Ok(Scorecard {
        model: spec.name.clone(),
        model_sha256: spec.sha256.clone(),
        score_min,
        datasets,
    })
}

/// `scorecard.md`, `scorecard.json`, plots, and pictures of each dataset's worst.
pub(super) fn write(card: &Scorecard<'_>, folder: &Path, worst: usize) -> Outcome {
    let write = |name: &str, text: &str| output::write(&folder.join(name), text);
    for section in &card.datasets {
        if let Some(calibration) = &section.calibration {
            let reliability = plots::reliability(calibration, card.score_min, &section.name);
            write(&format!("{}_reliability.svg", section.name), &reliability)?;
            let curve = plots::precision_recall(calibration, card.score_min, &section.name);
            write(&format!("{}_precision_recall.svg", section.name), &curve)?;
        }
        let pictures = folder.join(format!("{}_worst", section.name));
        worst::draw(section, card.score_min, worst, &pictures)?;
    }
    write("scorecard.json", &card.to_json()?)?;
    write("scorecard.md", &markdown::scorecard(card))?;
    Ok(())
}

fn section<'a>(
    spec: &ModelSpec,
    score_min: f64,
    (dataset, categories, predictions, report): Scored<'a>,
) -> Result<Section<'a>, Failure> {
    let ignored = categories.ignored();
    let agnostic = masks(dataset, ignored.annotations(&predictions), &ignored)?;
    let matches = Matches::new(&agnostic, dataset, &predictions);
    let types = if categories.agnostic {
        Vec::new()
    } else {
        let typed = masks(dataset, categories.annotations(&predictions), &categories)?;
        let class_count = spec.class_names.len();
        type_scores(&typed, dataset, &matches, &predictions, score_min, class_count)
    };
    let images = &dataset.coco.dataset.images;
    Ok(Section {
        name: dataset.name.clone(),
        simulated: dataset.is_simulated,
        report,
        images_labelled_throughout: (images.iter())
            .filter(|image| dataset.is_labelled_throughout(image.id))
            .count(),
        groups: group_scores(&agnostic, dataset, &matches, score_min)?,
        types,
        calibration: calibration(dataset, &matches, score_min),
        class_names: spec.class_names.clone(),
        dataset,
        predictions,
        matches,
    })
}

fn group_scores(
    evaluation: &COCOeval,
    dataset: &LabelledDataset,
    matches: &Matches,
    score_min: f64,
) -> Result<Vec<GroupScores>, Failure> {
    let groups = groups(dataset);
    let slices: HashMap<String, Vec<u64>> =
        groups.iter().enumerate().map(|(at, g)| (at.to_string(), g.image_ids.clone())).collect();
    let sliced = evaluation.slice_by(slices).map_err(Failure::fault)?;
    let scores = |kind, name: String, image_ids: HashSet<u64>, mask| {
        let labels = || matches.labels.iter().filter(|label| image_ids.contains(&label.image_id));
        let found = labels().filter(|label| matches.is_found(label, score_min)).count();
        let acted_on = || {
            matches.found.iter().filter(|finding| {
                finding.score >= score_min
                    && image_ids.contains(&finding.image_id)
                    && dataset.is_labelled_throughout(finding.image_id)
            })
        };
        let right = acted_on().filter(|f| matches!(f.verdict, Verdict::Right(_))).count();
        let proven = acted_on().filter(|f| f.verdict != Verdict::Unproven).count();
        GroupScores {
            kind,
            name,
            images: image_ids.len(),
            instances_outlined: labels().count(),
            mask,
            found: share(found, labels().count()),
            right: share(right, proven),
        }
    };
    let all = dataset.coco.dataset.images.iter().map(|image| image.id).collect();
    let mut scored = vec![scores("all", "all pictures".to_owned(), all, averages(evaluation))];
    for (at, group) in groups.into_iter().enumerate() {
        let name = at.to_string();
        let slice = sliced.slices.iter().find(|slice| slice.name == name).expect("asked for");
        let mask = from_metrics(|metric| slice.metrics.get(metric).copied());
        scored.push(scores(group.kind, group.name, group.image_ids.into_iter().collect(), mask));
    }
    Ok(scored)
}

fn type_scores(
    evaluation: &COCOeval,
    dataset: &LabelledDataset,
    matches: &Matches,
    predictions: &[Prediction],
    score_min: f64,
    class_count: usize,
) -> Vec<TypeScores> {
    let ap = ap_per_type(evaluation);
    let categories = dataset.coco.dataset.categories.iter();
    let scored = categories.map(|category| {
        let labels: Vec<_> =
            matches.labels.iter().filter(|label| label.category_id == category.id).collect();
        let found: Vec<usize> = labels
            .iter()
            .filter(|label| matches.is_found(label, score_min))
            .filter_map(|label| label.found_by)
            .collect();
        let mut called = vec![0; class_count];
        for finding in &found {
            called[predictions[*finding].class_id] += 1;
        }
        TypeScores {
            name: category.name.clone(),
            instances_outlined: labels.len(),
            ap: ap.get(&category.name).copied().filter(|value| *value >= 0.0),
            ap50: ap50_of(evaluation, category.id),
            found: share(found.len(), labels.len()),
            called,
        }
    });
    scored.filter(|scores| scores.instances_outlined > 0).collect()
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn calibration(
    dataset: &LabelledDataset,
    matches: &Matches,
    score_min: f64,
) -> Option<Calibration> {
    let mut proven: Vec<(f64, bool)> = (matches.found.iter())
        .filter(|finding| dataset.is_labelled_throughout(finding.image_id))
        .filter(|finding| finding.verdict != Verdict::Unproven)
        .map(|finding| (finding.score, finding.verdict != Verdict::Wrong))
        .collect();
    proven.sort_by(|a, b| b.0.total_cmp(&a.0));
    let labels = (matches.labels.iter())
        .filter(|label| dataset.is_labelled_throughout(label.image_id))
        .count();
    if proven.is_empty() || labels == 0 {
        return None;
    }
    let binned = |findings: &[(f64, bool)]| {
        let (scores, right): (Vec<f64>, Vec<bool>) = findings.iter().copied().unzip();
        calibration_curve(&scores, &right, CALIBRATION_BINS)
    };
    let findings_in_service = proven.partition_point(|(score, _)| *score >= score_min);
    let bins = binned(&proven);
    Some(Calibration {
        findings: proven.len(),
        error: calibration_error(&binned(&proven[..findings_in_service])).0,
        findings_in_service,
        error_of_all: calibration_error(&bins).0,
        bins,
        curve: curve(&proven, labels),
    })
}

/// `findings` from the highest score down.
fn curve(findings: &[(f64, bool)], labels: usize) -> Vec<CurvePoint> {
    let mut right = 0;
    let points = findings.iter().zip(1..).map(|((score, is_right), seen)| {
        right += usize::from(*is_right);
        CurvePoint {
            recall: right as f64 / labels as f64,
            precision: right as f64 / f64::from(seen),
            score: *score,
        }
    });
    points.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_counts_from_the_highest_score_down() {
        let points = curve(&[(0.9, true), (0.8, false), (0.7, true)], 4);
        let found: Vec<(f64, f64)> = points.iter().map(|p| (p.recall, p.precision)).collect();
        assert_eq!(found, [(0.25, 1.0), (0.25, 0.5), (0.5, 2.0 / 3.0)]);
    }
}

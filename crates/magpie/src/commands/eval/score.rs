//! COCO's averages, by hotcoco.

use std::collections::BTreeMap;
use std::sync::Arc;

use hotcoco::{Annotation, COCO, COCOeval, Dataset, IouType, Segmentation};
use serde::Serialize;

use super::dataset::{LabelledDataset, is_outlined};
use super::prediction::Prediction;
use magpie_daemon::failure::Failure;

/// COCO's averages; `None` where nothing is labelled.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Scores {
    pub(super) ap: Option<f64>,
    pub(super) ap50: Option<f64>,
    pub(super) ap75: Option<f64>,
    pub(super) ar: Option<f64>,
}

/// Which category of the dataset each class of the model stands for.
pub(super) struct CategoryIds {
    by_class_id: Vec<Option<u64>>,
    /// Stands for all where types are ignored.
    any: u64,
    pub(super) agnostic: bool,
}

impl CategoryIds {
    /// Types are ignored when asked for, and when a category of the dataset is none of the model's.
    pub(super) fn new(
        dataset: &LabelledDataset,
        class_names: &[String],
        asked_agnostic: bool,
    ) -> CategoryIds {
        let categories = &dataset.coco.dataset.categories;
        let id = |name: &String| categories.iter().find(|c| c.name == *name).map(|c| c.id);
        CategoryIds {
            by_class_id: class_names.iter().map(id).collect(),
            any: categories.first().map_or(1, |category| category.id),
            agnostic: asked_agnostic || !dataset.unknown_names.is_empty(),
        }
    }

    /// The same dataset with types ignored.
    pub(super) fn ignored(&self) -> CategoryIds {
        CategoryIds { by_class_id: self.by_class_id.clone(), any: self.any, agnostic: true }
    }

    pub(super) fn of_class(&self, class_id: usize) -> Option<u64> {
        if self.agnostic { Some(self.any) } else { self.by_class_id[class_id] }
    }

    /// A type that the dataset does not know can be neither right nor wrong there.
    pub(super) fn annotations(&self, predictions: &[Prediction]) -> Vec<Annotation> {
        let predictions = predictions.iter();
        predictions.filter_map(|p| Some(annotation(p, self.of_class(p.class_id)?))).collect()
    }

    /// The labels in these categories.
    ///
    /// A crowd hides packages of any type: with types, it stands in each category.
    fn labels(&self, mut dataset: Dataset) -> Dataset {
        if self.agnostic {
            for annotation in &mut dataset.annotations {
                annotation.category_id = self.any;
            }
            return dataset;
        }
        let crowds = dataset.annotations.iter().filter(|annotation| annotation.iscrowd);
        let copies: Vec<Annotation> = crowds
            .flat_map(|crowd| {
                let others = dataset.categories.iter().filter(|c| c.id != crowd.category_id);
                others.map(|c| Annotation { category_id: c.id, ..crowd.clone() })
            })
            .collect();
        let first_free = dataset.annotations.len() as u64 + 1;
        let numbered = (first_free..).zip(copies).map(|(id, copy)| Annotation { id, ..copy });
        dataset.annotations.extend(numbered);
        dataset
    }
}

fn annotation(prediction: &Prediction, category_id: u64) -> Annotation {
    let Prediction { image_id, score, mask, bbox_px: edges, .. } = prediction;
    Annotation {
        id: 0,
        image_id: *image_id,
        category_id,
        bbox: Some([edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1]]),
        area: Some(f64::from(mask.area_px())),
        segmentation: Some(Segmentation::CompressedRle {
            size: [mask.height_px(), mask.width_px()],
            counts: mask.to_coco_string(),
        }),
        iscrowd: false,
        keypoints: None,
        num_keypoints: None,
        obb: None,
        score: Some(f64::from(*score)),
        is_group_of: None,
        extra: hotcoco::Extra::default(),
    }
}

/// Boxes, against all labels.
pub(super) fn boxes(
    dataset: &LabelledDataset,
    found: Vec<Annotation>,
    categories: &CategoryIds,
) -> Result<COCOeval, Failure> {
    evaluated(categories.labels(dataset.coco.dataset.clone()), found, IouType::Bbox)
}

/// Masks, against labels with an outline. One that is only a rectangle is neither right nor wrong:
/// it becomes a crowd region, which COCO matches but does not count, for all types.
pub(super) fn masks(
    dataset: &LabelledDataset,
    found: Vec<Annotation>,
    categories: &CategoryIds,
) -> Result<COCOeval, Failure> {
    let mut labels = dataset.coco.dataset.clone();
    for annotation in &mut labels.annotations {
        annotation.iscrowd = !is_outlined(annotation);
    }
    evaluated(categories.labels(labels), found, IouType::Segm)
}

fn evaluated(labels: Dataset, found: Vec<Annotation>, kind: IouType) -> Result<COCOeval, Failure> {
    let truth = Arc::new(COCO::from_dataset(labels));
    let found = truth.load_res_anns(found).map_err(Failure::fault)?;
    let mut evaluation = COCOeval::new(Arc::clone(&truth), found, kind);
    evaluation.evaluate().map_err(Failure::fault)?;
    evaluation.accumulate();
    // `get_results` needs the summary, whose printed form is not ours.
    let _ = evaluation.summarize_lines();
    Ok(evaluation)
}

pub(super) fn averages(evaluation: &COCOeval) -> Scores {
    let results = evaluation.get_results(None, false);
    from_metrics(|name| results.get(name).copied())
}

/// Takes the averages by their COCO names; -1 means that there was nothing to average.
pub(super) fn from_metrics(metric: impl Fn(&str) -> Option<f64>) -> Scores {
    let metric = |name: &str| metric(name).filter(|value| *value >= 0.0);
    Scores { ap: metric("AP"), ap50: metric("AP50"), ap75: metric("AP75"), ar: metric("AR100") }
}

/// AP of each type that is labelled.
pub(super) fn ap_per_type(evaluation: &COCOeval) -> BTreeMap<String, f64> {
    let results = evaluation.get_results(None, true);
    let of_types = results.iter();
    of_types.filter_map(|(key, ap)| Some((key.strip_prefix("AP/")?.to_owned(), *ap))).collect()
}

/// AP at IoU 0.5 of one category: the mean of its precisions over COCO's recalls.
pub(super) fn ap50_of(evaluation: &COCOeval, category_id: u64) -> Option<f64> {
    let accumulated = evaluation.accumulated()?;
    let category = accumulated.cat_ids.iter().position(|id| *id == category_id)?;
    let recalls = evaluation.params.rec_thrs.len();
    let last = evaluation.params.max_dets.len() - 1;
    let precision =
        |recall| accumulated.precision[accumulated.precision_idx(0, recall, category, 0, last)];
    let known: Vec<f64> = (0..recalls).map(precision).filter(|value| *value >= 0.0).collect();
    (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
}

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

/// What hotcoco computes, held against values that follow from the definitions by hand.
#[cfg(test)]
mod tests {
    use hotcoco::mask;
    use hotcoco::metrics::calibration::{calibration_curve, calibration_error};
    use magpie_perception::Mask;
    use serde_json::json;

    use super::*;

    /// A picture of 20x10 px with a label for each box, and findings with a score.
    fn averages_of(labels: &[[f64; 4]], found: &[([f64; 4], f64)], kind: IouType) -> Scores {
        let outline = |[x, y, w, h]: [f64; 4]| json!([[x, y, x + w, y, x + w, y + h, x, y + h]]);
        let annotations: Vec<_> = (1..)
            .zip(labels)
            .map(|(id, label)| {
                json!({
                    "id": id, "image_id": 1, "category_id": 1, "bbox": label, "iscrowd": 0,
                    "area": label[2] * label[3], "segmentation": outline(*label),
                })
            })
            .collect();
        let dataset: Dataset = serde_json::from_value(json!({
            "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}],
            "categories": [{"id": 1, "name": "box"}],
            "annotations": annotations,
        }))
        .unwrap();
        let found = found.iter().map(|(bbox, score)| {
            serde_json::from_value(json!({
                "id": 0, "image_id": 1, "category_id": 1, "bbox": bbox, "score": score,
                "area": bbox[2] * bbox[3], "segmentation": outline(*bbox), "iscrowd": false,
            }))
            .unwrap()
        });
        averages(&evaluated(dataset, found.collect(), kind).unwrap())
    }

    fn check(found: Option<f64>, expected: f64) {
        assert!((found.unwrap() - expected).abs() < 1e-9, "{found:?} for {expected}");
    }

    #[test]
    fn average_precision_is_the_area_under_its_curve() {
        let (left, right) = ([0.0, 0.0, 8.0, 8.0], [10.0, 0.0, 8.0, 8.0]);
        for kind in [IouType::Bbox, IouType::Segm] {
            let all = averages_of(&[left, right], &[(left, 0.9), (right, 0.8)], kind);
            check(all.ap, 1.0);
            check(all.ar, 1.0);
            // The wrong one comes first: precision is 1/2 at every recall.
            let behind = averages_of(&[left], &[(right, 0.9), (left, 0.8)], kind);
            check(behind.ap, 0.5);
            // Half of the labels: precision 1 up to recall 0.5, which are 51 of COCO's 101.
            let half = averages_of(&[left, right], &[(left, 0.9)], kind);
            check(half.ap50, 51.0 / 101.0);
            check(half.ar, 0.5);
            // Three quarters overlap: right at the thresholds 0.50 to 0.75, six of ten.
            let narrow = averages_of(&[left], &[([0.0, 0.0, 6.0, 8.0], 0.9)], kind);
            check(narrow.ap, 0.6);
            check(narrow.ap75, 1.0);
        }
    }

    #[test]
    fn areas_and_strings_of_masks_are_those_of_their_pixels() {
        let rectangle = mask::fr_poly(&[2.0, 1.0, 7.0, 1.0, 7.0, 4.0, 2.0, 4.0], 10, 20).unwrap();
        assert_eq!(mask::area(&rectangle), 15);
        assert_eq!(mask::to_bbox(&rectangle), [2.0, 1.0, 5.0, 3.0]);
        // Column by column, from the top: ten pixels a column.
        let decoded = mask::decode(&rectangle);
        let is_inside =
            |index: usize| (2..7).contains(&(index / 10)) && (1..4).contains(&(index % 10));
        assert!((0..200).all(|index| (decoded[index] == 1) == is_inside(index)));
        let bitmap: Vec<u8> = (0..200)
            .map(|at| u8::from((2..7).contains(&(at % 20)) && (1..4).contains(&(at / 20))))
            .collect();
        let ours = Mask::from_bitmap(20, 10, &bitmap);
        assert_eq!(ours.to_coco_string(), mask::rle_to_string(&rectangle));
        assert_eq!(u64::from(ours.area_px()), mask::area(&rectangle));
        let back = mask::rle_from_string(&ours.to_coco_string(), 10, 20).unwrap();
        assert_eq!(mask::decode(&back), decoded);
        // Two triangles of a square share its diagonal: together they are all of it.
        let square = mask::fr_poly(&[0.0, 0.0, 8.0, 0.0, 8.0, 8.0, 0.0, 8.0], 10, 20).unwrap();
        let both = [[0.0, 0.0, 8.0, 0.0, 8.0, 8.0], [0.0, 0.0, 8.0, 8.0, 0.0, 8.0]];
        let both = both.map(|triangle| mask::fr_poly(&triangle, 10, 20).unwrap());
        assert_eq!(mask::area(&mask::merge(&both, false).unwrap()), mask::area(&square));
    }

    #[test]
    fn the_calibration_error_is_the_mean_distance_of_score_and_share_of_right_ones() {
        // Of four at 0.9 three are right, of two at 0.2 none: (4 * 0.15 + 2 * 0.2) / 6.
        let scores = [0.9, 0.9, 0.9, 0.9, 0.2, 0.2];
        let right = [true, true, true, false, false, false];
        let (error, _) = calibration_error(&calibration_curve(&scores, &right, 10));
        assert!((error - 1.0 / 6.0).abs() < 1e-12, "{error}");
        let certain = calibration_error(&calibration_curve(&[1.0, 1.0], &[true, true], 10)).0;
        assert!(certain.abs() < 1e-12, "{certain}");
    }
}

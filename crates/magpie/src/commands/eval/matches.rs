//! Which finding matches which label, types ignored, masks at IoU 0.5.

use hotcoco::COCOeval;

use super::dataset::LabelledDataset;
use super::prediction::Prediction;

pub(super) struct Matches {
    /// One finding for each prediction, in the same order.
    pub(super) found: Vec<Finding>,
    /// The labels with an outline.
    pub(super) labels: Vec<Label>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Finding {
    pub(super) image_id: u64,
    pub(super) score: f64,
    pub(super) verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Matches the label of this index in [`Matches::labels`].
    Right(usize),
    Wrong,
    /// Lies where labels prove nothing: on a crowd or a mere rectangle, or on nothing in a picture
    /// that is not labelled throughout.
    Unproven,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Label {
    pub(super) image_id: u64,
    pub(super) category_id: u64,
    /// Index of the annotation in the dataset.
    pub(super) annotation: usize,
    /// Index of the finding that matches it.
    pub(super) found_by: Option<usize>,
}

impl Matches {
    /// Takes the matches from masks that were evaluated with types ignored.
    pub(super) fn new(
        evaluation: &COCOeval,
        dataset: &LabelledDataset,
        predictions: &[Prediction],
    ) -> Matches {
        let mut labels: Vec<Label> = Vec::new();
        let mut label_of_annotation = vec![None; dataset.coco.dataset.annotations.len() + 1];
        for (at, annotation) in dataset.coco.dataset.annotations.iter().enumerate() {
            if super::dataset::is_outlined(annotation) {
                label_of_annotation[at + 1] = Some(labels.len());
                let (image_id, category_id) = (annotation.image_id, annotation.category_id);
                labels.push(Label { image_id, category_id, annotation: at, found_by: None });
            }
        }
        let mut found: Vec<Finding> = predictions
            .iter()
            .map(|prediction| Finding {
                image_id: prediction.image_id,
                score: f64::from(prediction.score),
                verdict: Verdict::Unproven,
            })
            .collect();
        let all_areas = evaluation.params.area_ranges[0].range;
        let of_all_areas =
            evaluation.eval_imgs().iter().flatten().filter(|image| image.area_rng == all_areas);
        for image in of_all_areas {
            let throughout = dataset.is_labelled_throughout(image.image_id);
            for (at, id) in image.dt_ids.iter().enumerate() {
                // hotcoco numbers findings from 1 in their order.
                let finding = index(*id) - 1;
                found[finding].verdict = if image.dt_ignore[(0, at)] {
                    Verdict::Unproven
                } else if image.dt_matched[(0, at)] {
                    let label = label_of_annotation[index(image.dt_matches[(0, at)])]
                        .expect("what is no outline is ignored");
                    labels[label].found_by = Some(finding);
                    Verdict::Right(label)
                } else if throughout {
                    Verdict::Wrong
                } else {
                    Verdict::Unproven
                };
            }
        }
        Matches { found, labels }
    }

    /// Whether a finding of at least this score matches the label.
    pub(super) fn is_found(&self, label: &Label, score_min: f64) -> bool {
        label.found_by.is_some_and(|finding| self.found[finding].score >= score_min)
    }
}

fn index(id: u64) -> usize {
    usize::try_from(id).expect("ids are positions in memory")
}

#[cfg(test)]
mod tests {
    use super::super::labels::Naming;
    use magpie_perception::Mask;
    use serde_json::{Value, json};

    use super::super::score::{CategoryIds, averages, masks};
    use super::*;

    const SIDE_PX: u32 = 100;

    /// A square's corner and side.
    type Square = (u32, u32);

    fn label(id: u64, image_id: u64, category_id: u64, (at, side): Square) -> Value {
        let end = at + side;
        json!({
            "id": id, "image_id": image_id, "category_id": category_id, "iscrowd": 0,
            "bbox": [at, at, side, side], "area": side * side,
            "segmentation": [[at, at, end, at, end, end, at, end]],
        })
    }

    fn prediction(image_id: u64, class_id: usize, score: f32, (at, side): Square) -> Prediction {
        let mut bitmap = vec![0; (SIDE_PX * SIDE_PX) as usize];
        for y in at..at + side {
            for x in at..at + side {
                bitmap[(y * SIDE_PX + x) as usize] = 1;
            }
        }
        let edges = [at, at, at + side, at + side].map(f64::from);
        let mask = Mask::from_bitmap(SIDE_PX, SIDE_PX, &bitmap);
        Prediction { image_id, class_id, score, bbox_px: edges, mask }
    }

    /// Two pictures; image 1 is labelled throughout, image 2 as `image_2` says.
    fn dataset(image_2: Value, annotations: &[Value]) -> LabelledDataset {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labels.json");
        let image = |id: u64| {
            let name = format!("{id}.png");
            image::RgbImage::new(SIDE_PX, SIDE_PX).save(folder.path().join(&name)).unwrap();
            json!({"id": id, "file_name": name, "width": SIDE_PX, "height": SIDE_PX})
        };
        let (mut first, mut second) = (image(1), image(2));
        first["all_polygon"] = true.into();
        second["all_polygon"] = image_2;
        let document = json!({
            "images": [first, second],
            "annotations": annotations,
            "categories": [{"id": 7, "name": "box"}, {"id": 8, "name": "item"}],
        });
        std::fs::write(&path, document.to_string()).unwrap();
        let classes = ["box".to_owned(), "item".to_owned()];
        let naming = Naming { classes: &classes, mapping: &[] };
        LabelledDataset::read(&path, naming, false).unwrap_or_else(|e| panic!("{}", e.message()))
    }

    fn categories(dataset: &LabelledDataset) -> CategoryIds {
        CategoryIds::new(dataset, &["box".to_owned(), "item".to_owned()], false)
    }

    #[test]
    fn only_what_matches_nothing_where_everything_is_labelled_is_wrong() {
        let mut rectangle = label(3, 2, 7, (50, 20));
        rectangle["mask_source"] = "bbox".into();
        let mut crowd = label(4, 1, 7, (60, 30));
        crowd["iscrowd"] = 1.into();
        let labels = [label(1, 1, 8, (0, 20)), label(2, 2, 7, (0, 20)), rectangle, crowd];
        let dataset = dataset(false.into(), &labels);
        let predictions = [
            prediction(1, 0, 0.875, (0, 20)),
            prediction(1, 0, 0.8, (30, 20)),
            prediction(1, 1, 0.7, (65, 10)),
            prediction(2, 0, 0.6, (50, 20)),
            prediction(2, 0, 0.5, (80, 20)),
        ];
        let ignored = categories(&dataset).ignored();
        let evaluation = masks(&dataset, ignored.annotations(&predictions), &ignored).unwrap();
        let matches = Matches::new(&evaluation, &dataset, &predictions);
        let verdicts: Vec<Verdict> = matches.found.iter().map(|f| f.verdict).collect();
        let [right, wrong, unproven] = [Verdict::Right(0), Verdict::Wrong, Verdict::Unproven];
        assert_eq!(verdicts, [right, wrong, unproven, unproven, unproven]);
        assert_eq!(matches.labels.len(), 2, "neither the rectangle nor the crowd");
        assert!(matches.is_found(&matches.labels[0], 0.875));
        assert!(!matches.is_found(&matches.labels[0], 0.9), "not at that score");
        assert!(!matches.is_found(&matches.labels[1], 0.0));
    }

    #[test]
    fn labels_are_distinct_however_their_file_counts_them() {
        let labels =
            [label(1768, 1, 7, (0, 20)), label(0, 1, 7, (30, 20)), label(1, 1, 7, (60, 20))];
        let dataset = dataset(true.into(), &labels);
        let predictions = [prediction(1, 0, 0.9, (60, 20)), prediction(1, 0, 0.8, (0, 20))];
        let ignored = categories(&dataset).ignored();
        let evaluation = masks(&dataset, ignored.annotations(&predictions), &ignored).unwrap();
        let matches = Matches::new(&evaluation, &dataset, &predictions);
        let found: Vec<_> = matches.labels.iter().map(|label| label.found_by).collect();
        assert_eq!(found, [Some(1), None, Some(0)]);
    }

    #[test]
    fn what_lies_on_a_rectangle_is_neither_right_nor_wrong_whatever_its_type() {
        let mut rectangle = label(2, 1, 7, (50, 40));
        rectangle["mask_source"] = "bbox".into();
        let dataset = dataset(true.into(), &[label(1, 1, 8, (0, 20)), rectangle]);
        let predictions = [prediction(1, 1, 0.9, (60, 10)), prediction(1, 1, 0.8, (0, 20))];
        let typed = categories(&dataset);
        let evaluation = masks(&dataset, typed.annotations(&predictions), &typed).unwrap();
        assert!(averages(&evaluation).ap > Some(0.999));
    }

    #[test]
    fn what_lies_on_a_crowd_is_neither_right_nor_wrong_whatever_its_type() {
        let mut crowd = label(2, 1, 7, (50, 40));
        crowd["iscrowd"] = 1.into();
        let dataset = dataset(true.into(), &[label(1, 1, 8, (0, 20)), crowd]);
        let predictions = [prediction(1, 1, 0.9, (60, 10)), prediction(1, 1, 0.8, (0, 20))];
        let typed = categories(&dataset);
        let evaluation = masks(&dataset, typed.annotations(&predictions), &typed).unwrap();
        assert!(averages(&evaluation).ap > Some(0.999));
    }
}

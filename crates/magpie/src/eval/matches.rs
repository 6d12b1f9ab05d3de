//! Which finding matches which label, types ignored, masks at IoU 0.5.

use hotcoco::COCOeval;

use super::Prediction;
use super::dataset::LabelledDataset;

pub(super) struct Matches {
    /// Like the predictions, one for one.
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
    /// From masks evaluated with types ignored.
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

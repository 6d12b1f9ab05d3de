//! The contents of a scorecard.

use hotcoco::metrics::calibration::CalibrationBin;
use magpie_daemon::failure::Failure;
use serde::Serialize;

use super::dataset::LabelledDataset;
use super::matches::Matches;
use super::prediction::Prediction;
use super::report::Report;
use super::score::Scores;

#[derive(Serialize)]
pub(super) struct Scorecard<'a> {
    pub(super) model: String,
    pub(super) model_sha256: String,
    /// Lowest score that a robot would act on.
    pub(super) score_min: f64,
    pub(super) datasets: Vec<Section<'a>>,
}

/// One dataset's part.
#[derive(Serialize)]
pub(super) struct Section<'a> {
    pub(super) name: String,
    pub(super) simulated: bool,
    #[serde(flatten)]
    pub(super) report: Report,
    /// Pictures in which everything is labelled.
    pub(super) images_labelled_throughout: usize,
    /// All pictures first.
    pub(super) groups: Vec<GroupScores>,
    /// Empty when types are ignored.
    pub(super) types: Vec<TypeScores>,
    /// `None` where no picture is labelled throughout.
    pub(super) calibration: Option<Calibration>,
    /// The model's names of its classes.
    pub(super) class_names: Vec<String>,
    #[serde(skip)]
    pub(super) dataset: &'a LabelledDataset,
    #[serde(skip)]
    pub(super) predictions: Vec<Prediction>,
    #[serde(skip)]
    pub(super) matches: Matches,
}

/// The scores of a group of pictures, types ignored.
#[derive(Serialize)]
pub(super) struct GroupScores {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) images: usize,
    pub(super) instances_outlined: usize,
    pub(super) mask: Scores,
    pub(super) found: Option<f64>,
    pub(super) right: Option<f64>,
}

#[derive(Serialize)]
pub(super) struct TypeScores {
    pub(super) name: String,
    pub(super) instances_outlined: usize,
    /// Computed with types: a right outline of the wrong type is wrong.
    pub(super) ap: Option<f64>,
    pub(super) ap50: Option<f64>,
    pub(super) found: Option<f64>,
    /// How many of the found ones the model gave each of its classes, in their order.
    pub(super) called: Vec<usize>,
}

/// Calibration of the scores of findings in pictures that are labelled throughout, types ignored.
#[derive(Serialize)]
pub(super) struct Calibration {
    pub(super) findings: usize,
    /// Expected calibration error over findings that a robot would act on.
    pub(super) error: f64,
    pub(super) findings_in_service: usize,
    /// The same over all findings, doubts included.
    pub(super) error_of_all: f64,
    pub(super) bins: Vec<CalibrationBin>,
    /// Recall and precision as the score falls.
    #[serde(skip)]
    pub(super) curve: Vec<CurvePoint>,
}

#[derive(Clone, Copy)]
pub(super) struct CurvePoint {
    pub(super) recall: f64,
    pub(super) precision: f64,
    pub(super) score: f64,
}

impl Scorecard<'_> {
    pub(super) fn to_json(&self) -> Result<String, Failure> {
        serde_json::to_string(self).map_err(Failure::fault)
    }
}

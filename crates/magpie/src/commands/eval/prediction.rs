//! What the deployed pipeline finds in the pictures of a dataset.

use magpie_inference::OnnxSession;
use magpie_network::SystemClock;
use magpie_perception::{InferenceSession, Limits, Mask, Pipeline, SharedClock};

use super::dataset::LabelledDataset;
use crate::pictures::read_frame;
use crate::present::progress;
use magpie_daemon::failure::{Failure, ended_by};

/// A package that the model sees in a labelled picture.
pub(super) struct Prediction {
    pub(super) image_id: u64,
    pub(super) class_id: usize,
    pub(super) score: f32,
    /// `x_min, y_min, x_max, y_max`.
    pub(super) bbox_px: [f64; 4],
    pub(super) mask: Mask,
}

/// Runs the pipeline over every picture of the dataset.
pub(super) fn predict(
    dataset: &LabelledDataset,
    session: &mut OnnxSession,
    limits: &Limits,
) -> Result<Vec<Prediction>, Failure> {
    let clock: SharedClock = SystemClock::start();
    let images = &dataset.coco.dataset.images;
    let bar = progress::bar(images.len() as u64, "images");
    let mut predictions = Vec::new();
    for image in images {
        let path = dataset.picture(image);
        let frame = read_frame(&path, clock.now())?;
        let size = (frame.color.width_px(), frame.color.height_px());
        if size != (image.width, image.height) {
            let error = anyhow::anyhow!(
                "{} is {}x{} px, {} labels it at {}x{} px; label the picture as it is",
                path.display(),
                size.0,
                size.1,
                dataset.path.display(),
                image.width,
                image.height
            );
            return Err(Failure::Fault(error));
        }
        // Each picture gets a fresh pipeline: the images of a dataset are no stream.
        let (packages, _) = Pipeline::new(session.spec().clone())
            .process(&frame, session, clock.as_ref(), None, limits)
            .map_err(ended_by)?;
        predictions.extend(packages.packages.into_iter().map(|package| {
            let instance = package.instance;
            let bbox = &instance.bbox;
            Prediction {
                image_id: image.id,
                class_id: instance.class_id,
                score: instance.score,
                bbox_px: [bbox.x_min_px, bbox.y_min_px, bbox.x_max_px, bbox.y_max_px]
                    .map(f64::from),
                mask: instance.mask,
            }
        }));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(predictions)
}

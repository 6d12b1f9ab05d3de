//! `magpie eval`: the deployed pipeline over labelled datasets, scored as COCO does, over pictures
//! without packages, or its grasps over a simulated dataset.

mod dataset;
mod empty;
mod grasp_pictures;
mod grasp_report;
mod grasps;
mod groups;
mod markdown;
mod matches;
mod plots;
mod score;
mod scorecard;
mod truth;
mod worst;

use std::collections::BTreeMap;
use std::path::PathBuf;

use magpie_inference::OnnxSession;
use magpie_perception::{InferenceSession, Limits, Mask, Pipeline};
use serde::Serialize;

use self::dataset::LabelledDataset;
use self::score::{CategoryIds, Scores};
use crate::pictures::read_frame;
use crate::present::{output, progress, table};
use magpie_daemon::config::Config;
use magpie_daemon::failure::ended_by;
use magpie_daemon::failure::{Failure, Outcome};
use magpie_daemon::model;
use magpie_network::SystemClock;
use magpie_perception::SharedClock;

#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// The model; absent: the universal model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// COCO annotations; `file_name` is relative to this file's folder. May be given again.
    #[arg(long, required_unless_present_any = ["grasps", "empty"])]
    dataset: Vec<PathBuf>,
    /// Judge grasps instead, on a folder that `magpie simulate --solids` wrote.
    #[arg(long, conflicts_with = "dataset")]
    grasps: Option<PathBuf>,
    /// Count what is found in pictures without packages, or folders of them: all of it is wrong.
    #[arg(
        long,
        num_args = 1..,
        value_name = "IMAGE",
        conflicts_with_all = ["dataset", "grasps", "scorecard", "class_agnostic"]
    )]
    empty: Vec<PathBuf>,
    /// Whose masks the grasps are planned on.
    #[arg(long, value_enum, default_value = "true", requires = "grasps")]
    masks: grasps::Masks,
    /// Draw where cups would seal, what was chosen and how it was judged into this new or empty
    /// folder.
    #[arg(long, value_name = "FOLDER", requires = "grasps")]
    pictures: Option<PathBuf>,
    /// Ignore types: any package found counts for any package labelled.
    #[arg(long)]
    class_agnostic: bool,
    /// Score by type, size in the picture, distance, tilt and background as well, and how far
    /// scores can be believed: tables on standard output, and with plots in this new or empty
    /// folder.
    #[arg(long, value_name = "FOLDER")]
    scorecard: Option<PathBuf>,
    /// Draw this many pictures of each dataset, those with most missed or wrong, into the scorecard.
    #[arg(long, value_name = "PICTURES", default_value_t = 0, requires = "scorecard")]
    worst: usize,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// Configuration for everything else.
    #[arg(long)]
    config: Option<PathBuf>,
}

/// Precision at low scores counts too, so far more is kept than a robot would act on.
const SCORE_MIN: f32 = 0.01;
/// COCO looks at the best hundred of each image.
const INSTANCES_MAX: usize = 100;

#[derive(Debug, Serialize)]
struct Report {
    model: String,
    dataset: PathBuf,
    class_agnostic: bool,
    /// Over the instances with an outline.
    mask: Scores,
    bbox: Scores,
    /// Mask AP by type; empty when types are ignored.
    per_type: BTreeMap<String, f64>,
    images: usize,
    instances: usize,
    /// Instances whose label has an outline, not just a box drawn around.
    instances_outlined: usize,
}

/// A package that the model sees in a labelled picture.
struct Prediction {
    image_id: u64,
    class_id: usize,
    score: f32,
    /// `x_min, y_min, x_max, y_max`.
    bbox_px: [f64; 4],
    mask: Mask,
}

pub fn eval(args: &EvalArgs) -> Outcome {
    let mut config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    if let Some(model) = &args.model {
        config.model_path = Some(model.clone());
    }
    if let Some(folder) = &args.grasps {
        return grasps::eval(folder, args, &config);
    }
    if !args.empty.is_empty() {
        return empty::eval(&args.empty, args.json, &config);
    }
    let model_path = config.model_path.as_deref();
    let model = model::read(model_path, config.model_sha256.as_deref())?;
    let datasets = (args.dataset.iter())
        .map(|path| LabelledDataset::read(path))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(folder) = &args.scorecard {
        scorecard::create_folder(folder)?;
    }
    let mut session = model::load(&model, &config.session)?;
    // What a robot would act on.
    let deployed = config.limits(model.spec().score_min);
    let mut limits = deployed.clone();
    limits.decode.score_min = SCORE_MIN;
    limits.decode.instances_max = INSTANCES_MAX;

    let mut scored = Vec::new();
    for dataset in &datasets {
        let categories = CategoryIds::new(dataset, &model.spec().class_names, args.class_agnostic);
        if categories.agnostic && !args.class_agnostic {
            tracing::warn!(
                dataset = %dataset.path.display(),
                "the dataset's categories are not the model's: types are ignored"
            );
        }
        let predictions = detect_all(dataset, &mut session, &limits)?;
        let report = report(dataset, &predictions, &categories, &model.spec().name)?;
        scored.push((dataset, categories, predictions, report));
    }
    match &args.scorecard {
        Some(folder) => {
            let card = scorecard::Scorecard::new(model.spec(), deployed.decode.score_min, scored)?;
            card.write(folder, args.worst)?;
            output::line(&if args.json { card.to_json()? } else { card.to_markdown() })
        }
        None => scored.iter().try_for_each(|(.., report)| print(report, args.json)),
    }
}

fn detect_all(
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
        let frame = read_frame(&path, None, clock.now())?;
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
        // A fresh pipeline: the images of a dataset are no stream.
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

fn report(
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
        instances_outlined: annotations.iter().filter(|a| dataset::is_outlined(a)).count(),
    })
}

fn print(report: &Report, as_json: bool) -> Outcome {
    if as_json {
        return output::line(&serde_json::to_string(report).map_err(Failure::fault)?);
    }
    let mut table = table::new(&["", "AP", "AP50", "AP75", "AR"]);
    let cell = |value: Option<f64>| table::decimal(value, 3);
    for (name, scores) in [("mask", &report.mask), ("bbox", &report.bbox)] {
        table.add_row([
            comfy_table::Cell::new(name),
            cell(scores.ap),
            cell(scores.ap50),
            cell(scores.ap75),
            cell(scores.ar),
        ]);
    }
    for (name, ap) in &report.per_type {
        table.add_row([comfy_table::Cell::new(format!("mask, {name}")), cell(Some(*ap))]);
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

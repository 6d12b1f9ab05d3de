//! `magpie eval`: the deployed pipeline over a labelled dataset, scored as COCO does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use hotcoco::{Annotation, COCO, COCOeval, Dataset, IouType, Segmentation};
use magpie_inference::OnnxSession;
use magpie_perception::{InferenceSession, Limits, Package, Pipeline};
use serde::Serialize;

use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::detect::read_frame;
use crate::failure::{Failure, Outcome};
use crate::service::ended_by;
use crate::{model, output, progress, table};

#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// The model; absent: the universal model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// COCO annotations; `file_name` is relative to this file's folder.
    #[arg(long)]
    dataset: PathBuf,
    /// Ignore types: any package found counts for any package labelled.
    #[arg(long)]
    class_agnostic: bool,
    /// Print JSON instead of a table.
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

/// COCO's averages; `None` where nothing is labelled.
#[derive(Clone, Copy, Debug, Serialize)]
struct Scores {
    ap: Option<f64>,
    ap50: Option<f64>,
    ap75: Option<f64>,
    ar: Option<f64>,
}

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

pub fn eval(args: &EvalArgs) -> Outcome {
    let config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    let model_path = args.model.as_deref().or(config.model_path.as_deref());
    let model = model::read(model_path, config.model_sha256.as_deref())?;
    let truth = read_dataset(&args.dataset).map_err(Failure::Fault)?;
    let categories = CategoryIds::new(&truth, &model.spec().class_names, args.class_agnostic);
    if categories.agnostic && !args.class_agnostic {
        tracing::warn!(
            dataset = %args.dataset.display(),
            "the dataset's categories are not the model's: types are ignored"
        );
    }
    let mut session = model::load(&model, &config.session)?;
    let mut limits = config.limits(None);
    limits.decode.score_min = SCORE_MIN;
    limits.decode.instances_max = INSTANCES_MAX;

    let found = detect_all(&truth, &args.dataset, &mut session, &limits, &categories)?;
    let report = score(&truth, &found, &categories, model.spec().name.clone(), args)?;
    if args.json {
        let document = serde_json::to_string(&report).map_err(Failure::fault)?;
        return output::line(&document);
    }
    print(&report)
}

fn read_dataset(path: &Path) -> anyhow::Result<COCO> {
    let truth =
        COCO::new(path).with_context(|| format!("read COCO annotations {}", path.display()))?;
    anyhow::ensure!(!truth.dataset.images.is_empty(), "{} lists no images", path.display());
    anyhow::ensure!(
        !truth.dataset.annotations.is_empty(),
        "{} labels nothing: there is nothing to score against",
        path.display()
    );
    Ok(truth)
}

/// Which category of the dataset each class of the model stands for.
struct CategoryIds {
    by_class_id: Vec<u64>,
    agnostic: bool,
}

impl CategoryIds {
    /// Types are ignored when asked for, and when a category of the dataset is none of the model's.
    fn new(truth: &COCO, class_names: &[String], asked_agnostic: bool) -> CategoryIds {
        let categories = &truth.dataset.categories;
        let known = |name: &String| class_names.contains(name);
        let agnostic = asked_agnostic || !categories.iter().all(|category| known(&category.name));
        let any = categories.first().map_or(1, |category| category.id);
        let id =
            |name: &String| categories.iter().find(|c| c.name == *name).map_or(u64::MAX, |c| c.id);
        let by_class_id =
            class_names.iter().map(|name| if agnostic { any } else { id(name) }).collect();
        CategoryIds { by_class_id, agnostic }
    }
}

fn detect_all(
    truth: &COCO,
    dataset: &Path,
    session: &mut OnnxSession,
    limits: &Limits,
    categories: &CategoryIds,
) -> Result<Vec<Annotation>, Failure> {
    let folder = dataset.parent().unwrap_or_else(|| Path::new("."));
    let clock: SharedClock = SystemClock::start();
    let bar = progress::bar(truth.dataset.images.len() as u64, "images");
    let mut found = Vec::new();
    for image in &truth.dataset.images {
        let frame = read_frame(&folder.join(&image.file_name), None, clock.now())?;
        // A fresh pipeline: the images of a dataset are no stream.
        let (packages, _) = Pipeline::new(session.spec().clone())
            .process(&frame, session, clock.as_ref(), None, limits)
            .map_err(ended_by)?;
        found.extend(packages.packages.iter().filter_map(|package| {
            let category_id = categories.by_class_id[package.instance.class_id];
            // A type that the dataset does not know can be neither right nor wrong there.
            (category_id != u64::MAX).then(|| annotation(package, image.id, category_id))
        }));
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(found)
}

fn annotation(package: &Package, image_id: u64, category_id: u64) -> Annotation {
    let instance = &package.instance;
    let bbox = &instance.bbox;
    let edges = [bbox.x_min_px, bbox.y_min_px, bbox.x_max_px, bbox.y_max_px].map(f64::from);
    Annotation {
        id: 0,
        image_id,
        category_id,
        bbox: Some([edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1]]),
        area: Some(f64::from(instance.mask.area_px())),
        segmentation: Some(Segmentation::CompressedRle {
            size: [instance.mask.height_px(), instance.mask.width_px()],
            counts: instance.mask.to_coco_string(),
        }),
        iscrowd: false,
        keypoints: None,
        num_keypoints: None,
        obb: None,
        score: Some(f64::from(instance.score)),
        is_group_of: None,
        extra: hotcoco::Extra::default(),
    }
}

fn score(
    truth: &COCO,
    found: &[Annotation],
    categories: &CategoryIds,
    model: String,
    args: &EvalArgs,
) -> Result<Report, Failure> {
    let (images, instances) = (truth.dataset.images.len(), truth.dataset.annotations.len());
    let mut dataset = truth.dataset.clone();
    if categories.agnostic {
        let any = categories.by_class_id[0];
        for annotation in &mut dataset.annotations {
            annotation.category_id = any;
        }
    }
    let outlines = only_outlined(dataset.clone());
    let instances_outlined =
        outlines.dataset.annotations.iter().filter(|annotation| !annotation.iscrowd).count();
    let (bbox, _) = averages(COCO::from_dataset(dataset), found, IouType::Bbox)?;
    let (mask, mut per_type) = averages(outlines, found, IouType::Segm)?;
    if categories.agnostic {
        per_type.clear();
    }
    Ok(Report {
        model,
        dataset: args.dataset.clone(),
        class_agnostic: categories.agnostic,
        mask,
        bbox,
        per_type,
        images,
        instances,
        instances_outlined,
    })
}

/// For masks, a label that is only a rectangle (`mask_source` = `bbox`) is neither right nor wrong:
/// it becomes a crowd region, which COCO matches but does not count.
fn only_outlined(mut dataset: Dataset) -> COCO {
    for annotation in &mut dataset.annotations {
        let source = annotation.extra.get("mask_source").and_then(|source| source.as_str());
        if source == Some("bbox") || annotation.segmentation.is_none() {
            annotation.iscrowd = true;
        }
    }
    COCO::from_dataset(dataset)
}

fn averages(
    truth: COCO,
    found: &[Annotation],
    kind: IouType,
) -> Result<(Scores, BTreeMap<String, f64>), Failure> {
    let truth = Arc::new(truth);
    let found = truth.load_res_anns(found.to_vec()).map_err(Failure::fault)?;
    let mut evaluation = COCOeval::new(Arc::clone(&truth), found, kind);
    evaluation.evaluate().map_err(Failure::fault)?;
    evaluation.accumulate();
    // `get_results` needs the summary, whose printed form is not ours.
    let _ = evaluation.summarize_lines();
    let results = evaluation.get_results(None, true);
    // COCO's -1 means that there was nothing to average.
    let metric = |name: &str| results.get(name).copied().filter(|value| *value >= 0.0);
    let per_type = results
        .iter()
        .filter_map(|(key, ap)| Some((key.strip_prefix("AP/")?.to_owned(), *ap)))
        .collect();
    let scores = Scores {
        ap: metric("AP"),
        ap50: metric("AP50"),
        ap75: metric("AP75"),
        ar: metric("AR100"),
    };
    Ok((scores, per_type))
}

fn print(report: &Report) -> Outcome {
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

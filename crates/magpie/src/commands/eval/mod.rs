//! `magpie eval`: the deployed pipeline over labelled datasets, scored as COCO does, over pictures
//! without packages, or its grasps over a simulated dataset.

mod args;
mod card;
mod dataset;
mod empty;
mod grasp_pictures;
mod grasp_report;
mod grasps;
mod groups;
mod labels;
mod markdown;
mod matches;
mod plots;
mod prediction;
mod report;
mod score;
mod scorecard;
mod truth;
mod worst;

pub use self::args::EvalArgs;

use self::dataset::LabelledDataset;
use self::labels::Naming;
use self::prediction::predict;
use self::score::CategoryIds;
use crate::present::output;
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome};
use magpie_daemon::model;

/// Precision at low scores counts too, so far more is kept than a robot would act on.
const SCORE_MIN: f32 = 0.01;
/// COCO looks at the best hundred of each image.
const INSTANCES_MAX: usize = 100;

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
    let naming = Naming { classes: &model.spec().class_names, mapping: &args.map };
    let datasets = (args.dataset.iter())
        .map(|path| LabelledDataset::read(path, naming, args.skip_bad_labels))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(folder) = &args.scorecard {
        output::create_empty_folder(folder)?;
    }
    let mut session = model::load(&model, &config.session)?;
    // The limits that a robot would act on.
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
                "{} in the labels are no types of the model: types are ignored; say what each stands \
                 for, as in --map {}, or leave it out: --map {}",
                dataset.unknown_names.join(", "),
                dataset.example_of_map(&model.spec().class_names[0]),
                dataset.example_of_map("none"),
            );
        }
        let predictions = predict(dataset, &mut session, &limits)?;
        let report = report::report(dataset, &predictions, &categories, &model.spec().name)?;
        scored.push((dataset, categories, predictions, report));
    }
    match &args.scorecard {
        Some(folder) => {
            let card = scorecard::scorecard(model.spec(), deployed.decode.score_min, scored)?;
            scorecard::write(&card, folder, args.worst)?;
            output::line(&if args.json { card.to_json()? } else { markdown::scorecard(&card) })
        }
        None => scored.iter().try_for_each(|(.., report)| report::print(report, args.json)),
    }
}

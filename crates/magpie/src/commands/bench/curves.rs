//! `magpie bench --curves`: how the cost of each stage grows with packages, pixels and models.

use std::path::PathBuf;

use magpie_inference::ModelFile;
use serde::Serialize;

use super::cell::{SIZE_PX_USUAL, simulate};
use super::frames::BenchFrames;
use super::html::{self, Series};
use super::report::Report;
use super::stages::{Run, Stage};
use super::system::{limits, with_system};
use crate::present::table;
use magpie_daemon::config::Config;
use magpie_daemon::failure::Failure;
use magpie_daemon::model;

const PACKAGES: [usize; 5] = [1, 10, 40, 100, 200];
const SIZES_PX: [(u32, u32); 4] = [(640, 480), (1280, 720), (1920, 1080), (3840, 2160)];
/// The number of packages while something else is varied.
const PACKAGES_USUAL: usize = 40;
/// A frame of 4K with depth is 41 MB.
const FRAMES_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Axis {
    Packages,
    Pixels,
    Model,
}

impl Axis {
    const ALL: [Axis; 3] = [Axis::Packages, Axis::Pixels, Axis::Model];

    fn title(self) -> &'static str {
        match self {
            Axis::Packages => "packages in a frame of 1280x720 px",
            Axis::Pixels => "million pixels of a frame with 40 packages",
            Axis::Model => "model file in MiB, 1280x720 px, 40 packages",
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Point {
    axis: Axis,
    x: f64,
    label: String,
    report: Report,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Curves {
    points: Vec<Point>,
}

pub(super) fn measure(
    config: &Config,
    usual: &ModelFile,
    others: &[PathBuf],
    frames: Option<&BenchFrames>,
    rounds: usize,
) -> Result<Curves, Failure> {
    let few = frames.cloned().map(|mut frames| {
        frames.frames.truncate(FRAMES_MAX);
        frames
    });
    // The cell that all axes share is simulated once.
    let shared = match few {
        Some(_) => None,
        None => Some(simulate(SIZE_PX_USUAL, PACKAGES_USUAL)?),
    };
    let others = others
        .iter()
        .map(|path| model::read(Some(path), None))
        .collect::<Result<Vec<ModelFile>, Failure>>()?;
    let one = |model: &ModelFile, size_px: (u32, u32), packages: usize| {
        let is_shared = (size_px, packages) == (SIZE_PX_USUAL, PACKAGES_USUAL);
        let mut scaled = match (&few, &shared) {
            (Some(frames), _) => frames.clone(),
            (None, Some(frames)) if is_shared => frames.clone(),
            (None, _) => simulate(size_px, packages)?,
        };
        scaled.scale(size_px);
        let limits = limits(config, model, Some(packages));
        let mut run = Run::default();
        with_system(config, model, &mut scaled, &limits, |system| system.rounds(rounds, &mut run))?;
        Ok::<Report, Failure>(Report::new(&run, model.spec(), &scaled))
    };
    let mut points = Vec::new();
    for packages in PACKAGES {
        let report = one(usual, SIZE_PX_USUAL, packages)?;
        let label = packages.to_string();
        points.push(Point { axis: Axis::Packages, x: packages as f64, label, report });
    }
    for (width_px, height_px) in SIZES_PX {
        let report = one(usual, (width_px, height_px), PACKAGES_USUAL)?;
        let label = format!("{width_px}x{height_px}");
        let x = f64::from(width_px) * f64::from(height_px) / 1e6;
        points.push(Point { axis: Axis::Pixels, x, label, report });
    }
    let mut models: Vec<&ModelFile> = others.iter().chain([usual]).collect();
    models.sort_by_key(|model| model.bytes().len());
    for model in models {
        let report = one(model, SIZE_PX_USUAL, PACKAGES_USUAL)?;
        let x = model.bytes().len() as f64 / f64::from(1 << 20);
        points.push(Point { axis: Axis::Model, x, label: model.spec().name.clone(), report });
    }
    Ok(Curves { points })
}

impl Curves {
    fn on(&self, axis: Axis) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| point.axis == axis)
    }

    /// One line a point, with the medians of the stages.
    pub(super) fn table(&self) -> String {
        let mut header = vec!["", "p50 ms"];
        header.extend(Stage::ALL.map(Stage::name));
        header.extend(["ratio", "visible"]);
        let mut table = table::new(&header);
        for axis in Axis::ALL {
            for point in self.on(axis) {
                let name = serde_json::to_string(&axis).expect("a name serializes");
                let mut row =
                    vec![table::Cell::new(name.trim_matches('"')), table::Cell::new(&point.label)];
                let stages = &point.report.stages;
                row.extend(Stage::ALL.map(|stage| table::decimal(Some(stages[&stage].p50_ms), 2)));
                row.push(table::decimal(Some(point.report.end_to_end_over_run_ratio), 3));
                let visible = point.report.packages_visible.map(|visible| visible as f64);
                row.push(table::decimal(visible, 0));
                table.add_row(row);
            }
        }
        table.to_string()
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and names serialize") + "\n"
    }

    /// One plot for each axis: the stages but the model, which would dwarf them; then all.
    pub(super) fn page(&self) -> String {
        let mut body = String::new();
        for axis in Axis::ALL {
            let mut stages =
                vec![Stage::Preprocess, Stage::Decode, Stage::Plan, Stage::Publish, Stage::Arrival];
            if axis == Axis::Model {
                stages.extend([Stage::BareRun, Stage::EndToEnd]);
            }
            let series: Vec<Series> = stages
                .into_iter()
                .map(|stage| Series {
                    name: stage.name(),
                    points: self
                        .on(axis)
                        .map(|point| (point.x, point.report.stages[&stage].p50_ms))
                        .collect(),
                })
                .collect();
            body += &format!("<h2>{}</h2>\n", axis.title());
            body += &html::plot(axis.title(), &|x| format!("{x:.0}"), &series);
        }
        html::document("magpie bench --curves", &self.table(), &body)
    }
}

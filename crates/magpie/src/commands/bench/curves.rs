//! `magpie bench --curves`: how the cost of each stage grows with packages, pixels and models.

use std::path::PathBuf;

use anyhow::anyhow;
use magpie_inference::ModelFile;
use maud::html;
use serde::Serialize;

use super::cell::{SIZE_PX_USUAL, simulate};
use super::frames::BenchFrames;
use super::html::{self, Kind, Series};
use super::report::Report;
use super::stages::{Run, Stage};
use super::stop::Stop;
use super::system::{limits, with_system};
use crate::present::{progress, table};
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome};
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

    fn name(self) -> &'static str {
        match self {
            Axis::Packages => "packages",
            Axis::Pixels => "pixels",
            Axis::Model => "model",
        }
    }

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
    /// How many there would be, had nobody stopped it.
    planned: usize,
}

/// What is measured at one point.
struct Setup<'a> {
    axis: Axis,
    x: f64,
    label: String,
    model: &'a ModelFile,
    size_px: (u32, u32),
    packages: usize,
}

/// The points of all axes.
fn setups<'a>(usual: &'a ModelFile, others: &'a [ModelFile]) -> Vec<Setup<'a>> {
    let by_packages = PACKAGES.map(|packages| Setup {
        axis: Axis::Packages,
        x: packages as f64,
        label: packages.to_string(),
        model: usual,
        size_px: SIZE_PX_USUAL,
        packages,
    });
    let by_pixels = SIZES_PX.map(|(width_px, height_px)| Setup {
        axis: Axis::Pixels,
        x: f64::from(width_px) * f64::from(height_px) / 1e6,
        label: format!("{width_px}x{height_px}"),
        model: usual,
        size_px: (width_px, height_px),
        packages: PACKAGES_USUAL,
    });
    let mut models: Vec<&ModelFile> = others.iter().chain([usual]).collect();
    models.sort_by_key(|model| model.bytes().len());
    let by_model = models.into_iter().map(|model| Setup {
        axis: Axis::Model,
        x: model.bytes().len() as f64 / f64::from(1 << 20),
        label: model.spec().name.clone(),
        model,
        size_px: SIZE_PX_USUAL,
        packages: PACKAGES_USUAL,
    });
    by_packages.into_iter().chain(by_pixels).chain(by_model).collect()
}

/// Measures point after point, until all are done or somebody stops it.
pub(super) fn measure(
    config: &Config,
    usual: &ModelFile,
    others: &[PathBuf],
    frames: Option<&BenchFrames>,
    rounds: usize,
) -> Result<Curves, Failure> {
    let stop = Stop::listen()?;
    let others = others
        .iter()
        .map(|path| model::read(Some(path), None))
        .collect::<Result<Vec<ModelFile>, Failure>>()?;
    let few = frames.cloned().map(|mut frames| {
        frames.frames.truncate(FRAMES_MAX);
        frames
    });
    // The cell that all axes share is simulated once.
    let shared = match few {
        Some(_) => None,
        None => Some(simulate(SIZE_PX_USUAL, PACKAGES_USUAL)?),
    };
    let setups = setups(usual, &others);
    let bar = progress::bar((setups.len() * rounds) as u64, "frames");
    let mut curves = Curves { points: Vec::new(), planned: setups.len() };
    for setup in setups {
        let is_shared = (setup.size_px, setup.packages) == (SIZE_PX_USUAL, PACKAGES_USUAL);
        let mut scaled = match (&few, &shared) {
            (Some(frames), _) => frames.clone(),
            (None, Some(frames)) if is_shared => frames.clone(),
            (None, _) => simulate(setup.size_px, setup.packages)?,
        };
        scaled.scale(setup.size_px);
        let limits = limits(config, setup.model, Some(setup.packages));
        let mut run = Run::default();
        with_system(config, setup.model, &mut scaled, &limits, |system| {
            system.rounds(rounds, &mut run, || bar.inc(1))
        })?;
        let report = Report::new(&run, setup.model.spec(), &scaled);
        let Setup { axis, x, label, .. } = setup;
        curves.points.push(Point { axis, x, label, report });
        if stop.is_asked() {
            break;
        }
    }
    bar.finish_and_clear();
    Ok(curves)
}

impl Curves {
    /// An error if it was stopped early.
    pub(super) fn verdict(&self) -> Outcome {
        let (measured, planned) = (self.points.len(), self.planned);
        if measured == planned {
            return Ok(());
        }
        let why = anyhow!("stopped after {measured} of {planned} points, which are all written");
        Err(Failure::Fault(why))
    }

    fn on(&self, axis: Axis) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| point.axis == axis)
    }

    fn header(&self) -> Vec<&'static str> {
        let stages = Stage::ALL.map(Stage::name);
        ["", "p50 ms"].into_iter().chain(stages).chain(["ratio", "visible"]).collect()
    }

    /// One line a point, with the medians of the stages.
    fn rows(&self) -> Vec<Vec<String>> {
        let row = |point: &Point| {
            let Report { stages, packages_visible, .. } = &point.report;
            let mut row = vec![point.axis.name().to_owned(), point.label.clone()];
            row.extend(Stage::ALL.map(|stage| format!("{:.2}", stages[&stage].p50_ms)));
            row.push(format!("{:.3}", point.report.end_to_end_over_run_ratio));
            row.push(packages_visible.map_or_else(|| "-".to_owned(), |seen| seen.to_string()));
            row
        };
        self.points.iter().map(row).collect()
    }

    pub(super) fn table(&self) -> String {
        let mut table = table::new(&self.header());
        for row in self.rows() {
            let (names, numbers) = row.split_at(2);
            let cells = names.iter().map(table::Cell::new);
            table.add_row(cells.chain(numbers.iter().map(table::number)));
        }
        table.to_string()
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and names serialize") + "\n"
    }

    /// One plot for each axis: the stages but the model, which would dwarf them; then all.
    pub(super) fn page(&self) -> String {
        let mut plots = Vec::new();
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
            plots.push((
                axis.title(),
                html::plot(axis.title(), html::Axis::Whole, &series, Kind::Lines),
            ));
        }
        let conditions =
            self.points.last().map_or_else(String::new, |point| point.report.conditions());
        let body = html! {
            @for (title, plot) in plots { h2 { (title) } (plot) }
            h2 { "Numbers" }
            (html::table(&self.header(), &self.rows()))
        };
        html::document("magpie bench --curves", &conditions, body)
    }
}

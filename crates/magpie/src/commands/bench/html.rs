//! The bench as one page that needs nothing beside it: plots as SVG, which wheel and mouse enlarge.

use std::ops::Range;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::report::{Report, StageReport};
use super::stages::{RESOLUTION_MS, Round, Run, Stage, ms, stage_ms};
use crate::distribution::Distribution;

const SIZE_PX: (u32, u32) = (1000, 340);
/// Beside the plot, so that it covers nothing.
const LEGEND_PX: u32 = 170;
/// Colours that most eyes can distinguish (Okabe and Ito).
const COLORS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
];

const STYLE: &str = include_str!("page.css");
const ZOOM: &str = include_str!("page.js");

const STAGES_BESIDE_THE_MODEL: [Stage; 6] = [
    Stage::Preprocess,
    Stage::Decode,
    Stage::Plan,
    Stage::Publish,
    Stage::Arrival,
    Stage::Overhead,
];

/// What makes up `end_to_end`.
const STACKED: [Stage; 6] = [
    Stage::Preprocess,
    Stage::Decode,
    Stage::Plan,
    Stage::Publish,
    Stage::Arrival,
    Stage::Inference,
];

/// A line of a plot: x, and milliseconds.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

/// Whether the lines of a plot add up.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Lines,
    Stacked,
}

/// Everything a browser needs.
pub(super) fn page(report: &Report, run: &Run) -> String {
    let whole = [("end to end", Stage::EndToEnd), ("bare session.run", Stage::BareRun)];
    let percentiles_of =
        |name, stage| Series { name, points: percentiles(&stage_ms(&run.rounds, stage)) };
    let whole: Vec<Series> =
        whole.into_iter().map(|(name, stage)| percentiles_of(name, stage)).collect();
    let stages = STAGES_BESIDE_THE_MODEL.map(|stage| percentiles_of(stage.name(), stage));
    let body = html! {
        p { (report.headline()) }
        h2 { "Percentiles" }
        (plot("share of frames", Axis::Shares, &whole, Kind::Lines))
        h2 { "Stage by stage, without the model" }
        (plot("share of frames", Axis::Shares, &stages, Kind::Lines))
        h2 { "Frame by frame" }
        (plot("frame", Axis::Whole, &stacked(&run.rounds), Kind::Stacked))
        h2 { "Numbers" }
        (stage_table(report))
        p { (report.rest()) }
    };
    document("magpie bench", &report.conditions(), body)
}

/// `conditions` say where and when it was measured.
pub(super) fn document(title: &str, conditions: &str, body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p class="conditions" { (conditions) }
                p class="hint" { "Wheel: enlarge a plot. Drag: move it. Double-click: all of it." }
                (body)
                script { (PreEscaped(ZOOM)) }
            }
        }
    };
    page.into_string()
}

/// A table that scrolls where it is wider than the page.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        div class="scroll" {
            table {
                thead { tr { @for name in header { th { (name) } } } }
                tbody {
                    @for row in rows {
                        tr { @for cell in row { td { (cell) } } }
                    }
                }
            }
        }
    }
}

fn stage_table(report: &Report) -> Markup {
    let rows = Stage::ALL.map(|stage| {
        let StageReport { p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } = &report.stages[&stage];
        let mut row = vec![stage.name().to_owned()];
        row.extend([p50_ms, p90_ms, p99_ms, p999_ms, max_ms].map(|value| format!("{value:.3}")));
        row.push(stage.meaning().to_owned());
        row
    });
    table(&["ms", "p50", "p90", "p99", "p99.9", "max", ""], &rows)
}

/// The stages of each frame whose result arrived, in the order in which they are stacked.
fn stacked(rounds: &[Round]) -> Vec<Series<'static>> {
    let series = STACKED.map(|stage| Series {
        name: stage.name(),
        points: rounds
            .iter()
            .enumerate()
            .filter(|(_, round)| round.received_ns.is_some())
            .filter_map(|(i, round)| Some((i as f64, ms(round.stage_ns(stage)?))))
            .collect(),
    });
    series.into()
}

/// Latency over the share of frames that were quicker; the axis stretches towards the slow end.
fn percentiles(values_ms: &[f64]) -> Vec<(f64, f64)> {
    let curve = Distribution::new(values_ms.iter().copied(), RESOLUTION_MS).curve();
    // Decades of slowness: 1 is p90, 2 is p99, 3 is p99.9; the slowest frame has no end of them.
    let within = curve.into_iter().filter(|(percent, _)| *percent < 100.0);
    within.map(|(percent, ms)| (-(1.0 - percent / 100.0).log10(), ms)).collect()
}

/// What the x axis of a plot counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Axis {
    /// Shares of frames, in decades of slowness.
    Shares,
    /// Frames, or packages.
    Whole,
}

/// The percentiles that people know, whatever the number of frames.
const SHARES: [(f64, &str); 7] = [
    (0.0, "p0"),
    // 1 - 10^-0.301 is a half.
    (std::f64::consts::LOG10_2, "p50"),
    (1.0, "p90"),
    (2.0, "p99"),
    (3.0, "p99.9"),
    (4.0, "p99.99"),
    (5.0, "p99.999"),
];
/// More labels would stand on each other.
const LABELS_MAX: f64 = 8.0;

impl Axis {
    /// Where labels stand, up to `x_max`.
    fn ticks(self, x_max: f64) -> Vec<f64> {
        match self {
            Axis::Shares => {
                SHARES.iter().map(|share| share.0).filter(|decades| *decades <= x_max).collect()
            }
            Axis::Whole => {
                let decade = 10f64.powf((x_max / LABELS_MAX).max(1.0).log10().floor());
                let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
                let step = steps.into_iter().find(|step| x_max / step < LABELS_MAX);
                let step = step.unwrap_or(10.0 * decade);
                (0..).map(|i| f64::from(i) * step).take_while(|tick| *tick <= x_max).collect()
            }
        }
    }

    fn label(self, x: &f64) -> String {
        let name = SHARES.iter().find(|(decades, _)| decades == x);
        match (self, name) {
            (Axis::Shares, Some((_, name))) => (*name).to_owned(),
            (Axis::Shares, None) | (Axis::Whole, _) => format!("{x:.0}"),
        }
    }
}

/// An axis with labels of its own.
struct Labelled {
    range: RangedCoordf64,
    axis: Axis,
}

impl Ranged for Labelled {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.range.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.axis.ticks(self.range.range().end)
    }

    fn range(&self) -> Range<f64> {
        self.range.range()
    }
}

impl ValueFormatter<f64> for Labelled {
    fn format_ext(&self, value: &f64) -> String {
        self.axis.label(value)
    }
}

pub(super) fn plot(x_name: &str, axis: Axis, series: &[Series], kind: Kind) -> Markup {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE_PX).into_drawing_area();
    draw(&root, x_name, axis, series, kind).expect("a string takes every drawing");
    drop(root);
    // The size in the page is the style's matter.
    let (width, height) = SIZE_PX;
    let size = format!("width=\"{width}\" height=\"{height}\" ");
    html! { figure { (PreEscaped(svg.replacen(&size, "", 1))) } }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawing = Result<(), Box<dyn std::error::Error>>;

fn draw(root: &Area<'_>, x_name: &str, axis: Axis, series: &[Series], kind: Kind) -> Drawing {
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(SIZE_PX.0 - LEGEND_PX);
    let tops = match kind {
        Kind::Lines => series.iter().map(|one| one.points.clone()).collect(),
        Kind::Stacked => sums(series),
    };
    let all = || tops.iter().flatten();
    let x_max = all().map(|point| point.0).fold(1e-3, f64::max);
    let y_max = all().map(|point| point.1).fold(1e-3, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(&left)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(Labelled { range: (0.0..x_max).into(), axis }, 0.0..y_max)?;
    // What is stacked on others is painted first, and covered by them.
    for (points, color) in tops.iter().zip(COLORS).rev() {
        let points = points.iter().copied();
        match kind {
            Kind::Lines => chart.draw_series(LineSeries::new(points, color.stroke_width(2)))?,
            Kind::Stacked => chart.draw_series(AreaSeries::new(points, 0.0, color))?,
        };
    }
    chart.configure_mesh().x_desc(x_name).y_desc("ms").light_line_style(TRANSPARENT).draw()?;
    draw_legend(&right, series)?;
    root.present()?;
    Ok(())
}

/// Each series with all below it.
fn sums(series: &[Series]) -> Vec<Vec<(f64, f64)>> {
    let mut below = Vec::<(f64, f64)>::new();
    let tops = series.iter().map(|one| {
        let before = below.iter().map(|point| point.1).chain(std::iter::repeat(0.0));
        below = one.points.iter().zip(before).map(|((x, y), sum)| (*x, y + sum)).collect();
        below.clone()
    });
    tops.collect()
}

/// From the top as the lines are stacked.
fn draw_legend(area: &Area<'_>, series: &[Series]) -> Drawing {
    let text = ("sans-serif", 14).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
    let entries: Vec<_> = series.iter().zip(COLORS).rev().collect();
    for (row, (one, color)) in (0..).zip(entries) {
        let y = 30 + 24 * row;
        area.draw(&Rectangle::new([(4, y - 6), (22, y + 6)], color.filled()))?;
        area.draw_text(one.name, &text, (30, y))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_names_known_percentiles_and_whole_numbers_however_few_frames_there_are() {
        let labels = |axis: Axis, x_max: f64| {
            axis.ticks(x_max).iter().map(|x| axis.label(x)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(Axis::Shares, 0.5), "p0 p50");
        assert_eq!(labels(Axis::Shares, 2.4), "p0 p50 p90 p99");
        assert_eq!(labels(Axis::Shares, 3.0), "p0 p50 p90 p99 p99.9");
        assert_eq!(labels(Axis::Whole, 1e-3), "0");
        assert_eq!(labels(Axis::Whole, 2.0), "0 1 2");
        assert_eq!(labels(Axis::Whole, 7.0), "0 1 2 3 4 5 6 7");
        assert_eq!(labels(Axis::Whole, 8.0), "0 2 4 6 8");
        assert_eq!(labels(Axis::Whole, 479.0), "0 100 200 300 400");
        assert_eq!(labels(Axis::Whole, 100_000.0), "0 20000 40000 60000 80000 100000");
    }

    #[test]
    fn a_plot_of_three_frames_has_each_label_once() {
        let points = vec![(0.0, 10.0), (1.0, 12.0), (2.0, 11.0)];
        let plotted = plot("frame", Axis::Whole, &[Series { name: "a", points }], Kind::Lines);
        let plotted = plotted.into_string();
        let labels = |text: &str| plotted.matches(&format!("\n{text}\n")).count();
        assert_eq!((labels("0"), labels("1"), labels("2")), (1, 1, 1), "{plotted}");
    }

    #[test]
    fn stacked_series_add_up() {
        let series = |name, ms: [f64; 2]| Series { name, points: vec![(0.0, ms[0]), (1.0, ms[1])] };
        let tops = sums(&[series("a", [1.0, 2.0]), series("b", [10.0, 20.0])]);
        assert_eq!(tops, [[(0.0, 1.0), (1.0, 2.0)], [(0.0, 11.0), (1.0, 22.0)]]);
    }

    #[test]
    fn a_page_escapes_what_came_from_outside_and_needs_nothing_beside_it() {
        let page = document("bench", "<b>Ryzen</b>", table(&["a"], &[vec!["1 < 2".into()]]));
        assert!(page.contains("&lt;b&gt;Ryzen") && page.contains("1 &lt; 2"), "{page}");
        assert!(!page.contains("http"), "{page}");
    }
}

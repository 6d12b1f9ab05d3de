//! The bench as one page that needs nothing beside it.

use plotters::prelude::*;

use super::report::Report;
use super::stages::{RESOLUTION_MS, Run, Stage, stage_ms};
use crate::distribution::Distribution;

const SIZE_PX: (u32, u32) = (900, 340);
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

const STAGES_BESIDE_THE_MODEL: [Stage; 6] = [
    Stage::Preprocess,
    Stage::Decode,
    Stage::Plan,
    Stage::Publish,
    Stage::Arrival,
    Stage::Overhead,
];

/// A line of a plot: x, and milliseconds.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    pub(super) points: Vec<(f64, f64)>,
}

/// Everything a browser needs, plots as inline SVG.
pub(super) fn page(report: &Report, run: &Run) -> String {
    let lines = |shape: fn(&[f64]) -> Vec<(f64, f64)>| {
        [("end to end", Stage::EndToEnd), ("bare session.run", Stage::BareRun)]
            .map(|(name, stage)| Series { name, points: shape(&stage_ms(&run.rounds, stage)) })
    };
    let share = |decade: &f64| format!("p{}", 100.0 * (1.0 - 10f64.powf(-decade.round())));
    let stages = STAGES_BESIDE_THE_MODEL.map(|stage| Series {
        name: stage.name(),
        points: percentiles(&stage_ms(&run.rounds, stage)),
    });
    let body = format!(
        "<p>{}</p>\n<h2>Percentiles</h2>\n{}\n<h2>Stage by stage, without the model</h2>\n{}\n\
         <h2>Frame by frame</h2>\n{}\n",
        escape(&report.headline()),
        plot("share of frames", &share, &lines(percentiles)),
        plot("share of frames", &share, &stages),
        plot("frame", &|frame| format!("{frame:.0}"), &lines(in_time)),
    );
    document("magpie bench", &report.table(), &body)
}

/// `body` is HTML, `numbers` is text.
pub(super) fn document(title: &str, numbers: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>body{{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}\
         pre{{overflow-x:auto;background:#f4f4f4;padding:1em}}svg{{max-width:100%;height:auto}}\
         </style>\n<h1>{title}</h1>\n{body}<h2>Numbers</h2>\n<pre>{}</pre>\n",
        escape(numbers)
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Latency over the share of frames that were quicker; the axis stretches towards the slow end.
fn percentiles(values_ms: &[f64]) -> Vec<(f64, f64)> {
    let curve = Distribution::new(values_ms.iter().copied(), RESOLUTION_MS).curve();
    // Decades of slowness: 1 is p90, 2 is p99, 3 is p99.9; the slowest frame has no end of them.
    let within = curve.into_iter().filter(|(percent, _)| *percent < 100.0);
    within.map(|(percent, ms)| (-(1.0 - percent / 100.0).log10(), ms)).collect()
}

fn in_time(values_ms: &[f64]) -> Vec<(f64, f64)> {
    values_ms.iter().enumerate().map(|(i, value)| (i as f64, *value)).collect()
}

/// SVG.
pub(super) fn plot(x_name: &str, x_label: &dyn Fn(&f64) -> String, series: &[Series]) -> String {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE_PX).into_drawing_area();
    draw(&root, x_name, x_label, series).expect("a string takes every drawing");
    drop(root);
    svg
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    root: &Area<'_>,
    x_name: &str,
    x_label: &dyn Fn(&f64) -> String,
    series: &[Series],
) -> Result<(), Box<dyn std::error::Error>> {
    let all = || series.iter().flat_map(|series| &series.points);
    let x_max = all().map(|point| point.0).fold(1e-3, f64::max);
    let y_max = all().map(|point| point.1).fold(1e-3, f64::max) * 1.05;
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(root)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..x_max, 0.0..y_max)?;
    chart
        .configure_mesh()
        .x_desc(x_name)
        .y_desc("ms")
        .x_labels(5)
        .x_label_formatter(x_label)
        .light_line_style(WHITE)
        .draw()?;
    for (Series { name, points }, color) in series.iter().zip(COLORS) {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}

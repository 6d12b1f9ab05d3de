//! The bench as one page that needs nothing beside it.

use std::fmt::Write;

use plotters::prelude::*;

use super::report::{Report, Run};

const SIZE_PX: (u32, u32) = (900, 340);

/// Everything a browser needs, plots as inline SVG.
pub(super) fn page(report: &Report, run: &Run) -> String {
    let end_to_end = run.stage_ms("end_to_end");
    let bare = run.stage_ms("bare_run");
    let mut html = String::from(
        "<!doctype html>\n<meta charset=\"utf-8\">\n<title>magpie bench</title>\n\
         <style>body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}\
         pre{overflow-x:auto;background:#f4f4f4;padding:1em}svg{max-width:100%;height:auto}</style>\n",
    );
    let _ = write!(
        html,
        "<h1>magpie bench</h1>\n<p>{}</p>\n<h2>Percentiles</h2>\n{}\n<h2>Frame by frame</h2>\n{}\n\
         <h2>Numbers</h2>\n<pre>{}</pre>\n",
        escape(&report.headline()),
        percentiles(&end_to_end, &bare),
        in_time(&end_to_end, &bare),
        escape(&report.table()),
    );
    html
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Latency over the share of frames that were quicker; the axis stretches towards the slow end.
fn percentiles(end_to_end_ms: &[f64], bare_ms: &[f64]) -> String {
    let curve = |values: &[f64]| -> Vec<(f64, f64)> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len() as f64;
        // Decades of slowness: 1 is p90, 2 is p99, 3 is p99.9.
        let decade = |i: usize| -(1.0 - i as f64 / n).log10();
        sorted.into_iter().enumerate().map(|(i, value)| (decade(i), value)).collect()
    };
    let label = |decade: &f64| format!("p{}", 100.0 * (1.0 - 10f64.powf(-decade.round())));
    let x_max = (end_to_end_ms.len().max(2) as f64).log10();
    plot(x_max, "share of frames", &label, &curve(end_to_end_ms), &curve(bare_ms))
}

fn in_time(end_to_end_ms: &[f64], bare_ms: &[f64]) -> String {
    let series = |values: &[f64]| -> Vec<(f64, f64)> {
        values.iter().enumerate().map(|(i, value)| (i as f64, *value)).collect()
    };
    let label = |frame: &f64| format!("{frame:.0}");
    let x_max = end_to_end_ms.len().max(1) as f64;
    plot(x_max, "frame", &label, &series(end_to_end_ms), &series(bare_ms))
}

fn plot(
    x_max: f64,
    x_name: &str,
    x_label: &dyn Fn(&f64) -> String,
    end_to_end: &[(f64, f64)],
    bare: &[(f64, f64)],
) -> String {
    let y_max = end_to_end.iter().chain(bare).map(|point| point.1).fold(1e-3, f64::max) * 1.05;
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE_PX).into_drawing_area();
    draw(&root, (x_max, y_max), (x_name, x_label), [end_to_end, bare])
        .expect("a string takes every drawing");
    drop(root);
    svg
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    root: &Area<'_>,
    (x_max, y_max): (f64, f64),
    (x_name, x_label): (&str, &dyn Fn(&f64) -> String),
    [end_to_end, bare]: [&[(f64, f64)]; 2],
) -> Result<(), Box<dyn std::error::Error>> {
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
    for (points, color, name) in [
        (end_to_end, RGBColor(0, 90, 181), "end to end"),
        (bare, RGBColor(220, 50, 32), "bare session.run"),
    ] {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

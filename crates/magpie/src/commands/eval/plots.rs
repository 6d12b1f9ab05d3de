//! Plots of a scorecard, as SVG files that stand alone.

use plotters::prelude::*;

use super::card::{Calibration, CurvePoint};
use crate::present::plot::{self, Area, BLUE, Drawn, GREY, svg};

const SIZE_PX: (u32, u32) = (620, 640);
const RELIABILITY_HEIGHT_PX: u32 = 450;
const OUT_OF_SERVICE: RGBColor = RGBColor(238, 238, 238);

/// The share of findings that are right over their score, and how many findings there are.
pub(super) fn reliability(calibration: &Calibration, score_min: f64, name: &str) -> String {
    svg(SIZE_PX, |root| {
        let (above, below) = root.split_vertically(RELIABILITY_HEIGHT_PX);
        let title = format!(
            "{name}: calibration error {:.3} over {} findings in service",
            calibration.error, calibration.findings_in_service
        );
        draw_shares(&above, calibration, score_min, &title)?;
        draw_counts(&below, calibration, score_min)
    })
}

/// Precision over recall as the lowest score falls, and where service stops.
pub(super) fn precision_recall(calibration: &Calibration, score_min: f64, name: &str) -> String {
    svg((620, 460), |root| draw_curve(root, &calibration.curve, score_min, name))
}

fn draw_shares(area: &Area<'_>, calibration: &Calibration, score_min: f64, title: &str) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(title, ("sans-serif", 16))
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    let below = Rectangle::new([(0.0, 0.0), (score_min, 1.0)], OUT_OF_SERVICE.filled());
    chart.draw_series([below])?;
    chart
        .configure_mesh()
        .x_desc("predicted score (grey: not acted on)")
        .y_desc("share right, with 95 % interval")
        .x_labels(11)
        .y_labels(11)
        .light_line_style(TRANSPARENT)
        .draw()?;
    chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], GREY))?;
    let filled = calibration.bins.iter().filter(|bin| bin.count > 0);
    let bins: Vec<_> =
        filled.map(|bin| (bin.avg_confidence, bin.avg_accuracy, bin.count)).collect();
    plot::draw_shares(&mut chart, &bins, BLUE)
}

fn draw_counts(area: &Area<'_>, calibration: &Calibration, score_min: f64) -> Drawn {
    // Uncertain findings outnumber all others: their bars are cut off, their numbers are written.
    let in_service = calibration.bins.iter().filter(|bin| bin.bin_upper > score_min);
    let highest = in_service.map(|bin| bin.count).max().unwrap_or(1).max(1) as f64 * 1.35;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..1.0, 0.0..highest)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_desc("predicted score")
        .y_desc("findings")
        .x_labels(11)
        .y_labels(4)
        .y_label_formatter(&|count| format!("{count:.0}"))
        .draw()?;
    for bin in calibration.bins.iter().filter(|bin| bin.count > 0) {
        let count = bin.count as f64;
        let color = if bin.bin_upper > score_min { BLUE } else { GREY };
        let (left, right) = (bin.bin_lower + 0.004, bin.bin_upper - 0.004);
        let bar = [(left, 0.0), (right, count.min(highest))];
        chart.draw_series([Rectangle::new(bar, color.mix(0.6).filled())])?;
        let at = (bin.bin_lower + 0.03, (count + 0.15 * highest).min(0.98 * highest));
        chart.draw_series([Text::new(bin.count.to_string(), at, ("sans-serif", 12))])?;
    }
    Ok(())
}

fn draw_curve(area: &Area<'_>, curve: &[CurvePoint], score_min: f64, name: &str) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(format!("{name}: masks at IoU 0.5, types ignored"), ("sans-serif", 16))
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    chart
        .configure_mesh()
        .x_desc("recall: share of labels found")
        .y_desc("precision: share of findings right")
        .x_labels(11)
        .y_labels(11)
        .light_line_style(TRANSPARENT)
        .draw()?;
    let line = thinned(curve).into_iter().map(|point| (point.recall, point.precision));
    chart.draw_series(LineSeries::new(line, BLUE.stroke_width(2)))?;
    if let Some(last) = curve.iter().rfind(|point| point.score >= score_min) {
        let at = (last.recall, last.precision);
        chart.draw_series([Circle::new(at, 5, RED.filled())])?;
        let label = format!("score {score_min:.2}");
        let beside = (at.0 + 0.02, (at.1 + 0.05).min(0.98));
        chart.draw_series([Text::new(label, beside, ("sans-serif", 14))])?;
    }
    Ok(())
}

/// Leaves out the points that a line of this size would not show.
fn thinned(curve: &[CurvePoint]) -> Vec<CurvePoint> {
    const STEP: f64 = 0.004;
    let mut kept: Vec<CurvePoint> = Vec::new();
    for (at, point) in curve.iter().enumerate() {
        let shows = kept.last().is_none_or(|last| {
            let (across, down) = (point.recall - last.recall, point.precision - last.precision);
            across.abs() > STEP || down.abs() > STEP
        });
        if shows || at + 1 == curve.len() {
            kept.push(*point);
        }
    }
    kept
}

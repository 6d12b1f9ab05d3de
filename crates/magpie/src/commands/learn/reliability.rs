//! Whether a predicted probability comes true, as a plot.

use plotters::prelude::*;

use super::quality::Fitted;
use crate::present::plot::{Area, BLUE, Drawn, GREY, draw_shares, svg};

const SIZE_PX: (u32, u32) = (620, 480);
const BINS: usize = 8;

/// The share of grasps that held over what was predicted: by the fit, and by quality as it is published.
pub(super) fn draw(fitted: &Fitted, cell: &str) -> String {
    svg(SIZE_PX, |root| draw_into(root, fitted, cell))
}

fn draw_into(area: &Area<'_>, fitted: &Fitted, cell: &str) -> Drawn {
    let title = format!("{cell}: {} grasps, {} held", fitted.trials, fitted.held);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(title, ("sans-serif", 16))
        .x_label_area_size(40)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..1.0, 0.0..1.0)?;
    chart
        .configure_mesh()
        .x_desc("predicted (blue: fitted; grey: quality as published)")
        .y_desc("share held, with 95 % interval")
        .x_labels(11)
        .y_labels(11)
        .light_line_style(TRANSPARENT)
        .draw()?;
    chart.draw_series(LineSeries::new([(0.0, 0.0), (1.0, 1.0)], BLACK.mix(0.3)))?;
    let published = bins(fitted.predicted.iter().map(|one| (one.1, one.2)).collect());
    let told = bins(fitted.predicted.iter().map(|one| (one.0, one.2)).collect());
    for (bins, color) in [(published, GREY), (told, BLUE)] {
        draw_shares(&mut chart, &bins, color)?;
    }
    Ok(())
}

/// Groups of about as many grasps each: predicted, the share that held, of how many.
fn bins(mut trials: Vec<(f64, bool)>) -> Vec<(f64, f64, usize)> {
    trials.sort_by(|a, b| a.0.total_cmp(&b.0));
    let size = trials.len().div_ceil(BINS).max(1);
    let bin = |part: &[(f64, bool)]| {
        let n = part.len() as f64;
        let predicted = (part.iter().map(|one| one.0).sum::<f64>() / n).clamp(0.0, 1.0);
        (predicted, part.iter().filter(|one| one.1).count() as f64 / n, part.len())
    };
    trials.chunks(size).map(bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_as_many_grasps_each_from_the_lowest_prediction_on() {
        let trials = (0..16).rev().map(|at| (f64::from(at) / 16.0, at >= 8)).collect();
        let bins = bins(trials);
        assert_eq!(bins.len(), 8);
        assert_eq!(bins[0], (0.5 / 16.0, 0.0, 2));
        assert_eq!(bins[7], (14.5 / 16.0, 1.0, 2));
    }
}

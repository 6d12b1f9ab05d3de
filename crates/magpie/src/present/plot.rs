//! Plots as SVG files that stand alone.

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

pub const BLUE: RGBColor = RGBColor(0, 90, 181);
pub const GREY: RGBColor = RGBColor(150, 150, 150);

pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
pub type Drawn = Result<(), Box<dyn std::error::Error>>;

pub fn svg(size_px: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, size_px).into_drawing_area();
    let drawn = root.fill(&WHITE).map_err(Into::into).and_then(|()| draw(&root));
    drawn.and_then(|()| Ok(root.present()?)).expect("a string takes every drawing");
    drop(root);
    svg
}

/// What came true over what was predicted, each share with its interval: predicted, share, of how many.
pub fn draw_shares(
    chart: &mut Chart<'_, '_>,
    bins: &[(f64, f64, usize)],
    color: RGBColor,
) -> Drawn {
    for &(predicted, share, count) in bins {
        let (low, high) = share_interval(share, count);
        chart.draw_series([PathElement::new([(predicted, low), (predicted, high)], color)])?;
    }
    let points = bins.iter().map(|&(predicted, share, _)| (predicted, share));
    chart.draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))?;
    chart.draw_series(points.map(|point| Circle::new(point, 4, color.filled())))?;
    Ok(())
}

/// Wilson's score interval of a share, 95 %.
fn share_interval(share: f64, count: usize) -> (f64, f64) {
    // This is the 97.5th percentile of the standard normal distribution.
    const Z: f64 = 1.96;
    let n = count as f64;
    let center = (share + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((center - half).max(0.0), (center + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_share_is_wilsons() {
        // The interval of 81 of 263 stands in table I of Newcombe (1998).
        let (low, high) = share_interval(81.0 / 263.0, 263);
        assert!((low - 0.2553).abs() < 1e-4 && (high - 0.3662).abs() < 1e-4, "{low} {high}");
    }
}

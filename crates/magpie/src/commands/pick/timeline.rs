//! The last attempts as one picture: a row each, from the exposure on.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::log::{Attempt, Log};

const ROWS_MAX: usize = 40;
const ROW_PX: u32 = 22;
const WIDTH_PX: u32 = 1000;
const AROUND_PX: u32 = 110;

// Told apart by people who do not see colours, too: by lightness, and by words at the end.
const SEEING: RGBColor = RGBColor(170, 170, 170);
const MOVING: RGBColor = RGBColor(0, 90, 181);
const LAST_LOOK: RGBColor = RGBColor(230, 159, 0);
const OUTCOME: RGBColor = RGBColor(30, 30, 30);

pub(super) fn draw(log: &Log) -> String {
    let first = log.attempts.len().saturating_sub(ROWS_MAX);
    let attempts = &log.attempts[first..];
    let rows = u32::try_from(attempts.len().max(1)).expect("a few rows");
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, (WIDTH_PX, AROUND_PX + rows * ROW_PX))
        .into_drawing_area();
    draw_on(&root, attempts, first).expect("a string takes every drawing");
    drop(root);
    svg
}

fn draw_on(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    attempts: &[Attempt],
    first: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    root.fill(&WHITE)?;
    let ms = |attempt: &Attempt, at: magpie_perception::StampNs| {
        at.since_ns(attempt.exposed) as f64 / 1e6
    };
    let longest = attempts.iter().map(|attempt| ms(attempt, attempt.reported)).fold(1.0, f64::max);
    let rows = attempts.len().max(1) as f64;
    let mut chart = ChartBuilder::on(root)
        .margin(10)
        .caption(
            "grey: picture to message; blue: the arm moves; orange: age of the last look; black: the cell is told",
            ("sans-serif", 14),
        )
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..1.6 * longest, (rows + 0.5)..0.5)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("ms since the exposure of the picture that the arm chose by")
        .y_desc("attempt")
        .y_labels(attempts.len().min(10))
        .y_label_formatter(&|row| format!("{:.0}", row + first as f64))
        .draw()?;
    for (row, attempt) in (1..).map(f64::from).zip(attempts) {
        let bar = |from: f64, to: f64, half: f64, color: RGBColor| {
            Rectangle::new([(from, row - half), (to, row + half)], color.filled())
        };
        let (received, ended) = (ms(attempt, attempt.received), ms(attempt, attempt.ended));
        chart.draw_series([bar(0.0, received, 0.3, SEEING), bar(received, ended, 0.3, MOVING)])?;
        if let Some(confirmed) = &attempt.confirmed {
            let (exposed, contact) =
                (ms(attempt, confirmed.exposed), ms(attempt, confirmed.contact));
            chart.draw_series([bar(exposed, contact, 0.1, LAST_LOOK)])?;
        }
        let outcome = attempt.outcome().replace('_', " ");
        let words = match attempt.why() {
            why if why.is_empty() => outcome,
            why => format!("{outcome}: {why}"),
        };
        let reported = ms(attempt, attempt.reported);
        let told = bar(reported - 0.002 * longest, reported + 0.002 * longest, 0.4, OUTCOME);
        chart.draw_series([told])?;
        let place = (reported + 0.01 * longest, row - 0.25);
        chart.draw_series([Text::new(
            words,
            place,
            ("sans-serif", 12).into_font().color(&OUTCOME),
        )])?;
    }
    root.present()?;
    Ok(())
}

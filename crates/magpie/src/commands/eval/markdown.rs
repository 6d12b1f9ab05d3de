//! The scorecard as Markdown.

use std::fmt::Write;

use super::card::{Calibration, Scorecard, Section};
use crate::present::table::{self, decimal, number};

pub(super) fn scorecard(card: &Scorecard<'_>) -> String {
    let mut text = format!(
        "# Scorecard of {} ({})\n\nMasks. In service a finding counts from a score of {:.2}; \
         \"found\" and \"right\" are the shares of labels and of such findings that have a \
         counterpart at IoU 0.5, types ignored.\n",
        card.model,
        &card.model_sha256[..12],
        card.score_min
    );
    for section in &card.datasets {
        let _ = write!(text, "\n{}", self::section(section, card.score_min));
    }
    text
}

fn section(section: &Section<'_>, score_min: f64) -> String {
    let report = &section.report;
    let kind = if section.simulated { "simulated" } else { "real" };
    let mut text = format!(
        "## {}: {kind}\n\n{} pictures, {} labels, {} of them single packages with an outline.\n{}",
        section.name,
        report.images,
        report.instances,
        report.instances_outlined,
        labelled_throughout(section)
    );
    let _ = write!(text, "\nTypes ignored:\n\n{}\n", groups(section));
    let _ = write!(text, "\nBoxes, against all labels{}: ", typed(report.class_agnostic));
    let _ = writeln!(text, "AP {}, AP50 {}.", score(report.bbox.ap), score(report.bbox.ap50));
    if !section.types.is_empty() {
        let _ = write!(
            text,
            "\nWith types, mask AP {}, AP50 {}; the columns on the right count what those that were \
             found were called:\n\n{}\n",
            score(report.mask.ap),
            score(report.mask.ap50),
            types(section)
        );
    }
    let _ = match &section.calibration {
        Some(calibration) => {
            write!(text, "\n{}", self::calibration(section, calibration, score_min))
        }
        None => write!(
            text,
            "\nHow far scores can be believed is not known here: no picture is labelled throughout.\n"
        ),
    };
    text
}

fn labelled_throughout(section: &Section<'_>) -> String {
    let (all, some) = (section.report.images, section.images_labelled_throughout);
    if some == all {
        return "Every picture is taken as labelled throughout: a finding without a label is \
                wrong.\n"
            .to_owned();
    }
    format!(
        "{some} of the pictures are labelled throughout; in the others a finding without a label \
         proves nothing, yet AP counts it as wrong: there AP is a lower bound, and what is found is \
         sound.\n"
    )
}

fn typed(class_agnostic: bool) -> &'static str {
    if class_agnostic { "" } else { ", with types" }
}

fn groups(section: &Section<'_>) -> String {
    let header = ["", "", "pictures", "packages", "AP", "AP50", "AP75", "AR", "found", "right"];
    let mut table = table::new(&header);
    let mut kind_before = "all";
    for group in &section.groups {
        // A kind is named at its first row.
        let kind = if group.kind == kind_before { "" } else { group.kind };
        kind_before = group.kind;
        table.add_row([
            table::Cell::new(kind),
            table::Cell::new(&group.name),
            number(group.images),
            number(group.instances_outlined),
            decimal(group.mask.ap, 3),
            decimal(group.mask.ap50, 3),
            decimal(group.mask.ap75, 3),
            decimal(group.mask.ar, 3),
            percent(group.found),
            percent(group.right),
        ]);
    }
    table.to_string()
}

fn types(section: &Section<'_>) -> String {
    let class_names = &section.class_names;
    let mut header = vec!["type", "packages", "AP", "AP50", "found"];
    header.extend(class_names.iter().map(String::as_str));
    let mut table = table::new(&header);
    for scores in &section.types {
        let mut row = vec![
            table::Cell::new(&scores.name),
            number(scores.instances_outlined),
            decimal(scores.ap, 3),
            decimal(scores.ap50, 3),
            percent(scores.found),
        ];
        row.extend(scores.called.iter().map(number));
        table.add_row(row);
    }
    table.to_string()
}

fn calibration(section: &Section<'_>, calibration: &Calibration, score_min: f64) -> String {
    format!(
        "Calibration error {:.3} over {} findings in service (score {score_min:.2} or more), {:.3} \
         over all {}:\n\n![Reliability of scores]({name}_reliability.svg)\n\
         ![Precision over recall]({name}_precision_recall.svg)\n",
        calibration.error,
        calibration.findings_in_service,
        calibration.error_of_all,
        calibration.findings,
        name = section.name
    )
}

fn percent(share: Option<f64>) -> table::Cell {
    number(share.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", 100.0 * share)))
}

fn score(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.3}"))
}

//! Results as tables for people.

use std::fmt;

use comfy_table::CellAlignment;
use comfy_table::presets::ASCII_MARKDOWN;
use magpie_perception::Packages;
use magpie_wire::{self as wire, printable};

/// A table of [`Cell`]s.
pub struct Table(comfy_table::Table);

/// One line of text, [printable] whatever it is made of: a line end in a type must not pass for a row.
pub struct Cell(comfy_table::Cell);

impl Cell {
    pub fn new(text: impl ToString) -> Cell {
        Cell(comfy_table::Cell::new(printable(&text.to_string())))
    }
}

impl Table {
    pub fn add_row(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.0.add_row(row.into_iter().map(|cell| cell.0));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A table with a header; columns of numbers are right-aligned.
pub fn new(header: &[&str]) -> Table {
    let mut table = comfy_table::Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(header.iter().map(comfy_table::Cell::new));
    Table(table)
}

/// A right-aligned cell.
pub fn number(text: impl ToString) -> Cell {
    Cell(Cell::new(text).0.set_alignment(CellAlignment::Right))
}

/// A right-aligned cell with this many decimals, a dash where there is no value.
pub fn decimal(value: Option<impl Into<f64>>, decimals: usize) -> Cell {
    number(value.map_or_else(|| "-".to_owned(), |v| format!("{:.decimals$}", v.into())))
}

/// Why a package has no grasp, in a few words; empty where it has.
pub fn refusal(refusal: wire::GraspRefusal) -> &'static str {
    match refusal {
        wire::GraspRefusal::Unspecified => "",
        wire::GraspRefusal::NotCalibrated => "camera not calibrated",
        wire::GraspRefusal::NoSurface => "no surface measured",
        wire::GraspRefusal::ToolTooLarge => "tool too large",
        wire::GraspRefusal::TooSteep => "too steep",
        wire::GraspRefusal::Blocked => "approach blocked",
        wire::GraspRefusal::NoSeal => "nowhere flat enough",
        wire::GraspRefusal::OffBalance => "off balance",
    }
}

/// Length, width and height in millimetres.
pub fn size(size: Option<wire::SizeM>) -> Cell {
    let mm = |length_m: f64| 1000.0 * length_m;
    number(size.map_or_else(
        || "-".to_owned(),
        |size| {
            format!("{:.0} x {:.0} x {:.0}", mm(size.length_m), mm(size.width_m), mm(size.height_m))
        },
    ))
}

/// One line a package, in pick order.
pub fn packages(packages: &Packages, class_names: &[String]) -> String {
    let mut table = new(&[
        "pick",
        "track",
        "type",
        "score",
        "mask px",
        "contact px",
        "quality",
        "height m",
        "size mm",
        "why not",
    ]);
    for package in &packages.packages {
        let [x, y] = package.best_grasp().map_or(package.deepest_px, |grasp| grasp.contact_px);
        table.add_row([
            number(package.pick_rank),
            number(package.track_id),
            Cell::new(&class_names[package.instance.class_id]),
            number(format!("{:.2}", package.instance.score)),
            number(package.instance.mask.area_px()),
            number(format!("{x:.0}, {y:.0}")),
            decimal(package.best_grasp().map(|grasp| grasp.quality.product()), 2),
            decimal(package.height_m, 3),
            size(package.size.map(Into::into)),
            Cell::new(package.refusal().map_or("", |why| refusal(why.into()))),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_from_outside_is_one_line_of_printable_text() {
        let mut table = new(&["type"]);
        table.add_row([Cell::new("box\u{1b}[2J\n| forged |")]);
        let shown = table.to_string();
        assert!(shown.contains("box\\u001b[2J\\n| forged |"), "{shown}");
        assert_eq!(shown.lines().count(), 3, "{shown}");
    }
}

//! What people and programs get to see: tables, JSON, overlays and progress bars.

pub mod json;
pub mod output;
pub mod overlay;
pub mod plot;
pub mod progress;
pub mod table;

use magpie_wire::{self as wire, printable};

/// Why nothing is shown of a cell.
pub fn why_silent(cell: &str, place: &str, silence_s_max: f64, last_status: &str) -> anyhow::Error {
    if last_status.is_empty() {
        return anyhow::anyhow!(
            "nothing from cell {cell:?} at {place} for {silence_s_max} s: is `magpie run` running, \
             and may this reader read?"
        );
    }
    anyhow::anyhow!("no results from cell {cell:?} at {place} for {silence_s_max} s: {last_status}")
}

/// What a daemon says about itself, in one line.
pub fn status_line(status: &wire::Status) -> String {
    let reasons = status.reasons.join("; ");
    let separator = if reasons.is_empty() { "" } else { ": " };
    format!(
        "status {}{separator}{}",
        status.state().as_str_name().trim_start_matches("STATE_"),
        printable(&reasons)
    )
}

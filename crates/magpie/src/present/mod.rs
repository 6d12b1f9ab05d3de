//! What people and programs get to see: tables, JSON, overlays and progress bars.

pub mod json;
pub mod output;
pub mod overlay;
pub mod plot;
pub mod progress;
pub mod table;

use magpie_wire::{self as wire, printable};

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

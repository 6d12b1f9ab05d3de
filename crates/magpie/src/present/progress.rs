//! Progress bars for work that takes longer than a breath.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar with the expected end, on standard error; invisible where that is no terminal.
pub fn bar(length: u64, unit: &str) -> ProgressBar {
    let template = format!("{{wide_bar}} {{pos}} of {{len}} {unit}, {{per_sec}}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).expect("a constant template");
    ProgressBar::new(length).with_style(style)
}

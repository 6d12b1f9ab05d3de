//! Progress bars for work that takes longer than a breath.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar with the expected end, on standard error; invisible where that is no terminal.
pub fn bar(length: u64, unit: &str) -> ProgressBar {
    let template = format!("{{wide_bar}} {{pos}} of {{len}} {unit}, {{per_sec}}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).expect("a constant template");
    ProgressBar::new(length).with_style(style)
}

/// A line at most that often.
const TELL_S: u64 = 5;

/// Says how far the work is where no terminal shows the bar. `told_s` is 0 at first.
pub fn tell(bar: &ProgressBar, unit: &str, told_s: &mut u64) {
    let now_s = bar.elapsed().as_secs();
    if bar.is_hidden() && now_s >= *told_s + TELL_S {
        *told_s = now_s;
        tracing::info!("{} of {} {unit}", bar.position(), bar.length().unwrap_or_default());
    }
}

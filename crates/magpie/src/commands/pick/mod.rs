//! `magpie pick --simulate`: a small arm controller at work in a simulated cell, over the messages and
//! the client that a real one uses.
//!
//! ```text
//!  cell: simulated camera -> pipeline -> zenoh -> magpie-client -> controller
//!                 ^                                                    |
//!                 +------------------- packages that were held --------+
//!                             counted <- zenoh <- magpie-client <------+ what became of each pick
//! ```

mod cell;
mod controller;
mod log;
mod timeline;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::anyhow;
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome};

use crate::present::{output, progress};
use crate::simulated;
use cell::SimulatedCell;
use controller::Controller;

#[derive(Debug, clap::Args)]
pub struct PickArgs {
    /// There is no arm: cell, packages and arm are simulated.
    #[arg(long, required = true)]
    simulate: bool,
    /// End after so many picks, held or not.
    #[arg(long, default_value_t = 20, value_parser = crate::arguments::count::<u32>)]
    picks: u32,
    /// The same seed gives the same heaps.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What the simulated cell varies, as TOML; see `magpie simulate --print-recipe`.
    #[arg(long)]
    recipe: Option<PathBuf>,
    /// How long the arm takes to get above a package, in milliseconds.
    #[arg(long, default_value_t = 200)]
    approach_ms: u64,
    /// After every so many pictures the camera stands still until its results have expired; 0: never.
    #[arg(long, default_value_t = 25)]
    interrupt_every: u64,
    /// Write one line of JSON for each attempt here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw the last attempts here, from exposure to outcome, as SVG.
    #[arg(long)]
    timeline: Option<PathBuf>,
    /// The model; absent: the configuration's.
    #[arg(long)]
    model: Option<PathBuf>,
    /// The configuration; absent: the shipped one. Its source and scene do not matter here.
    #[arg(long)]
    config: Option<PathBuf>,
}

pub fn pick(args: &PickArgs) -> Outcome {
    debug_assert!(args.simulate);
    for path in args.json.iter().chain(&args.timeline) {
        output::check(path)?;
    }
    let config =
        Config::load_uncalibrated(args.config.as_deref(), None).map_err(Failure::config)?;
    let recipe = simulated::recipe(args.recipe.as_deref())?;
    let approach = Duration::from_millis(args.approach_ms);

    let cell = SimulatedCell::start(
        config,
        args.model.as_deref(),
        recipe,
        args.seed,
        args.interrupt_every,
    )?;
    let bar = progress::bar(args.picks.into(), "picks");
    let mut controller = Controller::join(&cell, approach)?;
    let ended = controller.pick(args.picks, |picks| bar.set_position(picks.into()));
    bar.finish_and_clear();
    let reports = controller.reports();
    let log = controller.leave();
    let counted = cell.counted(reports);
    let stopped = cell.stop();

    if let Some(path) = &args.json {
        output::write(path, log.to_json_lines())?;
    }
    if let Some(path) = &args.timeline {
        output::write(path, timeline::draw(&log))?;
    }
    output::line(&log.summary())?;
    output::line(&format!("reported to the cell, which counted: {}", counted.line()))?;
    stopped?;
    ended?;
    let taken =
        counted.reports() - counted.refused.iter().map(|refused| refused.count).sum::<u64>();
    if taken != reports {
        return Err(Failure::Fault(anyhow!(
            "of {reports} reports the cell took {taken}: {}; report this with the file of --json",
            counted.line()
        )));
    }
    match log.stale_picks() {
        0 => Ok(()),
        stale => Err(Failure::Fault(anyhow!(
            "{stale} picks were made on a result that had expired: this is a fault of magpie-client; \
             report it with the file of --json"
        ))),
    }
}

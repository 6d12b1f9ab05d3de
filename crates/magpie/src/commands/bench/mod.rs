//! `magpie bench`: how long a frame takes, stage by stage, and what that is over the bare model.
//!
//! Each round puts one frame through the pipeline, publishes the result on loopback and waits until a
//! subscriber has it. It also runs the bare model once, before or after the frame by turns: what the
//! machine does to one it does to the other.

mod cell;
mod curves;
mod frames;
mod html;
mod measures;
mod process;
mod reader;
mod report;
mod soak;
mod stages;
mod stop;
mod system;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use magpie_wire::CellName;

pub use self::cell::simulate;
pub use self::frames::BenchFrames;
pub use self::system::take_exactly;

use self::cell::SIZE_PX_USUAL;
use self::report::Report;
use self::soak::Soak;
use self::stages::Run;
use self::system::{limits, with_system};
use crate::arguments::{self, ZenohArgs};
use crate::present::{output, progress};
use crate::topics::TopicArgs;
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome};
use magpie_daemon::model;

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Frames to run: an MCAP recording, a ROS 2 bag or a folder of pictures; absent: a simulated cell with
    /// --packages, else the demo recording.
    #[arg(long)]
    frames: Option<PathBuf>,
    #[command(flatten)]
    topics: TopicArgs,
    /// Simulate or scale the frames to this size, such as 1280x720.
    #[arg(long, value_parser = frames::parse_size)]
    size: Option<(u32, u32)>,
    /// The model; absent: the universal model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Simulate a cell with this many packages in view, unless --frames names others, and take the
    /// N best of what non-maximum suppression leaves for packages, whatever their scores.
    #[arg(long, value_name = "N", value_parser = arguments::count::<usize>)]
    packages: Option<usize>,
    /// Frames to measure.
    #[arg(long, default_value = "300", value_parser = arguments::count::<usize>)]
    rounds: usize,
    /// Record into this folder meanwhile, as [recording] would.
    #[arg(long)]
    record: Option<PathBuf>,
    /// Measure how cost grows: with packages, with the size of the frames, and with each model
    /// named here (and --model).
    #[arg(long, num_args = 0.., value_name = "MODEL", conflicts_with_all = ["against", "size", "packages"])]
    curves: Option<Vec<PathBuf>>,
    /// Run this many frames without the bare model between them, and say whether anything grew,
    /// slowed down or was lost.
    #[arg(long, value_name = "FRAMES", conflicts_with_all = ["against", "curves", "html", "rounds"])]
    soak: Option<u64>,
    /// Write the numbers here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write a page with plots here.
    #[arg(long)]
    html: Option<PathBuf>,
    /// Compare with an earlier --json: say what changed by more than noise.
    #[arg(long)]
    against: Option<PathBuf>,
    /// Configuration for everything else.
    #[arg(long)]
    config: Option<PathBuf>,
    #[command(flatten)]
    zenoh: ZenohArgs,
}

pub fn bench(args: &BenchArgs) -> Outcome {
    let mut config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    args.zenoh.apply(&mut config);
    config.cell = CellName::new("bench").expect("a valid name");
    config.recording = config.recording.into_ring(args.record.clone());
    config.scheduling.lock_memory().map_err(Failure::config)?;
    let earlier = args.against.as_deref().map(Report::read).transpose()?;
    [&args.json, &args.html].into_iter().flatten().try_for_each(|path| output::check(path))?;
    let file = model::chosen(args.model.as_deref(), &config)?;
    if let Some(models) = &args.curves {
        let frames =
            args.frames.as_deref().map(|path| BenchFrames::load(Some(path), &args.topics, &config));
        let frames = frames.transpose()?;
        let curves = curves::measure(&config, &file, models, frames.as_ref(), args.rounds)?;
        output::line(&curves.table())?;
        write(args.json.as_deref(), || curves.to_json())?;
        write(args.html.as_deref(), || curves.page())?;
        return curves.verdict();
    }
    let mut frames = match (&args.frames, args.packages) {
        (None, Some(packages)) => simulate(args.size.unwrap_or(SIZE_PX_USUAL), packages)?,
        (path, _) => BenchFrames::load(path.as_deref(), &args.topics, &config)?,
    };
    if let Some(size) = args.size {
        frames.scale(size);
    }
    let limits = limits(&config, &file, args.packages);
    let mut run = Run::default();
    if let Some(count) = args.soak {
        let mut soak = Soak::new(count);
        with_system(&config, &file, &mut frames, &limits, |system| soak.run(system))?;
        output::line(&soak.table())?;
        write(args.json.as_deref(), || soak.to_json())?;
        return soak.verdict();
    }
    with_system(&config, &file, &mut frames, &limits, |system| {
        let bar = progress::bar(args.rounds as u64, "frames");
        system.rounds(args.rounds, &mut run, || bar.inc(1))
    })?;
    let report = Report::new(&run, file.spec(), &frames);
    if report.lost == report.rounds {
        return Err(Failure::Fault(anyhow!(
            "measure frames: no result reached the subscriber; see the warnings above"
        )));
    }
    output::line(&report.table())?;
    if let Some(earlier) = &earlier {
        output::line(&report.against(earlier))?;
    }
    write(args.json.as_deref(), || report.to_json())?;
    write(args.html.as_deref(), || html::page(&report, &run))
}

fn write(path: Option<&Path>, content: impl FnOnce() -> String) -> Outcome {
    path.map_or(Ok(()), |path| output::write(path, content()))
}

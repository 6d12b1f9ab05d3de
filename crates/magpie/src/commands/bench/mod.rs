//! `magpie bench`: how long a frame takes, stage by stage, and what that is over the bare model.
//!
//! Each round puts one frame through the pipeline, publishes the result on loopback, waits until a
//! subscriber has it, and runs the bare model once more, before or after by turns: what the
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

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use magpie_inference::{ModelFile, OnnxSession};
use magpie_network::ZenohConfig;
use magpie_perception::{
    Counters, FrameReport, InferenceSession, Limits, Pipeline, Publisher, StageLatencies,
};
use magpie_transport::ZenohPublisher;
use magpie_wire::CellName;

pub use self::frames::BenchFrames;
use self::reader::Reader;
use self::report::{Report, Run};
use crate::present::{output, progress};
use magpie_daemon::config::Config;
use magpie_daemon::failure::ended_by;
use magpie_daemon::failure::{Failure, Outcome};
use magpie_daemon::model::load_scheduled;
use magpie_daemon::record::{Recorder, RecordingPublisher};
use magpie_daemon::run::{open_transport, origin};
use magpie_daemon::{model, scheduling};
use magpie_network::SystemClock;

/// Of a simulated cell, unless --size says otherwise.
const SIZE_PX_USUAL: (u32, u32) = (1280, 720);
/// Rounds that are run and not counted.
const WARM_UP_ROUNDS: usize = 10;

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Frames to run: an MCAP recording or a folder of pictures; absent: a simulated cell with
    /// --packages, else the demo recording.
    #[arg(long)]
    frames: Option<PathBuf>,
    /// Simulate or scale the frames to this size, such as 1280x720.
    #[arg(long, value_parser = frames::parse_size)]
    size: Option<(u32, u32)>,
    /// The model; absent: the universal model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Simulate a cell with this many packages in view, unless --frames names others, and take the
    /// N best of what non-maximum suppression leaves for packages, whatever their scores.
    #[arg(long, value_name = "N")]
    packages: Option<NonZeroUsize>,
    /// Frames to measure.
    #[arg(long, default_value = "300")]
    rounds: NonZeroUsize,
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
}

pub fn bench(args: &BenchArgs) -> Outcome {
    let mut config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    config.cell = CellName::new("bench").expect("a valid name");
    config.recording = config.recording.into_ring(args.record.clone());
    config.scheduling.lock_memory().map_err(Failure::config)?;
    let earlier = args.against.as_deref().map(Report::read).transpose()?;
    let file = model::chosen(args.model.as_deref(), &config)?;
    let packages = args.packages.map(NonZeroUsize::get);
    if let Some(models) = &args.curves {
        let frames = args.frames.as_deref().map(|path| BenchFrames::load(Some(path), &config));
        let frames = frames.transpose()?;
        let curves = curves::measure(&config, &file, models, frames.as_ref(), args.rounds.get())?;
        output::line(&curves.table())?;
        write(args.json.as_deref(), || curves.to_json())?;
        return write(args.html.as_deref(), || curves.page());
    }
    let mut frames = match (&args.frames, packages) {
        (None, Some(packages)) => {
            BenchFrames::simulate(args.size.unwrap_or(SIZE_PX_USUAL), packages)?
        }
        (path, _) => BenchFrames::load(path.as_deref(), &config)?,
    };
    if let Some(size) = args.size {
        frames.scale(size);
    }
    let limits = limits(&config, &file, packages);
    let mut run = Run::default();
    if let Some(count) = args.soak {
        let mut soak = soak::Soak::new(count);
        with_bench(&config, &file, &mut frames, &limits, |bench| soak.run(bench))?;
        output::line(&soak.table())?;
        write(args.json.as_deref(), || soak.to_json())?;
        return soak.verdict();
    }
    with_bench(&config, &file, &mut frames, &limits, |bench| {
        bench.rounds(args.rounds.get(), &mut run)
    })?;
    let report = Report::new(&run, file.spec(), &frames);
    if report.lost == report.rounds {
        return Err(Failure::Fault(anyhow!(
            "no result reached the subscriber: nothing was measured"
        )));
    }
    output::line(&report.table())?;
    if let Some(earlier) = &earlier {
        output::line(&report.against(earlier))?;
    }
    write(args.json.as_deref(), || report.to_json())?;
    write(args.html.as_deref(), || html::page(&report, &run))
}

fn limits(config: &Config, model: &ModelFile, packages: Option<usize>) -> Limits {
    let mut limits = config.limits(model.spec().score_min);
    // Results of a slow model on a busy machine are to be measured, not refused.
    limits.result_valid_ns = 60_000_000_000;
    if let Some(packages) = packages {
        take_exactly(&mut limits, packages);
    }
    limits
}

/// The N best of what NMS leaves of each frame, whatever their scores: as many as in a cell that
/// full, none of them on top of another.
pub fn take_exactly(limits: &mut Limits, packages: usize) {
    limits.decode.score_min = 0.0;
    limits.decode.instances_max = packages;
}

/// One for each core, where the configuration does not say.
fn threads(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    config.session.threads.map_or_else(cores, NonZeroUsize::get)
}

fn write(path: Option<&Path>, content: impl FnOnce() -> String) -> Outcome {
    let Some(path) = path else { return Ok(()) };
    std::fs::write(path, content())
        .map_err(|error| Failure::fault(anyhow!("write {}: {error}", path.display())))
}

/// Beside a daemon that may be running on the shipped endpoint.
fn free_endpoint() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Failure::fault)?;
    let address = listener.local_addr().map_err(Failure::fault)?;
    Ok(format!("tcp/{address}"))
}

/// Everything that a frame passes, warm.
fn with_bench(
    config: &Config,
    model: &ModelFile,
    frames: &mut BenchFrames,
    limits: &Limits,
    measure: impl FnOnce(&mut Bench<'_>) -> Outcome,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::fault)?;
    let endpoints = vec![free_endpoint()?];
    let mut config = config.clone();
    // As the operator's file says about shared memory and queues, but on a port of our own.
    let (zenoh, reader_zenoh) = match config.zenoh {
        ZenohConfig::File(path) => (
            ZenohConfig::FileListening { path: path.clone(), endpoints: endpoints.clone() },
            ZenohConfig::FileAsClient { path, endpoints },
        ),
        _ => (ZenohConfig::Listen(endpoints.clone()), ZenohConfig::Connect(endpoints)),
    };
    config.zenoh = zenoh;
    let mut session = load_scheduled(model, &config)?;
    let clock = SystemClock::start();
    let counters = Arc::new(Counters::default());
    let scene = frames.scene.clone();
    let (transport, publisher) =
        open_transport(&runtime, &config, scene.as_ref(), &session, &clock, &counters)?;
    let origin = origin(&config, scene.as_ref(), &session, limits, &transport);
    let recorder = Recorder::start(&config.recording, origin, &clock)?;
    let publisher = RecordingPublisher {
        publisher,
        status: transport.status(),
        tap: recorder.as_ref().map(Recorder::tap),
    };
    let reader = Reader::start(config.cell.clone(), reader_zenoh, Arc::clone(&clock))?;
    config.scheduling.enter().map_err(Failure::config)?;
    scheduling::lead_pool().map_err(Failure::fault)?;
    let mut bench = Bench {
        pipeline: Pipeline::new(session.spec().clone()),
        session: &mut session,
        publisher,
        clock: clock.as_ref(),
        frames,
        limits,
        counters: &counters,
        reader: &reader,
        threads: threads(&config),
        sequence: 0,
    };
    for _ in 0..WARM_UP_ROUNDS {
        bench.round()?;
    }
    let outcome = measure(&mut bench);
    drop(bench);
    reader.stop();
    drop(transport);
    if let Some(trouble) = recorder.as_ref().and_then(Recorder::trouble) {
        tracing::warn!("{trouble}: not every frame was measured with a recording");
    }
    outcome.and(recorder.map_or(Ok(()), Recorder::finish))
}

/// What one round took, in nanoseconds.
#[derive(Clone, Debug)]
struct Round {
    pub stages: StageLatencies,
    /// From the frame in memory to the publisher having taken the result.
    pub published_ns: u64,
    /// From the frame in memory to a subscriber's hands; `None`: it never came.
    pub received_ns: Option<u64>,
    pub bare_run_ns: u64,
    /// Processor time of the whole process for the frame, without the bare run.
    pub cpu_ns: u64,
    /// Of the whole process, from the frame in memory to the publisher having taken the result.
    pub allocations: u64,
    pub allocated_bytes: u64,
    pub packages: usize,
}

struct Bench<'a> {
    pipeline: Pipeline,
    session: &'a mut OnnxSession,
    publisher: RecordingPublisher<ZenohPublisher>,
    clock: &'a dyn magpie_perception::Clock,
    frames: &'a mut BenchFrames,
    limits: &'a Limits,
    counters: &'a Counters,
    reader: &'a Reader,
    /// Of the model.
    threads: usize,
    sequence: u64,
}

impl Bench<'_> {
    fn rounds(&mut self, rounds: usize, run: &mut Run) -> Outcome {
        run.rss_start_bytes = process::rss_bytes();
        run.provider = self.session.provider().name().to_owned();
        run.threads = self.threads;
        let bar = progress::bar(rounds as u64, "frames");
        for _ in 0..rounds {
            run.rounds.push(self.round()?);
            bar.inc(1);
        }
        bar.finish_and_clear();
        run.rss_end_bytes = process::rss_bytes();
        Ok(())
    }

    fn round(&mut self) -> Result<Round, Failure> {
        let bare_first = self.sequence.is_multiple_of(2);
        let mut bare_run_ns = if bare_first { self.bare_run()? } else { 0 };
        let mut measured = self.frame()?;
        if !bare_first {
            bare_run_ns = self.bare_run()?;
        }
        measured.bare_run_ns = bare_run_ns;
        Ok(measured)
    }

    fn bare_run(&mut self) -> Result<u64, Failure> {
        let start = self.clock.now();
        self.session.run().map_err(Failure::fault)?;
        Ok(self.clock.now().since_ns(start))
    }

    fn frame(&mut self) -> Result<Round, Failure> {
        let scene = self.frames.scene.as_ref();
        let sequence = self.sequence;
        self.sequence += 1;
        let count = self.frames.frames.len() as u64;
        let at = usize::try_from(sequence % count).expect("an index");
        let frame = &mut self.frames.frames[at];
        let allocated = process::allocations();
        let cpu_start_ns = process::cpu_ns();
        let start = self.clock.now();
        frame.sequence = sequence;
        frame.stamp = start;
        let (packages, stages) = self
            .pipeline
            .process(frame, self.session, self.clock, scene, self.limits)
            .map_err(ended_by)?;
        let found = packages.packages.len();
        let counters = self.counters.snapshot();
        let report = FrameReport { packages, latencies: stages, counters };
        self.publisher.publish(frame, &report).map_err(Failure::fault)?;
        let published_ns = self.clock.now().since_ns(start);
        let allocations = process::allocations();
        let received_ns = self.reader.arrival(sequence).map(|stamp| stamp.since_ns(start));
        self.pipeline.recycle(report.packages);
        Ok(Round {
            stages,
            published_ns,
            received_ns,
            bare_run_ns: 0,
            cpu_ns: process::cpu_ns() - cpu_start_ns,
            allocations: allocations.count - allocated.count,
            allocated_bytes: allocations.bytes - allocated.bytes,
            packages: found,
        })
    }
}

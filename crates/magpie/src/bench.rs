//! `magpie bench`: how long a frame takes, stage by stage, and what that is over the bare model.
//!
//! Each round puts one frame through the pipeline, publishes the result on loopback, waits until a
//! subscriber has it, and runs the bare model once more, before or after by turns: what the
//! machine does to one it does to the other.

mod frames;
mod html;
mod report;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::anyhow;
use magpie_inference::OnnxSession;
use magpie_perception::{
    Counters, FrameReport, InferenceSession, Limits, Pipeline, Publisher, StageLatencies, StampNs,
};
use magpie_transport::{
    CellName, Freshness, PackagesSubscriber, SubscriberOptions, ZenohConfig, ZenohPublisher,
};
use rustix::time::{ClockId, clock_gettime};

pub use self::frames::BenchFrames;
use self::report::{Report, Run};
use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::service::{ended_by, open_transport};
use crate::{model, output, progress};

/// Rounds that are run and not counted.
const WARM_UP_ROUNDS: usize = 10;
/// A result that took longer than this to arrive is lost.
const ARRIVAL_TIME_MAX: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    /// Frames to run: an MCAP recording or a folder of pictures; absent: the demo recording.
    #[arg(long)]
    frames: Option<PathBuf>,
    /// Scale the frames to this size, such as 1280x720.
    #[arg(long, value_parser = frames::parse_size)]
    size: Option<(u32, u32)>,
    /// The model; absent: the universal model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Take the N best candidates of each frame for packages, whatever their scores and overlap.
    #[arg(long)]
    packages: Option<usize>,
    /// Frames to measure.
    #[arg(long, default_value_t = 300)]
    rounds: usize,
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
    let earlier = args.against.as_deref().map(Report::read).transpose()?;
    let mut frames = BenchFrames::load(args.frames.as_deref(), &config)?;
    if let Some(size) = args.size {
        frames.scale(size);
    }
    let path = args.model.as_deref().or(config.model_path.as_deref());
    let file = model::read(path, config.model_sha256.as_deref())?;
    let mut limits = config.limits(file.spec().score_min);
    // Results of a slow model on a busy machine are to be measured, not refused.
    limits.result_valid_ns = 60_000_000_000;
    if let Some(packages) = args.packages {
        take_exactly(&mut limits, packages);
    }
    let session = model::load(&file, &config.session)?;
    let endpoint = free_endpoint()?;
    config.cell = CellName::new("bench").expect("a valid name");
    config.zenoh = ZenohConfig::Listen(vec![endpoint.clone()]);

    let run = measure(&config, &endpoint, session, &mut frames, &limits, args.rounds.max(1))?;
    let report = Report::new(&run, file.spec(), &frames);
    output::line(&report.table())?;
    if let Some(earlier) = &earlier {
        output::line(&report.against(earlier))?;
    }
    write(args.json.as_deref(), || report.to_json())?;
    write(args.html.as_deref(), || html::page(&report, &run))
}

/// The N best candidates of each frame, whatever their scores and overlap.
pub fn take_exactly(limits: &mut Limits, packages: usize) {
    limits.decode.score_min = 0.0;
    limits.decode.iou_max = 1.0;
    limits.decode.instances_max = packages;
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

fn measure(
    config: &Config,
    endpoint: &str,
    mut session: OnnxSession,
    frames: &mut BenchFrames,
    limits: &Limits,
    rounds: usize,
) -> Result<Run, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::fault)?;
    let clock = SystemClock::start();
    let counters = Arc::new(Counters::default());
    let scene = frames.scene.clone();
    let (transport, publisher) =
        open_transport(&runtime, config, scene.as_ref(), &session, &clock, &counters)?;
    let reader = Reader::start(config.cell.clone(), endpoint, Arc::clone(&clock))?;
    let mut bench = Bench {
        pipeline: Pipeline::new(session.spec().clone()),
        session: &mut session,
        publisher,
        clock: clock.as_ref(),
        frames,
        limits,
        counters: &counters,
        arrivals: &reader.arrivals,
    };
    for round in 0..WARM_UP_ROUNDS {
        bench.round(round)?;
    }
    let mut run = Run { rss_start_bytes: rss_bytes(), ..Run::default() };
    let bar = progress::bar(rounds as u64, "frames");
    for round in WARM_UP_ROUNDS..WARM_UP_ROUNDS + rounds {
        run.rounds.push(bench.round(round)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    run.rss_end_bytes = rss_bytes();
    reader.stop();
    drop(transport);
    Ok(run)
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
    pub packages: usize,
}

struct Bench<'a> {
    pipeline: Pipeline,
    session: &'a mut OnnxSession,
    publisher: ZenohPublisher,
    clock: &'a dyn magpie_perception::Clock,
    frames: &'a mut BenchFrames,
    limits: &'a Limits,
    counters: &'a Counters,
    arrivals: &'a Receiver<(u64, StampNs)>,
}

impl Bench<'_> {
    fn round(&mut self, round: usize) -> Result<Round, Failure> {
        let bare_first = round.is_multiple_of(2);
        let mut bare_run_ns = if bare_first { self.bare_run()? } else { 0 };
        let mut measured = self.frame(round)?;
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

    fn frame(&mut self, round: usize) -> Result<Round, Failure> {
        let scene = self.frames.scene.as_ref();
        let at = round % self.frames.frames.len();
        let frame = &mut self.frames.frames[at];
        let cpu_start_ns = process_cpu_ns();
        let start = self.clock.now();
        frame.sequence = round as u64;
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
        let received_ns = self.arrival(round as u64).map(|stamp| stamp.since_ns(start));
        Ok(Round {
            stages,
            published_ns,
            received_ns,
            bare_run_ns: 0,
            cpu_ns: process_cpu_ns() - cpu_start_ns,
            packages: found,
        })
    }

    fn arrival(&self, sequence: u64) -> Option<StampNs> {
        loop {
            match self.arrivals.recv_timeout(ARRIVAL_TIME_MAX) {
                Ok((arrived, stamp)) if arrived == sequence => return Some(stamp),
                // An older one that came late.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }
}

/// A subscriber on a thread of its own, as a controller would have it.
struct Reader {
    arrivals: Receiver<(u64, StampNs)>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start(cell: CellName, endpoint: &str, clock: SharedClock) -> Result<Reader, Failure> {
        let zenoh = ZenohConfig::Connect(vec![endpoint.to_owned()]);
        let options = SubscriberOptions::new(cell, zenoh, Arc::clone(&clock));
        let subscriber = PackagesSubscriber::open(options).map_err(Failure::fault)?;
        // Every round waits for its own arrival: more than a few never queue up.
        let (sender, arrivals) = sync_channel(16);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("bench-reader".into())
            .spawn(move || receive(subscriber, &sender, &clock, &stopped))
            .map_err(Failure::fault)?;
        Ok(Reader { arrivals, stop, thread })
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.arrivals);
        // A reader that panicked has lost its arrivals, which the report tells.
        let _ = self.thread.join();
    }
}

fn receive(
    mut subscriber: PackagesSubscriber,
    arrivals: &SyncSender<(u64, StampNs)>,
    clock: &SharedClock,
    stop: &AtomicBool,
) {
    let mut last = None;
    while !stop.load(Ordering::Relaxed) {
        let Freshness::Fresh(view) = subscriber.next(Duration::from_millis(100)) else { continue };
        let stamp = clock.now();
        let sequence = view.for_display().sequence;
        if last.replace(sequence) != Some(sequence) && arrivals.send((sequence, stamp)).is_err() {
            return;
        }
    }
}

fn process_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let part = |value: i64| u64::try_from(value).expect("processor time is not negative");
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// Memory of this process that is in RAM; `None` where the kernel does not tell.
fn rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

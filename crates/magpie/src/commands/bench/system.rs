//! The system under test: pipeline, model, publisher and subscriber, warm, and the rounds they run.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;

use magpie_inference::{ModelFile, OnnxSession};
use magpie_network::{SystemClock, ZenohConfig};
use magpie_perception::{Counters, FrameReport, InferenceSession, Limits, Pipeline, Publisher};
use magpie_transport::ZenohPublisher;

use super::frames::BenchFrames;
use super::process;
use super::reader::{RESULT_VALID_MAX, Reader};
use super::stages::{Round, Run};
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome, ended_by, not_joined};
use magpie_daemon::model::load_scheduled;
use magpie_daemon::record::{Recorder, RecordingPublisher};
use magpie_daemon::run::{open_transport, origin};
use magpie_daemon::scheduling;

/// Rounds that are run and not counted.
const WARM_UP_ROUNDS: usize = 10;

pub(super) fn limits(config: &Config, model: &ModelFile, packages: Option<usize>) -> Limits {
    let mut limits = config.limits(model.spec().score_min);
    // Results of a slow model on a busy machine are to be measured, not refused.
    limits.result_valid_ns = u64::try_from(RESULT_VALID_MAX.as_nanos()).expect("a minute");
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

/// Threads of the model: one for each core where the configuration does not say.
fn threads(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    config.session.threads.map_or_else(cores, NonZeroUsize::get)
}

/// An endpoint beside that of a daemon which may be running on the shipped one.
fn free_endpoint() -> Result<String, Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Failure::fault)?;
    let address = listener.local_addr().map_err(Failure::fault)?;
    Ok(format!("tcp/{address}"))
}

/// Opens everything that a frame passes, warms it up, and measures.
pub(super) fn with_system(
    config: &Config,
    model: &ModelFile,
    frames: &mut BenchFrames,
    limits: &Limits,
    measure: impl FnOnce(&mut SystemUnderTest<'_>) -> Outcome,
) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::fault)?;
    let endpoints = vec![free_endpoint()?];
    let mut config = config.clone();
    // The operator's file decides about shared memory and queues, but not about the port.
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
        open_transport(&runtime, &config, scene.as_ref(), &session, &clock, &counters, None)
            .map_err(not_joined)?;
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
    let mut system = SystemUnderTest {
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
        system.round()?;
    }
    let outcome = measure(&mut system);
    drop(system);
    reader.stop();
    drop(transport);
    if let Some(reason) = recorder.as_ref().and_then(Recorder::reason) {
        tracing::warn!("{reason}: not every frame was measured with a recording");
    }
    outcome.and(recorder.map_or(Ok(()), Recorder::finish))
}

pub(super) struct SystemUnderTest<'a> {
    pipeline: Pipeline,
    session: &'a mut OnnxSession,
    publisher: RecordingPublisher<ZenohPublisher>,
    clock: &'a dyn magpie_perception::Clock,
    frames: &'a mut BenchFrames,
    limits: &'a Limits,
    counters: &'a Counters,
    reader: &'a Reader,
    /// Threads of the model.
    threads: usize,
    sequence: u64,
}

impl SystemUnderTest<'_> {
    /// `passed` hears of each round.
    pub(super) fn rounds(
        &mut self,
        rounds: usize,
        run: &mut Run,
        mut passed: impl FnMut(),
    ) -> Outcome {
        run.rss_start_bytes = process::rss_bytes();
        run.provider = self.session.provider().name().to_owned();
        run.threads = self.threads;
        for _ in 0..rounds {
            run.rounds.push(self.round()?);
            passed();
        }
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

    pub(super) fn frame(&mut self) -> Result<Round, Failure> {
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

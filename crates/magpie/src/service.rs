//! `magpie run`: wires the edges to the pipeline and keeps everything slow off its thread.
//!
//! ```text
//!  capture -> pipeline (perception::run) -> publisher
//!                |                             tokio: heartbeat, queries
//!             counters  -----------------> supervise: status, watchdog, signals
//! ```

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use magpie_inference::{ModelFile, OnnxSession};
use magpie_perception::{Counters, Edges, Fault, Limits, Publisher, Scene, run as run_pipeline};
use magpie_transport::{
    CaptureLimits, Transport, TransportError, TransportOptions, ZenohPublisher,
};
use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::health::{Health, Observation};
use crate::inspect::{InspectedPublisher, Inspector};
use crate::record::recorder::{Recorder, RecordingPublisher};
use crate::record::{self, identity};
use crate::scheduling::{Scheduling, lead_pool};
use crate::source::{OpenSource, SourceWatch};
use crate::trouble::PlanTrouble;
use crate::{model, source};

/// How often state is judged and the watchdog considered.
const SUPERVISION_PERIOD: Duration = Duration::from_millis(100);
/// What systemd is asked for while a model loads; asked again every [`LOADING_PERIOD`].
const LOADING_EXTENSION_US: u32 = 30_000_000;
const LOADING_PERIOD: Duration = Duration::from_secs(10);

/// Runs until the source ends or `shutdown` completes.
pub fn run(config: &Config, shutdown: impl Future<Output = ()>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("magpie-tokio")
        .enable_all()
        .build()
        .map_err(Failure::fault)?;
    // Before anything that takes time: unhandled, the signal ends the process.
    let keep = {
        let _context = runtime.enter();
        signal(SignalKind::user_defined1()).map_err(Failure::fault)?
    };
    let clock = SystemClock::start();
    let counters = Arc::new(Counters::default());
    let model = model::chosen(None, config)?;
    let source = source::open(config, &clock, &counters)?;
    if source.scene.is_none() {
        tracing::warn!("no calibration: masks and boxes are published, grasps are not");
    }
    config.scheduling.lock_memory().map_err(Failure::config)?;
    let session = load(&runtime, &model, config)?;
    let (transport, publisher) =
        open_transport(&runtime, config, source.scene.as_ref(), &session, &clock, &counters)?;
    let limits = config.limits(model.spec().score_min);
    let origin = record::origin(config, source.scene.as_ref(), &session, &limits, &transport);
    let mut recorder = Recorder::start(&config.recording, origin, &clock)?;
    let publisher = RecordingPublisher {
        publisher,
        status: transport.status(),
        tap: recorder.as_ref().map(Recorder::tap),
    };

    let drift = config.drift.clone().map(|drift| Inspector::start(drift, runtime.handle()));
    let (inspector, tap) = drift.unzip();
    let trouble = Arc::new(PlanTrouble::default());
    let publisher = InspectedPublisher { publisher, tap, trouble: Arc::clone(&trouble) };

    let supervised = Supervised {
        watch: source.watch.clone(),
        transport: &transport,
        recorder: recorder.as_mut(),
        inspector,
        counters: Arc::clone(&counters),
        provider_fallback: session.fallback_reason().map(str::to_owned),
        trouble,
        keep,
    };
    tracing::info!(
        cell = config.cell.as_str(),
        model = model.spec().name,
        provider = session.provider().name(),
        "running"
    );
    let scheduling = config.scheduling.clone();
    let ended = start_pipeline(source, session, publisher, clock, limits, counters, scheduling)?;
    let outcome = runtime.block_on(supervised.until_end(ended, shutdown));
    drop(transport);
    // The fault that ended the loop matters more than what it did to the recording.
    let outcome = outcome.and(recorder.map_or(Ok(()), Recorder::finish));
    tracing::info!("stopped");
    outcome
}

/// Loads the model while systemd is kept patient: building an engine takes minutes.
fn load(runtime: &Runtime, model: &ModelFile, config: &Config) -> Result<OnnxSession, Failure> {
    let name = model.spec().name.clone();
    let patience = runtime.spawn(async move {
        loop {
            let status = format!("loading model {name}");
            notify(&[
                NotifyState::ExtendTimeoutUsec(LOADING_EXTENSION_US),
                NotifyState::Status(&status),
            ]);
            tokio::time::sleep(LOADING_PERIOD).await;
            tracing::info!(model = name, "still loading the model");
        }
    });
    let session = load_scheduled(model, config);
    patience.abort();
    session
}

/// On a thread of its own, from which the model's threads inherit their scheduling.
pub(crate) fn load_scheduled(model: &ModelFile, config: &Config) -> Result<OnnxSession, Failure> {
    std::thread::scope(|scope| {
        let load = || {
            config.scheduling.enter().map_err(Failure::config)?;
            model::load(model, &config.session)
        };
        let loader = std::thread::Builder::new().name("magpie-load".into());
        let loader = loader.spawn_scoped(scope, load).map_err(Failure::fault)?;
        loader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Joins zenoh as the cell that the configuration names.
pub(crate) fn open_transport(
    runtime: &Runtime,
    config: &Config,
    scene: Option<&Scene>,
    session: &OnnxSession,
    clock: &SharedClock,
    counters: &Arc<Counters>,
) -> Result<(Transport, ZenohPublisher), Failure> {
    let quality_percent = config.jpeg_quality_percent;
    let options = TransportOptions {
        cell: config.cell.clone(),
        zenoh: config.zenoh.clone(),
        identities: identity::identities(config, scene, session),
        camera_info: scene.map(|scene| scene.camera_info.clone()),
        counters: Arc::clone(counters),
        clock: Arc::clone(clock),
        jpeg_encoder: Box::new(move |image| {
            magpie_camera::encode_jpeg(image, quality_percent).map_err(Into::into)
        }),
        image_period: config.image_period,
        capture: CaptureLimits::default(),
    };
    Transport::open(options, runtime.handle()).map_err(|error| match error {
        // Another process may let go of these.
        TransportError::EndpointTaken { .. }
        | TransportError::CellTaken { .. }
        | TransportError::Connect { .. } => Failure::fault(error),
        error => Failure::config(error),
    })
}

/// Starts the thread that carries frames; tells when and why it ended.
fn start_pipeline(
    source: OpenSource,
    mut session: OnnxSession,
    mut publisher: impl Publisher + Send + 'static,
    clock: SharedClock,
    limits: Limits,
    counters: Arc<Counters>,
    scheduling: Scheduling,
) -> Result<oneshot::Receiver<Result<(), Fault>>, Failure> {
    let (ended, receiver) = oneshot::channel();
    let OpenSource { mut frames, scene, .. } = source;
    let pipeline = move || {
        // The model's thread could, so this one can.
        if let Err(error) = scheduling.enter() {
            tracing::error!("{error}");
        }
        if let Err(error) = lead_pool() {
            tracing::error!("start threads to share work with: {error}");
        }
        let mut edges = Edges {
            source: frames.as_mut(),
            session: &mut session,
            publisher: &mut publisher,
            clock: clock.as_ref(),
        };
        let outcome = run_pipeline(&mut edges, scene.as_ref(), &limits, &counters);
        // First, so that a recording knows that nothing more will come.
        drop(publisher);
        // Nobody listens any more if the process is on its way out.
        let _ = ended.send(outcome);
    };
    std::thread::Builder::new().name("pipeline".into()).spawn(pipeline).map_err(Failure::fault)?;
    Ok(receiver)
}

/// What supervision looks at.
struct Supervised<'a> {
    watch: SourceWatch,
    transport: &'a Transport,
    recorder: Option<&'a mut Recorder>,
    inspector: Option<Inspector>,
    counters: Arc<Counters>,
    provider_fallback: Option<String>,
    trouble: Arc<PlanTrouble>,
    /// SIGUSR1.
    keep: Signal,
}

impl Supervised<'_> {
    async fn until_end(
        mut self,
        ended: oneshot::Receiver<Result<(), Fault>>,
        shutdown: impl Future<Output = ()>,
    ) -> Outcome {
        let status = self.transport.status();
        let mut health = Health::default();
        let mut watchdog = Watchdog::default();
        let mut period = tokio::time::interval(SUPERVISION_PERIOD);
        tokio::pin!(ended, shutdown);
        let mut asked_to_stop = false;
        loop {
            tokio::select! {
                _ = period.tick() => {
                    let snapshot = health.judge(&self.observe(None));
                    watchdog.consider(&self, &snapshot);
                    status.set(snapshot);
                    self.supervise_recording();
                }
                () = &mut shutdown, if !asked_to_stop => {
                    asked_to_stop = true;
                    notify(&[NotifyState::Stopping]);
                    self.watch.stop();
                }
                _ = self.keep.recv() => {
                    if let Some(recorder) = &self.recorder {
                        recorder.keep();
                    }
                }
                outcome = &mut ended => {
                    let failure = match outcome {
                        Ok(Ok(())) => return Ok(()),
                        Ok(Err(fault)) => ended_by(fault),
                        Err(_) => Failure::Fault(anyhow!("the pipeline panicked: see above")),
                    };
                    status.set(health.judge(&self.observe(Some(failure.message()))));
                    self.supervise_recording();
                    // Some heartbeats, so that controllers hear the reason.
                    tokio::time::sleep(2 * SUPERVISION_PERIOD).await;
                    return Err(failure);
                }
            }
        }
    }

    fn supervise_recording(&mut self) {
        let Some(recorder) = &mut self.recorder else { return };
        recorder.take_status(self.transport.status_message());
        if recorder.ends_run() {
            self.watch.stop();
        }
    }

    fn observe(&self, fault: Option<String>) -> Observation {
        Observation {
            counters: self.counters.snapshot(),
            camera: self.watch.describe(),
            camera_lost: self.watch.lost(),
            provider_fallback: self.provider_fallback.clone(),
            recording: self.recorder.as_ref().and_then(|recorder| recorder.trouble()),
            drift: self.inspector.as_ref().and_then(Inspector::drift),
            drift_unseen: self.inspector.as_ref().and_then(Inspector::unseen),
            depth: self.watch.depth_trouble(),
            plan: self.trouble.reason(),
            fault,
        }
    }
}

/// Fed by progress alone: a published or dropped frame, or a round of reopening a lost camera.
#[derive(Debug, Default)]
struct Watchdog {
    ready: bool,
    progress: u64,
    told: String,
}

impl Watchdog {
    fn consider(&mut self, supervised: &Supervised<'_>, status: &magpie_transport::StatusSnapshot) {
        let counters = supervised.counters.snapshot();
        let lost = supervised.watch.lost().is_some();
        let reopening = if lost { supervised.watch.progress() } else { 0 };
        let progress = counters.results_published + counters.frames_stale + reopening;
        // Ready once the first result is out, or once it is sure that the camera is what is missing.
        if !self.ready && (counters.results_published > 0 || lost) {
            self.ready = true;
            notify(&[NotifyState::Ready]);
        }
        if progress != self.progress {
            self.progress = progress;
            notify(&[NotifyState::Watchdog]);
        }
        let line = format!("{:?}: {}", status.state, status.reasons.join("; "));
        if line != self.told {
            notify(&[NotifyState::Status(&line)]);
            if status.reasons.is_empty() {
                tracing::info!(state = ?status.state, "state");
            } else {
                tracing::warn!(state = ?status.state, reasons = status.reasons.join("; "), "state");
            }
            self.told = line;
        }
    }
}

/// What a fault of the pipeline means for the process.
pub fn ended_by(fault: Fault) -> Failure {
    match fault {
        Fault::ImageSize { .. } => Failure::config(fault),
        fault => Failure::fault(fault),
    }
}

/// Does nothing where systemd is not listening.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "notify systemd");
    }
}

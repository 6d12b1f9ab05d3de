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
use magpie_perception::{
    Counters, Edges, Fault, InferenceSession, Limits, Scene, run as run_pipeline,
};
use magpie_transport::{
    CaptureLimits, Identities, StatusHandle, Transport, TransportError, TransportOptions,
    ZenohPublisher,
};
use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::clock::{SharedClock, SystemClock};
use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::health::{Health, Observation};
use crate::source::{OpenSource, SourceWatch};
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
    let clock = SystemClock::start();
    let counters = Arc::new(Counters::default());
    let model = model::read(config.model_path.as_deref(), config.model_sha256.as_deref())?;
    let source = source::open(config, &clock, &counters)?;
    if source.scene.is_none() {
        tracing::warn!("no calibration: masks and boxes are published, grasps are not");
    }
    let session = load(&runtime, &model, config)?;
    let (transport, publisher) =
        open_transport(&runtime, config, source.scene.as_ref(), &session, &clock, &counters)?;

    let supervised = Supervised {
        watch: source.watch.clone(),
        status: transport.status(),
        counters: Arc::clone(&counters),
        provider_fallback: session.fallback_reason().map(str::to_owned),
    };
    let limits = config.limits(model.spec().score_min);
    tracing::info!(
        cell = config.cell.as_str(),
        model = model.spec().name,
        provider = session.provider().name(),
        "running"
    );
    let ended = start_pipeline(source, session, publisher, clock, limits, counters)?;
    let outcome = runtime.block_on(supervised.until_end(ended, shutdown));
    drop(transport);
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
    let session = model::load(model, &config.session);
    patience.abort();
    session
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
    let spec = session.spec();
    let quality_percent = config.jpeg_quality_percent;
    let options = TransportOptions {
        cell: config.cell.clone(),
        zenoh: config.zenoh.clone(),
        identities: Identities {
            model_name: spec.name.clone(),
            model_sha256: spec.sha256.clone(),
            class_names: spec.class_names.clone(),
            calibration_id: scene.map(|s| s.calibration_id.clone()).unwrap_or_default(),
            providers_asked: config.session.providers.clone(),
            provider_got: session.provider(),
            base_frame_id: config.base_frame_id.clone(),
            camera_frame_id: scene.map_or_else(
                || "camera_optical_frame".to_owned(),
                |s| s.camera_info.frame_id.clone(),
            ),
        },
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
    mut publisher: ZenohPublisher,
    clock: SharedClock,
    limits: Limits,
    counters: Arc<Counters>,
) -> Result<oneshot::Receiver<Result<(), Fault>>, Failure> {
    let (ended, receiver) = oneshot::channel();
    let OpenSource { mut frames, scene, .. } = source;
    let pipeline = move || {
        let mut edges = Edges {
            source: frames.as_mut(),
            session: &mut session,
            publisher: &mut publisher,
            clock: clock.as_ref(),
        };
        let outcome = run_pipeline(&mut edges, scene.as_ref(), &limits, &counters);
        // Nobody listens any more if the process is on its way out.
        let _ = ended.send(outcome);
    };
    std::thread::Builder::new().name("pipeline".into()).spawn(pipeline).map_err(Failure::fault)?;
    Ok(receiver)
}

/// What supervision looks at.
struct Supervised {
    watch: SourceWatch,
    status: StatusHandle,
    counters: Arc<Counters>,
    provider_fallback: Option<String>,
}

impl Supervised {
    async fn until_end(
        self,
        ended: oneshot::Receiver<Result<(), Fault>>,
        shutdown: impl Future<Output = ()>,
    ) -> Outcome {
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
                    self.status.set(snapshot);
                }
                () = &mut shutdown, if !asked_to_stop => {
                    asked_to_stop = true;
                    notify(&[NotifyState::Stopping]);
                    self.watch.stop();
                }
                outcome = &mut ended => {
                    let failure = match outcome {
                        Ok(Ok(())) => return Ok(()),
                        Ok(Err(fault)) => ended_by(fault),
                        Err(_) => Failure::Fault(anyhow!("the pipeline panicked: see above")),
                    };
                    self.status.set(health.judge(&self.observe(Some(failure.message()))));
                    // Some heartbeats, so that controllers hear the reason.
                    tokio::time::sleep(2 * SUPERVISION_PERIOD).await;
                    return Err(failure);
                }
            }
        }
    }

    fn observe(&self, fault: Option<String>) -> Observation {
        Observation {
            counters: self.counters.snapshot(),
            camera: self.watch.describe(),
            camera_lost: self.watch.lost(),
            provider_fallback: self.provider_fallback.clone(),
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
    fn consider(&mut self, supervised: &Supervised, status: &magpie_transport::StatusSnapshot) {
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

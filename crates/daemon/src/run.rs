//! Wires the edges to the pipeline and keeps everything slow off its thread.
//!
//! ```text
//!  capture -> pipeline (perception::run) -> publisher
//!                |                             tokio: heartbeat, queries
//!             counters  -----------------> supervise: status, watchdog, signals
//! ```

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use magpie_inference::{ModelFile, OnnxSession};
use magpie_network::{NetworkError, SystemClock};
use magpie_perception::{
    Counters, Edges, Fault, Limits, Publisher, Scene, SharedClock, run as run_pipeline,
};
use magpie_transport::{CaptureLimits, Onlooker, Transport, TransportOptions, ZenohPublisher};
use magpie_web::Tally;
use magpie_wire::printable;
use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::certificate_watch::CertificateWatch;
use crate::clock_watch::ClockWatch;
use crate::config::Config;
use crate::failure::{Failure, Outcome, not_joined, one_line};
use crate::identity;
use crate::inspect::{InspectedPublisher, Inspector};
use crate::model::{self, load_scheduled};
use crate::page::ServedPage;
use crate::plan_reason::PlanReason;
use crate::record::{Origin, Recorder, RecordingPublisher};
use crate::scheduling::{Scheduling, lead_pool};
use crate::source::{self, OpenSource};
use crate::supervise::Supervised;
use crate::systemd::notify;

/// The time that systemd is asked for while a model loads, again every [`LOADING_PERIOD`].
const LOADING_EXTENSION_US: u32 = 30_000_000;
const LOADING_PERIOD: Duration = Duration::from_secs(10);
/// Between two tries to join the network.
const JOIN_PERIOD: Duration = Duration::from_secs(1);

/// Runs until the source ends or `shutdown` completes.
pub fn run(config: &Config, shutdown: impl Future<Output = ()>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("magpie-tokio")
        .enable_all()
        .build()
        .map_err(Failure::fault)?;
    // The signal is handled before anything that takes time: unhandled, it ends the process.
    let keep = {
        let _context = runtime.enter();
        signal(SignalKind::user_defined1()).map_err(Failure::fault)?
    };
    let clock = SystemClock::start();
    let (counters, tally) = (Arc::new(Counters::default()), Arc::new(Tally::default()));
    let page = ServedPage::start(config, &tally)?;
    let doing = |what: String| page.iter().for_each(|page| page.page.set_doing(what.clone()));
    let model = model::chosen(None, config)?;
    doing(format!("loading the model {}", model.spec().name));
    let source = source::open(config, &clock, &counters)?;
    if source.scene.is_none() {
        tracing::warn!("no calibration: masks and boxes are published, grasps are not");
    }
    config.scheduling.lock_memory().map_err(Failure::config)?;
    let session = load(&runtime, &model, config)?;
    let mut shutdown = pin!(shutdown);
    doing("joining the network".into());
    let join = || {
        let onlooker = page.as_ref().zip(config.web.as_ref()).map(|(page, web)| page.onlooker(web));
        let scene = source.scene.as_ref();
        open_transport(&runtime, config, scene, &session, &clock, &counters, onlooker)
            .inspect_err(|error| doing(format!("waiting for the network: {error}")))
    };
    let Some((transport, publisher)) = join_patiently(&runtime, shutdown.as_mut(), join)? else {
        return Ok(());
    };
    let certificates = config.zenoh.check().map_err(not_joined)?.certificates;
    let limits = config.limits(model.spec().score_min);
    let origin = origin(config, source.scene.as_ref(), &session, &limits, &transport);
    let mut recorder = Recorder::start(&config.recording, origin, &clock)?;
    if let (Some(page), Some(keep)) = (&page, recorder.as_ref().and_then(Recorder::keeper)) {
        page.page.set_keep(keep);
    }
    let publisher = RecordingPublisher {
        publisher,
        status: transport.status(),
        tap: recorder.as_ref().map(Recorder::tap),
    };

    let drift = config.drift.clone().map(|drift| Inspector::start(drift, runtime.handle()));
    let (inspector, tap) = drift.unzip();
    let plan_reason = Arc::new(PlanReason::default());
    let publisher =
        InspectedPublisher { publisher, tap, plan_reason: Arc::clone(&plan_reason), tally };

    let supervised = Supervised {
        watch: source.watch.clone(),
        transport: &transport,
        recorder: recorder.as_mut(),
        inspector,
        counters: Arc::clone(&counters),
        provider_fallback: session.fallback_reason().map(str::to_owned),
        plan_reason,
        clock: ClockWatch::start(&clock),
        certificates: CertificateWatch::start(certificates, &clock),
        page: page.as_ref(),
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
                NotifyState::Status(&printable(&status)),
            ]);
            tokio::time::sleep(LOADING_PERIOD).await;
            tracing::info!(model = name, "still loading the model");
        }
    });
    let session = load_scheduled(model, config);
    patience.abort();
    session
}

/// Tries to join the network for as long as waiting can help. `None`: asked to stop meanwhile.
fn join_patiently<T>(
    runtime: &Runtime,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
    join: impl Fn() -> Result<T, NetworkError>,
) -> Result<Option<T>, Failure> {
    let mut reason = String::new();
    loop {
        let error = match join() {
            Ok(joined) => return Ok(Some(joined)),
            Err(error) if error.may_pass() => error,
            Err(error) => return Err(not_joined(error)),
        };
        let why = one_line(&error.into());
        let status = format!("waiting for the network: {why}");
        notify(&[
            NotifyState::ExtendTimeoutUsec(LOADING_EXTENSION_US),
            NotifyState::Status(&printable(&status)),
        ]);
        if why != reason {
            tracing::warn!("{status}");
            reason = why;
        }
        let is_stopped = runtime.block_on(async {
            tokio::select! {
                () = shutdown.as_mut() => true,
                () = tokio::time::sleep(JOIN_PERIOD) => false,
            }
        });
        if is_stopped {
            return Ok(None);
        }
    }
}

/// Joins zenoh as the cell that the configuration names.
pub fn open_transport(
    runtime: &Runtime,
    config: &Config,
    scene: Option<&Scene>,
    session: &OnnxSession,
    clock: &SharedClock,
    counters: &Arc<Counters>,
    onlooker: Option<Onlooker>,
) -> Result<(Transport, ZenohPublisher), NetworkError> {
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
        onlooker,
        capture: CaptureLimits::default(),
    };
    Transport::open(options, runtime.handle())
}

/// Starts the thread that carries frames; the receiver hears when and why it ended.
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
        // The model's thread could be scheduled like this, so this one can.
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
        // The publisher goes first, so that a recording knows that nothing more will come.
        drop(publisher);
        // Nobody listens any more if the process is on its way out.
        let _ = ended.send(outcome);
    };
    std::thread::Builder::new().name("pipeline".into()).spawn(pipeline).map_err(Failure::fault)?;
    Ok(receiver)
}

/// What a recording of this run says about its results.
pub fn origin(
    config: &Config,
    scene: Option<&Scene>,
    session: &OnnxSession,
    limits: &Limits,
    transport: &Transport,
) -> Origin {
    let identities = identity::identities(config, scene, session);
    Origin {
        cell: config.cell.to_string(),
        instance_id: transport.instance_id().to_owned(),
        info: identity::recording_info(config, scene, &identities, limits),
        identities,
        // Recordings are handed on.
        config: magpie_camera::redact(&config.written),
    }
}

/// Completes at SIGTERM, which systemd sends, or at SIGINT, which a terminal sends.
pub async fn asked_to_stop() {
    let listen = |kind| signal(kind).expect("signal handlers can be installed");
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

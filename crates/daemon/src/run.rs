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
use magpie_network::{Instance, NetworkError, SystemClock};
use magpie_perception::{
    Counters, Edges, Fault, InferenceSession, Limits, Pipeline, Scene, SharedClock,
};
use magpie_transport::{CaptureLimits, Transport, TransportOptions, ZenohPublisher};
use magpie_wire::printable;
use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::certificate_watch::CertificateWatch;
use crate::clock_watch::ClockWatch;
use crate::config::Config;
use crate::control;
use crate::failure::{Failure, Outcome, not_joined, one_line};
use crate::identity;
use crate::inspect::{InspectedPublisher, Inspector};
use crate::model::{self, load_scheduled};
use crate::models::{
    Exchange, Findings, InUse, Interruptible, Models, ModelsOptions, Ready, Selection,
    in_use_at_start,
};
use crate::plan_reason::PlanReason;
use crate::process_limits::check_descriptors;
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
    check_descriptors()?;
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
    let counters = Arc::new(Counters::default());
    let (model, selection) = in_use_at_start(config)?;
    let source = source::open(config, &clock, &counters)?;
    if source.scene.is_none() {
        tracing::warn!("no calibration: masks and boxes are published, grasps are not");
    }
    config.scheduling.lock_memory().map_err(Failure::config)?;
    let (session, selection) = load_in_use(&runtime, &model, selection, config)?;
    let mut shutdown = pin!(shutdown);
    let join =
        || open_transport(&runtime, config, source.scene.as_ref(), &session, &clock, &counters);
    let Some((transport, publisher)) = join_patiently(&runtime, shutdown.as_mut(), join)? else {
        return Ok(());
    };
    let instance = instance(config, &transport);
    let certificates = config.zenoh.check().map_err(not_joined)?.certificates;
    let limits = config.limits(session.spec().score_min);
    let origin = origin(config, source.scene.as_ref(), &session, &limits, &transport);
    let fallback_reason = session.fallback_reason().map(str::to_owned);
    let ready = Ready::new(config, source.scene.as_ref(), session);
    let mut recorder = Recorder::start(&config.recording, origin, &clock)?;
    let publisher = RecordingPublisher {
        publisher,
        status: transport.status(),
        tap: recorder.as_ref().map(Recorder::tap),
    };

    let drift = config.drift.clone().map(|drift| Inspector::start(drift, runtime.handle()));
    let (inspector, tap) = drift.unzip();
    let plan_reason = Arc::new(PlanReason::default());
    let findings = Arc::new(Findings::default());
    let publisher = InspectedPublisher {
        publisher,
        tap,
        plan_reason: Arc::clone(&plan_reason),
        findings: Arc::clone(&findings),
    };
    let exchange = Arc::new(Exchange::default());
    let models = Arc::new(Models::new(ModelsOptions {
        config: config.clone(),
        scene: source.scene.clone(),
        clock: Arc::clone(&clock),
        counters: Arc::clone(&counters),
        findings,
        exchange: Arc::clone(&exchange),
        selection,
        in_use: InUse::of(&ready),
    }));
    let control = take_orders(&runtime, instance.as_ref(), &models);

    let supervised = Supervised {
        watch: source.watch.clone(),
        transport: &transport,
        recorder: recorder.as_mut(),
        inspector,
        counters: Arc::clone(&counters),
        provider_fallback: fallback_reason,
        plan_reason,
        models,
        clock: ClockWatch::start(&clock),
        certificates: CertificateWatch::start(certificates, &clock),
        keep,
    };
    tracing::info!(
        cell = config.cell.as_str(),
        model = ready.session.spec().name,
        provider = ready.session.provider().name(),
        listens = transport.listens().join(", "),
        "running"
    );
    let (ready, scheduling) = (Box::new(ready), config.scheduling.clone());
    let running = Running { source, ready, exchange, publisher, clock, counters, scheduling };
    let ended = start_pipeline(running)?;
    let outcome = runtime.block_on(supervised.until_end(ended, shutdown));
    if let Some(control) = control {
        control.abort();
    }
    drop(transport);
    // The fault that ended the loop matters more than what it did to the recording.
    let outcome = outcome.and(recorder.map_or(Ok(()), Recorder::finish));
    tracing::info!("stopped");
    outcome
}

/// Takes orders from this machine. Without them the cell runs all the same.
fn take_orders(
    runtime: &Runtime,
    instance: Option<&Instance>,
    models: &Arc<Models>,
) -> Option<tokio::task::JoinHandle<()>> {
    let listener = control::listen(&instance?.control());
    let listener = listener.inspect_err(|error| {
        tracing::warn!("`magpie model use` does not reach this daemon: {error}");
    });
    Some(runtime.spawn(control::serve(listener.ok()?, Arc::clone(models))))
}

/// Loads the model in use; one that cannot be loaded any more gives way to the configured one.
fn load_in_use(
    runtime: &Runtime,
    model: &ModelFile,
    mut selection: Selection,
    config: &Config,
) -> Result<(OnnxSession, Selection), Failure> {
    let failure = match load(runtime, model, config) {
        Ok(session) => return Ok((session, selection)),
        Err(failure) if selection.in_use == selection.configured => return Err(failure),
        Err(failure) => failure,
    };
    let session = load(runtime, &model::chosen(None, config)?, config)?;
    let (name, why) = (&model.spec().name, failure.message());
    let why =
        format!("model {name} was in use and cannot be loaded: {why}; the configured one runs");
    selection.in_use.clone_from(&selection.configured);
    selection.rolled_back = Some(why);
    Ok((session, selection))
}

/// Tells the programs of this machine where the cell listens. Without it the cell runs all the same.
fn instance(config: &Config, transport: &Transport) -> Option<Instance> {
    let made = Instance::create(&config.cell).and_then(|instance| {
        instance.write_note(&config.cell, transport.listens(), transport.connects())?;
        Ok(instance)
    });
    made.inspect_err(|error| {
        tracing::warn!("`magpie cells` may not find this cell: {error}");
    })
    .ok()
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
        capture: CaptureLimits::default(),
    };
    Transport::open(options, runtime.handle())
}

/// What the thread that carries frames needs.
struct Running {
    source: OpenSource,
    ready: Box<Ready>,
    exchange: Arc<Exchange>,
    publisher: InspectedPublisher<RecordingPublisher<ZenohPublisher>>,
    clock: SharedClock,
    counters: Arc<Counters>,
    scheduling: Scheduling,
}

/// Starts the thread that carries frames; the receiver hears when and why it ended.
fn start_pipeline(mut running: Running) -> Result<oneshot::Receiver<Result<(), Fault>>, Failure> {
    let (ended, receiver) = oneshot::channel();
    let pipeline = move || {
        // The model's thread could be scheduled like this, so this one can.
        if let Err(error) = running.scheduling.enter() {
            tracing::error!("{error}");
        }
        if let Err(error) = lead_pool() {
            tracing::error!("start threads to share work with: {error}");
        }
        let outcome = carry_frames(&mut running);
        // The publisher goes first, so that a recording knows that nothing more will come.
        drop(running);
        // Nobody listens any more if the process is on its way out.
        let _ = ended.send(outcome);
    };
    std::thread::Builder::new().name("pipeline".into()).spawn(pipeline).map_err(Failure::fault)?;
    Ok(receiver)
}

/// Runs the loop until the source ends, with another model in between where one is offered.
fn carry_frames(running: &mut Running) -> Result<(), Fault> {
    let Running { source, ready, exchange, publisher, clock, counters, .. } = running;
    let OpenSource { frames, scene, .. } = source;
    let mut pipeline = Pipeline::new(ready.session.spec().clone());
    loop {
        let mut frames =
            Interruptible { frames: frames.as_mut(), exchange: exchange, has_ended: false };
        let mut edges = Edges {
            source: &mut frames,
            session: &mut ready.session,
            publisher: &mut *publisher,
            clock: clock.as_ref(),
        };
        let outcome = pipeline.run(&mut edges, scene.as_ref(), &ready.limits, counters);
        let is_changed = match outcome {
            Ok(()) if frames.has_ended => return Ok(()),
            Ok(()) => exchange.swap(ready),
            // A model on trial that cannot be run costs this frame alone.
            Err(Fault::Inference(error)) => {
                if !exchange.go_back(ready, one_line(&anyhow::Error::msg(error.to_string()))) {
                    return Err(error.into());
                }
                true
            }
            Err(fault) => return Err(fault),
        };
        if is_changed {
            pipeline.use_model(ready.session.spec().clone());
            publisher.use_model(&ready.identities, ready.origin.clone());
        }
    }
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
        config: config.written.clone(),
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

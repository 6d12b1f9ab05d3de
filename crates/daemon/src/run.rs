//! Wires the edges to the pipeline and keeps everything slow off its thread.
//!
//! ```text
//!  capture -> pipeline (perception::run) -> publisher
//!                |                             tokio: heartbeat, queries, reports of picks
//!             counters  -----------------> supervise: status, watchdog, signals
//! ```

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use magpie_inference::{ModelFile, OnnxSession};
use magpie_network::{Instance, NetworkError, SystemClock};
use magpie_perception::{
    Counters, Edges, Fault, FrameSource, InferenceSession, Limits, Pipeline, Publisher, Scene,
    SharedClock,
};
use magpie_transport::{CaptureLimits, Onlooker, Transport, TransportOptions, ZenohPublisher};
use magpie_web::Tally;
use magpie_wire::printable;
use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::calibrate::{CalibrationDesk, CalibrationTap};
use crate::certificate_watch::CertificateWatch;
use crate::clock_watch::ClockWatch;
use crate::config::Config;
use crate::control;
use crate::failure::{Failure, Outcome, not_joined, one_line};
use crate::identity;
use crate::inspect::{InspectedPublisher, Inspector};
use crate::live::{Live, LiveOrigin, LivePublisher};
use crate::model::{self, load_scheduled_while};
use crate::models::{
    Exchange, Findings, InUse, Interruptible, Models, ModelsOptions, Ready, Selection,
    in_use_at_start,
};
use crate::network_watch::NetworkWatch;
use crate::page::ServedPage;
use crate::plan_reason::PlanReason;
use crate::process_limits::DescriptorWatch;
use crate::record::{Origin, Recorder, RecordingPublisher};
use crate::ros2::{Ros2, Ros2Origin, Ros2Publisher};
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
    let (model, selection) = in_use_at_start(config)?;
    doing(format!("loading the model {}", model.spec().name));
    let source = source::open(config, &clock, &counters)?;
    if source.scene.is_none() {
        tracing::warn!("no calibration: masks and boxes are published, grasps are not");
    }
    config.scheduling.lock_memory().map_err(Failure::config)?;
    let mut shutdown = pin!(shutdown);
    let loaded = load_in_use(&runtime, shutdown.as_mut(), &model, selection, config)?;
    let Some((session, selection)) = loaded else { return Ok(()) };
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
    let instance = instance(config, &transport);
    let certificates = config.zenoh.check().map_or_else(
        |error| {
            let why = one_line(&error.into());
            tracing::warn!("nobody watches when certificates expire: {why}");
            Vec::new()
        },
        |known| known.certificates,
    );
    let limits = config.limits(session.spec().score_min);
    let origin = origin(config, source.scene.as_ref(), &session, &limits, &transport);
    let fallback_reason = session.fallback_reason().map(str::to_owned);
    let ready = Ready::new(config, source.scene.as_ref(), session);
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
    let calibration = calibrate(config, page.as_ref(), source.scene.as_ref(), &clock)?;
    let (_calibration, calibration_tap) = calibration.unzip();
    let plan_reason = Arc::new(PlanReason::default());
    let findings = Arc::new(Findings::default());
    let publisher = InspectedPublisher {
        publisher,
        tap,
        calibration: calibration_tap,
        plan_reason: Arc::clone(&plan_reason),
        findings: Arc::clone(&findings),
        tally,
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
    let live = config.foxglove.map(|foxglove| {
        let origin = LiveOrigin {
            cell: config.cell.to_string(),
            instance_id: transport.instance_id().to_owned(),
            identities: Arc::clone(&ready.identities),
            info: ready.origin.info.clone(),
        };
        Live::start(foxglove, origin, transport.status(), &clock, runtime.handle())
    });
    let (live, tap) = live.transpose().map_err(Failure::fault)?.unzip();
    let publisher = LivePublisher { publisher, tap };
    let ros2 = config.ros2.clone().map(|ros2| {
        let origin = Ros2Origin {
            cell: config.cell.to_string(),
            instance_id: transport.instance_id().to_owned(),
            identities: Arc::clone(&ready.identities),
            scene: source.scene.clone(),
            jpeg_quality_percent: config.jpeg_quality_percent,
        };
        Ros2::start(ros2, origin, transport.status(), &clock)
    });
    let (ros2, tap) = ros2.transpose().map_err(Failure::fault)?.unzip();
    let publisher = Ros2Publisher { publisher, tap };

    let supervised = Supervised {
        watch: source.watch.clone(),
        transport: &transport,
        recorder: recorder.as_mut(),
        inspector,
        counters: Arc::clone(&counters),
        provider_fallback: fallback_reason,
        plan_reason,
        models,
        live,
        ros2,
        clock: ClockWatch::start(&clock),
        certificates: CertificateWatch::start(certificates, &clock),
        network: NetworkWatch::default(),
        descriptors: DescriptorWatch::default(),
        page: page.as_ref(),
        keep,
    };
    tracing::info!(
        cell = config.cell.as_str(),
        model = ready.session.spec().name,
        provider = ready.identities.provider_got.name(),
        listens = transport.listens().join(", "),
        "running"
    );
    let OpenSource { frames, scene, .. } = source;
    let ready = Box::new(ready);
    let running = Running { frames, scene, ready, exchange, publisher, clock, counters };
    let ended = start_pipeline(running, config.scheduling.clone())?;
    let outcome = runtime.block_on(supervised.until_end(ended, shutdown));
    if let Some(control) = control {
        control.abort();
    }
    if let Some(recorder) = &mut recorder {
        recorder.take_outcomes(transport.fetch_outcomes());
    }
    drop(transport);
    // The fault that ended the loop matters more than what it did to the recording.
    let outcome = outcome.and(recorder.map_or(Ok(()), Recorder::finish));
    tracing::info!("stopped");
    outcome
}

/// Lets the page calibrate, where there is one.
fn calibrate(
    config: &Config,
    page: Option<&ServedPage>,
    scene: Option<&Scene>,
    clock: &SharedClock,
) -> Result<Option<(CalibrationDesk, CalibrationTap)>, Failure> {
    let Some((page, web)) = page.zip(config.web.as_ref()) else { return Ok(None) };
    page.calibrate(config, web, scene, clock).map(Some).map_err(Failure::fault)
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

/// Loads the model in use; one that cannot be loaded any more gives way to the configured one. `None`:
/// asked to stop meanwhile.
fn load_in_use(
    runtime: &Runtime,
    mut shutdown: Pin<&mut impl Future<Output = ()>>,
    model: &ModelFile,
    mut selection: Selection,
    config: &Config,
) -> Result<Option<(OnnxSession, Selection)>, Failure> {
    let failure = match load(runtime, shutdown.as_mut(), model, config) {
        Ok(session) => return Ok(session.map(|session| (session, selection))),
        Err(failure) if selection.in_use == selection.configured => return Err(failure),
        Err(failure) => failure,
    };
    let session = load(runtime, shutdown, &model::chosen(None, config)?, config)?;
    let (name, why) = (&model.spec().name, failure.message());
    let why =
        format!("model {name} was in use and cannot be loaded: {why}; the configured one runs");
    selection.in_use.clone_from(&selection.configured);
    selection.rolled_back = Some(why);
    Ok(session.map(|session| (session, selection)))
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

/// Loads the model while systemd is kept patient: building an engine takes minutes. `None`: asked to
/// stop meanwhile.
fn load(
    runtime: &Runtime,
    shutdown: Pin<&mut impl Future<Output = ()>>,
    model: &ModelFile,
    config: &Config,
) -> Result<Option<OnnxSession>, Failure> {
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
    let is_wanted = AtomicBool::new(true);
    let (sender, loaded) = oneshot::channel();
    let loaded = std::thread::scope(|scope| {
        let load = || {
            let is_wanted = || is_wanted.load(Ordering::Relaxed);
            // Nobody listens any more if it was asked to stop.
            let _ = sender.send(load_scheduled_while(model, config, &is_wanted));
        };
        let loader = std::thread::Builder::new().name("magpie-loading".into());
        let loader = loader.spawn_scoped(scope, load).map_err(Failure::fault)?;
        let loaded = runtime.block_on(async {
            tokio::select! {
                loaded = loaded => Some(loaded),
                () = shutdown => None,
            }
        });
        is_wanted.store(false, Ordering::Relaxed);
        match loaded {
            None => Ok(None),
            Some(Ok(loaded)) => loaded.map(Some),
            Some(Err(_)) => match loader.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => unreachable!("a thread that ends has sent"),
            },
        }
    });
    patience.abort();
    loaded
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

/// Zenoh first, then whoever keeps, looks and shows.
type RunPublisher =
    Ros2Publisher<LivePublisher<InspectedPublisher<RecordingPublisher<ZenohPublisher>>>>;

impl RunPublisher {
    /// The results from now on are another model's.
    fn use_model(&mut self, ready: &Ready) {
        if let Some(tap) = &mut self.tap {
            tap.use_model(&ready.identities);
        }
        let live = &mut self.publisher;
        if let Some(tap) = &mut live.tap {
            tap.use_model(&ready.identities);
        }
        let recording = &mut live.publisher.publisher;
        recording.use_model(ready.origin.clone());
        recording.publisher.use_identities(&ready.identities);
    }
}

/// What the thread that carries frames needs.
struct Running<P> {
    frames: Box<dyn FrameSource + Send>,
    scene: Option<Scene>,
    ready: Box<Ready>,
    exchange: Arc<Exchange>,
    publisher: P,
    clock: SharedClock,
    counters: Arc<Counters>,
}

/// Starts the thread that carries frames; the receiver hears when and why it ended.
fn start_pipeline(
    mut running: Running<RunPublisher>,
    scheduling: Scheduling,
) -> Result<oneshot::Receiver<Result<(), Fault>>, Failure> {
    let (ended, receiver) = oneshot::channel();
    let pipeline = move || {
        // The model's thread could be scheduled like this, so this one can.
        if let Err(error) = scheduling.enter() {
            tracing::error!("{error}");
        }
        if let Err(error) = lead_pool() {
            tracing::error!("start threads to share work with: {error}");
        }
        let outcome = carry_frames(&mut running, RunPublisher::use_model);
        // The publisher goes first, so that a recording knows that nothing more will come.
        drop(running);
        // Nobody listens any more if the process is on its way out.
        let _ = ended.send(outcome);
    };
    std::thread::Builder::new().name("pipeline".into()).spawn(pipeline).map_err(Failure::fault)?;
    Ok(receiver)
}

/// Runs the loop until the source ends. Where another model is offered, it takes the next frame, and
/// `use_model` tells the publisher.
fn carry_frames<P: Publisher>(
    running: &mut Running<P>,
    use_model: impl Fn(&mut P, &Ready),
) -> Result<(), Fault> {
    let Running { frames, scene, ready, exchange, publisher, clock, counters } = running;
    let mut pipeline = Pipeline::new(ready.session.spec().clone());
    loop {
        let mut frames = Interruptible { frames: frames.as_mut(), exchange, has_ended: false };
        let mut edges = Edges {
            source: &mut frames,
            session: ready.session.as_mut(),
            publisher: &mut *publisher,
            clock: clock.as_ref(),
        };
        let outcome = pipeline.run(&mut edges, scene.as_ref(), &ready.limits, counters);
        let is_changed = match outcome {
            Ok(()) if frames.has_ended => return Ok(()),
            Ok(()) => exchange.swap(ready),
            // A model on trial that cannot be run costs this frame alone.
            Err(Fault::Inference(error)) if exchange.go_back(ready, &error) => true,
            Err(fault) => return Err(fault),
        };
        if is_changed {
            pipeline.use_model(ready.session.spec().clone());
            use_model(publisher, ready);
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
        // Recordings are handed on.
        config: magpie_camera::redact(&config.written),
    }
}

/// Completes at SIGTERM, which systemd sends, or at SIGINT, which a terminal sends. From the call on
/// neither ends the process by itself.
pub fn asked_to_stop() -> Result<impl Future<Output = ()> + Send + 'static, Failure> {
    // Handlers and what they have heard are the process's, whichever runtime looks at them.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.map_err(Failure::fault)?;
    let _context = runtime.enter();
    let listen = |kind| signal(kind).map_err(Failure::fault);
    let (mut terminate, mut interrupt) =
        (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::{Receiver, sync_channel};

    use magpie_perception::{
        BgrImage, Frame, FrameReport, InferenceError, InputMut, ModelSpec, Outputs, PublishError,
        SourceError, StampNs, StampSource,
    };

    use super::*;
    use crate::health::{Health, Observation};

    /// Frames without end until there were enough; every few of them a model is offered.
    struct Frames {
        clock: SharedClock,
        next: u64,
        count: u64,
        exchange: Arc<Exchange>,
        offer: Option<Box<Ready>>,
        every: u64,
    }

    impl FrameSource for Frames {
        fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
            if self.next == self.count {
                return Ok(None);
            }
            if self.next > 0 && self.next.is_multiple_of(self.every) {
                let kept = self.exchange.take_outgoing();
                if let Some(offer) = kept.or_else(|| self.offer.take()) {
                    self.exchange.offer(offer);
                }
            }
            let color = BgrImage::new(64, 48, vec![90; 64 * 48 * 3]).unwrap();
            let (sequence, stamp) = (self.next, self.clock.now());
            self.next += 1;
            let stamp_source = StampSource::Exposure;
            Ok(Some(Frame { sequence, stamp, stamp_source, color, depth: None }))
        }
    }

    /// Which model each frame's result says it is of.
    struct Results {
        model: String,
        seen: Vec<(u64, String)>,
    }

    impl Publisher for Results {
        fn publish(&mut self, frame: &Frame, _report: &FrameReport) -> Result<(), PublishError> {
            self.seen.push((frame.sequence, self.model.clone()));
            Ok(())
        }
    }

    fn ready(config: &Config, name: &str) -> Box<Ready> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/tests/data");
        let file = ModelFile::read(&folder.join(name), None).unwrap();
        Box::new(Ready::new(config, None, model::load(&file, &config.session).unwrap()))
    }

    /// A model whose runs fail.
    struct Broken(Box<dyn InferenceSession + Send>);

    impl InferenceSession for Broken {
        fn spec(&self) -> &ModelSpec {
            self.0.spec()
        }

        fn input(&mut self) -> InputMut<'_> {
            self.0.input()
        }

        fn run(&mut self) -> Result<Outputs<'_>, InferenceError> {
            let (model, source) = (self.spec().name.clone(), "out of memory".into());
            Err(InferenceError { model, provider: "cpu", source })
        }
    }

    /// A model that answers so many times, and then hangs until it is let go.
    struct Hanging {
        session: Box<dyn InferenceSession + Send>,
        runs: u64,
        until: Receiver<()>,
    }

    impl InferenceSession for Hanging {
        fn spec(&self) -> &ModelSpec {
            self.session.spec()
        }

        fn input(&mut self) -> InputMut<'_> {
            self.session.input()
        }

        fn run(&mut self) -> Result<Outputs<'_>, InferenceError> {
            if self.runs == 0 {
                self.until.recv().unwrap();
                self.runs = u64::MAX;
            }
            self.runs -= 1;
            self.session.run()
        }
    }

    fn broken(mut ready: Box<Ready>) -> Box<Ready> {
        ready.session = Box::new(Broken(ready.session));
        ready
    }

    fn config() -> Config {
        let limits = "[limits]\nframe_age_ms_max = 60000\n[model]\nthreads = 1";
        Config::parse(Path::new("magpie.toml"), limits).unwrap()
    }

    struct Ran {
        outcome: Result<(), Fault>,
        seen: Vec<(u64, String)>,
        failure: Option<String>,
    }

    fn run_with(present: Box<Ready>, offered: Box<Ready>, count: u64, every: u64) -> Ran {
        let (clock, exchange) = (SystemClock::start(), Arc::new(Exchange::default()));
        let frames = Frames {
            clock: Arc::clone(&clock),
            next: 0,
            count,
            exchange: Arc::clone(&exchange),
            offer: Some(offered),
            every,
        };
        let name = |ready: &Ready| ready.identities.model_name.clone();
        let publisher = Results { model: name(&present), seen: Vec::new() };
        let counters = Arc::new(Counters::default());
        let mut running = Running {
            frames: Box::new(frames),
            scene: None,
            ready: present,
            exchange: Arc::clone(&exchange),
            publisher,
            clock,
            counters,
        };
        let outcome = carry_frames(&mut running, |results, ready| results.model = name(ready));
        Ran { outcome, seen: running.publisher.seen, failure: exchange.take_failure() }
    }

    #[test]
    fn a_hundred_changes_lose_no_frame_and_each_result_names_its_model() {
        let config = config();
        let [present, offered] =
            ["tiny_bgr8.onnx", "tiny_rgb_f32.onnx"].map(|name| ready(&config, name));
        let Ran { outcome, seen, .. } = run_with(present, offered, 1010, 10);
        outcome.unwrap();
        let sequences: Vec<u64> = seen.iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(sequences, (0..1010).collect::<Vec<_>>());
        let changes = seen.windows(2).filter(|two| two[0].1 != two[1].1).count();
        assert_eq!(changes, 100);
        // The frame in hand when the model was offered is the last of the one before.
        assert_eq!((seen[10].1.as_str(), seen[11].1.as_str()), ("tiny_bgr8", "tiny_rgb_f32"));
    }

    #[test]
    fn a_model_that_cannot_be_run_costs_one_frame_and_the_one_before_goes_on() {
        let config = config();
        let present = ready(&config, "tiny_bgr8.onnx");
        let offered = broken(ready(&config, "tiny_rgb_f32.onnx"));
        let Ran { outcome, seen, failure } = run_with(present, offered, 20, 10);
        outcome.unwrap();
        let missing: Vec<u64> =
            (0..20).filter(|sequence| seen.iter().all(|(seen, _)| seen != sequence)).collect();
        assert_eq!(missing, [11]);
        assert!(seen.iter().all(|(_, model)| model == "tiny_bgr8"), "{seen:?}");
        assert_eq!(failure.unwrap(), "run tiny_rgb_f32 on cpu: out of memory");
    }

    #[test]
    fn a_model_that_hangs_is_told_until_it_goes_on() {
        let (let_go, until) = sync_channel(1);
        let mut present = ready(&config(), "tiny_bgr8.onnx");
        present.session = Box::new(Hanging { session: present.session, runs: 20, until });
        let (clock, exchange) = (SystemClock::start(), Arc::new(Exchange::default()));
        let counters = Arc::new(Counters::default());
        let frames = Frames {
            clock: Arc::clone(&clock),
            next: 0,
            count: 40,
            exchange: Arc::clone(&exchange),
            offer: None,
            every: 1000,
        };
        let mut running = Running {
            frames: Box::new(frames),
            scene: None,
            ready: present,
            exchange,
            publisher: Results { model: String::new(), seen: Vec::new() },
            clock,
            counters: Arc::clone(&counters),
        };
        let (mut health, mut looks) = (Health::default(), 0);
        let mut look = || {
            looks += 1;
            let at = StampNs(looks * 100_000_000);
            let seen = Observation { at, counters: counters.snapshot(), ..Default::default() };
            let status = health.judge(&seen);
            status.reasons.iter().any(|reason| reason.code() == "results_stopped")
        };
        std::thread::scope(|scope| {
            let running = scope.spawn(|| carry_frames(&mut running, |_, _| ()));
            while counters.snapshot().frames <= 20 {
                std::thread::yield_now();
            }
            assert!(!(0..10).any(|_| look()));
            assert!((0..10).any(|_| look()), "a second has passed");
            let_go.send(()).unwrap();
            running.join().unwrap().unwrap();
            assert!(!look());
        });
    }

    #[test]
    fn a_model_that_cannot_be_run_ends_the_run_where_there_is_none_before_it() {
        let config = config();
        let present = broken(ready(&config, "tiny_bgr8.onnx"));
        let Ran { outcome, seen, .. } =
            run_with(present, ready(&config, "tiny_rgb_f32.onnx"), 20, 10);
        assert!(matches!(outcome, Err(Fault::Inference(_))), "{outcome:?}");
        assert!(seen.is_empty());
    }
}

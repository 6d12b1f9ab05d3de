//! One model on one execution provider, its buffers made and bound once.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use magpie_perception::{
    InferenceError, InferenceSession, InputForm, InputMut, ModelSpec, OutputLayout, Outputs,
    Provider,
};
use ort::environment::Environment;
use ort::memory::Allocator;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{IoBinding, Session};
use ort::value::Tensor;

use crate::floats::Floats;
use crate::library::{LibraryError, environment};
use crate::model_file::ModelFile;
use crate::placement::{Placement, ProfileError, read_placement};
use crate::provider::{engine_cache_folder, registrations, remedy};
use crate::time_limit::{Outcome, Stop, within};

/// How a model is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOptions {
    /// The providers in the order in which they are wanted.
    pub providers: Vec<Provider>,
    /// Whether a later provider of the list may run the model when an earlier one cannot.
    pub allow_fallback: bool,
    /// How many threads share one operator, the caller's among them; `None` is one per core.
    pub threads: Option<NonZeroUsize>,
    /// Whether idle threads wait busily for the next operator, and for a while after the last one:
    /// what follows a run then finds its core taken.
    pub spinning: bool,
    /// How many runs on noise come before the session is handed out; at least one is made.
    pub warm_up_runs: usize,
    /// Where TensorRT keeps its engines; building one takes minutes.
    pub engine_cache: Option<PathBuf>,
    /// Loading and warming up may take this long, on all providers together.
    pub load_max: Duration,
}

impl Default for SessionOptions {
    fn default() -> SessionOptions {
        SessionOptions {
            providers: vec![Provider::Cpu],
            allow_fallback: false,
            threads: None,
            spinning: false,
            warm_up_runs: 3,
            engine_cache: None,
            load_max: Duration::from_secs(60),
        }
    }
}

/// Why no session came about.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("no execution provider is named to run the model on; name at least cpu")]
    NoProviderAsked,
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The provider is not there, or cannot take this model.
    #[error("run {model} on {provider}; {remedy}")]
    Provider { model: String, provider: Provider, remedy: &'static str, source: ort::Error },
    /// The provider is there, but the CPU does its work.
    #[error(
        "run {model} on {provider}, which took {on_provider} of {nodes} nodes and left \
         {on_cpu} to the cpu; ask for cpu, or export the model with operators that {provider} has"
    )]
    Unused { model: String, provider: Provider, nodes: usize, on_provider: usize, on_cpu: usize },
    #[error(
        "load {model} within {} s: it may loop for ever; export it again, or allow it more time",
        load_max.as_secs_f64()
    )]
    TooSlow { model: String, load_max: Duration },
    #[error("load {model}: nobody waits for it any more")]
    Unwanted { model: String },
    #[error("start a thread to load {model}")]
    Thread { model: String, source: std::io::Error },
    #[error("start {model}, which ONNX Runtime refuses; export it again")]
    Refused { model: String, source: ort::Error },
    #[error("run the model on noise, to warm it up")]
    WarmUp(#[from] InferenceError),
    #[error("{model} on {provider} gives {output} that are not finite; its weights are broken")]
    NotFinite { model: String, provider: Provider, output: &'static str },
    #[error("prepare the engine cache in {folder}; make it writable or choose another")]
    EngineCache { folder: PathBuf, source: std::io::Error },
    #[error(
        "find out on which provider {model} runs, by a profile in the temporary folder; see that it \
         exists and has room"
    )]
    Profile { model: String, source: ProfileError },
}

impl SessionError {
    /// Whether it may pass by itself: no room in the temporary folder, a device without free memory,
    /// a machine that is busy.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            SessionError::Profile { .. }
                | SessionError::EngineCache { .. }
                | SessionError::WarmUp(_)
                | SessionError::TooSlow { .. }
                | SessionError::Unwanted { .. }
                | SessionError::Thread { .. }
        )
    }

    /// Whether another provider might do better.
    fn is_provider_fault(&self) -> bool {
        matches!(
            self,
            SessionError::Provider { .. }
                | SessionError::Unused { .. }
                | SessionError::WarmUp(_)
                | SessionError::NotFinite { .. }
        )
    }
}

/// A model that has run on the provider it names.
#[derive(Debug)]
pub struct OnnxSession {
    spec: ModelSpec,
    session: Session,
    binding: IoBinding,
    input_name: String,
    input: Input,
    predictions: Floats,
    prototypes: Floats,
    provider: Provider,
    placement: Placement,
    fallback_reason: Option<String>,
    /// While it is loaded: ends a run that takes too long.
    stop: Option<Stop>,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "it found class {class_id}, and `names` has {classes}, counted from 0; make `names` those of the \
     training"
)]
struct UnnamedClass {
    class_id: f32,
    classes: usize,
}

#[derive(Debug)]
enum Input {
    Bgr8Nhwc(Tensor<u8>),
    RgbF32Nchw(Floats),
}

impl OnnxSession {
    /// Tries the providers in order and warms the model up, within [`SessionOptions::load_max`].
    pub fn load(model: &ModelFile, options: &SessionOptions) -> Result<OnnxSession, SessionError> {
        OnnxSession::load_while(model, options, &|| true)
    }

    /// Does the same while `is_wanted` says that somebody waits for it.
    pub fn load_while(
        model: &ModelFile,
        options: &SessionOptions,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<OnnxSession, SessionError> {
        let environment = environment()?;
        let (file, asked) = (model.clone(), options.clone());
        let load = move |stop| OnnxSession::load_until_stopped(&environment, &file, &asked, &stop);
        let model = model.spec().name.clone();
        match within(options.load_max, is_wanted, load) {
            Outcome::Done(loaded) => loaded,
            Outcome::TookTooLong => {
                Err(SessionError::TooSlow { model, load_max: options.load_max })
            }
            Outcome::Unwanted => Err(SessionError::Unwanted { model }),
            Outcome::NotStarted(source) => Err(SessionError::Thread { model, source }),
            Outcome::NoOptions(source) => Err(SessionError::Refused { model, source }),
        }
    }

    fn load_until_stopped(
        environment: &Environment,
        model: &ModelFile,
        options: &SessionOptions,
        stop: &Stop,
    ) -> Result<OnnxSession, SessionError> {
        let mut reasons = Vec::new();
        let mut first_error = SessionError::NoProviderAsked;
        for &provider in &options.providers {
            match OnnxSession::start(environment, model, provider, options, stop) {
                Ok(mut session) => {
                    session.stop = None;
                    session.fallback_reason = (!reasons.is_empty()).then(|| reasons.join("; "));
                    return Ok(session);
                }
                Err(err)
                    if options.allow_fallback && err.is_provider_fault() && !stop.is_asked() =>
                {
                    reasons.push(in_one_line(&err));
                    if reasons.len() == 1 {
                        first_error = err;
                    }
                }
                Err(err) => return Err(err),
            }
        }
        Err(first_error)
    }

    /// Returns the provider that really runs the model.
    pub fn provider(&self) -> Provider {
        self.provider
    }

    /// Returns how much of the model the provider runs, measured in a run on noise.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// Says why an earlier provider of the list does not run the model; `None` if the first one
    /// does.
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback_reason.as_deref()
    }

    fn start(
        environment: &Environment,
        model: &ModelFile,
        provider: Provider,
        options: &SessionOptions,
        stop: &Stop,
    ) -> Result<OnnxSession, SessionError> {
        let scratch =
            tempfile::Builder::new().prefix("magpie-profile-").tempdir().map_err(|source| {
                SessionError::Profile {
                    model: model.spec().name.clone(),
                    source: ProfileError::Folder { folder: std::env::temp_dir(), source },
                }
            })?;
        let start = |profile: bool| {
            let mut builder = build(environment, model, provider, options, scratch.path())?;
            let start = || {
                if profile {
                    // It complains of a profile without a model when it is told to stop while it
                    // loads. What else it has to say, it says again without a profile, or as an error.
                    builder = builder.with_log_level(ort::logging::LogLevel::Fatal)?;
                    builder = builder.with_profiling(scratch.path().join("run"))?;
                }
                stop.cover(builder.canceler());
                let session = builder.commit_from_memory(model.bytes())?;
                let mut session = OnnxSession::bind(session, model, provider)?;
                session.stop = Some(stop.clone());
                Ok(session)
            };
            start().map_err(|source| refused(model, provider, source))
        };
        let placement = start(true)?.profile()?;
        // A session that was profiled once keeps notes of every run, 85 bytes each (measured with
        // ONNX Runtime 1.31.1), for as long as it lives.
        let mut session = start(false)?;
        session.placement = placement;
        session.warm_up(options.warm_up_runs)?;
        Ok(session)
    }

    fn bind(session: Session, model: &ModelFile, provider: Provider) -> ort::Result<OnnxSession> {
        let ports = model.ports();
        let allocator = Allocator::default();
        let image_shape = ports.image.shape.as_slice();
        let input = match model.spec().input_form {
            InputForm::Bgr8Nhwc => Input::Bgr8Nhwc(Tensor::new(&allocator, image_shape)?),
            InputForm::RgbF32Nchw => Input::RgbF32Nchw(Floats::new(&allocator, &ports.image)?),
        };
        let mut predictions = Floats::new(&allocator, &ports.predictions)?;
        let mut prototypes = Floats::new(&allocator, &ports.prototypes)?;
        let mut binding = session.create_binding()?;
        predictions.bind_output(&mut binding, &ports.predictions.name)?;
        prototypes.bind_output(&mut binding, &ports.prototypes.name)?;
        input.bind(&mut binding, &ports.image.name)?;
        Ok(OnnxSession {
            spec: model.spec().clone(),
            session,
            binding,
            input_name: ports.image.name.clone(),
            input,
            predictions,
            prototypes,
            provider,
            placement: Placement { provider, nodes: 0, nodes_on_provider: 0, nodes_on_cpu: 0 },
            fallback_reason: None,
            stop: None,
        })
    }

    /// Runs on noise under ONNX Runtime's profiler, and tells where the model ran.
    fn profile(mut self) -> Result<Placement, SessionError> {
        self.fill_with_noise();
        self.run()?;
        let placement = self.end_profile()?;
        if placement.is_real() {
            return Ok(placement);
        }
        Err(SessionError::Unused {
            model: self.spec.name.clone(),
            provider: self.provider,
            nodes: placement.nodes,
            on_provider: placement.nodes_on_provider,
            on_cpu: placement.nodes_on_cpu,
        })
    }

    /// Runs on noise, and looks at the outputs.
    fn warm_up(&mut self, runs: usize) -> Result<(), SessionError> {
        self.fill_with_noise();
        for _ in 0..runs.max(1) {
            self.run()?;
        }
        self.check_finite()?;
        self.warn_of_lost_scores();
        Ok(())
    }

    /// A sigmoid is never 0. Whoever quantizes boxes, up to hundreds of pixels, and scores as one tensor
    /// rounds all scores to that.
    fn warn_of_lost_scores(&self) {
        let [_, anchors] = self.spec.predictions_shape;
        let classes = self.spec.class_names.len();
        let is_lost = match self.spec.output_layout {
            OutputLayout::YoloSeg => {
                let scores = &self.predictions.values()[4 * anchors..(4 + classes) * anchors];
                scores.iter().all(|score| *score == 0.0)
            }
            OutputLayout::YoloSegEndToEnd => false,
        };
        if is_lost {
            tracing::warn!(
                "{} gives every score as 0, so nothing is found: boxes and scores were quantized \
                 together; leave the nodes that join them out (`nodes_to_exclude`)",
                self.spec.name
            );
        }
    }

    fn end_profile(&mut self) -> Result<Placement, SessionError> {
        let path = self.session.end_profiling().map_err(|err| self.inference_error(err))?;
        read_placement(path.as_ref(), self.provider)
            .map_err(|source| SessionError::Profile { model: self.spec.name.clone(), source })
    }

    fn check_finite(&self) -> Result<(), SessionError> {
        let outputs = [("predictions", &self.predictions), ("prototypes", &self.prototypes)];
        for (output, tensor) in outputs {
            if !tensor.values().iter().all(|value| value.is_finite()) {
                let (model, provider) = (self.spec.name.clone(), self.provider);
                return Err(SessionError::NotFinite { model, provider, output });
            }
        }
        Ok(())
    }

    /// Fills the input with the same noise every time, by a linear congruential generator
    /// (Numerical Recipes' constants).
    fn fill_with_noise(&mut self) {
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        match self.input() {
            InputMut::Bgr8Nhwc(values) => values.fill_with(noise),
            InputMut::RgbF32Nchw(values) => values.fill_with(|| f32::from(noise()) / 255.0),
        }
    }

    fn run_bound(&mut self) -> ort::Result<()> {
        if let Input::RgbF32Nchw(floats) = &mut self.input {
            floats.hand_over();
        }
        if self.provider != Provider::Cpu {
            // Binding is what copies an input to another device.
            self.input.bind(&mut self.binding, &self.input_name)?;
        }
        match &self.stop {
            Some(stop) => {
                self.session.run_binding_with_options(&self.binding, stop.run_options())?;
            }
            None => {
                self.session.run_binding(&self.binding)?;
            }
        }
        if self.provider != Provider::Cpu {
            self.binding.synchronize_outputs()?;
        }
        self.predictions.take_over();
        self.prototypes.take_over();
        Ok(())
    }

    /// How many classes a model knows shows in the shape of its predictions, or else only in them.
    fn check_classes(&self) -> Result<(), InferenceError> {
        let classes = self.spec.class_names.len();
        let [_, length] = self.spec.predictions_shape;
        let unnamed = |row: &&[f32]| row[4] > 0.0 && !(0.0..classes as f32).contains(&row[5]);
        let stray = match self.spec.output_layout {
            OutputLayout::YoloSeg => None,
            OutputLayout::YoloSegEndToEnd => {
                self.predictions.values().chunks_exact(length).find(unnamed)
            }
        };
        stray.map_or(Ok(()), |row| {
            Err(InferenceError {
                model: self.spec.name.clone(),
                provider: self.provider.name(),
                source: Box::new(UnnamedClass { class_id: row[5], classes }),
            })
        })
    }

    fn inference_error(&self, source: ort::Error) -> InferenceError {
        InferenceError {
            model: self.spec.name.clone(),
            provider: self.provider.name(),
            source: source.into(),
        }
    }
}

impl InferenceSession for OnnxSession {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn input(&mut self) -> InputMut<'_> {
        match &mut self.input {
            Input::Bgr8Nhwc(tensor) => InputMut::Bgr8Nhwc(tensor.extract_tensor_mut().1),
            Input::RgbF32Nchw(floats) => InputMut::RgbF32Nchw(floats.values_mut()),
        }
    }

    fn run(&mut self) -> Result<Outputs<'_>, InferenceError> {
        self.run_bound().map_err(|err| self.inference_error(err))?;
        self.check_classes()?;
        Ok(Outputs::new(&self.spec, self.predictions.values(), self.prototypes.values()))
    }
}

impl Input {
    /// Binds the tensor as the model's input. On the CPU, later changes to it are seen without
    /// binding again.
    fn bind(&self, binding: &mut IoBinding, name: &str) -> ort::Result<()> {
        match self {
            Input::Bgr8Nhwc(tensor) => binding.bind_input(name, tensor),
            Input::RgbF32Nchw(floats) => floats.bind_input(binding, name),
        }
    }
}

fn build(
    environment: &Environment,
    model: &ModelFile,
    provider: Provider,
    options: &SessionOptions,
    scratch: &Path,
) -> Result<SessionBuilder, SessionError> {
    let engine_cache = engine_cache(model, provider, options, scratch)?;
    if provider == Provider::TensorRt {
        tracing::info!(model = model.spec().name, "TensorRT builds its engine: this takes minutes");
    }
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let build = || -> ort::Result<SessionBuilder> {
        Ok(Session::builder(environment)?
            .with_log_level(ort::logging::LogLevel::Warning)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(options.threads.unwrap_or_else(cores).get())?
            .with_intra_op_spinning(options.spinning)?
            .with_memory_pattern(true)?
            .with_deterministic_compute(true)?
            .with_execution_providers(registrations(provider, engine_cache.as_deref()))?)
    };
    build().map_err(|source| refused(model, provider, source))
}

/// Makes the folder for this model's engines. Without a lasting one it is in `scratch`: the engine
/// is asked for twice, and building it takes minutes.
fn engine_cache(
    model: &ModelFile,
    provider: Provider,
    options: &SessionOptions,
    scratch: &Path,
) -> Result<Option<PathBuf>, SessionError> {
    if provider != Provider::TensorRt {
        return Ok(None);
    }
    let root = options.engine_cache.as_deref().unwrap_or(scratch);
    let folder = engine_cache_folder(root, &model.spec().sha256, ort::info());
    match std::fs::create_dir_all(&folder) {
        Ok(()) => Ok(Some(folder)),
        Err(source) => Err(SessionError::EngineCache { folder, source }),
    }
}

fn refused(model: &ModelFile, provider: Provider, source: ort::Error) -> SessionError {
    let model = model.spec().name.clone();
    match provider {
        Provider::Cpu => SessionError::Refused { model, source },
        provider => {
            let remedy = remedy(provider, source.message());
            SessionError::Provider { model, provider, remedy, source }
        }
    }
}

/// Writes the error and its causes on one line, as status shows them.
fn in_one_line(err: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(err), |err| err.source());
    let lines = causes.map(|err| err.to_string().replace('\n', " "));
    lines.collect::<Vec<_>>().join(": ")
}

//! Changes the model of a running cell, watches it for a while, and goes back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use magpie_inference::ModelFile;
use magpie_perception::{Counters, Provider, Scene, SharedClock};
use magpie_wire::Reason;

use super::exchange::{Exchange, Ready};
use super::findings::Findings;
use super::rule::{History, Sample, Trial, Verdict};
use super::selection::{CONFIGURED, Selection};
use super::store::Store;
use crate::config::Config;
use crate::failure::{Failure, one_line};
use crate::model::{self, load_scheduled};

/// How long the loop has to take a model that is ready: some frames of a slow camera.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);
/// How long the end of a run waits for a change of the model.
const FINISH_MAX: Duration = Duration::from_secs(2);
const TAKEN_POLL: Duration = Duration::from_millis(5);

/// The model that a run starts with, and what is written down about it.
pub(crate) fn in_use_at_start(config: &Config) -> Result<(ModelFile, Selection), Failure> {
    let configured = model::chosen(None, config)?;
    let sha256 = configured.spec().sha256.clone();
    let store = Store::new(&config.model_store);
    let as_configured = Selection::of_configuration(&sha256);
    let mut selection = match Selection::read(store.folder(), &config.cell) {
        Ok(Some(selection)) if selection.configured == sha256 => selection,
        Ok(Some(_)) => {
            tracing::info!("the configuration names another model than before, and that is used");
            as_configured
        }
        Ok(None) => as_configured,
        Err(error) => {
            let path = Selection::path(store.folder(), &config.cell);
            let why = format!(
                "which model was in use cannot be read from {}: {error}; the configured one runs",
                path.display()
            );
            Selection { rolled_back: Some(why), ..as_configured }
        }
    };
    if selection.on_trial {
        let given_up = short(&selection.in_use).to_owned();
        selection.roll_back(Some(format!(
            "model {given_up} was given up: the daemon ended while it was on trial"
        )));
        note(&selection, &store, config);
    }
    if selection.in_use == sha256 {
        return Ok((configured, selection));
    }
    match store.find(&selection.in_use).and_then(|installed| store.read(&installed)) {
        Ok(model) => Ok((model, selection)),
        Err(error) => {
            selection.roll_back(Some(format!(
                "model {} was in use and cannot be read: {}; the configured one runs",
                short(&selection.in_use),
                one_line(&error.into())
            )));
            selection.in_use = sha256;
            Ok((configured, selection))
        }
    }
}

/// The model that a cell of this configuration uses, or would use.
pub fn present(config: &Config) -> Result<ModelFile, Failure> {
    let configured = model::chosen(None, config)?;
    let sha256 = &configured.spec().sha256;
    let store = Store::new(&config.model_store);
    let selection = Selection::read(store.folder(), &config.cell).ok().flatten();
    let in_use = selection.filter(|s| s.configured == *sha256 && s.in_use != *sha256);
    let Some(selection) = in_use else { return Ok(configured) };
    let installed = store.find(&selection.in_use).and_then(|installed| store.read(&installed));
    Ok(installed.unwrap_or(configured))
}

/// What cannot be written down holds until the process ends.
fn note(selection: &Selection, store: &Store, config: &Config) {
    if let Err(error) = selection.write(store.folder(), &config.cell) {
        let folder = store.folder().display();
        tracing::error!("note which model is in use in {folder}: {error}");
    }
}

fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}

pub(crate) struct ModelsOptions {
    pub(crate) config: Config,
    pub(crate) scene: Option<Scene>,
    pub(crate) clock: SharedClock,
    pub(crate) counters: Arc<Counters>,
    pub(crate) findings: Arc<Findings>,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) selection: Selection,
    pub(crate) in_use: InUse,
}

/// The model that the loop has, by its names.
#[derive(Clone, Debug)]
pub(crate) struct InUse {
    name: String,
    sha256: String,
    provider: Provider,
}

impl InUse {
    pub(crate) fn of(ready: &Ready) -> InUse {
        let identities = &ready.identities;
        InUse {
            name: identities.model_name.clone(),
            sha256: identities.model_sha256.clone(),
            provider: identities.provider_got,
        }
    }

    fn named(&self) -> String {
        format!("{} ({})", self.name, short(&self.sha256))
    }
}

/// The models of a running cell.
pub(crate) struct Models {
    config: Config,
    store: Store,
    scene: Option<Scene>,
    clock: SharedClock,
    counters: Arc<Counters>,
    findings: Arc<Findings>,
    exchange: Arc<Exchange>,
    state: Mutex<State>,
    /// One change at a time.
    is_changing: AtomicBool,
}

struct State {
    selection: Selection,
    in_use: InUse,
    /// The one before, while it can be gone back to without loading it.
    before: Option<InUse>,
    trial: Option<Trial>,
    history: History,
    /// The loop takes another model; what loads meanwhile is no matter.
    is_handing_over: bool,
}

/// The loop did not take a model, which is here again.
struct NotTaken {
    why: anyhow::Error,
    model: Option<Box<Ready>>,
}

/// Ends a change, however it went.
struct Changing<'a>(&'a Models);

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.0.state().is_handing_over = false;
        self.0.is_changing.store(false, Ordering::Release);
    }
}

impl Models {
    pub(crate) fn new(options: ModelsOptions) -> Models {
        let ModelsOptions { config, scene, clock, counters, findings, exchange, selection, in_use } =
            options;
        let history = History::default();
        let state =
            State { selection, in_use, before: None, trial: None, history, is_handing_over: false };
        Models {
            store: Store::new(&config.model_store),
            config,
            scene,
            clock,
            counters,
            findings,
            exchange,
            state: Mutex::new(state),
            is_changing: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_change(&self) -> Result<Changing<'_>, anyhow::Error> {
        if self.is_changing.swap(true, Ordering::AcqRel) {
            return Err(anyhow!(
                "another change of the model is under way; try again when it is done"
            ));
        }
        Ok(Changing(self))
    }

    /// Uses an installed model from the next frame on. Blocks until the loop has it.
    pub(crate) fn use_model(&self, wanted: &str) -> Result<String, anyhow::Error> {
        let _changing = self.begin_change()?;
        if self.config.model_sha256.is_some() {
            return Err(anyhow!(
                "the configuration demands one model by its hash; take model.sha256 out first"
            ));
        }
        let model = self.wanted(wanted)?;
        let sha256 = model.spec().sha256.clone();
        let present = self.state().in_use.clone();
        if present.sha256 == sha256 {
            self.acknowledge();
            return Ok(format!("{} is in use already", present.named()));
        }
        self.refuse_during_a_trial()?;
        let ready = self.load(&model, present.provider)?;
        // It took a while, in which a trial may have failed.
        let (present, before) = {
            let mut state = self.state();
            state.is_handing_over = true;
            (state.in_use.clone(), state.selection.clone())
        };
        if present.sha256 == sha256 {
            return Ok(format!("{} is in use again already", present.named()));
        }
        let selection = Selection {
            in_use: sha256,
            previous: Some(present.sha256.clone()),
            on_trial: true,
            rolled_back: None,
            ..before.clone()
        };
        // The loop must not be the one to let it go.
        let kept = self.exchange.take_outgoing();
        // That of a model before: from here on the loop has nothing to go back to.
        self.exchange.take_failure();
        let now = match self.take(ready, selection, before) {
            Ok(now) => now,
            Err(NotTaken { why, .. }) => {
                self.exchange.keep(kept);
                return Err(why);
            }
        };
        drop(kept);
        let mut state = self.state();
        let sample = self.sample();
        let trial = Trial::begin(&state.history, sample, self.config.model_store.trial);
        let blind_spot = trial.blind_spot();
        state.trial = Some(trial);
        state.before = Some(present.clone());
        state.history = History::default();
        drop(state);
        let trial_s = self.config.model_store.trial.as_secs();
        tracing::info!(model = now.name, sha256 = now.sha256, trial_s, "another model is in use");
        let mut said = format!(
            "{} is in use on {}, on trial for {trial_s} s; {} is kept",
            now.named(),
            now.provider,
            present.named()
        );
        if let Some(why) = blind_spot {
            said +=
                &format!("; look yourself whether it finds anything, which is not judged: {why}");
        }
        Ok(said)
    }

    /// What is on trial is not proven: another model would be judged by it, and fall back on it.
    fn refuse_during_a_trial(&self) -> Result<(), anyhow::Error> {
        let state = self.state();
        let Some(trial) = &state.trial else { return Ok(()) };
        let left = match trial.left(self.clock.now()).as_secs() {
            0 => "until it has made enough results".to_owned(),
            left_s => format!("for {left_s} s more"),
        };
        Err(anyhow!(
            "{} is on trial {left}; wait, or give it up first by `magpie model rollback`",
            state.in_use.named()
        ))
    }

    /// Uses the model before. Blocks until the loop has it.
    pub(crate) fn roll_back(&self) -> Result<String, anyhow::Error> {
        let _changing = self.begin_change()?;
        let (before, present) = {
            let mut state = self.state();
            state.is_handing_over = true;
            (state.selection.clone(), state.in_use.clone())
        };
        let Some(previous) = before.previous.clone() else {
            return Err(anyhow!(
                "{} has no model before it to go back to; `magpie model use` names one",
                present.named()
            ));
        };
        let kept = self.exchange.take_outgoing();
        self.exchange.take_failure();
        let ready = match kept.filter(|kept| kept.identities.model_sha256 == previous) {
            Some(kept) => kept,
            None => self.load(&self.wanted(&previous)?, present.provider)?,
        };
        let mut selection = before.clone();
        selection.roll_back(None);
        let now = match self.take(ready, selection, before) {
            Ok(now) => now,
            Err(NotTaken { why, model }) => {
                self.exchange.keep(model);
                return Err(why);
            }
        };
        let mut state = self.state();
        state.history = History::after(state.trial.take().and_then(|trial| trial.before()));
        state.before = None;
        drop(state);
        drop(self.exchange.take_outgoing());
        tracing::info!(model = now.name, sha256 = now.sha256, "the model before is in use again");
        Ok(format!("{} is in use again; {} was given up", now.named(), present.named()))
    }

    /// Somebody has seen what status says.
    fn acknowledge(&self) {
        let mut state = self.state();
        if state.selection.rolled_back.take().is_some() {
            note(&state.selection, &self.store, &self.config);
        }
    }

    fn wanted(&self, wanted: &str) -> Result<ModelFile, anyhow::Error> {
        if wanted == CONFIGURED || wanted == self.state().selection.configured {
            return model::chosen(None, &self.config).map_err(|failure| anyhow!(failure.message()));
        }
        let read = |installed| self.store.read(&installed);
        Ok(self.store.find(wanted).and_then(read)?)
    }

    /// Loads and warms it up, while the loop goes on with the other one.
    fn load(&self, model: &ModelFile, present: Provider) -> Result<Box<Ready>, anyhow::Error> {
        let session = load_scheduled(model, &self.config);
        let session = session.map_err(|failure| anyhow!(failure.message()))?;
        let ready = Ready::new(&self.config, self.scene.as_ref(), session);
        let got = ready.identities.provider_got;
        if got == present {
            return Ok(Box::new(ready));
        }
        let name = &ready.identities.model_name;
        Err(anyhow!("{name} would run on {got}, and the present model runs on {present}"))
    }

    /// Writes the selection down first: what a process does not survive must not come back with the
    /// next one.
    fn take(
        &self,
        ready: Box<Ready>,
        selection: Selection,
        before: Selection,
    ) -> Result<InUse, NotTaken> {
        let folder = self.store.folder();
        if let Err(error) = selection.write(folder, &self.config.cell) {
            let folder = folder.display();
            let why = anyhow!(
                "nothing was changed: note which model is in use in {folder}: {error}; the daemon's user \
                 must be able to write there"
            );
            return Err(NotTaken { why, model: Some(ready) });
        }
        let now = InUse::of(&ready);
        self.exchange.offer(ready);
        let began = self.clock.now();
        while self.exchange.is_waiting() {
            let waited = Duration::from_nanos(self.clock.now().since_ns(began));
            if waited > TAKEN_WITHIN
                && let Some(model) = self.exchange.withdraw()
            {
                note(&before, &self.store, &self.config);
                let why = anyhow!(
                    "nothing was changed: no frame came for {} s; see what the camera does",
                    TAKEN_WITHIN.as_secs()
                );
                return Err(NotTaken { why, model: Some(model) });
            }
            std::thread::sleep(TAKEN_POLL);
        }
        let mut state = self.state();
        state.selection = selection;
        state.in_use = now.clone();
        Ok(now)
    }

    fn sample(&self) -> Sample {
        let counters = self.counters.snapshot();
        Sample {
            at: self.clock.now(),
            results: counters.results_published,
            packages: self.findings.packages(),
            deadline_misses: counters.deadline_misses,
        }
    }

    /// Looks after a model on trial; ten times a second, and never waits.
    pub(crate) fn supervise(&self) {
        let mut state = self.state();
        if state.is_handing_over {
            return;
        }
        let failure = self.exchange.take_failure();
        let now = self.sample();
        let verdict = match (failure, &state.trial) {
            (Some(why), _) => Verdict::Failed(why),
            (None, Some(trial)) => trial.judge(&now),
            (None, None) => {
                state.history.note(now);
                // The one that was given up.
                let outgoing = self.exchange.take_outgoing();
                drop(state);
                return drop_elsewhere(outgoing);
            }
        };
        match verdict {
            Verdict::GoesOn => {}
            Verdict::Passed => {
                let outgoing = self.exchange.take_outgoing();
                let before = state.before.as_ref().map(|before| &before.sha256);
                let given_up = outgoing.as_ref().map(|model| &model.identities.model_sha256);
                if given_up.is_some() && given_up != before {
                    // The loop has gone back this very moment: the next look says why.
                    return self.exchange.keep(outgoing);
                }
                let unjudged = state.trial.as_ref().and_then(Trial::blind_spot);
                let unjudged =
                    unjudged.map(|why| format!(", but how much it finds was not judged: {why}"));
                let unjudged = unjudged.unwrap_or_default();
                tracing::info!(
                    model = state.in_use.name,
                    "the model has passed its trial{unjudged}"
                );
                let seen = state.trial.take().map(|trial| trial.so_far(&now));
                state.history = History::after(seen);
                state.before = None;
                state.selection.on_trial = false;
                note(&state.selection, &self.store, &self.config);
                drop_elsewhere(outgoing);
            }
            Verdict::Failed(why) => {
                let given_up = state.in_use.named();
                let Some(before) = state.before.take() else {
                    return drop_elsewhere(self.exchange.take_outgoing());
                };
                let why = format!(
                    "model {given_up} was given up for {}: {why}; `magpie model use {}` acknowledges \
                     that",
                    before.named(),
                    short(&before.sha256)
                );
                tracing::error!("{why}");
                // Gone already where the loop went back by itself.
                if self.exchange.has_outgoing_of(&before.sha256)
                    && let Some(kept) = self.exchange.take_outgoing()
                {
                    self.exchange.offer(kept);
                } else {
                    drop_elsewhere(self.exchange.take_outgoing());
                }
                state.history = History::after(state.trial.take().and_then(|trial| trial.before()));
                state.in_use = before;
                state.selection.roll_back(Some(why));
                note(&state.selection, &self.store, &self.config);
            }
        }
    }

    /// An end that somebody asked for is no fault of the model. ONNX Runtime should not be loading
    /// anything while the process ends.
    pub(crate) fn finish(&self) {
        let began = self.clock.now();
        while self.is_changing.load(Ordering::Acquire)
            && Duration::from_nanos(self.clock.now().since_ns(began)) < FINISH_MAX
        {
            std::thread::sleep(TAKEN_POLL);
        }
        let mut state = self.state();
        if std::mem::take(&mut state.selection.on_trial) {
            note(&state.selection, &self.store, &self.config);
        }
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        let why = self.state().selection.rolled_back.clone()?;
        Some(Reason::ModelRolledBack { why })
    }
}

/// Freeing a model takes longer than a moment.
fn drop_elsewhere(model: Option<Box<Ready>>) {
    if let Some(model) = model {
        tokio::task::spawn_blocking(move || drop(model));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use magpie_network::SystemClock;

    use super::*;

    #[test]
    fn during_a_trial_no_other_model_is_taken_and_the_proven_one_stays_in_reach() {
        let folder = tempfile::tempdir().unwrap();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/tests/data");
        let path = data.join("tiny_bgr8.onnx");
        let text = format!("[model]\nthreads = 1\nfolder = \"models\"\npath = {path:?}");
        let config = Config::parse(&folder.path().join("magpie.toml"), &text).unwrap();
        let store = Store::new(&config.model_store);
        for name in ["tiny_rgb_f32", "tiny_half"] {
            let model = ModelFile::read(&data.join(format!("{name}.onnx")), None).unwrap();
            store.install(&model, None).unwrap();
        }
        let (model, selection) = in_use_at_start(&config).unwrap();
        let proven = selection.in_use.clone();
        let mut current =
            Box::new(Ready::new(&config, None, model::load(&model, &config.session).unwrap()));
        let exchange = Arc::new(Exchange::default());
        let models = Models::new(ModelsOptions {
            scene: None,
            clock: SystemClock::start(),
            counters: Arc::default(),
            findings: Arc::default(),
            exchange: Arc::clone(&exchange),
            selection,
            in_use: InUse::of(&current),
            config: config.clone(),
        });
        let has_ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let carry = || {
                while !has_ended.load(Ordering::Relaxed) {
                    exchange.swap(&mut current);
                    std::thread::yield_now();
                }
            };
            let carrier = scope.spawn(carry);
            let first = models.use_model("tiny_rgb_f32");
            let second = ["tiny_half", "configured"].map(|wanted| models.use_model(wanted));
            let same = models.use_model("tiny_rgb_f32");
            let written = Selection::read(store.folder(), &config.cell);
            let back = models.roll_back();
            let after = models.use_model("tiny_half");
            has_ended.store(true, Ordering::Relaxed);
            carrier.join().unwrap();
            let said = first.unwrap();
            assert!(said.contains("not judged: fewer than 20 results"), "{said}");
            for refused in second {
                let why = refused.unwrap_err().to_string();
                assert!(why.contains("tiny_rgb_f32 (") && why.contains("model rollback"), "{why}");
            }
            assert!(same.unwrap().contains("in use already"));
            let written = written.unwrap().unwrap();
            assert_eq!(written.previous.as_deref(), Some(proven.as_str()));
            assert!(written.on_trial);
            assert!(back.unwrap().contains("tiny_bgr8 ("));
            assert!(after.unwrap().contains("tiny_half ("));
        });
    }
}

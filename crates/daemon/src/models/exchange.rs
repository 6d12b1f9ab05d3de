//! Hands the loop another model between two frames.
//!
//! ```text
//!  Models -- incoming --> loop        the next frame goes through it
//!         <-- outgoing --             the one before: to go back to, or to be let go elsewhere
//! ```

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use magpie_inference::OnnxSession;
use magpie_perception::{
    Frame, FrameSource, InferenceError, InferenceSession, Limits, Scene, SourceError,
};
use magpie_wire::Identities;

use crate::config::Config;
use crate::identity;
use crate::record::ModelOrigin;

/// A model that has run, with everything that goes with it.
pub(crate) struct Ready {
    pub(crate) session: Box<dyn InferenceSession + Send>,
    pub(crate) limits: Limits,
    pub(crate) identities: Arc<Identities>,
    /// What recordings say from it on.
    pub(crate) origin: ModelOrigin,
}

impl Ready {
    pub(crate) fn new(config: &Config, scene: Option<&Scene>, session: OnnxSession) -> Ready {
        let limits = config.limits(session.spec().score_min);
        let identities = identity::identities(config, scene, &session);
        let info = identity::recording_info(config, scene, &identities, &limits);
        let origin = ModelOrigin { identities: identities.clone(), info };
        let session = Box::new(session);
        Ready { session, limits, identities: Arc::new(identities), origin }
    }
}

#[derive(Default)]
pub(crate) struct Exchange {
    is_waiting: AtomicBool,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    incoming: Option<Box<Ready>>,
    outgoing: Option<Box<Ready>>,
    /// Why the loop went back to the outgoing model by itself.
    failure: Option<String>,
}

impl Exchange {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop takes it after the frame that it has in hand.
    pub(crate) fn offer(&self, model: Box<Ready>) {
        let mut slots = self.slots();
        slots.incoming = Some(model);
        self.is_waiting.store(true, Ordering::Release);
    }

    /// Whether the loop has not taken it yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.is_waiting.load(Ordering::Acquire)
    }

    /// What was offered and not taken.
    pub(crate) fn withdraw(&self) -> Option<Box<Ready>> {
        let mut slots = self.slots();
        self.is_waiting.store(false, Ordering::Release);
        slots.incoming.take()
    }

    /// The model that the loop had before.
    pub(crate) fn take_outgoing(&self) -> Option<Box<Ready>> {
        self.slots().outgoing.take()
    }

    /// Puts back what [`take_outgoing`](Self::take_outgoing) gave.
    pub(crate) fn keep(&self, model: Option<Box<Ready>>) {
        self.slots().outgoing = model;
    }

    pub(crate) fn has_outgoing_of(&self, sha256: &str) -> bool {
        let slots = self.slots();
        slots.outgoing.as_ref().is_some_and(|ready| ready.identities.model_sha256 == sha256)
    }

    pub(crate) fn take_failure(&self) -> Option<String> {
        self.slots().failure.take()
    }

    /// The loop's side: puts the model that was offered in the place of `current`. Whether there was
    /// one.
    pub(crate) fn swap(&self, current: &mut Box<Ready>) -> bool {
        let mut slots = self.slots();
        let Some(next) = slots.incoming.take() else { return false };
        let before = std::mem::replace(current, next);
        slots.outgoing = Some(before);
        self.is_waiting.store(false, Ordering::Release);
        true
    }

    /// The loop's side: the model in use cannot be run. Goes back to the one before, if it is there.
    pub(crate) fn go_back(&self, current: &mut Box<Ready>, error: &InferenceError) -> bool {
        let mut slots = self.slots();
        if slots.failure.is_some() {
            // What has failed itself is nothing to go back to.
            return false;
        }
        let Some(before) = slots.outgoing.take() else { return false };
        slots.outgoing = Some(std::mem::replace(current, before));
        let why = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        slots.failure = Some(format!("{error}{why}"));
        true
    }
}

/// A source that pauses between two frames where a model waits.
pub(crate) struct Interruptible<'a> {
    pub(crate) frames: &'a mut dyn FrameSource,
    pub(crate) exchange: &'a Exchange,
    /// The stream has ended for good.
    pub(crate) has_ended: bool,
}

impl FrameSource for Interruptible<'_> {
    fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.exchange.is_waiting() {
            return Ok(None);
        }
        let frame = self.frames.next_frame()?;
        self.has_ended = frame.is_none();
        Ok(frame)
    }
}

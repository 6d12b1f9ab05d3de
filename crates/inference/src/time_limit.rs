//! Bounds the time that ONNX Runtime may take to load a model: a graph may loop for ever, and only a
//! run shows it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ort::session::RunOptions;
use ort::session::builder::LoadCanceler;

/// Time for ONNX Runtime to notice that it is to stop, which it does between two operators: nothing
/// of it should run while the process ends.
const STOP_MAX: Duration = Duration::from_secs(3);

/// Asks ONNX Runtime to stop what it is doing for a model. Clones ask the same.
#[derive(Clone)]
pub(crate) struct Stop {
    is_asked: Arc<AtomicBool>,
    run_options: Arc<RunOptions>,
    loading: Arc<Mutex<Option<LoadCanceler>>>,
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stop").field("is_asked", &self.is_asked).finish_non_exhaustive()
    }
}

impl Stop {
    fn new() -> ort::Result<Stop> {
        let run_options = Arc::new(RunOptions::new()?);
        Ok(Stop { is_asked: Arc::default(), run_options, loading: Arc::default() })
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed)
    }

    /// For the runs that are to stop.
    pub(crate) fn run_options(&self) -> &RunOptions {
        &self.run_options
    }

    /// The session that is about to be made is to stop, too.
    pub(crate) fn cover(&self, loading: LoadCanceler) {
        *self.loading.lock().unwrap_or_else(PoisonError::into_inner) = Some(loading);
    }

    fn ask(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
        let loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner).take();
        let asked = [loading.map(|loading| loading.cancel()), Some(self.run_options.terminate())];
        for error in asked.into_iter().flatten().filter_map(Result::err) {
            tracing::debug!(%error, "ask ONNX Runtime to stop");
        }
    }
}

/// What became of [`within`].
pub(crate) enum Outcome<T> {
    Done(T),
    TookTooLong,
    /// Nobody wants it any more.
    Unwanted,
    NotStarted(std::io::Error),
    NoOptions(ort::Error),
}

/// How soon it is noticed that nobody wants it any more.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// Calls `load` on a thread of its own, which is left to itself where it does not stop in time:
/// building an engine cannot be interrupted. The thread inherits the caller's scheduling.
pub(crate) fn within<T: Send + 'static>(
    time_max: Duration,
    is_wanted: &dyn Fn() -> bool,
    load: impl FnOnce(Stop) -> T + Send + 'static,
) -> Outcome<T> {
    let stop = match Stop::new() {
        Ok(stop) => stop,
        Err(error) => return Outcome::NoOptions(error),
    };
    let (sender, receiver) = sync_channel(1);
    let thread = std::thread::Builder::new().name("magpie-model".into());
    let spawned = thread.spawn({
        let stop = stop.clone();
        // Nobody listens any more if it took too long.
        move || drop(sender.send(load(stop)))
    });
    let thread = match spawned {
        Ok(thread) => thread,
        Err(error) => return Outcome::NotStarted(error),
    };
    let mut left = time_max;
    let outcome = loop {
        let look = LOOK_PERIOD.min(left);
        match receiver.recv_timeout(look) {
            Ok(done) => return Outcome::Done(done),
            Err(RecvTimeoutError::Timeout) => left -= look,
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => unreachable!("a thread that ends has sent"),
            },
        }
        if !is_wanted() {
            break Outcome::Unwanted;
        }
        if left.is_zero() {
            break Outcome::TookTooLong;
        }
    };
    stop.ask();
    drop(receiver.recv_timeout(STOP_MAX));
    outcome
}

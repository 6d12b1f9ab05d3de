//! A long bench that somebody stops writes what it has.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use magpie_daemon::failure::Failure;
use magpie_daemon::run::asked_to_stop;
use tokio::runtime::Runtime;

/// Knows whether Ctrl-C or SIGTERM came.
pub(super) struct Stop {
    asked: Arc<AtomicBool>,
    _runtime: Runtime,
}

impl Stop {
    pub(super) fn listen() -> Result<Stop, Failure> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().map_err(Failure::fault)?;
        let asked = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&asked);
        let stop = asked_to_stop()?;
        runtime.spawn(async move {
            stop.await;
            heard.store(true, Ordering::Relaxed);
        });
        Ok(Stop { asked, _runtime: runtime })
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

//! Waiting without holding Python up.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::broken;

/// How often somebody who waits looks for Ctrl-C.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

const SECONDS_MAX: f64 = 86_400.0;

pub(crate) fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    // What is not a number is in no range.
    if (0.0..=SECONDS_MAX).contains(&value) {
        return Ok(Duration::from_secs_f64(value));
    }
    Err(PyValueError::new_err(format!("{name} is {value}; name 0 to {SECONDS_MAX} seconds")))
}

/// Does something that takes long on a thread of its own. After Ctrl-C the thread is left to end by
/// itself, and what it found is dropped.
pub(crate) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> PyResult<T> {
    let (sender, mut receiver) = sync_channel(1);
    std::thread::Builder::new()
        .name("magpie-client".into())
        // Nobody receives after Ctrl-C.
        .spawn(move || drop(sender.send(work())))?;
    loop {
        let answer;
        (receiver, answer) = py.detach(move || {
            let answer = receiver.recv_timeout(SLICE);
            (receiver, answer)
        });
        match answer {
            Ok(found) => return Ok(found),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(broken("a thread of the client ended without an answer"));
            }
        }
    }
}

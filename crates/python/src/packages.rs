//! The stream of states.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use magpie_client::{Freshness, PackagesSubscriber};
use pyo3::prelude::*;

use crate::states::{Lost, Stale};
use crate::view::Fresh;
use crate::waiting::{SLICE, seconds};

/// Yields how things stand, at each new result and whenever none has come for a while.
#[pyclass(frozen, module = "magpie_client")]
pub(crate) struct Packages {
    /// `None` once the client is closed.
    subscriber: Mutex<Option<PackagesSubscriber>>,
    timeout: Duration,
    is_closed: Arc<AtomicBool>,
}

impl Packages {
    pub(crate) fn new(
        subscriber: PackagesSubscriber,
        timeout: Duration,
        is_closed: Arc<AtomicBool>,
    ) -> Packages {
        Packages { subscriber: Mutex::new(Some(subscriber)), timeout, is_closed }
    }

    /// Never with Python's lock held: another thread may be waiting in it.
    fn lock(&self) -> MutexGuard<'_, Option<PackagesSubscriber>> {
        let mut subscriber = self.subscriber.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_closed.load(Ordering::Relaxed) {
            *subscriber = None;
        }
        subscriber
    }

    fn wait_for(&self, py: Python<'_>, timeout: Duration) -> PyResult<bool> {
        let mut left = timeout;
        loop {
            let slice = left.min(SLICE);
            let has_come =
                py.detach(|| self.lock().as_ref().map(|subscriber| subscriber.wait(slice)));
            py.check_signals()?;
            left = left.saturating_sub(slice);
            match has_come {
                Some(false) if !left.is_zero() => {}
                has_come => return Ok(has_come == Some(true)),
            }
        }
    }
}

#[pymethods]
impl Packages {
    /// Waits for a result that was not handed out before, at most for `timeout_s` seconds; `True` if
    /// there is one, which `latest` then hands out.
    #[pyo3(signature = (timeout_s = None))]
    fn wait(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<bool> {
        let timeout = timeout_s.map(|value| seconds("timeout_s", value)).transpose()?;
        self.wait_for(py, timeout.unwrap_or(self.timeout))
    }

    /// How things stand now: `Fresh`, `Stale` or `Lost`.
    fn latest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let freshness = py.detach(|| self.lock().as_mut().map(PackagesSubscriber::latest));
        Ok(match freshness {
            Some(Freshness::Fresh(view)) => Bound::new(py, Fresh::new(view))?.into_any(),
            Some(Freshness::Stale(why)) => Bound::new(py, Stale::new(&why))?.into_any(),
            Some(Freshness::Lost { why, .. }) => Bound::new(py, Lost::new(&why))?.into_any(),
            None => Bound::new(py, Lost::closed())?.into_any(),
        })
    }

    /// Whether the client was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    /// Ends once the client is closed.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.wait_for(py, self.timeout)?;
        if self.closed() {
            return Ok(None);
        }
        self.latest(py).map(Some)
    }

    fn __aiter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __anext__<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        this.py().import("magpie_client._asyncio")?.call_method1("next_state", (this,))
    }
}

//! The stream of states.

use std::time::Duration;

use magpie_client::{Freshness, PackagesSubscriber};
use pyo3::prelude::*;

use crate::held::Held;
use crate::states::{Lost, Stale};
use crate::view::Fresh;
use crate::waiting::{SLICE, seconds};

/// Yields how things stand, at each new result and whenever none has come for a while. Threads and
/// tasks may share it: they wait side by side.
#[pyclass(frozen, module = "magpie_client")]
pub(crate) struct Packages {
    subscriber: Held<PackagesSubscriber>,
    timeout: Duration,
}

impl Packages {
    pub(crate) fn new(subscriber: PackagesSubscriber, timeout: Duration) -> Packages {
        Packages { subscriber: Held::new(subscriber), timeout }
    }

    fn wait_for(&self, py: Python<'_>, timeout: Duration) -> PyResult<bool> {
        let subscriber = self.subscriber.get()?;
        let mut left = timeout;
        loop {
            let slice = left.min(SLICE);
            let has_come = py.detach(|| subscriber.wait(slice));
            py.check_signals()?;
            left = left.saturating_sub(slice);
            if has_come || left.is_zero() || subscriber.is_closed() {
                return Ok(has_come);
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
        let subscriber = self.subscriber.get()?;
        Ok(match py.detach(|| subscriber.latest()) {
            Freshness::Fresh(view) => Bound::new(py, Fresh::new(view))?.into_any(),
            Freshness::Stale(why) => Bound::new(py, Stale::new(&why))?.into_any(),
            Freshness::Lost { why, .. } => Bound::new(py, Lost::new(&why))?.into_any(),
        })
    }

    /// Whether the client was closed.
    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.subscriber.get()?.is_closed())
    }

    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    /// Ends once the client is closed.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.wait_for(py, self.timeout)?;
        if self.closed()? {
            return Ok(None);
        }
        self.latest(py).map(Some)
    }

    fn __aiter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __anext__<'py>(this: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let timeout_s = this.get().timeout.as_secs_f64();
        this.py().import("magpie_client._asyncio")?.call_method1("next_state", (this, timeout_s))
    }
}

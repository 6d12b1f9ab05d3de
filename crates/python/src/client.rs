//! The way in.

use std::path::PathBuf;
use std::sync::Arc;

use magpie_client::{
    CellName, ClientOptions, PickReport, SystemClock, ZenohConfig, find_cell, wire,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors::{closed, not_answered, not_connected, not_joined, not_reported};
use crate::held::Held;
use crate::packages::Packages;
use crate::states::{CameraInfo, Lost, Status};
use crate::view::{Fresh, Grasp};
use crate::waiting::{interruptible, seconds};

/// One cell, over one connection. All threads may use it at once.
#[pyclass(frozen, module = "magpie_client")]
pub(crate) struct Client {
    cell: String,
    client: Held<magpie_client::Client>,
}

/// Joins a cell. By its name alone it is found on this machine; `endpoint` names one of another
/// machine (`"tcp/192.168.1.7:17447"`), and `zenoh_file` a file of zenoh's with certificates.
///
/// Longer silence of the heartbeat than `heartbeat_silence_s_max` seconds is `Lost`. A publisher
/// whose clock is ahead by more than `clock_ahead_s_max`, and a result that claims to be valid for
/// longer than `result_valid_s_max`, are not believed.
///
/// Raises `ConnectError` if there is no such cell or it does not let us in, and `ValueError` for a
/// name that no cell can have. A fork of a process that has connected raises `ConnectError`, too.
#[pyfunction]
#[pyo3(signature = (
    cell, *, endpoint = None, zenoh_file = None, heartbeat_silence_s_max = 0.5,
    clock_ahead_s_max = 0.005, result_valid_s_max = 5.0
))]
pub(crate) fn connect(
    py: Python<'_>,
    cell: &str,
    endpoint: Option<String>,
    zenoh_file: Option<PathBuf>,
    heartbeat_silence_s_max: f64,
    clock_ahead_s_max: f64,
    result_valid_s_max: f64,
) -> PyResult<Client> {
    let name = CellName::new(cell).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let zenoh = match (endpoint, zenoh_file) {
        (Some(_), Some(_)) => {
            return Err(PyValueError::new_err("name an endpoint or a zenoh_file, not both"));
        }
        (Some(endpoint), None) => Some(ZenohConfig::Connect(vec![endpoint])),
        (None, Some(path)) => Some(ZenohConfig::File(path)),
        (None, None) => None,
    };
    let heartbeat_silence_max = seconds("heartbeat_silence_s_max", heartbeat_silence_s_max)?;
    let clock_ahead_max = seconds("clock_ahead_s_max", clock_ahead_s_max)?;
    let result_valid_max = seconds("result_valid_s_max", result_valid_s_max)?;
    let connect = move || -> Result<magpie_client::Client, magpie_client::ConnectError> {
        let zenoh = zenoh.map_or_else(|| find_cell(&name), Ok)?;
        let options = ClientOptions {
            heartbeat_silence_max,
            clock_ahead_max,
            result_valid_max,
            ..ClientOptions::new(name, zenoh, SystemClock::start())
        };
        Ok(magpie_client::Client::open(options)?)
    };
    let client = interruptible(py, connect)?.map_err(|error| not_connected(&error))?;
    Ok(Client { cell: cell.to_owned(), client: Held::new(client) })
}

#[pymethods]
impl Client {
    /// Follows the results. Iterate over it, with `for` or `async for`: it yields `Fresh`, `Stale` or
    /// `Lost` at each new result, and whenever none has come for `timeout_s` seconds. Waits until the
    /// publisher is known: half a second on a client that was just made.
    #[pyo3(signature = (timeout_s = 0.2))]
    fn packages(&self, py: Python<'_>, timeout_s: f64) -> PyResult<Packages> {
        let timeout = seconds("timeout_s", timeout_s)?;
        let client = Arc::clone(self.client.get()?);
        let subscriber = interruptible(py, move || match client.packages() {
            Err(_) if client.is_closed() => Err(closed()),
            subscriber => subscriber.map_err(|error| not_joined(&error)),
        })??;
        Ok(Packages::new(subscriber, timeout))
    }

    /// The first result whose exposure begins after this question, as a `Fresh`. Raises `QueryError`
    /// if there is none within `timeout_s` seconds (the daemon allows ten at most), and its subclass
    /// `Unanswered` if nobody answers.
    #[pyo3(signature = (timeout_s = 2.0))]
    fn capture(&self, py: Python<'_>, timeout_s: f64) -> PyResult<Fresh> {
        let timeout = seconds("timeout_s", timeout_s)?;
        let client = Arc::clone(self.client.get()?);
        let view = interruptible(py, move || client.capture(timeout))?;
        view.map(Fresh::new).map_err(|error| not_answered(&error))
    }

    /// The camera's calibration. Raises `QueryError` if it has none.
    #[pyo3(signature = (timeout_s = 2.0))]
    fn camera_info(&self, py: Python<'_>, timeout_s: f64) -> PyResult<CameraInfo> {
        let timeout = seconds("timeout_s", timeout_s)?;
        let client = Arc::clone(self.client.get()?);
        let info = interruptible(py, move || client.camera_info(timeout))?;
        info.map(CameraInfo::new).map_err(|error| not_answered(&error))
    }

    /// The newest heartbeat as a `Status`, or `Lost` if nobody speaks for the cell. A daemon that has
    /// just been heard, or has a rival, is no `Lost` here, though no result of it is believed.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let client = Arc::clone(self.client.get()?);
        match interruptible(py, move || client.status())? {
            Ok(status) => Ok(Bound::new(py, Status::new(status))?.into_any()),
            Err(lost) => Ok(Bound::new(py, Lost::new(&lost.why))?.into_any()),
        }
    }

    /// Tells the cell what became of a grasp that was acted upon: `"held"`, `"dropped"`, `"double"` (more
    /// came up than this package), `"missed"` (nothing came up) or `"not_tried"`. The grasp may have
    /// expired long ago. A later report about the same package of the same result replaces an earlier
    /// one as a whole.
    ///
    /// `vacuum_pa` is how far the pressure in the cups fell below the air's, in pascals, and `weight_kg`
    /// what hung on the tool, in kilograms; `None` where nobody measured. `type` is what a later station
    /// read the package to be, in the words of the model's types; `None` where nobody read it. `done_ns`
    /// is when it was over, as `time.time_ns()`; `None`: now. `reporter` says for people who reports.
    ///
    /// The daemon counts and records it; nothing that it does with pictures changes. Returns once the
    /// report is handed over to the network; nobody answers. What was taken stands in
    /// `status().as_dict()["picks"]`.
    ///
    /// Raises `ValueError` for what the daemon would refuse, and `QueryError` if the client was closed or
    /// the network does not take it.
    #[pyo3(signature = (
        grasp, outcome, *, vacuum_pa = None, weight_kg = None, r#type = None, done_ns = None,
        reporter = ""
    ))]
    #[allow(clippy::too_many_arguments, reason = "named ones in Python")]
    fn report_outcome(
        &self,
        py: Python<'_>,
        grasp: &Grasp,
        outcome: &str,
        vacuum_pa: Option<f64>,
        weight_kg: Option<f64>,
        r#type: Option<String>,
        done_ns: Option<u64>,
        reporter: &str,
    ) -> PyResult<()> {
        let named = wire::Outcome::from_str_name(&format!("OUTCOME_{}", outcome.to_uppercase()));
        let named = named.filter(|named| *named != wire::Outcome::Unspecified);
        let named = named.ok_or_else(|| {
            PyValueError::new_err(format!(
                "outcome is {outcome:?}; name \"held\", \"dropped\", \"double\", \"missed\" or \"not_tried\""
            ))
        })?;
        let report = PickReport {
            done_ns,
            vacuum_pa,
            weight_kg,
            package_type: r#type.unwrap_or_default(),
            reporter: reporter.to_owned(),
            ..PickReport::new(named)
        };
        let (client, pick) = (Arc::clone(self.client.get()?), grasp.pick()?);
        let sent = interruptible(py, move || client.report_outcome(&pick, &report))?;
        sent.map_err(|error| not_reported(&error))
    }

    /// Leaves the network. Whoever iterates over its packages comes to an end; questions raise.
    fn close(&self, py: Python<'_>) {
        // A fork has nothing to leave.
        if let Ok(client) = self.client.get() {
            // Leaving the network takes a moment.
            py.detach(|| client.close());
        }
    }

    /// Whether `close` was called.
    #[getter]
    fn closed(&self) -> PyResult<bool> {
        Ok(self.client.get()?.is_closed())
    }

    /// The name of the cell.
    #[getter]
    fn cell(&self) -> &str {
        &self.cell
    }

    fn __enter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    #[pyo3(signature = (*_why))]
    fn __exit__(&self, py: Python<'_>, _why: &Bound<'_, pyo3::types::PyTuple>) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        let closed = match self.closed() {
            Ok(true) => ", closed",
            Ok(false) => "",
            Err(_) => ", forked",
        };
        format!("<Client of cell {:?}{closed}>", self.cell)
    }
}

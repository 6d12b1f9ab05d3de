//! What is not a result: why there is none, the daemon's state, the camera's calibration.

use magpie_client::{LostReason, StaleReason, wire};
use pyo3::prelude::*;

use crate::arrays::floats;

/// The daemon lives, but it has no result that may be acted upon. The arm waits.
#[pyclass(frozen, get_all, module = "magpie_client")]
pub(crate) struct Stale {
    /// One sentence for people; it may change with any version.
    why: String,
    /// `"nothing_yet"`, `"expired"`, `"late"`, `"arrived_expired"`, `"clock_ahead"`, `"clock_stepped"` or
    /// `"refused"`. More may come.
    code: &'static str,
}

impl Stale {
    pub(crate) fn new(why: &StaleReason) -> Stale {
        Stale { why: why.to_string(), code: why.code() }
    }
}

#[pymethods]
impl Stale {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str) {
        ("why", "code")
    }

    fn __repr__(&self) -> String {
        format!("<Stale, {}: {}>", self.code, self.why)
    }
}

/// The daemon left, is silent, reports a fault, or is not the only one. The arm stops.
#[pyclass(frozen, get_all, module = "magpie_client")]
pub(crate) struct Lost {
    /// One sentence for people; it may change with any version.
    why: String,
    /// `"never_heard"`, `"gone"`, `"just_heard"`, `"silent"`, `"schema_version"`, `"rival"`, `"fault"` or
    /// `"closed"`. More may come.
    code: &'static str,
}

impl Lost {
    pub(crate) fn new(why: &LostReason) -> Lost {
        Lost { why: why.to_string(), code: why.code() }
    }
}

#[pymethods]
impl Lost {
    #[classattr]
    fn __match_args__() -> (&'static str, &'static str) {
        ("why", "code")
    }

    fn __repr__(&self) -> String {
        format!("<Lost, {}: {}>", self.code, self.why)
    }
}

/// Why a daemon does not run as configured.
#[pyclass(frozen, get_all, module = "magpie_client")]
pub(crate) struct Reason {
    /// Stable, for programs to decide by. More may come.
    code: String,
    /// One sentence for people.
    text: String,
}

#[pymethods]
impl Reason {
    fn __repr__(&self) -> String {
        format!("<Reason {:?}: {:?}>", self.code, self.text)
    }
}

pub(crate) fn reasons(coded: &[wire::ReasonMessage]) -> Vec<Reason> {
    let reason = |reason: &wire::ReasonMessage| Reason {
        code: reason.code.clone(),
        text: reason.text.clone(),
    };
    coded.iter().map(reason).collect()
}

/// An object of Python from JSON.
pub(crate) fn from_json<'py>(py: Python<'py>, json: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (json,))
}

/// The newest heartbeat of a daemon.
#[pyclass(frozen, module = "magpie_client")]
pub(crate) struct Status {
    status: wire::Status,
}

impl Status {
    pub(crate) fn new(status: wire::Status) -> Status {
        Status { status }
    }
}

#[pymethods]
impl Status {
    /// The name of the cell.
    #[getter]
    fn cell(&self) -> &str {
        &self.status.cell
    }

    /// `"starting"`, `"ok"`, `"degraded"` or `"fault"`; `"unspecified"` where this client does not know
    /// it.
    #[getter]
    fn state(&self) -> String {
        wire::plain(self.status.state().as_str_name(), "STATE_")
    }

    /// Why the state is not ok. Decide by the codes, never by the texts.
    #[getter]
    fn reasons(&self) -> Vec<Reason> {
        reasons(&self.status.coded_reasons())
    }

    /// For how many seconds the daemon has been running.
    #[getter]
    fn uptime_s(&self) -> f64 {
        self.status.uptime_ns as f64 / 1e9
    }

    /// The name of the model that finds the packages.
    #[getter]
    fn model_name(&self) -> &str {
        self.status.model.as_ref().map_or("", |model| &model.name)
    }

    /// The identity of the calibration.
    #[getter]
    fn calibration_id(&self) -> &str {
        &self.status.calibration_id
    }

    /// What really runs the model, for example `"cpu"`.
    #[getter]
    fn provider(&self) -> &str {
        &self.status.provider_got
    }

    /// From exposure to result: 99 of 100 of the latest frames took no more milliseconds.
    #[getter]
    fn latency_p99_ms(&self) -> f64 {
        self.status.latency.as_ref().map_or(0.0, |latency| latency.p99_ms)
    }

    /// Everything that the heartbeat says, as a dict in the canonical JSON of protobuf.
    fn as_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_json(py, &wire::status_to_json(&self.status).to_string())
    }

    fn __repr__(&self) -> String {
        let codes: Vec<String> = self.reasons().into_iter().map(|reason| reason.code).collect();
        format!("<Status of cell {:?}: {} {codes:?}>", self.status.cell, self.state())
    }
}

/// A camera's calibration, with the matrices of ROS's `camera_info`.
#[pyclass(frozen, module = "magpie_client")]
pub(crate) struct CameraInfo {
    info: wire::CameraInfo,
}

impl CameraInfo {
    pub(crate) fn new(info: wire::CameraInfo) -> CameraInfo {
        CameraInfo { info }
    }
}

#[pymethods]
impl CameraInfo {
    /// The name of the camera.
    #[getter]
    fn camera_name(&self) -> &str {
        &self.info.camera_name
    }

    /// The name of its optical frame: x right, y down, z forward.
    #[getter]
    fn frame_id(&self) -> &str {
        &self.info.frame_id
    }

    /// The width of its picture, in pixels.
    #[getter]
    fn width_px(&self) -> u32 {
        self.info.width
    }

    /// The height of its picture, in pixels.
    #[getter]
    fn height_px(&self) -> u32 {
        self.info.height
    }

    /// `"plumb_bob"`, `"rational_polynomial"` or `"equidistant"`.
    #[getter]
    fn distortion_model(&self) -> &str {
        &self.info.distortion_model
    }

    /// The parameters of the distortion, in the order of ROS: `float64`.
    #[getter]
    fn d<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        floats(py, &self.info.d, &[self.info.d.len()])
    }

    /// The camera matrix in pixels: `float64`, 3x3.
    #[getter]
    fn k<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        floats(py, &self.info.k, &[3, 3])
    }

    /// The rectification: the identity, `float64`, 3x3.
    #[getter]
    fn r<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        floats(py, &self.info.r, &[3, 3])
    }

    /// The projection in pixels: `float64`, 3x4.
    #[getter]
    fn p<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        floats(py, &self.info.p, &[3, 4])
    }

    fn __repr__(&self) -> String {
        let info = &self.info;
        format!("<CameraInfo of {:?}: {}x{} px>", info.camera_name, info.width, info.height)
    }
}

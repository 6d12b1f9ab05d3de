//! Errors of Rust as exceptions of Python, which `magpie_client/_errors.py` defines.

use magpie_client::wire;
use pyo3::PyErr;
use pyo3::exceptions::PyValueError;

mod raised {
    pyo3::import_exception!(magpie_client._errors, MagpieError);
    pyo3::import_exception!(magpie_client._errors, ConnectError);
    pyo3::import_exception!(magpie_client._errors, Expired);
    pyo3::import_exception!(magpie_client._errors, QueryError);
    pyo3::import_exception!(magpie_client._errors, Unanswered);
    pyo3::import_exception!(magpie_client._errors, WrongFrame);
}

pub(crate) fn not_connected(error: &magpie_client::ConnectError) -> PyErr {
    match error {
        magpie_client::ConnectError::Name(name) => PyValueError::new_err(name.to_string()),
        fork if fork.is_of_a_fork() => forked(),
        // A transparent error is its cause.
        other => raised::ConnectError::new_err(wire::chain(other)),
    }
}

pub(crate) fn not_joined(error: &magpie_client::NetworkError) -> PyErr {
    raised::ConnectError::new_err(wire::chain(error))
}

pub(crate) fn not_answered(error: &magpie_client::QueryError) -> PyErr {
    match error {
        magpie_client::QueryError::Unanswered { .. } => {
            raised::Unanswered::new_err(wire::chain(error))
        }
        other => raised::QueryError::new_err(wire::chain(other)),
    }
}

pub(crate) fn not_reported(error: &magpie_client::ReportError) -> PyErr {
    use magpie_client::ReportError::{Closed, OtherCell, Refused, Send};
    match error {
        Refused(_) | OtherCell { .. } => PyValueError::new_err(wire::chain(error)),
        Closed => closed(),
        Send { .. } => raised::QueryError::new_err(wire::chain(error)),
    }
}

pub(crate) fn closed() -> PyErr {
    raised::QueryError::new_err("the client was closed; connect again")
}

pub(crate) fn forked() -> PyErr {
    raised::ConnectError::new_err(
        "this process is a fork of one that had connected, and a fork cannot use the network: start it \
         as multiprocessing's \"spawn\" does, and connect there",
    )
}

pub(crate) fn expired(error: magpie_client::Expired) -> PyErr {
    raised::Expired::new_err(error.to_string())
}

pub(crate) fn no_pose(error: magpie_client::NoPose) -> PyErr {
    use magpie_client::NoPose::{Expired, Moment, NotFinite, WrongFrame};
    match error {
        Expired(why) => expired(why),
        WrongFrame(why) => wrong_frame(&why),
        Moment { .. } | NotFinite => PyValueError::new_err(error.to_string()),
    }
}

pub(crate) fn wrong_frame(error: &magpie_client::WrongFrame) -> PyErr {
    raised::WrongFrame::new_err(error.to_string())
}

/// Something that an accepted message has was not there: a mistake of ours.
pub(crate) fn broken(what: &str) -> PyErr {
    raised::MagpieError::new_err(format!("{what}; please report this"))
}

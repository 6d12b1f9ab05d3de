//! Why the program ends, and the exit code by which systemd decides whether to try again.

use std::fmt::Write;
use std::process::ExitCode;

use magpie_camera::LiveFault;
use magpie_network::NetworkError;
use magpie_perception::{Fault, SourceError};

/// An end that somebody asked for is no failure and exits with 0.
#[derive(Debug)]
pub enum Failure {
    /// Restarting cannot cure it: exit code 78 (`EX_CONFIG` of sysexits).
    Config(anyhow::Error),
    /// Something broke: exit code 1.
    Fault(anyhow::Error),
}

pub type Outcome = Result<(), Failure>;

impl Failure {
    pub fn config(error: impl Into<anyhow::Error>) -> Failure {
        Failure::Config(error.into())
    }

    pub fn fault(error: impl Into<anyhow::Error>) -> Failure {
        Failure::Fault(error.into())
    }

    pub fn error(&self) -> &anyhow::Error {
        match self {
            Failure::Config(error) | Failure::Fault(error) => error,
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Config(_) => 78,
            Failure::Fault(_) => 1,
        })
    }

    /// The error and its causes in one line; a cause that its effect already names is left out.
    pub fn message(&self) -> String {
        one_line(self.error())
    }
}

/// The line that [`Failure::message`] gives.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let text = text.trim();
        if line.is_empty() {
            line.push_str(text);
        } else if !line.contains(text) {
            let _ = write!(line, ": {text}");
        }
    }
    line
}

/// How a fault of the pipeline ends the process.
pub fn ended_by(fault: Fault) -> Failure {
    match fault {
        Fault::ImageSize { .. } => Failure::config(fault),
        Fault::Source(error) => source_ended(error),
        fault => Failure::fault(fault),
    }
}

/// How a source that gives no more frames ends the process.
pub fn source_ended(error: SourceError) -> Failure {
    match error.source.downcast_ref() {
        Some(LiveFault::Misconfigured(_)) => Failure::config(error),
        _ => Failure::fault(error),
    }
}

/// What it means that the network could not be joined.
pub fn not_joined(error: NetworkError) -> Failure {
    if error.is_configuration() { Failure::config(error) } else { Failure::fault(error) }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Fault(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_each_cause_once() {
        let error = anyhow::anyhow!("no such file").context("open a").context("open a");
        assert_eq!(Failure::Fault(error).message(), "open a: no such file");
    }
}

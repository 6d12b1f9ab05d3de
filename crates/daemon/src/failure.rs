//! Why the program ends, and the exit code by which systemd decides whether to try again.

use std::fmt::Write;
use std::process::ExitCode;

use magpie_camera::LiveFault;
use magpie_network::NetworkError;
use magpie_perception::{Fault, SourceError};

/// An end that somebody asked for is no failure and exits with 0.
#[derive(Debug)]
pub enum Failure {
    /// Restarting cannot cure it: exit code 78 (`EX_CONFIG` of sysexits). Unless what is behind it is a
    /// disk or a network that fails: see [`Failure::is_configuration`].
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
        ExitCode::from(if self.is_configuration() { 78 } else { 1 })
    }

    /// Whether somebody has to change something before another start can succeed.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Failure::Config(error) if !is_passing(error))
    }

    /// The error and its causes in one line; a cause that its effect already names is left out.
    pub fn message(&self) -> String {
        one_line(self.error())
    }
}

/// Whether a file could not be read for a reason that lies in the machine.
fn is_passing(error: &anyhow::Error) -> bool {
    let is_known = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    is_known.into_iter().any(magpie_files::is_passing)
        || code_in(&error.root_cause().to_string())
            .is_some_and(|code| magpie_files::is_passing(&std::io::Error::from_raw_os_error(code)))
}

/// The last code of the system in a text: libraries hand its errors on as texts alone.
fn code_in(text: &str) -> Option<i32> {
    let (_, code) = text.rsplit_once("(os error ")?;
    code.split_once(')')?.0.parse().ok()
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
    use std::path::Path;

    use magpie_network::{SystemClock, ZenohConfig};

    use super::*;
    use crate::config::Config;

    /// Reading it fails with EIO, as on a disk that is broken.
    const BROKEN: &str = "/proc/self/mem";

    fn of_configuration(text: &str) -> Failure {
        match Config::parse(Path::new("/etc/magpie/a.toml"), text) {
            Err(error) => Failure::config(error),
            Ok(config) => {
                let clock = SystemClock::start();
                crate::source::open(&config, &clock, &Default::default()).err().unwrap()
            }
        }
    }

    #[test]
    fn a_file_on_a_disk_that_fails_is_no_wrong_configuration_whatever_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str| {
            let path = folder.path().join(name);
            std::os::unix::fs::symlink(BROKEN, &path).unwrap();
            path
        };
        named("a.png");
        let recording = named("a.mcap");
        let zenoh = ZenohConfig::File(named("zenoh.json5")).check().unwrap_err();
        let tls = "{listen: {endpoints: ['tls/h:1']}, transport: {link: {tls: \
                   {listen_private_key: '/proc/self/mem', listen_certificate: '/proc/self/mem'}}}}";
        let path = folder.path().join("tls.json5");
        std::fs::write(&path, tls).unwrap();
        let folder = folder.path().display();
        let credential = ZenohConfig::File(path).check().unwrap_err();
        let failures = [
            Failure::config(Config::load(Some(Path::new(BROKEN))).unwrap_err()),
            of_configuration(&format!("[scene]\ncamera_info = \"{BROKEN}\"")),
            of_configuration(&format!("[source.image_folder]\npath = \"{folder}\"")),
            of_configuration(&format!("[source.recording]\npath = {recording:?}")),
            of_configuration(&format!("[web]\nlisten = \"127.0.0.1:8447\"\ntoken = \"{BROKEN}\"")),
            crate::model::read(Some(Path::new(BROKEN)), None).unwrap_err(),
            not_joined(zenoh),
            not_joined(credential),
        ];
        for failure in failures {
            let message = failure.message();
            assert!(message.contains("(os error 5)"), "{message}");
            assert!(!failure.is_configuration(), "{message}");
        }
        let missing = of_configuration("[scene]\ncamera_info = \"/none\"");
        assert!(missing.is_configuration(), "{}", missing.message());
    }

    #[test]
    fn a_message_names_each_cause_once() {
        let error = anyhow::anyhow!("no such file").context("open a").context("open a");
        assert_eq!(Failure::Fault(error).message(), "open a: no such file");
    }
}

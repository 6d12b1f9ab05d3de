//! Joining the zenoh network.

use std::path::PathBuf;

use magpie_perception::BoxError;
use magpie_wire::printable;
use zenoh::{Config, Session, Wait};

use crate::error::cause;
use crate::settings::endpoints;
use crate::{Certificate, Exposure, NetworkError, SystemClock};
use crate::{credentials, fork, subjects};

/// Where the first daemon of a machine listens unless its configuration says otherwise.
pub const LOOPBACK_ENDPOINT: &str = "tcp/127.0.0.1:17447";

/// How many daemons one machine has room for before somebody has to name endpoints.
const LOOPBACK_ENDPOINTS: u16 = 16;

/// [`LOOPBACK_ENDPOINT`] and those after it, which a daemon takes where that is taken.
pub fn loopback_endpoints() -> impl Iterator<Item = String> {
    (17447..17447 + LOOPBACK_ENDPOINTS).map(|port| format!("tcp/127.0.0.1:{port}"))
}

/// The zenoh configuration used when no file is named: loopback only, no scouting.
pub const SHIPPED_ZENOH_CONFIG: &str = include_str!("../zenoh-loopback.json5");

/// How to join the zenoh network.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ZenohConfig {
    /// As [`SHIPPED_ZENOH_CONFIG`] says, but listening on the first of [`loopback_endpoints`] that is
    /// free.
    #[default]
    Shipped,
    /// As shipped, but listening on these endpoints.
    Listen(Vec<String>),
    /// As shipped, but as a client of the first of these endpoints that answers.
    Connect(Vec<String>),
    /// As this json5 file says, with zenoh's own defaults for what it leaves out.
    File(PathBuf),
    /// As this file says, but alone: listening on these endpoints, looking for nobody, and with no
    /// rules. For a program that talks to itself, whose parts have no certificates.
    FileListening { path: PathBuf, endpoints: Vec<String> },
    /// The other side of [`FileListening`](ZenohConfig::FileListening).
    FileAsClient { path: PathBuf, endpoints: Vec<String> },
}

impl ZenohConfig {
    /// For a subscriber on the machine of a daemon with the shipped configuration.
    pub fn loopback_client() -> ZenohConfig {
        ZenohConfig::Connect(vec![LOOPBACK_ENDPOINT.into()])
    }

    /// For a reader that may be told a file, or else an endpoint; with neither as
    /// [`loopback_client`](ZenohConfig::loopback_client).
    pub fn reader(file: Option<PathBuf>, endpoint: Option<String>) -> ZenohConfig {
        match (file, endpoint) {
            (Some(path), _) => ZenohConfig::File(path),
            (None, Some(endpoint)) => ZenohConfig::Connect(vec![endpoint]),
            (None, None) => ZenohConfig::loopback_client(),
        }
    }

    /// Whether it names one of several endpoints by itself.
    pub fn is_automatic(&self) -> bool {
        *self == ZenohConfig::Shipped
    }

    /// Reads it, with the certificates that it names; nothing is opened.
    ///
    /// # Errors
    /// If its file is missing or is no configuration of zenoh's, or a certificate or key is wrong.
    pub fn check(&self) -> Result<Joining, NetworkError> {
        let (config, certificates) = self.load_checked()?;
        Ok(Joining {
            listen: endpoints(&config, "listen/endpoints"),
            connect: endpoints(&config, "connect/endpoints"),
            exposure: Exposure::of(&config),
            certificates,
        })
    }

    pub(crate) fn load(&self) -> Result<Config, NetworkError> {
        self.load_checked().map(|(config, _)| config)
    }

    fn load_checked(&self) -> Result<(Config, Vec<Certificate>), NetworkError> {
        let mut config = self.read()?;
        let handed_over = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        credentials::take_from_systemd(&mut config, handed_over.as_deref());
        subjects::check(&config)?;
        let certificates = credentials::check(&config, SystemClock::start().now())?;
        Ok((config, certificates))
    }

    fn read(&self) -> Result<Config, NetworkError> {
        use ZenohConfig::{Connect, File, FileAsClient, FileListening, Listen, Shipped};
        let mut config = match self {
            Shipped | Listen(_) | Connect(_) => {
                Config::from_json5(SHIPPED_ZENOH_CONFIG).expect("our own file is valid")
            }
            File(path) | FileListening { path, .. } | FileAsClient { path, .. } => {
                // zenoh would wait for a named pipe, or read a device, for ever.
                let readable = magpie_files::check_input(path, magpie_files::TEXT_BYTES_MAX);
                readable.map_err(BoxError::from).and_then(|()| Config::from_file(path)).map_err(
                    |error| NetworkError::ConfigFile { path: path.clone(), source: cause(error) },
                )?
            }
        };
        if let FileListening { .. } | FileAsClient { .. } = self {
            insert(&mut config, "transport/link/protocols", "null");
            insert(&mut config, "access_control/enabled", "false");
        }
        match self {
            Shipped | File(_) => {}
            Listen(endpoints) | FileListening { endpoints, .. } => {
                insert(&mut config, "connect/endpoints", "[]");
                insert(&mut config, "scouting/multicast/enabled", "false");
                insert_endpoints(&mut config, "listen/endpoints", endpoints)?;
            }
            Connect(endpoints) | FileAsClient { endpoints, .. } => {
                as_client(&mut config);
                insert(&mut config, "scouting/multicast/enabled", "false");
                insert_endpoints(&mut config, "connect/endpoints", endpoints)?;
            }
        }
        Ok(config)
    }
}

/// What a configuration says about joining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    pub listen: Vec<String>,
    pub connect: Vec<String>,
    pub exposure: Exposure,
    /// Those that are shown to others.
    pub certificates: Vec<Certificate>,
}

/// How long a client waits for its first connection.
const CONNECT_TIMEOUT_MS: &str = "2000";

pub(crate) fn as_client(config: &mut Config) {
    insert(config, "mode", "\"client\"");
    insert(config, "listen/endpoints", "[]");
    insert(config, "connect/timeout_ms", CONNECT_TIMEOUT_MS);
    insert(config, "connect/exit_on_failure", "true");
}

pub(crate) fn insert(config: &mut Config, key: &str, value: &str) {
    config.insert_json5(key, value).expect("a key and a value that zenoh knows");
}

/// Whether zenoh can read it; it may still name an address that is not there.
///
/// # Errors
/// If it is no endpoint.
pub fn check_endpoint(endpoint: &str) -> Result<(), NetworkError> {
    if printable(endpoint) != endpoint || endpoint.contains(char::is_whitespace) {
        let source = "it holds a space, or a character that cannot be seen".into();
        return Err(NetworkError::Endpoint { endpoint: endpoint.to_owned(), source });
    }
    let parsed = endpoint.parse::<zenoh::config::EndPoint>();
    parsed.map(drop).map_err(|error| NetworkError::Endpoint {
        endpoint: endpoint.to_owned(),
        source: cause(error),
    })
}

pub(crate) fn insert_endpoints(
    config: &mut Config,
    key: &str,
    endpoints: &[String],
) -> Result<(), NetworkError> {
    let parsed = |endpoint: &String| {
        let quoted = || serde_json::Value::from(endpoint.as_str()).to_string();
        check_endpoint(endpoint).map(|()| quoted())
    };
    let quoted = endpoints.iter().map(parsed).collect::<Result<Vec<_>, _>>()?;
    insert(config, key, &format!("[{}]", quoted.join(",")));
    Ok(())
}

/// Opens a session for a subscriber.
pub fn open(zenoh: &ZenohConfig) -> Result<Session, NetworkError> {
    fork::join()?;
    let config = zenoh.load()?;
    zenoh::open(config.clone()).wait().map_err(|source| {
        if is_address_in_use(&source) {
            let endpoints = named(&config, "listen/endpoints");
            return NetworkError::ReaderListens { endpoints, source: cause(source) };
        }
        not_opened(&config, source)
    })
}

pub(crate) fn not_opened(config: &Config, error: BoxError) -> NetworkError {
    let connect = named(config, "connect/endpoints");
    // zenoh says so in text only.
    let said = error.to_string();
    if said.contains("not supported for") {
        let listen = named(config, "listen/endpoints");
        let endpoints = [listen, connect].into_iter().filter(|endpoints| !endpoints.is_empty());
        let endpoints = endpoints.collect::<Vec<_>>().join(", ");
        return NetworkError::Protocol { endpoints, source: cause(error) };
    }
    if said.contains("Access control not enabled") {
        return NetworkError::Contradiction { source: cause(error) };
    }
    if connect.is_empty() {
        return NetworkError::Open { source: cause(error) };
    }
    let tls = connect.contains("tls/") || connect.contains("quic/");
    NetworkError::Connect { tls, endpoints: connect, source: cause(error) }
}

pub fn close(session: &Session) {
    if let Err(error) = session.close().wait() {
        tracing::warn!(%error, "the zenoh session did not close cleanly");
    }
}

/// The endpoints as a message names them, `""` if there are none.
pub(crate) fn named(config: &Config, key: &str) -> String {
    endpoints(config, key).join(", ")
}

pub(crate) fn is_address_in_use(error: &BoxError) -> bool {
    // zenoh keeps the operating system's error as text only.
    let text = format!("{error:?} {error}");
    text.contains("os error 98")
        || text.contains("AddrInUse")
        || text.contains("ddress already in use")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_that_does_not_show_what_it_is_is_refused() {
        assert!(check_endpoint("tcp/localhost:7447").is_ok());
        for endpoint in ["tcp/\u{1b}[31mhost:7447", "tcp/a b:7447", "tcp/h\u{202e}ost:7447"] {
            let refused = check_endpoint(endpoint).unwrap_err();
            assert!(matches!(refused, NetworkError::Endpoint { .. }), "{refused}");
        }
    }
}

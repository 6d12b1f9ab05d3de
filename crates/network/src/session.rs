//! Joining the zenoh network.

use std::path::PathBuf;
use std::time::Duration;

use magpie_perception::BoxError;
use magpie_wire::CellName;
use zenoh::{Config, Session, Wait};

use crate::NetworkError;
use crate::error::cause;

/// Where a daemon listens unless its zenoh configuration says otherwise.
pub const LOOPBACK_ENDPOINT: &str = "tcp/127.0.0.1:17447";

/// The zenoh configuration used when no file is named: loopback only, no scouting.
pub const SHIPPED_ZENOH_CONFIG: &str = include_str!("../zenoh-loopback.json5");

/// How long another holder of the cell name has to answer.
const RIVAL_TIMEOUT: Duration = Duration::from_millis(1000);

/// How to join the zenoh network.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ZenohConfig {
    /// As [`SHIPPED_ZENOH_CONFIG`] says: listening on [`LOOPBACK_ENDPOINT`].
    #[default]
    Shipped,
    /// As shipped, but listening on these endpoints.
    Listen(Vec<String>),
    /// As shipped, but as a client of the first of these endpoints that answers.
    Connect(Vec<String>),
    /// As this json5 file says, with zenoh's own defaults for what it leaves out.
    File(PathBuf),
    /// As this file says, but alone: listening on these endpoints, and looking for nobody.
    FileListening { path: PathBuf, endpoints: Vec<String> },
    /// As this file says, but as a client of the first of these endpoints that answers.
    FileAsClient { path: PathBuf, endpoints: Vec<String> },
}

impl ZenohConfig {
    /// For a subscriber on the machine of a daemon with the shipped configuration.
    pub fn loopback_client() -> ZenohConfig {
        ZenohConfig::Connect(vec![LOOPBACK_ENDPOINT.into()])
    }

    /// Whether it can be read at all; nothing is opened.
    ///
    /// # Errors
    /// If its file is missing or is no configuration of zenoh's.
    pub fn check(&self) -> Result<(), NetworkError> {
        self.load().map(drop)
    }

    fn load(&self) -> Result<Config, NetworkError> {
        use ZenohConfig::{Connect, File, FileAsClient, FileListening, Listen, Shipped};
        let mut config = match self {
            Shipped | Listen(_) | Connect(_) => {
                Config::from_json5(SHIPPED_ZENOH_CONFIG).expect("our own file is valid")
            }
            File(path) | FileListening { path, .. } | FileAsClient { path, .. } => {
                // zenoh would wait for a named pipe, or read a device, for ever.
                let readable = magpie_files::read_text(path, magpie_files::TEXT_BYTES_MAX);
                readable.map_err(BoxError::from).and_then(|_text| Config::from_file(path)).map_err(
                    |error| NetworkError::ConfigFile { path: path.clone(), source: cause(error) },
                )?
            }
        };
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

/// How long a client waits for its first connection.
const CONNECT_TIMEOUT_MS: &str = "2000";

fn as_client(config: &mut Config) {
    insert(config, "mode", "\"client\"");
    insert(config, "listen/endpoints", "[]");
    insert(config, "connect/timeout_ms", CONNECT_TIMEOUT_MS);
    insert(config, "connect/exit_on_failure", "true");
}

fn insert(config: &mut Config, key: &str, value: &str) {
    config.insert_json5(key, value).expect("a key and a value that zenoh knows");
}

fn insert_endpoints(
    config: &mut Config,
    key: &str,
    endpoints: &[String],
) -> Result<(), NetworkError> {
    let parsed = |endpoint: &String| match endpoint.parse::<zenoh::config::EndPoint>() {
        Ok(_) => Ok(format!("{endpoint:?}")),
        Err(error) => {
            Err(NetworkError::Endpoint { endpoint: endpoint.clone(), source: cause(error) })
        }
    };
    let quoted = endpoints.iter().map(parsed).collect::<Result<Vec<_>, _>>()?;
    insert(config, key, &format!("[{}]", quoted.join(",")));
    Ok(())
}

/// Opens a session for a subscriber.
pub fn open(zenoh: &ZenohConfig) -> Result<Session, NetworkError> {
    let config = zenoh.load()?;
    zenoh::open(config.clone()).wait().map_err(|error| not_opened(&config, error))
}

fn not_opened(config: &Config, error: BoxError) -> NetworkError {
    let connect = endpoints(config, "connect/endpoints");
    // zenoh says so in text only.
    if error.to_string().contains("not supported for") {
        let endpoints = format!("{}{connect}", endpoints(config, "listen/endpoints"));
        return NetworkError::Protocol { endpoints, source: cause(error) };
    }
    if connect.is_empty() {
        return NetworkError::Open { source: cause(error) };
    }
    let tls = connect.contains("tls/") || connect.contains("quic/");
    NetworkError::Connect { tls, endpoints: connect, source: cause(error) }
}

/// Opens the session of the only publisher of `cell`.
pub fn open_as_publisher(zenoh: &ZenohConfig, cell: &CellName) -> Result<Session, NetworkError> {
    let config = zenoh.load()?;
    let listen = endpoints(&config, "listen/endpoints");
    let session = match zenoh::open(config.clone()).wait() {
        Ok(session) => session,
        Err(source) if is_address_in_use(&source) => {
            return Err(who_listens(config, listen, cell, source));
        }
        Err(source) => return Err(not_opened(&config, source)),
    };
    if is_published(&session, cell) {
        let through = match endpoints(&config, "connect/endpoints") {
            connect if connect.is_empty() => listen,
            connect => connect,
        };
        close(&session);
        return Err(NetworkError::CellTaken { cell: cell.to_string(), through });
    }
    Ok(session)
}

/// Another daemon of the same cell, or a stranger? Asks whoever listens there.
fn who_listens(
    mut config: Config,
    endpoints: String,
    cell: &CellName,
    source: BoxError,
) -> NetworkError {
    as_client(&mut config);
    insert(&mut config, "connect/endpoints", &endpoints);
    if let Ok(session) = zenoh::open(config).wait() {
        let published = is_published(&session, cell);
        close(&session);
        if published {
            return NetworkError::CellTaken { cell: cell.to_string(), through: endpoints };
        }
    }
    NetworkError::EndpointTaken { endpoints, source: cause(source) }
}

/// Whether somebody holds the cell's liveliness token.
fn is_published(session: &Session, cell: &CellName) -> bool {
    let query = session.liveliness().get(cell.key("alive")).timeout(RIVAL_TIMEOUT);
    match query.wait() {
        Ok(replies) => match replies.recv() {
            Ok(reply) => reply.result().is_ok(),
            Err(_) => false,
        },
        Err(_) => false,
    }
}

pub fn close(session: &Session) {
    if let Err(error) = session.close().wait() {
        tracing::warn!(%error, "the zenoh session did not close cleanly");
    }
}

/// The endpoints of this mode as the configuration writes them, `""` if there are none.
fn endpoints(config: &Config, key: &str) -> String {
    config.get_json(key).ok().filter(|json| json != "[]" && json != "null").unwrap_or_default()
}

fn is_address_in_use(error: &BoxError) -> bool {
    // zenoh keeps the operating system's error as text only.
    let text = format!("{error:?} {error}");
    text.contains("os error 98")
        || text.contains("AddrInUse")
        || text.contains("ddress already in use")
}

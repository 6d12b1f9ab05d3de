//! Why the network could not be joined.

use std::path::PathBuf;

use magpie_perception::BoxError;

/// Each is about configuration or surroundings: nothing here happens while frames flow.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error(
        "cell name {name:?} {why}; it becomes one part of a zenoh key, so use letters, digits, `-` and `_`"
    )]
    CellName { name: String, why: &'static str },

    #[error("read the zenoh configuration {path}")]
    ConfigFile {
        path: PathBuf,
        #[source]
        source: BoxError,
    },

    #[error("zenoh endpoint {endpoint:?} is not of the form tcp/127.0.0.1:17447 or tls/host:7447")]
    Endpoint {
        endpoint: String,
        #[source]
        source: BoxError,
    },

    #[error(
        "zenoh endpoint {endpoints} is taken by another process; stop it, or give this daemon \
         another endpoint: `listen.endpoints` in its zenoh configuration file"
    )]
    EndpointTaken {
        endpoints: String,
        #[source]
        source: BoxError,
    },

    #[error(
        "cell {cell:?} is already published by another magpie daemon on {through}; stop that one, \
         or give this one another cell name"
    )]
    CellTaken { cell: String, through: String },

    #[error(
        "connect to zenoh at {endpoints}; is a daemon or router listening there?{}",
        if *.tls { " A missing or refused client certificate shows as this time-out too: check \
            `transport.link.tls.connect_certificate` and `connect_private_key`" } else { "" }
    )]
    Connect {
        endpoints: String,
        tls: bool,
        #[source]
        source: BoxError,
    },

    #[error("open a zenoh session")]
    Open {
        #[source]
        source: BoxError,
    },

    #[error("declare {key} on the zenoh session")]
    Declare {
        key: String,
        #[source]
        source: BoxError,
    },

    #[error("start the thread {name}")]
    Thread {
        name: &'static str,
        #[source]
        source: std::io::Error,
    },
}

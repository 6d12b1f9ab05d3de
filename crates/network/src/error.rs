//! Why the network could not be joined.

use std::path::PathBuf;

use magpie_perception::BoxError;

/// Each is about configuration or surroundings: nothing here happens while frames flow.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
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

/// zenoh's own words on one line, without the place in zenoh's source.
pub(crate) fn cause(error: BoxError) -> BoxError {
    let text = error.to_string();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = match words.rfind(" at /") {
        Some(place) if words[place..].contains(".rs:") => &words[..place],
        _ => words.as_str(),
    };
    said.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_zenoh_says_becomes_one_line_without_its_source_path() {
        let said =
            " --> 1:26\n  |\n1 | { mode\n  = expected string at /root/zenoh/src/lib.rs:1486.";
        assert_eq!(cause(said.into()).to_string(), "--> 1:26 | 1 | { mode = expected string");
        let plain = cause("No such file at /etc/zenoh.json5".into());
        assert_eq!(plain.to_string(), "No such file at /etc/zenoh.json5");
    }
}

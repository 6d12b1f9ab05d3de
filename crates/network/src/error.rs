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
         another endpoint: `[zenoh] listen`, or `listen.endpoints` in its zenoh configuration file"
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
        if *.tls { " A certificate that the other side refuses, or a missing client certificate, \
            shows as this time-out too: is it of the other side's CA, \
            `transport.link.tls.root_ca_certificate`?" } else { "" }
    )]
    Connect {
        endpoints: String,
        tls: bool,
        #[source]
        source: BoxError,
    },

    #[error(
        "zenoh endpoints {endpoints} name a protocol that is not spoken here; use tcp/ADDRESS:PORT or \
         tls/HOST:PORT"
    )]
    Protocol {
        endpoints: String,
        #[source]
        source: BoxError,
    },

    #[error("{key} of the zenoh configuration: {path} {problem}")]
    Credential { key: String, path: PathBuf, problem: String },

    #[error("the zenoh configuration names no {key}, which {endpoint} needs")]
    CredentialMissing { key: String, endpoint: String },

    #[error("the certificate {path} is valid from {from} on: is this machine's clock right?")]
    CredentialEarly { path: PathBuf, from: String },

    #[error(
        "{key} of the zenoh configuration: {path} expired at {at}: make a new one (scripts/certificates). \
         If it should still hold, look at this machine's clock, which says {now}"
    )]
    CredentialExpired { key: String, path: PathBuf, at: String, now: String },

    #[error(
        "the zenoh configuration: subject {id:?} of access_control names nobody, which means everybody; \
         to lock its holder out, take the subject out, and its id out of the policies"
    )]
    SubjectForAll { id: String },

    #[error("the zenoh configuration contradicts itself")]
    Contradiction {
        #[source]
        source: BoxError,
    },

    #[error(
        "this zenoh configuration listens on {endpoints}, as a daemon's does, and that is taken; give \
         a reader a file of its own, with `mode: \"client\"`"
    )]
    ReaderListens {
        endpoints: String,
        #[source]
        source: BoxError,
    },

    #[error(
        "this process is a fork of one that had connected, and a fork cannot use the network: connect in a \
         process that was started anew"
    )]
    Forked,

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

impl NetworkError {
    /// Whether what the configuration says is wrong, so that trying again cannot help.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            NetworkError::ConfigFile { .. }
                | NetworkError::Endpoint { .. }
                | NetworkError::Protocol { .. }
                | NetworkError::Credential { .. }
                | NetworkError::CredentialMissing { .. }
                | NetworkError::SubjectForAll { .. }
                | NetworkError::Contradiction { .. }
        )
    }

    /// Whether it may pass by itself: a router that starts later, an address that comes up with its
    /// interface, a clock that is not set yet.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            NetworkError::Connect { .. }
                | NetworkError::CredentialEarly { .. }
                | NetworkError::Open { .. }
        )
    }
}

/// zenoh's own words on one line, without the places in zenoh's source.
pub(crate) fn cause(error: BoxError) -> BoxError {
    let text = error.to_string();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = without_source_places(&words);
    key_and_place(&said).unwrap_or(said).into()
}

/// Takes each ` at /path/of/a/build/file.rs:61.` out, and leaves what follows it.
fn without_source_places(words: &str) -> String {
    let mut parts = words.split(" at /");
    let mut said = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(".rs:") {
            Some((path, after)) if !path.contains(' ') => {
                said.push_str(after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.'));
            }
            _ => said.extend([" at /", part]),
        }
    }
    said
}

/// What is wrong with a key, and where, from the Rust spelling in which zenoh hands on what its
/// reader of JSON5 says: `JSON error: Message { msg: "...", location: Some(Location { line: 1, ...`.
fn key_and_place(said: &str) -> Option<String> {
    let (_, said) = said.split_once("Message { msg: \"")?;
    let (what, place) = said.rsplit_once("\", location: ")?;
    let what = what.replace("\\\"", "\"");
    let place = place.split_once("line: ").and_then(|(_, place)| place.split_once(", column: "));
    Some(match place {
        Some((line, column)) => {
            let column = column.trim_end_matches([' ', '}', ')']);
            format!("line {line}, column {column}: {what}")
        }
        None => what,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(zenoh_says: &str, expected: &str) {
        assert_eq!(cause(zenoh_says.into()).to_string(), expected);
    }

    #[test]
    fn what_zenoh_says_becomes_one_line_without_its_source_path() {
        check(
            " --> 1:26\n  |\n1 | { mode\n  = expected string at /root/zenoh/src/lib.rs:1486.",
            "--> 1:26 | 1 | { mode = expected string",
        );
        check("No such file at /etc/zenoh.json5", "No such file at /etc/zenoh.json5");
        check("No such file at /etc/my zenoh.rs: 1", "No such file at /etc/my zenoh.rs: 1");
    }

    #[test]
    fn what_stands_after_a_source_path_is_kept() {
        check(
            "Can not bind to tcp/192.0.2.7:1: [in use (os error 98) at /root/link-1.1/src/tcp.rs:61.] \
             at /root/zenoh/src/mod.rs:7.",
            "Can not bind to tcp/192.0.2.7:1: [in use (os error 98)]",
        );
    }

    #[test]
    fn a_key_that_zenoh_does_not_know_is_named_with_its_place() {
        let zenoh = |text: &str| {
            let path = std::env::temp_dir().join(format!("magpie-{}.json5", std::process::id()));
            std::fs::write(&path, text).unwrap();
            let error = zenoh::Config::from_file(&path).unwrap_err();
            std::fs::remove_file(path).unwrap();
            cause(error).to_string()
        };
        let said = zenoh("{mode: 'peer',\n listne: {}}");
        assert!(
            said.starts_with("line 2, column 2: unknown field `listne`, expected one"),
            "{said}"
        );
        assert!(said.ends_with('`'), "{said}");
        check(
            "JSON error: Message { msg: \"a \\\"word\\\"\", location: None } at /zenoh/lib.rs:1.",
            "a \"word\"",
        );
    }
}

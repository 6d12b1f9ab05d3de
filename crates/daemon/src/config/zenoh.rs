//! `[zenoh]`: how to join the network.

use std::path::PathBuf;

use magpie_network::{ZenohConfig, check_endpoint};
use serde::Deserialize;

use super::checker::{Checker, ConfigError};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ZenohFile {
    listen: Option<Endpoints>,
    config: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected an endpoint, such as \"tcp/127.0.0.1:17448\", or a list of them"
)]
enum Endpoints {
    One(String),
    Several(Vec<String>),
}

/// The named file is read when the network is joined.
pub(super) fn check(checker: &Checker<'_>, file: ZenohFile) -> Result<ZenohConfig, ConfigError> {
    const KEY: &str = "zenoh.listen";
    let endpoints = match (file.listen, file.config) {
        (None, Some(path)) => return Ok(ZenohConfig::File(checker.resolve(&path))),
        (None, None) => return Ok(ZenohConfig::Shipped),
        (Some(_), Some(_)) => {
            let why = "is named beside zenoh.config, which says where to listen; keep one of them";
            return checker.refuse(KEY, "...", why);
        }
        (Some(Endpoints::One(endpoint)), None) => vec![endpoint],
        (Some(Endpoints::Several(endpoints)), None) => endpoints,
    };
    if endpoints.is_empty() {
        let why = "names no endpoint; leave it out, and the first free one is taken";
        return checker.refuse(KEY, "[]", why);
    }
    for endpoint in &endpoints {
        if endpoint.ends_with(":0") {
            let why = "names no port; leave listen out, and the first free one is taken";
            return checker.refuse(KEY, endpoint, why);
        }
        if !endpoint.starts_with("tcp/") {
            let why = "is no plain TCP; what needs certificates is named by zenoh.config";
            return checker.refuse(KEY, endpoint, why);
        }
        check_endpoint(endpoint).map_err(|error| checker.unusable(KEY, error))?;
    }
    Ok(ZenohConfig::Listen(endpoints))
}

//! `[zenoh]`: how to join the network.

use std::path::PathBuf;

use magpie_network::ZenohConfig;
use serde::Deserialize;

use super::checker::Checker;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ZenohFile {
    config: Option<PathBuf>,
}

/// The named file is read when the network is joined.
pub(super) fn check(checker: &Checker<'_>, file: &ZenohFile) -> ZenohConfig {
    match &file.config {
        Some(path) => ZenohConfig::File(checker.resolve(path)),
        None => ZenohConfig::Shipped,
    }
}

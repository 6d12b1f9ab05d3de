//! `[foxglove]`: the live picture for Foxglove.

use std::net::SocketAddr;

use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FoxgloveFile {
    listen: Option<String>,
    jpeg_quality_percent: Option<u8>,
}

/// `[foxglove]`, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoxgloveConfig {
    pub listen: SocketAddr,
    pub jpeg_quality: u8,
}

/// `None`: nothing is served.
pub(super) fn check(
    checker: &Checker<'_>,
    file: &FoxgloveFile,
) -> Result<Option<FoxgloveConfig>, ConfigError> {
    let jpeg_quality = shipped(file.jpeg_quality_percent);
    if !(1..=100).contains(&jpeg_quality) {
        let key = "foxglove.jpeg_quality_percent";
        checker.refuse(key, jpeg_quality, "must lie between 1 and 100")?;
    }
    let Some(listen) = &file.listen else { return Ok(None) };
    const KEY: &str = "foxglove.listen";
    let Ok(address) = listen.parse::<SocketAddr>() else {
        return checker.refuse(KEY, listen, "is no address with a port, such as 127.0.0.1:8765");
    };
    checker.port(KEY, address)?;
    if !address.ip().is_loopback() {
        let why = "is reached by others, and Foxglove asks nobody who they are; listen on 127.0.0.1, \
                   and reach it through `ssh -L 8765:127.0.0.1:8765`";
        return checker.refuse(KEY, listen, why);
    }
    Ok(Some(FoxgloveConfig { listen: address, jpeg_quality }))
}

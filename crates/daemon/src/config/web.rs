//! `[web]`: the page of the cell, and the same for machines.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use magpie_web::Token;
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

/// What systemd names the token by, as in `LoadCredential=web-token:FILE`.
const CREDENTIAL: &str = "web-token";
const TOKEN_BYTES_MAX: u64 = 4096;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebFile {
    listen: Option<String>,
    hosts: Option<Vec<String>>,
    picture_period_ms: Option<u64>,
    token: Option<PathBuf>,
    calibration_folder: Option<PathBuf>,
}

/// `[web]`, checked. There is none where no page is served.
#[derive(Clone, Debug)]
pub struct WebConfig {
    pub listen: SocketAddr,
    /// Names by which browsers may ask for the page, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// Shortest time between two pictures.
    pub picture_period: Duration,
    /// `None`: the page can change nothing.
    pub token: Option<Token>,
    /// Where the page writes calibrations.
    pub calibration_folder: PathBuf,
}

pub(super) fn check(
    checker: &Checker<'_>,
    file: WebFile,
) -> Result<Option<WebConfig>, ConfigError> {
    let picture_period = checker.time("web.picture_period_ms", shipped(file.picture_period_ms))?;
    let hosts = shipped(file.hosts);
    if let Some(host) = hosts.iter().find(|host| !is_host(host)) {
        let why = "must be a name alone, without http:// and without a port";
        checker.refuse("web.hosts", host, why)?;
    }
    let calibration_folder = checker.resolve(&shipped(file.calibration_folder));
    let Some(listen) = file.listen else { return Ok(None) };
    let Ok(listen) = listen.parse::<SocketAddr>() else {
        let why = "must be an address and a port, as in 127.0.0.1:8447";
        return checker.refuse("web.listen", listen, why);
    };
    checker.port("web.listen", listen)?;
    let token = file.token.map(|path| checker.resolve(&path)).or_else(credential);
    let token = token.map(|path| read_token(checker, &path)).transpose()?;
    Ok(Some(WebConfig { listen, hosts, picture_period, token, calibration_folder }))
}

fn is_host(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !text.is_empty() && text.chars().all(is_part)
}

/// The file that systemd made for this service, if its unit names one.
fn credential() -> Option<PathBuf> {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY")?;
    let path = Path::new(&folder).join(CREDENTIAL);
    path.exists().then_some(path)
}

fn read_token(checker: &Checker<'_>, path: &Path) -> Result<Token, ConfigError> {
    let named = |error: &dyn std::fmt::Display| {
        checker.unusable("web.token", format!("{}: {error}", path.display()))
    };
    let text = magpie_files::read_text(path, TOKEN_BYTES_MAX).map_err(|error| named(&error))?;
    Token::new(&text).map_err(|error| named(&error))
}

//! The certificates and keys that a zenoh configuration names.
//!
//! Where one of them is wrong, zenoh tells no more than that a connection took too long. So each is
//! looked at before a session opens.

use std::path::{Path, PathBuf};

use magpie_perception::StampNs;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;
use zenoh::Config;
use zenoh::config::EndPoint;

use crate::NetworkError;
use crate::settings::endpoints;

/// How a certificate that this program shows to others stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub path: PathBuf,
    /// What access control knows its holder by.
    pub common_name: String,
    /// Unix time.
    pub valid_until: StampNs,
}

impl Certificate {
    /// One that expires sooner than this should be renewed.
    pub const RENEW_DAYS: i64 = 30;

    /// How many whole days it is good for, seen from Unix time `now`; negative once it has expired.
    pub fn days_left(&self, now: StampNs) -> i64 {
        const DAY_NS: i128 = 24 * 3600 * 1_000_000_000;
        let left_ns = i128::from(self.valid_until.0) - i128::from(now.0);
        i64::try_from(left_ns.div_euclid(DAY_NS)).expect("u64 nanoseconds are 213,503 days")
    }
}

/// Where `settings` keeps the files of TLS.
const TLS: &str = "transport/link/tls";

/// What systemd has handed over (`LoadCredential=`) takes the place of a file of the same name: keys
/// belong to root, whom the service is not.
pub(crate) fn take_from_systemd(config: &mut Config, folder: Option<&Path>) {
    let Some(folder) = folder else { return };
    let tls = config.transport().link().tls();
    let named = [
        ("root_ca_certificate", tls.root_ca_certificate()),
        ("listen_private_key", tls.listen_private_key()),
        ("listen_certificate", tls.listen_certificate()),
        ("connect_private_key", tls.connect_private_key()),
        ("connect_certificate", tls.connect_certificate()),
    ];
    let mut handed_over = Vec::new();
    for (key, path) in named {
        let name = path.as_deref().and_then(|path| Path::new(path).file_name());
        let given = name.map(|name| folder.join(name)).filter(|given| given.is_file());
        handed_over.extend(given.map(|given| (key, given)));
    }
    for (key, path) in handed_over {
        let path = serde_json::Value::from(path.to_string_lossy()).to_string();
        config.insert_json5(&format!("{TLS}/{key}"), &path).expect("a key that zenoh knows");
    }
}

/// Reads all that the endpoints will need, and gives the certificates that are shown to others.
pub(crate) fn check(config: &Config, now: StampNs) -> Result<Vec<Certificate>, NetworkError> {
    let is_tls = |endpoint: &EndPoint| matches!(endpoint.protocol().as_str(), "tls" | "quic");
    let parsed = |key| {
        let endpoints = endpoints(config, key).into_iter();
        endpoints.filter_map(|endpoint| endpoint.parse::<EndPoint>().ok()).filter(is_tls)
    };
    let mutual = config.transport().link().tls().enable_mtls() == &Some(true);
    let mut shown = Vec::new();
    for endpoint in parsed("listen/endpoints") {
        shown.extend(check_pair(config, &endpoint, Side::Listen, now)?);
        check_authority(config, &endpoint, mutual, now)?;
    }
    for endpoint in parsed("connect/endpoints") {
        if mutual {
            shown.extend(check_pair(config, &endpoint, Side::Connect, now)?);
        }
        check_authority(config, &endpoint, false, now)?;
    }
    shown.dedup();
    Ok(shown)
}

#[derive(Clone, Copy)]
enum Side {
    Listen,
    Connect,
}

/// A file that the configuration names, and under which key.
struct Named {
    key: String,
    path: PathBuf,
}

impl Named {
    /// What an endpoint says of itself goes before what stands under `transport.link.tls`.
    fn find(endpoint: &EndPoint, key: &str, general: Option<&String>) -> Option<Named> {
        let own = endpoint.config().get(&format!("{key}_file")).map(str::to_owned);
        let path = own.or_else(|| general.cloned())?;
        Some(Named { key: format!("transport.link.tls.{key}"), path: path.into() })
    }

    fn read(&self) -> Result<Vec<u8>, NetworkError> {
        magpie_files::read(&self.path, magpie_files::TEXT_BYTES_MAX).map_err(|error| {
            let from = match std::env::current_dir() {
                Ok(folder) if self.path.is_relative() => {
                    format!(", looked for in {}; give the whole path", folder.display())
                }
                _ => String::new(),
            };
            self.refuse(format!("cannot be read: {error}{from}"))
        })
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, NetworkError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.read()?).collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            _ => Err(self.refuse("holds no certificate in PEM form".into())),
        }
    }

    fn refuse(&self, problem: String) -> NetworkError {
        NetworkError::Credential { key: self.key.clone(), path: self.path.clone(), problem }
    }
}

/// The certificate that is shown to others, and its key. `None`: they stand in the configuration
/// itself, in base64.
fn check_pair(
    config: &Config,
    endpoint: &EndPoint,
    side: Side,
    now: StampNs,
) -> Result<Option<Certificate>, NetworkError> {
    let tls = config.transport().link().tls();
    let (key_name, key, key_inside, certificate_name, certificate, certificate_inside) = match side
    {
        Side::Listen => (
            "listen_private_key",
            tls.listen_private_key(),
            tls.listen_private_key_base64().is_some(),
            "listen_certificate",
            tls.listen_certificate(),
            tls.listen_certificate_base64().is_some(),
        ),
        Side::Connect => (
            "connect_private_key",
            tls.connect_private_key(),
            tls.connect_private_key_base64().is_some(),
            "connect_certificate",
            tls.connect_certificate(),
            tls.connect_certificate_base64().is_some(),
        ),
    };
    let find = |name: &str, general: &Option<String>, inside: bool| {
        let named = Named::find(endpoint, name, general.as_ref());
        match named {
            None if !inside => Err(unset(name, endpoint)),
            named => Ok(named.filter(|_| !inside)),
        }
    };
    let key = find(key_name, key, key_inside)?;
    let certificate = find(certificate_name, certificate, certificate_inside)?;
    let (Some(key), Some(certificate)) = (key, certificate) else { return Ok(None) };
    let chain = certificate.certificates()?;
    let shown = describe(&certificate, &chain[0], now)?;
    let private = PrivateKeyDer::from_pem_slice(&key.read()?)
        .map_err(|_| key.refuse("holds no private key in PEM form".into()))?;
    CertifiedKey::from_der(chain, private, &ring::default_provider()).map_err(|error| {
        let certificate = certificate.path.display();
        key.refuse(format!("does not fit the certificate {certificate}: {error}"))
    })?;
    Ok(Some(shown))
}

/// The certificates of those who sign others'.
fn check_authority(
    config: &Config,
    endpoint: &EndPoint,
    needed: bool,
    now: StampNs,
) -> Result<(), NetworkError> {
    let tls = config.transport().link().tls();
    if tls.root_ca_certificate_base64().is_some() {
        return Ok(());
    }
    let general = tls.root_ca_certificate().as_ref();
    match Named::find(endpoint, "root_ca_certificate", general) {
        Some(authority) => {
            // While authorities change, the file holds the old one and the new one.
            let certificates = authority.certificates()?;
            let mut outcomes = certificates.iter().map(|one| describe(&authority, one, now));
            let first = outcomes.next().expect("a file without any was refused");
            outcomes.fold(first, Result::or).map(drop)
        }
        None if needed => Err(unset("root_ca_certificate", endpoint)),
        None => Ok(()),
    }
}

fn unset(key: &str, endpoint: &EndPoint) -> NetworkError {
    NetworkError::CredentialMissing {
        key: format!("transport.link.tls.{key}"),
        endpoint: endpoint.to_string(),
    }
}

fn date(now: StampNs) -> String {
    let now_s = i64::try_from(now.0 / 1_000_000_000).expect("the age of the universe is less");
    ASN1Time::from_timestamp(now_s).map_or_else(|_| "nothing".into(), |time| time.to_string())
}

fn describe(
    named: &Named,
    der: &CertificateDer<'_>,
    now: StampNs,
) -> Result<Certificate, NetworkError> {
    let (_, certificate) = X509Certificate::from_der(der)
        .map_err(|error| named.refuse(format!("holds no certificate that can be read: {error}")))?;
    let validity = certificate.validity();
    let stamp = |time: ASN1Time| {
        StampNs(u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1_000_000_000))
    };
    if now > stamp(validity.not_after) {
        let (key, path) = (named.key.clone(), named.path.clone());
        let (at, now) = (validity.not_after.to_string(), date(now));
        return Err(NetworkError::CredentialExpired { key, path, at, now });
    }
    if now < stamp(validity.not_before) {
        let (path, from) = (named.path.clone(), validity.not_before.to_string());
        return Err(NetworkError::CredentialEarly { path, from });
    }
    let common_name = certificate.subject().iter_common_name().next();
    let common_name =
        common_name.and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned();
    Ok(Certificate {
        path: named.path.clone(),
        common_name,
        valid_until: stamp(validity.not_after),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;
    use crate::SystemClock;

    /// A cell's files, at hand instead of in /etc/magpie/tls.
    fn cell() -> (TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/certificates");
        let made = Command::new(script).args(["dock", "127.0.0.1"]).arg(folder.path()).output();
        let made = made.unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let at = folder.path().join("dock/daemon");
        let text = std::fs::read_to_string(at.join("dock-daemon.json5")).unwrap();
        (folder, text.replace("/etc/magpie/tls", at.to_str().unwrap()))
    }

    fn checked(text: &str, now: StampNs) -> Result<Vec<Certificate>, NetworkError> {
        check(&Config::from_json5(text).unwrap(), now)
    }

    fn now() -> StampNs {
        SystemClock::start().now()
    }

    const DAY_NS: u64 = 24 * 3600 * 1_000_000_000;

    #[test]
    fn a_certificate_is_good_in_its_time_only() {
        let (_folder, text) = cell();
        let shown = checked(&text, now()).unwrap();
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert_eq!(shown[0].common_name, "dock-daemon");
        assert_eq!(shown[0].days_left(now()), 729);
        assert_eq!(shown[0].days_left(StampNs(shown[0].valid_until.0 + 1)), -1);
        let late = checked(&text, StampNs(now().0 + 731 * DAY_NS)).unwrap_err();
        assert!(!late.is_configuration() && !late.may_pass(), "{late}");
        assert!(late.to_string().contains("expired at"), "{late}");
        let early = checked(&text, StampNs(now().0 - DAY_NS)).unwrap_err();
        assert!(early.may_pass() && early.to_string().contains("clock"), "{early}");
    }

    #[test]
    fn a_certificate_that_never_ends_has_not_expired() {
        // 99991231235959Z, which RFC 5280 gives for that, is beyond 64 bits of nanoseconds.
        for valid_until in [u64::MAX, 10_413_792_000_000_000_000] {
            let valid_until = StampNs(valid_until);
            let common_name = "dock-daemon".to_owned();
            let endless = Certificate { path: PathBuf::new(), common_name, valid_until };
            assert!(endless.days_left(now()) > 90_000, "{}", endless.days_left(now()));
            assert!(endless.days_left(StampNs(u64::MAX)) <= 0);
        }
    }

    #[track_caller]
    fn check_refused(text: &str, parts: &[&str]) {
        let refused = checked(text, now()).unwrap_err();
        assert!(refused.is_configuration(), "{refused}");
        for part in parts {
            assert!(refused.to_string().contains(part), "{part:?} is not in {refused}");
        }
    }

    #[test]
    fn a_wrong_file_is_refused_by_name() {
        let (folder, text) = cell();
        let with = |before: &str, after: &str| {
            assert!(text.contains(before), "{before} is not in {text}");
            text.replace(before, after)
        };
        let gone = ["gone.pem", "No such file"];
        check_refused(&with("dock-daemon.pem", "gone.pem"), &gone);
        check_refused(&with("dock-daemon.key", "gone.pem"), &gone);
        check_refused(&with("ca.pem", "gone.pem"), &gone);
        let key = ["transport.link.tls.listen_private_key", "holds no private key"];
        check_refused(&with("dock-daemon.key", "dock-daemon.pem"), &key);
        check_refused(&with("ca.pem", "dock-daemon.key"), &["holds no certificate"]);
        let other = ["dock-arm.key", "does not fit the certificate", "dock-daemon.pem"];
        check_refused(&with("daemon/dock-daemon.key", "arm/dock-arm.key"), &other);
        check_refused(&with("listen_certificate:", "// "), &["names no", "listen_certificate"]);
        check_refused(
            &with("root_ca_certificate:", "// "),
            &["root_ca_certificate", "tls/127.0.0.1"],
        );
        let here = with(folder.path().to_str().unwrap(), ".");
        check_refused(&here, &["looked for in", "give the whole path"]);
    }

    #[test]
    fn what_systemd_hands_over_takes_the_place_of_a_file_of_the_same_name() {
        let (folder, text) = cell();
        let credentials = folder.path().join("credentials");
        std::fs::create_dir(&credentials).unwrap();
        let key = folder.path().join("dock/daemon/dock-daemon.key");
        std::fs::rename(key, credentials.join("dock-daemon.key")).unwrap();
        let mut config = Config::from_json5(&text).unwrap();
        take_from_systemd(&mut config, None);
        assert!(check(&config, now()).is_err());
        take_from_systemd(&mut config, Some(&credentials));
        assert_eq!(check(&config, now()).unwrap().len(), 1);
    }

    #[test]
    fn the_script_overwrites_nothing() {
        let (folder, _) = cell();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/certificates");
        let run =
            |cell| Command::new(&script).args([cell, "::1"]).arg(folder.path()).output().unwrap();
        let authority = std::fs::read(folder.path().join("ca.key")).unwrap();
        let again = run("dock");
        assert_eq!(again.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&again.stderr).contains("is there already; to renew it"));
        assert!(run("deck").status.success(), "another cell has the same CA");
        assert_eq!(std::fs::read(folder.path().join("ca.key")).unwrap(), authority);
        let wrong = run("a/b");
        assert_eq!(wrong.status.code(), Some(2));
        std::fs::remove_file(folder.path().join("ca.pem")).unwrap();
        assert!(
            String::from_utf8_lossy(&run("dick").stderr).contains("only one of ca.key and ca.pem")
        );
    }

    #[cfg(unix)]
    #[test]
    fn keys_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, _) = cell();
        for key in ["ca.key", "dock/daemon/dock-daemon.key", "dock/arm/dock-arm.key"] {
            let mode = std::fs::metadata(folder.path().join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
    }
}

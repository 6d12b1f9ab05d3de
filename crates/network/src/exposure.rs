//! Who can join a cell, by what its publisher's zenoh configuration says.

use std::fmt;

use zenoh::Config;
use zenoh::config::EndPoint;

use crate::settings::{endpoints, is_true, text};

/// Who can read a cell, ask it, and publish results in its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Who has a certificate, as far as the rules of access control let them.
    Secured,
    /// Everybody who has a certificate.
    Certified,
    /// Everybody on this machine.
    Local { endpoint: String },
    /// Everybody who reaches the endpoint.
    Open { endpoint: String },
    /// Whoever a router lets in.
    Router,
}

impl Exposure {
    pub(crate) fn of(config: &Config) -> Exposure {
        let mutual = is_true(config, "transport/link/tls/enable_mtls");
        let asks_nothing = |endpoint: &EndPoint| {
            !(mutual && matches!(endpoint.protocol().as_str(), "tls" | "quic"))
        };
        let listen = endpoints(config, "listen/endpoints");
        let parsed = listen.iter().filter_map(|endpoint| endpoint.parse::<EndPoint>().ok());
        let mut open: Vec<EndPoint> = parsed.filter(asks_nothing).collect();
        // What is reached from elsewhere matters most.
        open.sort_by_key(is_loopback);
        let denies = is_true(config, "access_control/enabled")
            && text(config, "access_control/default_permission").as_deref() == Some("deny");
        match open.first() {
            Some(_) if denies => Exposure::Secured,
            Some(endpoint) if is_loopback(endpoint) => {
                Exposure::Local { endpoint: endpoint.to_string() }
            }
            Some(endpoint) => Exposure::Open { endpoint: endpoint.to_string() },
            None if listen.is_empty() => Exposure::Router,
            None if denies => Exposure::Secured,
            None => Exposure::Certified,
        }
    }
}

fn is_loopback(endpoint: &EndPoint) -> bool {
    let address = endpoint.address();
    let host = address.as_str().rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exposure::Secured => {
                f.write_str("access control decides who may read, ask and publish")
            }
            Exposure::Certified => f.write_str(
                "whoever has a certificate can read, ask and publish: access control is off \
                 (docs/secure-a-cell.md)",
            ),
            Exposure::Local { endpoint } => write!(
                f,
                "any local user can connect to {endpoint}, read, ask and publish \
                 (docs/secure-a-cell.md)"
            ),
            Exposure::Open { endpoint } => write!(
                f,
                "whoever reaches {endpoint} can read, ask and publish (docs/secure-a-cell.md)"
            ),
            Exposure::Router => f.write_str("the router decides who may read, ask and publish"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json5: &str, expected: &str) {
        let config = Config::from_json5(json5).unwrap();
        let said = Exposure::of(&config).to_string();
        assert!(said.starts_with(expected), "{json5}: {said}");
    }

    #[test]
    fn an_endpoint_without_certificates_is_open_as_far_as_it_is_reached() {
        check(crate::SHIPPED_ZENOH_CONFIG, "any local user can connect to tcp/127.0.0.1:17447");
        check("{listen: {endpoints: ['tcp/[::1]:1']}}", "any local user");
        check("{listen: {endpoints: ['tcp/localhost:1']}}", "any local user");
        check(
            "{listen: {endpoints: ['tcp/127.0.0.1:1', 'tcp/10.0.0.1:2']}}",
            "whoever reaches tcp/10.0.0.1:2",
        );
        check("{listen: {endpoints: ['tls/10.0.0.1:1']}}", "whoever reaches tls/10.0.0.1:1");
        check("{mode: 'client', connect: {endpoints: ['tcp/10.0.0.1:1']}}", "the router decides");
    }

    #[test]
    fn certificates_alone_let_their_holders_do_everything() {
        let mutual = "listen: {endpoints: ['tls/10.0.0.1:1']}, transport: {link: {tls: {enable_mtls: true}}}";
        check(&format!("{{{mutual}}}"), "whoever has a certificate");
        let rules = "access_control: {enabled: true, default_permission: 'deny'}";
        check(&format!("{{{mutual}, {rules}}}"), "access control decides");
    }
}

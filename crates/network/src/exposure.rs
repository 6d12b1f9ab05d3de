//! Who can join a cell, by what its publisher's zenoh configuration says.

use std::fmt;

use serde_json::Value;
use zenoh::Config;
use zenoh::config::EndPoint;

use crate::settings::{endpoints, is_true, text, value};

/// Who can read a cell, ask it, and publish results in its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Who can connect to it.
    inbound: Inbound,
    /// Where it connects to: whoever is let in there is heard, too.
    routers: Vec<String>,
    /// Whoever is found is connected to, or connects.
    scouts: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Inbound {
    /// Whoever the rules of access control let, however they come.
    Ruled,
    /// Everybody who has a certificate.
    Certified,
    /// Everybody on this machine.
    Local { endpoint: String },
    /// Everybody who reaches the endpoint.
    Open { endpoint: String },
    /// Nobody.
    Closed,
}

impl Exposure {
    pub(crate) fn of(config: &Config) -> Exposure {
        let mutual = is_true(config, "transport/link/tls/enable_mtls");
        let is_tls = |protocol: &str| matches!(protocol, "tls" | "quic");
        let asks_nothing = |endpoint: &EndPoint| !(mutual && is_tls(endpoint.protocol().as_str()));
        let listen = endpoints(config, "listen/endpoints");
        let parsed = listen.iter().filter_map(|endpoint| endpoint.parse::<EndPoint>().ok());
        let mut open: Vec<EndPoint> = parsed.filter(asks_nothing).collect();
        // What is reached from elsewhere matters most.
        open.sort_by_key(is_loopback);
        let denies = is_true(config, "access_control/enabled")
            && text(config, "access_control/default_permission").as_deref() == Some("deny");
        let inbound = match open.first() {
            _ if denies => Inbound::Ruled,
            Some(endpoint) if is_loopback(endpoint) => {
                Inbound::Local { endpoint: endpoint.to_string() }
            }
            Some(endpoint) => Inbound::Open { endpoint: endpoint.to_string() },
            None if listen.is_empty() => Inbound::Closed,
            None => Inbound::Certified,
        };
        let protocols = value(config, "transport/link/protocols");
        let protocols = protocols.as_array().map(Vec::as_slice).unwrap_or_default();
        let is_certified = |protocol: &Value| protocol.as_str().is_some_and(is_tls);
        let only_certified = mutual && !protocols.is_empty() && protocols.iter().all(is_certified);
        let routers = endpoints(config, "connect/endpoints");
        // By zenoh's own default it does; a client that is told where to connect does not.
        let is_told = text(config, "mode").as_deref() == Some("client") && !routers.is_empty();
        let scouts = value(config, "scouting/multicast/enabled").as_bool() != Some(false);
        let scouts = scouts && !is_told && !only_certified;
        Exposure { inbound, routers, scouts }
    }

    /// Whether rules decide who may do what.
    pub fn is_secured(&self) -> bool {
        self.inbound == Inbound::Ruled
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
        let routers = self.routers.join(", ");
        match &self.inbound {
            Inbound::Ruled => {
                return f.write_str("access control decides who may read, ask and publish");
            }
            Inbound::Certified => f.write_str(
                "whoever has a certificate can read, ask and publish: access control is off",
            )?,
            Inbound::Local { endpoint } => {
                write!(f, "any local user can connect to {endpoint}, read, ask and publish")?;
            }
            Inbound::Open { endpoint } => {
                write!(f, "whoever reaches {endpoint} can read, ask and publish")?;
            }
            Inbound::Closed if routers.is_empty() && self.scouts => {
                return f.write_str(
                    "whoever is found by scouting can read, ask and publish \
                     (docs/secure-a-cell.md)",
                );
            }
            Inbound::Closed if routers.is_empty() => {
                return f.write_str("nobody can connect: it listens nowhere and connects nowhere");
            }
            Inbound::Closed => {
                write!(f, "the router at {routers} decides who may read, ask and publish")?;
            }
        }
        if !routers.is_empty() && self.inbound != Inbound::Closed {
            write!(f, "; and so can whoever the router at {routers} lets in")?;
        }
        if self.scouts {
            f.write_str(
                "; and so can whoever is on its networks, for it scouts: others find it, and it \
                 connects to them",
            )?;
        }
        if self.inbound == Inbound::Closed && !self.scouts {
            return Ok(());
        }
        f.write_str(" (docs/secure-a-cell.md)")
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
        check(
            "{mode: 'client', connect: {endpoints: ['tcp/10.0.0.1:1']}}",
            "the router at tcp/10.0.0.1:1 decides",
        );
    }

    fn check_more(json5: &str, scouts: bool, router: Option<&str>) {
        let config = Config::from_json5(json5).unwrap();
        let said = Exposure::of(&config).to_string();
        assert_eq!(said.contains("scout"), scouts, "{json5}: {said}");
        let named = router.is_none_or(|router| said.contains(&format!("the router at {router} ")));
        assert!(named && said.contains("router") == router.is_some(), "{json5}: {said}");
    }

    #[test]
    fn who_is_found_or_connected_to_is_told_beside_who_connects() {
        check_more(crate::SHIPPED_ZENOH_CONFIG, false, None);
        let here = "listen: {endpoints: ['tcp/127.0.0.1:1']}";
        // zenoh scouts unless it is told not to.
        check_more(&format!("{{{here}}}"), true, None);
        check_more("{}", true, None);
        let quiet = "scouting: {multicast: {enabled: false}}";
        check_more(&format!("{{{here}, {quiet}}}"), false, None);
        let out = "connect: {endpoints: ['tcp/10.0.0.1:7447']}";
        check_more(&format!("{{{here}, {quiet}, {out}}}"), false, Some("tcp/10.0.0.1:7447"));
        check_more(&format!("{{{here}, {out}}}"), true, Some("tcp/10.0.0.1:7447"));
        check_more(&format!("{{mode: 'client', {out}}}"), false, Some("tcp/10.0.0.1:7447"));
        check_more("{mode: 'client'}", true, None);
        // Whoever answers has no certificate either, unless nothing else is spoken.
        let mutual = "listen: {endpoints: ['tls/10.0.0.1:1']}";
        let tls = "transport: {link: {tls: {enable_mtls: true}}}";
        check_more(&format!("{{{mutual}, {tls}}}"), true, None);
        let tls = "transport: {link: {protocols: ['tls'], tls: {enable_mtls: true}}}";
        check_more(&format!("{{{mutual}, {tls}}}"), false, None);
        let rules = "access_control: {enabled: true, default_permission: 'deny'}";
        check_more(&format!("{{{here}, {out}, {rules}}}"), false, None);
    }

    #[test]
    fn certificates_alone_let_their_holders_do_everything() {
        let mutual = "listen: {endpoints: ['tls/10.0.0.1:1']}, transport: {link: {tls: {enable_mtls: true}}}";
        check(&format!("{{{mutual}}}"), "whoever has a certificate");
        let rules = "access_control: {enabled: true, default_permission: 'deny'}";
        check(&format!("{{{mutual}, {rules}}}"), "access control decides");
    }
}

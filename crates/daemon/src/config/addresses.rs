//! Where a cell listens: each address names a port, and no two parts ask for the same one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use magpie_network::ZenohConfig;

use super::checker::{Checker, ConfigError};
use super::{FoxgloveConfig, WebConfig};

const WEB: &str = "web.listen";
const FOXGLOVE: &str = "foxglove.listen";

/// Refuses one address for two parts of a cell.
pub(super) fn check(
    checker: &Checker<'_>,
    web: Option<&WebConfig>,
    foxglove: Option<&FoxgloveConfig>,
    zenoh: &ZenohConfig,
) -> Result<(), ConfigError> {
    let (web, foxglove) = (web.map(|web| web.listen), foxglove.map(|foxglove| foxglove.listen));
    if let (Some(web), Some(foxglove)) = (web, foxglove)
        && collide(web, foxglove)
    {
        let why = "is the address of [web] listen as well; give each one of its own";
        return checker.refuse(FOXGLOVE, foxglove, why);
    }
    let ZenohConfig::Listen(endpoints) = zenoh else { return Ok(()) };
    for endpoint in endpoints {
        for (key, address) in [(WEB, web), (FOXGLOVE, foxglove)] {
            let Some(address) = address.filter(|address| is_at(endpoint, *address)) else {
                continue;
            };
            let why = "is the address of [zenoh] listen as well; give each one of its own";
            return checker.refuse(key, address, why);
        }
    }
    Ok(())
}

/// Whether an endpoint of zenoh's, as in `tcp/127.0.0.1:17450`, asks for the address.
pub fn is_at(endpoint: &str, address: SocketAddr) -> bool {
    addresses_of(endpoint).into_iter().any(|place| collide(place, address))
}

/// The addresses of TCP that an endpoint of zenoh's names by numbers, or as `localhost`.
pub fn addresses_of(endpoint: &str) -> Vec<SocketAddr> {
    let endpoint = endpoint.split(['?', '#']).next().unwrap_or_default();
    let Some((protocol, place)) = endpoint.split_once('/') else { return Vec::new() };
    // UDP has ports of its own.
    if !matches!(protocol, "tcp" | "tls" | "ws") {
        return Vec::new();
    }
    let Some(port) = place.strip_prefix("localhost:") else {
        return place.parse().into_iter().collect();
    };
    let Ok(port) = port.parse() else { return Vec::new() };
    let both: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    both.map(|ip| SocketAddr::new(ip, port)).into()
}

/// Whether two cannot listen there at once.
pub fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let (ip_a, ip_b) = (a.ip().to_canonical(), b.ip().to_canonical());
    // All addresses of IPv6 are those of IPv4 as well.
    let takes_all =
        |ip: IpAddr, other: IpAddr| ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4());
    a.port() == b.port() && (ip_a == ip_b || takes_all(ip_a, ip_b) || takes_all(ip_b, ip_a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_collide_where_the_system_would_give_them_to_one_alone() {
        let check = |a: &str, b: &str, expected: bool| {
            let (a, b) = (a.parse().unwrap(), b.parse().unwrap());
            assert_eq!((collide(a, b), collide(b, a)), (expected, expected), "{a} and {b}");
        };
        check("127.0.0.1:1", "127.0.0.1:1", true);
        check("127.0.0.1:1", "127.0.0.1:2", false);
        check("127.0.0.1:1", "127.0.0.2:1", false);
        check("0.0.0.0:1", "127.0.0.1:1", true);
        check("[::]:1", "127.0.0.1:1", true);
        check("[::1]:1", "127.0.0.1:1", false);
        check("[::1]:1", "0.0.0.0:1", false);
        check("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true);
    }

    #[test]
    fn an_endpoint_of_zenohs_is_an_address() {
        let address = "127.0.0.1:17450".parse().unwrap();
        for endpoint in ["tcp/127.0.0.1:17450", "tls/0.0.0.0:17450#iface=lo", "tcp/localhost:17450"]
        {
            assert!(is_at(endpoint, address), "{endpoint}");
        }
        for endpoint in ["tcp/127.0.0.1:17451", "udp/127.0.0.1:17450", "tcp/robot:17450", "odd"] {
            assert!(!is_at(endpoint, address), "{endpoint}");
        }
    }
}

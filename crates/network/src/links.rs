//! Whom a session is connected to.

use zenoh::{Session, Wait};

/// Whether it is connected to any of the endpoints that its configuration names. Readers that came by
/// themselves do not count.
pub fn is_connected(session: &Session, connects: &[String]) -> bool {
    // A name has been looked up, so that only the port is the same. Whoever came has another one.
    let ports: Vec<_> = connects.iter().map(|endpoint| port(endpoint)).collect();
    // An endpoint without a port cannot be told from whoever came.
    let is_ours = |there: &str| ports.contains(&None) || ports.contains(&port(there));
    let mut links = session.info().links().wait();
    links.any(|link| is_ours(link.dst().as_str()))
}

/// Of `tcp/HOST:PORT`, behind which settings may stand.
fn port(endpoint: &str) -> Option<&str> {
    let address = endpoint.split(['?', '#']).next()?;
    let (_, port) = address.rsplit_once(':')?;
    (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_found_in_every_endpoint_that_has_one() {
        for endpoint in ["tcp/router.example:7447", "tls/[::1]:7447#iface=eth0", "tcp/h:7447?rel=1"]
        {
            assert_eq!(port(endpoint), Some("7447"), "{endpoint}");
        }
        assert_eq!(port("unixsock-stream//tmp/a"), None);
    }
}

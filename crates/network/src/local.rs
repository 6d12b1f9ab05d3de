//! Which cells this machine has, and where they listen: nobody has to scout for them.
//!
//! A place is an endpoint at which a cell may be found. The shipped settings have sixteen of them on
//! loopback; a daemon that listens elsewhere says so in its [note](crate::Note). Whether a cell is
//! there is asked, never believed.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use magpie_wire::CellName;
use zenoh::config::EndPoint;
use zenoh::{Session, Wait};

use crate::ZenohConfig;
use crate::fork;
use crate::instance::notes;
use crate::session::{insert, loopback_endpoints};

/// How long a program on this machine has to accept a connection, and then to speak zenoh.
const ACCEPT_MAX: Duration = Duration::from_millis(300);
const OPEN_MAX_MS: &str = "1000";
/// How long a cell has to say that it is alive.
const ANSWER_MAX: Duration = Duration::from_millis(1000);

/// Where somebody listens and a cell may be: the ones of the shipped settings first.
pub fn places() -> Vec<String> {
    let mut places: Vec<String> = loopback_endpoints().collect();
    for note in notes() {
        let elsewhere = note.listens.into_iter().chain(note.connects);
        places.extend(elsewhere.filter(|place| !loopback_endpoints().any(|known| known == *place)));
    }
    places.sort();
    places.dedup();
    places.retain(|place| may_listen(place));
    places
}

/// `false` where surely nobody does: asking zenoh would take longer.
fn may_listen(endpoint: &str) -> bool {
    let Ok(endpoint) = endpoint.parse::<EndPoint>() else { return false };
    match endpoint.address().as_str().parse::<SocketAddr>() {
        Ok(mut address) => {
            // Who listens on all addresses is reached by the first.
            if address.ip().is_unspecified() {
                let loopback = if address.is_ipv4() { "127.0.0.1" } else { "::1" };
                address.set_ip(loopback.parse().expect("an address"));
            }
            TcpStream::connect_timeout(&address, ACCEPT_MAX).is_ok()
        }
        Err(_) => true,
    }
}

/// A session for questions to whoever listens there; `None` if nobody who speaks zenoh does.
pub fn open_to_ask(endpoint: &str) -> Option<Session> {
    fork::join().ok()?;
    let mut config = ZenohConfig::Connect(vec![endpoint.to_owned()]).load().ok()?;
    // Once, without trying again.
    insert(&mut config, "connect/timeout_ms", "0");
    insert(&mut config, "transport/unicast/open_timeout", OPEN_MAX_MS);
    insert(&mut config, "transport/shared_memory/enabled", "false");
    zenoh::open(config).wait().ok()
}

/// The cells that say on this session that they are alive.
pub fn alive(session: &Session) -> Vec<CellName> {
    let query = session.liveliness().get("magpie/*/alive").timeout(ANSWER_MAX);
    let Ok(replies) = query.wait() else { return Vec::new() };
    let mut cells = Vec::new();
    while let Ok(reply) = replies.recv() {
        let Ok(sample) = reply.result() else { continue };
        let mut chunks = sample.key_expr().as_str().split('/');
        // Whoever is on the network may say anything.
        if let Some(cell) = chunks.nth(1).and_then(|name| CellName::new(name).ok())
            && !cells.contains(&cell)
        {
            cells.push(cell);
        }
    }
    cells.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    cells
}

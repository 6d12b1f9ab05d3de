//! Joining the network as the only publisher of a cell.

use std::time::Duration;

use magpie_perception::BoxError;
use magpie_wire::CellName;
use zenoh::{Config, Session, Wait};

use crate::error::cause;
use crate::local::{open_to_ask, places};
use crate::session::{
    as_client, close, insert, insert_endpoints, is_address_in_use, loopback_endpoints, named,
    not_opened,
};
use crate::settings::endpoints;
use crate::{NetworkError, ZenohConfig};

/// How long another holder of the cell name has to answer.
const RIVAL_TIMEOUT: Duration = Duration::from_millis(1000);

/// A publisher's session, and where it listens.
pub struct Joined {
    pub session: Session,
    /// Empty where it reaches its readers through a router.
    pub listens: Vec<String>,
    /// Where it connects to.
    pub connects: Vec<String>,
}

impl Joined {
    fn new(session: Session, config: &Config) -> Joined {
        let (listens, connects) =
            (endpoints(config, "listen/endpoints"), endpoints(config, "connect/endpoints"));
        Joined { session, listens, connects }
    }
}

/// Opens the session of the only publisher of `cell`.
pub fn open_as_publisher(zenoh: &ZenohConfig, cell: &CellName) -> Result<Joined, NetworkError> {
    let config = zenoh.load()?;
    if zenoh.is_automatic() {
        return open_on_a_free_endpoint(config, cell);
    }
    let session = match zenoh::open(config.clone()).wait() {
        Ok(session) => session,
        Err(source) if is_address_in_use(&source) => return Err(who_listens(config, cell, source)),
        Err(source) => return Err(not_opened(&config, source)),
    };
    if is_published(&session, cell) {
        let through = match named(&config, "connect/endpoints") {
            connect if connect.is_empty() => named(&config, "listen/endpoints"),
            connect => connect,
        };
        close(&session);
        return Err(NetworkError::CellTaken { cell: cell.to_string(), through });
    }
    Ok(Joined::new(session, &config))
}

/// Takes the first endpoint that is free. Whoever holds another one may be the cell already, and does
/// not see this session.
fn open_on_a_free_endpoint(mut config: Config, cell: &CellName) -> Result<Joined, NetworkError> {
    let mut last_error = None;
    for endpoint in loopback_endpoints() {
        insert_endpoints(&mut config, "listen/endpoints", std::slice::from_ref(&endpoint))?;
        let session = match zenoh::open(config.clone()).wait() {
            Ok(session) => session,
            Err(source) if is_address_in_use(&source) => {
                last_error = Some(source);
                continue;
            }
            Err(source) => return Err(not_opened(&config, source)),
        };
        let rivals = places().into_iter().filter(|place| *place != endpoint);
        for through in rivals {
            if is_published_at(&through, cell) {
                close(&session);
                return Err(NetworkError::CellTaken { cell: cell.to_string(), through });
            }
        }
        return Ok(Joined::new(session, &config));
    }
    let source = cause(last_error.expect("the range is not empty"));
    let (first, last) = (loopback_endpoints().next(), loopback_endpoints().last());
    let endpoints = [first, last].into_iter().flatten().collect::<Vec<_>>().join(" to ");
    Err(NetworkError::EndpointTaken { endpoints, source })
}

fn is_published_at(endpoint: &str, cell: &CellName) -> bool {
    open_to_ask(endpoint).is_some_and(|session| {
        let published = is_published(&session, cell);
        close(&session);
        published
    })
}

/// Joins as [`open_as_publisher`] would, and leaves at once. Whether anybody was there, and where this
/// one listened.
pub fn try_as_publisher(
    zenoh: &ZenohConfig,
    cell: &CellName,
) -> Result<(bool, Vec<String>), NetworkError> {
    let Joined { session, listens, .. } = open_as_publisher(zenoh, cell)?;
    let info = session.info();
    let others = info.routers_zid().wait().count() + info.peers_zid().wait().count();
    close(&session);
    Ok((others > 0, listens))
}

/// Another daemon of the same cell, or a stranger? Asks whoever listens there.
fn who_listens(mut config: Config, cell: &CellName, source: BoxError) -> NetworkError {
    let (listen, endpoints) =
        (endpoints(&config, "listen/endpoints"), named(&config, "listen/endpoints"));
    as_client(&mut config);
    // Our own rules say what others may do, not what we may ask.
    insert(&mut config, "access_control/enabled", "false");
    if insert_endpoints(&mut config, "connect/endpoints", &listen).is_ok()
        && let Ok(session) = zenoh::open(config).wait()
    {
        let published = is_published(&session, cell);
        close(&session);
        if published {
            return NetworkError::CellTaken { cell: cell.to_string(), through: endpoints };
        }
    }
    NetworkError::EndpointTaken { endpoints, source: cause(source) }
}

/// Whether somebody holds the cell's liveliness token.
fn is_published(session: &Session, cell: &CellName) -> bool {
    let query = session.liveliness().get(cell.key("alive")).timeout(RIVAL_TIMEOUT);
    match query.wait() {
        Ok(replies) => match replies.recv() {
            Ok(reply) => reply.result().is_ok(),
            Err(_) => false,
        },
        Err(_) => false,
    }
}

//! Everything a cell says, for people who look: every result, every heartbeat, every departure.

use prost::Message;
use zenoh::handlers::{RingChannel, RingChannelHandler};
use zenoh::pubsub::Subscriber;
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use crate::freshness::check_message;
use crate::{CellName, Refusal, TransportError, ZenohConfig, session, wire};

/// How many messages of one kind wait for a slow reader; beyond that the oldest are given up.
const BACKLOG: usize = 64;

/// One thing that a cell said.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    Packages(Box<wire::Packages>),
    Status(Box<wire::Status>),
    /// A daemon joined.
    Alive,
    /// The daemon left.
    Gone,
    /// A message that is not for this reader, or not whole.
    Refused(Refusal),
}

/// Yields everything that a cell says, in the order in which each kind was sent. It does not judge
/// freshness: a controller takes [`PackagesSubscriber`](crate::PackagesSubscriber).
pub struct Watcher {
    session: Session,
    cell: CellName,
    packages: Subscriber<RingChannelHandler<Sample>>,
    status: Subscriber<RingChannelHandler<Sample>>,
    alive: Subscriber<RingChannelHandler<Sample>>,
}

impl Watcher {
    /// Joins the network, or says why it cannot. Blocks; inside tokio it needs the multi-thread
    /// runtime.
    pub fn open(cell: CellName, zenoh: &ZenohConfig) -> Result<Watcher, TransportError> {
        let session = session::open(zenoh)?;
        let subscribe = |what: &str| {
            let key = cell.key(what);
            let ring = RingChannel::new(BACKLOG);
            let subscriber = match what {
                "alive" => {
                    session.liveliness().declare_subscriber(&key).history(true).with(ring).wait()
                }
                _ => session.declare_subscriber(&key).with(ring).wait(),
            };
            subscriber.map_err(|source| TransportError::Declare { key, source })
        };
        let (packages, status, alive) =
            (subscribe("packages")?, subscribe("status")?, subscribe("alive")?);
        Ok(Watcher { session, cell, packages, status, alive })
    }

    /// Waits for the next event, for as long as it takes. May be dropped and called again without
    /// losing one.
    pub async fn next(&mut self) -> WatchEvent {
        let event = tokio::select! {
            sample = self.alive.recv_async() => sample.map(|s| presence(&s)),
            sample = self.packages.recv_async() => sample.map(|s| self.packages_event(&s)),
            sample = self.status.recv_async() => sample.map(|s| status_event(&s)),
        };
        // A ring is deleted with its subscriber only, which lives as long as `self`.
        event.unwrap_or(WatchEvent::Gone)
    }

    fn packages_event(&self, sample: &Sample) -> WatchEvent {
        match wire::Packages::decode(&*sample.payload().to_bytes()) {
            Err(error) => WatchEvent::Refused(Refusal::Undecodable(error.to_string())),
            Ok(message) => match check_message(&message, self.cell.as_str()) {
                Err(refusal) => WatchEvent::Refused(refusal),
                Ok(()) => WatchEvent::Packages(Box::new(message)),
            },
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        session::close(&self.session);
    }
}

fn presence(sample: &Sample) -> WatchEvent {
    match sample.kind() {
        SampleKind::Put => WatchEvent::Alive,
        SampleKind::Delete => WatchEvent::Gone,
    }
}

fn status_event(sample: &Sample) -> WatchEvent {
    match wire::Status::decode(&*sample.payload().to_bytes()) {
        Ok(status) => WatchEvent::Status(Box::new(status)),
        Err(error) => WatchEvent::Refused(Refusal::Undecodable(error.to_string())),
    }
}

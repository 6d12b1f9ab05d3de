//! Everything a cell says, for people who look: every result, every heartbeat, every departure.

use std::time::Duration;

use magpie_network::{NetworkError, ZenohConfig, close, open};
use magpie_wire::freshness::{decode_packages, decode_status};
use magpie_wire::{self as wire, CellName, Refusal};
use prost::Message;
use zenoh::handlers::{RingChannel, RingChannelHandler};
use zenoh::pubsub::Subscriber;
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

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
    /// The JPEG of a frame; asked for by [`WatchOptions::images`].
    Image {
        header: wire::ImageHeader,
        jpeg: Vec<u8>,
    },
    /// A message that is not for this reader, or not whole.
    Refused(Refusal),
}

/// What to watch beside results and status.
#[derive(Clone, Copy, Debug, Default)]
pub struct WatchOptions {
    /// Pictures too: the daemon makes them only while somebody wants them.
    pub images: bool,
}

/// Yields everything that a cell says, in the order in which each kind was sent. It does not judge
/// freshness: a controller takes [`PackagesSubscriber`](crate::PackagesSubscriber).
pub struct Watcher {
    session: Session,
    cell: CellName,
    packages: Subscriber<RingChannelHandler<Sample>>,
    status: Subscriber<RingChannelHandler<Sample>>,
    alive: Subscriber<RingChannelHandler<Sample>>,
    image: Option<Subscriber<RingChannelHandler<Sample>>>,
}

impl Watcher {
    /// Joins the network, or says why it cannot. Blocks; inside tokio it needs the multi-thread
    /// runtime.
    pub fn open(
        cell: CellName,
        zenoh: &ZenohConfig,
        options: WatchOptions,
    ) -> Result<Watcher, NetworkError> {
        let session = open(zenoh)?;
        let subscribe = |what: &str| {
            let key = cell.key(what);
            let ring = RingChannel::new(BACKLOG);
            let subscriber = match what {
                "alive" => {
                    session.liveliness().declare_subscriber(&key).history(true).with(ring).wait()
                }
                _ => session.declare_subscriber(&key).with(ring).wait(),
            };
            subscriber.map_err(|source| NetworkError::Declare { key, source })
        };
        let (packages, status, alive) =
            (subscribe("packages")?, subscribe("status")?, subscribe("alive")?);
        let image = options.images.then(|| subscribe("image")).transpose()?;
        Ok(Watcher { session, cell, packages, status, alive, image })
    }

    /// Waits for the next event, for as long as it takes. May be dropped and called again without
    /// losing one.
    pub async fn next(&mut self) -> WatchEvent {
        let event = tokio::select! {
            sample = self.alive.recv_async() => sample.map(|s| presence(&s)),
            sample = self.packages.recv_async() => sample.map(|s| self.packages_event(&s)),
            sample = self.status.recv_async() => sample.map(|s| self.status_event(&s)),
            sample = received(self.image.as_ref()) => sample.map(|s| image_event(&s)),
        };
        // A ring is deleted with its subscriber only, which lives as long as `self`.
        event.unwrap_or(WatchEvent::Gone)
    }

    fn packages_event(&self, sample: &Sample) -> WatchEvent {
        // People see what a controller would refuse for its length of validity, too.
        match decode_packages(&sample.payload().to_bytes(), self.cell.as_str(), Duration::MAX) {
            Ok(message) => WatchEvent::Packages(Box::new(message)),
            Err(refusal) => WatchEvent::Refused(refusal),
        }
    }
}

impl Watcher {
    fn status_event(&self, sample: &Sample) -> WatchEvent {
        match decode_status(&sample.payload().to_bytes(), self.cell.as_str()) {
            Ok(status) => WatchEvent::Status(Box::new(status)),
            Err(refusal) => WatchEvent::Refused(refusal),
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        close(&self.session);
    }
}

/// The next sample; for ever pending without a subscriber.
async fn received(
    subscriber: Option<&Subscriber<RingChannelHandler<Sample>>>,
) -> zenoh::Result<Sample> {
    match subscriber {
        Some(subscriber) => subscriber.recv_async().await,
        None => std::future::pending().await,
    }
}

fn image_event(sample: &Sample) -> WatchEvent {
    let header = sample.attachment().map(|bytes| wire::ImageHeader::decode(&*bytes.to_bytes()));
    match header {
        Some(Ok(header)) => {
            WatchEvent::Image { header, jpeg: sample.payload().to_bytes().to_vec() }
        }
        Some(Err(error)) => WatchEvent::Refused(undecodable(error.to_string())),
        None => WatchEvent::Refused(undecodable("an image without a header".into())),
    }
}

fn undecodable(why: String) -> Refusal {
    Refusal::Undecodable { message: "ImageHeader", why }
}

fn presence(sample: &Sample) -> WatchEvent {
    match sample.kind() {
        SampleKind::Put => WatchEvent::Alive,
        SampleKind::Delete => WatchEvent::Gone,
    }
}

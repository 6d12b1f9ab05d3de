//! The controller's side: the newest result, and whether it may be acted on.

use std::sync::Arc;
use std::time::Duration;

use magpie_network::NetworkError;
use magpie_perception::SharedClock;
use magpie_wire::freshness::{Heard, decode_packages};
use magpie_wire::{self as wire, Freshness};
use zenoh::pubsub::Subscriber;
use zenoh::sample::Sample;
use zenoh::{Session, Wait};

use crate::inbox::{Ears, SharedInbox, declared};
use crate::session::SharedSession;
use crate::{ClientOptions, SubscriberCounters};

/// Receives the results of one cell, keeps the newest, and says whether it may be acted upon.
/// [`Client::packages`](crate::Client::packages) makes it. Threads may share it: they wait side by
/// side, and one of them gets each result.
pub struct PackagesSubscriber {
    // Before the session, so that they stop listening while it is open.
    _ears: Ears,
    inbox: Arc<SharedInbox>,
    clock: SharedClock,
    _session: SharedSession,
}

impl PackagesSubscriber {
    pub(crate) fn open(
        session: &SharedSession,
        options: &ClientOptions,
        heard: Heard,
    ) -> Result<PackagesSubscriber, NetworkError> {
        let (inbox, mut ears) = SharedInbox::listen(session.get(), options, heard)?;
        session.tell(&inbox);
        ears.push(receive_packages(session.get(), options, &inbox)?);
        Ok(PackagesSubscriber {
            _ears: ears,
            inbox,
            clock: options.clock.clone(),
            _session: session.clone(),
        })
    }

    /// Waits for a result that was not handed out before, at most for `timeout`; `true` if there is
    /// one. [`latest`](PackagesSubscriber::latest) hands it out. For those who cannot block for long
    /// at once.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.inbox.wait_while(timeout, |inbox| inbox.awaits_news()).has_new()
    }

    /// Waits for a result that was not handed out before, at most for `timeout`, then says how
    /// things stand.
    pub fn next(&self, timeout: Duration) -> Freshness {
        self.inbox.wait_while(timeout, |inbox| inbox.awaits_news()).hand_out(&self.clock)
    }

    /// How things stand now.
    pub fn latest(&self) -> Freshness {
        self.next(Duration::ZERO)
    }

    /// Whether the client was closed: nothing will come any more.
    pub fn is_closed(&self) -> bool {
        self.inbox.lock().closed.is_some()
    }

    pub fn counters(&self) -> SubscriberCounters {
        self.inbox.lock().counters
    }

    /// The newest heartbeat.
    pub fn status(&self) -> Option<wire::Status> {
        self.inbox.lock().heard.heartbeat.as_ref().map(|last| last.status.clone())
    }
}

/// The callback runs on zenoh's receiving thread: it keeps the newest and returns.
fn receive_packages(
    session: &Session,
    options: &ClientOptions,
    inbox: &Arc<SharedInbox>,
) -> Result<Subscriber<()>, NetworkError> {
    let (clock, inbox, cell) = (options.clock.clone(), inbox.clone(), options.cell.clone());
    let valid_max = options.result_valid_max;
    let on_packages = move |sample: Sample| {
        let (at, unix_ahead_ns) = (clock.now(), clock.unix_ahead_ns());
        let decoded = decode_packages(&sample.payload().to_bytes(), cell.as_str(), valid_max);
        inbox.change(|inbox| inbox.receive(decoded, at, unix_ahead_ns));
    };
    let key = options.cell.key("packages");
    let packages = session.declare_subscriber(&key).callback(on_packages);
    declared(&key, packages.wait())
}

//! The controller's side: the newest result, and whether it may be acted on.

use std::sync::Arc;
use std::time::Duration;

use magpie_network::NetworkError;
use magpie_perception::SharedClock;
use magpie_wire::freshness::{Heard, Trust, assess, decode_packages};
use magpie_wire::{self as wire, Freshness};
use zenoh::pubsub::Subscriber;
use zenoh::sample::Sample;
use zenoh::{Session, Wait};

use crate::inbox::{Ears, SharedInbox, declared};
use crate::session::SharedSession;
use crate::{ClientOptions, SubscriberCounters};

/// Receives the results of one cell, keeps the newest, and says whether it may be acted upon.
/// [`Client::packages`](crate::Client::packages) makes it.
pub struct PackagesSubscriber {
    // Before the session, so that they stop listening while it is open.
    _ears: Ears,
    inbox: Arc<SharedInbox>,
    trust: Trust,
    clock: SharedClock,
    /// How many results had been received when one was last handed out.
    seen: u64,
    _session: SharedSession,
}

impl PackagesSubscriber {
    pub(crate) fn open(
        session: &SharedSession,
        options: &ClientOptions,
        heard: Heard,
    ) -> Result<PackagesSubscriber, NetworkError> {
        let (inbox, mut ears) = SharedInbox::listen(session.get(), options, heard)?;
        ears.push(receive_packages(session.get(), options, &inbox)?);
        Ok(PackagesSubscriber {
            _ears: ears,
            inbox,
            trust: options.trust(),
            clock: options.clock.clone(),
            seen: 0,
            _session: session.clone(),
        })
    }

    /// Waits for a result that was not handed out before, at most for `timeout`; `true` if there is
    /// one. [`latest`](PackagesSubscriber::latest) hands it out. For those who cannot block for long
    /// at once.
    pub fn wait(&self, timeout: Duration) -> bool {
        let inbox = self.inbox.wait_while(timeout, |inbox| inbox.counters.received == self.seen);
        inbox.counters.received != self.seen
    }

    /// Waits for a result that was not handed out before, at most for `timeout`, then says how
    /// things stand.
    pub fn next(&mut self, timeout: Duration) -> Freshness {
        let seen = self.seen;
        let mut inbox = self.inbox.wait_while(timeout, |inbox| inbox.counters.received == seen);
        self.seen = inbox.counters.received;
        let freshness = assess(&inbox.heard, self.trust, &self.clock);
        if let (Freshness::Fresh(_), Some(newest)) = (&freshness, &mut inbox.heard.newest) {
            // A restart is told once, with the first result that is handed out after it.
            newest.restarted = false;
        }
        freshness
    }

    /// How things stand now.
    pub fn latest(&mut self) -> Freshness {
        self.next(Duration::ZERO)
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

//! The controller's side: the newest result, and whether it may be acted on.

use std::sync::Arc;
use std::time::Duration;

use magpie_network::{NetworkError, close, open};
use magpie_perception::SharedClock;
use magpie_wire::freshness::{Trust, assess, decode_packages};
use magpie_wire::{self as wire, Freshness};
use zenoh::sample::Sample;
use zenoh::{Session, Wait};

use crate::inbox::{SharedInbox, declared};
use crate::{SubscriberCounters, SubscriberOptions};

/// Receives the results of one cell, keeps the newest, and says whether it may be acted on.
///
/// ```no_run
/// # fn run(options: magpie_client::SubscriberOptions) -> Result<(), Box<dyn std::error::Error>> {
/// use magpie_client::{Freshness, PackagesSubscriber};
/// let mut subscriber = PackagesSubscriber::open(options)?;
/// loop {
///     match subscriber.next(std::time::Duration::from_millis(200)) {
///         Freshness::Fresh(view) => {
///             if let Some(best) = view.best_grasp()? { /* move the arm to best.grasp */ }
///         }
///         Freshness::Stale(why) => eprintln!("waiting: {why}"),
///         Freshness::Lost { why, .. } => eprintln!("stopped: {why}"),
///     }
/// }
/// # }
/// ```
pub struct PackagesSubscriber {
    session: Session,
    inbox: Arc<SharedInbox>,
    trust: Trust,
    clock: SharedClock,
    /// How many results had been received when one was last handed out.
    seen: u64,
}

impl PackagesSubscriber {
    /// Joins the network, or says why it cannot. From then on a lost connection is taken up again
    /// by itself. Blocks; inside tokio it needs the multi-thread runtime.
    pub fn open(options: SubscriberOptions) -> Result<PackagesSubscriber, NetworkError> {
        let session = open(&options.zenoh)?;
        let inbox = SharedInbox::listen(&session, &options)?;
        let (trust, clock) = (options.trust(), options.clock.clone());
        receive_packages(&session, &options, &inbox)?;
        Ok(PackagesSubscriber { session, inbox, trust, clock, seen: 0 })
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

impl Drop for PackagesSubscriber {
    fn drop(&mut self) {
        close(&self.session);
    }
}

/// The callback runs on zenoh's receiving thread: it keeps the newest and returns.
fn receive_packages(
    session: &Session,
    options: &SubscriberOptions,
    inbox: &Arc<SharedInbox>,
) -> Result<(), NetworkError> {
    let (clock, inbox, cell) = (options.clock.clone(), inbox.clone(), options.cell.clone());
    let valid_max = options.result_valid_max;
    let on_packages = move |sample: Sample| {
        let (at, unix_ahead_ns) = (clock.now(), clock.unix_ahead_ns());
        let decoded = decode_packages(&sample.payload().to_bytes(), cell.as_str(), valid_max);
        inbox.change(|inbox| inbox.receive(decoded, at, unix_ahead_ns));
    };
    let key = options.cell.key("packages");
    let packages = session.declare_subscriber(&key).callback(on_packages);
    declared(&key, packages.background().wait())
}

//! The controller's side: the newest result, and whether it may be acted on.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use magpie_perception::StampNs;
use prost::Message;
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use crate::freshness::{Heard, Received, Trust, assess, check_message};
use crate::{
    CellName, Freshness, Refusal, SharedClock, TransportError, ZenohConfig, session, wire,
};

/// What a subscriber needs to know.
pub struct SubscriberOptions {
    pub cell: CellName,
    pub zenoh: ZenohConfig,
    pub clock: SharedClock,
    /// The heartbeat comes every 100 ms; longer silence than this means lost.
    pub heartbeat_silence_max: Duration,
    /// A publisher whose clock is further ahead is not believed.
    pub clock_ahead_max: Duration,
}

impl SubscriberOptions {
    pub fn new(cell: CellName, zenoh: ZenohConfig, clock: SharedClock) -> SubscriberOptions {
        SubscriberOptions {
            cell,
            zenoh,
            clock,
            heartbeat_silence_max: Duration::from_millis(500),
            clock_ahead_max: Duration::from_millis(5),
        }
    }
}

/// What happened on the way so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SubscriberCounters {
    pub received: u64,
    /// Published, as the gaps in the numbering say, but never received.
    pub missed: u64,
    pub refused: u64,
    /// How often another publisher took over.
    pub restarts: u64,
}

/// Receives the results of one cell, keeps the newest, and says whether it may be acted on.
///
/// ```no_run
/// # fn run(options: magpie_transport::SubscriberOptions) -> Result<(), Box<dyn std::error::Error>> {
/// use magpie_transport::{Freshness, PackagesSubscriber};
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
    shared: Arc<Shared>,
    trust: Trust,
    clock: SharedClock,
    /// How many results had been received when one was last handed out.
    seen: u64,
}

struct Shared {
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

struct Inbox {
    heard: Heard,
    counters: SubscriberCounters,
    /// Who published last, and the number of that publication.
    last: Option<(String, u64)>,
}

impl PackagesSubscriber {
    /// Joins the network, or says why it cannot. From then on a lost connection is taken up again
    /// by itself. Blocks; inside tokio it needs the multi-thread runtime.
    pub fn open(options: SubscriberOptions) -> Result<PackagesSubscriber, TransportError> {
        let session = session::open(&options.zenoh)?;
        let heard = Heard {
            listening: options.clock.now(),
            newest: None,
            refused: None,
            status: None,
            gone: None,
        };
        let inbox =
            Mutex::new(Inbox { heard, counters: SubscriberCounters::default(), last: None });
        let shared = Arc::new(Shared { inbox, arrived: Condvar::new() });
        subscribe(&session, &options, &shared)?;
        let SubscriberOptions { clock, heartbeat_silence_max, clock_ahead_max, .. } = options;
        let trust = Trust { heartbeat_silence_max, clock_ahead_max };
        Ok(PackagesSubscriber { session, shared, trust, clock, seen: 0 })
    }

    /// Waits for a result that was not handed out before, at most for `timeout`, then says how
    /// things stand.
    pub fn next(&mut self, timeout: Duration) -> Freshness {
        let inbox = self.shared.lock();
        let seen = self.seen;
        let (mut inbox, _) = self
            .shared
            .arrived
            .wait_timeout_while(inbox, timeout, |inbox| inbox.counters.received == seen)
            .unwrap_or_else(PoisonError::into_inner);
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
        self.shared.lock().counters
    }

    /// The newest heartbeat.
    pub fn status(&self) -> Option<wire::Status> {
        self.shared.lock().heard.status.as_ref().map(|(_, status)| status.clone())
    }
}

impl Drop for PackagesSubscriber {
    fn drop(&mut self) {
        session::close(&self.session);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The callbacks run on zenoh's receiving thread: they keep the newest and return.
fn subscribe(
    session: &Session,
    options: &SubscriberOptions,
    shared: &Arc<Shared>,
) -> Result<(), TransportError> {
    let declared = |key: &str, result: zenoh::Result<()>| {
        result.map_err(|source| TransportError::Declare { key: key.into(), source })
    };

    let (key, clock, inbox) = (options.cell.key("alive"), options.clock.clone(), shared.clone());
    let on_alive = move |sample: Sample| {
        if sample.kind() == SampleKind::Delete {
            inbox.lock().forget(clock.now());
            inbox.arrived.notify_all();
        }
    };
    let alive = session.liveliness().declare_subscriber(&key).history(true).callback(on_alive);
    declared(&key, alive.background().wait())?;

    let (key, clock, inbox) = (options.cell.key("status"), options.clock.clone(), shared.clone());
    let on_status = move |sample: Sample| {
        if let Ok(status) = wire::Status::decode(&*sample.payload().to_bytes()) {
            let at = clock.now();
            let mut inbox = inbox.lock();
            inbox.welcome(at);
            inbox.heard.status = Some((at, status));
        }
    };
    let status = session.declare_subscriber(&key).callback(on_status);
    declared(&key, status.background().wait())?;

    let (key, clock, inbox) = (options.cell.key("packages"), options.clock.clone(), shared.clone());
    let cell = options.cell.clone();
    let on_packages = move |sample: Sample| {
        let at = clock.now();
        let decoded = wire::Packages::decode(&*sample.payload().to_bytes())
            .map_err(|error| Refusal::Undecodable(error.to_string()))
            .and_then(|message| check_message(&message, cell.as_str()).map(|()| message));
        inbox.lock().receive(decoded, at);
        inbox.arrived.notify_all();
    };
    let packages = session.declare_subscriber(&key).callback(on_packages);
    declared(&key, packages.background().wait())
}

impl Inbox {
    fn receive(&mut self, decoded: Result<wire::Packages, Refusal>, at: StampNs) {
        self.counters.received += 1;
        let message = match decoded {
            Ok(message) => message,
            Err(refusal) => {
                self.counters.refused += 1;
                self.heard.refused = Some(refusal);
                return;
            }
        };
        let mut restarted = self.heard.newest.as_ref().is_some_and(|newest| newest.restarted);
        match &self.last {
            Some((instance_id, publication)) if *instance_id == message.instance_id => {
                if message.publication <= *publication {
                    return; // A copy by another way.
                }
                self.counters.missed += message.publication - publication - 1;
            }
            Some(_) => {
                self.counters.restarts += 1;
                restarted = true;
            }
            None => {}
        }
        self.welcome(at);
        self.last = Some((message.instance_id.clone(), message.publication));
        self.heard.refused = None;
        self.heard.newest = Some(Received { message: Arc::new(message), at, restarted });
    }

    /// The daemon left: nothing that it said counts any more.
    fn forget(&mut self, at: StampNs) {
        let heard = &mut self.heard;
        (heard.newest, heard.refused, heard.status) = (None, None, None);
        heard.gone = Some(at);
    }

    /// A daemon is there, perhaps again.
    fn welcome(&mut self, at: StampNs) {
        if self.heard.gone.take().is_some() {
            self.heard.listening = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inbox() -> Inbox {
        let heard =
            Heard { listening: StampNs(0), newest: None, refused: None, status: None, gone: None };
        Inbox { heard, counters: SubscriberCounters::default(), last: None }
    }

    fn message(instance_id: &str, publication: u64) -> Result<wire::Packages, Refusal> {
        Ok(wire::Packages { instance_id: instance_id.into(), publication, ..Default::default() })
    }

    #[test]
    fn gaps_copies_and_restarts_are_told_apart() {
        let mut inbox = inbox();
        for (instance, publication) in [("a", 7), ("a", 8), ("a", 8), ("a", 11), ("b", 1)] {
            inbox.receive(message(instance, publication), StampNs(1));
        }
        let expected = SubscriberCounters { received: 5, missed: 2, refused: 0, restarts: 1 };
        assert_eq!(inbox.counters, expected);
        assert!(inbox.heard.newest.unwrap().restarted);
    }

    #[test]
    fn a_restart_is_not_forgotten_before_it_is_told() {
        let mut inbox = inbox();
        for (instance, publication) in [("a", 1), ("b", 1), ("b", 2)] {
            inbox.receive(message(instance, publication), StampNs(1));
        }
        assert!(inbox.heard.newest.unwrap().restarted);
    }

    #[test]
    fn what_a_departed_daemon_said_does_not_come_back_with_its_successor() {
        let mut inbox = inbox();
        inbox.receive(message("a", 1), StampNs(1));
        inbox.forget(StampNs(2));
        inbox.welcome(StampNs(3));
        assert!(inbox.heard.newest.is_none());
        inbox.receive(message("b", 1), StampNs(4));
        assert!(inbox.heard.newest.unwrap().restarted);
    }

    #[test]
    fn an_accepted_message_clears_a_refusal() {
        let mut inbox = inbox();
        inbox.receive(Err(Refusal::Times), StampNs(1));
        assert_eq!(inbox.heard.refused, Some(Refusal::Times));
        inbox.receive(message("a", 1), StampNs(2));
        assert_eq!(inbox.heard.refused, None);
        assert_eq!(inbox.counters.refused, 1);
    }
}

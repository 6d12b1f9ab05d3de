//! What a subscriber has heard of a cell so far, and the callbacks that keep it up to date.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use magpie_network::NetworkError;
use magpie_perception::StampNs;
use magpie_wire::freshness::{Heard, Received};
use magpie_wire::{self as wire, Refusal};
use prost::Message;
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use crate::SubscriberOptions;

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

/// Filled by zenoh's receiving thread, read by the subscriber.
pub(crate) struct SharedInbox {
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

pub(crate) struct Inbox {
    pub(crate) heard: Heard,
    pub(crate) counters: SubscriberCounters,
    pub(crate) heartbeats: u64,
    /// Who published last, and the number of that publication.
    last: Option<(String, u64)>,
}

impl SharedInbox {
    /// Listens to whether the daemon is there, and to its heartbeat. The callbacks run on zenoh's
    /// receiving thread: they keep the newest and return.
    pub(crate) fn listen(
        session: &Session,
        options: &SubscriberOptions,
    ) -> Result<Arc<SharedInbox>, NetworkError> {
        let inbox = Mutex::new(Inbox::new(options.clock.now()));
        let shared = Arc::new(SharedInbox { inbox, arrived: Condvar::new() });

        let (clock, inbox) = (options.clock.clone(), shared.clone());
        let on_alive = move |sample: Sample| {
            if sample.kind() == SampleKind::Delete {
                inbox.change(|inbox| inbox.forget(clock.now()));
            }
        };
        let key = options.cell.key("alive");
        let alive = session.liveliness().declare_subscriber(&key).history(true).callback(on_alive);
        declared(&key, alive.background().wait())?;

        let (clock, inbox) = (options.clock.clone(), shared.clone());
        let on_status = move |sample: Sample| {
            if let Ok(status) = wire::Status::decode(&*sample.payload().to_bytes()) {
                inbox.change(|inbox| inbox.receive_status(status, clock.now()));
            }
        };
        let key = options.cell.key("status");
        let status = session.declare_subscriber(&key).callback(on_status);
        declared(&key, status.background().wait())?;
        Ok(shared)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the inbox and wakes whoever waits for that.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut self.lock());
        self.arrived.notify_all();
    }

    /// Waits while `is_old` says that there is nothing new, at most for `timeout`.
    pub(crate) fn wait_while(
        &self,
        timeout: Duration,
        is_old: impl FnMut(&mut Inbox) -> bool,
    ) -> MutexGuard<'_, Inbox> {
        let waited = self.arrived.wait_timeout_while(self.lock(), timeout, is_old);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

pub(crate) fn declared(key: &str, result: zenoh::Result<()>) -> Result<(), NetworkError> {
    result.map_err(|source| NetworkError::Declare { key: key.into(), source })
}

impl Inbox {
    fn new(listening: StampNs) -> Inbox {
        let heard = Heard { listening, newest: None, refused: None, status: None, gone: None };
        Inbox { heard, counters: SubscriberCounters::default(), heartbeats: 0, last: None }
    }

    fn receive_status(&mut self, status: wire::Status, at: StampNs) {
        self.heartbeats += 1;
        self.welcome(at);
        self.heard.status = Some((at, status));
    }

    pub(crate) fn receive(&mut self, decoded: Result<wire::Packages, Refusal>, at: StampNs) {
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

    fn message(instance_id: &str, publication: u64) -> Result<wire::Packages, Refusal> {
        Ok(wire::Packages { instance_id: instance_id.into(), publication, ..Default::default() })
    }

    #[test]
    fn gaps_copies_and_restarts_are_told_apart() {
        let mut inbox = Inbox::new(StampNs(0));
        for (instance, publication) in [("a", 7), ("a", 8), ("a", 8), ("a", 11), ("b", 1)] {
            inbox.receive(message(instance, publication), StampNs(1));
        }
        let expected = SubscriberCounters { received: 5, missed: 2, refused: 0, restarts: 1 };
        assert_eq!(inbox.counters, expected);
        assert!(inbox.heard.newest.unwrap().restarted);
    }

    #[test]
    fn a_restart_is_not_forgotten_before_it_is_told() {
        let mut inbox = Inbox::new(StampNs(0));
        for (instance, publication) in [("a", 1), ("b", 1), ("b", 2)] {
            inbox.receive(message(instance, publication), StampNs(1));
        }
        assert!(inbox.heard.newest.unwrap().restarted);
    }

    #[test]
    fn what_a_departed_daemon_said_does_not_come_back_with_its_successor() {
        let mut inbox = Inbox::new(StampNs(0));
        inbox.receive(message("a", 1), StampNs(1));
        inbox.forget(StampNs(2));
        inbox.welcome(StampNs(3));
        assert!(inbox.heard.newest.is_none());
        inbox.receive(message("b", 1), StampNs(4));
        assert!(inbox.heard.newest.unwrap().restarted);
    }

    #[test]
    fn an_accepted_message_clears_a_refusal() {
        let mut inbox = Inbox::new(StampNs(0));
        inbox.receive(Err(Refusal::Times), StampNs(1));
        assert_eq!(inbox.heard.refused, Some(Refusal::Times));
        inbox.receive(message("a", 1), StampNs(2));
        assert_eq!(inbox.heard.refused, None);
        assert_eq!(inbox.counters.refused, 1);
    }
}

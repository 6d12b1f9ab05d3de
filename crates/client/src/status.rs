//! The newest heartbeat, for a program that shows or logs how a cell is doing.

use std::sync::Arc;
use std::time::Duration;

use magpie_network::{NetworkError, close, open};
use magpie_perception::{SharedClock, StampNs};
use magpie_wire::freshness::{Trust, silence};
use magpie_wire::{self as wire, LostReason};
use zenoh::Session;

use crate::SubscriberOptions;
use crate::inbox::SharedInbox;

/// Nobody speaks for the cell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Lost {
    pub since: StampNs,
    pub why: LostReason,
}

/// Follows the heartbeat of one cell. A controller that moves an arm takes
/// [`PackagesSubscriber`](crate::PackagesSubscriber), which listens to the heartbeat, too.
pub struct StatusSubscriber {
    session: Session,
    inbox: Arc<SharedInbox>,
    trust: Trust,
    clock: SharedClock,
    /// How many heartbeats had come when one was last handed out.
    seen: u64,
}

impl StatusSubscriber {
    /// Joins the network, or says why it cannot. From then on a lost connection is taken up again
    /// by itself. Blocks; inside tokio it needs the multi-thread runtime.
    pub fn open(options: &SubscriberOptions) -> Result<StatusSubscriber, NetworkError> {
        let session = open(&options.zenoh)?;
        let inbox = SharedInbox::listen(&session, options)?;
        let (trust, clock) = (options.trust(), options.clock.clone());
        Ok(StatusSubscriber { session, inbox, trust, clock, seen: 0 })
    }

    /// Waits for a heartbeat that was not handed out before, at most for `timeout`, then hands out
    /// the newest one.
    ///
    /// # Errors
    /// If the daemon left, was never heard, or has been silent for too long. A daemon in a fault is
    /// no error: it says so itself.
    pub fn next(&mut self, timeout: Duration) -> Result<wire::Status, Lost> {
        let seen = self.seen;
        let inbox = self.inbox.wait_while(timeout, |inbox| inbox.heartbeats == seen);
        self.seen = inbox.heartbeats;
        if let Some((since, why)) = silence(&inbox.heard, self.trust, self.clock.now()) {
            return Err(Lost { since, why });
        }
        let never = || Lost { since: inbox.heard.listening, why: LostReason::NeverHeard };
        inbox.heard.heartbeat.as_ref().map(|last| last.status.clone()).ok_or_else(never)
    }
}

impl Drop for StatusSubscriber {
    fn drop(&mut self) {
        close(&self.session);
    }
}

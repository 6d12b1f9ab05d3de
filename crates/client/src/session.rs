//! One way into the network for everything that a client does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use magpie_network::{NetworkError, ZenohConfig, close, open};
use magpie_perception::StampNs;
use zenoh::Session;

use crate::inbox::SharedInbox;

/// A session that ends when it is closed, or with the last one who holds it.
#[derive(Clone)]
pub(crate) struct SharedSession(Arc<OpenSession>);

struct OpenSession {
    session: Session,
    heard_by: Mutex<HeardBy>,
}

enum HeardBy {
    Open(Vec<Weak<SharedInbox>>),
    Closed(StampNs),
}

impl SharedSession {
    pub(crate) fn open(zenoh: &ZenohConfig) -> Result<SharedSession, NetworkError> {
        let session = open(zenoh)?;
        let heard_by = Mutex::new(HeardBy::Open(Vec::new()));
        Ok(SharedSession(Arc::new(OpenSession { session, heard_by })))
    }

    pub(crate) fn get(&self) -> &Session {
        &self.0.session
    }

    /// Tells an inbox when the session is closed.
    pub(crate) fn tell(&self, inbox: &Arc<SharedInbox>) {
        match &mut *self.0.heard_by() {
            HeardBy::Open(inboxes) => {
                inboxes.retain(|inbox| inbox.strong_count() > 0);
                inboxes.push(Arc::downgrade(inbox));
            }
            HeardBy::Closed(at) => inbox.change(|inbox| inbox.closed = Some(*at)),
        }
    }

    /// Leaves the network, for all who hold it. They hear of it first, so that none takes what is
    /// missing for a silence.
    pub(crate) fn close(&self, at: StampNs) {
        let mut heard_by = self.0.heard_by();
        let HeardBy::Open(inboxes) = &mut *heard_by else { return };
        let inboxes = std::mem::take(inboxes);
        *heard_by = HeardBy::Closed(at);
        drop(heard_by);
        for inbox in inboxes.iter().filter_map(Weak::upgrade) {
            inbox.change(|inbox| inbox.closed = Some(at));
        }
        close(&self.0.session);
    }
}

impl OpenSession {
    fn heard_by(&self) -> MutexGuard<'_, HeardBy> {
        self.heard_by.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        if let HeardBy::Open(_) = *self.heard_by() {
            close(&self.session);
        }
    }
}

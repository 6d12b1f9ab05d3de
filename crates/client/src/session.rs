//! One way into the network for everything that a client does.

use std::sync::Arc;

use magpie_network::{NetworkError, ZenohConfig, close, open};
use zenoh::Session;

/// A session that ends with the last one who holds it.
#[derive(Clone)]
pub(crate) struct SharedSession(Arc<OpenSession>);

struct OpenSession(Session);

impl SharedSession {
    pub(crate) fn open(zenoh: &ZenohConfig) -> Result<SharedSession, NetworkError> {
        open(zenoh).map(|session| SharedSession(Arc::new(OpenSession(session))))
    }

    pub(crate) fn get(&self) -> &Session {
        &self.0.0
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        close(&self.0);
    }
}

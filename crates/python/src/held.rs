//! What a process holds of the network.

use std::sync::Arc;

use magpie_client::is_fork;
use pyo3::prelude::*;

use crate::errors::forked;

/// Something of the network, for the process that joined.
pub(crate) struct Held<T: Send + Sync + 'static> {
    /// `None` while it is dropped.
    held: Option<Arc<T>>,
}

impl<T: Send + Sync + 'static> Held<T> {
    pub(crate) fn new(value: T) -> Held<T> {
        Held { held: Some(Arc::new(value)) }
    }

    /// In a fork nothing in it may be touched: a thread that is not there may have locked it.
    pub(crate) fn get(&self) -> PyResult<&Arc<T>> {
        self.held.as_ref().filter(|_| !is_fork()).ok_or_else(forked)
    }
}

impl<T: Send + Sync + 'static> Drop for Held<T> {
    fn drop(&mut self) {
        let held = self.held.take();
        if is_fork() {
            std::mem::forget(held);
            return;
        }
        // Leaving the network takes a moment, and whoever drops this holds Python's lock.
        let leave = std::thread::Builder::new().name("magpie-client".into());
        // Without a thread it is dropped here.
        let _ = leave.spawn(move || drop(held));
    }
}

//! A fork of a process that has joined has none of the threads that zenoh runs on: whatever it asked
//! for would wait for ever.

use std::process;
use std::sync::OnceLock;

use crate::NetworkError;

/// The process that joined the network first.
static JOINED: OnceLock<u32> = OnceLock::new();

/// Notes that this process joins.
///
/// # Errors
/// If it is a fork of one that had joined.
pub(crate) fn join() -> Result<(), NetworkError> {
    if *JOINED.get_or_init(process::id) == process::id() {
        Ok(())
    } else {
        Err(NetworkError::Forked)
    }
}

/// Whether this process is a fork of one that had joined the network, and cannot use it.
pub fn is_fork() -> bool {
    JOINED.get().is_some_and(|joined| *joined != process::id())
}

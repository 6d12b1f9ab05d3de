//! What was sent lately, so that it is known again where the network carries it back.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Some seconds of results and heartbeats; what comes back comes within milliseconds.
const KEPT: usize = 128;

#[derive(Debug)]
pub(crate) struct Sent {
    ring: Mutex<Ring>,
    /// Nobody knows it, so a forger cannot look for a message with the hash of one of ours.
    key: RandomState,
}

#[derive(Debug)]
struct Ring {
    hashes: [Option<u64>; KEPT],
    next: usize,
}

impl Sent {
    pub(crate) fn new() -> Sent {
        Sent { ring: Mutex::new(Ring { hashes: [None; KEPT], next: 0 }), key: RandomState::new() }
    }

    /// Call it before the message is sent.
    pub(crate) fn note(&self, message: &[u8]) {
        let hash = self.key.hash_one(message);
        let mut ring = self.lock();
        let next = ring.next;
        ring.hashes[next] = Some(hash);
        ring.next = (next + 1) % KEPT;
    }

    pub(crate) fn has(&self, message: &[u8]) -> bool {
        let hash = self.key.hash_one(message);
        self.lock().hashes.contains(&Some(hash))
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_messages_are_known_again() {
        let sent = Sent::new();
        assert!(!sent.has(b""));
        for number in 0..=KEPT {
            sent.note(&number.to_be_bytes());
        }
        assert!(!sent.has(&0_usize.to_be_bytes()), "the oldest made room");
        assert!((1..=KEPT).all(|number| sent.has(&number.to_be_bytes())));
    }
}

//! Hands the newest of something from one thread to another.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Holds at most one item: the newest.
#[derive(Debug)]
pub(crate) struct Latest<T> {
    slot: Mutex<Slot<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct Slot<T> {
    item: Option<T>,
    closed: bool,
}

impl<T> Latest<T> {
    pub(crate) fn new() -> Latest<T> {
        Latest { slot: Mutex::new(Slot { item: None, closed: false }), filled: Condvar::new() }
    }

    /// Never waits for the reader. Returns the item that nobody took.
    pub(crate) fn put(&self, item: T) -> Option<T> {
        let superseded = self.lock().item.replace(item);
        self.filled.notify_one();
        superseded
    }

    /// Waits for an item; `None` once closed and empty: the last one is worth as much as any.
    pub(crate) fn take(&self) -> Option<T> {
        let mut slot = self.lock();
        loop {
            if let Some(item) = slot.item.take() {
                return Some(item);
            }
            if slot.closed {
                return None;
            }
            slot = self.filled.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_wins_and_the_one_it_replaced_comes_back() {
        let latest = Latest::new();
        assert_eq!(latest.put(1), None);
        assert_eq!(latest.put(2), Some(1));
        assert_eq!(latest.take(), Some(2));
    }

    #[test]
    fn what_was_put_before_closing_is_still_taken() {
        let latest = Latest::new();
        latest.put(1);
        latest.close();
        assert_eq!((latest.take(), latest.take()), (Some(1), None));
    }

    #[test]
    fn closing_ends_a_reader_that_waits() {
        let latest = Latest::<u8>::new();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| latest.take());
            latest.close();
            assert_eq!(reader.join().unwrap(), None);
        });
    }
}

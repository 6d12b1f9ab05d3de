//! The subscriber of a bench.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use magpie_client::{CellName, Client, ClientOptions, Freshness, PackagesSubscriber, ZenohConfig};
use magpie_perception::StampNs;

use magpie_daemon::failure::Failure;
use magpie_perception::SharedClock;

/// A result that took longer than this to arrive is lost.
const ARRIVAL_TIME_MAX: Duration = Duration::from_secs(2);

/// How long results of a bench are valid.
pub(super) const RESULT_VALID_MAX: Duration = Duration::from_secs(60);

/// A subscriber on a thread of its own, as a controller would have it.
pub(super) struct Reader {
    arrivals: Receiver<(u64, StampNs)>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reader {
    pub(super) fn start(
        cell: CellName,
        zenoh: ZenohConfig,
        clock: SharedClock,
    ) -> Result<Reader, Failure> {
        let mut options = ClientOptions::new(cell, zenoh, Arc::clone(&clock));
        // Results of a slow model are to be measured, not refused.
        options.result_valid_max = RESULT_VALID_MAX;
        let client = Client::open(options).map_err(Failure::fault)?;
        let subscriber = client.packages().map_err(Failure::fault)?;
        // Every round waits for its own arrival: more than a few never queue up.
        let (sender, arrivals) = sync_channel(16);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("bench-reader".into())
            .spawn(move || receive(subscriber, &sender, &clock, &stopped))
            .map_err(Failure::fault)?;
        Ok(Reader { arrivals, stop, thread })
    }

    /// When the result of this frame arrived; `None`: it did not.
    pub(super) fn arrival(&self, sequence: u64) -> Option<StampNs> {
        loop {
            match self.arrivals.recv_timeout(ARRIVAL_TIME_MAX) {
                Ok((arrived, stamp)) if arrived == sequence => return Some(stamp),
                // This is an older one that came late.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.arrivals);
        // A reader that panicked has lost its arrivals, which the report counts.
        let _ = self.thread.join();
    }
}

fn receive(
    subscriber: PackagesSubscriber,
    arrivals: &SyncSender<(u64, StampNs)>,
    clock: &SharedClock,
    stop: &AtomicBool,
) {
    let mut last = None;
    while !stop.load(Ordering::Relaxed) {
        let Freshness::Fresh(view) = subscriber.next(Duration::from_millis(100)) else { continue };
        let stamp = clock.now();
        let sequence = view.for_display().sequence;
        if last.replace(sequence) != Some(sequence) && arrivals.send((sequence, stamp)).is_err() {
            return;
        }
    }
}

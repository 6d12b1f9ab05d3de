//! What the parts of a publisher share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use magpie_network::NetworkError;
use magpie_perception::{BoxError, Counters, SharedClock, StampNs};
use magpie_wire::{self as wire, CellName, Identities};
use zenoh::qos::{CongestionControl, Priority};
use zenoh::{Session, Wait};

use crate::encoding;
use crate::latencies::Latencies;
use crate::latest::Latest;
use crate::outcomes::Outcomes;
use crate::sent::Sent;

/// What the parts of a publisher share.
pub(crate) struct Shared {
    pub(crate) cell: CellName,
    pub(crate) instance_id: String,
    /// Of the model in use: it may change between two frames.
    identities: Mutex<Arc<Identities>>,
    pub(crate) listens: Vec<String>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: SharedClock,
    pub(crate) started: StampNs,
    pub(crate) results: Latest<Arc<wire::Packages>>,
    /// Results and heartbeats.
    pub(crate) sent: Sent,
    pub(crate) outcomes: Arc<Outcomes>,
    results_superseded: AtomicU64,
    /// Since when a result waits to be sent; 0 while none does.
    unsent_since_ns: AtomicU64,
    latencies: Mutex<Latencies>,
    /// Why the network no longer takes results.
    failure: Mutex<Option<BoxError>>,
}

impl Shared {
    pub(crate) fn new(
        cell: CellName,
        instance_id: String,
        identities: Identities,
        listens: Vec<String>,
        counters: Arc<Counters>,
        clock: SharedClock,
    ) -> Shared {
        let outcomes = Arc::new(Outcomes::new(&cell, &instance_id, &clock));
        Shared {
            cell,
            instance_id,
            identities: Mutex::new(Arc::new(identities)),
            listens,
            counters,
            started: clock.now(),
            clock,
            results: Latest::new(),
            sent: Sent::new(),
            outcomes,
            results_superseded: AtomicU64::new(0),
            unsent_since_ns: AtomicU64::new(0),
            latencies: Mutex::new(Latencies::new()),
            failure: Mutex::new(None),
        }
    }

    pub(crate) fn identities(&self) -> Arc<Identities> {
        lock(&self.identities).clone()
    }

    pub(crate) fn set_identities(&self, identities: Arc<Identities>) {
        *lock(&self.identities) = identities;
    }

    /// Hands a result to the publishing thread; one that it has not taken yet is given up for it.
    pub(crate) fn put_result(&self, message: Arc<wire::Packages>) {
        // It goes on waiting where one before it waits already.
        let (now, order) = (self.clock.now().0, Ordering::Relaxed);
        let _ = self.unsent_since_ns.compare_exchange(0, now, order, order);
        if self.results.put(message).is_some() {
            self.results_superseded.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The publishing thread has sent what it took.
    pub(crate) fn note_sent(&self) {
        self.unsent_since_ns.store(0, Ordering::Relaxed);
    }

    /// How long a result has waited to be sent.
    pub(crate) fn unsent_for(&self) -> Duration {
        match self.unsent_since_ns.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since_ns => Duration::from_nanos(self.clock.now().since_ns(StampNs(since_ns))),
        }
    }

    /// The next result cannot be published, and the frame thread hears why.
    pub(crate) fn fail(&self, why: BoxError) {
        *lock(&self.failure) = Some(why);
    }

    pub(crate) fn take_failure(&self) -> Option<BoxError> {
        lock(&self.failure).take()
    }

    pub(crate) fn results_superseded(&self) -> u64 {
        self.results_superseded.load(Ordering::Relaxed)
    }

    pub(crate) fn latest_latencies_us(&self) -> Vec<u64> {
        lock(&self.latencies).latest_us()
    }

    pub(crate) fn note_latency(&self, total_ns: u64) {
        lock(&self.latencies).note(total_ns);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A publisher whose messages are dropped rather than waited for.
pub(crate) fn declare(
    session: &Session,
    cell: &CellName,
    what: &str,
    priority: Priority,
) -> Result<zenoh::pubsub::Publisher<'static>, NetworkError> {
    let key = cell.key(what);
    let builder = session
        .declare_publisher(key.clone())
        .congestion_control(CongestionControl::Drop)
        .priority(priority)
        .express(priority != Priority::Data);
    let builder = match what {
        "packages" => builder.encoding(encoding::PACKAGES.clone()),
        "status" => builder.encoding(encoding::STATUS.clone()),
        "label_image" => builder.encoding(encoding::LABEL_IMAGE.clone()),
        _ => builder.encoding(zenoh::bytes::Encoding::IMAGE_JPEG),
    };
    builder.wait().map_err(|source| NetworkError::Declare { key, source })
}

pub(crate) fn spawn(
    name: &'static str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, NetworkError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(run)
        .map_err(|source| NetworkError::Thread { name, source })
}

//! Shows Foxglove what the loop does, on a thread of its own.
//!
//! ```text
//! pipeline -> LivePublisher -> slot of one frame -> thread magpie-foxglove -> each viewer's queue
//! ```
//!
//! Viewers come in by [`live_doors`](crate::live_doors).
//!
//! A frame is copied after its result went out, only while somebody views it and the thread has done
//! with the one before. A viewer that reads slowly, or never, loses messages, and nobody waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use magpie_perception::{Frame, FrameReport, PublishError, Publisher, SharedClock, StampNs};
use magpie_recording::{LiveError, LiveViews, RecordingInfo, Results};
use magpie_transport::StatusHandle;
use magpie_wire::{self as wire, Identities, Reason};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::config::FoxgloveConfig;
use crate::failure::one_line;
use crate::live_doors::take_in;
use crate::scheduling::give_way;

/// An address that is taken may become free.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// The server, and why there is none.
pub(crate) struct Live {
    shared: Arc<Shared>,
    starting: JoinHandle<()>,
    /// `None` once it is known to have ended.
    thread: Option<std::thread::JoinHandle<()>>,
    status_sent_s: u64,
}

struct Shared {
    views: Mutex<Option<LiveViews>>,
    why_not: Mutex<Option<String>>,
    is_watched: AtomicBool,
    is_busy: AtomicBool,
}

impl Shared {
    fn views(&self) -> MutexGuard<'_, Option<LiveViews>> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn why_not(&self) -> MutexGuard<'_, Option<String>> {
        self.why_not.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The loop's side.
pub(crate) struct LiveTap {
    sender: SyncSender<Box<Shown>>,
    shared: Arc<Shared>,
    clock: SharedClock,
    status: StatusHandle,
    identities: Arc<Identities>,
}

/// A frame to show.
struct Shown {
    frame: Frame,
    report: FrameReport,
    identities: Arc<Identities>,
    handed_over: StampNs,
    unix_ahead_ns: i64,
    state: wire::State,
}

/// What the results of a run say about themselves.
pub(crate) struct LiveOrigin {
    pub(crate) cell: String,
    pub(crate) instance_id: String,
    pub(crate) identities: Arc<Identities>,
    pub(crate) info: RecordingInfo,
}

impl Live {
    pub(crate) fn start(
        config: FoxgloveConfig,
        origin: LiveOrigin,
        status: StatusHandle,
        clock: &SharedClock,
        runtime: &Handle,
    ) -> std::io::Result<(Live, LiveTap)> {
        let shared = Arc::new(Shared {
            views: Mutex::default(),
            why_not: Mutex::default(),
            is_watched: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
        });
        let (cell, info) = (origin.cell.clone(), origin.info);
        let starting = runtime.spawn(serve(config, cell, info, Arc::clone(&shared)));
        let (sender, receiver) = sync_channel(1);
        let (showing, cell, instance_id) = (Arc::clone(&shared), origin.cell, origin.instance_id);
        let thread = std::thread::Builder::new()
            .name("magpie-foxglove".into())
            .spawn(move || show_all(&receiver, &showing, &cell, &instance_id))?;
        let tap = LiveTap {
            sender,
            shared: Arc::clone(&shared),
            clock: Arc::clone(clock),
            status,
            identities: origin.identities,
        };
        Ok((Live { shared, starting, thread: Some(thread), status_sent_s: 0 }, tap))
    }

    /// Why nobody can view the cell, although the configuration asks for it.
    pub(crate) fn reason(&self) -> Option<Reason> {
        let why = self.shared.why_not().clone()?;
        Some(Reason::FoxgloveUnavailable { why })
    }

    /// Looks whether somebody views the cell, and shows them its status once a second.
    pub(crate) fn supervise(&mut self, status: &wire::Status) {
        let ended = self.thread.take_if(|thread| thread.is_finished());
        if ended.is_some_and(|thread| thread.join().is_err()) {
            let why = "the thread that shows frames panicked: see the log, and restart the daemon"
                .to_owned();
            *self.shared.why_not() = Some(why);
        }
        // The thread that shows frames has it for some milliseconds; there is another time.
        let Ok(views) = self.shared.views.try_lock() else { return };
        let viewers = views.as_ref().map_or(0, LiveViews::viewers);
        self.shared.is_watched.store(viewers > 0, Ordering::Relaxed);
        if let Some(views) = views.as_ref().filter(|_| viewers > 0) {
            let sent_s = status.sent_ns / 1_000_000_000;
            if sent_s != self.status_sent_s {
                self.status_sent_s = sent_s;
                views.show_status(status);
            }
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.starting.abort();
        *self.shared.views() = None;
    }
}

/// Starts the server, as soon as it can be had, and takes viewers in.
async fn serve(config: FoxgloveConfig, cell: String, info: RecordingInfo, shared: Arc<Shared>) {
    loop {
        match start(&config, &cell, info.clone()).await {
            Ok((views, listener)) => {
                tracing::info!(listens = %config.listen, "Foxglove can connect");
                let behind = views.address();
                *shared.views() = Some(views);
                *shared.why_not() = None;
                take_in(listener, behind).await
            }
            Err(error) => {
                let why = format!(
                    "{}; stop what has it, or choose another address in [foxglove] listen",
                    one_line(&error.into())
                );
                let before = shared.why_not().replace(why.clone());
                if before.as_ref() != Some(&why) {
                    tracing::error!("{why}");
                }
            }
        }
        tokio::time::sleep(RETRY_PERIOD).await;
    }
}

async fn start(
    config: &FoxgloveConfig,
    cell: &str,
    info: RecordingInfo,
) -> Result<(LiveViews, TcpListener), LiveError> {
    let listen = config.listen;
    let listener = TcpListener::bind(listen).await;
    let listener = listener.map_err(|error| LiveError { listen, source: error.into() })?;
    Ok((LiveViews::start(cell, info, config.jpeg_quality).await?, listener))
}

fn show_all(receiver: &Receiver<Box<Shown>>, shared: &Shared, cell: &str, instance_id: &str) {
    give_way();
    while let Ok(shown) = receiver.recv() {
        let Shown { mut frame, report, identities, handed_over, unix_ahead_ns, state } = *shown;
        let envelope = wire::Envelope {
            cell,
            instance_id,
            publication: report.counters.results_published,
            published: handed_over,
            unix_ahead_ns,
            state,
            results_superseded: 0,
        };
        let message = wire::to_wire(&report, &identities, &envelope);
        let results = Results {
            message: &message,
            packages: &report.packages,
            class_names: &identities.class_names,
        };
        frame.stamp = StampNs(frame.stamp.unix_ns(unix_ahead_ns));
        if let Some(views) = &*shared.views()
            && let Err(error) = views.show(&frame, &results)
        {
            tracing::debug!(%error, "encode a picture for Foxglove");
        }
        shared.is_busy.store(false, Ordering::Release);
    }
}

impl LiveTap {
    /// The frames from now on are another model's.
    pub(crate) fn use_model(&mut self, identities: &Arc<Identities>) {
        self.identities = Arc::clone(identities);
    }

    fn offer(&self, frame: &Frame, report: &FrameReport) {
        let is_watched = self.shared.is_watched.load(Ordering::Relaxed);
        if !is_watched || self.shared.is_busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let shown = Shown {
            frame: frame.clone(),
            report: report.clone(),
            identities: Arc::clone(&self.identities),
            handed_over: self.clock.now(),
            unix_ahead_ns: self.clock.unix_ahead_ns(),
            state: self.status.current().state,
        };
        // There is room: the thread has done with the one before.
        let _ = self.sender.try_send(Box::new(shown));
    }
}

/// Publishes first, and then offers the frame to the viewers.
pub(crate) struct LivePublisher<P> {
    pub(crate) publisher: P,
    pub(crate) tap: Option<LiveTap>,
}

impl<P: Publisher> Publisher for LivePublisher<P> {
    fn publish(&mut self, frame: &Frame, report: &FrameReport) -> Result<(), PublishError> {
        self.publisher.publish(frame, report)?;
        if let Some(tap) = &self.tap {
            tap.offer(frame, report);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason_after(work: fn()) -> Option<Reason> {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let thread =
            std::thread::Builder::new().name("magpie-foxglove".into()).spawn(work).unwrap();
        while !thread.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let shared = Arc::new(Shared {
            views: Mutex::default(),
            why_not: Mutex::default(),
            is_watched: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
        });
        let starting = runtime.spawn(async {});
        let mut live = Live { shared, starting, thread: Some(thread), status_sent_s: 0 };
        live.supervise(&wire::Status::default());
        live.reason()
    }

    #[test]
    fn a_thread_that_panicked_is_told_and_one_that_ended_is_not() {
        fn panic() {
            std::panic::resume_unwind(Box::new("made up"));
        }
        assert_eq!(reason_after(|| {}), None);
        let Some(Reason::FoxgloveUnavailable { why }) = reason_after(panic) else {
            panic!("nothing is told")
        };
        assert!(why.contains("panicked"), "{why}");
    }
}

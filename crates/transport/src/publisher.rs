//! Joining the network as the publisher of a cell, and handing results to it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use magpie_network::{Joined, NetworkError, ZenohConfig, close, is_connected, open_as_publisher};
use magpie_perception::{
    CameraInfo, Counters, Frame, FrameReport, PublishError, Publisher, SharedClock, StampNs,
};
use magpie_wire::{self as wire, CellName, Identities};
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::watch;
use zenoh::liveliness::LivelinessToken;
use zenoh::qos::Priority;
use zenoh::{Session, Wait};

use crate::images::{Images, Shown};
use crate::rivals::Rivals;
use crate::shared::{Shared, declare, spawn};
use crate::{
    CaptureLimits, JpegEncoder, Onlooker, ReportedOutcome, StatusHandle, capture, encoding, images,
    outcomes, status,
};

/// What a publisher needs to know.
pub struct TransportOptions {
    pub cell: CellName,
    pub zenoh: ZenohConfig,
    pub identities: Identities,
    /// `None` while the camera is not calibrated.
    pub camera_info: Option<CameraInfo>,
    /// Read for each heartbeat.
    pub counters: Arc<Counters>,
    pub clock: SharedClock,
    pub jpeg_encoder: JpegEncoder,
    /// Shortest time between two messages on `image`; half a second is usual.
    pub image_period: Duration,
    /// `None`: pictures are made for readers on the network alone.
    pub onlooker: Option<Onlooker>,
    pub capture: CaptureLimits,
}

/// The daemon's place on the network: session, heartbeat, queries, reports of picks. Dropping it leaves
/// the network.
pub struct Transport {
    session: Session,
    shared: Arc<Shared>,
    connects: Vec<String>,
    images: Arc<Images>,
    status: StatusHandle,
    rivals: Arc<Rivals>,
    heartbeat: tokio::task::JoinHandle<()>,
    outcomes: tokio::task::JoinHandle<()>,
    threads: Vec<JoinHandle<()>>,
    _alive: LivelinessToken,
}

impl Transport {
    /// Joins the network as the only publisher of the cell.
    ///
    /// Blocks for up to some seconds. `runtime` must be a multi-thread runtime; it carries the
    /// heartbeat, the queries and what is reported of picks.
    pub fn open(
        options: TransportOptions,
        runtime: &Handle,
    ) -> Result<(Transport, ZenohPublisher), NetworkError> {
        let Joined { session, listens, connects } =
            open_as_publisher(&options.zenoh, &options.cell)?;
        let shared = Arc::new(Shared::new(
            options.cell,
            // zenoh's own id may be fixed by its configuration.
            format!("{}-{:x}", session.zid(), options.clock.now().0),
            options.identities,
            listens,
            options.counters,
            options.clock,
        ));
        let (images, image_threads) = images::start(
            &session,
            &shared,
            options.jpeg_encoder,
            options.image_period,
            options.onlooker,
        )?;
        let mut threads = Vec::from(image_threads);
        threads.push(start_publishing(&session, &shared)?);

        let newest = watch::Sender::new(None);
        let captures = newest.subscribe();
        capture::answer_captures(&session, &shared, options.capture, captures, runtime)?;
        capture::answer_camera_info(&session, &shared, options.camera_info.as_ref())?;

        let outcomes = outcomes::hear(&session, &shared.outcomes, runtime)?;
        let rivals = Rivals::listen(&session, &shared)?;
        let status = StatusHandle::new();
        let beats = declare(&session, &shared.cell, "status", Priority::InteractiveHigh)?;
        let heartbeat = runtime.spawn(status::beat(shared.clone(), status.subscribe(), beats));
        let alive = announce(&session, &shared.cell)?;

        let publisher = ZenohPublisher {
            identities: shared.identities(),
            shared: shared.clone(),
            images: images.clone(),
            status: status.clone(),
            newest,
            messages: Vec::new(),
            spare: wire::Spare::default(),
            publications: 0,
            shown: Shown::default(),
        };
        let transport = Transport {
            session,
            shared,
            connects,
            images,
            status,
            rivals,
            heartbeat,
            outcomes,
            threads,
            _alive: alive,
        };
        Ok((transport, publisher))
    }

    pub fn status(&self) -> StatusHandle {
        self.status.clone()
    }

    /// Another publisher that speaks for this cell, too, by its instance.
    pub fn rival(&self) -> Option<String> {
        self.rivals.newest(self.shared.clock.now())
    }

    /// How long a result has waited for zenoh to take it, which takes a millisecond.
    pub fn unsent_for(&self) -> Duration {
        self.shared.unsent_for()
    }

    /// What the heartbeat says at this moment.
    pub fn status_message(&self) -> wire::Status {
        status::to_wire(&self.shared, self.status.current())
    }

    /// The reports of picks that were taken since the last call: of more than 256 the newest.
    pub fn fetch_outcomes(&self) -> Vec<ReportedOutcome> {
        self.shared.outcomes.fetch()
    }

    /// New whenever a daemon starts; every message carries it.
    pub fn instance_id(&self) -> &str {
        &self.shared.instance_id
    }

    /// Where readers connect to it; empty where they come through a router.
    pub fn listens(&self) -> &[String] {
        &self.shared.listens
    }

    /// The routers that it connects to.
    pub fn connects(&self) -> &[String] {
        &self.connects
    }

    /// Where it is to be connected to, while it is connected to nothing there.
    pub fn unreached(&self) -> Option<String> {
        let is_alone = !self.connects.is_empty() && !is_connected(&self.session, &self.connects);
        is_alone.then(|| self.connects.join(", "))
    }

    /// How many label images and how many images were made for subscribers so far.
    pub fn images_made(&self) -> (u64, u64) {
        let made = &self.images.made;
        (made.label_images.load(Ordering::Relaxed), made.images.load(Ordering::Relaxed))
    }

    /// The last heartbeat, so that a reader sees the reason why this process ends.
    fn say_goodbye(&self) {
        let message = status::to_wire(&self.shared, self.status.current());
        let put = self.session.put(self.shared.cell.key("status"), message.encode_to_vec());
        let put = put.encoding(encoding::STATUS.clone()).priority(Priority::InteractiveHigh);
        if let Err(error) = put.express(true).wait() {
            tracing::debug!(%error, "the last status was not sent");
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        self.shared.fail("the session was closed".into());
        self.shared.results.close();
        self.images.close();
        // What was handed over last is sent before the session closes; nothing there is waited for.
        for thread in self.threads.drain(..) {
            // A panic in there has been reported by the panic hook.
            let _ = thread.join();
        }
        self.heartbeat.abort();
        self.outcomes.abort();
        self.say_goodbye();
        close(&self.session);
    }
}

/// Tells everybody that the cell has its publisher, until it is dropped.
fn announce(session: &Session, cell: &CellName) -> Result<LivelinessToken, NetworkError> {
    let key = cell.key("alive");
    let token = session.liveliness().declare_token(&key).wait();
    token.map_err(|source| NetworkError::Declare { key, source })
}

/// The thread that gives results to zenoh, which may wait a moment for a slow reader's link.
fn start_publishing(
    session: &Session,
    shared: &Arc<Shared>,
) -> Result<JoinHandle<()>, NetworkError> {
    let publisher = declare(session, &shared.cell, "packages", Priority::RealTime)?;
    let shared = shared.clone();
    spawn("magpie-publish", move || {
        while let Some(message) = shared.results.take() {
            let message = message.encode_to_vec();
            shared.sent.note(&message);
            if let Err(error) = publisher.put(message).wait() {
                shared.fail(error);
                return;
            }
            shared.note_sent();
        }
    })
}

/// The frame thread's side: takes a result and returns at once, whatever the readers do.
pub struct ZenohPublisher {
    shared: Arc<Shared>,
    identities: Arc<Identities>,
    images: Arc<Images>,
    status: StatusHandle,
    newest: watch::Sender<Option<capture::Answer>>,
    /// To be written over when nobody holds them any more.
    messages: Vec<Arc<wire::Packages>>,
    spare: wire::Spare,
    publications: u64,
    shown: Shown,
}

impl Publisher for ZenohPublisher {
    fn publish(&mut self, frame: &Frame, report: &FrameReport) -> Result<(), PublishError> {
        let shared = &self.shared;
        if let Some(source) = shared.take_failure() {
            return Err(PublishError { topic: shared.cell.key("packages"), source });
        }
        self.publications += 1;
        let now = shared.clock.now();
        let envelope = wire::Envelope {
            cell: shared.cell.as_str(),
            instance_id: &shared.instance_id,
            publication: self.publications,
            published: now,
            unix_ahead_ns: shared.clock.unix_ahead_ns(),
            state: self.status.state(),
            results_superseded: shared.results_superseded(),
        };
        let is_free = |message: &mut Arc<_>| Arc::get_mut(message).is_some();
        let at = self.messages.iter_mut().position(is_free).unwrap_or_else(|| {
            self.messages.push(Arc::default());
            self.messages.len() - 1
        });
        let message = Arc::get_mut(&mut self.messages[at]).expect("nobody else holds a free one");
        let (old, spare) = (std::mem::take(message), &mut self.spare);
        *message = wire::rewritten(old, spare, report, &self.identities, &envelope);
        if now > report.packages.valid_until {
            wire::withhold(message, spare);
        }
        let message = self.messages[at].clone();
        shared.outcomes.remember(&message);
        shared.note_latency(report.latencies.total_ns);
        shared.put_result(message.clone());
        let stamp = report.packages.stamp;
        self.newest.send_replace(Some(capture::Answer { stamp, message: message.clone() }));
        self.hand_over_images(frame, message, now);
        Ok(())
    }
}

impl ZenohPublisher {
    /// The results from now on are another model's.
    pub fn use_identities(&mut self, identities: &Arc<Identities>) {
        self.identities = Arc::clone(identities);
        self.shared.set_identities(Arc::clone(identities));
    }

    fn hand_over_images(&mut self, frame: &Frame, message: Arc<wire::Packages>, now: StampNs) {
        if self.images.label_wanted() {
            self.images.put_label(message.clone());
        }
        if let Some(wanted) = self.images.wanted(&mut self.shown, now) {
            self.images.put_picture(message, &frame.color, wanted);
        }
    }
}

//! One cell: the way in to its results, its state, and its answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use magpie_network::{NetworkError, SystemClock, ZenohConfig};
use magpie_perception::StampNs;
use magpie_wire::freshness::{Heard, silence};
use magpie_wire::{self as wire, CellName, CellNameError, LostReason};

use crate::inbox::{Ears, Inbox, SharedInbox};
use crate::session::SharedSession;
use crate::{ClientOptions, FindError, PackagesSubscriber, find_cell};

/// Nobody speaks for the cell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Lost {
    pub since: StampNs,
    pub why: LostReason,
}

/// Why a cell was not joined.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Name(#[from] CellNameError),
    #[error(transparent)]
    Find(#[from] FindError),
    #[error(transparent)]
    Join(#[from] NetworkError),
}

impl ConnectError {
    /// Whether this process is a [fork](magpie_network::is_fork) of one that had connected.
    pub fn is_of_a_fork(&self) -> bool {
        use ConnectError::{Find, Join};
        matches!(self, Find(FindError::Forked(_)) | Join(NetworkError::Forked))
    }
}

/// One cell, over one session: its results, its state, and its answers.
///
/// ```no_run
/// # fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use magpie_client::{Client, Freshness};
/// use std::time::Duration;
///
/// let client = Client::connect("dock-7")?;
/// let packages = client.packages()?;
/// loop {
///     match packages.next(Duration::from_millis(200)) {
///         Freshness::Fresh(view) => match view.best_grasp()? {
///             // Metres, row by row; an error if the poses are not in the robot's base.
///             Some(best) => println!("hold it at {:?}", best.base_from_grasp()?),
///             None => println!("nothing to hold"),
///         },
///         Freshness::Stale(why) => println!("wait: {why}"),
///         Freshness::Lost { why, .. } => println!("stop: {why}"),
///     }
/// }
/// # }
/// ```
///
/// All threads may use one client at once. The network is left by [`close`](Client::close), or when
/// the client and everything that it has handed out are gone. A connection that is lost is taken up
/// again by itself.
pub struct Client {
    // Before the session, so that they stop listening while it is open.
    _ears: Ears,
    pub(crate) heartbeat: Arc<SharedInbox>,
    /// Who published the picture that was captured last.
    pub(crate) captured: Mutex<Option<String>>,
    pub(crate) options: ClientOptions,
    pub(crate) session: SharedSession,
}

impl Client {
    /// Finds a cell of this machine by its name and joins it. Blocks for some seconds at most;
    /// inside tokio it needs the multi-thread runtime.
    ///
    /// # Errors
    /// If no cell of that name is alive on this machine, or it asks for a certificate: then
    /// [`connect_by`](Client::connect_by) names the way in.
    pub fn connect(cell: &str) -> Result<Client, ConnectError> {
        let zenoh = find_cell(&CellName::new(cell)?)?;
        Client::connect_by(cell, zenoh)
    }

    /// Joins a cell by an endpoint, as on another machine, or by a file of zenoh's with
    /// certificates. That its daemon runs is not required: until it does, everything is `Lost`.
    ///
    /// ```no_run
    /// # fn run() -> Result<(), magpie_client::ConnectError> {
    /// use magpie_client::{Client, ZenohConfig};
    /// let secured = ZenohConfig::File("/etc/magpie/tls/dock-7-arm.json5".into());
    /// let client = Client::connect_by("dock-7", secured)?;
    /// let open = ZenohConfig::Connect(vec!["tcp/192.168.1.7:17447".into()]);
    /// let client = Client::connect_by("dock-8", open)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the network cannot be joined like that.
    pub fn connect_by(cell: &str, zenoh: ZenohConfig) -> Result<Client, ConnectError> {
        let options = ClientOptions::new(CellName::new(cell)?, zenoh, SystemClock::start());
        Ok(Client::open(options)?)
    }

    /// Joins with a clock and limits of one's own.
    ///
    /// # Errors
    /// If the network cannot be joined like that.
    pub fn open(options: ClientOptions) -> Result<Client, NetworkError> {
        let session = SharedSession::open(&options.zenoh)?;
        let (heartbeat, ears) =
            SharedInbox::listen(session.get(), &options, nothing_heard(&options))?;
        session.tell(&heartbeat);
        Ok(Client { _ears: ears, heartbeat, captured: Mutex::default(), options, session })
    }

    /// Follows the results. Each subscriber has its own newest result, so that a second one takes
    /// nothing away from the first. Waits until the publisher is known, half a second after the
    /// client was made: whoever speaks first for a cell is not believed before others would have
    /// been heard. Without a publisher that is a second.
    ///
    /// # Errors
    /// If the session is closed.
    pub fn packages(&self) -> Result<PackagesSubscriber, NetworkError> {
        // The subscriber says itself what is lost.
        let _ = self.wait_for_publisher();
        let heard = self.heartbeat.lock().heard.clone();
        PackagesSubscriber::open(&self.session, &self.options, heard)
    }

    /// The newest heartbeat: the state of the daemon with its reasons, counters and latencies. Waits
    /// half a second for the first one. A daemon in a fault is no error here: it says so itself. Nor
    /// is one that has just been heard, or that has a rival, though no result of it is believed.
    ///
    /// # Errors
    /// If the daemon left, was never heard, or has been silent for too long.
    pub fn status(&self) -> Result<wire::Status, Lost> {
        let is_unheard = |inbox: &mut Inbox| {
            let heard = &inbox.heard;
            inbox.closed.is_none() && heard.heartbeat.is_none() && heard.version.is_none()
        };
        let inbox = self.heartbeat.wait_while(self.options.heartbeat_silence_max, is_unheard);
        if let Some(since) = inbox.closed {
            return Err(Lost { since, why: LostReason::Closed });
        }
        if let Some((since, why)) = silence(&inbox.heard, self.options.trust(), self.now()) {
            return Err(Lost { since, why });
        }
        let last = inbox.heard.heartbeat.as_ref().expect("without a heartbeat it was never heard");
        Ok(last.status.clone())
    }

    /// Leaves the network, for everything that the client has handed out, too: whoever waits for a
    /// result is told that it is closed, and questions are errors. Views live on until they expire.
    pub fn close(&self) {
        self.session.close(self.now());
    }

    pub fn is_closed(&self) -> bool {
        self.heartbeat.lock().closed.is_some()
    }

    pub fn cell(&self) -> &CellName {
        &self.options.cell
    }

    /// Now, on the clock of [`PackagesView::pose_at`](crate::PackagesView::pose_at) and
    /// [`PackagesView::expires_at`](crate::PackagesView::expires_at).
    pub fn now(&self) -> StampNs {
        self.options.clock.now()
    }

    /// Waits until the publisher is known that may be believed.
    pub(crate) fn wait_for_publisher(&self) -> Result<(), LostReason> {
        // The first heartbeat, and as long again until it is believed.
        let patience: Duration = self.options.heartbeat_silence_max * 2;
        let now_lost = |inbox: &Inbox| inbox.lost(self.options.clock.now());
        let inbox = self.heartbeat.wait_while(patience, |inbox| {
            matches!(now_lost(inbox), Some((_, LostReason::NeverHeard | LostReason::JustHeard)))
        });
        now_lost(&inbox).map_or(Ok(()), |(_, why)| Err(why))
    }
}

fn nothing_heard(options: &ClientOptions) -> Heard {
    Heard {
        listening: options.clock.now(),
        newest: None,
        refused: None,
        heartbeat: None,
        gone: None,
        rival: None,
        version: None,
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("cell", &self.options.cell).finish_non_exhaustive()
    }
}

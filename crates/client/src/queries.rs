//! Questions to a cell: a picture taken from now on, and the camera's calibration.

use std::time::Duration;

use magpie_network::{NetworkError, close, open};
use magpie_perception::{SharedClock, StampNs};
use magpie_wire::freshness::{Received, Trust, decode_packages, stale};
use magpie_wire::{self as wire, CellName, PackagesView, Refusal, StaleReason, printable};
use prost::Message;
use zenoh::query::{ConsolidationMode, QueryTarget};
use zenoh::{Session, Wait};

use crate::SubscriberOptions;

/// How much longer than the daemon's own deadline an answer may be on its way.
const TRANSIT_MAX: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("ask {key}")]
    Ask {
        key: String,
        #[source]
        source: zenoh::Error,
    },
    #[error("{key} was not answered within {ms} ms; does a daemon run for this cell?")]
    Unanswered { key: String, ms: u128 },
    #[error("{key}: the daemon answers: {reason}")]
    Refused { key: String, reason: String },
    #[error("{key} was answered by more than one publisher: stop one of them; none is believed")]
    Rival { key: String },
    #[error("the answer must not be acted on: {0}")]
    Stale(StaleReason),
    #[error("the answer of {key} was refused: {refusal}")]
    Answer { key: String, refusal: Refusal },
}

/// Asks one cell. Each question blocks until its answer or its deadline.
pub struct CellQueries {
    session: Session,
    cell: CellName,
    clock: SharedClock,
    trust: Trust,
    result_valid_max: Duration,
}

impl CellQueries {
    /// Joins the network, or says why it cannot. Blocks; inside tokio it needs the multi-thread
    /// runtime.
    pub fn open(options: &SubscriberOptions) -> Result<CellQueries, NetworkError> {
        let session = open(&options.zenoh)?;
        Ok(CellQueries {
            session,
            cell: options.cell.clone(),
            clock: options.clock.clone(),
            trust: options.trust(),
            result_valid_max: options.result_valid_max,
        })
    }

    /// The first result whose exposure began after this question arrived.
    ///
    /// # Errors
    /// If there is none within `timeout`, which the daemon limits to ten seconds.
    pub fn capture(&self, timeout: Duration) -> Result<PackagesView, QueryError> {
        let selector = format!("{}?timeout_ms={}", self.cell.key("capture"), timeout.as_millis());
        let Answer { bytes, at, unix_ahead_ns } = self.ask(&selector, timeout + TRANSIT_MAX)?;
        let message = decode_packages(&bytes, self.cell.as_str(), self.result_valid_max)
            .map_err(|refusal| QueryError::Answer { key: selector, refusal })?;
        let degraded = match message.state() {
            wire::State::Degraded => vec![wire::ReasonMessage {
                code: "degraded".into(),
                text: "the daemon does not run as configured; its status says why".into(),
            }],
            _ => Vec::new(),
        };
        let received = Received { message: message.into(), at, unix_ahead_ns, restarted: false };
        if let Some(reason) = stale(&received, self.trust, &self.clock) {
            return Err(QueryError::Stale(reason));
        }
        Ok(PackagesView::new(&received, degraded, self.clock.clone()))
    }

    /// The camera's calibration, in ROS's field names.
    ///
    /// # Errors
    /// If the camera is not calibrated, or nobody answers within `timeout`.
    pub fn camera_info(&self, timeout: Duration) -> Result<wire::CameraInfo, QueryError> {
        let key = self.cell.key("camera_info");
        let bytes = self.ask(&key, timeout)?.bytes;
        wire::CameraInfo::decode(&*bytes).map_err(|error| QueryError::Answer {
            key,
            refusal: Refusal::Undecodable { message: "CameraInfo", why: error.to_string() },
        })
    }

    /// The answer of the one publisher of the cell; everybody who answers is heard.
    fn ask(&self, selector: &str, timeout: Duration) -> Result<Answer, QueryError> {
        let key = selector.to_owned();
        let asked = self
            .session
            .get(selector)
            .target(QueryTarget::All)
            .consolidation(ConsolidationMode::None)
            .timeout(timeout)
            .wait();
        let replies = match asked {
            Ok(replies) => replies,
            Err(source) => return Err(QueryError::Ask { key, source }),
        };
        let mut answer: Option<Answer> = None;
        let mut refused = None;
        while let Ok(reply) = replies.recv() {
            match reply.into_result() {
                Ok(sample) => {
                    let bytes = sample.payload().to_bytes().into_owned();
                    if answer.as_ref().is_some_and(|first| first.bytes != bytes) {
                        return Err(QueryError::Rival { key });
                    }
                    let (at, unix_ahead_ns) = (self.clock.now(), self.clock.unix_ahead_ns());
                    answer.get_or_insert(Answer { bytes, at, unix_ahead_ns });
                }
                Err(error) => {
                    let said = String::from_utf8_lossy(&error.payload().to_bytes()).into_owned();
                    // zenoh's own word for those who have not answered in time.
                    if said != "Timeout" {
                        refused = Some(said);
                    }
                }
            }
        }
        match (answer, refused) {
            (Some(_), Some(_)) => Err(QueryError::Rival { key }),
            (Some(answer), None) => Ok(answer),
            (None, Some(reason)) => {
                Err(QueryError::Refused { key, reason: printable(&reason).into_owned() })
            }
            (None, None) => Err(QueryError::Unanswered { key, ms: timeout.as_millis() }),
        }
    }
}

/// What was answered, and when it came.
struct Answer {
    bytes: Vec<u8>,
    at: StampNs,
    /// As in [`Received`].
    unix_ahead_ns: i64,
}

impl Drop for CellQueries {
    fn drop(&mut self) {
        close(&self.session);
    }
}

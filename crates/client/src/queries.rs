//! Questions to a cell: a picture taken from now on, and the camera's calibration.

use std::time::Duration;

use magpie_network::{NetworkError, close, open};
use magpie_perception::SharedClock;
use magpie_wire::freshness::{Received, Trust, decode_packages, stale};
use magpie_wire::{self as wire, CellName, PackagesView, Refusal, StaleReason};
use prost::Message;
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
        let bytes = self.ask(&selector, timeout + TRANSIT_MAX)?;
        let (at, unix_ahead_ns) = (self.clock.now(), self.clock.unix_ahead_ns());
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
        let bytes = self.ask(&key, timeout)?;
        wire::CameraInfo::decode(&*bytes).map_err(|error| QueryError::Answer {
            key,
            refusal: Refusal::Undecodable { message: "CameraInfo", why: error.to_string() },
        })
    }

    fn ask(&self, selector: &str, timeout: Duration) -> Result<Vec<u8>, QueryError> {
        let key = selector.to_owned();
        let replies = match self.session.get(selector).timeout(timeout).wait() {
            Ok(replies) => replies,
            Err(source) => return Err(QueryError::Ask { key, source }),
        };
        match replies.recv().map(zenoh::query::Reply::into_result) {
            Ok(Ok(sample)) => Ok(sample.payload().to_bytes().into_owned()),
            Ok(Err(error)) => {
                let reason = String::from_utf8_lossy(&error.payload().to_bytes()).into_owned();
                Err(QueryError::Refused { key, reason })
            }
            Err(_) => Err(QueryError::Unanswered { key, ms: timeout.as_millis() }),
        }
    }
}

impl Drop for CellQueries {
    fn drop(&mut self) {
        close(&self.session);
    }
}

//! Questions to a cell: a picture taken from now on, and the camera's calibration.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use magpie_perception::StampNs;
use magpie_wire::freshness::{Heartbeat, Received, assess, decode_packages};
use magpie_wire::{
    self as wire, Freshness, LostReason, PackagesView, Refusal, StaleReason, printable,
};
use prost::Message;
use zenoh::Wait;
use zenoh::query::{ConsolidationMode, QueryTarget};

use crate::Client;

/// How much longer than the daemon's own deadline an answer may be on its way.
const TRANSIT_MAX: Duration = Duration::from_secs(1);
/// How long somebody else may take to contradict an answer of the publisher that is believed. Whoever
/// is asked and never answers holds nobody up for longer.
const RIVALS_MAX: Duration = Duration::from_millis(50);
/// The same of an answer that does not say whose it is, and does not grow old.
const UNSIGNED_RIVALS_MAX: Duration = Duration::from_millis(500);

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
    #[error("the answer of {key} is not from the publisher whose heartbeat is heard; ask again")]
    Foreign { key: String },
    #[error(
        "the answer of {key} shows what was {ms} ms before the question: the publisher's clock is behind \
         this machine's (synchronise them and restart both programs), or a storage of zenoh's answers \
         with what it keeps (take it off this key)"
    )]
    NotNew { key: String, ms: u64 },
    #[error("the answer must not be acted on: {0}")]
    Stale(StaleReason),
    #[error("nobody may be asked: {0}")]
    Lost(LostReason),
    #[error("the answer of {key} was refused: {refusal}")]
    Answer { key: String, refusal: Refusal },
}

impl Client {
    /// The first result whose exposure began after this question arrived. The first question of a
    /// client waits half a second longer, until its publisher is known. The view says that another
    /// daemon has taken over since the picture that was captured before.
    ///
    /// # Errors
    /// If there is none within `timeout`, which the daemon limits to ten seconds, or nothing may be
    /// believed.
    pub fn capture(&self, timeout: Duration) -> Result<PackagesView, QueryError> {
        self.wait_for_publisher().map_err(QueryError::Lost)?;
        let options = &self.options;
        let selector =
            format!("{}?timeout_ms={}", options.cell.key("capture"), timeout.as_millis());
        let asked = self.now();
        let decode =
            |bytes: &[u8]| decode_packages(bytes, options.cell.as_str(), options.result_valid_max);
        let rivals_max = |bytes: &[u8]| {
            let is_believed = decode(bytes).is_ok_and(|message| self.believes(&message));
            is_believed.then_some(RIVALS_MAX)
        };
        let answer = self.ask(&selector, timeout.saturating_add(TRANSIT_MAX), rivals_max)?;
        let Answer { bytes, at, unix_ahead_ns } = answer;
        let decoded = decode(&bytes);
        let message = match decoded {
            Ok(message) => Arc::new(message),
            Err(refusal) => return Err(QueryError::Answer { key: selector, refusal }),
        };
        let mut heard = self.heartbeat.lock().heard.clone();
        let speaks = |last: &Heartbeat| last.status.instance_id == message.instance_id;
        if !heard.heartbeat.as_ref().is_some_and(speaks) {
            return Err(QueryError::Foreign { key: selector });
        }
        let exposed = StampNs::from_unix_ns(message.stamp_ns, unix_ahead_ns);
        let instance_id = message.instance_id.clone();
        let mut captured = self.captured.lock().unwrap_or_else(PoisonError::into_inner);
        let restarted = captured.as_ref().is_some_and(|last| *last != instance_id);
        heard.newest = Some(Received { message, at, unix_ahead_ns, restarted });
        match assess(&heard, options.trust(), &options.clock) {
            Freshness::Fresh(_) if exposed + options.clock_ahead_max < asked => {
                let ms = asked.since_ns(exposed) / 1_000_000;
                Err(QueryError::NotNew { key: selector, ms })
            }
            Freshness::Fresh(view) => {
                *captured = Some(instance_id);
                Ok(view)
            }
            Freshness::Stale(why) => Err(QueryError::Stale(why)),
            Freshness::Lost { why, .. } => Err(QueryError::Lost(why)),
        }
    }

    /// The camera's calibration, in ROS's field names.
    ///
    /// # Errors
    /// If the camera is not calibrated, or nobody answers within `timeout`.
    pub fn camera_info(&self, timeout: Duration) -> Result<wire::CameraInfo, QueryError> {
        let key = self.options.cell.key("camera_info");
        let bytes = self.ask(&key, timeout, |_| Some(UNSIGNED_RIVALS_MAX))?.bytes;
        let refused = |why: String| {
            let refusal = Refusal::Undecodable { message: "CameraInfo", why };
            QueryError::Answer { key: key.clone(), refusal }
        };
        let info = wire::CameraInfo::decode(&*bytes).map_err(|error| refused(error.to_string()))?;
        let lengths = (info.k.len(), info.r.len(), info.p.len());
        let mut numbers = info.d.iter().chain(&info.k).chain(&info.r).chain(&info.p);
        let has_picture = info.width > 0 && info.height > 0;
        if !has_picture || lengths != (9, 9, 12) || !numbers.all(|number| number.is_finite()) {
            return Err(refused("its matrices or its picture are not whole".into()));
        }
        Ok(info)
    }

    /// Whether a message is from the publisher whose heartbeat is heard.
    fn believes(&self, message: &wire::Packages) -> bool {
        let inbox = self.heartbeat.lock();
        let last = inbox.heard.heartbeat.as_ref();
        last.is_some_and(|last| last.status.instance_id == message.instance_id)
    }

    /// The answer of the one publisher of the cell. Everybody who answers is heard, for as long as
    /// `rivals_max` allows after an answer; where it says `None`, until all have answered.
    fn ask(
        &self,
        selector: &str,
        timeout: Duration,
        rivals_max: impl Fn(&[u8]) -> Option<Duration>,
    ) -> Result<Answer, QueryError> {
        self.ask_while_open(selector, timeout, rivals_max).map_err(|error| match error {
            // What was missed is not the daemon's fault.
            QueryError::Ask { .. } | QueryError::Unanswered { .. } if self.is_closed() => {
                QueryError::Lost(LostReason::Closed)
            }
            error => error,
        })
    }

    fn ask_while_open(
        &self,
        selector: &str,
        timeout: Duration,
        rivals_max: impl Fn(&[u8]) -> Option<Duration>,
    ) -> Result<Answer, QueryError> {
        let key = selector.to_owned();
        let asked = self
            .session
            .get()
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
        let (mut refused, mut until): (_, Option<StampNs>) = (None, None);
        loop {
            let reply = match until {
                None => replies.recv().ok(),
                Some(until) => {
                    let left = Duration::from_nanos(until.since_ns(self.now()));
                    replies.recv_timeout(left).ok().flatten()
                }
            };
            let Some(reply) = reply else { break };
            match reply.into_result() {
                Ok(sample) => {
                    let bytes = sample.payload().to_bytes().into_owned();
                    if answer.as_ref().is_some_and(|first| first.bytes != bytes) {
                        return Err(QueryError::Rival { key });
                    }
                    let (at, unix_ahead_ns) = (self.now(), self.options.clock.unix_ahead_ns());
                    if answer.is_none() {
                        until = rivals_max(&bytes).map(|rivals_max| at + rivals_max);
                        answer = Some(Answer { bytes, at, unix_ahead_ns });
                    }
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

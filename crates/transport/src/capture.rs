//! Questions that the network may ask. None of them changes what the loop does.

use std::sync::Arc;
use std::time::Duration;

use magpie_network::NetworkError;
use magpie_perception::{CameraInfo, StampNs};
use magpie_wire as wire;
use prost::Message;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use zenoh::Wait;
use zenoh::bytes::Encoding;
use zenoh::query::Query;

use crate::encoding;
use crate::shared::Shared;

/// Queries on `capture` that wait at once; the next one is refused.
const CAPTURES_MAX: usize = 16;

/// How long a query on `capture` may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureLimits {
    /// Unless the query says otherwise.
    pub timeout: Duration,
    /// Whatever the query says.
    pub timeout_max: Duration,
    /// Exposure, readout and transfer of a camera that stamps its frames on arrival: such a frame
    /// answers a query only if it arrived this long after it.
    pub arrival_margin: Duration,
}

impl Default for CaptureLimits {
    fn default() -> CaptureLimits {
        CaptureLimits {
            timeout: Duration::from_secs(2),
            timeout_max: Duration::from_secs(10),
            // Two frames of a camera with 20 frames a second.
            arrival_margin: Duration::from_millis(100),
        }
    }
}

/// A result, and when its frame was exposed on the publisher's clock, which never steps.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) stamp: StampNs,
    pub(crate) message: Arc<wire::Packages>,
}

/// The newest result, for those who wait for one.
pub(crate) type NewestResult = watch::Receiver<Option<Answer>>;

/// `capture` answers with the first result whose exposure began after the query arrived.
pub(crate) fn answer_captures(
    session: &zenoh::Session,
    shared: &Arc<Shared>,
    limits: CaptureLimits,
    results: NewestResult,
    runtime: &Handle,
) -> Result<(), NetworkError> {
    let key = shared.cell.key("capture");
    let (shared, runtime, reply_key) = (shared.clone(), runtime.clone(), key.clone());
    let places = Arc::new(Semaphore::new(CAPTURES_MAX));
    let on_query = move |query: Query| {
        let arrived = shared.clock.now();
        let place = places.clone().try_acquire_owned();
        let (results, reply_key) = (results.clone(), reply_key.clone());
        runtime.spawn(async move {
            let answer = match (&place, timeout(&query, limits)) {
                (Err(_), _) => Err(format!("{CAPTURES_MAX} captures are waiting already")),
                (_, Err(reason)) => Err(reason),
                (Ok(_), Ok(timeout)) => capture(results, arrived, limits, timeout).await,
            };
            let answer = answer.map(|message| message.encode_to_vec());
            // Replies are sent as the query asks for, which may mean waiting for a slow reader.
            tokio::task::spawn_blocking(move || {
                reply(&query, &reply_key, answer, &encoding::PACKAGES);
                drop(place);
            });
        });
    };
    let queryable = session.declare_queryable(&key).complete(true).callback(on_query).background();
    queryable.wait().map_err(|source| NetworkError::Declare { key, source })
}

/// The query's `timeout_ms`, as far as the limits allow.
fn timeout(query: &Query, limits: CaptureLimits) -> Result<Duration, String> {
    match query.parameters().get("timeout_ms") {
        None => Ok(limits.timeout),
        Some(text) => match text.parse() {
            Ok(ms) => Ok(Duration::from_millis(ms).min(limits.timeout_max)),
            Err(_) => Err(format!(
                "timeout_ms is {text:?}; give whole milliseconds, as in capture?timeout_ms=500"
            )),
        },
    }
}

async fn capture(
    mut results: NewestResult,
    arrived: StampNs,
    limits: CaptureLimits,
    timeout: Duration,
) -> Result<Arc<wire::Packages>, String> {
    let began_after = |answer: &Answer| {
        let margin = match answer.message.stamp_source() {
            wire::StampSource::Arrival => limits.arrival_margin,
            _ => Duration::ZERO,
        };
        answer.stamp > arrived + margin
    };
    let is_answer = |newest: &Option<Answer>| newest.as_ref().is_some_and(began_after);
    let answer = match tokio::time::timeout(timeout, results.wait_for(is_answer)).await {
        Ok(Ok(newest)) => newest.clone(),
        Ok(Err(_)) => return Err("the daemon is stopping".into()),
        Err(_) => {
            let ms = timeout.as_millis();
            return Err(format!("no frame was exposed and processed within {ms} ms"));
        }
    };
    Ok(answer.expect("wait_for saw a result").message)
}

/// `camera_info` answers with the calibration, or says that there is none.
pub(crate) fn answer_camera_info(
    session: &zenoh::Session,
    shared: &Shared,
    camera_info: Option<&CameraInfo>,
) -> Result<(), NetworkError> {
    let key = shared.cell.key("camera_info");
    let answer = camera_info
        .map(|info| wire::CameraInfo::from(info).encode_to_vec())
        .ok_or_else(|| format!("the camera of cell {:?} is not calibrated", shared.cell.as_str()));
    let reply_key = key.clone();
    let on_query = move |query: Query| {
        reply(&query, &reply_key, answer.clone(), &encoding::CAMERA_INFO);
    };
    let queryable = session.declare_queryable(&key).complete(true).callback(on_query).background();
    queryable.wait().map_err(|source| NetworkError::Declare { key, source })
}

/// A message, or the reason why there is none as plain text.
fn reply(query: &Query, key: &str, answer: Result<Vec<u8>, String>, encoding: &Encoding) {
    let sent = match answer {
        Ok(bytes) => query.reply(key, bytes).encoding(encoding.clone()).wait(),
        Err(reason) => query.reply_err(reason).encoding(Encoding::TEXT_PLAIN).wait(),
    };
    if let Err(error) = sent {
        tracing::debug!(%error, key, "whoever asked did not wait for the reply");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CaptureLimits = CaptureLimits {
        timeout: Duration::from_millis(20),
        timeout_max: Duration::from_millis(20),
        arrival_margin: Duration::from_nanos(100),
    };

    /// What a query that arrived at 1000 ns gets to hear once a frame of `stamp_ns` is there.
    fn check(source: wire::StampSource, stamp_ns: u64, is_answered: bool) {
        // What the message says of Unix time does not matter.
        let message = wire::Packages { stamp_source: source.into(), ..Default::default() };
        let answer = Answer { stamp: StampNs(stamp_ns), message: Arc::new(message) };
        let results = watch::Sender::new(Some(answer));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let answer = capture(results.subscribe(), StampNs(1000), LIMITS, LIMITS.timeout);
        let answer = runtime.block_on(answer);
        assert_eq!(answer.is_ok(), is_answered, "{answer:?}");
    }

    #[test]
    fn a_frame_answers_if_its_exposure_began_after_the_query() {
        check(wire::StampSource::Exposure, 1000, false);
        check(wire::StampSource::Exposure, 1001, true);
    }

    #[test]
    fn a_stamp_of_arrival_must_leave_time_for_the_exposure() {
        check(wire::StampSource::Arrival, 1100, false);
        check(wire::StampSource::Arrival, 1101, true);
    }
}

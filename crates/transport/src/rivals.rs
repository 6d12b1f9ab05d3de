//! Hears whether somebody else speaks for the same cell: two that start at one moment do not see each
//! other when they join.

use std::sync::{Arc, Mutex, PoisonError};

use magpie_network::NetworkError;
use magpie_perception::StampNs;
use magpie_wire::freshness::decode_status;
use magpie_wire::printable;
use zenoh::sample::{Locality, Sample};
use zenoh::{Session, Wait};

use crate::shared::Shared;

/// A rival that has been silent for longer has gone.
const SILENCE_NS_MAX: u64 = 1_000_000_000;
/// So many letters of what a stranger calls itself are told.
const SHOWN_MAX: usize = 64;

/// When another publisher was last heard, and its instance.
#[derive(Debug, Default)]
pub(crate) struct Rivals(Mutex<Option<(StampNs, String)>>);

impl Rivals {
    pub(crate) fn listen(
        session: &Session,
        shared: &Arc<Shared>,
    ) -> Result<Arc<Rivals>, NetworkError> {
        let rivals = Arc::new(Rivals::default());
        let (heard, shared) = (Arc::clone(&rivals), Arc::clone(shared));
        let key = shared.cell.key("status");
        let on_status = move |sample: Sample| {
            let status = decode_status(&sample.payload().to_bytes(), shared.cell.as_str());
            let Ok(status) = status else { return };
            if status.instance_id == shared.instance_id {
                return;
            }
            let instance_id = printable(&status.instance_id);
            let instance_id: String = instance_id.chars().take(SHOWN_MAX).collect();
            let (now, mut heard) = (shared.clock.now(), heard.lock());
            // Of several one at a time is told, so that the reason stands still.
            let is_other = |(at, known): &(StampNs, String)| {
                *known != instance_id && now.since_ns(*at) <= SILENCE_NS_MAX
            };
            if !heard.as_ref().is_some_and(is_other) {
                *heard = Some((now, instance_id));
            }
        };
        let subscriber = session.declare_subscriber(&key).allowed_origin(Locality::Remote);
        let declared = subscriber.callback(on_status).background().wait();
        declared.map_err(|source| NetworkError::Declare { key, source })?;
        Ok(rivals)
    }

    /// The instance that was heard a moment ago.
    pub(crate) fn newest(&self, now: StampNs) -> Option<String> {
        let heard = self.lock();
        let (at, instance_id) = heard.as_ref()?;
        (now.since_ns(*at) <= SILENCE_NS_MAX).then(|| instance_id.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(StampNs, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Hears whether somebody else speaks for the same cell: two that start at one moment do not see each
//! other when they join, and in an open cell anybody may publish.

use std::sync::{Arc, Mutex, PoisonError};

use magpie_network::NetworkError;
use magpie_perception::StampNs;
use magpie_wire::{self as wire, printable};
use prost::Message;
use zenoh::sample::{Locality, Sample};
use zenoh::{Session, Wait};

use crate::shared::Shared;

/// A rival that has been silent for longer has gone.
const SILENCE_NS_MAX: u64 = 1_000_000_000;
/// So many letters of what a stranger calls itself are told.
const SHOWN_MAX: usize = 64;

/// The instance that a message names, if it is one.
type NameIn = fn(&[u8]) -> Option<String>;

/// When another publisher was last heard, and its instance.
#[derive(Debug, Default)]
pub(crate) struct Rivals(Mutex<Option<(StampNs, String)>>);

impl Rivals {
    /// Listens where readers listen for the daemon: whatever comes there and is not ours makes them
    /// believe nobody, even if it is no message at all.
    pub(crate) fn listen(
        session: &Session,
        shared: &Arc<Shared>,
    ) -> Result<Arc<Rivals>, NetworkError> {
        let rivals = Arc::new(Rivals::default());
        let names: [(&str, NameIn); 2] = [
            ("status", |bytes| wire::Status::decode(bytes).ok().map(|status| status.instance_id)),
            ("packages", |bytes| wire::Packages::decode(bytes).ok().map(|all| all.instance_id)),
        ];
        for (what, name_in) in names {
            let key = shared.cell.key(what);
            let (heard, shared) = (Arc::clone(&rivals), Arc::clone(shared));
            let on_sample = move |sample: Sample| {
                let bytes = sample.payload().to_bytes();
                // Two routers may carry a message back.
                if !shared.sent.has(&bytes) {
                    let speaker = speaker(name_in(&bytes), &shared.instance_id);
                    heard.note(shared.clock.now(), speaker);
                }
            };
            let subscriber = session.declare_subscriber(&key).allowed_origin(Locality::Remote);
            let declared = subscriber.callback(on_sample).background().wait();
            declared.map_err(|source| NetworkError::Declare { key, source })?;
        }
        Ok(rivals)
    }

    /// Of several one at a time is told, so that the reason stands still.
    fn note(&self, now: StampNs, speaker: String) {
        let mut heard = self.lock();
        let is_other = |(at, known): &(StampNs, String)| {
            *known != speaker && now.since_ns(*at) <= SILENCE_NS_MAX
        };
        if !heard.as_ref().is_some_and(is_other) {
            *heard = Some((now, speaker));
        }
    }

    /// The instance that was heard a moment ago.
    pub(crate) fn newest(&self, now: StampNs) -> Option<String> {
        let heard = self.lock();
        let (at, speaker) = heard.as_ref()?;
        (now.since_ns(*at) <= SILENCE_NS_MAX).then(|| speaker.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(StampNs, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to call somebody by what it calls itself.
fn speaker(instance_id: Option<String>, own: &str) -> String {
    match instance_id {
        Some(claimed) if claimed == own => "which gives itself out for this daemon".to_owned(),
        Some(claimed) if !claimed.is_empty() => {
            printable(&claimed).chars().take(SHOWN_MAX).collect()
        }
        _ => "which sends what cannot be read".to_owned(),
    }
}

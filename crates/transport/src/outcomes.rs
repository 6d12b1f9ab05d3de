//! Hears what became of picks, and counts it. Nothing of that reaches the loop.
//!
//! ```text
//! zenoh's thread: size, rate -> queue of WAITING_MAX -> tokio: is it to be believed? -> counters,
//!                                                                          KEPT_MAX for the recorder
//! ```

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use magpie_network::NetworkError;
use magpie_perception::{SharedClock, StampNs};
use magpie_wire::outcome::{OUTCOME_BYTES_MAX, PublishedLately, Taken, decode_outcome};
use magpie_wire::{self as wire, CellName, OutcomeRefusal};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zenoh::sample::Sample;
use zenoh::{Session, Wait};

/// Reports that wait to be judged; more at once are no arm's.
const WAITING_MAX: usize = 64;
/// Reports that wait to be fetched.
const KEPT_MAX: usize = 256;
/// One report costs so much of the allowance: twenty a second are taken.
const REPORT_NS: u64 = 50_000_000;
/// What has gathered of the allowance at most: a hundred reports at once.
const ALLOWANCE_NS_MAX: u64 = 100 * REPORT_NS;

/// A report that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportedOutcome {
    pub message: wire::PickOutcome,
    /// When it was taken.
    pub at: StampNs,
}

/// What was published lately, and what was reported of it.
pub(crate) struct Outcomes {
    cell: CellName,
    clock: SharedClock,
    published: Mutex<PublishedLately>,
    allowance: Mutex<Allowance>,
    counts: Mutex<Counts>,
    kept: Mutex<VecDeque<ReportedOutcome>>,
}

#[derive(Default)]
struct Counts {
    picks: wire::PickCounters,
    refused: [u64; OutcomeRefusal::CODES.len()],
}

/// So many reports, and not more: filled by time, emptied by reports.
struct Allowance {
    left_ns: u64,
    at: StampNs,
}

impl Allowance {
    fn admits(&mut self, now: StampNs) -> bool {
        self.left_ns = (self.left_ns + now.since_ns(self.at)).min(ALLOWANCE_NS_MAX);
        self.at = now;
        let left_ns = self.left_ns.checked_sub(REPORT_NS);
        self.left_ns = left_ns.unwrap_or(self.left_ns);
        left_ns.is_some()
    }
}

impl Outcomes {
    pub(crate) fn new(cell: &CellName, instance_id: &str, clock: &SharedClock) -> Outcomes {
        let allowance = Allowance { left_ns: ALLOWANCE_NS_MAX, at: clock.now() };
        Outcomes {
            cell: cell.clone(),
            clock: clock.clone(),
            published: Mutex::new(PublishedLately::new(instance_id.to_owned())),
            allowance: Mutex::new(allowance),
            counts: Mutex::default(),
            kept: Mutex::default(),
        }
    }

    /// Notes what reports may be about. The frame thread does it: numbers are copied, nothing is
    /// allocated, and whoever judges a report has the lock for as long as that takes.
    pub(crate) fn remember(&self, message: &wire::Packages) {
        lock(&self.published).remember(message);
    }

    /// Whether a report of so many bytes is looked at.
    fn admit(&self, bytes: usize) -> Result<(), OutcomeRefusal> {
        if bytes > OUTCOME_BYTES_MAX {
            return Err(OutcomeRefusal::TooLarge);
        }
        let is_admitted = lock(&self.allowance).admits(self.clock.now());
        if is_admitted { Ok(()) } else { Err(OutcomeRefusal::TooMany) }
    }

    fn take(&self, bytes: &[u8]) -> Result<(), OutcomeRefusal> {
        let (now, unix_ahead_ns) = (self.clock.now(), self.clock.unix_ahead_ns());
        let message = decode_outcome(bytes, self.cell.as_str())?;
        let taken = lock(&self.published).take(&message, now.unix_ns(unix_ahead_ns))?;
        lock(&self.counts).note(&message, taken);
        let mut kept = lock(&self.kept);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(ReportedOutcome { message, at: now });
        Ok(())
    }

    fn refuse(&self, refusal: &OutcomeRefusal) {
        lock(&self.counts).refused[refusal.index()] += 1;
        tracing::debug!(%refusal, "report of a pick refused");
    }

    /// What was taken since the last call; the newest of it, where that was long ago.
    pub(crate) fn fetch(&self) -> Vec<ReportedOutcome> {
        lock(&self.kept).drain(..).collect()
    }

    pub(crate) fn counters(&self) -> wire::PickCounters {
        let counts = lock(&self.counts);
        let refused = OutcomeRefusal::CODES.into_iter().zip(counts.refused);
        let refused = refused.filter(|(_, count)| *count > 0);
        let refused =
            refused.map(|(code, count)| wire::RefusedReports { reason: code.into(), count });
        wire::PickCounters { refused: refused.collect(), ..counts.picks.clone() }
    }
}

impl Counts {
    fn note(&mut self, report: &wire::PickOutcome, taken: Taken) {
        let picks = &mut self.picks;
        let counter = match (taken, report.outcome()) {
            (Taken::Amended, _) => &mut picks.amended,
            (Taken::First, wire::Outcome::Held) => &mut picks.held,
            (Taken::First, wire::Outcome::Dropped) => &mut picks.dropped,
            (Taken::First, wire::Outcome::Double) => &mut picks.doubles,
            (Taken::First, wire::Outcome::Missed) => &mut picks.missed,
            (Taken::First, wire::Outcome::NotTried) => &mut picks.not_tried,
            (Taken::First, wire::Outcome::Unspecified) => unreachable!("it would be refused"),
        };
        *counter += 1;
    }
}

/// Listens to reports until the session is closed. The task judges them.
pub(crate) fn hear(
    session: &Session,
    outcomes: &Arc<Outcomes>,
    runtime: &Handle,
) -> Result<JoinHandle<()>, NetworkError> {
    let (sender, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING_MAX);
    let hearing = Arc::clone(outcomes);
    let on_report = move |sample: Sample| {
        let payload = sample.payload();
        let admitted = hearing.admit(payload.len()).and_then(|()| {
            let sent = sender.try_send(payload.to_bytes().into_owned());
            sent.map_err(|_| OutcomeRefusal::TooMany)
        });
        if let Err(refusal) = admitted {
            hearing.refuse(&refusal);
        }
    };
    let key = outcomes.cell.key("outcomes");
    let subscriber = session.declare_subscriber(&key).callback(on_report).background().wait();
    subscriber.map_err(|source| NetworkError::Declare { key, source })?;
    let outcomes = Arc::clone(outcomes);
    Ok(runtime.spawn(async move {
        while let Some(bytes) = waiting.recv().await {
            if let Err(refusal) = outcomes.take(&bytes) {
                outcomes.refuse(&refusal);
            }
        }
    }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_reports_a_second_are_looked_at_and_a_hundred_at_once() {
        let mut allowance = Allowance { left_ns: ALLOWANCE_NS_MAX, at: StampNs(0) };
        let mut at_ns = 0;
        let mut admitted = |count: usize, every_ns: u64| {
            let is_admitted = |_: &usize| {
                at_ns += every_ns;
                allowance.admits(StampNs(at_ns))
            };
            (0..count).filter(is_admitted).count()
        };
        assert_eq!(admitted(1000, 0), 100);
        // A thousand in a second.
        assert_eq!(admitted(1000, 1_000_000), 20);
        assert_eq!(admitted(40, REPORT_NS), 40);
    }
}

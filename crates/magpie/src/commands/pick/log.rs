//! What the arm did, with the moments that matter.

use std::collections::BTreeMap;

use magpie_client::wire::{Outcome, plain};
use magpie_perception::StampNs;
use magpie_workcell::{Picked, Verdict};
use serde_json::{Value, json};

use crate::present::table;

/// One package that the arm went for. Stamps are of the machine's clock.
pub(super) struct Attempt {
    pub(super) track_id: u64,
    /// Of the result that the arm chose by.
    pub(super) exposed: StampNs,
    pub(super) received: StampNs,
    /// `None` where the arm turned back.
    pub(super) confirmed: Option<Confirmed>,
    /// When the cups touched down, or the arm turned back.
    pub(super) ended: StampNs,
    pub(super) end: End,
    /// When the cell was told.
    pub(super) reported: StampNs,
}

/// The result that the arm picked by.
pub(super) struct Confirmed {
    pub(super) exposed: StampNs,
    pub(super) valid_until: StampNs,
    pub(super) contact: StampNs,
}

pub(super) enum End {
    Picked(Picked),
    /// The arm turned back above the package.
    Withdrawn(Withdrawn),
}

/// Why the arm turned back.
#[derive(Debug)]
pub(super) enum Withdrawn {
    NotFresh { why: String },
    NotSeen,
    Moved,
}

#[derive(Default)]
pub(super) struct Log {
    pub(super) attempts: Vec<Attempt>,
    /// How often the controller had nothing fresh.
    waits: u32,
    heaps: u32,
    /// Packages that were left when a heap was replaced.
    given_up: usize,
}

impl Attempt {
    pub(super) fn is_stale(&self) -> bool {
        self.confirmed.as_ref().is_some_and(|confirmed| confirmed.contact > confirmed.valid_until)
    }

    /// As it was reported: `held`, `dropped`, `double`, `missed` or `not_tried`.
    pub(super) fn outcome(&self) -> String {
        plain(self.end.outcome().as_str_name(), "OUTCOME_")
    }

    /// Why it was not held; empty if it was.
    pub(super) fn why(&self) -> String {
        match &self.end {
            End::Picked(Picked::Held(_)) => String::new(),
            End::Picked(Picked::Double(count)) => format!("{count} packages under the cups"),
            End::Picked(Picked::Lost(_, verdict)) => faults(verdict),
            End::Picked(Picked::Nothing) => "no package under the cups".into(),
            End::Withdrawn(Withdrawn::NotFresh { .. }) => "the last look was not fresh".into(),
            End::Withdrawn(Withdrawn::NotSeen) => "the package was not seen any more".into(),
            End::Withdrawn(Withdrawn::Moved) => "the package had moved".into(),
        }
    }
}

impl End {
    /// As the cell is told.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            End::Picked(Picked::Held(_)) => Outcome::Held,
            End::Picked(Picked::Double(_)) => Outcome::Double,
            // It came up, as all cups had sealed on it.
            End::Picked(Picked::Lost(_, verdict)) if is_torn_off(verdict) => Outcome::Dropped,
            End::Picked(Picked::Lost(..) | Picked::Nothing) => Outcome::Missed,
            End::Withdrawn(_) => Outcome::NotTried,
        }
    }
}

/// Whether its weight is all that is wrong.
fn is_torn_off(verdict: &Verdict) -> bool {
    verdict.drops && Verdict { drops: false, ..*verdict }.is_accepted()
}

fn faults(verdict: &Verdict) -> String {
    let faults = [
        (verdict.off_package, "a lip beyond the package"),
        (verdict.leaks, "a lip that leaks"),
        (verdict.misplaced, "stopped short of the surface or deep in it"),
        (verdict.drops, "too heavy, or held too far from its middle"),
        (verdict.hits, "the tool hit something"),
    ];
    let faults: Vec<_> = faults.iter().filter(|(is, _)| *is).map(|(_, words)| *words).collect();
    faults.join("; ")
}

impl Log {
    pub(super) fn add(&mut self, attempt: Attempt) {
        self.attempts.push(attempt);
    }

    pub(super) fn waited(&mut self) {
        self.waits += 1;
    }

    /// `left`: packages that nobody picked.
    pub(super) fn refilled(&mut self, left: usize) {
        self.heaps += 1;
        self.given_up += left;
    }

    /// Attempts in which the cups touched down.
    pub(super) fn picks(&self) -> u32 {
        let is_pick = |attempt: &&Attempt| matches!(attempt.end, End::Picked(_));
        u32::try_from(self.attempts.iter().filter(is_pick).count()).unwrap_or(u32::MAX)
    }

    /// Picks by a result that had expired when the cups touched down.
    pub(super) fn stale_picks(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.is_stale()).count()
    }

    pub(super) fn to_json_lines(&self) -> String {
        self.attempts.iter().map(|attempt| format!("{}\n", to_json(attempt))).collect()
    }

    pub(super) fn summary(&self) -> String {
        let mut counts = BTreeMap::<(String, String), u32>::new();
        for attempt in &self.attempts {
            *counts.entry((attempt.outcome(), attempt.why())).or_default() += 1;
        }
        let mut table = table::new(&["outcome", "why", "attempts"]);
        for ((outcome, why), count) in counts {
            let [outcome, why] = [outcome, why].map(table::Cell::new);
            table.add_row([outcome, why, table::number(count)]);
        }
        let mut ages_ms: Vec<f64> = self.ages_at_contact_ms().collect();
        ages_ms.sort_by(f64::total_cmp);
        let age = match ages_ms.as_slice() {
            [] => String::new(),
            ages => format!(
                "; at contact the result was {:.0} ms old at the median and {:.0} ms at most",
                ages[ages.len() / 2],
                ages[ages.len() - 1]
            ),
        };
        format!(
            "{table}\n{} picks from {} heaps, {} of them held{age}; {} packages of emptied heaps were given \
             up; {} picks on a result that had expired; {} times there was nothing fresh",
            self.picks(),
            self.heaps + 1,
            self.attempts.iter().filter(|attempt| attempt.outcome() == "held").count(),
            self.given_up,
            self.stale_picks(),
            self.waits,
        )
    }

    fn ages_at_contact_ms(&self) -> impl Iterator<Item = f64> {
        let confirmed = self.attempts.iter().filter_map(|attempt| attempt.confirmed.as_ref());
        confirmed.map(|confirmed| confirmed.contact.since_ns(confirmed.exposed) as f64 / 1e6)
    }
}

fn to_json(attempt: &Attempt) -> Value {
    let confirmed = attempt.confirmed.as_ref().map(|confirmed| {
        json!({
            "exposed_ns": confirmed.exposed.0,
            "valid_until_ns": confirmed.valid_until.0,
            "contact_ns": confirmed.contact.0,
        })
    });
    let not_fresh = match &attempt.end {
        End::Withdrawn(Withdrawn::NotFresh { why }) => Some(why),
        _ => None,
    };
    json!({
        "track_id": attempt.track_id,
        "exposed_ns": attempt.exposed.0,
        "received_ns": attempt.received.0,
        "confirmed": confirmed,
        "ended_ns": attempt.ended.0,
        "reported_ns": attempt.reported.0,
        "outcome": attempt.outcome(),
        "why": attempt.why(),
        "not_fresh": not_fresh,
    })
}

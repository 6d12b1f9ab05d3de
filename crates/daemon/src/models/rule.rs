//! When a model that was changed to is given up.

use std::collections::VecDeque;
use std::time::Duration;

use magpie_perception::StampNs;

/// Counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) at: StampNs,
    pub(crate) results: u64,
    pub(crate) packages: u64,
    pub(crate) deadline_misses: u64,
}

/// How things were between two samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates {
    results: u64,
    packages_per_result: f64,
    late_share: f64,
}

/// Fewer results say nothing.
const RESULTS_MIN: u64 = 20;
/// So much larger a share of late results is the model's fault.
const LATE_SHARE_MAX: f64 = 0.2;
/// A model that finds less than this share of what was found before is blind.
pub const FOUND_SHARE_MIN: f64 = 0.25;
/// Where less is in view, a change of it says nothing.
pub const PACKAGES_MIN: f64 = 0.5;
/// What was before a change is taken over so long.
const HISTORY: Duration = Duration::from_secs(30);
const HISTORY_STEP: Duration = Duration::from_secs(1);

/// What the model in use did lately.
#[derive(Debug, Default)]
pub(crate) struct History {
    samples: VecDeque<Sample>,
    /// How it was before the samples, while they reach less far back than [`HISTORY`].
    earlier: Option<Rates>,
}

impl History {
    /// Of a model that is known from a trial.
    pub(crate) fn after(earlier: Option<Rates>) -> History {
        History { samples: VecDeque::new(), earlier }
    }

    pub(crate) fn note(&mut self, now: Sample) {
        let age = |sample: &Sample| Duration::from_nanos(now.at.since_ns(sample.at));
        if self.samples.back().is_some_and(|last| age(last) < HISTORY_STEP) {
            return;
        }
        self.samples.push_back(now);
        while self.samples.front().is_some_and(|first| age(first) > HISTORY) {
            self.samples.pop_front();
            self.earlier = None;
        }
    }

    fn rates(&self, now: &Sample) -> Option<Rates> {
        let lately = self.samples.front().map(|first| rates(first, now));
        lately.filter(|lately| lately.results >= RESULTS_MIN).or(self.earlier)
    }
}

/// A model on trial.
#[derive(Debug)]
pub(crate) struct Trial {
    before: Option<Rates>,
    began: Sample,
    length: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    GoesOn,
    Passed,
    Failed(String),
}

impl Trial {
    pub(crate) fn begin(before: &History, now: Sample, length: Duration) -> Trial {
        Trial { before: before.rates(&now), began: now, length }
    }

    /// How the model before was.
    pub(crate) fn before(&self) -> Option<Rates> {
        self.before
    }

    /// How the model on trial was so far.
    pub(crate) fn so_far(&self, now: &Sample) -> Rates {
        rates(&self.began, now)
    }

    pub(crate) fn left(&self, now: StampNs) -> Duration {
        self.length.saturating_sub(Duration::from_nanos(now.since_ns(self.began.at)))
    }

    /// Why a model that finds nothing would pass; `None` where it would not.
    pub(crate) fn blind_spot(&self) -> Option<&'static str> {
        match self.before {
            None => Some("fewer than 20 results of the model before are known"),
            Some(before) if before.packages_per_result < PACKAGES_MIN => {
                Some("next to nothing was found before")
            }
            Some(_) => None,
        }
    }

    pub(crate) fn judge(&self, now: &Sample) -> Verdict {
        let since = self.so_far(now);
        if since.results < RESULTS_MIN {
            return Verdict::GoesOn;
        }
        let late_before = self.before.map_or(0.0, |before| before.late_share);
        if since.late_share > late_before + LATE_SHARE_MAX {
            return Verdict::Failed(format!(
                "{:.0} % of its {} results came later than limits.deadline_ms, {:.0} % before",
                100.0 * since.late_share,
                since.results,
                100.0 * late_before
            ));
        }
        if let Some(before) = self.before
            && before.packages_per_result >= PACKAGES_MIN
            && since.packages_per_result < FOUND_SHARE_MIN * before.packages_per_result
        {
            return Verdict::Failed(format!(
                "it finds {:.1} packages in a frame, where {:.1} were found before",
                since.packages_per_result, before.packages_per_result
            ));
        }
        let is_over = u128::from(now.at.since_ns(self.began.at)) >= self.length.as_nanos();
        if is_over { Verdict::Passed } else { Verdict::GoesOn }
    }
}

fn rates(from: &Sample, to: &Sample) -> Rates {
    let results = to.results - from.results;
    let share = |part: u64| part as f64 / results.max(1) as f64;
    Rates {
        results,
        packages_per_result: share(to.packages - from.packages),
        late_share: share(to.deadline_misses - from.deadline_misses),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten results a second, each with so many packages, a share of them late.
    fn after(from: Sample, seconds: u64, packages: u64, late_of_ten: u64) -> Sample {
        Sample {
            at: from.at + Duration::from_secs(seconds),
            results: from.results + 10 * seconds,
            packages: from.packages + 10 * seconds * packages,
            deadline_misses: from.deadline_misses + late_of_ten * seconds,
        }
    }

    /// A trial of ten seconds after half a minute.
    fn check(before: (u64, u64), since: (u64, u64), seconds: u64, expected: &str) {
        let mut history = History::default();
        let mut now = Sample { at: StampNs(1), ..Sample::default() };
        for _ in 0..40 {
            history.note(now);
            now = after(now, 1, before.0, before.1);
        }
        let trial = Trial::begin(&history, now, Duration::from_secs(10));
        let verdict = trial.judge(&after(now, seconds, since.0, since.1));
        assert!(format!("{verdict:?}").contains(expected), "{verdict:?} is not {expected}");
    }

    #[test]
    fn a_model_that_does_as_before_passes_when_its_time_is_over() {
        check((4, 0), (4, 0), 5, "GoesOn");
        check((4, 0), (4, 0), 10, "Passed");
        check((4, 0), (1, 1), 10, "Passed");
        check((0, 9), (0, 9), 10, "Passed");
    }

    #[test]
    fn a_model_that_is_late_or_blind_fails_as_soon_as_that_is_sure() {
        check((4, 0), (0, 0), 1, "GoesOn");
        check((4, 0), (0, 0), 2, "0.0 packages in a frame, where 4.0");
        check((4, 0), (4, 5), 2, "50 % of its 20 results came later");
        // Nothing was in view before either.
        check((0, 0), (0, 0), 10, "Passed");
    }

    #[test]
    fn without_a_history_only_lateness_is_judged_and_that_is_said() {
        let now = Sample { at: StampNs(1), ..Sample::default() };
        let trial = Trial::begin(&History::default(), now, Duration::from_secs(10));
        assert!(trial.blind_spot().unwrap().contains("fewer than 20"));
        assert_eq!(trial.judge(&after(now, 10, 0, 0)), Verdict::Passed);
        assert!(matches!(trial.judge(&after(now, 10, 0, 9)), Verdict::Failed(_)));
    }

    #[test]
    fn what_a_trial_has_shown_is_what_the_next_one_is_judged_against() {
        let length = Duration::from_secs(10);
        let began = Sample { at: StampNs(1), ..Sample::default() };
        let trial = Trial::begin(&History::default(), began, length);
        let passed = after(began, 10, 4, 0);
        assert_eq!(trial.judge(&passed), Verdict::Passed);
        // Another order in this very moment.
        let mut history = History::after(Some(trial.so_far(&passed)));
        let next = Trial::begin(&history, passed, length);
        assert_eq!(next.blind_spot(), None);
        let blind = after(passed, 10, 0, 0);
        assert!(matches!(next.judge(&blind), Verdict::Failed(_)));
        // The one before is back, and is known from that trial.
        let again = Trial::begin(&History::after(next.before()), blind, length);
        assert_eq!(again.before(), next.before());
        // Half a minute later only what was seen meanwhile counts.
        let mut now = passed;
        for _ in 0..40 {
            history.note(now);
            now = after(now, 1, 0, 0);
        }
        let emptied = Trial::begin(&history, now, length);
        assert!(emptied.blind_spot().unwrap().contains("next to nothing"));
    }
}

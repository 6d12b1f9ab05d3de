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
struct Rates {
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
pub(crate) struct History(VecDeque<Sample>);

impl History {
    pub(crate) fn note(&mut self, now: Sample) {
        let age = |sample: &Sample| Duration::from_nanos(now.at.since_ns(sample.at));
        if self.0.back().is_some_and(|last| age(last) < HISTORY_STEP) {
            return;
        }
        self.0.push_back(now);
        while self.0.front().is_some_and(|first| age(first) > HISTORY) {
            self.0.pop_front();
        }
    }

    /// Another model begins.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
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
        let before = before.0.front().map(|first| rates(first, &now));
        Trial { before: before.filter(|b| b.results >= RESULTS_MIN), began: now, length }
    }

    pub(crate) fn judge(&self, now: &Sample) -> Verdict {
        let since = rates(&self.began, now);
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
    fn without_a_history_only_lateness_is_judged() {
        let now = Sample { at: StampNs(1), ..Sample::default() };
        let trial = Trial::begin(&History::default(), now, Duration::from_secs(10));
        assert_eq!(trial.judge(&after(now, 10, 0, 0)), Verdict::Passed);
        assert!(matches!(trial.judge(&after(now, 10, 0, 9)), Verdict::Failed(_)));
    }
}

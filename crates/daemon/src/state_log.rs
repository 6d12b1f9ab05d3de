//! Which changes of the state are worth a line in the log.
//!
//! Status has each of them, with all its numbers. The log is read afterwards, by people: there the
//! state and the codes of its reasons count, and a minute has a few lines.

use std::collections::VecDeque;
use std::time::Duration;

use magpie_perception::StampNs;
use magpie_transport::StatusSnapshot;
use magpie_wire::{Reason, State};

/// Lines of a minute: a state that comes and goes is told a few times, and then as it is when the
/// minute is over.
const LINES_MAX: usize = 6;
const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct StateLog {
    told: Option<(State, Vec<&'static str>)>,
    text: String,
    /// When the last lines were written, and of which state.
    lines: VecDeque<(StampNs, (State, Vec<&'static str>))>,
}

impl StateLog {
    /// Whether to write a line now; `text` is that line.
    pub(crate) fn is_due(&mut self, status: &StatusSnapshot, text: &str, now: StampNs) -> bool {
        let is_older = |at: StampNs| Duration::from_nanos(now.since_ns(at)) >= MINUTE;
        while self.lines.front().is_some_and(|(at, _)| is_older(*at)) {
            self.lines.pop_front();
        }
        let codes: Vec<_> = status.reasons.iter().map(Reason::code).collect();
        let state = (status.state, codes);
        let is_other = self.told.as_ref() != Some(&state);
        let is_due = match is_other {
            // What this minute has not told yet is told in any case.
            true => {
                self.lines.len() < LINES_MAX || self.lines.iter().all(|(_, told)| *told != state)
            }
            // Only what it counts has changed.
            false => self.lines.is_empty() && text != self.text,
        };
        if is_due {
            self.told = Some(state.clone());
            text.clone_into(&mut self.text);
            self.lines.push_back((now, state));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which lines are written, of a state that is looked at twice a second.
    fn check(seconds: u64, at: impl Fn(u64) -> Vec<Reason>, expected: &[u64]) {
        let mut log = StateLog::default();
        let looks = (0..2 * seconds).filter(|look| {
            let reasons = at(look / 2);
            let text = reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join("; ");
            let state = if reasons.is_empty() { State::Ok } else { State::Degraded };
            let status = StatusSnapshot {
                state,
                reasons,
                camera: String::new(),
                drift: None,
                clock_steps: 0,
            };
            log.is_due(&status, &text, StampNs(1) + Duration::from_millis(500 * look))
        });
        assert_eq!(looks.map(|look| look / 2).collect::<Vec<_>>(), expected);
    }

    fn late(missed: u64) -> Reason {
        Reason::DeadlinesMissed { missed, results: 1000 }
    }

    #[test]
    fn what_only_counts_on_is_told_once_a_minute() {
        check(190, |second| vec![late(second)], &[0, 60, 120, 180]);
        check(190, |_| vec![late(1)], &[0]);
    }

    #[test]
    fn another_reason_and_the_end_of_one_are_told_at_once() {
        let reasons = |second| match second {
            0..5 => vec![],
            5..9 => vec![late(second)],
            9..20 => vec![late(second), Reason::FramesStale { stale: second, frames: 99 }],
            _ => vec![],
        };
        check(59, reasons, &[0, 5, 9, 20]);
    }

    #[test]
    fn a_state_that_flickers_is_told_a_few_times_a_minute() {
        let flickers = |second: u64| if second.is_multiple_of(2) { vec![late(1)] } else { vec![] };
        check(60, flickers, &[0, 1, 2, 3, 4, 5]);
        let lost = |second: u64| match second {
            20..25 => vec![Reason::CameraLost { why: String::new() }],
            _ => flickers(second),
        };
        check(59, lost, &[0, 1, 2, 3, 4, 5, 20]);
        // How it came out is told when there is room again.
        let ends = |second: u64| if second < 20 { flickers(second) } else { vec![] };
        check(90, |second| if second == 5 { vec![] } else { ends(second) }, &[0, 1, 2, 3, 4, 5]);
    }
}

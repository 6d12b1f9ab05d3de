//! Whether results come that an arm may act upon.
//!
//! ```text
//!  result -----> nothing is missed -- a frame came, or one is due --> waiting -- too long --> stopped
//!    ^                                                                   |                      |
//!    +-------------------------------- result ---------------------------+----------------------+
//! ```
//!
//! How seldom results may come is learned from them: a camera may give a frame every few seconds, and
//! a model may take as long.

use std::collections::VecDeque;
use std::time::Duration;

use magpie_perception::{CountersSnapshot, StampNs};

/// Results are missed when none came for so long,
const SILENCE_NS_MAX: u64 = 1_000_000_000;
/// and for so many times the longest distance of the last ones.
const GAPS_MISSED: u64 = 3;
const GAPS_KEPT: usize = 8;
/// So many distances tell when the next result is due; before that, only a frame that came does.
const GAPS_KNOWN: usize = 2;
/// The loop may take so long for its very first frame: nothing is known of it yet.
const FIRST_NS_MAX: u64 = 10_000_000_000;
/// A longer time between two looks was no time in which anybody could work: the process was stopped.
const LOOK_NS_MAX: u64 = 500_000_000;

/// What is seen at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look<'a> {
    pub(crate) at: StampNs,
    pub(crate) counters: &'a CountersSnapshot,
    /// Grows with every frame that the source hands over, where it says so.
    pub(crate) source_progress: u64,
    pub(crate) is_camera_lost: bool,
}

#[derive(Debug, Default)]
pub(crate) struct ResultFlow {
    looked: Option<StampNs>,
    arrived: u64,
    usable: u64,
    /// Since the newest result that could be acted upon.
    since_result_ns: Option<u64>,
    /// Since the first frame after it.
    since_frame_ns: Option<u64>,
    /// The distances between the last results, in nanoseconds.
    gaps_ns: VecDeque<u64>,
    /// The limit, while it is passed.
    passed_limit_ns: Option<u64>,
}

/// How many results could be acted upon when they were published.
pub(crate) fn usable(counters: &CountersSnapshot) -> u64 {
    counters.results_published.saturating_sub(counters.results_expired)
}

impl ResultFlow {
    /// How long results may take, if they have not come for longer.
    pub(crate) fn stopped(&mut self, look: Look<'_>) -> Option<Duration> {
        let counters = look.counters;
        let before = self.looked.replace(look.at).unwrap_or(look.at);
        let passed_ns = look.at.since_ns(before).min(LOOK_NS_MAX);
        for time in [&mut self.since_result_ns, &mut self.since_frame_ns] {
            *time = time.map(|time_ns| time_ns + passed_ns);
        }
        let arrived = counters.frames + counters.frames_corrupt + look.source_progress;
        let has_arrived = std::mem::replace(&mut self.arrived, arrived) != arrived;
        if look.is_camera_lost {
            // That is told by itself. How long it lasted says nothing of how often results come.
            (self.since_result_ns, self.since_frame_ns) = (None, None);
            self.passed_limit_ns = None;
            return None;
        }
        if std::mem::replace(&mut self.usable, usable(counters)) != usable(counters) {
            if let Some(gap_ns) = self.since_result_ns.or(self.since_frame_ns) {
                self.gaps_ns.truncate(GAPS_KEPT - 1);
                // What was told as a fault stretches the limit by no more than itself.
                self.gaps_ns.push_front(gap_ns.min(self.passed_limit_ns.unwrap_or(u64::MAX)));
            }
            (self.since_result_ns, self.since_frame_ns) = (Some(0), None);
            self.passed_limit_ns = None;
            return None;
        }
        let finished = counters.frames_stale + counters.results_published;
        if has_arrived || counters.frames > finished {
            self.since_frame_ns.get_or_insert(0);
        }
        // A source that tells its frames is silent by itself.
        let is_due = look.source_progress == 0 && self.gaps_ns.len() >= GAPS_KNOWN;
        let since_due_ns = self.since_result_ns.filter(|_| is_due).or(self.since_frame_ns)?;
        let is_first = finished + counters.frames_corrupt == 0;
        let longest_ns = self.gaps_ns.iter().max().copied().unwrap_or_default();
        let limit_ns = SILENCE_NS_MAX.max(GAPS_MISSED * longest_ns);
        let limit_ns = if is_first { FIRST_NS_MAX } else { limit_ns };
        self.passed_limit_ns = (since_due_ns > limit_ns).then_some(limit_ns);
        self.passed_limit_ns.map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOK_MS: usize = 100;

    /// Looks ten times a second at what `counters_at` gives for each millisecond, for `time_ms`; gives
    /// the times at which results have stopped.
    fn stops_ms(time_ms: u64, counters_at: impl Fn(u64) -> (CountersSnapshot, u64)) -> Vec<u64> {
        let mut flow = ResultFlow::default();
        let looks = (0..time_ms).step_by(LOOK_MS);
        let is_stopped = |&at_ms: &u64| {
            let (counters, source_progress) = counters_at(at_ms);
            let at = StampNs(at_ms * 1_000_000);
            let look = Look { at, counters: &counters, source_progress, is_camera_lost: false };
            flow.stopped(look).is_some()
        };
        looks.filter(is_stopped).collect()
    }

    /// A frame every `period_ms`, of which each gives its result `latency_ms` later, until `hangs_ms`.
    fn every(period_ms: u64, latency_ms: u64, hangs_ms: u64) -> impl Fn(u64) -> CountersSnapshot {
        move |at_ms| {
            let at_ms = at_ms.min(hangs_ms);
            let frames = at_ms / period_ms + 1;
            let results_published = (at_ms + period_ms).saturating_sub(latency_ms) / period_ms;
            CountersSnapshot { frames, results_published, ..CountersSnapshot::default() }
        }
    }

    #[test]
    fn a_loop_that_hangs_is_noticed_a_second_later_whether_the_source_tells_frames_or_not() {
        let hanging = every(50, 10, 5_000);
        let recording = stops_ms(20_000, |at_ms| (hanging(at_ms), 0));
        let camera = stops_ms(20_000, |at_ms| (hanging(at_ms), at_ms / 50));
        for stopped in [recording, camera] {
            assert!((6_000..6_300).contains(&stopped[0]), "{stopped:?}");
            assert_eq!(stopped.len() as u64, (20_000 - stopped[0]) / 100, "it stays");
        }
    }

    #[test]
    fn a_source_with_a_frame_every_few_seconds_and_a_slow_model_are_no_fault() {
        for (period_ms, latency_ms) in [(5_000, 40), (2_000, 1_990), (1_500, 40), (4_000, 3_900)] {
            let counters = every(period_ms, latency_ms, u64::MAX);
            let stopped = stops_ms(60_000, |at_ms| (counters(at_ms), at_ms / period_ms));
            assert_eq!(stopped, [0_u64; 0], "a frame every {period_ms} ms, {latency_ms} ms each");
            let stopped = stops_ms(60_000, |at_ms| (counters(at_ms), at_ms / 50));
            let slow = latency_ms > 1_000;
            assert_eq!(stopped.is_empty(), slow, "a camera of 20 frames a second, {latency_ms} ms");
        }
        let hanging = every(2_000, 40, 20_000);
        assert!((24_000..24_500).contains(&stops_ms(60_000, |at_ms| (hanging(at_ms), 0))[0]));
    }

    #[test]
    fn a_model_that_becomes_slower_is_missed_until_its_results_have_told_so() {
        let counters = |at_ms: u64| {
            let quick = at_ms.min(5_000) / 50;
            let slow = at_ms.saturating_sub(5_000) / 2_000;
            let results_published = quick + slow;
            CountersSnapshot {
                frames: results_published + 1,
                results_published,
                ..Default::default()
            }
        };
        let stopped = stops_ms(60_000, |at_ms| (counters(at_ms), at_ms / 50));
        assert!(stopped.iter().all(|at_ms| (6_000..7_000).contains(at_ms)), "{stopped:?}");
    }

    #[test]
    fn results_that_nobody_may_act_upon_are_none() {
        let expired = |at_ms: u64| {
            let results = at_ms / 50;
            let counters = CountersSnapshot {
                frames: results,
                results_published: results,
                results_expired: results,
                ..Default::default()
            };
            (counters, results)
        };
        let stale = |at_ms: u64| {
            let frames = at_ms / 50;
            (CountersSnapshot { frames, frames_stale: frames, ..Default::default() }, frames)
        };
        let corrupt =
            |at_ms: u64| (CountersSnapshot { frames_corrupt: at_ms / 50, ..Default::default() }, 0);
        for stopped in [stops_ms(5_000, expired), stops_ms(5_000, stale), stops_ms(5_000, corrupt)]
        {
            assert!((1_000..1_500).contains(&stopped[0]) && stopped.len() > 30, "{stopped:?}");
        }
    }

    #[test]
    fn before_the_first_frame_nothing_is_missed_and_the_first_one_may_take_its_time() {
        assert!(stops_ms(60_000, |_| Default::default()).is_empty());
        let hanging = CountersSnapshot { frames: 1, ..Default::default() };
        assert_eq!(stops_ms(60_000, |at_ms| (hanging, at_ms / 50))[0], 10_100);
    }

    #[test]
    fn a_lost_camera_is_told_by_itself_and_has_a_second_when_it_is_back() {
        let mut flow = ResultFlow::default();
        for at_ms in (0..30_000).step_by(100) {
            // Lost from 5 s to 20 s, and results from 20.9 s on.
            let worked_ms = at_ms.min(5_000) + u64::saturating_sub(at_ms, 20_900);
            let counters = every(50, 10, u64::MAX)(worked_ms);
            let look = Look {
                at: StampNs(at_ms * 1_000_000),
                counters: &counters,
                source_progress: at_ms / 50,
                is_camera_lost: (5_000..20_000).contains(&at_ms),
            };
            assert_eq!(flow.stopped(look), None, "at {at_ms} ms");
        }
    }

    #[test]
    fn a_camera_that_is_triggered_in_bursts_is_silent_between_them() {
        let burst = |at_ms: u64| {
            let frames = at_ms.min(1_000) / 50;
            let counters =
                CountersSnapshot { frames, results_published: frames, ..Default::default() };
            (counters, frames)
        };
        assert_eq!(stops_ms(11_000, burst), [0_u64; 0]);
    }

    #[test]
    fn a_loop_that_hangs_again_after_one_result_is_told_again() {
        // Twenty seconds of nothing, one result, and so on.
        let counters = |at_ms: u64| {
            let results_published = at_ms.min(2_000) / 50 + at_ms.saturating_sub(2_000) / 20_000;
            CountersSnapshot {
                frames: results_published + 1,
                results_published,
                ..Default::default()
            }
        };
        let stopped = stops_ms(60_000, |at_ms| (counters(at_ms), at_ms / 50 + 1));
        for hang_ms in [2_000, 22_000] {
            let told = stopped.iter().find(|at_ms| (hang_ms..hang_ms + 20_000).contains(*at_ms));
            assert!(*told.unwrap() < hang_ms + 4_000, "{hang_ms}: {told:?}");
        }
    }

    #[test]
    fn a_process_that_was_stopped_is_given_time_to_work() {
        let mut flow = ResultFlow::default();
        let looks_ms = (0..5_000).step_by(100).chain((35_000..36_000).step_by(100));
        for at_ms in looks_ms {
            let counters = every(50, 10, 4_900)(at_ms);
            let at = StampNs(at_ms * 1_000_000);
            let look = Look { at, counters: &counters, source_progress: 0, is_camera_lost: false };
            let stopped = flow.stopped(look);
            assert_eq!(stopped.is_some(), at_ms >= 35_600, "at {at_ms} ms");
        }
    }
}

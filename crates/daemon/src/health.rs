//! Decides the state that status reports, from what is observed.

use std::time::Duration;

use magpie_perception::{CountersSnapshot, StampNs};
use magpie_transport::{DriftStatus, StatusSnapshot};
use magpie_wire::{Reason, State};

use crate::result_flow::{Look, ResultFlow, usable};

/// One observation; there are ten a second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observation {
    pub(crate) at: StampNs,
    /// Grows with every frame that the source hands over, where it says so.
    pub(crate) source_progress: u64,
    pub(crate) is_camera_lost: bool,
    /// How long a result has waited to be sent.
    pub(crate) unsent: Duration,
    pub(crate) counters: CountersSnapshot,
    pub(crate) camera: String,
    /// Why the newest corrupt frame was one.
    pub(crate) corrupt: Option<String>,
    /// How far the camera has moved.
    pub(crate) drift: Option<DriftStatus>,
    /// How often the machine's Unix time was set.
    pub(crate) clock_steps: u64,
    /// The reasons that clock, camera, model, planner and recording give.
    pub(crate) reasons: Vec<Reason>,
    /// Why the loop ended.
    pub(crate) fault: Option<String>,
}

/// A result that has waited longer to be sent is not sent: the network's side hangs.
pub(crate) const UNSENT_MAX: Duration = Duration::from_secs(1);
/// Share of dropped frames in an observation window that is worth a reason.
const DROPPED_SHARE_MAX: f64 = 0.1;
/// A window with fewer frames is too short to judge, unless frames are rare.
const WINDOW_FRAMES_MIN: u64 = 10;
/// So many observations are judged however few frames came: two seconds.
const WINDOW_LOOKS_MAX: u32 = 20;

/// Judges over a window of frames, so that one dropped frame does not make the state flicker.
#[derive(Debug, Default)]
pub(crate) struct Health {
    window_start: CountersSnapshot,
    /// Observations of this window.
    looks: u32,
    stale: Option<Reason>,
    corrupt: Option<Reason>,
    expired: Option<Reason>,
    late: Option<Reason>,
    flow: ResultFlow,
}

impl Health {
    pub(crate) fn judge(&mut self, seen: &Observation) -> StatusSnapshot {
        self.judge_window(seen);
        let stopped = self.flow.stopped(Look {
            at: seen.at,
            counters: &seen.counters,
            source_progress: seen.source_progress,
            is_camera_lost: seen.is_camera_lost,
        });
        let stopped = stopped.or_else(|| (seen.unsent > UNSENT_MAX).then_some(UNSENT_MAX));
        let (camera, drift, clock_steps) = (seen.camera.clone(), seen.drift, seen.clock_steps);
        if let Some(why) = seen.fault.clone() {
            let reasons = vec![Reason::Fault { why }];
            return StatusSnapshot { state: State::Fault, reasons, camera, drift, clock_steps };
        }
        let mut reasons = seen.reasons.clone();
        reasons.extend(self.stale.clone());
        reasons.extend(self.corrupt.clone());
        reasons.extend(self.expired.clone());
        reasons.extend(self.late.clone());
        reasons
            .extend(stopped.map(|limit| Reason::ResultsStopped { silence_s: limit.as_secs_f64() }));
        reasons.extend(seen.drift.and_then(moved));
        let state = match (reasons.is_empty(), usable(&seen.counters)) {
            (false, _) => State::Degraded,
            (true, 0) => State::Starting,
            (true, _) => State::Ok,
        };
        StatusSnapshot { state, reasons, camera, drift, clock_steps }
    }

    fn judge_window(&mut self, seen: &Observation) {
        let (now, start) = (&seen.counters, self.window_start);
        let frames = now.frames - start.frames;
        let corrupt = now.frames_corrupt - start.frames_corrupt;
        self.looks += 1;
        let is_long = self.looks >= WINDOW_LOOKS_MAX && frames + corrupt > 0;
        if frames + corrupt < WINDOW_FRAMES_MIN && !is_long {
            return;
        }
        self.looks = 0;
        let stale = now.frames_stale - start.frames_stale;
        let is_worth_a_reason =
            |part: u64| part as f64 / (frames + corrupt) as f64 > DROPPED_SHARE_MAX;
        self.stale = is_worth_a_reason(stale).then_some(Reason::FramesStale { stale, frames });
        self.corrupt = is_worth_a_reason(corrupt).then(|| Reason::FramesCorrupt {
            corrupt,
            frames: frames + corrupt,
            why: seen.corrupt.clone().unwrap_or_else(|| "they were corrupt".to_owned()),
        });
        let results = now.results_published - start.results_published;
        let expired = now.results_expired - start.results_expired;
        self.expired = (expired > 0).then_some(Reason::ResultsExpired { expired, results });
        // What has expired has missed its deadline as well; one reason is enough.
        let missed = now.deadline_misses - start.deadline_misses;
        self.late = (missed > expired && is_worth_a_reason(missed))
            .then_some(Reason::DeadlinesMissed { missed, results });
        self.window_start = *now;
    }
}

/// The reason, if the camera moved further than it may.
fn moved(drift: DriftStatus) -> Option<Reason> {
    let DriftStatus { displacement_mm, rotation_deg, limit_mm, .. } = drift;
    (displacement_mm > limit_mm).then_some(Reason::CameraMoved {
        displacement_mm,
        rotation_deg,
        limit_mm,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_perception::StampNs;

    fn counters(frames: u64, stale: u64, corrupt: u64) -> CountersSnapshot {
        CountersSnapshot {
            frames,
            frames_stale: stale,
            frames_corrupt: corrupt,
            results_published: frames - stale,
            ..CountersSnapshot::default()
        }
    }

    fn check(observations: &[Observation], state: State, codes: &[&str]) {
        let mut health = Health::default();
        let last = observations.iter().map(|seen| health.judge(seen)).last().unwrap();
        assert_eq!(last.state, state, "{last:?}");
        assert_eq!(last.reasons.iter().map(Reason::code).collect::<Vec<_>>(), codes, "{last:?}");
    }

    fn counted(counters: CountersSnapshot) -> Observation {
        Observation { counters, ..Observation::default() }
    }

    #[test]
    fn until_the_first_result_it_is_starting_then_ok() {
        check(&[Observation::default()], State::Starting, &[]);
        check(&[counted(counters(1, 0, 0))], State::Ok, &[]);
    }

    #[test]
    fn what_the_parts_say_is_wrong_is_degraded_and_says_why() {
        let reasons = vec![
            Reason::CameraLost { why: "no frame for 1.0 s".to_owned() },
            Reason::ProviderFallback { why: "cuda is not there".to_owned() },
        ];
        check(
            &[Observation { reasons, ..counted(counters(5, 0, 0)) }],
            State::Degraded,
            &["camera_lost", "provider_fallback"],
        );
    }

    #[test]
    fn stale_and_corrupt_frames_degrade_and_good_ones_heal() {
        check(&[counted(counters(20, 8, 0))], State::Degraded, &["frames_stale"]);
        check(&[counted(counters(20, 0, 9))], State::Degraded, &["frames_corrupt"]);
        check(&[counted(counters(20, 8, 0)), counted(counters(40, 8, 0))], State::Ok, &[]);
    }

    #[test]
    fn a_camera_of_a_frame_every_two_seconds_is_judged_within_two() {
        let expired = CountersSnapshot { results_expired: 1, ..counters(2, 0, 0) };
        let looks: Vec<_> = (0..21).map(|_| counted(expired)).collect();
        check(&looks[..19], State::Ok, &[]);
        check(&looks, State::Degraded, &["results_expired"]);
    }

    #[test]
    fn results_that_are_late_or_expired_are_told() {
        let late = |deadline_misses, results_expired| {
            counted(CountersSnapshot { deadline_misses, results_expired, ..counters(20, 0, 0) })
        };
        check(&[late(1, 0)], State::Ok, &[]);
        check(&[late(9, 0)], State::Degraded, &["deadlines_missed"]);
        check(&[late(9, 9)], State::Degraded, &["results_expired"]);
        check(&[late(1, 1)], State::Degraded, &["results_expired"]);
    }

    #[test]
    fn a_camera_that_moved_is_degraded_and_one_that_stayed_is_not() {
        let drift = |displacement_mm| {
            let drift = DriftStatus {
                displacement_mm,
                rotation_deg: 0.1,
                points: 24,
                stamp: StampNs(1),
                limit_mm: 3.0,
            };
            Observation { drift: Some(drift), ..counted(counters(20, 0, 0)) }
        };
        check(&[drift(0.4)], State::Ok, &[]);
        check(&[drift(4.2)], State::Degraded, &["camera_moved"]);
    }

    #[test]
    fn a_loop_that_hangs_is_degraded_and_what_hung_may_go_on() {
        let seen = |at_s: u64, frames: u64| Observation {
            at: StampNs(at_s * 1_000_000_000),
            source_progress: 20 * at_s,
            ..counted(counters(frames, 0, 0))
        };
        // One look a second counts as half of one: see `ResultFlow`.
        let worked: Vec<_> = (1..5).map(|at_s| seen(at_s, 20 * at_s)).collect();
        check(&worked, State::Ok, &[]);
        let hung: Vec<_> =
            worked.iter().cloned().chain((5..30).map(|at_s| seen(at_s, 80))).collect();
        check(&hung, State::Degraded, &["results_stopped"]);
        let going_on: Vec<_> = hung.into_iter().chain([seen(30, 100)]).collect();
        check(&going_on, State::Ok, &[]);
    }

    #[test]
    fn results_that_are_made_and_not_sent_are_none() {
        let unsent = |ms| {
            let unsent = Duration::from_millis(ms);
            Observation { unsent, ..counted(counters(20, 0, 0)) }
        };
        check(&[unsent(900)], State::Ok, &[]);
        check(&[unsent(1100)], State::Degraded, &["results_stopped"]);
        check(&[unsent(1100), unsent(0)], State::Ok, &[]);
    }

    #[test]
    fn results_that_have_expired_are_no_sign_of_life() {
        let expired = CountersSnapshot { results_expired: 2, ..counters(2, 0, 0) };
        check(&[counted(expired)], State::Starting, &[]);
    }

    #[test]
    fn a_fault_outranks_everything() {
        let fault = Some("run universal on cpu".to_owned());
        check(&[Observation { fault, ..counted(counters(20, 8, 0)) }], State::Fault, &["fault"]);
    }
}

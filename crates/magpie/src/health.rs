//! Decides the state that status tells, from what can be observed.

use magpie_perception::CountersSnapshot;
use magpie_transport::{DriftStatus, State, StatusSnapshot};

/// What is observed, ten times a second.
#[derive(Clone, Debug, Default)]
pub struct Observation {
    pub counters: CountersSnapshot,
    pub camera: String,
    /// Why the camera gives no frames.
    pub camera_lost: Option<String>,
    /// Why the model does not run on the provider that was asked for.
    pub provider_fallback: Option<String>,
    /// What the planner could not work with.
    pub plan: Option<String>,
    /// What is wrong with the recording.
    pub recording: Option<String>,
    /// How far the camera has moved.
    pub drift: Option<DriftStatus>,
    /// Why nobody knows how far the camera has moved.
    pub drift_unseen: Option<String>,
    /// Why depth cannot be what it should be.
    pub depth: Option<String>,
    /// Why the loop ended.
    pub fault: Option<String>,
}

/// Share of dropped frames in an observation window that is worth a word.
const DROPPED_SHARE_MAX: f64 = 0.1;
/// A window with fewer frames says nothing.
const WINDOW_FRAMES_MIN: u64 = 10;

/// Judges over a window of frames, so that one dropped frame does not make the state flicker.
#[derive(Debug, Default)]
pub struct Health {
    window_start: CountersSnapshot,
    slow: Option<String>,
    corrupt: Option<String>,
}

impl Health {
    pub fn judge(&mut self, seen: &Observation) -> StatusSnapshot {
        self.judge_window(&seen.counters);
        let mut reasons = Vec::new();
        if let Some(fault) = &seen.fault {
            reasons.push(fault.clone());
            let (camera, drift) = (seen.camera.clone(), seen.drift);
            return StatusSnapshot { state: State::Fault, reasons, camera, drift };
        }
        reasons.extend(seen.camera_lost.as_ref().map(|reason| format!("camera lost: {reason}")));
        reasons.extend(seen.provider_fallback.clone());
        reasons.extend(self.slow.clone());
        reasons.extend(self.corrupt.clone());
        reasons.extend(seen.plan.clone());
        reasons.extend(seen.recording.clone());
        reasons.extend(seen.depth.clone());
        reasons.extend(seen.drift.and_then(moved));
        reasons.extend(seen.drift_unseen.clone());
        let state = match (reasons.is_empty(), seen.counters.results_published) {
            (false, _) => State::Degraded,
            (true, 0) => State::Starting,
            (true, _) => State::Ok,
        };
        StatusSnapshot { state, reasons, camera: seen.camera.clone(), drift: seen.drift }
    }

    fn judge_window(&mut self, now: &CountersSnapshot) {
        let start = self.window_start;
        let frames = now.frames - start.frames;
        let corrupt = now.frames_corrupt - start.frames_corrupt;
        if frames + corrupt < WINDOW_FRAMES_MIN {
            return;
        }
        let stale = now.frames_stale - start.frames_stale;
        let share = |part: u64| part as f64 / (frames + corrupt) as f64;
        self.slow = (share(stale) > DROPPED_SHARE_MAX).then(|| {
            format!(
                "{stale} of the last {frames} frames were too old when their turn came: \
                 see limits.frame_age_ms_max, or use a smaller model"
            )
        });
        self.corrupt = (share(corrupt) > DROPPED_SHARE_MAX).then(|| {
            format!(
                "{corrupt} of the last {} frames were corrupt: check the cable and the network",
                frames + corrupt
            )
        });
        self.window_start = *now;
    }
}

/// The camera moved further than it may.
fn moved(drift: DriftStatus) -> Option<String> {
    let DriftStatus { displacement_mm, rotation_deg, limit_mm, .. } = drift;
    (displacement_mm > limit_mm).then(|| {
        format!(
            "the camera has moved: fixed fiducials are {displacement_mm:.1} mm from where they were \
             ({rotation_deg:.2} degrees; drift.limit_mm is {limit_mm}): check its mount, calibrate \
             again"
        )
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

    fn check(observations: &[Observation], state: State, reason: &str) {
        let mut health = Health::default();
        let last = observations.iter().map(|seen| health.judge(seen)).last().unwrap();
        assert_eq!(last.state, state, "{last:?}");
        assert!(last.reasons.join("; ").contains(reason), "{last:?}");
    }

    fn counted(counters: CountersSnapshot) -> Observation {
        Observation { counters, ..Observation::default() }
    }

    #[test]
    fn until_the_first_result_it_is_starting_then_ok() {
        check(&[Observation::default()], State::Starting, "");
        check(&[counted(counters(1, 0, 0))], State::Ok, "");
    }

    #[test]
    fn a_lost_camera_or_another_provider_is_degraded_and_says_why() {
        let camera_lost = Some("no frame for 1.0 s".to_owned());
        check(
            &[Observation { camera_lost, ..counted(counters(5, 0, 0)) }],
            State::Degraded,
            "no frame for 1.0 s",
        );
        let provider_fallback = Some("cuda is not there".to_owned());
        check(
            &[Observation { provider_fallback, ..counted(counters(5, 0, 0)) }],
            State::Degraded,
            "cuda",
        );
    }

    #[test]
    fn stale_and_corrupt_frames_degrade_and_good_ones_heal() {
        check(&[counted(counters(20, 8, 0))], State::Degraded, "too old");
        check(&[counted(counters(20, 0, 9))], State::Degraded, "corrupt");
        check(&[counted(counters(20, 8, 0)), counted(counters(40, 8, 0))], State::Ok, "");
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
        check(&[drift(0.4)], State::Ok, "");
        check(&[drift(4.2)], State::Degraded, "4.2 mm");
    }

    #[test]
    fn a_view_without_the_fiducials_is_degraded() {
        let drift_unseen = Some("not seen in the last 12 looks".to_owned());
        check(
            &[Observation { drift_unseen, ..counted(counters(20, 0, 0)) }],
            State::Degraded,
            "not seen",
        );
    }

    #[test]
    fn a_fault_outranks_everything() {
        let fault = Some("run universal on cpu".to_owned());
        check(&[Observation { fault, ..counted(counters(20, 8, 0)) }], State::Fault, "universal");
    }
}

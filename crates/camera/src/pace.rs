//! Whether a camera gives as many frames as it announces.

use std::time::Duration;

use magpie_perception::StampNs;

/// How long frames are counted before they are judged.
const WINDOW: Duration = Duration::from_secs(5);
/// A camera that gives a smaller share of what it announces is slow.
const SHARE_MIN: f64 = 0.75;
/// Intervals that a container's clock announces, and not a camera, lie outside.
pub(crate) const PLAUSIBLE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(4)..=Duration::from_millis(200);

/// A camera that gives fewer frames than it announces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowCamera {
    pub fps: f64,
    pub announced_fps: f64,
}

/// Counts the frames of one opening, window by window.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    began: Option<StampNs>,
    frames: u32,
    /// What the last whole window showed.
    pub(crate) slow: Option<SlowCamera>,
}

impl Pace {
    /// `announced` is the time between two frames, as far as the camera tells it.
    pub(crate) fn add(&mut self, stamp: StampNs, announced: Option<Duration>) {
        let Some(announced) = announced.filter(|interval| PLAUSIBLE.contains(interval)) else {
            *self = Pace::default();
            return;
        };
        let Some(began) = self.began else {
            self.began = Some(stamp);
            return;
        };
        self.frames += 1;
        let counted = Duration::from_nanos(stamp.since_ns(began));
        if counted < WINDOW {
            return;
        }
        let fps = f64::from(self.frames) / counted.as_secs_f64();
        let announced_fps = 1.0 / announced.as_secs_f64();
        let is_slow = fps < SHARE_MIN * announced_fps;
        let slow = is_slow.then_some(SlowCamera { fps, announced_fps });
        *self = Pace { began: Some(stamp), frames: 0, slow };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames for 12 seconds, `interval_ms` apart.
    #[track_caller]
    fn check(interval_ms: u64, announced_ms: Option<u64>, fps: Option<f64>) {
        let mut pace = Pace::default();
        for number in 0..=12_000 / interval_ms {
            let stamp = StampNs(7 + number * interval_ms * 1_000_000);
            pace.add(stamp, announced_ms.map(Duration::from_millis));
        }
        assert_eq!(pace.slow.map(|slow| slow.fps), fps, "{interval_ms} ms, {announced_ms:?}");
    }

    #[test]
    fn a_camera_that_gives_less_than_it_announces_is_slow() {
        check(100, Some(40), Some(10.0));
        check(50, Some(40), None);
        check(40, Some(40), None);
        check(100, None, None);
        check(100, Some(1), None);
    }

    #[test]
    fn a_slow_camera_that_keeps_its_word_again_is_well() {
        let (mut pace, announced) = (Pace::default(), Some(Duration::from_millis(40)));
        (0..60).for_each(|number| pace.add(StampNs(number * 100_000_000), announced));
        assert_eq!(pace.slow, Some(SlowCamera { fps: 10.0, announced_fps: 25.0 }));
        (0..260)
            .for_each(|number| pace.add(StampNs(6_000_000_000 + number * 40_000_000), announced));
        assert_eq!(pace.slow, None);
    }
}

//! The body of a `capture` thread.

use std::sync::Arc;
use std::time::Duration;

use magpie_perception::StampNs;

use super::attempt::End;
use super::device::{Device, DeviceError, Open};
use super::latest_frame::LatestFrame;
use crate::errors::{LiveFault, chain};
use crate::images::StreamImage;
use crate::monitor::Monitor;
use crate::pace::PLAUSIBLE;

/// Frames that an opening stream had buffered are skipped for this long at most: a decoder that
/// waited for its first key frame hands out what it kept several times faster than it came.
const SKIP_TIME_MAX: Duration = Duration::from_secs(1);

/// A frame that is there sooner than this was not waited for, whatever the frame rate.
const WAIT_MIN: Duration = Duration::from_millis(2);

/// What a capture thread leaves in the one-frame slot.
pub(crate) struct Captured<I> {
    pub(crate) sequence: u64,
    pub(crate) stamp: StampNs,
    pub(crate) image: I,
}

/// What the capture threads of one stream share.
pub(crate) struct Capture<I> {
    pub(crate) monitor: Arc<Monitor>,
    pub(crate) latest: Arc<LatestFrame<Captured<I>>>,
    pub(crate) frame_age_max: Duration,
}

impl<I: StreamImage> Capture<I> {
    /// Opens the device and reads it until it gives up or attempt `number` is abandoned.
    pub(crate) fn run(&self, number: u64, open: &Open<I>) -> End {
        let mut device = match open() {
            Ok(device) => device,
            Err(error) => return end(error),
        };
        let clock = &self.monitor.clock;
        let opened = clock.now();
        let mut is_fresh = false;
        while self.monitor.is_current(number) {
            let asked = clock.now();
            if let Err(error) = device.grab() {
                return end(error);
            }
            let stamp = clock.now();
            let waited = Duration::from_nanos(stamp.since_ns(asked));
            is_fresh |=
                waited >= fresh_after(device.frame_interval()) || stamp >= opened + SKIP_TIME_MAX;
            // A frame that had been waiting is of unknown age.
            let is_good = is_fresh && self.receive(number, stamp, &mut *device);
            if is_fresh && !is_good && waited < WAIT_MIN {
                // A device that makes garbage out of nothing must not take a whole core.
                std::thread::sleep(WAIT_MIN);
            }
        }
        End::Stopped
    }

    /// Decodes what was grabbed and fills the slot with it. Returns whether it was a good frame.
    fn receive(&self, number: u64, stamp: StampNs, device: &mut dyn Device<I>) -> bool {
        let decoded = device.retrieve();
        let mut state = self.monitor.lock();
        // A frame that comes too late is the last one of a broken stream, and may be an old one.
        let is_late = state.attempt.newest.is_some_and(|newest| {
            Duration::from_nanos(stamp.since_ns(newest)) > self.frame_age_max
        });
        if state.attempt.number != number || state.stopped || is_late {
            return false;
        }
        let fitting = decoded.map_err(|problem| chain(&problem)).and_then(|image| {
            let found = image.size_px();
            let expected = *state.size_px.get_or_insert(found);
            state.attempt.check_size(found, expected).map(|()| image)
        });
        match fitting {
            Ok(image) => {
                // From the first frame of each opening on the watch waits by another measure.
                if state.attempt.newest.replace(stamp).is_none() {
                    state.pixel_format = device.pixel_format();
                    self.monitor.changed.notify_all();
                }
                state.pace.add(stamp, device.frame_interval());
                let sequence = self.monitor.count_frame(&mut state, stamp);
                self.latest.put(Captured { sequence, stamp, image });
                true
            }
            Err(reason) => {
                state.attempt.last_corrupt = Some(reason.clone());
                self.monitor.count_corrupt(&mut state, reason);
                self.monitor.changed.notify_all();
                false
            }
        }
    }
}

fn end(error: DeviceError) -> End {
    match error {
        DeviceError::Unavailable(reason) => End::Lost(reason),
        DeviceError::Misconfigured(reason) => End::Fault(LiveFault::Misconfigured(reason)),
    }
}

/// A stream that keeps up with its camera waits for each frame; one that works off what it had
/// buffered does not. Frame rates that nobody can have are mistaken for a container's clock.
fn fresh_after(frame_interval: Option<Duration>) -> Duration {
    frame_interval.filter(|interval| PLAUSIBLE.contains(interval)).map_or(WAIT_MIN, |it| it / 2)
}

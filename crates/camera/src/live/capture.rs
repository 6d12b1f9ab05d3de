//! The body of a `capture` thread, and what it tells the watch.

use std::time::Duration;

use magpie_perception::{Frame, StampNs, StampSource};

use crate::chain;
use crate::device::{Device, DeviceError, Open};
use crate::live::LiveFault;
use crate::monitor::{Inner, Monitor};

/// After this many frames of one new size in a row it is the camera that changed.
const RESIZED_FRAMES_MAX: u32 = 5;

/// Frames that an opening stream had buffered are skipped for this long at most: FFmpeg probes a
/// stream for up to two seconds, and decodes what it kept several times faster than it came.
const SKIP_TIME_MAX: Duration = Duration::from_secs(1);

/// A frame that is there sooner than this was not waited for, whatever the frame rate.
const WAIT_MIN: Duration = Duration::from_millis(2);

/// One opening of the camera and what came of it so far.
#[derive(Debug, Default)]
pub(crate) struct Attempt {
    /// Changes when the attempt is abandoned, so that its thread's words are ignored.
    pub(crate) number: u64,
    pub(crate) began: StampNs,
    pub(crate) newest: Option<StampNs>,
    pub(crate) end: Option<End>,
    pub(crate) last_corrupt: Option<String>,
    /// The size of the newest frames when it is not the expected one, and how many had it.
    resized: Option<((u32, u32), u32)>,
}

impl Attempt {
    pub(crate) fn new(number: u64, began: StampNs) -> Attempt {
        Attempt { number, began, ..Attempt::default() }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    Stopped,
    /// Worth another attempt.
    Lost(String),
    Fault(LiveFault),
}

/// Opens the device and reads it until it gives up or the attempt is abandoned.
pub(crate) fn capture(monitor: &Monitor, number: u64, open: &Open) -> End {
    let mut device = match open() {
        Ok(device) => device,
        Err(DeviceError::Unavailable(reason)) => return End::Lost(reason),
        Err(DeviceError::Misconfigured(reason)) => {
            return End::Fault(LiveFault::Misconfigured(reason));
        }
    };
    let opened = monitor.clock.now();
    let mut is_fresh = false;
    while monitor.is_current(number) {
        let asked = monitor.clock.now();
        if let Err(reason) = device.grab() {
            return End::Lost(reason);
        }
        let stamp = monitor.clock.now();
        let waited = Duration::from_nanos(stamp.since_ns(asked));
        is_fresh |=
            waited >= fresh_after(device.frame_interval()) || stamp >= opened + SKIP_TIME_MAX;
        // A frame that had been waiting is of unknown age.
        let is_good = is_fresh && monitor.arrive(number, stamp, &mut *device);
        if is_fresh && !is_good && waited < WAIT_MIN {
            // A device that makes garbage out of nothing must not take a whole core.
            std::thread::sleep(WAIT_MIN);
        }
    }
    End::Stopped
}

/// A stream that keeps up with its camera waits for each frame; one that works off what it had
/// buffered does not. Frame rates that nobody can have are mistaken for a container's clock.
fn fresh_after(frame_interval: Option<Duration>) -> Duration {
    let plausible = Duration::from_millis(4)..=Duration::from_millis(200);
    frame_interval.filter(|interval| plausible.contains(interval)).map_or(WAIT_MIN, |it| it / 2)
}

impl Monitor {
    pub(crate) fn is_current(&self, number: u64) -> bool {
        let inner = self.lock();
        inner.attempt.number == number && !inner.stopped
    }

    pub(crate) fn end_attempt(&self, number: u64, end: End) {
        let mut inner = self.lock();
        if inner.attempt.number == number {
            inner.attempt.end.get_or_insert(end);
            self.changed.notify_all();
        }
    }

    /// Decodes what was grabbed and fills the slot with it. Returns whether it was a good frame.
    fn arrive(&self, number: u64, stamp: StampNs, device: &mut dyn Device) -> bool {
        let decoded = device.retrieve();
        let mut inner = self.lock();
        // A frame that comes too late is the last gasp of a broken stream, and may be an old one.
        let is_late = inner.attempt.newest.is_some_and(|newest| {
            Duration::from_nanos(stamp.since_ns(newest)) > self.frame_age_max
        });
        if inner.attempt.number != number || inner.stopped || is_late {
            return false;
        }
        let fitting = decoded.map_err(|problem| chain(&problem)).and_then(|color| {
            let size_px = (color.width_px(), color.height_px());
            inner.check_size(size_px).map(|()| color)
        });
        match fitting {
            Ok(color) => {
                inner.attempt.newest = Some(stamp);
                let sequence = self.count_frame(&mut inner, stamp);
                let stamp_source = StampSource::Arrival;
                self.latest.put(Frame { sequence, stamp, stamp_source, color, depth: None });
                true
            }
            Err(reason) => {
                inner.attempt.last_corrupt = Some(reason.clone());
                self.count_corrupt(&mut inner, reason);
                self.changed.notify_all();
                false
            }
        }
    }
}

impl Inner {
    /// The first frame sets the size. A single other one is corrupt; several in a row are a fault.
    fn check_size(&mut self, found: (u32, u32)) -> Result<(), String> {
        let (width_px, height_px) = *self.size_px.get_or_insert(found);
        if found == (width_px, height_px) {
            self.attempt.resized = None;
            return Ok(());
        }
        let count = match self.attempt.resized {
            Some((size, count)) if size == found => count + 1,
            _ => 1,
        };
        self.attempt.resized = Some((found, count));
        let (new_width_px, new_height_px) = found;
        let resized = LiveFault::Resized { width_px, height_px, new_width_px, new_height_px };
        let reason = resized.to_string();
        if count >= RESIZED_FRAMES_MAX {
            self.attempt.end = Some(End::Fault(resized));
        }
        Err(reason)
    }
}

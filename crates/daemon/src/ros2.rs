//! Says to ROS 2 what the loop does, on a thread of its own.
//!
//! ```text
//! pipeline -> Ros2Publisher -> slot of one result -+-> thread magpie-ros2 -> router
//! supervise ------------------> slot of one status -+
//! ```
//!
//! A result is copied after it went out to zenoh, only while there is a router and the thread has done
//! with the one before; its picture only while somebody looks. Where there is no router, the thread
//! looks for one again and again, and status says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use magpie_perception::{
    BgrImage, Frame, FrameReport, PublishError, Publisher, ReferenceFrame, Scene, SharedClock,
    StampNs,
};
use magpie_ros2::{CellFrames, Output, ResultToTell, Rival, TellError};
use magpie_transport::{StatusHandle, StatusSnapshot};
use magpie_wire::{self as wire, GRIPPER_FRAME_ID, Identities, Reason};

use crate::config::Ros2Config;
use crate::failure::one_line;
use crate::scheduling::give_way;

/// Between two looks at the router, and between two for one.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// For those who neither were there before nor ask.
const PLACE_PERIOD: Duration = Duration::from_secs(5);

/// The thread, and why nobody in ROS hears the cell.
pub(crate) struct Ros2 {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    handed_over: Summary,
}

#[derive(Default)]
struct Shared {
    slots: Mutex<Slots>,
    filled: Condvar,
    trouble: Mutex<Option<Reason>>,
    is_joined: AtomicBool,
    is_busy: AtomicBool,
    wants_pictures: AtomicBool,
}

/// What was handed over last.
#[derive(Default)]
struct Slots {
    result: Option<Box<Told>>,
    status: Option<Box<wire::Status>>,
    is_over: bool,
}

impl Shared {
    fn trouble(&self) -> MutexGuard<'_, Option<Reason>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hand_over(&self, fill: impl FnOnce(&mut Slots)) {
        fill(&mut self.slots());
        self.filled.notify_one();
    }

    /// Waits for at most so long; both are empty then.
    fn take(&self, patience: Duration) -> Slots {
        let slots = self.slots();
        let is_empty =
            |slots: &mut Slots| slots.result.is_none() && slots.status.is_none() && !slots.is_over;
        let waited = self.filled.wait_timeout_while(slots, patience, is_empty);
        let (mut slots, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let is_over = slots.is_over;
        Slots { result: slots.result.take(), status: slots.status.take(), is_over }
    }
}

/// By what one status differs from the next.
#[derive(Default, PartialEq)]
struct Summary {
    sent_s: u64,
    state: i32,
    reasons: Vec<wire::ReasonMessage>,
}

/// A result to tell.
struct Told {
    /// `None` where nobody looks.
    color: Option<BgrImage>,
    report: FrameReport,
    identities: Arc<Identities>,
    handed_over: StampNs,
}

/// What a run says about itself.
pub(crate) struct Ros2Origin {
    pub(crate) cell: String,
    pub(crate) instance_id: String,
    pub(crate) identities: Arc<Identities>,
    pub(crate) scene: Option<Scene>,
    pub(crate) jpeg_quality_percent: u8,
}

impl Ros2Origin {
    fn frames(&self) -> CellFrames {
        let reference = self.scene.as_ref().map(Scene::reference_frame);
        let reference_frame_id = match reference {
            Some(ReferenceFrame::Gripper) => GRIPPER_FRAME_ID.to_owned(),
            _ => self.identities.base_frame_id.clone(),
        };
        CellFrames {
            scene: self.scene.clone(),
            camera_frame_id: self.identities.camera_frame_id.clone(),
            reference_frame_id,
        }
    }
}

impl Ros2 {
    pub(crate) fn start(
        config: Ros2Config,
        origin: Ros2Origin,
        status: StatusHandle,
        clock: &SharedClock,
    ) -> std::io::Result<(Ros2, Ros2Tap)> {
        let shared = Arc::<Shared>::default();
        let tap = Ros2Tap {
            shared: Arc::clone(&shared),
            clock: Arc::clone(clock),
            identities: Arc::clone(&origin.identities),
            picture_period: config.picture_period,
            picture_at: None,
        };
        let mut speaker = Speaker {
            config,
            origin,
            status,
            clock: Arc::clone(clock),
            shared: Arc::clone(&shared),
            output: None,
            look_at: clock.now(),
            place_at: clock.now(),
        };
        let thread = std::thread::Builder::new()
            .name("magpie-ros2".into())
            .spawn(move || speaker.speak())?;
        Ok((Ros2 { shared, thread: Some(thread), handed_over: Summary::default() }, tap))
    }

    /// Why nobody in ROS hears the cell, or who speaks there beside it.
    pub(crate) fn reason(&self) -> Option<Reason> {
        // Unless it panics, it ends when this is dropped.
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            let why =
                "the thread that speaks to ROS 2 panicked: see the log, and restart the daemon";
            return Some(Reason::Ros2Unavailable { why: why.into() });
        }
        self.shared.trouble().clone()
    }

    /// Hands the status over, once a second and at each change.
    pub(crate) fn supervise(&mut self, status: &wire::Status) {
        let summary = Summary {
            sent_s: status.sent_ns / 1_000_000_000,
            state: status.state,
            reasons: status.coded_reasons(),
        };
        if summary == self.handed_over {
            return;
        }
        self.handed_over = summary;
        let status = Box::new(status.clone());
        self.shared.hand_over(|slots| slots.status = Some(status));
    }
}

impl Drop for Ros2 {
    fn drop(&mut self) {
        self.shared.hand_over(|slots| slots.is_over = true);
        // Looking for a router takes seconds, which nobody waits for.
        if self.shared.is_joined.load(Ordering::Acquire)
            && let Some(thread) = self.thread.take()
        {
            // A panic in there has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Speaker {
    config: Ros2Config,
    origin: Ros2Origin,
    status: StatusHandle,
    clock: SharedClock,
    shared: Arc<Shared>,
    output: Option<Output>,
    /// When to look at the router again, and when to tell again where the camera is.
    look_at: StampNs,
    place_at: StampNs,
}

impl Speaker {
    /// Speaks until the run is over.
    fn speak(&mut self) {
        give_way();
        loop {
            if self.clock.now() >= self.look_at {
                self.look();
            }
            let until_look_ns = self.look_at.since_ns(self.clock.now());
            let Slots { result, status, is_over } =
                self.shared.take(Duration::from_nanos(until_look_ns));
            if let Some(told) = result {
                self.tell_result(*told);
                self.shared.is_busy.store(false, Ordering::Release);
            }
            if let Some(status) = status {
                self.tell(|output| output.tell_status(&status));
            }
            if is_over {
                return;
            }
        }
    }

    /// Looks whether the router answers, or for one.
    fn look(&mut self) {
        if self.output.as_ref().is_some_and(|output| !output.is_connected()) {
            let router = &self.config.node.router;
            self.leave(format!("the ROS 2 router at {router} is gone, and is looked for"));
        }
        // Whoever ends the run may be waiting, since it found us joined a moment ago.
        if self.output.is_none() && !self.shared.slots().is_over {
            self.join();
        }
        if let Some(output) = &self.output {
            self.shared.wants_pictures.store(output.wants_pictures(), Ordering::Relaxed);
            *self.shared.trouble() =
                output.rival().map(|Rival { node, topic }| Reason::Ros2Rival { node, topic });
            let now = self.clock.now();
            if now >= self.place_at {
                self.place_at = now + PLACE_PERIOD;
                let now_unix_ns = unix_now_ns(&self.clock);
                self.tell(|output| output.tell_place(now_unix_ns));
            }
        }
        self.look_at = self.clock.now() + LOOK_PERIOD;
    }

    fn join(&mut self) {
        match Output::join(&self.config.node, self.origin.frames()) {
            Ok(output) => {
                tracing::info!(router = self.config.node.router, "ROS 2 hears the cell");
                self.output = Some(output);
                self.place_at = self.clock.now();
                self.shared.is_joined.store(true, Ordering::Release);
            }
            Err(error) => self.leave(one_line(&error.into())),
        }
    }

    fn leave(&mut self, why: String) {
        self.output = None;
        self.shared.is_joined.store(false, Ordering::Release);
        self.shared.wants_pictures.store(false, Ordering::Relaxed);
        let reason = Some(Reason::Ros2Unavailable { why: why.clone() });
        let before = std::mem::replace(&mut *self.shared.trouble(), reason.clone());
        if before != reason {
            tracing::warn!("{why}");
        }
    }

    fn tell(&mut self, tell: impl FnOnce(&mut Output) -> Result<(), TellError>) {
        let Some(output) = &mut self.output else { return };
        if let Err(error) = tell(output) {
            self.leave(one_line(&error.into()));
        }
    }

    fn tell_result(&mut self, told: Told) {
        let StatusSnapshot { state, reasons, .. } = self.status.current();
        if !may_be_told(&reasons) {
            return;
        }
        let Told { color, report, identities, handed_over } = told;
        let envelope = wire::Envelope {
            cell: &self.origin.cell,
            instance_id: &self.origin.instance_id,
            publication: report.counters.results_published,
            published: handed_over,
            unix_ahead_ns: self.clock.unix_ahead_ns(),
            state,
            results_superseded: 0,
        };
        let message = wire::to_wire(&report, &identities, &envelope);
        let quality = self.origin.jpeg_quality_percent;
        let jpeg = color.and_then(|color| {
            magpie_camera::encode_jpeg(&color, quality)
                .inspect_err(|error| tracing::debug!(%error, "encode a picture for ROS 2"))
                .ok()
        });
        let clock = Arc::clone(&self.clock);
        let result = ResultToTell { message: &message, jpeg };
        self.tell(|output| output.tell_result(result, || unix_now_ns(&clock)));
    }
}

/// Whether ROS may hear a result: Magpie's own readers refuse it by the state, and those in ROS cannot.
/// It has a router of its own, which may be there while the cell's is not.
fn may_be_told(reasons: &[Reason]) -> bool {
    let mut reasons = reasons.iter().filter(|r| !matches!(r, Reason::NetworkLost { .. }));
    !reasons.any(|reason| wire::ReasonMessage::from(reason).stops_results())
}

fn unix_now_ns(clock: &SharedClock) -> u64 {
    clock.now().unix_ns(clock.unix_ahead_ns())
}

/// The loop's side.
pub(crate) struct Ros2Tap {
    shared: Arc<Shared>,
    clock: SharedClock,
    identities: Arc<Identities>,
    picture_period: Duration,
    /// When the newest picture was handed over.
    picture_at: Option<StampNs>,
}

impl Ros2Tap {
    /// The frames from now on are another model's.
    pub(crate) fn use_model(&mut self, identities: &Arc<Identities>) {
        self.identities = Arc::clone(identities);
    }

    fn offer(&mut self, frame: &Frame, report: &FrameReport) {
        let is_joined = self.shared.is_joined.load(Ordering::Acquire);
        if !is_joined || self.shared.is_busy.swap(true, Ordering::AcqRel) {
            return;
        }
        let now = self.clock.now();
        let is_due = |at: StampNs| Duration::from_nanos(now.since_ns(at)) >= self.picture_period;
        let is_wanted = self.shared.wants_pictures.load(Ordering::Relaxed)
            && self.picture_at.is_none_or(is_due);
        if is_wanted {
            self.picture_at = Some(now);
        }
        let told = Box::new(Told {
            color: is_wanted.then(|| frame.color.clone()),
            report: report.clone(),
            identities: Arc::clone(&self.identities),
            handed_over: now,
        });
        self.shared.hand_over(|slots| slots.result = Some(told));
    }
}

/// Publishes first, and then offers the result to ROS 2.
pub(crate) struct Ros2Publisher<P> {
    pub(crate) publisher: P,
    pub(crate) tap: Option<Ros2Tap>,
}

impl<P: Publisher> Publisher for Ros2Publisher<P> {
    fn publish(&mut self, frame: &Frame, report: &FrameReport) -> Result<(), PublishError> {
        self.publisher.publish(frame, report)?;
        if let Some(tap) = &mut self.tap {
            tap.offer(frame, report);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_told_unless_nothing_may_be_acted_upon() {
        let lost = || Reason::CameraLost { why: "unplugged".into() };
        assert!(may_be_told(&[]));
        assert!(may_be_told(&[Reason::RecordingBehind]));
        assert!(!may_be_told(&[lost()]));
        assert!(!may_be_told(&[Reason::RecordingBehind, lost()]));
        assert!(!may_be_told(&[Reason::RivalPublisher { instance_id: "2".into() }]));
        assert!(!may_be_told(&[Reason::Fault { why: "out of memory".into() }]));
    }

    #[test]
    fn a_thread_that_panicked_is_told() {
        fn panic() {
            std::panic::resume_unwind(Box::new("made up"));
        }
        let thread = std::thread::Builder::new().name("magpie-ros2".into()).spawn(panic).unwrap();
        while !thread.is_finished() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let shared = Arc::<Shared>::default();
        let ros2 = Ros2 { shared, thread: Some(thread), handed_over: Summary::default() };
        let Some(Reason::Ros2Unavailable { why }) = ros2.reason() else {
            panic!("nothing is told")
        };
        assert!(why.contains("panicked"), "{why}");
    }
}

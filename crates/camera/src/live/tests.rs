//! The watch against devices that hang, die, freeze, deliver garbage and change their size.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use magpie_perception::{BgrImage, Clock, Counters, DepthImage, FrameSource, SourceError};

use super::device::{Device, DeviceError, Open};
use super::limits::LiveLimits;
use super::stream::LiveStream;
use super::watch::CAPTURE_THREADS_MAX;
use crate::errors::{ImageProblem, LiveFault};
use crate::images::Images;
use crate::monitor::{CameraHandle, CameraState, Monitor};
use crate::test_clock::MachineClock;

/// Generous against the few milliseconds between frames, so that a busy machine loses none.
const FRAME_AGE_MAX: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(20);

/// What a device does when asked for a frame.
#[derive(Clone, Copy)]
enum Act {
    Frame(u32, u32),
    /// Colour of 8x6 px and depth of the given size, from one grab.
    Pair(u32, u32),
    /// A frame that had been waiting in a buffer.
    Waiting,
    Garbage,
    /// The stream breaks off.
    Die,
    /// The stream is of a kind that nobody reads.
    Undecodable,
    /// Blocks for good.
    Hang,
    /// A frame after a silence.
    Late(Duration),
    Panic,
}

/// What an opening does, then what the device does; its last act is repeated for ever.
#[derive(Clone)]
enum Opening {
    Device(Vec<Act>),
    Unavailable,
    Misconfigured,
    Hang,
}

struct Fake {
    acts: Vec<Act>,
    next: usize,
    now: Act,
}

impl Device<Images> for Fake {
    fn frame_interval(&self) -> Option<Duration> {
        None
    }

    fn pixel_format(&self) -> Option<String> {
        Some("NV12".into())
    }

    fn grab(&mut self) -> Result<(), DeviceError> {
        self.now = self.acts[self.next.min(self.acts.len() - 1)];
        self.next += 1;
        match self.now {
            Act::Waiting => {}
            Act::Die => return Err(DeviceError::Unavailable("cable out".into())),
            Act::Undecodable => {
                return Err(DeviceError::Misconfigured("H.264 is no picture".into()));
            }
            Act::Hang => loop {
                std::thread::park();
            },
            Act::Late(silence) => std::thread::sleep(silence),
            Act::Panic => panic!("the driver's wrapper has a bug"),
            Act::Frame(..) | Act::Pair(..) | Act::Garbage => {
                std::thread::sleep(Duration::from_millis(5))
            }
        }
        Ok(())
    }

    fn retrieve(&mut self) -> Result<Images, ImageProblem> {
        match self.now {
            Act::Frame(w, h) => Ok(image(w, h, 1).into()),
            Act::Pair(w, h) => Images::new(image(8, 6, 1), Some(depth(w, h))),
            Act::Late(_) => Ok(image(8, 6, 2).into()),
            Act::Waiting => Ok(image(8, 6, 3).into()),
            _ => Err(ImageProblem::PixelType { found: "CV_16UC1".into() }),
        }
    }
}

fn image(width_px: u32, height_px: u32, value: u8) -> BgrImage {
    let data = vec![value; 3 * width_px as usize * height_px as usize];
    BgrImage::new(width_px, height_px, data).unwrap()
}

fn depth(width_px: u32, height_px: u32) -> DepthImage {
    DepthImage::new(width_px, height_px, vec![700; (width_px * height_px) as usize]).unwrap()
}

struct Bench {
    source: LiveStream<Images>,
    handle: CameraHandle,
    counters: Arc<Counters>,
    openings: Arc<AtomicUsize>,
}

/// Starts a source whose openings follow the list; the last one is repeated for ever.
fn start(openings: Vec<Opening>) -> Bench {
    start_patient(openings, FRAME_AGE_MAX)
}

/// As [`start`], with so much time for each opening to give its first frame.
fn start_patient(openings: Vec<Opening>, open_time_max: Duration) -> Bench {
    let limits = LiveLimits {
        frame_age_max: FRAME_AGE_MAX,
        open_time_max,
        // Long enough for a test that polls to see the loss.
        back_off_min: Duration::from_millis(150),
        back_off_max: Duration::from_millis(300),
        hang_time_max: Duration::from_secs(2),
    };
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let open: Box<Open<Images>> = Box::new(move || {
        let at = counted.fetch_add(1, Ordering::SeqCst);
        match &openings[at.min(openings.len() - 1)] {
            Opening::Device(acts) => {
                Ok(Box::new(Fake { acts: acts.clone(), next: 0, now: Act::Waiting }))
            }
            Opening::Unavailable => Err(DeviceError::Unavailable("nobody there".into())),
            Opening::Misconfigured => Err(DeviceError::Misconfigured("60 fps is too much".into())),
            Opening::Hang => loop {
                std::thread::park();
            },
        }
    });
    let counters = Arc::new(Counters::default());
    let clock = Arc::new(MachineClock::new());
    let monitor = Arc::new(Monitor::new(clock, Arc::clone(&counters)));
    let handle = CameraHandle::new(Arc::clone(&monitor));
    let source = LiveStream::start("camera x".into(), open, limits, monitor).unwrap();
    Bench { source, handle, counters, openings: count }
}

const FRAME: Act = Act::Frame(8, 6);

fn frames(count: usize) -> Vec<Act> {
    vec![FRAME; count]
}

fn then(mut acts: Vec<Act>, last: Act) -> Opening {
    acts.push(last);
    Opening::Device(acts)
}

impl Bench {
    fn wait_for(&self, what: &str, reached: impl Fn(&CameraState) -> bool) -> CameraState {
        for _ in 0..LONG.as_millis() / 5 {
            let state = self.handle.state();
            if reached(&state) {
                return state;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{what} not reached; state is {:?}", self.handle.state());
    }

    fn wait_for_loss(&self) -> String {
        match self.wait_for("loss", |state| matches!(state, CameraState::Lost { .. })) {
            CameraState::Lost { reason, .. } => reason,
            _ => unreachable!("just matched"),
        }
    }

    fn next(&mut self) -> Option<magpie_perception::Frame> {
        self.source.next_frame().unwrap()
    }

    fn corrupt(&self) -> u64 {
        self.counters.snapshot().frames_corrupt
    }
}

#[test]
fn frames_stream_with_rising_numbers_and_stamps() {
    let mut bench = start(vec![Opening::Device(frames(1))]);
    let mut last = bench.next().unwrap();
    for _ in 0..20 {
        let frame = bench.next().unwrap();
        assert!(frame.sequence > last.sequence && frame.stamp > last.stamp);
        last = frame;
    }
    assert!(bench.handle.progress() > 20);
    assert_eq!(bench.handle.pixel_format().as_deref(), Some("NV12"));
    let CameraState::Streaming { fps, width_px: 8, height_px: 6 } = bench.handle.state() else {
        panic!("{:?}", bench.handle.state());
    };
    assert!(fps > 0.0, "{fps}");
}

#[test]
fn a_device_that_gives_color_and_depth_together_gives_frames_with_both() {
    // Depth of another size than colour is no use.
    let mut bench = start(vec![Opening::Device(vec![Act::Pair(4, 3), Act::Pair(8, 6)])]);
    let frame = bench.next().unwrap();
    assert_eq!((frame.color.pixel(0, 0), frame.depth), ([1; 3], Some(depth(8, 6))));
    assert_eq!(bench.corrupt(), 1);
    let reason = bench.handle.last_corrupt().unwrap();
    assert!(reason.contains("depth is 4x3 px, colour 8x6 px"), "{reason}");
}

#[test]
fn a_slow_reader_gets_the_newest_frame_and_a_gap() {
    let mut bench = start(vec![Opening::Device(frames(1))]);
    let first = bench.next().unwrap();
    let before = bench.handle.progress();
    while bench.handle.progress() < before + 10 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(bench.next().unwrap().sequence >= first.sequence + 10);
}

#[test]
fn a_camera_that_freezes_is_lost_and_its_successor_streams() {
    let mut bench = start(vec![then(frames(3), Act::Hang), Opening::Device(frames(1))]);
    let first = bench.next().unwrap();
    let reason = bench.wait_for_loss();
    assert!(reason.contains("no frame for 400ms"), "{reason}");
    bench.wait_for("streaming", |state| matches!(state, CameraState::Streaming { .. }));
    assert!(bench.next().unwrap().sequence > first.sequence);
}

#[test]
fn a_camera_that_freezes_soon_after_it_was_reopened_is_lost_by_the_age_of_its_frame() {
    const CYCLES: usize = 6;
    let (clock, patience) = (MachineClock::new(), 10 * FRAME_AGE_MAX);
    let frozen = |count| then(frames(count), Act::Late(2 * FRAME_AGE_MAX));
    let bench = start_patient((1..=CYCLES).map(frozen).collect(), patience);
    for _ in 0..CYCLES {
        bench.wait_for("streaming", |state| matches!(state, CameraState::Streaming { .. }));
        let streaming = clock.now();
        bench.wait_for_loss();
        let seen_after = Duration::from_nanos(clock.now().since_ns(streaming));
        assert!(seen_after < patience / 2, "{seen_after:?}");
    }
}

#[test]
fn a_camera_that_dies_says_why_and_counts_its_reopenings() {
    let bench = start(vec![then(frames(3), Act::Die), Opening::Unavailable]);
    bench.wait_for("the third reopening", |state| {
        matches!(state, CameraState::Lost { reason, reopen_attempts: 3.., .. }
            if reason == "nobody there")
    });
    let before = bench.handle.progress();
    bench.wait_for("the eighth reopening", |state| {
        matches!(state, CameraState::Lost { reopen_attempts: 8.., .. })
    });
    assert!(bench.handle.progress() > before, "reopening is progress");
}

#[test]
fn a_lost_camera_remembers_when_its_newest_frame_came() {
    let mut bench = start(vec![then(frames(1), Act::Hang), Opening::Unavailable]);
    let newest = bench.next().unwrap().stamp;
    bench.wait_for("the second reopening", |state| {
        matches!(state, CameraState::Lost { since, reopen_attempts: 2.., .. } if *since == newest)
    });
}

#[test]
fn a_camera_that_is_not_there_at_start_is_opened_when_it_appears() {
    let mut bench = start(vec![Opening::Unavailable, Opening::Hang, Opening::Device(frames(1))]);
    assert_eq!(bench.wait_for_loss(), "nobody there");
    assert!(bench.next().is_some());
}

#[test]
fn what_an_abandoned_thread_still_delivers_is_ignored() {
    let late = Act::Late(FRAME_AGE_MAX * 2);
    let mut bench = start(vec![Opening::Device(vec![FRAME, late]), Opening::Device(frames(1))]);
    let before = bench.openings.load(Ordering::SeqCst);
    for _ in 0..300 {
        assert_eq!(bench.next().unwrap().color.pixel(0, 0), [1; 3]);
    }
    assert!(bench.openings.load(Ordering::SeqCst) > before);
}

#[test]
fn frames_that_waited_in_a_buffer_are_skipped_after_opening() {
    let acts = vec![Act::Waiting, Act::Waiting, Act::Waiting, FRAME];
    let mut bench = start(vec![Opening::Device(acts)]);
    let first = bench.next().unwrap();
    assert_eq!((first.sequence, first.color.pixel(0, 0)), (0, [1; 3]));
}

#[test]
fn garbage_is_counted_and_passed_over() {
    let acts = vec![FRAME, Act::Garbage, Act::Garbage, FRAME];
    let mut bench = start(vec![Opening::Device(acts)]);
    for _ in 0..5 {
        assert_eq!(bench.next().unwrap().color.width_px(), 8);
    }
    assert_eq!(bench.corrupt(), 2);
    assert!(bench.handle.last_corrupt().unwrap().contains("CV_16UC1"));
}

#[test]
fn a_camera_that_gives_nothing_but_garbage_is_lost() {
    let bench = start(vec![then(frames(2), Act::Garbage), Opening::Unavailable]);
    let reason = bench.wait_for_loss();
    assert!(reason.contains("CV_16UC1"), "{reason}");
    assert!(bench.corrupt() > 2);
}

#[test]
fn one_frame_of_another_size_is_corrupt() {
    let acts = vec![FRAME, Act::Frame(4, 4), FRAME];
    let mut bench = start(vec![Opening::Device(acts)]);
    for _ in 0..5 {
        assert_eq!(bench.next().unwrap().color.width_px(), 8);
    }
    assert_eq!(bench.corrupt(), 1);
    assert!(bench.handle.last_corrupt().unwrap().contains("4x4 px instead of 8x6 px"));
}

fn fault(bench: &mut Bench) -> SourceError {
    loop {
        match bench.source.next_frame() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended without a fault"),
            Err(fault) => return fault,
        }
    }
}

fn check_fault(openings: Vec<Opening>, expected: LiveFault) {
    let mut bench = start(openings);
    let fault = fault(&mut bench);
    assert_eq!(fault.from, "camera x");
    assert_eq!(fault.source.downcast_ref(), Some(&expected));
    assert_eq!(bench.handle.state(), CameraState::Ended { reason: expected.to_string() });
    assert!(bench.source.next_frame().unwrap().is_none());
}

const RESIZED: LiveFault =
    LiveFault::Resized { width_px: 8, height_px: 6, new_width_px: 4, new_height_px: 4 };

#[test]
fn a_camera_that_changes_its_size_is_a_fault_that_names_both() {
    check_fault(vec![then(frames(3), Act::Frame(4, 4))], RESIZED);
}

#[test]
fn a_camera_that_comes_back_with_another_size_is_a_fault() {
    let back = Opening::Device(vec![Act::Frame(4, 4)]);
    check_fault(vec![then(frames(3), Act::Die), back], RESIZED);
}

#[test]
fn a_camera_that_cannot_do_what_was_asked_is_a_fault() {
    let fault = LiveFault::Misconfigured("60 fps is too much".into());
    check_fault(vec![Opening::Misconfigured], fault);
}

#[test]
fn a_camera_whose_pixels_nobody_reads_is_a_fault() {
    let fault = LiveFault::Misconfigured("H.264 is no picture".into());
    check_fault(vec![then(frames(3), Act::Undecodable)], fault);
}

#[test]
fn a_capture_thread_that_panics_is_replaced() {
    let mut bench = start(vec![then(frames(2), Act::Panic), Opening::Device(frames(1))]);
    bench.wait_for_loss();
    bench.wait_for("streaming", |state| matches!(state, CameraState::Streaming { .. }));
    assert!(bench.next().is_some());
}

#[test]
fn when_every_allowed_thread_hangs_the_source_faults() {
    let mut bench = start(vec![Opening::Hang]);
    assert_eq!(
        fault(&mut bench).source.downcast_ref(),
        Some(&LiveFault::Hung { threads: CAPTURE_THREADS_MAX })
    );
    assert_eq!(bench.openings.load(Ordering::SeqCst), CAPTURE_THREADS_MAX);
}

#[test]
fn a_hanging_thread_that_returns_makes_room_for_another() {
    let late = Act::Late(FRAME_AGE_MAX * 4);
    let mut openings = vec![Opening::Device(vec![late, Act::Die]); CAPTURE_THREADS_MAX];
    openings.push(Opening::Device(frames(1)));
    let mut bench = start(openings);
    assert_eq!(bench.next().unwrap().color.pixel(0, 0), [1; 3]);
}

fn next_in_thread(source: LiveStream<Images>) -> Receiver<bool> {
    let (sender, ended): (SyncSender<bool>, _) = sync_channel(1);
    let source = Mutex::new(source);
    let read = move || {
        let mut source = source.lock().unwrap();
        while source.next_frame().unwrap().is_some() {}
        sender.send(true).unwrap();
    };
    std::thread::Builder::new().spawn(read).unwrap();
    ended
}

fn check_stop(openings: Vec<Opening>, reached: fn(&CameraState) -> bool) {
    let bench = start(openings);
    bench.wait_for("the state to stop in", reached);
    let handle = bench.handle.clone();
    let ended = next_in_thread(bench.source);
    handle.stop();
    assert_eq!(ended.recv_timeout(LONG), Ok(true));
    assert_eq!(handle.state(), CameraState::Ended { reason: "stopped".into() });
}

#[test]
fn stop_ends_a_stream() {
    check_stop(vec![Opening::Device(frames(1))], |state| {
        matches!(state, CameraState::Streaming { .. })
    });
}

#[test]
fn stop_ends_the_wait_for_a_lost_camera() {
    check_stop(vec![then(frames(1), Act::Hang), Opening::Hang], |state| {
        matches!(state, CameraState::Lost { .. })
    });
}

#[test]
fn stop_ends_the_wait_for_the_first_frame() {
    check_stop(vec![Opening::Hang], |state| *state == CameraState::Opening);
}

#[test]
fn dropping_the_source_closes_the_device() {
    let mut bench = start(vec![Opening::Device(frames(1))]);
    bench.next();
    drop(bench.source);
    let openings = bench.openings.load(Ordering::SeqCst);
    let progress = bench.handle.progress();
    std::thread::sleep(FRAME_AGE_MAX);
    assert_eq!(bench.handle.progress(), progress);
    assert_eq!(bench.openings.load(Ordering::SeqCst), openings);
}

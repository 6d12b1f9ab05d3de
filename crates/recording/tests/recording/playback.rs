//! Pace, loops and stopping, by clocks that the tests move.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::common::{FIRST_STAMP_NS, INTERVAL_NS, assert_same, frame, recorded};
use magpie_perception::{Clock, Frame, FrameSource, StampNs};
use magpie_recording::{FrameReader, Pace, Playback, WriteOptions};

const NOW_NS: u64 = 1_900_000_000_000_000_000;

/// Shows `now_ns` and goes on by `step_ns` each time somebody looks.
struct FakeClock {
    now_ns: AtomicU64,
    step_ns: u64,
}

impl FakeClock {
    fn new(step_ns: u64) -> Arc<FakeClock> {
        Arc::new(FakeClock { now_ns: AtomicU64::new(NOW_NS), step_ns })
    }

    fn set_elapsed_ns(&self, elapsed_ns: u64) {
        self.now_ns.store(NOW_NS + elapsed_ns, Ordering::Relaxed);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> StampNs {
        StampNs(self.now_ns.fetch_add(self.step_ns, Ordering::Relaxed))
    }
}

fn reader(frames: u64, looped: bool, pace: Pace) -> FrameReader {
    let frames: Vec<Frame> = (0..frames).map(frame).collect();
    let bytes = recorded(WriteOptions::default(), &frames);
    FrameReader::from_bytes("belt.mcap", bytes, Playback { looped, pace }).unwrap()
}

fn next(reader: &mut FrameReader) -> Frame {
    reader.next_frame().unwrap().unwrap()
}

#[test]
fn as_asked_gives_every_frame_and_then_the_end() {
    let mut reader = reader(3, false, Pace::AsAsked);
    let sequences: Vec<u64> = (0..3).map(|_| next(&mut reader).sequence).collect();
    assert_eq!(sequences, [0, 1, 2]);
    assert!(reader.next_frame().unwrap().is_none());
    assert!(reader.next_frame().unwrap().is_none());
}

#[test]
fn a_loop_repeats_the_pictures_while_stamps_and_sequences_go_on() {
    let mut reader = reader(3, true, Pace::AsAsked);
    for i in 0..8 {
        let found = next(&mut reader);
        assert_eq!(found.sequence, i);
        assert_eq!(found.stamp.0, FIRST_STAMP_NS + i * INTERVAL_NS);
        assert_eq!(found.color, frame(i % 3).color);
    }
}

#[test]
fn frames_that_nobody_asked_for_in_time_are_left_out() {
    let clock = FakeClock::new(0);
    let mut reader = reader(10, false, Pace::AsRecorded { clock: clock.clone(), restamp: false });
    assert_eq!(next(&mut reader).sequence, 0);
    clock.set_elapsed_ns(3 * INTERVAL_NS + INTERVAL_NS / 2);
    let late = next(&mut reader);
    assert_same(&late, &frame(3));
    clock.set_elapsed_ns(4 * INTERVAL_NS);
    assert_same(&next(&mut reader), &frame(4));
    clock.set_elapsed_ns(1000 * INTERVAL_NS);
    assert_same(&next(&mut reader), &frame(9));
    assert!(reader.next_frame().unwrap().is_none());
}

#[test]
fn restamped_frames_look_as_if_they_came_from_a_camera_now() {
    let clock = FakeClock::new(0);
    let mut reader = reader(3, true, Pace::AsRecorded { clock: clock.clone(), restamp: true });
    for i in [0, 1, 2, 3, 4, 7, 8] {
        clock.set_elapsed_ns(i * INTERVAL_NS + 1);
        let found = next(&mut reader);
        assert_eq!(found.sequence, i);
        // The first call set the start.
        assert_eq!(found.stamp.0, NOW_NS + 1 + i * INTERVAL_NS);
        assert_eq!(found.color, frame(i % 3).color);
        clock.set_elapsed_ns(i * INTERVAL_NS + INTERVAL_NS);
    }
}

#[test]
fn a_frame_is_waited_for_until_the_clock_reaches_it() {
    let clock = FakeClock::new(INTERVAL_NS / 10);
    let mut reader = reader(4, false, Pace::AsRecorded { clock: clock.clone(), restamp: true });
    let first = next(&mut reader).stamp;
    for i in 1..4 {
        let found = next(&mut reader);
        assert_eq!((found.sequence, found.stamp.since_ns(first)), (i, i * INTERVAL_NS));
        assert!(clock.now() >= found.stamp);
    }
    assert!(reader.next_frame().unwrap().is_none());
}

#[test]
fn stop_ends_a_wait_and_everything_after_it() {
    // This clock stands still: without the stop, the wait never ends.
    let clock = FakeClock::new(0);
    let mut reader = reader(3, true, Pace::AsRecorded { clock, restamp: true });
    next(&mut reader);
    let stop = reader.stop_handle();
    let stopper = thread::Builder::new()
        .name("stopper".into())
        .spawn(move || {
            thread::sleep(Duration::from_millis(20));
            stop.stop();
        })
        .unwrap();
    assert!(reader.next_frame().unwrap().is_none());
    assert!(reader.next_frame().unwrap().is_none());
    stopper.join().unwrap();
}

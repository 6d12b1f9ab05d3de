//! The thread that writes a recording, and how the loop hands frames to it.
//!
//! ```text
//! pipeline -> RecordingPublisher -> queue of QUEUE_FRAMES_MAX -> thread magpie-record -> file
//! supervise ------- status ----------^
//! ```
//!
//! Handing over never waits. A frame that finds the queue full is left out and counted, and the
//! next frame that gets through tells the writer to write the gap down.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use magpie_perception::{Frame, FrameReport, PublishError, Publisher, StampNs};
use magpie_recording::{RecordingError, RecordingInfo, Ring, RingLimits, WriteOptions};
use magpie_transport::{Identities, StatusHandle, wire};

use super::messages;
use super::settings::{RecordingConfig, RecordingTarget, RingConfig};
use super::writer::{FileOutput, Output, Writer};
use crate::clock::SharedClock;
use crate::failure::{Failure, one_line};

/// Frames that may wait for the disk: half a second at 15 frames a second, and some 40 MB at
/// 1280x720 px with depth.
pub(crate) const QUEUE_FRAMES_MAX: usize = 8;
/// How long a gap, or what could not be kept, is worth a reason in the status.
pub(super) const TOLD_NS: u64 = 10_000_000_000;
pub(super) const KEPT_FULL: &str = "recordings that were to be kept are not: the folder kept is \
     full; move away what is in it, or raise recording.kept_size_mb_max";

/// What a recording says about where its results come from.
pub(crate) struct Origin {
    pub(crate) cell: String,
    pub(crate) instance_id: String,
    pub(crate) identities: Identities,
    pub(crate) info: RecordingInfo,
    /// The configuration as the operator wrote it.
    pub(crate) config: String,
}

const TOO_SLOW: &str = "the recording cannot keep up and leaves frames out: see recording.color, or \
     use a faster disk";
const STOPPED: &str = "recording stopped: ";

/// What goes through the queue.
pub(super) enum Item {
    Frame(Box<FrameItem>),
    Status { stamp: StampNs, status: Box<wire::Status> },
}

pub(super) struct FrameItem {
    pub(super) frame: Frame,
    pub(super) report: FrameReport,
    pub(super) handed_over: StampNs,
    pub(super) state: wire::State,
    /// Frames that found the queue full since the last one that did not.
    pub(super) missed_before: u64,
}

/// What the writer's thread and the others tell each other.
#[derive(Default)]
pub(super) struct Shared {
    /// Items in the queue, or about to be.
    pub(super) queued: AtomicUsize,
    pub(super) frames: AtomicU64,
    pub(super) frames_missed: AtomicU64,
    /// Of those, the ones that the recording does not yet say are missing.
    pub(super) frames_unnoted: AtomicU64,
    /// When a frame was last left out.
    pub(super) missed_stamp_ns: AtomicU64,
    pub(super) keep_wanted: AtomicBool,
    /// When there was last no room for what was to be kept.
    pub(super) unkept_stamp_ns: AtomicU64,
    pub(super) end: Mutex<Option<End>>,
}

#[derive(Clone, Debug)]
pub(super) enum End {
    /// The file has what was asked for.
    Full,
    Failed(String),
}

impl Shared {
    pub(super) fn end(&self) -> Option<End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// With one error line.
    pub(super) fn fail(&self, error: RecordingError, is_purpose: bool) {
        let why = one_line(&error.into());
        // A file is what the run is for: its end is the run's, which will say why.
        if !is_purpose {
            tracing::error!("{STOPPED}{why}");
        }
        self.set_end(End::Failed(why));
    }

    pub(super) fn set_end(&self, end: End) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
    }

    /// Counts first, so that the count never falls short.
    fn send(&self, sender: &SyncSender<Item>, item: Item) -> Result<(), TrySendError<Item>> {
        self.queued.fetch_add(1, Ordering::Relaxed);
        let sent = sender.try_send(item);
        if sent.is_err() {
            self.queued.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }

    fn note_missed(&self, now: StampNs) {
        self.frames_missed.fetch_add(1, Ordering::Relaxed);
        self.frames_unnoted.fetch_add(1, Ordering::Relaxed);
        self.missed_stamp_ns.store(now.0, Ordering::Relaxed);
    }
}

/// What makes a status worth recording again: a change, and a second.
#[derive(PartialEq)]
struct Told {
    state: wire::State,
    reasons: Vec<String>,
    sent_s: u64,
}

impl Told {
    /// Why it is bad, without the numbers that change from second to second.
    fn troubles(&self) -> Vec<String> {
        let is_bad = matches!(self.state, wire::State::Degraded | wire::State::Fault);
        // The recording's own troubles are no reason to keep more of it.
        let is_own =
            |reason: &str| reason.starts_with(STOPPED) || [TOO_SLOW, KEPT_FULL].contains(&reason);
        let reasons = self.reasons.iter().filter(|reason| is_bad && !is_own(reason));
        reasons.map(|reason| reason.replace(|c: char| c.is_ascii_digit(), "")).collect()
    }

    fn has_new_trouble(&self, before: Option<&Told>) -> bool {
        let known = before.map(Told::troubles).unwrap_or_default();
        self.troubles().iter().any(|trouble| !known.contains(trouble))
    }
}

/// A recording in progress.
pub(crate) struct Recorder {
    sender: SyncSender<Item>,
    shared: Arc<Shared>,
    /// `None` if it had nothing to write to from the start.
    thread: Option<JoinHandle<()>>,
    clock: SharedClock,
    /// The last status that went into the recording.
    status_told: Option<Told>,
    keep_on_degraded: bool,
    /// The run is for this recording's sake, and ends with it.
    is_purpose: bool,
}

impl Recorder {
    /// `None` if nothing is to be recorded.
    pub(crate) fn start(
        config: &RecordingConfig,
        origin: Origin,
        clock: &SharedClock,
    ) -> Result<Option<Recorder>, Failure> {
        let Some(target) = &config.target else { return Ok(None) };
        let options = WriteOptions { color: config.color, ..WriteOptions::default() };
        let shared = Arc::new(Shared::default());
        let (output, keep_on_degraded, keep_on_score_below) = match target {
            RecordingTarget::File { path, limits } => {
                let free_bytes_min = config.free_bytes_min;
                let output = FileOutput::create(path, &origin, options, *limits, free_bytes_min);
                (Some(Output::File(Box::new(output.map_err(Failure::config)?))), false, None)
            }
            RecordingTarget::Ring { folder, ring } => {
                let opened = open_ring(folder, ring, config.free_bytes_min, &origin, options);
                // A full disk is no reason to keep the arm from working.
                let output = opened.map_err(|error| shared.fail(error, false)).ok();
                let output = output.map(|ring| Output::Ring(Box::new(ring)));
                (output, ring.keep_on_degraded, ring.keep_on_score_below)
            }
        };
        let (sender, receiver) = sync_channel(QUEUE_FRAMES_MAX);
        let is_purpose = matches!(target, RecordingTarget::File { .. });
        let writer = output.map(|output| Writer {
            origin,
            output,
            keep_on_score_below,
            shared: Arc::clone(&shared),
            is_purpose,
            taken: 0,
            newest: StampNs(0),
        });
        let start = |writer: Writer| {
            let thread = std::thread::Builder::new().name("magpie-record".into());
            thread.spawn(move || writer.run(receiver)).context("start the recording's thread")
        };
        let thread = writer.map(start).transpose()?;
        Ok(Some(Recorder {
            sender,
            shared,
            thread,
            clock: Arc::clone(clock),
            status_told: None,
            keep_on_degraded,
            is_purpose,
        }))
    }

    /// Puts the recording behind a publisher.
    pub(crate) fn tap(&self) -> Tap {
        Tap {
            sender: self.sender.clone(),
            shared: Arc::clone(&self.shared),
            clock: Arc::clone(&self.clock),
            missed: 0,
        }
    }

    /// What is wrong with the recording, for the status.
    pub(crate) fn trouble(&self) -> Option<String> {
        if let Some(End::Failed(why)) = self.shared.end() {
            return Some(format!("{STOPPED}{why}"));
        }
        let is_fresh = |stamp_ns: &AtomicU64| {
            let stamp = StampNs(stamp_ns.load(Ordering::Relaxed));
            stamp != StampNs(0) && self.clock.now().since_ns(stamp) < TOLD_NS
        };
        if is_fresh(&self.shared.missed_stamp_ns) {
            return Some(TOO_SLOW.to_owned());
        }
        is_fresh(&self.shared.unkept_stamp_ns).then(|| KEPT_FULL.to_owned())
    }

    /// The run has no more to do.
    pub(crate) fn ends_run(&self) -> bool {
        self.is_purpose && self.shared.end().is_some()
    }

    /// Keeps what the ring holds.
    pub(crate) fn keep(&self) {
        self.shared.keep_wanted.store(true, Ordering::Relaxed);
    }

    /// Records the status once a second and at every change; keeps the ring when there is a new
    /// reason why it is bad.
    pub(crate) fn take_status(&mut self, status: wire::Status) {
        let now = Told {
            state: status.state(),
            reasons: status.reasons.clone(),
            sent_s: status.sent_ns / 1_000_000_000,
        };
        if self.status_told.as_ref() == Some(&now) {
            return;
        }
        if self.keep_on_degraded && now.has_new_trouble(self.status_told.as_ref()) {
            self.keep();
        }
        let item = Item::Status { stamp: StampNs(status.sent_ns), status: Box::new(status) };
        // What finds the queue full comes again at the next look.
        if self.shared.send(&self.sender, item).is_ok() {
            self.status_told = Some(now);
        }
    }

    /// Waits until everything is on the disk; to be called when the publisher is gone.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let Recorder { sender, shared, thread, is_purpose, .. } = self;
        drop(sender);
        if thread.is_some_and(|thread| thread.join().is_err()) {
            return Err(Failure::Fault(anyhow!("the recording's thread panicked: see above")));
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let end = shared.end();
        // What came after the last frame that was asked for is not missing.
        let after = if matches!(end, Some(End::Full)) { count(&shared.frames_unnoted) } else { 0 };
        let left_out = count(&shared.frames_missed).saturating_sub(after);
        tracing::info!(frames = count(&shared.frames), left_out, "recording ended");
        match end {
            Some(End::Failed(why)) if is_purpose => Err(Failure::Fault(anyhow!(why))),
            _ => Ok(()),
        }
    }
}

fn open_ring(
    folder: &Path,
    ring: &RingConfig,
    free_bytes_min: u64,
    origin: &Origin,
    options: WriteOptions,
) -> Result<Ring, RecordingError> {
    let nanoseconds = |time: std::time::Duration| {
        u64::try_from(time.as_nanos()).expect("checked to be weeks at most")
    };
    let segments = ring.span.as_nanos().div_ceil(ring.segment.as_nanos());
    let limits = RingLimits {
        segment_ns_max: nanoseconds(ring.segment),
        // One more: the oldest leaves when the newest has just begun.
        segments_max: usize::try_from(segments).expect("checked to be millions at most") + 1,
        bytes_max: ring.bytes_max,
        kept_bytes_max: ring.kept_bytes_max,
        free_bytes_min,
    };
    let attachments = messages::config_file(&origin.config).into_iter().collect();
    Ring::open(folder, &origin.cell, origin.info.clone(), options, limits, attachments)
}

/// The loop's side of a recording.
pub(crate) struct Tap {
    sender: SyncSender<Item>,
    shared: Arc<Shared>,
    clock: SharedClock,
    missed: u64,
}

impl Tap {
    /// Returns at once: copies the frame, or counts it.
    fn offer(&mut self, frame: &Frame, report: &FrameReport, state: wire::State) {
        if self.shared.end().is_some() {
            return;
        }
        // Copying megabytes for nothing would cost the most when there is the least to spare.
        if self.shared.queued.load(Ordering::Relaxed) >= QUEUE_FRAMES_MAX {
            self.missed += 1;
            return self.shared.note_missed(self.clock.now());
        }
        let item = FrameItem {
            frame: frame.clone(),
            report: report.clone(),
            handed_over: self.clock.now(),
            state,
            missed_before: self.missed,
        };
        match self.shared.send(&self.sender, Item::Frame(Box::new(item))) {
            Ok(()) => self.missed = 0,
            Err(TrySendError::Full(_)) => {
                self.missed += 1;
                self.shared.note_missed(self.clock.now());
            }
            // The recording has ended in the meantime, and has said why.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }
}

/// Publishes first, and then offers the frame to the recording.
pub(crate) struct RecordingPublisher<P> {
    pub(crate) publisher: P,
    pub(crate) status: StatusHandle,
    pub(crate) tap: Option<Tap>,
}

impl<P: Publisher> Publisher for RecordingPublisher<P> {
    fn publish(&mut self, frame: &Frame, report: &FrameReport) -> Result<(), PublishError> {
        self.publisher.publish(frame, report)?;
        if let Some(tap) = &mut self.tap {
            tap.offer(frame, report, self.status.current().state);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::Config;
    use crate::record::settings::FileLimits;
    use magpie_perception::{
        BboxPx, BgrImage, CountersSnapshot, FrameSource, GraspRefusal, Instance, Mask, Package,
        Packages, Provider, ReferenceFrame, StageLatencies, StampSource,
    };
    use magpie_recording::{FrameReader, MessageReader, Playback};
    use std::path::PathBuf;
    use std::time::Duration;

    const FRAMES: u64 = 200;
    const SIDE_PX: u32 = 256;

    fn origin() -> Origin {
        let identities = Identities {
            model_name: "none".into(),
            model_sha256: String::new(),
            class_names: vec!["box".into()],
            calibration_id: String::new(),
            providers_asked: vec![Provider::Cpu],
            provider_got: Provider::Cpu,
            base_frame_id: "base".into(),
            camera_frame_id: "camera".into(),
        };
        Origin {
            cell: "dock".into(),
            instance_id: "1".into(),
            identities,
            info: RecordingInfo::default(),
            config: String::new(),
        }
    }

    fn frame_and_report(sequence: u64) -> (Frame, FrameReport) {
        let stamp = StampNs(1_700_000_000_000_000_000 + sequence * 50_000_000);
        let pixels = vec![7; 3 * SIDE_PX as usize * SIDE_PX as usize];
        let color = BgrImage::new(SIDE_PX, SIDE_PX, pixels).unwrap();
        let stamp_source = StampSource::Exposure;
        let packages = Packages {
            sequence,
            stamp,
            stamp_source,
            image_width_px: SIDE_PX,
            image_height_px: SIDE_PX,
            reference_frame: ReferenceFrame::Camera,
            valid_until: stamp,
            packages: Vec::new(),
            velocity: None,
            depth_problem: None,
        };
        let counters = CountersSnapshot { results_published: sequence + 1, ..Default::default() };
        let report = FrameReport { packages, latencies: StageLatencies::default(), counters };
        (Frame { sequence, stamp, stamp_source, color, depth: None }, report)
    }

    fn start(more: &str) -> Recorder {
        let config = Config::parse(Path::new("/magpie.toml"), more).unwrap().recording;
        Recorder::start(&config, origin(), &SystemClock::start()).unwrap().unwrap()
    }

    fn recordings(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.is_file()).collect()
    }

    fn status(state: wire::State, reason: &str) -> wire::Status {
        let reasons = vec![reason.to_owned()];
        wire::Status { state: state.into(), reasons, ..Default::default() }
    }

    #[test]
    fn frames_faster_than_the_writer_are_recorded_or_written_down_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = start(&format!("[recording]\nfolder = {:?}", folder.path()));
        let mut tap = recorder.tap();
        for sequence in 0..FRAMES {
            let (frame, report) = frame_and_report(sequence);
            tap.offer(&frame, &report, wire::State::Ok);
        }
        let missed = recorder.shared.frames_missed.load(Ordering::Relaxed);
        assert!(missed > 0, "a writer that keeps up with memory shows nothing");
        assert!(recorder.trouble().unwrap().contains("cannot keep up"));
        drop(tap);
        recorder.finish().unwrap();
        let [path] = <[PathBuf; 1]>::try_from(recordings(folder.path())).unwrap();
        let mut reader = FrameReader::open(&path, Playback::default()).unwrap();
        let frames = std::iter::from_fn(|| reader.next_frame().unwrap()).count() as u64;
        assert_eq!(reader.losses().frames_unrecorded, missed);
        assert_eq!(frames + missed, FRAMES);
    }

    #[test]
    fn a_worse_state_keeps_the_ring_and_the_recording_s_own_trouble_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = start(&format!("[recording]\nfolder = {:?}", folder.path()));
        recorder.shared.frames_missed.store(1, Ordering::Relaxed);
        recorder.shared.missed_stamp_ns.store(recorder.clock.now().0, Ordering::Relaxed);
        let own = recorder.trouble().unwrap();
        recorder.take_status(status(wire::State::Degraded, &own));
        assert!(!recorder.shared.keep_wanted.load(Ordering::Relaxed));
        recorder.take_status(status(wire::State::Ok, ""));
        recorder.take_status(status(wire::State::Degraded, "camera lost"));
        recorder.finish().unwrap();
        assert_eq!(recordings(folder.path()), Vec::<PathBuf>::new());
        let [kept] = <[PathBuf; 1]>::try_from(recordings(&folder.path().join("kept"))).unwrap();
        let mut reader = MessageReader::open(&kept, messages::STATUS_TOPIC).unwrap();
        let statuses = std::iter::from_fn(|| reader.next_message().unwrap()).count();
        assert_eq!(statuses, 3, "every change is recorded");
    }

    #[test]
    fn a_recording_of_some_seconds_ends_without_a_frame() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dark.mcap");
        let limits =
            FileLimits { duration_max: Some(Duration::from_secs(2)), ..FileLimits::default() };
        let config = Config::parse(Path::new("/magpie.toml"), "").unwrap().recording;
        let config = config.into_file(&path, limits);
        let mut recorder =
            Recorder::start(&config, origin(), &SystemClock::start()).unwrap().unwrap();
        for (second, reason) in [(1, "camera lost"), (4, "camera still lost")] {
            let mut lost = status(wire::State::Degraded, reason);
            lost.sent_ns = second * 1_000_000_000;
            recorder.take_status(lost);
        }
        let ended = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            recorder.ends_run()
        });
        assert!(ended, "two seconds are over");
        recorder.finish().unwrap();
    }

    #[test]
    fn a_package_of_a_lower_score_keeps_the_ring_and_better_ones_do_not() {
        let package = |score: f32| Package {
            track_id: 1,
            instance: Instance {
                class_id: 0,
                score,
                mask: Mask::empty(SIDE_PX, SIDE_PX),
                bbox: BboxPx { x_min_px: 0.0, y_min_px: 0.0, x_max_px: 1.0, y_max_px: 1.0 },
            },
            grasps: Err(GraspRefusal::NoSurface),
            deepest_px: [0.0; 2],
            height_m: None,
            position_in_reference: None,
            size: None,
            occluded_share: 0.0,
            pick_rank: 0,
        };
        let kept = |scores: &[f32]| {
            let folder = tempfile::tempdir().unwrap();
            let more = "keep_on_score_below = 0.4";
            let recorder = start(&format!("[recording]\nfolder = {:?}\n{more}", folder.path()));
            let mut tap = recorder.tap();
            let (frame, mut report) = frame_and_report(0);
            report.packages.packages = scores.iter().map(|score| package(*score)).collect();
            tap.offer(&frame, &report, wire::State::Ok);
            drop(tap);
            recorder.finish().unwrap();
            recordings(&folder.path().join("kept")).len()
        };
        assert_eq!((kept(&[0.9, 0.39]), kept(&[0.9, 0.41]), kept(&[])), (1, 0, 0));
    }

    #[test]
    fn what_finds_no_room_to_be_kept_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        std::fs::create_dir(&kept).unwrap();
        let older = kept.join("dock_2026-11-23T130508.120Z-00000001.mcap");
        std::fs::write(older, vec![0; 1_000_000]).unwrap();
        let config = format!("[recording]\nfolder = {:?}\nkept_size_mb_max = 1", folder.path());
        let mut recorder = start(&config);
        let mut lost = status(wire::State::Degraded, "camera lost");
        lost.sent_ns = recorder.clock.now().0;
        recorder.take_status(lost);
        while recorder.trouble().is_none() {
            std::thread::yield_now();
        }
        assert!(recorder.trouble().unwrap().contains("recording.kept_size_mb_max"));
        recorder.finish().unwrap();
        assert_eq!((recordings(folder.path()).len(), recordings(&kept).len()), (1, 1));
    }

    #[test]
    fn another_reason_keeps_the_ring_while_it_is_bad_and_another_number_does_not() {
        let told = |state: wire::State, reasons: &[&str]| Told {
            state,
            reasons: reasons.iter().map(|&reason| reason.to_owned()).collect(),
            sent_s: 0,
        };
        let bad = |reasons: &[&str]| told(wire::State::Degraded, reasons);
        let moved = bad(&["moved by 5.1 mm"]);
        assert!(moved.has_new_trouble(None));
        assert!(moved.has_new_trouble(Some(&told(wire::State::Ok, &[]))));
        assert!(!bad(&["moved by 5.2 mm"]).has_new_trouble(Some(&moved)));
        let both = bad(&["moved by 5.2 mm", "camera lost"]);
        assert!(both.has_new_trouble(Some(&moved)));
        assert!(!moved.has_new_trouble(Some(&both)));
        assert!(!bad(&["recording stopped: the disk is full"]).has_new_trouble(None));
    }

    #[test]
    fn a_file_that_an_error_ends_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = start(&format!("[recording]\nfolder = {:?}", folder.path()));
        let mut tap = recorder.tap();
        // The second one is stamped before the first one, which no recording takes.
        for sequence in [5, 4, 6, 7] {
            let (frame, report) = frame_and_report(sequence);
            tap.offer(&frame, &report, wire::State::Ok);
        }
        drop(tap);
        recorder.finish().unwrap();
        let [path] = <[PathBuf; 1]>::try_from(recordings(folder.path())).unwrap();
        let mut reader = FrameReader::open(&path, Playback::default()).unwrap();
        assert_eq!(std::iter::from_fn(|| reader.next_frame().unwrap()).count(), 1);
        assert!((1..=3).contains(&reader.losses().frames_unrecorded), "{}", reader.losses());
    }

    #[test]
    fn a_queue_without_room_costs_no_copy() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = start(&format!("[recording]\nfolder = {:?}", folder.path()));
        let mut tap = recorder.tap();
        // As if the writer had fallen behind.
        recorder.shared.queued.store(QUEUE_FRAMES_MAX, Ordering::Relaxed);
        let (frame, report) = frame_and_report(0);
        tap.offer(&frame, &report, wire::State::Ok);
        assert_eq!(tap.missed, 1);
        recorder.shared.queued.store(0, Ordering::Relaxed);
        tap.offer(&frame, &report, wire::State::Ok);
        assert_eq!(tap.missed, 0);
        drop(tap);
        recorder.finish().unwrap();
    }

    #[test]
    fn a_ring_that_cannot_begin_degrades_and_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("taken"), "a file").unwrap();
        let taken = folder.path().join("taken");
        let recorder = start(&format!("[recording]\nfolder = {taken:?}"));
        assert!(recorder.trouble().unwrap().starts_with("recording stopped: "));
        let mut tap = recorder.tap();
        let (frame, report) = frame_and_report(0);
        tap.offer(&frame, &report, wire::State::Ok);
        assert!(!recorder.ends_run());
        drop(tap);
        recorder.finish().unwrap();
    }

    #[test]
    fn a_recording_that_cannot_be_written_says_so_and_takes_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let greedy = "free_space_mb_min = 100000000";
        let recorder = start(&format!("[recording]\nfolder = {:?}\n{greedy}", folder.path()));
        let mut tap = recorder.tap();
        let (frame, report) = frame_and_report(0);
        tap.offer(&frame, &report, wire::State::Ok);
        while recorder.trouble().is_none() {
            std::thread::yield_now();
        }
        let trouble = recorder.trouble().unwrap();
        assert!(
            trouble.contains("recording stopped") && trouble.contains("MB are free"),
            "{trouble}"
        );
        assert!(!recorder.ends_run(), "the cell goes on without it");
        tap.offer(&frame, &report, wire::State::Ok);
        drop(tap);
        recorder.finish().unwrap();
        assert_eq!(recordings(folder.path()), Vec::<PathBuf>::new());
    }
}

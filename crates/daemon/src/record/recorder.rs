//! A recording in progress: its thread, its reasons in the status, and its end.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow};
use magpie_perception::{SharedClock, StampNs};
use magpie_recording::{RecordingError, Ring, RingLimits, StoredFile, WriteOptions};
use magpie_transport::ReportedOutcome;
use magpie_wire::{self as wire, Reason};

use super::queue::{End, Item, Origin, QUEUE_FRAMES_MAX, Shared, is_recent};
use super::tap::Tap;
use super::writer::{FileOutput, Output, TOO_SLOW, Target, Writer};
use crate::config::{RecordingConfig, RecordingTarget, RingConfig};
use crate::failure::Failure;

/// A status is recorded again when it has changed or a second has passed.
#[derive(PartialEq)]
struct RecordedStatus {
    state: wire::State,
    reasons: Vec<wire::ReasonMessage>,
    sent_s: u64,
}

impl RecordedStatus {
    /// Codes of what is bad about the cell. Those of the recording itself and of the page are left
    /// out: they are no reason to keep more of it.
    fn reason_codes(&self) -> Vec<&str> {
        let is_bad = matches!(self.state, wire::State::Degraded | wire::State::Fault);
        let reasons = self.reasons.iter().filter(|reason| is_bad && !reason.is_about_onlookers());
        reasons.map(|reason| reason.code.as_str()).collect()
    }

    fn has_new_reason(&self, before: Option<&RecordedStatus>) -> bool {
        let known = before.map(RecordedStatus::reason_codes).unwrap_or_default();
        self.reason_codes().iter().any(|code| !known.contains(code))
    }
}

/// A recording in progress.
pub struct Recorder {
    sender: SyncSender<Item>,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
    clock: SharedClock,
    /// The last status that went into the recording.
    recorded_status: Option<RecordedStatus>,
    /// Reports of picks that wait for a place in the queue.
    outcomes: VecDeque<ReportedOutcome>,
    keep_on_degraded: bool,
    /// The run is for the sake of this recording and ends with it.
    ends_run: bool,
}

impl Recorder {
    /// `None` if nothing is to be recorded.
    pub fn start(
        config: &RecordingConfig,
        origin: Origin,
        clock: &SharedClock,
    ) -> Result<Option<Recorder>, Failure> {
        let Some(target) = &config.target else { return Ok(None) };
        let options = WriteOptions { color: config.color, ..WriteOptions::default() };
        let shared = Arc::new(Shared::default());
        let (target, output, keep_on_degraded, keep_on_score_below) = match target {
            RecordingTarget::File { path, limits } => {
                let free_bytes_min = config.free_bytes_min;
                let output = FileOutput::create(path, &origin, options, *limits, free_bytes_min);
                let output = Output::File(Box::new(output.map_err(Failure::config)?));
                (Target::File, Some(output), false, None)
            }
            RecordingTarget::Ring { folder, ring } => {
                let (folder, ring) = (folder.clone(), *ring);
                let free_bytes_min = config.free_bytes_min;
                let open = move |origin: &Origin| {
                    open_ring(&folder, &ring, free_bytes_min, origin, options)
                };
                // A full disk is no reason to keep the arm from working.
                let output =
                    open(&origin).map_err(|error| shared.fail(error, clock.as_ref(), false));
                let output = output.ok().map(|ring| Output::Ring(Box::new(ring)));
                let (keep, below) = (ring.keep_on_degraded, ring.keep_on_score_below);
                (Target::Ring(Box::new(open)), output, keep, below)
            }
        };
        let (sender, receiver) = sync_channel(QUEUE_FRAMES_MAX);
        let ends_run = matches!(target, Target::File);
        let writer = Writer {
            origin,
            target,
            output,
            keep_on_score_below,
            shared: Arc::clone(&shared),
            clock: Arc::clone(clock),
            missing: 0,
            missing_because: TOO_SLOW,
            newest: StampNs(0),
            unix_ahead_ns: clock.unix_ahead_ns(),
        };
        let thread = std::thread::Builder::new().name("magpie-record".into());
        let thread =
            thread.spawn(move || writer.run(receiver)).context("start the recording's thread")?;
        Ok(Some(Recorder {
            sender,
            shared,
            thread,
            clock: Arc::clone(clock),
            recorded_status: None,
            outcomes: VecDeque::new(),
            keep_on_degraded,
            ends_run,
        }))
    }

    /// Puts the recording behind a publisher.
    pub fn tap(&self) -> Tap {
        Tap::new(self.sender.clone(), Arc::clone(&self.shared), Arc::clone(&self.clock))
    }

    /// The reason that the recording gives the status for being degraded.
    pub fn reason(&self) -> Option<Reason> {
        let now = self.clock.now();
        let is_behind = is_recent(&self.shared.missed_stamp_ns, now);
        match self.shared.unable_to_keep(now) {
            stopped @ Some(Reason::RecordingStopped { .. }) => stopped,
            _ if is_behind => Some(Reason::RecordingBehind),
            full => full,
        }
    }

    /// Whether the run has no more to do.
    pub fn is_run_over(&self) -> bool {
        self.ends_run && self.shared.end().is_some()
    }

    /// Keeps what the ring holds.
    pub fn keep(&self) {
        self.shared.keep_wanted.store(true, Ordering::Relaxed);
    }

    /// Does the same from any thread, or says why it cannot. `None`: one file is written, which stays
    /// anyway.
    pub fn keeper(
        &self,
    ) -> Option<impl Fn() -> Result<(), String> + Send + Sync + 'static + use<>> {
        let (shared, clock) = (Arc::clone(&self.shared), Arc::clone(&self.clock));
        (!self.ends_run).then_some(move || match shared.unable_to_keep(clock.now()) {
            Some(reason) => Err(reason.to_string()),
            None => {
                shared.keep_wanted.store(true, Ordering::Relaxed);
                Ok(())
            }
        })
    }

    /// Records the status once a second and at every change; keeps the ring when there is a new
    /// reason why it is bad.
    pub fn take_status(&mut self, status: wire::Status) {
        let now = RecordedStatus {
            state: status.state(),
            reasons: status.coded_reasons(),
            sent_s: status.sent_ns / 1_000_000_000,
        };
        if self.recorded_status.as_ref() == Some(&now) {
            return;
        }
        if self.keep_on_degraded && now.has_new_reason(self.recorded_status.as_ref()) {
            self.keep();
        }
        let unix_ahead_ns = self.clock.unix_ahead_ns();
        let sent = StampNs::from_unix_ns(status.sent_ns, unix_ahead_ns);
        let item = Item::Status { status: Box::new(status), sent, unix_ahead_ns };
        // A status that finds the queue full comes again a tenth of a second later.
        if self.shared.send(&self.sender, item).is_ok() {
            self.recorded_status = Some(now);
        }
    }

    /// Records what was reported of picks, some of it at the next call: frames need the queue more.
    pub fn take_outcomes(&mut self, reported: Vec<ReportedOutcome>) {
        self.outcomes.extend(reported);
        let too_many = self.outcomes.len().saturating_sub(OUTCOMES_WAITING_MAX);
        self.outcomes.drain(..too_many);
        self.shared.outcomes_lost.fetch_add(too_many as u64, Ordering::Relaxed);
        for _ in 0..OUTCOMES_AT_ONCE_MAX {
            let has_room = self.shared.queued.load(Ordering::Relaxed) < QUEUE_FRAMES_MAX / 2;
            let Some(reported) = self.outcomes.pop_front_if(|_| has_room) else { return };
            match self.shared.send(&self.sender, outcome_item(reported, &self.clock)) {
                Ok(()) => {}
                Err(TrySendError::Full(Item::Outcome { reported, .. })) => {
                    return self.outcomes.push_front(*reported);
                }
                // The recording has ended, and has said why.
                Err(_) => {
                    self.shared.outcomes_lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Waits until everything is on the disk; to be called when the publisher is gone.
    pub fn finish(self) -> Result<(), Failure> {
        let Recorder { sender, shared, thread, ends_run, outcomes, clock, .. } = self;
        for reported in outcomes {
            // Frames do not need the queue any more.
            shared.queued.fetch_add(1, Ordering::Relaxed);
            if sender.send(outcome_item(reported, &clock)).is_err() {
                shared.outcomes_lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(sender);
        if thread.join().is_err() {
            return Err(Failure::Fault(anyhow!("the recording's thread panicked: see above")));
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let end = shared.end();
        // Frames after the last one that was asked for are not missing.
        let after = if matches!(end, Some(End::Full)) { count(&shared.frames_unnoted) } else { 0 };
        let left_out = count(&shared.frames_missed).saturating_sub(after);
        let outcomes_lost = count(&shared.outcomes_lost);
        tracing::info!(frames = count(&shared.frames), left_out, outcomes_lost, "recording ended");
        match end {
            Some(End::Failed(why)) if ends_run => Err(Failure::Fault(anyhow!(why))),
            _ => Ok(()),
        }
    }
}

/// Reports that wait for a place in the queue: as many as the transport keeps.
const OUTCOMES_WAITING_MAX: usize = 256;
/// Reports that go into the queue at once. Supervision calls ten times a second, and an arm makes
/// fewer.
const OUTCOMES_AT_ONCE_MAX: usize = 2;

fn outcome_item(reported: ReportedOutcome, clock: &SharedClock) -> Item {
    Item::Outcome { reported: Box::new(reported), unix_ahead_ns: clock.unix_ahead_ns() }
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
        // The ring has one segment more: the oldest leaves when the newest has just begun.
        segments_max: usize::try_from(segments).expect("checked to be millions at most") + 1,
        bytes_max: ring.bytes_max,
        kept_bytes_max: ring.kept_bytes_max,
        free_bytes_min,
    };
    let attachments = StoredFile::config(&origin.config).into_iter().collect();
    Ring::open(folder, &origin.cell, origin.info.clone(), options, limits, attachments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, FileLimits};
    use magpie_network::SystemClock;
    use magpie_perception::{
        BboxPx, BgrImage, Clock, CountersSnapshot, Frame, FrameReport, FrameSource, Instance, Mask,
        Package, Packages, Provider, ReferenceFrame, StageLatencies, StampSource,
    };
    use magpie_recording::{FrameReader, MessageReader, Playback, RecordingInfo};
    use magpie_wire::Identities;
    use std::path::PathBuf;
    use std::sync::atomic::AtomicI64;
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

    fn status(reason: Option<&Reason>) -> wire::Status {
        let state = if reason.is_some() { wire::State::Degraded } else { wire::State::Ok };
        let reasons_coded = reason.into_iter().map(Into::into).collect();
        wire::Status { state: state.into(), reasons_coded, ..Default::default() }
    }

    fn camera_lost(why: &str) -> Reason {
        Reason::CameraLost { why: why.into() }
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
        assert_eq!(recorder.reason(), Some(Reason::RecordingBehind));
        drop(tap);
        recorder.finish().unwrap();
        let [path] = <[PathBuf; 1]>::try_from(recordings(folder.path())).unwrap();
        let mut reader = FrameReader::open(&path, Playback::default()).unwrap();
        let frames = std::iter::from_fn(|| reader.next_frame().unwrap()).count() as u64;
        assert_eq!(reader.losses().frames_unrecorded, missed);
        assert_eq!(frames + missed, FRAMES);
    }

    #[test]
    fn a_worse_state_keeps_the_ring_and_the_recording_s_own_reasons_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = start(&format!("[recording]\nfolder = {:?}", folder.path()));
        recorder.shared.frames_missed.store(1, Ordering::Relaxed);
        recorder.shared.missed_stamp_ns.store(recorder.clock.now().0, Ordering::Relaxed);
        let own = recorder.reason().unwrap();
        recorder.take_status(status(Some(&own)));
        assert!(!recorder.shared.keep_wanted.load(Ordering::Relaxed));
        recorder.take_status(status(None));
        recorder.take_status(status(Some(&camera_lost("unplugged"))));
        recorder.finish().unwrap();
        assert_eq!(recordings(folder.path()), Vec::<PathBuf>::new());
        let [kept] = <[PathBuf; 1]>::try_from(recordings(&folder.path().join("kept"))).unwrap();
        let mut reader = MessageReader::statuses(&kept).unwrap();
        let statuses = std::iter::from_fn(|| reader.next_message().unwrap()).count();
        assert_eq!(statuses, 3, "every change is recorded");
    }

    #[test]
    fn reports_of_picks_go_in_a_few_at_a_time_and_the_rest_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorder = start(&format!("[recording]\nfolder = {:?}", folder.path()));
        let mut tap = recorder.tap();
        let (frame, report) = frame_and_report(0);
        tap.offer(&frame, &report, wire::State::Ok);
        let reported = |track_id| {
            let message = wire::PickOutcome { track_id, ..Default::default() };
            ReportedOutcome { message, at: StampNs(frame.stamp.0 + track_id) }
        };
        recorder.take_outcomes((1..=300).map(reported).collect());
        assert_eq!(recorder.outcomes.len(), OUTCOMES_WAITING_MAX - OUTCOMES_AT_ONCE_MAX);
        assert_eq!(recorder.shared.outcomes_lost.load(Ordering::Relaxed), 44);
        assert_eq!(recorder.shared.frames_missed.load(Ordering::Relaxed), 0);
        drop(tap);
        recorder.finish().unwrap();
        let [path] = <[PathBuf; 1]>::try_from(recordings(folder.path())).unwrap();
        let mut reader = MessageReader::outcomes(&path).unwrap();
        let recorded: Vec<_> = std::iter::from_fn(|| reader.next_message().unwrap()).collect();
        let tracks: Vec<u64> = recorded.iter().map(|report| report.message.track_id).collect();
        assert_eq!(tracks, (45..=300).collect::<Vec<u64>>());
        assert_eq!(recorded[0].stamp.0, frame.stamp.0 + 45);
        let mut reader = FrameReader::open(&path, Playback::default()).unwrap();
        assert_eq!(std::iter::from_fn(|| reader.next_frame().unwrap()).count(), 1);
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
        for (second, reason) in [(1, "unplugged"), (4, "still unplugged")] {
            let mut lost = status(Some(&camera_lost(reason)));
            lost.sent_ns = second * 1_000_000_000;
            recorder.take_status(lost);
        }
        let ended = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            recorder.is_run_over()
        });
        assert!(ended, "two seconds are over");
        recorder.finish().unwrap();
    }

    #[test]
    fn a_package_of_a_lower_score_keeps_the_ring_and_better_ones_do_not() {
        let package = |score: f32| {
            let bbox = BboxPx { x_min_px: 0.0, y_min_px: 0.0, x_max_px: 1.0, y_max_px: 1.0 };
            let mask = Mask::empty(SIDE_PX, SIDE_PX);
            Package::unplanned(Instance { class_id: 0, score, bbox, mask }, 1)
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
    fn a_recording_without_room_to_be_kept_is_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let kept = folder.path().join("kept");
        std::fs::create_dir(&kept).unwrap();
        let older = kept.join("dock_2026-11-23T130508.120Z-00000001.mcap");
        std::fs::write(older, vec![0; 1_000_000]).unwrap();
        let config = format!("[recording]\nfolder = {:?}\nkept_size_mb_max = 1", folder.path());
        let mut recorder = start(&config);
        let mut lost = status(Some(&camera_lost("unplugged")));
        lost.sent_ns = recorder.clock.now().0;
        recorder.take_status(lost);
        while recorder.reason().is_none() {
            std::thread::yield_now();
        }
        assert_eq!(recorder.reason(), Some(Reason::RecordingKeptFull));
        let why = recorder.keeper().unwrap()().unwrap_err();
        assert!(why.contains("the folder kept is full"), "{why}");
        recorder.finish().unwrap();
        assert_eq!((recordings(folder.path()).len(), recordings(&kept).len()), (1, 1));
    }

    #[test]
    fn another_reason_keeps_the_ring_while_it_is_bad_and_another_number_does_not() {
        let moved = |displacement_mm| Reason::CameraMoved {
            displacement_mm,
            rotation_deg: 0.1,
            limit_mm: 3.0,
        };
        let lost = || Reason::CameraLost { why: "no frame for 1.0 s".into() };
        let recorded = |state: wire::State, reasons: &[Reason]| RecordedStatus {
            state,
            reasons: reasons.iter().map(Into::into).collect(),
            sent_s: 0,
        };
        let bad = |reasons: &[Reason]| recorded(wire::State::Degraded, reasons);
        let first = bad(&[moved(5.1)]);
        assert!(first.has_new_reason(None));
        assert!(first.has_new_reason(Some(&recorded(wire::State::Ok, &[]))));
        assert!(!bad(&[moved(5.2)]).has_new_reason(Some(&first)));
        let both = bad(&[moved(5.2), lost()]);
        assert!(both.has_new_reason(Some(&first)));
        assert!(!first.has_new_reason(Some(&both)));
        let full_disk = Reason::RecordingStopped { why: "the disk is full".into() };
        assert!(!bad(&[full_disk]).has_new_reason(None));
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

    /// Set as a test wants.
    #[derive(Default)]
    struct SetClock(AtomicI64);

    impl Clock for SetClock {
        fn now(&self) -> StampNs {
            StampNs(1_700_000_000_000_000_000)
        }

        fn unix_ahead_ns(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    /// The stamps of recorded frames and results, file by file, after the clock was set in between.
    fn recorded_while_the_clock_is_set(config: &RecordingConfig, folder: &Path) -> Vec<Vec<u64>> {
        const HOUR_NS: i64 = 3_600_000_000_000;
        let set = Arc::new(SetClock::default());
        let clock: SharedClock = set.clone();
        let recorder = Recorder::start(config, origin(), &clock).unwrap().unwrap();
        let mut tap = recorder.tap();
        for (sequence, ahead_ns) in [(0, 0), (1, -HOUR_NS), (2, -HOUR_NS), (3, HOUR_NS)] {
            set.0.store(ahead_ns, Ordering::Relaxed);
            let (frame, report) = frame_and_report(sequence);
            tap.offer(&frame, &report, wire::State::Ok);
        }
        drop(tap);
        recorder.finish().unwrap();
        // The ring's number stands behind the time.
        let mut paths = recordings(folder);
        paths.sort_by_key(|path| path.to_string_lossy().rsplit('-').next().map(str::to_owned));
        let stamps = |path: &PathBuf| {
            let mut reader = FrameReader::open(path, Playback::default()).unwrap();
            let frames = std::iter::from_fn(|| reader.next_frame().unwrap());
            let stamps: Vec<u64> = frames.map(|frame| frame.stamp.0).collect();
            let mut reader = MessageReader::packages(path).unwrap();
            let results = std::iter::from_fn(|| reader.next_message().unwrap());
            let told: Vec<u64> = results.map(|result| result.message.stamp_ns).collect();
            assert_eq!(told, stamps, "frames and results of one file are on one time");
            stamps
        };
        paths.iter().map(stamps).collect()
    }

    #[test]
    fn where_the_clock_is_set_a_ring_goes_on_in_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let toml = format!("[recording]\nfolder = {:?}", folder.path());
        let config = Config::parse(Path::new("/magpie.toml"), &toml).unwrap().recording;
        let stamp = |sequence| frame_and_report(sequence).0.stamp.0;
        let hour = 3_600_000_000_000;
        assert_eq!(
            recorded_while_the_clock_is_set(&config, folder.path()),
            [vec![stamp(0)], vec![stamp(1) - hour, stamp(2) - hour], vec![stamp(3) + hour]]
        );
    }

    #[test]
    fn a_recording_in_one_file_goes_on_on_the_time_that_it_began_with() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::parse(Path::new("/magpie.toml"), "").unwrap().recording;
        let config = config.into_file(&folder.path().join("one.mcap"), FileLimits::default());
        let stamps: Vec<u64> =
            (0..4).map(|sequence| frame_and_report(sequence).0.stamp.0).collect();
        assert_eq!(recorded_while_the_clock_is_set(&config, folder.path()), [stamps]);
    }

    #[test]
    fn a_queue_without_room_costs_no_copy() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = start(&format!("[recording]\nfolder = {:?}", folder.path()));
        let mut tap = recorder.tap();
        // The writer seems to have fallen behind.
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
        assert!(matches!(recorder.reason(), Some(Reason::RecordingStopped { .. })));
        let why = recorder.keeper().unwrap()().unwrap_err();
        assert!(why.starts_with("recording stopped: "), "{why}");
        let mut tap = recorder.tap();
        let (frame, report) = frame_and_report(0);
        tap.offer(&frame, &report, wire::State::Ok);
        assert!(!recorder.is_run_over());
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
        while recorder.reason().is_none() {
            std::thread::yield_now();
        }
        let reason = recorder.reason().unwrap().to_string();
        assert!(reason.contains("recording stopped") && reason.contains("MB are free"), "{reason}");
        assert!(!recorder.is_run_over(), "the cell goes on without it");
        tap.offer(&frame, &report, wire::State::Ok);
        drop(tap);
        recorder.finish().unwrap();
        assert_eq!(recordings(folder.path()), Vec::<PathBuf>::new());
    }

    #[test]
    fn trying_again_spares_the_file_that_broke() {
        let folder = tempfile::tempdir().unwrap();
        let recorder = start(&format!("[recording]\nfolder = {:?}", folder.path()));
        let mut tap = recorder.tap();
        // The second one is stamped before the first one, which no recording takes.
        for sequence in [5, 4] {
            let (frame, report) = frame_and_report(sequence);
            tap.offer(&frame, &report, wire::State::Ok);
        }
        let stopped = || matches!(recorder.reason(), Some(Reason::RecordingStopped { .. }));
        let within = |done: &dyn Fn() -> bool| {
            (0..1000).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                done()
            })
        };
        assert!(within(&stopped));
        assert!(within(&|| !stopped()), "it goes on");
        let (frame, report) = frame_and_report(6);
        tap.offer(&frame, &report, wire::State::Ok);
        drop(tap);
        recorder.finish().unwrap();
        let mut frames: Vec<usize> = recordings(folder.path())
            .iter()
            .map(|path| {
                let mut reader = FrameReader::open(path, Playback::default()).unwrap();
                std::iter::from_fn(|| reader.next_frame().unwrap()).count()
            })
            .collect();
        frames.sort_unstable();
        assert_eq!(frames, [1, 1], "what came before the error, and what came after");
    }

    #[test]
    fn a_ring_goes_on_by_itself_and_says_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let [ring, aside] = ["ring", "aside"].map(|name| folder.path().join(name));
        let recorder = start(&format!("[recording]\nfolder = {ring:?}"));
        let mut tap = recorder.tap();
        let mut offered = 0;
        let mut offer_until = |is_there: &dyn Fn() -> bool| {
            for _ in 0..3000 {
                let (frame, report) = frame_and_report(offered);
                tap.offer(&frame, &report, wire::State::Ok);
                offered += 1;
                std::thread::sleep(Duration::from_millis(10));
                if is_there() {
                    return;
                }
            }
            panic!("not within half a minute: {:?}", recorder.reason());
        };
        offer_until(&|| recorder.shared.frames.load(Ordering::Relaxed) > 0);
        std::fs::rename(&ring, &aside).unwrap();
        std::fs::write(&ring, "in the way").unwrap();
        let stopped = || matches!(recorder.reason(), Some(Reason::RecordingStopped { .. }));
        offer_until(&stopped);
        let told = recorder.reason().unwrap().to_string();
        assert!(told.contains("goes on by itself"), "{told}");
        std::fs::remove_file(&ring).unwrap();
        offer_until(&|| !stopped());
        let before = recorder.shared.frames.load(Ordering::Relaxed);
        offer_until(&|| recorder.shared.frames.load(Ordering::Relaxed) > before);
        drop(tap);
        recorder.finish().unwrap();
        let mut seen = 0;
        for path in recordings(&ring).iter().chain(&recordings(&aside)) {
            let mut reader = FrameReader::open(path, Playback::default()).unwrap();
            seen += std::iter::from_fn(|| reader.next_frame().unwrap()).count() as u64;
            seen += reader.losses().frames_unrecorded;
        }
        assert_eq!(seen, offered, "recorded, or written down as missing");
    }
}

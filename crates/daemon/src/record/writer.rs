//! The recording's own thread: frames and results into files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use magpie_perception::StampNs;
use magpie_recording::{
    FrameWriter, RecordingError, Results, Ring, StoredFile, WriteOptions, check_free_bytes,
};
use magpie_wire::{self as wire, Reason};

use super::queue::{End, FrameItem, Item, Origin, REASON_SHOWN_NS, Shared};
use crate::config::FileLimits;

/// The writer gives way to everything that makes results.
const NICENESS: i32 = 5;

/// Takes items from the queue and writes them, in the recording's thread.
pub(super) struct Writer {
    pub(super) origin: Origin,
    pub(super) output: Output,
    pub(super) keep_on_score_below: Option<f32>,
    pub(super) shared: Arc<Shared>,
    /// The run is for the sake of this recording and ends with it.
    pub(super) ends_run: bool,
    /// Frames taken from the queue, and the stamp of the last one.
    pub(super) taken: u64,
    pub(super) newest: StampNs,
    /// How far Unix time is ahead of the stamps that come, in the file that is written.
    pub(super) unix_ahead_ns: i64,
}

/// The file, or the ring of files, that is written.
pub(super) enum Output {
    File(Box<FileOutput>),
    Ring(Box<Ring>),
}

impl Writer {
    pub(super) fn run(mut self, receiver: Receiver<Item>) {
        be_nice();
        let _guard = PanicGuard(Arc::clone(&self.shared));
        let outcome = match self.write_all(&receiver) {
            Ok(end) => self.output.finish().map(|()| end),
            Err(error) => {
                self.shared.fail(error, self.ends_run);
                // Nothing more is sent from here on, and the broken file can still be read.
                return self.note_end(&receiver);
            }
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(end)) => self.shared.set_end(end),
            Err(error) => self.shared.fail(error, self.ends_run),
        }
    }

    /// Writes until every sender is gone, or the recording is full.
    fn write_all(&mut self, receiver: &Receiver<Item>) -> Result<Option<End>, RecordingError> {
        let mut now = StampNs(0);
        loop {
            let item = match receiver.recv_timeout(QUIET) {
                Ok(item) => item,
                Err(RecvTimeoutError::Timeout) => {
                    self.output.flush()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.shared.queued.fetch_sub(1, Ordering::Relaxed);
            match item {
                Item::Frame(mut item) => {
                    self.follow(item.unix_ahead_ns)?;
                    item.frame.stamp = self.written(item.frame.stamp);
                    (self.newest, now) = (item.frame.stamp, item.handed_over);
                    self.taken += 1;
                    self.write_frame(&item)?;
                    self.shared.frames.fetch_add(1, Ordering::Relaxed);
                }
                Item::Status { mut status, sent, unix_ahead_ns } => {
                    self.follow(unix_ahead_ns)?;
                    now = sent;
                    let stamp = self.written(sent);
                    status.sent_ns = stamp.0;
                    self.output.writer(stamp)?.write_status(stamp, &status)?;
                }
            }
            // The item is written first, so that what is kept shows why it is kept.
            self.keep_if_wanted(now)?;
            if self.output.is_full(self.written(now)) {
                return Ok(Some(End::Full));
            }
        }
        self.note_rest()?;
        self.keep_if_wanted(now)?;
        Ok(None)
    }

    /// A file has one time: where the clock was set, a ring goes on in a new file, and a recording
    /// in one file on the time that it began with.
    fn follow(&mut self, unix_ahead_ns: i64) -> Result<(), RecordingError> {
        if self.unix_ahead_ns != unix_ahead_ns && self.output.cut()? {
            self.unix_ahead_ns = unix_ahead_ns;
        }
        Ok(())
    }

    fn written(&self, stamp: StampNs) -> StampNs {
        StampNs(stamp.unix_ns(self.unix_ahead_ns))
    }

    fn write_frame(&mut self, item: &FrameItem) -> Result<(), RecordingError> {
        let FrameItem { frame, report, .. } = item;
        let message = self.to_wire(item);
        let results = Results {
            message: &message,
            packages: &report.packages,
            class_names: &self.origin.identities.class_names,
        };
        let writer = self.output.writer(frame.stamp)?;
        if item.missed_before > 0 {
            writer.note_gap(frame.stamp, item.missed_before, TOO_SLOW)?;
            self.shared.frames_unnoted.fetch_sub(item.missed_before, Ordering::Relaxed);
        }
        writer.write_processed(frame, &results)?;
        let low = self.keep_on_score_below.is_some_and(|least| {
            report.packages.packages.iter().any(|package| package.instance.score < least)
        });
        if low {
            self.shared.keep_wanted.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The result as it was published, but for when that was and how many were before it.
    fn to_wire(&self, item: &FrameItem) -> wire::Packages {
        let envelope = wire::Envelope {
            cell: &self.origin.cell,
            instance_id: &self.origin.instance_id,
            publication: item.report.counters.results_published,
            published: item.handed_over,
            unix_ahead_ns: self.unix_ahead_ns,
            state: item.state,
            results_superseded: 0,
        };
        wire::to_wire(&item.report, &self.origin.identities, &envelope)
    }

    /// Writes down what was left out after the last frame that got through.
    fn note_rest(&mut self) -> Result<(), RecordingError> {
        let rest = self.shared.frames_unnoted.load(Ordering::Relaxed);
        if rest == 0 || self.newest == StampNs(0) {
            return Ok(());
        }
        self.output.writer(self.newest)?.note_gap(self.newest, rest, TOO_SLOW)
    }

    /// Writes down what an error cost: the frame that met it, those in the queue, and those that did
    /// not get there. Where that cannot be written either, the file is not closed, which says as much.
    fn note_end(&mut self, receiver: &Receiver<Item>) {
        let queued =
            receiver.try_iter().filter(|item| matches!(item, Item::Frame(_))).count() as u64;
        let in_hand = self.taken - self.shared.frames.load(Ordering::Relaxed);
        let missing = in_hand + queued + self.shared.frames_unnoted.load(Ordering::Relaxed);
        let Some(writer) = self.output.current().filter(|_| missing > 0) else { return };
        let noted = writer.note_gap(self.newest, missing, BROKEN).and_then(|()| writer.flush());
        if let Err(error) = noted {
            tracing::debug!(%error, missing, "write down what is missing");
        }
    }

    fn keep_if_wanted(&mut self, now: StampNs) -> Result<(), RecordingError> {
        let Output::Ring(ring) = &mut self.output else { return Ok(()) };
        if !self.shared.keep_wanted.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let kept = ring.keep()?;
        if kept.moved > 0 {
            tracing::info!(files = kept.moved, "recordings kept");
        }
        if kept.left > 0 {
            let before = StampNs(self.shared.unkept_stamp_ns.swap(now.0, Ordering::Relaxed));
            if now.since_ns(before) > REASON_SHOWN_NS {
                tracing::warn!(files = kept.left, "{}", Reason::RecordingKeptFull);
            }
        }
        Ok(())
    }
}

/// Everything is flushed to the disk after so long without anything to write.
const QUIET: Duration = Duration::from_millis(500);
const TOO_SLOW: &str = "they came faster than they could be written";
const BROKEN: &str = "the recording ended with an error";

impl Output {
    fn writer(&mut self, stamp: StampNs) -> Result<&mut FrameWriter, RecordingError> {
        match self {
            Output::File(file) => file.writer(stamp),
            Output::Ring(ring) => ring.writer(stamp),
        }
    }

    /// The file being written, whatever limit it has reached.
    fn current(&mut self) -> Option<&mut FrameWriter> {
        match self {
            Output::File(file) => Some(&mut file.writer),
            Output::Ring(ring) => ring.current(),
        }
    }

    fn finish(self) -> Result<(), RecordingError> {
        match self {
            Output::File(file) => file.writer.finish(),
            Output::Ring(ring) => ring.finish(),
        }
    }

    fn flush(&mut self) -> Result<(), RecordingError> {
        match self {
            Output::File(file) => file.writer.flush(),
            Output::Ring(ring) => ring.flush(),
        }
    }

    /// Ends the file, so that the next item begins another one. `false`: there is only one.
    fn cut(&mut self) -> Result<bool, RecordingError> {
        match self {
            Output::File(_) => Ok(false),
            Output::Ring(ring) => ring.cut().map(|()| true),
        }
    }

    fn is_full(&self, now: StampNs) -> bool {
        match self {
            Output::File(file) => file.is_full(now),
            Output::Ring(_) => false,
        }
    }
}

pub(super) struct FileOutput {
    folder: PathBuf,
    writer: FrameWriter,
    limits: FileLimits,
    free_bytes_min: u64,
    first: Option<StampNs>,
}

impl FileOutput {
    pub(super) fn create(
        path: &Path,
        origin: &Origin,
        options: WriteOptions,
        limits: FileLimits,
        free_bytes_min: u64,
    ) -> Result<FileOutput, RecordingError> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut writer = FrameWriter::create(path, origin.info.clone(), options)?;
        if let Some(config) = StoredFile::config(&origin.config) {
            writer.attach(&config)?;
        }
        Ok(FileOutput { folder, writer, limits, free_bytes_min, first: None })
    }

    fn writer(&mut self, stamp: StampNs) -> Result<&mut FrameWriter, RecordingError> {
        check_free_bytes(&self.folder, self.free_bytes_min)?;
        self.first.get_or_insert(stamp);
        Ok(&mut self.writer)
    }

    fn is_full(&self, now: StampNs) -> bool {
        let FileLimits { duration_max, frames_max, bytes_max } = self.limits;
        let spanned_ns = self.first.map_or(0, |first| now.since_ns(first));
        duration_max.is_some_and(|max| u128::from(spanned_ns) >= max.as_nanos())
            || frames_max.is_some_and(|max| self.writer.frames() >= max)
            || bytes_max.is_some_and(|max| self.writer.bytes() >= max)
    }
}

/// Ends the recording when the thread panics: nobody else would notice that it is gone.
struct PanicGuard(Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_end(End::Failed("its thread panicked".to_owned()));
        }
    }
}

/// Lowers the priority of this thread alone: Linux keeps a nice value for each thread.
fn be_nice() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::debug!(%error, "lower the priority of the recording");
    }
}

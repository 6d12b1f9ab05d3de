//! The recording's own thread: frames and results into files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use magpie_perception::StampNs;
use magpie_recording::{
    FrameWriter, RecordingError, Results, Ring, WriteOptions, check_free_bytes,
};
use magpie_transport::wire;
use prost::Message;

use super::messages;
use super::recorder::{End, FrameItem, Item, KEPT_FULL, Origin, Shared, TOLD_NS};
use super::settings::FileLimits;
use crate::failure::one_line;

/// The writer gives way to everything that makes results.
const NICENESS: i32 = 5;

/// Lives in the recording's thread.
pub(super) struct Writer {
    pub(super) origin: Origin,
    pub(super) output: Output,
    pub(super) keep_on_score_below: Option<f32>,
    pub(super) shared: Arc<Shared>,
    /// The run ends with this recording.
    pub(super) is_purpose: bool,
}

/// Where the writer writes.
pub(super) enum Output {
    File(Box<FileOutput>),
    Ring(Box<Ring>),
}

impl Writer {
    pub(super) fn run(mut self, receiver: Receiver<Item>) {
        be_nice();
        let _told = TellPanic(Arc::clone(&self.shared));
        let outcome = self.write_all(&receiver);
        // A broken file is not closed: what is in it can be read.
        let outcome = outcome.and_then(|end| match self.output {
            Output::File(file) => file.writer.finish().map(|()| end),
            Output::Ring(ring) => ring.finish().map(|()| end),
        });
        match outcome {
            Ok(None) => {}
            Ok(Some(end)) => self.shared.set_end(end),
            Err(error) => {
                let why = one_line(&error.into());
                // A file is what the run is for: its end is the run's, which will say why.
                if !self.is_purpose {
                    tracing::error!("recording stopped: {why}");
                }
                self.shared.set_end(End::Failed(why));
            }
        }
    }

    /// Until everybody who could send something is gone, or the recording is full.
    fn write_all(&mut self, receiver: &Receiver<Item>) -> Result<Option<End>, RecordingError> {
        let mut newest = StampNs(0);
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
            match item {
                Item::Frame(item) => {
                    (newest, now) = (item.frame.stamp, item.handed_over);
                    self.write_frame(&item)?;
                    self.shared.frames.fetch_add(1, Ordering::Relaxed);
                }
                Item::Status { stamp, status } => {
                    now = stamp;
                    let data = status.encode_to_vec();
                    self.output.writer(stamp)?.write_message(stamp, &messages::status(&data))?;
                }
            }
            // After the item, so that what is kept shows what it is kept for.
            self.keep_if_wanted(now)?;
            if self.output.is_full(now) {
                return Ok(Some(End::Full));
            }
        }
        self.note_rest(newest)?;
        self.keep_if_wanted(now)?;
        Ok(None)
    }

    fn write_frame(&mut self, item: &FrameItem) -> Result<(), RecordingError> {
        let FrameItem { frame, report, .. } = item;
        let message = self.to_wire(item).encode_to_vec();
        let results = Results {
            packages: &report.packages,
            class_names: &self.origin.identities.class_names,
            message: messages::packages(&message),
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
            state: item.state,
            results_superseded: 0,
        };
        wire::to_wire(&item.report, &self.origin.identities, &envelope)
    }

    /// Writes down what was left out after the last frame that got through.
    fn note_rest(&mut self, newest: StampNs) -> Result<(), RecordingError> {
        let rest = self.shared.frames_unnoted.load(Ordering::Relaxed);
        if rest == 0 || newest == StampNs(0) {
            return Ok(());
        }
        self.output.writer(newest)?.note_gap(newest, rest, TOO_SLOW)
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
            if now.since_ns(before) > TOLD_NS {
                tracing::warn!(files = kept.left, "{KEPT_FULL}");
            }
        }
        Ok(())
    }
}

/// After this long without anything to write, what was written is brought to the disk.
const QUIET: Duration = Duration::from_millis(500);
const TOO_SLOW: &str = "they came faster than they could be written";

impl Output {
    fn writer(&mut self, stamp: StampNs) -> Result<&mut FrameWriter, RecordingError> {
        match self {
            Output::File(file) => file.writer(stamp),
            Output::Ring(ring) => ring.writer(stamp),
        }
    }

    fn flush(&mut self) -> Result<(), RecordingError> {
        match self {
            Output::File(file) => file.writer.flush(),
            Output::Ring(ring) => ring.flush(),
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
        if let Some(config) = messages::config_file(&origin.config) {
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

/// Nobody else would notice that the thread is gone.
struct TellPanic(Arc<Shared>);

impl Drop for TellPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_end(End::Failed("its thread panicked".to_owned()));
        }
    }
}

/// Of this thread alone: the kernel schedules threads, whatever POSIX says of processes.
fn be_nice() {
    let thread = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICENESS) {
        tracing::debug!(%error, "lower the priority of the recording");
    }
}

//! The recording's own thread: frames and results into files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use magpie_perception::{SharedClock, StampNs};
use magpie_recording::{
    FrameWriter, RecordingError, Results, Ring, StoredFile, WriteOptions, check_free_bytes,
};
use magpie_wire::{self as wire, Reason};

use super::queue::{End, FrameItem, Item, ModelOrigin, Origin, REASON_SHOWN_NS, Shared};
use crate::config::FileLimits;
use crate::scheduling::give_way;

/// Takes items from the queue and writes them, in the recording's thread.
///
/// ```text
///  writing ------- error -------> stopped -- a run for the sake of the recording --> ended
///     ^                             |
///     +---- a file can be written --+  tried again every RETRY_PERIOD
/// ```
pub(super) struct Writer {
    pub(super) origin: Origin,
    pub(super) target: Target,
    /// `None` until there is something to write to; after an error, what could not be written.
    pub(super) output: Option<Output>,
    pub(super) keep_on_score_below: Option<f32>,
    pub(super) shared: Arc<Shared>,
    pub(super) clock: SharedClock,
    /// Frames that are missing before the next one, and that no file mentions yet.
    pub(super) missing: u64,
    /// Why they are missing.
    pub(super) missing_because: &'static str,
    /// The stamp of the last frame that was taken from the queue.
    pub(super) newest: StampNs,
    /// How far Unix time is ahead of the stamps that come, in the file that is written.
    pub(super) unix_ahead_ns: i64,
}

/// What is written to, and how it is opened anew after an error.
pub(super) enum Target {
    /// One file, with which the run ends.
    File,
    Ring(OpenRing),
}

/// Opens the ring of files of an origin.
pub(super) type OpenRing = Box<dyn Fn(&Origin) -> Result<Ring, RecordingError> + Send>;

/// The file, or the ring of files, that is written.
pub(super) enum Output {
    File(Box<FileOutput>),
    Ring(Box<Ring>),
}

impl Writer {
    pub(super) fn run(mut self, receiver: Receiver<Item>) {
        give_way();
        let _guard = PanicGuard(Arc::clone(&self.shared));
        loop {
            if self.output.is_some() {
                match self.write_all(&receiver) {
                    Ok(end) => return self.finish(end),
                    Err(error) => self.fail(error),
                }
            }
            if !self.wait_until_writable(&receiver) {
                return self.note_end(&receiver);
            }
        }
    }

    /// Writes until every sender is gone, or the recording is full.
    fn write_all(&mut self, receiver: &Receiver<Item>) -> Result<Option<End>, RecordingError> {
        let mut now = StampNs(0);
        loop {
            let item = match receiver.recv_timeout(QUIET) {
                Ok(item) => item,
                Err(RecvTimeoutError::Timeout) => {
                    self.output().flush()?;
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            self.shared.queued.fetch_sub(1, Ordering::Relaxed);
            match item {
                Item::Frame(mut item) => {
                    self.missing += item.missed_before;
                    now = item.handed_over;
                    if let Err(error) = self.write_frame(&mut item) {
                        self.lose(1);
                        return Err(error);
                    }
                    self.shared.frames.fetch_add(1, Ordering::Relaxed);
                }
                Item::Status { mut status, sent, unix_ahead_ns } => {
                    self.follow(unix_ahead_ns)?;
                    now = sent;
                    let stamp = self.written(sent);
                    status.sent_ns = stamp.0;
                    self.output().writer(stamp)?.write_status(stamp, &status)?;
                }
                Item::Outcome { reported, unix_ahead_ns } => {
                    now = reported.at;
                    let written = self.follow(unix_ahead_ns).and_then(|()| {
                        let stamp = self.written(reported.at);
                        self.output().writer(stamp)?.write_outcome(stamp, &reported.message)
                    });
                    if written.is_err() {
                        self.shared.outcomes_lost.fetch_add(1, Ordering::Relaxed);
                    }
                    written?;
                }
            }
            // The item is written first, so that what is kept shows why it is kept.
            self.keep_if_wanted(now)?;
            let written_now = self.written(now);
            if self.output().is_full(written_now) {
                return Ok(Some(End::Full));
            }
        }
        self.note_rest()?;
        self.keep_if_wanted(now)?;
        Ok(None)
    }

    fn output(&mut self) -> &mut Output {
        self.output.as_mut().expect("only what has an output is written")
    }

    fn finish(self, end: Option<End>) {
        let finished = self.output.map_or(Ok(()), Output::finish);
        match (finished, end) {
            (Ok(()), None) => {}
            (Ok(()), Some(end)) => self.shared.set_end(end),
            (Err(error), _) => {
                self.shared.fail(error, self.clock.as_ref(), matches!(self.target, Target::File));
            }
        }
    }

    fn fail(&mut self, error: RecordingError) {
        self.missing_because = BROKEN;
        self.shared.fail(error, self.clock.as_ref(), matches!(self.target, Target::File));
    }

    /// Frames that were taken from the queue and are in no file.
    fn lose(&mut self, frames: u64) {
        self.missing += frames;
        self.shared.note_lost(frames);
    }

    /// Takes and counts what comes, until the ring can be written again. `false`: every sender is gone,
    /// or the run ends with this recording.
    fn wait_until_writable(&mut self, receiver: &Receiver<Item>) -> bool {
        let stopped = self.clock.now();
        let mut tried = stopped;
        loop {
            let Target::Ring(open) = &self.target else { return false };
            if self.clock.now().since_ns(tried) >= RETRY_PERIOD_NS {
                tried = self.clock.now();
                // The ring that is there spares the file that broke: it shows what came before.
                let ready = match &self.output {
                    Some(Output::Ring(ring)) => ring.check_writable(),
                    _ => open(&self.origin).and_then(|ring| {
                        ring.check_writable()?;
                        self.output = Some(Output::Ring(Box::new(ring)));
                        Ok(())
                    }),
                };
                match ready {
                    Ok(()) => {
                        // That file is closed as well as it can be, and another one begun.
                        if let Err(error) = self.output().cut() {
                            tracing::debug!(%error, "close the file that could not be written");
                        }
                        self.shared.resume();
                        let stopped_s = tried.since_ns(stopped) / 1_000_000_000;
                        let frames = self.shared.frames_unnoted.load(Ordering::Relaxed);
                        tracing::info!(frames_missing = frames, stopped_s, "recording goes on");
                        return true;
                    }
                    Err(error) => tracing::debug!(%error, "try to go on with the recording"),
                }
            }
            match receiver.recv_timeout(QUIET) {
                Ok(item) => {
                    self.shared.queued.fetch_sub(1, Ordering::Relaxed);
                    self.lose_item(&item);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn lose_item(&mut self, item: &Item) {
        match item {
            Item::Frame(item) => {
                self.note_model(item.model.as_deref());
                self.newest = item.frame.stamp;
                // Those are counted already.
                self.missing += item.missed_before;
                self.lose(1);
            }
            // It comes again.
            Item::Status { .. } => {}
            Item::Outcome { .. } => {
                self.shared.outcomes_lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A file has one time: where the clock was set, a ring goes on in a new file, and a recording
    /// in one file on the time that it began with.
    fn follow(&mut self, unix_ahead_ns: i64) -> Result<(), RecordingError> {
        if self.unix_ahead_ns != unix_ahead_ns && self.output().cut()? {
            self.unix_ahead_ns = unix_ahead_ns;
        }
        Ok(())
    }

    /// What follows is another model's. `false`: it is not.
    fn note_model(&mut self, model: Option<&ModelOrigin>) -> bool {
        let Some(ModelOrigin { identities, info }) = model.cloned() else { return false };
        if let Some(Output::Ring(ring)) = &mut self.output {
            ring.set_info(info.clone());
        }
        (self.origin.identities, self.origin.info) = (identities, info);
        true
    }

    fn written(&self, stamp: StampNs) -> StampNs {
        StampNs(stamp.unix_ns(self.unix_ahead_ns))
    }

    fn write_frame(&mut self, item: &mut FrameItem) -> Result<(), RecordingError> {
        self.follow(item.unix_ahead_ns)?;
        // A file says once which model it was made with; a single file goes on, and each of its results
        // says it too.
        if self.note_model(item.model.take().as_deref()) {
            self.output().cut()?;
        }
        self.newest = item.frame.stamp;
        item.frame.stamp = self.written(item.frame.stamp);
        let FrameItem { frame, report, .. } = &*item;
        let message = self.to_wire(item);
        let results = Results {
            message: &message,
            packages: &report.packages,
            class_names: &self.origin.identities.class_names,
        };
        let writer = self
            .output
            .as_mut()
            .expect("only what has an output is written")
            .writer(frame.stamp)?;
        if self.missing > 0 {
            writer.note_gap(frame.stamp, self.missing, self.missing_because)?;
            self.shared.frames_unnoted.fetch_sub(self.missing, Ordering::Relaxed);
            (self.missing, self.missing_because) = (0, TOO_SLOW);
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
        let (newest, because) = (self.written(self.newest), self.missing_because);
        self.output().writer(newest)?.note_gap(newest, rest, because)
    }

    /// Writes down what an error cost, where no later file can say it. Where it cannot be written
    /// either, the file is not closed, which says as much.
    fn note_end(&mut self, receiver: &Receiver<Item>) {
        for item in receiver.try_iter() {
            self.lose_item(&item);
        }
        let missing = self.shared.frames_unnoted.load(Ordering::Relaxed);
        let newest = self.written(self.newest);
        let writer = self.output.as_mut().and_then(Output::current).filter(|_| missing > 0);
        let Some(writer) = writer else { return };
        let noted = writer.note_gap(newest, missing, BROKEN).and_then(|()| writer.flush());
        if let Err(error) = noted {
            tracing::debug!(%error, missing, "write down what is missing");
        }
    }

    fn keep_if_wanted(&mut self, now: StampNs) -> Result<(), RecordingError> {
        let Some(Output::Ring(ring)) = &mut self.output else { return Ok(()) };
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
/// A ring that could not be written is tried again so often.
const RETRY_PERIOD_NS: u64 = 2_000_000_000;
pub(super) const TOO_SLOW: &str = "they came faster than they could be written";
const BROKEN: &str = "the recording stopped with an error";

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

//! Reads frames from an MCAP file.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use magpie_perception::{
    BgrImage, DepthImage, Frame, FrameSource, Scene, SharedClock, SourceError, StampNs,
    StampSource, Tool,
};

use crate::choice::{ReadOptions, choose};
use crate::coding::{decode_color, decode_depth};
use crate::frames::{Losses, Selection, StoredFrame, StoredFrames};
use crate::pixels::{CameraBits, DepthUnit};
use crate::playback::{Pace, Playback, Position, StopHandle, Timeline};
use crate::schema::{COLOR_TOPIC, DEPTH_TOPIC, read_gaps};
use crate::storage::Storage;
use crate::{RecordingError, RecordingInfo};

/// Plays one recording, as a [`FrameSource`].
pub struct FrameReader {
    name: String,
    info: RecordingInfo,
    /// What was chosen of a recording of others.
    chosen: Option<String>,
    /// What of that makes results doubtful.
    doubt: Option<String>,
    depth_unit: DepthUnit,
    camera_bits: CameraBits,
    frames: StoredFrames,
    playback: Playback,
    stop: StopHandle,
    timeline: Timeline,
    /// When the first frame became due.
    started: Option<StampNs>,
    /// The frame after the last one, read ahead to learn whether it is due already.
    ahead: Option<TimedFrame>,
}

struct TimedFrame {
    position: Position,
    stored: StoredFrame,
}

impl FrameReader {
    pub fn open(path: &Path, playback: Playback) -> Result<FrameReader, RecordingError> {
        FrameReader::open_with(path, playback, &ReadOptions::default())
    }

    /// Reads a recording of others as they say.
    pub fn open_with(
        path: &Path,
        playback: Playback,
        options: &ReadOptions,
    ) -> Result<FrameReader, RecordingError> {
        FrameReader::new(path.display().to_string(), Storage::open(path)?, playback, options)
    }

    /// A recording in memory; `name` is for messages.
    pub fn from_bytes(
        name: &str,
        bytes: impl AsRef<[u8]> + Send + 'static,
        playback: Playback,
    ) -> Result<FrameReader, RecordingError> {
        let storage = Storage::scan(name, Box::new(Cursor::new(bytes)))?;
        FrameReader::new(name.to_owned(), storage, playback, &ReadOptions::default())
    }

    fn new(
        name: String,
        mut file: Storage,
        playback: Playback,
        options: &ReadOptions,
    ) -> Result<FrameReader, RecordingError> {
        let own = RecordingInfo::from_records(&name, file.metadata())?;
        let (selection, info, chosen, doubt) = match own {
            Some(info) if *options == ReadOptions::default() && is_as_written(&mut file) => {
                (Selection::ours(), info, None, None)
            }
            Some(_) if options.base_frame_id.is_some() => {
                return Err(RecordingError::BaseKnown { name });
            }
            own => {
                let mut choice = choose(&name, &mut file, options)?;
                choice.selection.is_numbered = own.is_some();
                let info = own.unwrap_or_else(|| choice.info());
                (choice.selection, info, Some(choice.told), choice.doubt)
            }
        };
        let frames_unrecorded = read_gaps(&name, file.metadata())?;
        Ok(FrameReader {
            name,
            info,
            chosen,
            doubt,
            depth_unit: DepthUnit { said_m: options.depth_unit_m },
            camera_bits: CameraBits::default(),
            frames: StoredFrames::new(file, selection, frames_unrecorded),
            playback,
            stop: StopHandle::default(),
            timeline: Timeline::default(),
            started: None,
            ahead: None,
        })
    }

    pub fn info(&self) -> &RecordingInfo {
        &self.info
    }

    /// `None` if the recording was made without a calibration.
    pub fn scene(&self) -> Option<&Scene> {
        self.info.scene.as_ref()
    }

    /// Says with which tool to plan in a recording of others, which does not tell; one of our own does.
    pub fn use_tool(&mut self, tool: &Tool) {
        if let Some(scene) = self.info.scene.as_mut().filter(|_| self.chosen.is_some()) {
            scene.tool.clone_from(tool);
        }
    }

    /// Which topics of a recording of others were chosen, in one line; `None` of our own.
    pub fn chosen(&self) -> Option<&str> {
        self.chosen.as_deref()
    }

    /// What of the choice makes results doubtful.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }

    /// What could not be read so far.
    pub fn losses(&self) -> Losses {
        self.frames.losses()
    }

    /// How the colour read so far was coded, if that changed it, for example `jpeg, quality 80`.
    pub fn lossy_coding(&self) -> Option<&str> {
        self.frames.lossy_coding.as_deref()
    }

    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// A file stored beside the frames; `Ok(None)` if there is none of that name.
    pub fn attachment(&mut self, attachment: &str) -> Result<Option<Vec<u8>>, RecordingError> {
        let name = self.name.clone();
        match self.frames.file_mut().attachment(attachment) {
            Ok(None) => Ok(None),
            Ok(Some(Some(data))) => Ok(Some(data)),
            Ok(Some(None)) => {
                Err(RecordingError::Attachment { name, attachment: attachment.to_owned() })
            }
            Err(source) => Err(RecordingError::Open { name, source }),
        }
    }

    /// The next frame whose recorded stamp is wanted, whatever the pace; those before it are not
    /// decoded. `Ok(None)` at the end.
    pub fn next_wanted(
        &mut self,
        is_wanted: impl Fn(StampNs) -> bool,
    ) -> Result<Option<Frame>, RecordingError> {
        while let Some(frame) = self.take_next()? {
            if is_wanted(frame.stored.stamp) {
                return self.decode(frame, self.timeline.first_stamp()).map(Some);
            }
        }
        Ok(None)
    }

    fn next(&mut self) -> Result<Option<Frame>, RecordingError> {
        if self.stop.wait(Duration::ZERO) {
            return Ok(None);
        }
        match self.playback.pace.clone() {
            Pace::AsAsked => {
                let Some(frame) = self.take_next()? else { return Ok(None) };
                self.decode(frame, self.timeline.first_stamp()).map(Some)
            }
            Pace::AsRecorded { clock, restamp } => {
                let Some(frame) = self.take_due(&clock)? else { return Ok(None) };
                let recorded = self.timeline.first_stamp();
                let started = self.started.filter(|_| restamp).unwrap_or(recorded);
                self.decode(frame, started).map(Some)
            }
        }
    }

    /// The newest frame that is due; waits if none is. `Ok(None)` at the end or once stopped.
    fn take_due(&mut self, clock: &SharedClock) -> Result<Option<TimedFrame>, RecordingError> {
        let Some(mut frame) = self.take_next()? else { return Ok(None) };
        let started = *self.started.get_or_insert_with(|| clock.now());
        let elapsed_ns = clock.now().since_ns(started);
        while let Some(ahead) = self.take_next()? {
            if ahead.position.elapsed_ns > elapsed_ns {
                self.ahead = Some(ahead);
                break;
            }
            frame = ahead;
        }
        loop {
            let wait_ns = frame.position.elapsed_ns.saturating_sub(clock.now().since_ns(started));
            if wait_ns == 0 {
                return Ok(Some(frame));
            }
            if self.stop.wait(Duration::from_nanos(wait_ns)) {
                return Ok(None);
            }
        }
    }

    /// The next frame in order; the recording begins again at its end where `looped` asks for it.
    fn take_next(&mut self) -> Result<Option<TimedFrame>, RecordingError> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        loop {
            if let Some(stored) = self.frames.next()? {
                let position = self.timeline.position(stored.sequence, stored.stamp)?;
                return Ok(Some(TimedFrame { position, stored }));
            }
            if self.timeline.is_round_empty() {
                let is_empty = self.frames.is_empty();
                return Err(if is_empty {
                    RecordingError::Empty
                } else {
                    RecordingError::NoFrames
                });
            }
            if !self.playback.looped {
                return Ok(None);
            }
            self.timeline.next_round(self.elapsed_ns());
            self.frames.rewind();
        }
    }

    fn elapsed_ns(&self) -> u64 {
        match (&self.playback.pace, self.started) {
            (Pace::AsRecorded { clock, .. }, Some(started)) => clock.now().since_ns(started),
            _ => 0,
        }
    }

    fn decode(&mut self, frame: TimedFrame, started: StampNs) -> Result<Frame, RecordingError> {
        let TimedFrame { position, stored } = frame;
        let sequence = stored.sequence;
        let undecodable =
            |what| move |source| RecordingError::Undecodable { what, sequence, source };
        let (schema, data) = (stored.color.schema_name(), &stored.color.data);
        let color: BgrImage =
            decode_color(schema, data, &mut self.camera_bits).map_err(undecodable("color"))?;
        let depth: Option<DepthImage> = stored
            .depth
            .map(|depth| decode_depth(depth.schema_name(), &depth.data, self.depth_unit))
            .transpose()
            .map_err(undecodable("depth"))?;
        let frame = Frame {
            sequence: position.sequence,
            stamp: started + Duration::from_nanos(position.elapsed_ns),
            stamp_source: StampSource::Recorded,
            color,
            depth,
        };
        check_sizes(&frame, self.scene())?;
        Ok(frame)
    }
}

impl FrameSource for FrameReader {
    fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        self.next()
            .map_err(|source| SourceError { from: self.name.clone(), source: Box::new(source) })
    }
}

/// Refuses a frame whose depth image or calibration is for another size than its color image.
pub(crate) fn check_sizes(frame: &Frame, scene: Option<&Scene>) -> Result<(), RecordingError> {
    let (width_px, height_px) = (frame.color.width_px(), frame.color.height_px());
    let depth = frame.depth.as_ref().map(|depth| ("depth", depth.width_px(), depth.height_px()));
    let calibration = scene.map(|Scene { camera_info, .. }| {
        ("calibration", camera_info.width_px, camera_info.height_px)
    });
    for (other, other_width_px, other_height_px) in depth.into_iter().chain(calibration) {
        if (other_width_px, other_height_px) != (width_px, height_px) {
            return Err(RecordingError::SizeMismatch {
                what: "color",
                sequence: frame.sequence,
                width_px,
                height_px,
                other,
                other_width_px,
                other_height_px,
            });
        }
    }
    Ok(())
}

/// Whether the channel of color still says that depth belongs to it: tools that write a file anew may
/// leave that out.
fn is_as_written(file: &mut Storage) -> bool {
    // A file without summary names its channels only inside its chunks.
    if file.topics().is_empty() && file.chunks() > 0 {
        drop(file.messages(0));
    }
    // Frames without depth have a channel of their own.
    let color = file.channels_of(COLOR_TOPIC);
    !file.topics().contains(DEPTH_TOPIC)
        || color.is_empty()
        || color.iter().any(|channel| channel.metadata.contains_key("depth"))
}

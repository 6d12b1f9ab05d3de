//! Writes frames, and the results of processing them, into an MCAP file.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foxglove::Encode;
use foxglove::messages::Log;
use foxglove::messages::log::Level;
use magpie_perception::{BoxError, Frame, Packages, StampNs, StampSource};
use magpie_wire as wire;
use mcap::records::{MessageHeader, Metadata};
use mcap::{Attachment, Compression, McapError};
use prost::Message;

use crate::coding::{ColorCoding, DepthCoding, ImageMessage, encode_color, encode_depth};
use crate::results::{OUTCOMES_CHANNEL, PACKAGES_CHANNEL, STATUS_CHANNEL, WireChannel};
use crate::schema::{
    ANNOTATIONS_TOPIC, CAMERA_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC, Fields, GAPS_RECORD,
    GRASPS_TOPIC, LOG_TOPIC, RecordingInfo, SCENE_TOPIC, TF_TOPIC, gaps_fields,
};
use crate::sink::Sink;
use crate::views::{
    annotations, camera_calibration, frame_transform, grasp_poses, scene_update, timestamp,
};
use crate::{RecordingError, reader};

/// What a recording costs, and what a kill may cost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    pub color: ColorCoding,
    pub depth: DepthCoding,
    /// A chunk is closed when it spans this much time. A kill can lose one chunk.
    pub chunk_ns_max: u64,
    /// A chunk is closed when it holds this much before compression, which bounds the memory.
    pub chunk_bytes_max: usize,
}

impl Default for WriteOptions {
    fn default() -> WriteOptions {
        WriteOptions {
            color: ColorCoding::default(),
            depth: DepthCoding::default(),
            chunk_ns_max: 500_000_000,
            chunk_bytes_max: 4 << 20,
        }
    }
}

/// A file to be stored beside the frames, for example the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    pub name: String,
    pub media_type: String,
    pub data: Vec<u8>,
}

impl StoredFile {
    /// The configuration as the operator wrote it; `None` where there was none.
    pub fn config(toml: &str) -> Option<StoredFile> {
        (!toml.is_empty()).then(|| StoredFile {
            name: "magpie.toml".to_owned(),
            media_type: "application/toml".to_owned(),
            data: toml.as_bytes().to_vec(),
        })
    }
}

/// The results of one frame.
#[derive(Clone, Copy, Debug)]
pub struct Results<'a> {
    /// The result as it was published.
    pub message: &'a wire::Packages,
    /// The same packages, from which the views are drawn.
    pub packages: &'a Packages,
    /// The name of each class id.
    pub class_names: &'a [String],
}

/// Writes one recording under its final name. Whatever ends the process, the chunks closed before
/// it can be read; [`FrameWriter::finish`] adds the summary that makes seeking fast.
pub struct FrameWriter {
    path: PathBuf,
    info: RecordingInfo,
    options: WriteOptions,
    mcap: mcap::Writer<BufWriter<Sink>>,
    bytes: Arc<AtomicU64>,
    stamp_last: Option<StampNs>,
    chunk: OpenChunk,
    frames: u64,
    frames_unrecorded: u64,
    /// So many of them are noted outside the chunks.
    frames_unrecorded_noted: u64,
}

/// What [`FrameWriter`] has put into the chunk it is filling.
#[derive(Default)]
struct OpenChunk {
    stamp_first: Option<StampNs>,
    bytes: usize,
}

impl FrameWriter {
    /// Refuses a name that is taken.
    pub fn create(
        path: &Path,
        info: RecordingInfo,
        options: WriteOptions,
    ) -> Result<FrameWriter, RecordingError> {
        let path = path.to_owned();
        let file = File::create_new(&path);
        let file = file.map_err(|source| RecordingError::of_creation(path.clone(), source))?;
        let sink = Sink::new(file);
        let bytes = sink.bytes();
        let mcap = mcap_options()
            .create(BufWriter::new(sink))
            .map_err(|source| write_error(&path, source.into()))?;
        let mut writer = FrameWriter {
            path,
            info,
            options,
            mcap,
            bytes,
            stamp_last: None,
            chunk: OpenChunk::default(),
            frames: 0,
            frames_unrecorded: 0,
            frames_unrecorded_noted: 0,
        };
        writer.write_info().map_err(|source| write_error(&writer.path, source.into()))?;
        Ok(writer)
    }

    fn write_info(&mut self) -> Result<(), McapError> {
        for (name, metadata) in self.info.to_records() {
            self.mcap.write_metadata(&Metadata { name: name.to_owned(), metadata })?;
        }
        self.mcap.flush()
    }

    /// Adds one frame. Frames come oldest first, all of the calibration's size.
    pub fn write(&mut self, frame: &Frame) -> Result<(), RecordingError> {
        self.write_whole(frame, None)
    }

    /// Adds one frame with its results.
    pub fn write_processed(
        &mut self,
        frame: &Frame,
        results: &Results<'_>,
    ) -> Result<(), RecordingError> {
        self.write_whole(frame, Some(results))
    }

    fn write_whole(
        &mut self,
        frame: &Frame,
        results: Option<&Results<'_>>,
    ) -> Result<(), RecordingError> {
        reader::check_sizes(frame, self.info.scene.as_ref())?;
        if let Some(previous) = self.stamp_last.filter(|previous| frame.stamp < *previous) {
            return Err(RecordingError::WriteBackwards {
                sequence: frame.sequence,
                stamp_ns: frame.stamp.0,
                previous_ns: previous.0,
            });
        }
        self.write_messages(frame, results).map_err(|source| write_error(&self.path, source))?;
        self.stamp_last = Some(frame.stamp);
        self.frames += 1;
        if self.is_chunk_full(frame.stamp) { self.flush() } else { Ok(()) }
    }

    /// Adds what the daemon said about itself. A status belongs to no frame.
    pub fn write_status(
        &mut self,
        stamp: StampNs,
        status: &wire::Status,
    ) -> Result<(), RecordingError> {
        self.write_beside(&STATUS_CHANNEL, stamp, status)
    }

    /// Adds what was reported of a pick, whose result was some frames ago.
    pub fn write_outcome(
        &mut self,
        stamp: StampNs,
        outcome: &wire::PickOutcome,
    ) -> Result<(), RecordingError> {
        self.write_beside(&OUTCOMES_CHANNEL, stamp, outcome)
    }

    /// Adds what belongs to no frame.
    fn write_beside(
        &mut self,
        channel: &WireChannel,
        stamp: StampNs,
        message: &impl Message,
    ) -> Result<(), RecordingError> {
        let written = self.write_wire(channel, 0, stamp, message);
        written.map_err(|source| write_error(&self.path, source.into()))?;
        self.chunk.stamp_first.get_or_insert(stamp);
        if self.is_chunk_full(stamp) { self.flush() } else { Ok(()) }
    }

    /// Notes that `frames` frames are missing here, and why.
    pub fn note_gap(
        &mut self,
        stamp: StampNs,
        frames: u64,
        why: &str,
    ) -> Result<(), RecordingError> {
        self.frames_unrecorded += frames;
        let log = Log {
            timestamp: Some(timestamp(stamp)),
            level: Level::Warning.into(),
            message: format!("{frames} frames are missing before this: {why}"),
            name: "magpie recording".to_owned(),
            ..Log::default()
        };
        let written = self.write_message_of(LOG_TOPIC, &Fields::new(), 0, stamp, &log);
        written.map_err(|source| write_error(&self.path, source.into()))
    }

    /// Frames written so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Size of the file so far, without the open chunk.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the open chunk: what was written so far survives a kill.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        self.chunk = OpenChunk::default();
        self.flush_all().map_err(|source| write_error(&self.path, source.into()))
    }

    /// The sum of all gaps goes beside the chunks, where a reader finds it without unpacking them.
    fn flush_all(&mut self) -> Result<(), McapError> {
        if self.frames_unrecorded_noted != self.frames_unrecorded {
            let metadata = gaps_fields(self.frames_unrecorded);
            self.mcap.write_metadata(&Metadata { name: GAPS_RECORD.to_owned(), metadata })?;
            self.frames_unrecorded_noted = self.frames_unrecorded;
        }
        self.mcap.flush()
    }

    /// Stores a file beside the frames, for example the configuration.
    pub fn attach(&mut self, stored: &StoredFile) -> Result<(), RecordingError> {
        let StoredFile { name, media_type, data } = stored;
        let stamp_ns = self.stamp_last.unwrap_or_default().0;
        let attachment = Attachment {
            log_time: stamp_ns,
            create_time: stamp_ns,
            name: name.clone(),
            media_type: media_type.clone(),
            data: Cow::Borrowed(data),
        };
        let attached = self.mcap.attach(&attachment);
        attached.map_err(|source| write_error(&self.path, source.into()))?;
        self.flush()
    }

    /// Writes the summary and waits until everything is on the disk.
    pub fn finish(mut self) -> Result<(), RecordingError> {
        let finished = self.flush_all().and_then(|()| self.mcap.finish()).map_err(BoxError::from);
        let synced = finished.and_then(|_summary| {
            let sink = self.mcap.into_inner().into_inner()?;
            Ok(sink.sync_all()?)
        });
        synced.map_err(|source| write_error(&self.path, source))
    }

    fn write_messages(
        &mut self,
        frame: &Frame,
        results: Option<&Results<'_>>,
    ) -> Result<(), BoxError> {
        if self.stamp_last.is_none() {
            self.write_cell(frame)?;
        }
        // Color last: a frame is whole, its results included, as soon as its color is there.
        if let Some(results) = results {
            self.write_results(frame, results)?;
        }
        let (stamp, frame_id) = (timestamp(frame.stamp), self.info.frame_id().to_owned());
        if let Some(depth) = &frame.depth {
            let image = encode_depth(depth, self.options.depth, stamp, &frame_id)?;
            let coding = [("coding", self.options.depth.name()), ("unit", "mm"), LOSSLESS];
            self.write_image(DEPTH_TOPIC, &fields(&coding), frame, &image)?;
        }
        let image = encode_color(&frame.color, self.options.color, stamp, &frame_id)?;
        let metadata = color_metadata(self.options.color, frame);
        self.write_image(COLOR_TOPIC, &metadata, frame, &image)?;
        self.chunk.stamp_first.get_or_insert(frame.stamp);
        Ok(())
    }

    fn write_results(&mut self, frame: &Frame, results: &Results<'_>) -> Result<(), McapError> {
        let Results { message, packages, class_names } = results;
        self.write_wire(&PACKAGES_CHANNEL, frame.sequence, frame.stamp, *message)?;
        let drawn = annotations(packages, class_names);
        self.write_message_of_frame(ANNOTATIONS_TOPIC, &Fields::new(), frame, &drawn)?;
        let frame_id = self.info.frame_id_of(packages.reference_frame).to_owned();
        let poses = grasp_poses(packages, &frame_id);
        self.write_message_of_frame(GRASPS_TOPIC, &Fields::new(), frame, &poses)?;
        let Some(scene) = &self.info.scene else { return Ok(()) };
        let drawn = scene_update(packages, class_names, scene, &frame_id);
        self.write_message_of_frame(SCENE_TOPIC, &Fields::new(), frame, &drawn)
    }

    /// Writes the calibration and the camera's pose, for viewers, in a chunk of their own.
    fn write_cell(&mut self, first: &Frame) -> Result<(), McapError> {
        if let Some(scene) = self.info.scene.clone() {
            let calibration = camera_calibration(&scene.camera_info, first.stamp);
            self.write_message_of_frame(CAMERA_INFO_TOPIC, &Fields::new(), first, &calibration)?;
            let parent_frame_id = self.info.frame_id_of(scene.reference_frame());
            if let Some(transform) = frame_transform(&scene, parent_frame_id, first.stamp) {
                self.write_message_of_frame(TF_TOPIC, &Fields::new(), first, &transform)?;
            }
        }
        self.chunk = OpenChunk::default();
        self.mcap.flush()
    }

    fn write_image(
        &mut self,
        topic: &str,
        metadata: &Fields,
        frame: &Frame,
        image: &ImageMessage,
    ) -> Result<(), McapError> {
        match image {
            ImageMessage::Compressed(image) => {
                self.write_message_of_frame(topic, metadata, frame, image)
            }
            ImageMessage::Raw(image) => self.write_message_of_frame(topic, metadata, frame, image),
        }
    }

    /// Adds one message stamped as `frame` is.
    fn write_message_of_frame<T: Encode + Message>(
        &mut self,
        topic: &str,
        metadata: &Fields,
        frame: &Frame,
        message: &T,
    ) -> Result<(), McapError> {
        self.write_message_of(topic, metadata, frame.sequence, frame.stamp, message)
    }

    fn write_message_of<T: Encode + Message>(
        &mut self,
        topic: &str,
        metadata: &Fields,
        sequence: u64,
        stamp: StampNs,
        message: &T,
    ) -> Result<(), McapError> {
        let schema = T::get_schema().expect("every Foxglove message has a schema");
        let schema_id = self.mcap.add_schema(&schema.name, &schema.encoding, &schema.data)?;
        let channel_id =
            self.mcap.add_channel(schema_id, topic, &T::get_message_encoding(), metadata)?;
        self.put(channel_id, sequence, stamp, &message.encode_to_vec())
    }

    fn write_wire(
        &mut self,
        channel: &WireChannel,
        sequence: u64,
        stamp: StampNs,
        message: &impl Message,
    ) -> Result<(), McapError> {
        let WireChannel { topic, schema_name } = channel;
        let schema = wire::FILE_DESCRIPTOR_SET;
        let schema_id = self.mcap.add_schema(schema_name, "protobuf", schema)?;
        let channel_id = self.mcap.add_channel(schema_id, topic, "protobuf", &Fields::new())?;
        self.put(channel_id, sequence, stamp, &message.encode_to_vec())
    }

    fn put(
        &mut self,
        channel_id: u16,
        sequence: u64,
        stamp: StampNs,
        data: &[u8],
    ) -> Result<(), McapError> {
        let sequence = sequence_low_bits(sequence);
        let (log_time, publish_time) = (stamp.0, stamp.0);
        self.chunk.bytes += data.len();
        let header = MessageHeader { channel_id, sequence, log_time, publish_time };
        self.mcap.write_to_known_channel(&header, data)
    }

    fn is_chunk_full(&self, stamp: StampNs) -> bool {
        let opened = self.chunk.stamp_first.unwrap_or(stamp);
        stamp.since_ns(opened) >= self.options.chunk_ns_max
            || self.chunk.bytes >= self.options.chunk_bytes_max
    }
}

fn mcap_options() -> mcap::WriteOptions {
    mcap::WriteOptions::new()
        .library(concat!("magpie-recording ", env!("CARGO_PKG_VERSION")))
        .compression(Some(Compression::Zstd))
        // Files are a tenth larger than at zstd's default level, and depth takes half the time.
        .compression_level(1)
        // The calling thread compresses, because the machine's cores belong to the pipeline.
        .compression_threads(0)
        // Chunks end between frames, where this crate says so.
        .chunk_size(None)
        // A chunk reaches the file whole, in one piece, and nothing is patched afterwards.
        .disable_seeking(true)
}

const LOSSLESS: (&str, &str) = ("lossless", "true");

/// Says how the colour is coded and whether the frame is only whole with a depth image.
fn color_metadata(coding: ColorCoding, frame: &Frame) -> Fields {
    let stamp_source = match frame.stamp_source {
        StampSource::Exposure => "exposure",
        StampSource::Arrival => "arrival",
        StampSource::Recorded => "recorded",
    };
    let name = coding.name();
    let lossless = if coding.is_lossless() { "true" } else { "false" };
    let mut metadata =
        fields(&[("coding", &name), ("lossless", lossless), ("stamp_source", stamp_source)]);
    if frame.depth.is_some() {
        metadata.insert("depth".to_owned(), DEPTH_TOPIC.to_owned());
    }
    metadata
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn sequence_low_bits(sequence: u64) -> u32 {
    u32::try_from(sequence & u64::from(u32::MAX)).expect("32 bits")
}

fn write_error(path: &Path, source: BoxError) -> RecordingError {
    RecordingError::Write { path: path.to_owned(), source }
}

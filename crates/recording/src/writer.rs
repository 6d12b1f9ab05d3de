//! Frames into an MCAP file.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, ErrorKind};
use std::path::{Path, PathBuf};

use foxglove::Encode;
use magpie_perception::{BoxError, Frame, Scene, StampNs, StampSource};
use mcap::records::{MessageHeader, Metadata};
use mcap::{Attachment, Compression, McapError};
use prost::Message;

use crate::coding::{ColorCoding, DepthCoding, ImageMessage, encode_color, encode_depth};
use crate::schema::{
    CAMERA_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC, Fields, RecordingInfo, TF_TOPIC,
    camera_calibration, frame_transform, timestamp,
};
use crate::{RecordingError, reader};

/// What a recording costs, and what a kill may cost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    pub color: ColorCoding,
    pub depth: DepthCoding,
    /// A chunk is closed when it spans this much time: what a kill can lose.
    pub chunk_ns_max: u64,
    /// A chunk is closed when it holds this much before compression, so memory is bounded too.
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

/// Writes one recording under its final name. Whatever ends the process, the chunks closed before
/// it can be read; [`FrameWriter::finish`] adds the summary that makes seeking fast.
pub struct FrameWriter {
    path: PathBuf,
    info: RecordingInfo,
    options: WriteOptions,
    mcap: mcap::Writer<BufWriter<File>>,
    stamp_last: Option<StampNs>,
    chunk: OpenChunk,
    frames: u64,
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
        let file = match File::create_new(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(RecordingError::Exists { path });
            }
            Err(source) => return Err(RecordingError::Create { path, source }),
        };
        let mcap = mcap_options()
            .create(BufWriter::new(file))
            .map_err(|source| write_error(&path, source.into()))?;
        let (stamp_last, chunk, frames) = (None, OpenChunk::default(), 0);
        let mut writer = FrameWriter { path, info, options, mcap, stamp_last, chunk, frames };
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
        reader::check_sizes(frame, self.info.scene.as_ref())?;
        if let Some(previous) = self.stamp_last.filter(|previous| frame.stamp < *previous) {
            return Err(RecordingError::WriteBackwards {
                sequence: frame.sequence,
                stamp_ns: frame.stamp.0,
                previous_ns: previous.0,
            });
        }
        self.write_messages(frame).map_err(|source| write_error(&self.path, source))?;
        self.stamp_last = Some(frame.stamp);
        self.frames += 1;
        if self.is_chunk_full(frame.stamp) { self.flush() } else { Ok(()) }
    }

    /// Frames written so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Closes the open chunk: what was written so far survives a kill.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        self.chunk = OpenChunk::default();
        self.mcap.flush().map_err(|source| write_error(&self.path, source.into()))
    }

    /// Stores a file beside the frames, for example the configuration.
    pub fn attach(
        &mut self,
        name: &str,
        media_type: &str,
        data: &[u8],
    ) -> Result<(), RecordingError> {
        let stamp_ns = self.stamp_last.unwrap_or_default().0;
        let attachment = Attachment {
            log_time: stamp_ns,
            create_time: stamp_ns,
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            data: Cow::Borrowed(data),
        };
        let attached = self.mcap.attach(&attachment);
        attached.map_err(|source| write_error(&self.path, source.into()))?;
        self.flush()
    }

    /// Writes the summary and waits until the disk has it all.
    pub fn finish(mut self) -> Result<(), RecordingError> {
        let finished = self.mcap.finish().map_err(BoxError::from);
        let synced = finished.and_then(|_summary| {
            let file = self.mcap.into_inner().into_inner()?;
            Ok(file.sync_all()?)
        });
        synced.map_err(|source| write_error(&self.path, source))
    }

    fn write_messages(&mut self, frame: &Frame) -> Result<(), BoxError> {
        if self.stamp_last.is_none() {
            self.write_cell(frame)?;
        }
        let (stamp, frame_id) = (timestamp(frame.stamp), self.info.frame_id().to_owned());
        // Depth first: a frame is whole as soon as its color is there.
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

    /// The calibration and where the camera hangs, for viewers, in a chunk of their own.
    fn write_cell(&mut self, first: &Frame) -> Result<(), McapError> {
        if let Some(Scene { camera_info, base_from_camera, .. }) = self.info.scene.clone() {
            let calibration = camera_calibration(&camera_info, first.stamp);
            self.write_message(CAMERA_INFO_TOPIC, &Fields::new(), first, &calibration)?;
            if let Some(base_from_camera) = &base_from_camera {
                let tf = frame_transform(base_from_camera, &camera_info.frame_id, first.stamp);
                self.write_message(TF_TOPIC, &Fields::new(), first, &tf)?;
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
            ImageMessage::Compressed(image) => self.write_message(topic, metadata, frame, image),
            ImageMessage::Raw(image) => self.write_message(topic, metadata, frame, image),
        }
    }

    /// Adds the channel, unless it is there, and one message stamped as `frame` is.
    fn write_message<T: Encode + Message>(
        &mut self,
        topic: &str,
        metadata: &Fields,
        frame: &Frame,
        message: &T,
    ) -> Result<(), McapError> {
        let schema = T::get_schema().expect("every Foxglove message has a schema");
        let schema_id = self.mcap.add_schema(&schema.name, &schema.encoding, &schema.data)?;
        let encoding = T::get_message_encoding();
        let channel_id = self.mcap.add_channel(schema_id, topic, &encoding, metadata)?;
        let header = MessageHeader {
            channel_id,
            sequence: sequence_low_bits(frame.sequence),
            log_time: frame.stamp.0,
            publish_time: frame.stamp.0,
        };
        let data = message.encode_to_vec();
        self.chunk.bytes += data.len();
        self.mcap.write_to_known_channel(&header, &data)
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
        // In the calling thread: the machine's cores belong to the pipeline.
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

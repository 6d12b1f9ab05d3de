//! The channels of a recording, served live to Foxglove.
//!
//! Each viewer has a queue of its own, from which the oldest messages are dropped where it reads too
//! slowly. Nothing is encoded that nobody has subscribed to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use foxglove::messages::{
    CameraCalibration, CompressedImage, FrameTransform, ImageAnnotations, PosesInFrame, RawImage,
    SceneUpdate,
};
use foxglove::{
    Channel, Context, Encode, FoxgloveError, PartialMetadata, RawChannel, Schema,
    WebSocketServerHandle,
};
use magpie_perception::{BoxError, Frame, StampNs};
use magpie_wire as wire;
use prost::Message;

use crate::Results;
use crate::coding::{ColorCoding, DepthCoding, ImageMessage, encode_color, encode_depth};
use crate::results::{PACKAGES_CHANNEL, STATUS_CHANNEL, WireChannel};
use crate::schema::{
    ANNOTATIONS_TOPIC, CAMERA_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC, GRASPS_TOPIC, RecordingInfo,
    SCENE_TOPIC, TF_TOPIC,
};
use crate::views::{
    annotations, camera_calibration, frame_transform, grasp_poses, scene_update, timestamp,
};

/// Messages that wait for one viewer: two frames with everything that belongs to them.
const BACKLOG: usize = 16;

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
#[error("serve Foxglove at {listen}")]
pub struct LiveError {
    pub listen: SocketAddr,
    #[source]
    pub source: BoxError,
}

/// Serves what it is shown. Dropping it ends the server.
pub struct LiveViews {
    server: Option<WebSocketServerHandle>,
    /// The server and the channels find each other by it, and do not hold it.
    _context: Arc<Context>,
    info: RecordingInfo,
    jpeg_quality: u8,
    color: Channel<CompressedImage>,
    depth: Channel<RawImage>,
    camera_info: Channel<CameraCalibration>,
    transform: Channel<FrameTransform>,
    annotations: Channel<ImageAnnotations>,
    grasps: Channel<PosesInFrame>,
    scene: Channel<SceneUpdate>,
    packages: Arc<RawChannel>,
    status: Arc<RawChannel>,
}

impl LiveViews {
    /// Listens on a port of loopback that is free. Whoever connects there stays for as long as it likes:
    /// let viewers come through something that counts them. Call it within tokio's runtime, which
    /// carries the viewers.
    ///
    /// # Errors
    /// If no port can be had.
    pub async fn start(
        name: &str,
        info: RecordingInfo,
        jpeg_quality: u8,
    ) -> Result<LiveViews, LiveError> {
        // Of its own: whatever else may use Foxglove's in this process is no matter of the viewers.
        let context = Context::new();
        let mut views = LiveViews {
            server: None,
            _context: Arc::clone(&context),
            info,
            jpeg_quality,
            color: channel(&context, COLOR_TOPIC),
            depth: channel(&context, DEPTH_TOPIC),
            camera_info: channel(&context, CAMERA_INFO_TOPIC),
            transform: channel(&context, TF_TOPIC),
            annotations: channel(&context, ANNOTATIONS_TOPIC),
            grasps: channel(&context, GRASPS_TOPIC),
            scene: channel(&context, SCENE_TOPIC),
            packages: wire_channel(&context, &PACKAGES_CHANNEL),
            status: wire_channel(&context, &STATUS_CHANNEL),
        };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = context
            .websocket_server()
            .name(format!("magpie {name}"))
            .bind(listen.ip().to_string(), listen.port())
            .message_backlog_size(BACKLOG)
            .start()
            .await
            .map_err(|error| LiveError { listen, source: cause(error) })?;
        views.server = Some(server);
        Ok(views)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        let port = self.server.as_ref().map_or(0, WebSocketServerHandle::port);
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// How many viewers are connected.
    pub fn viewers(&self) -> usize {
        self.server.as_ref().map_or(0, WebSocketServerHandle::client_count)
    }

    /// Shows a frame and its results to those who have subscribed to them.
    ///
    /// # Errors
    /// If a picture cannot be encoded; everything else is shown.
    pub fn show(&self, frame: &Frame, results: &Results<'_>) -> Result<(), BoxError> {
        let Results { message, packages, class_names } = results;
        let stamp = frame.stamp;
        log_wire(&self.packages, stamp, *message);
        let frame_id = self.info.frame_id_of(packages.reference_frame);
        log(&self.annotations, stamp, || Some(annotations(packages, class_names)));
        log(&self.grasps, stamp, || Some(grasp_poses(packages, frame_id)));
        if let Some(scene) = &self.info.scene {
            log(&self.scene, stamp, || Some(scene_update(packages, class_names, scene, frame_id)));
            // Whoever came late needs them, too.
            log(&self.camera_info, stamp, || Some(camera_calibration(&scene.camera_info, stamp)));
            let parent = self.info.frame_id_of(scene.reference_frame());
            log(&self.transform, stamp, || frame_transform(scene, parent, stamp));
        }
        self.show_images(frame)
    }

    fn show_images(&self, frame: &Frame) -> Result<(), BoxError> {
        let (at, frame_id) = (timestamp(frame.stamp), self.info.frame_id());
        if let Some(depth) = frame.depth.as_ref().filter(|_| self.depth.has_sinks())
            && let ImageMessage::Raw(image) = encode_depth(depth, DepthCoding::Raw, at, frame_id)?
        {
            log(&self.depth, frame.stamp, || Some(image));
        }
        if self.color.has_sinks() {
            let coding = ColorCoding::Jpeg { quality: self.jpeg_quality };
            let image = encode_color(&frame.color, coding, at, frame_id)?;
            if let ImageMessage::Compressed(image) = image {
                log(&self.color, frame.stamp, || Some(image));
            }
        }
        Ok(())
    }

    /// Shows what the daemon says about itself.
    pub fn show_status(&self, status: &wire::Status) {
        log_wire(&self.status, StampNs(status.sent_ns), status);
    }
}

impl Drop for LiveViews {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // Viewers see the connection end at once.
            drop(server.stop());
        }
    }
}

fn channel<T: Encode>(context: &Arc<Context>, topic: &str) -> Channel<T> {
    context.channel_builder(topic).build()
}

fn wire_channel(context: &Arc<Context>, channel: &WireChannel) -> Arc<RawChannel> {
    let schema = Schema::new(channel.schema_name, "protobuf", wire::FILE_DESCRIPTOR_SET);
    let built = context.channel_builder(channel.topic).message_encoding("protobuf").schema(schema);
    built.build_raw().expect("a channel with a schema and an encoding")
}

fn log<T: Encode>(channel: &Channel<T>, stamp: StampNs, message: impl FnOnce() -> Option<T>) {
    if channel.has_sinks()
        && let Some(message) = message()
    {
        channel.log_with_meta(&message, at(stamp));
    }
}

fn log_wire(channel: &RawChannel, stamp: StampNs, message: &impl Message) {
    if channel.has_sinks() {
        channel.log_with_meta(&message.encode_to_vec(), at(stamp));
    }
}

fn at(stamp: StampNs) -> PartialMetadata {
    PartialMetadata { log_time: Some(stamp.0) }
}

fn cause(error: FoxgloveError) -> BoxError {
    match error {
        FoxgloveError::Bind(error) => error.into(),
        error => error.into(),
    }
}

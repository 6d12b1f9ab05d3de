//! Everything that a cell says to ROS 2.

use magpie_perception::Scene;
use magpie_wire as wire;

use crate::convert::{
    camera_info, detections_2d, detections_3d, diagnostics, grasps, labels, picture, tf_static,
};
use crate::graph::Qos;
use crate::messages::{
    CameraInfo, CompressedImage, Detection2DArray, Detection3DArray, DiagnosticArray, Image,
    Message, PoseArray, TFMessage,
};
use crate::node::{JoinError, Node, NodeOptions, Publisher, Rival, Rivals, TellError};

/// What is constant about the cell.
#[derive(Clone, Debug)]
pub struct CellFrames {
    /// `None` without a calibration: no lens, no transform, and nothing in space.
    pub scene: Option<Scene>,
    pub camera_frame_id: String,
    /// The parent of the camera: the base, or the gripper where it is on the arm.
    pub reference_frame_id: String,
}

/// A frame's result, and its picture if it is wanted.
pub struct ResultToTell<'a> {
    pub message: &'a wire::Packages,
    pub jpeg: Option<Vec<u8>>,
}

/// The cell's node with all its publishers.
pub struct Output {
    cell: CellFrames,
    detections_2d: Publisher<Detection2DArray>,
    detections_3d: Publisher<Detection3DArray>,
    grasps: Publisher<PoseArray>,
    labels: Publisher<Image>,
    picture: Publisher<CompressedImage>,
    camera_info: Publisher<CameraInfo>,
    tf_static: Publisher<TFMessage>,
    diagnostics: Publisher<DiagnosticArray>,
    rivals: Rivals,
    /// The last: publishers go before it.
    node: Node,
}

impl Output {
    /// Blocks for up to two seconds where no router answers.
    ///
    /// # Errors
    /// If none does.
    pub fn join(options: &NodeOptions, cell: CellFrames) -> Result<Output, JoinError> {
        let mut node = Node::join(options)?;
        Ok(Output {
            cell,
            detections_2d: node.publisher("detections_2d", Qos::Results)?,
            detections_3d: node.publisher("detections_3d", Qos::Results)?,
            grasps: node.publisher("grasps", Qos::Results)?,
            labels: node.publisher("labels", Qos::Pictures)?,
            picture: node.publisher("camera/image/compressed", Qos::Pictures)?,
            camera_info: node.publisher("camera/camera_info", Qos::Results)?,
            tf_static: node.publisher("/tf_static", Qos::Latched)?,
            diagnostics: node.publisher("/diagnostics", Qos::Reports)?,
            rivals: node.rivals()?,
            node,
        })
    }

    /// Whether the router still answers.
    pub fn is_connected(&self) -> bool {
        self.node.is_connected()
    }

    /// Another program that publishes on one of the cell's topics.
    pub fn rival(&self) -> Option<Rival> {
        self.rivals.first()
    }

    /// Whether somebody wants pictures.
    pub fn wants_pictures(&self) -> bool {
        self.picture.is_wanted()
    }

    /// Publishes what somebody has subscribed to of a result, as long as it may be acted upon by the clock
    /// that is handed in.
    ///
    /// # Errors
    /// If the session was closed.
    pub fn tell_result(
        &mut self,
        result: ResultToTell<'_>,
        now_unix_ns: impl Fn() -> u64,
    ) -> Result<(), TellError> {
        let ResultToTell { message, jpeg } = result;
        let valid_now = || Some(now_unix_ns()).filter(|now| *now <= message.valid_until_ns);
        let CellFrames { scene, camera_frame_id: camera, .. } = &self.cell;
        tell(&mut self.grasps, || grasps(message), valid_now)?;
        tell(&mut self.detections_2d, || detections_2d(message, camera), valid_now)?;
        tell(&mut self.detections_3d, || detections_3d(message, scene.as_ref()), valid_now)?;
        if let Some(scene) = scene {
            tell(&mut self.camera_info, || camera_info(scene, message.stamp_ns), valid_now)?;
        }
        if let Some(jpeg) = jpeg {
            tell(&mut self.picture, || picture(jpeg, message.stamp_ns, camera), valid_now)?;
        }
        tell(&mut self.labels, || labels(message, camera), valid_now)
    }

    /// # Errors
    /// If the session was closed.
    pub fn tell_status(&mut self, status: &wire::Status) -> Result<(), TellError> {
        self.diagnostics.publish(&diagnostics(status), status.sent_ns)
    }

    /// Where the camera is; nothing before the hand-eye calibration.
    ///
    /// # Errors
    /// If the session was closed.
    pub fn tell_place(&mut self, now_unix_ns: u64) -> Result<(), TellError> {
        let CellFrames { scene, reference_frame_id, .. } = &self.cell;
        let place =
            scene.as_ref().and_then(|scene| tf_static(scene, reference_frame_id, now_unix_ns));
        place.map_or(Ok(()), |place| self.tf_static.publish(&place, now_unix_ns))
    }
}

/// Makes a message if somebody has subscribed. Whether it is still valid is looked at when it is made,
/// which takes time.
fn tell<M: Message>(
    publisher: &mut Publisher<M>,
    make: impl FnOnce() -> M,
    valid_now: impl Fn() -> Option<u64>,
) -> Result<(), TellError> {
    if !publisher.is_wanted() {
        return Ok(());
    }
    let message = make();
    valid_now().map_or(Ok(()), |now| publisher.publish(&message, now))
}

//! The camera: its pictures, its lens, and where it is.

use magpie_perception::{CameraPlace, Scene};
use magpie_wire as wire;

use super::common::{header, quaternion};
use crate::messages::{
    CameraInfo, CompressedImage, RegionOfInterest, TFMessage, Transform, TransformStamped, Vector3,
};

/// A picture in JPEG.
pub fn picture(jpeg: Vec<u8>, stamp_unix_ns: u64, camera_frame_id: &str) -> CompressedImage {
    let header = header(stamp_unix_ns, camera_frame_id);
    CompressedImage { header, format: "jpeg".into(), data: jpeg }
}

/// The lens, as of a picture's stamp.
pub fn camera_info(scene: &Scene, stamp_unix_ns: u64) -> CameraInfo {
    let info = wire::CameraInfo::from(&scene.camera_info);
    let matrix = "as long as ROS has it";
    CameraInfo {
        header: header(stamp_unix_ns, &info.frame_id),
        height: info.height,
        width: info.width,
        distortion_model: info.distortion_model,
        d: info.d,
        k: info.k.try_into().expect(matrix),
        r: info.r.try_into().expect(matrix),
        p: info.p.try_into().expect(matrix),
        // Zeros stand for the whole picture, with every pixel of its own.
        binning_x: 0,
        binning_y: 0,
        roi: RegionOfInterest { x_offset: 0, y_offset: 0, height: 0, width: 0, do_rectify: false },
    }
}

/// Where the camera is, in the reference frame that `reference_frame_id` names; `None` before the
/// hand-eye calibration.
pub fn tf_static(scene: &Scene, reference_frame_id: &str, now_unix_ns: u64) -> Option<TFMessage> {
    let (CameraPlace::InBase(pose) | CameraPlace::InGripper(pose)) = scene.camera_place.as_ref()?;
    let t = pose.translation.vector;
    let transform = Transform {
        translation: Vector3 { x: t.x, y: t.y, z: t.z },
        rotation: quaternion(&pose.rotation),
    };
    let stamped = TransformStamped {
        header: header(now_unix_ns, reference_frame_id),
        child_frame_id: scene.camera_info.frame_id.clone(),
        transform,
    };
    Some(TFMessage { transforms: vec![stamped] })
}

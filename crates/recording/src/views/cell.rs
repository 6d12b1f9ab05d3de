//! The cell, as viewers place its images: the lens, and where the camera is.

use foxglove::messages::{CameraCalibration, FrameTransform, Quaternion, Vector3};
use magpie_perception::{CameraInfo, CameraPlace, Distortion, Intrinsics, Scene, StampNs};

use super::common::timestamp;

pub(crate) fn camera_calibration(info: &CameraInfo, stamp: StampNs) -> CameraCalibration {
    let Intrinsics { fx_px, fy_px, cx_px, cy_px } = info.intrinsics;
    CameraCalibration {
        timestamp: Some(timestamp(stamp)),
        frame_id: info.frame_id.clone(),
        width: info.width_px,
        height: info.height_px,
        // Viewers know OpenCV's fisheye lens by the name of those who described it.
        distortion_model: match info.distortion {
            Distortion::Equidistant(_) => "kannala_brandt".to_owned(),
            Distortion::Polynomial(_) => info.distortion.model().to_owned(),
        },
        d: info.distortion.coefficients().to_vec(),
        k: vec![fx_px, 0.0, cx_px, 0.0, fy_px, cy_px, 0.0, 0.0, 1.0],
        r: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p: vec![fx_px, 0.0, cx_px, 0.0, 0.0, fy_px, cy_px, 0.0, 0.0, 0.0, 1.0, 0.0],
    }
}

/// The camera's pose in the base or in the gripper; `None` before the hand-eye calibration.
pub(crate) fn frame_transform(
    scene: &Scene,
    parent_frame_id: &str,
    stamp: StampNs,
) -> Option<FrameTransform> {
    let (CameraPlace::InBase(pose) | CameraPlace::InGripper(pose)) = scene.camera_place.as_ref()?;
    let (t, q) = (pose.translation.vector, pose.rotation.coords);
    Some(FrameTransform {
        timestamp: Some(timestamp(stamp)),
        parent_frame_id: parent_frame_id.to_owned(),
        child_frame_id: scene.camera_info.frame_id.clone(),
        translation: Some(Vector3 { x: t.x, y: t.y, z: t.z }),
        rotation: Some(Quaternion { x: q.x, y: q.y, z: q.z, w: q.w }),
    })
}

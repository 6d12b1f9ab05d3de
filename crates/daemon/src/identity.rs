//! The identities of model, calibration and provider: the same in every message and recording.

use std::collections::BTreeMap;

use magpie_inference::OnnxSession;
use magpie_perception::{InferenceSession, Limits, Scene};
use magpie_recording::RecordingInfo;
use magpie_wire::Identities;

use crate::config::Config;

pub fn identities(config: &Config, scene: Option<&Scene>, session: &OnnxSession) -> Identities {
    let spec = session.spec();
    Identities {
        model_name: spec.name.clone(),
        model_sha256: spec.sha256.clone(),
        class_names: spec.class_names.clone(),
        calibration_id: scene.map(|s| s.calibration_id.clone()).unwrap_or_default(),
        providers_asked: config.session.providers.clone(),
        provider_got: session.provider(),
        base_frame_id: config.base_frame_id.clone(),
        camera_frame_id: scene
            .map_or_else(|| "camera_optical_frame".to_owned(), |s| s.camera_info.frame_id.clone()),
    }
}

/// What a recording says about itself: everything that a replay must share to give the same results.
pub fn recording_info(
    config: &Config,
    scene: Option<&Scene>,
    identities: &Identities,
    limits: &Limits,
) -> RecordingInfo {
    let Limits { decode, grasps, belt_velocity, .. } = limits;
    let belt = belt_velocity.map_or_else(
        || "measured".to_owned(),
        |belt| format!("{:?} m/s, sigma {} m/s", belt.linear_m_s.as_slice(), belt.sigma_m_s),
    );
    let identity = BTreeMap::from(
        [
            ("magpie", env!("CARGO_PKG_VERSION").to_owned()),
            ("cell", config.cell.to_string()),
            ("model", identities.model_name.clone()),
            ("model_sha256", identities.model_sha256.clone()),
            ("provider", identities.provider_got.name().to_owned()),
            ("score_min", decode.score_min.to_string()),
            ("iou_max", decode.iou_max.to_string()),
            ("nms_class_agnostic", decode.nms_class_agnostic.to_string()),
            ("packages_max", decode.instances_max.to_string()),
            ("grasps_per_package_max", grasps.per_package_max.to_string()),
            ("grasps_tilt_deg_max", grasps.tilt_deg_max.to_string()),
            ("grasps_quality_min", grasps.quality_min.to_string()),
            ("belt", belt),
        ]
        .map(|(key, value)| (key.to_owned(), value)),
    );
    let base_frame_id = identities.base_frame_id.clone();
    RecordingInfo { scene: scene.cloned(), base_frame_id, identity }
}

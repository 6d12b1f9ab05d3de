//! Packages in the JSON of `magpie detect`, for scripts that read it without protobuf.

use magpie_wire as wire;
use serde_json::{Value, json};

use super::table;

/// The mask is COCO's run-length encoding, as `pycocotools` takes it.
pub fn package_json(package: &wire::Package, message: &wire::Packages) -> Value {
    let bbox = package.bbox.unwrap_or_default();
    let mask = package.mask.clone().unwrap_or_default();
    let refusal = Some(table::refusal(package.refusal())).filter(|refusal| !refusal.is_empty());
    json!({
        "track_id": package.track_id,
        "type": package.r#type,
        "score": package.score,
        "bbox_px": [bbox.x_min_px, bbox.y_min_px, bbox.x_max_px, bbox.y_max_px],
        "mask": {
            "size": [mask.height_px, mask.width_px],
            "counts": String::from_utf8_lossy(&mask.counts),
        },
        "deepest_px": package.deepest_px.map(|point| [point.x_px, point.y_px]),
        "height_m": package.height_m,
        "position_m": package.position_m.map(|p| [p.x, p.y, p.z]),
        "size_m": package.size.map(|size| [size.length_m, size.width_m, size.height_m]),
        "occluded_share": package.occluded_share,
        "refusal": refusal,
        "pick_rank": package.pick_rank,
        "grasps": package.grasps.iter().map(|grasp| grasp_json(grasp, message)).collect::<Vec<_>>(),
    })
}

fn grasp_json(grasp: &wire::Grasp, message: &wire::Packages) -> Value {
    let pose = grasp.pose.unwrap_or_default();
    let (p, q) = (pose.position_m.unwrap_or_default(), pose.orientation.unwrap_or_default());
    let reference_frame = match message.reference_frame() {
        wire::ReferenceFrame::Base => "base",
        wire::ReferenceFrame::Gripper => "gripper",
        wire::ReferenceFrame::Camera | wire::ReferenceFrame::Unspecified => "camera",
    };
    json!({
        "contact_px": grasp.contact_px.map(|point| [point.x_px, point.y_px]),
        "position_m": [p.x, p.y, p.z],
        "orientation_xyzw": [q.x, q.y, q.z, q.w],
        "reference_frame": reference_frame,
        "frame_id": message.frame_id,
        "pose_source": match grasp.pose_source() {
            wire::PoseSource::SupportPlane => "support_plane",
            wire::PoseSource::Depth | wire::PoseSource::Unspecified => "depth",
        },
        "quality": grasp.quality,
        "clearance": grasp.clearance,
        "seal": grasp.seal,
        "moment": grasp.moment,
        "tilt": grasp.tilt,
        "hold": grasp.hold,
        "cups": grasp.cups,
        "position_sigma_m": grasp.position_sigma_m,
        "depth_hole_fraction": grasp.depth_hole_fraction,
    })
}

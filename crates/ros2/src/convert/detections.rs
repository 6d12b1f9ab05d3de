//! Packages as detections, and their grasps.

use magpie_perception::Scene;
use magpie_wire as wire;
use nalgebra::{Point3, UnitQuaternion};

use super::common::{header, pose, pose_of};
use super::footprint::reference_from_package;
use crate::messages::{
    BoundingBox2D, BoundingBox3D, Detection2D, Detection2DArray, Detection3D, Detection3DArray,
    ObjectHypothesis, ObjectHypothesisWithPose, Point2D, Pose, Pose2D, PoseArray,
    PoseWithCovariance, Vector3,
};

/// A covariance of zeros is one that is not known.
const UNKNOWN: [f64; 36] = [0.0; 36];

/// All packages in pick order, in the picture.
pub fn detections_2d(message: &wire::Packages, camera_frame_id: &str) -> Detection2DArray {
    let header = header(message.stamp_ns, camera_frame_id);
    let detections = message.packages.iter().map(|package| Detection2D {
        header: header.clone(),
        results: vec![hypothesis(package, nowhere())],
        bbox: bbox_2d(&package.bbox.unwrap_or_default()),
        id: package.track_id.to_string(),
    });
    Detection2DArray { detections: detections.collect(), header }
}

/// Boxes of ours are given by their outer edges, half a pixel off the centres of the outermost pixels.
fn bbox_2d(bbox: &wire::BboxPx) -> BoundingBox2D {
    let wire::BboxPx { x_min_px, y_min_px, x_max_px, y_max_px } = *bbox;
    let middle = |min: f32, max: f32| 0.5 * (f64::from(min) + f64::from(max)) - 0.5;
    BoundingBox2D {
        center: Pose2D {
            position: Point2D { x: middle(x_min_px, x_max_px), y: middle(y_min_px, y_max_px) },
            theta: 0.0,
        },
        size_x: f64::from(x_max_px) - f64::from(x_min_px),
        size_y: f64::from(y_max_px) - f64::from(y_min_px),
    }
}

/// The packages whose place is known, in pick order. A box without a size was not measured.
pub fn detections_3d(message: &wire::Packages, scene: Option<&Scene>) -> Detection3DArray {
    let header = header(message.stamp_ns, &message.frame_id);
    let detections = message.packages.iter().filter_map(|package| {
        let bbox = bbox_3d(package, scene)?;
        Some(Detection3D {
            header: header.clone(),
            results: vec![hypothesis(package, bbox.center.clone())],
            bbox,
            id: package.track_id.to_string(),
        })
    });
    Detection3DArray { detections: detections.collect(), header }
}

fn bbox_3d(package: &wire::Package, scene: Option<&Scene>) -> Option<BoundingBox3D> {
    let wire::Vector3 { x, y, z } = package.position_m?;
    let measured = scene
        .zip(package.size)
        .and_then(|(scene, size)| Some((reference_from_package(package, scene)?, size)));
    let (rotation, size) = match measured {
        Some((rotation, size)) => {
            (rotation, Vector3 { x: size.length_m, y: size.width_m, z: size.height_m })
        }
        None => (UnitQuaternion::identity(), Vector3 { x: 0.0, y: 0.0, z: 0.0 }),
    };
    Some(BoundingBox3D { center: pose(Point3::new(x, y, z), &rotation), size })
}

fn hypothesis(package: &wire::Package, pose: Pose) -> ObjectHypothesisWithPose {
    ObjectHypothesisWithPose {
        hypothesis: ObjectHypothesis {
            class_id: package.r#type.clone(),
            score: f64::from(package.score),
        },
        pose: PoseWithCovariance { pose, covariance: UNKNOWN },
    }
}

fn nowhere() -> Pose {
    pose(Point3::origin(), &UnitQuaternion::identity())
}

/// The best grasp of each package that can be held, in pick order. Those packages come first, so the
/// pose at each place belongs to the detection at the same place of [`detections_2d`].
pub fn grasps(message: &wire::Packages) -> PoseArray {
    let best = message.packages.iter().map_while(|package| package.grasps.first());
    let poses = best.map_while(|grasp| grasp.pose.as_ref().and_then(pose_of));
    PoseArray { header: header(message.stamp_ns, &message.frame_id), poses: poses.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(track_id: u64, grasp_x_m: Option<f64>) -> wire::Package {
        let position = |x| wire::Vector3 { x, y: 0.5, z: 0.25 };
        let orientation = wire::Quaternion { x: 1.0, y: 0.0, z: 0.0, w: 0.0 };
        let grasp = |x| wire::Grasp {
            pose: Some(wire::Pose {
                position_m: Some(position(x)),
                orientation: Some(orientation),
            }),
            ..wire::Grasp::default()
        };
        wire::Package {
            track_id,
            r#type: "box".into(),
            score: 0.5,
            bbox: Some(wire::BboxPx {
                x_min_px: 0.0,
                y_min_px: 10.0,
                x_max_px: 1.0,
                y_max_px: 14.0,
            }),
            position_m: grasp_x_m.map(position),
            grasps: grasp_x_m.map(grasp).into_iter().collect(),
            ..wire::Package::default()
        }
    }

    fn message(packages: Vec<wire::Package>) -> wire::Packages {
        wire::Packages {
            stamp_ns: 3_000_000_007,
            frame_id: "base".into(),
            packages,
            ..wire::Packages::default()
        }
    }

    #[test]
    fn the_box_of_the_top_left_pixel_has_its_centre_at_zero() {
        let found = detections_2d(&message(vec![package(7, None)]), "optical");
        let [one] = &found.detections[..] else { panic!("{found:?}") };
        assert_eq!((one.id.as_str(), one.header.frame_id.as_str()), ("7", "optical"));
        assert_eq!((one.header.stamp.sec, one.header.stamp.nanosec), (3, 7));
        assert_eq!(one.bbox.center.position, Point2D { x: 0.0, y: 11.5 });
        assert_eq!((one.bbox.size_x, one.bbox.size_y), (1.0, 4.0));
        assert_eq!(one.results[0].hypothesis.class_id, "box");
        assert_eq!(one.results[0].hypothesis.score, 0.5);
    }

    #[test]
    fn grasps_are_in_pick_order_and_belong_to_the_detections_of_the_same_place() {
        let message = message(vec![package(7, Some(0.1)), package(3, Some(0.2)), package(9, None)]);
        let poses = grasps(&message).poses;
        let x: Vec<f64> = poses.iter().map(|pose| pose.position.x).collect();
        assert_eq!(x, [0.1, 0.2]);
        assert_eq!(poses[0].orientation.x, 1.0);
        let ids = |detections: &[Detection2D]| -> Vec<String> {
            detections.iter().map(|one| one.id.clone()).collect()
        };
        assert_eq!(ids(&detections_2d(&message, "optical").detections), ["7", "3", "9"]);
    }

    #[test]
    fn a_package_without_a_place_is_no_detection_in_space_and_one_without_size_has_none() {
        let message = message(vec![package(7, Some(0.1)), package(9, None)]);
        let found = detections_3d(&message, None);
        let [one] = &found.detections[..] else { panic!("{found:?}") };
        assert_eq!(found.header.frame_id, "base");
        assert_eq!((one.bbox.center.position.x, one.bbox.center.position.z), (0.1, 0.25));
        assert_eq!(one.bbox.size, Vector3 { x: 0.0, y: 0.0, z: 0.0 });
        assert_eq!(one.results[0].pose.pose, one.bbox.center);
    }

    #[test]
    fn a_frame_that_shows_nothing_is_told_with_its_stamp() {
        let message = message(Vec::new());
        assert_eq!(detections_2d(&message, "optical").detections, []);
        assert_eq!(detections_3d(&message, None).header.stamp.sec, 3);
        assert_eq!(grasps(&message).poses, []);
    }
}

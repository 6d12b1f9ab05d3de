//! The packages of a frame as viewers draw them in three dimensions: the outline at the height of
//! the top, the way of the tool, and a label.

use std::f64::consts::{FRAC_PI_2, TAU};

use foxglove::messages::line_primitive::Type as LineType;
use foxglove::messages::scene_entity_deletion::Type as DeletionType;
use foxglove::messages::{
    ArrowPrimitive, Color, LinePrimitive, Point3, Pose, PosesInFrame, Quaternion, SceneEntity,
    SceneEntityDeletion, SceneUpdate, TextPrimitive, Vector3 as FoxgloveVector3,
};
use magpie_perception::{Grasp, Package, Packages, Plane, Scene, outlines};
use nalgebra::{Isometry3, Point3 as Point, Translation3, UnitQuaternion, Vector3};

use super::common::{color, timestamp, type_name};

const OUTLINE_DEVIATION_PX_MAX: f64 = 2.0;
const LINE_M: f64 = 0.004;
const CUP_POINTS: u32 = 24;
const SHAFT_M: f64 = 0.008;
const HEAD_M: f64 = 0.03;
const FONT_M: f64 = 0.03;

/// The best grasp of each package, in pick order. `frame_id` names the reference frame of the poses.
pub(crate) fn grasp_poses(packages: &Packages, frame_id: &str) -> PosesInFrame {
    let best = packages.packages.iter().filter_map(|package| package.best_grasp());
    PosesInFrame {
        timestamp: Some(timestamp(packages.stamp)),
        frame_id: frame_id.to_owned(),
        poses: best.map(|grasp| pose(&grasp.reference_from_grasp)).collect(),
    }
}

/// The entities of one frame, in the reference frame that `frame_id` names. They replace everything
/// that was drawn before.
pub(crate) fn scene_update(
    packages: &Packages,
    class_names: &[String],
    scene: &Scene,
    frame_id: &str,
) -> SceneUpdate {
    let stamp = timestamp(packages.stamp);
    let everything = SceneEntityDeletion {
        timestamp: Some(stamp),
        r#type: DeletionType::All.into(),
        ..SceneEntityDeletion::default()
    };
    let entities = packages.packages.iter().map(|package| {
        let [r, g, b] = color(package.track_id);
        let color = Color { r, g, b, a: 1.0 };
        let best = package.best_grasp();
        let cups = best.into_iter().flat_map(|grasp| cups(grasp, scene, color));
        SceneEntity {
            timestamp: Some(stamp),
            frame_id: frame_id.to_owned(),
            id: package.track_id.to_string(),
            lines: outline_lines(package, scene, color).into_iter().chain(cups).collect(),
            arrows: best.map(|grasp| approach(grasp, scene, color)).into_iter().collect(),
            texts: label(package, class_names, color).into_iter().collect(),
            ..SceneEntity::default()
        }
    });
    SceneUpdate { deletions: vec![everything], entities: entities.collect() }
}

/// The mask's outlines where their rays meet the plane at the height of the package's contact.
fn outline_lines(package: &Package, scene: &Scene, color: Color) -> Vec<LinePrimitive> {
    let Some(support) = &scene.support_plane_in_camera else { return Vec::new() };
    let height_m = package.height_m.unwrap_or(0.0);
    let top = Plane { normal: support.normal, offset_m: support.offset_m + height_m };
    let reference_from_camera = scene.reference_from_camera();
    // The points are corners of pixels, and the centres of pixels are at whole numbers.
    let on_top = |&[x, y]: &[i32; 2]| {
        let ray = scene.camera_info.ray(f64::from(x) - 0.5, f64::from(y) - 0.5);
        top.intersect_ray(&ray).map(|point| point3(&(reference_from_camera * point)))
    };
    outlines(&package.instance.mask, OUTLINE_DEVIATION_PX_MAX)
        .into_iter()
        .map(|outline| loop_of(outline.points_px.iter().filter_map(on_top).collect(), color))
        .collect()
}

/// A circle for each cup that is switched on.
fn cups<'a>(
    grasp: &'a Grasp,
    scene: &'a Scene,
    color: Color,
) -> impl Iterator<Item = LinePrimitive> + 'a {
    grasp.cups.indices().map(move |index| {
        let cup = &scene.tool.cups[index];
        let [x, y, z] = cup.position_m;
        let points = (0..CUP_POINTS).map(|step| {
            let (sin, cos) = (f64::from(step) * TAU / f64::from(CUP_POINTS)).sin_cos();
            let at = Point::new(x + cup.radius_m * cos, y + cup.radius_m * sin, z);
            point3(&(grasp.reference_from_grasp * at))
        });
        loop_of(points.collect(), color)
    })
}

/// An arrow along the tool's way that ends at the contact. Arrows point along x, tools approach along
/// z.
fn approach(grasp: &Grasp, scene: &Scene, color: Color) -> ArrowPrimitive {
    let length_m = scene.tool.approach_length_m;
    let start = Translation3::new(0.0, 0.0, -length_m);
    let z_from_x = UnitQuaternion::from_axis_angle(&Vector3::y_axis(), -FRAC_PI_2);
    let from_start = Isometry3::from_parts(start, z_from_x);
    let head_m = HEAD_M.min(0.5 * length_m);
    ArrowPrimitive {
        pose: Some(pose(&(grasp.reference_from_grasp * from_start))),
        shaft_length: length_m - head_m,
        shaft_diameter: SHAFT_M,
        head_length: head_m,
        head_diameter: 2.0 * SHAFT_M,
        color: Some(color),
    }
}

fn label(package: &Package, class_names: &[String], color: Color) -> Option<TextPrimitive> {
    let at = package.position_in_reference?;
    let package_type = type_name(package, class_names);
    let text = match package.best_grasp() {
        Some(grasp) => {
            format!("{} {package_type} {:.2}", package.track_id, grasp.quality.product())
        }
        None => format!("{} {package_type}: no grasp", package.track_id),
    };
    Some(TextPrimitive {
        pose: Some(pose(&Isometry3::from_parts(at.into(), UnitQuaternion::identity()))),
        billboard: true,
        font_size: FONT_M,
        scale_invariant: false,
        color: Some(color),
        text,
    })
}

fn loop_of(points: Vec<Point3>, color: Color) -> LinePrimitive {
    LinePrimitive {
        r#type: LineType::LineLoop.into(),
        pose: Some(pose(&Isometry3::identity())),
        thickness: LINE_M,
        points,
        color: Some(color),
        ..LinePrimitive::default()
    }
}

fn point3(point: &Point<f64>) -> Point3 {
    Point3 { x: point.x, y: point.y, z: point.z }
}

fn pose(reference_from_body: &Isometry3<f64>) -> Pose {
    let (p, q) = (&reference_from_body.translation.vector, &reference_from_body.rotation.coords);
    Pose {
        position: Some(FoxgloveVector3 { x: p.x, y: p.y, z: p.z }),
        orientation: Some(Quaternion { x: q.x, y: q.y, z: q.z, w: q.w }),
    }
}

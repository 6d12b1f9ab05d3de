//! What was found in a frame, as viewers draw it: outlines, labels, grasps.
//!
//! Pixel coordinates of ours have the centre of the top-left pixel at `(0, 0)`; Foxglove's have its
//! corner there, so points move by half a pixel.

use foxglove::messages::points_annotation::Type;
use foxglove::messages::{
    CircleAnnotation, Color, ImageAnnotations, Point2, PointsAnnotation, PosesInFrame,
    TextAnnotation, Timestamp,
};
use magpie_perception::{Grasp, Package, Packages, ReferenceFrame, outlines};

use super::scene::pose;
use crate::schema::{BASE_FRAME_ID, GRIPPER_FRAME_ID, timestamp};

/// Red, green, blue: colours that stay apart for most eyes (Okabe and Ito), one a track.
const COLORS: [[f64; 3]; 8] = [
    [0.90, 0.62, 0.00],
    [0.34, 0.71, 0.91],
    [0.00, 0.62, 0.45],
    [0.94, 0.89, 0.26],
    [0.00, 0.45, 0.70],
    [0.84, 0.37, 0.00],
    [0.80, 0.47, 0.65],
    [0.78, 0.78, 0.78],
];
const FILL_ALPHA: f64 = 0.25;
const LINE_PX: f64 = 2.0;
const OUTLINE_DEVIATION_PX_MAX: f64 = 0.75;
const GRASP_DIAMETER_PX: f64 = 10.0;
const FONT_PX: f64 = 14.0;

/// Outlines of masks, a label for each package, and a circle where it can be held best.
pub(crate) fn annotations(found: &Packages, class_names: &[String]) -> ImageAnnotations {
    let stamp = timestamp(found.stamp);
    let mut drawn = ImageAnnotations { timestamp: Some(stamp), ..ImageAnnotations::default() };
    for package in &found.packages {
        let [r, g, b] = color(package.track_id);
        let with_alpha = |a| Color { r, g, b, a };
        drawn.points.extend(
            outlines(&package.instance.mask, OUTLINE_DEVIATION_PX_MAX).into_iter().map(|outline| {
                PointsAnnotation {
                    timestamp: Some(stamp),
                    r#type: Type::LineLoop.into(),
                    points: outline
                        .points_px
                        .iter()
                        .map(|&[x, y]| point(x.into(), y.into()))
                        .collect(),
                    outline_color: Some(with_alpha(1.0)),
                    // A hole is not filled by itself: it lies in what its package fills.
                    fill_color: (!outline.is_hole).then(|| with_alpha(FILL_ALPHA)),
                    thickness: LINE_PX,
                    ..PointsAnnotation::default()
                }
            }),
        );
        drawn.texts.push(label(package, class_names, stamp));
        drawn.circles.extend(package.grasps.first().map(|grasp| circle(grasp, stamp)));
    }
    drawn
}

fn label(package: &Package, class_names: &[String], stamp: Timestamp) -> TextAnnotation {
    let kind = name(package, class_names);
    let score_percent = 100.0 * package.instance.score;
    TextAnnotation {
        timestamp: Some(stamp),
        position: Some(centre(package.deepest_px)),
        text: format!("{} {kind} {score_percent:.0}%", package.track_id),
        font_size: FONT_PX,
        text_color: Some(Color { r: 1.0, g: 1.0, b: 1.0, a: 1.0 }),
        background_color: Some(Color { r: 0.0, g: 0.0, b: 0.0, a: 0.5 }),
        ..TextAnnotation::default()
    }
}

pub(crate) fn name<'a>(package: &Package, class_names: &'a [String]) -> &'a str {
    class_names.get(package.instance.class_id).map_or("?", String::as_str)
}

fn circle(grasp: &Grasp, stamp: Timestamp) -> CircleAnnotation {
    CircleAnnotation {
        timestamp: Some(stamp),
        position: Some(centre(grasp.contact_px)),
        diameter: GRASP_DIAMETER_PX,
        thickness: LINE_PX,
        outline_color: Some(Color { r: 1.0, g: 1.0, b: 1.0, a: 1.0 }),
        ..CircleAnnotation::default()
    }
}

/// The best grasp of each package, in pick order.
pub(crate) fn grasp_poses(found: &Packages, camera_frame_id: &str) -> PosesInFrame {
    let frame_id = reference_frame_id(found, camera_frame_id);
    let best = found.packages.iter().filter_map(|package| package.grasps.first());
    PosesInFrame {
        timestamp: Some(timestamp(found.stamp)),
        frame_id: frame_id.to_owned(),
        poses: best.map(|grasp| pose(&grasp.reference_from_grasp)).collect(),
    }
}

/// The frame that positions and grasps are given in.
pub(crate) fn reference_frame_id<'a>(found: &Packages, camera_frame_id: &'a str) -> &'a str {
    match found.reference_frame {
        ReferenceFrame::Base => BASE_FRAME_ID,
        ReferenceFrame::Gripper => GRIPPER_FRAME_ID,
        ReferenceFrame::Camera => camera_frame_id,
    }
}

fn centre([x, y]: [f32; 2]) -> Point2 {
    point(f64::from(x) + 0.5, f64::from(y) + 0.5)
}

fn point(x: f64, y: f64) -> Point2 {
    Point2 { x, y }
}

pub(crate) fn color(track_id: u64) -> [f64; 3] {
    let at = track_id % COLORS.len() as u64;
    COLORS[usize::try_from(at).expect("less than eight")]
}

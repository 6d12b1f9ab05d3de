//! The packages of a frame as viewers draw them on the image: outlines, labels, grasps.
//!
//! # Conventions
//! Our pixel coordinates have the centre of the top-left pixel at `(0, 0)`. Foxglove's have its corner
//! there, so points move by half a pixel.

use foxglove::messages::points_annotation::Type;
use foxglove::messages::{
    CircleAnnotation, Color, ImageAnnotations, Point2, PointsAnnotation, TextAnnotation, Timestamp,
};
use magpie_perception::{Grasp, Package, Packages, outlines};

use super::common::{color, timestamp, type_name};

const FILL_ALPHA: f64 = 0.25;
const LINE_PX: f64 = 2.0;
const OUTLINE_DEVIATION_PX_MAX: f64 = 0.75;
const GRASP_DIAMETER_PX: f64 = 10.0;
const FONT_PX: f64 = 14.0;

/// Outlines of masks, a label for each package, and a circle at its best grasp.
pub(crate) fn annotations(packages: &Packages, class_names: &[String]) -> ImageAnnotations {
    let stamp = timestamp(packages.stamp);
    let mut drawn = ImageAnnotations { timestamp: Some(stamp), ..ImageAnnotations::default() };
    for package in &packages.packages {
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
                    // A hole is not filled again: it lies in the area that its package fills.
                    fill_color: (!outline.is_hole).then(|| with_alpha(FILL_ALPHA)),
                    thickness: LINE_PX,
                    ..PointsAnnotation::default()
                }
            }),
        );
        drawn.texts.push(label(package, class_names, stamp));
        drawn.circles.extend(package.best_grasp().map(|grasp| circle(grasp, stamp)));
    }
    drawn
}

fn label(package: &Package, class_names: &[String], stamp: Timestamp) -> TextAnnotation {
    let package_type = type_name(package, class_names);
    let score_percent = 100.0 * package.instance.score;
    TextAnnotation {
        timestamp: Some(stamp),
        position: Some(pixel_center(package.deepest_px)),
        text: format!("{} {package_type} {score_percent:.0}%", package.track_id),
        font_size: FONT_PX,
        text_color: Some(Color { r: 1.0, g: 1.0, b: 1.0, a: 1.0 }),
        background_color: Some(Color { r: 0.0, g: 0.0, b: 0.0, a: 0.5 }),
        ..TextAnnotation::default()
    }
}

fn circle(grasp: &Grasp, stamp: Timestamp) -> CircleAnnotation {
    CircleAnnotation {
        timestamp: Some(stamp),
        position: Some(pixel_center(grasp.contact_px)),
        diameter: GRASP_DIAMETER_PX,
        thickness: LINE_PX,
        outline_color: Some(Color { r: 1.0, g: 1.0, b: 1.0, a: 1.0 }),
        ..CircleAnnotation::default()
    }
}

fn pixel_center([x, y]: [f32; 2]) -> Point2 {
    point(f64::from(x) + 0.5, f64::from(y) + 0.5)
}

fn point(x: f64, y: f64) -> Point2 {
    Point2 { x, y }
}

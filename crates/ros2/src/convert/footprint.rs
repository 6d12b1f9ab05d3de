//! Which way a package is turned: the smallest rectangle around its outline, as it lies on the support
//! plane.

use std::f64::consts::FRAC_PI_2;

use magpie_perception::{Mask, Scene, convex_hull, outlines};
use magpie_wire as wire;
use nalgebra::{Matrix3, Point2, Rotation3, Unit, UnitQuaternion, Vector2, Vector3};

const OUTLINE_DEVIATION_PX_MAX: f64 = 1.0;

/// x along the length of the package, y along its width, z away from the support plane. `None` where
/// nothing tells.
pub(super) fn reference_from_package(
    package: &wire::Package,
    scene: &Scene,
) -> Option<UnitQuaternion<f64>> {
    let support = scene.support_plane_in_camera.as_ref()?;
    let mask = Mask::try_from(package.mask.as_ref()?).ok()?;
    // On a plane above, such as the package's top, the outline is larger and turned alike.
    let axes = axes_in(&support.normal);
    let on_plane: Vec<Point2<f64>> = outlines(&mask, OUTLINE_DEVIATION_PX_MAX)
        .iter()
        .filter(|outline| !outline.is_hole)
        .flat_map(|outline| &outline.points_px)
        .filter_map(|&[x, y]| {
            // The points are corners of pixels, and the centres of pixels are at whole numbers.
            let ray = scene.camera_info.ray(f64::from(x) - 0.5, f64::from(y) - 0.5);
            let point = support.intersect_ray(&ray)?;
            Some(Point2::new(axes[0].dot(&point.coords), axes[1].dot(&point.coords)))
        })
        .collect();
    let along_length_rad = longer_side_rad(&convex_hull(on_plane))?;
    let (sin, cos) = along_length_rad.sin_cos();
    let x_axis = cos * axes[0] + sin * axes[1];
    let z_axis = support.normal.into_inner();
    let camera_from_package = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[
        x_axis,
        z_axis.cross(&x_axis),
        z_axis,
    ]));
    let reference_from_camera = scene.reference_from_camera().rotation;
    Some(reference_from_camera * UnitQuaternion::from_rotation_matrix(&camera_from_package))
}

/// Two directions in a plane, which make a right-handed system with its normal.
fn axes_in(normal: &Unit<Vector3<f64>>) -> [Vector3<f64>; 2] {
    let aside = if normal.x.abs() < 0.9 { Vector3::x() } else { Vector3::y() };
    let first = (aside - normal.dot(&aside) * normal.into_inner()).normalize();
    [first, normal.cross(&first)]
}

/// Direction of the longer side of the smallest rectangle around a convex outline: it lies along one of
/// the outline's own sides.
fn longer_side_rad(hull: &[Point2<f64>]) -> Option<f64> {
    let mut smallest: Option<(f64, f64)> = None;
    for (at, corner) in hull.iter().enumerate() {
        let side = hull[(at + 1) % hull.len()] - corner;
        let Some(along) = side.try_normalize(0.0) else { continue };
        let across = Vector2::new(-along.y, along.x);
        let (length, width) = (extent(hull, along), extent(hull, across));
        let angle_rad = along.y.atan2(along.x) + if width > length { FRAC_PI_2 } else { 0.0 };
        if smallest.is_none_or(|(area, _)| length * width < area) {
            smallest = Some((length * width, angle_rad));
        }
    }
    smallest.map(|(_, angle_rad)| angle_rad)
}

fn extent(points: &[Point2<f64>], along: Vector2<f64>) -> f64 {
    let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
    for point in points {
        let at = along.dot(&point.coords);
        (min, max) = (min.min(at), max.max(at));
    }
    max - min
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_perception::{CameraInfo, CameraPlace, Distortion, Intrinsics, Plane, Tool};
    use nalgebra::{Isometry3, Translation3};

    const SIZE_PX: u32 = 400;

    /// A camera a metre above the floor that looks straight down, where base has its x to the right and
    /// its y up in the picture.
    fn scene() -> Scene {
        let down = UnitQuaternion::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
        let base_from_camera = Isometry3::from_parts(Translation3::new(0.0, 0.0, 1.0), down);
        Scene {
            camera_info: CameraInfo {
                camera_name: "made up".into(),
                frame_id: "optical".into(),
                width_px: SIZE_PX,
                height_px: SIZE_PX,
                intrinsics: Intrinsics { fx_px: 400.0, fy_px: 400.0, cx_px: 199.5, cy_px: 199.5 },
                distortion: Distortion::default(),
            },
            camera_place: Some(CameraPlace::InBase(base_from_camera)),
            support_plane_in_camera: Some(Plane { normal: -Vector3::z_axis(), offset_m: -1.0 }),
            tool: Tool::single_cup(0.01),
            calibration_id: String::new(),
        }
    }

    /// A rectangle, turned by an angle in base, as the camera sees it.
    fn package(yaw_rad: f64, length_px: f64, width_px: f64) -> wire::Package {
        let (sin, cos) = yaw_rad.sin_cos();
        let pixels = (0..SIZE_PX * SIZE_PX).map(|at| {
            let (x, y) = (f64::from(at % SIZE_PX) - 199.5, 199.5 - f64::from(at / SIZE_PX));
            let (along, across) = (cos * x + sin * y, cos * y - sin * x);
            u8::from(along.abs() < 0.5 * length_px && across.abs() < 0.5 * width_px)
        });
        let mask = Mask::from_bitmap(SIZE_PX, SIZE_PX, &pixels.collect::<Vec<_>>());
        wire::Package { mask: Some((&mask).into()), ..wire::Package::default() }
    }

    fn check(yaw_deg: f64, length_px: f64, width_px: f64) {
        let package = package(yaw_deg.to_radians(), length_px, width_px);
        let rotation = reference_from_package(&package, &scene()).unwrap();
        let (x_axis, z_axis) = (rotation * Vector3::x(), rotation * Vector3::z());
        assert!((z_axis - Vector3::z()).norm() < 1e-9, "{z_axis}");
        let found_deg = x_axis.y.atan2(x_axis.x).to_degrees();
        // A rectangle looks the same turned by half a circle.
        let off_deg = (found_deg - yaw_deg + 90.0).rem_euclid(180.0) - 90.0;
        assert!(off_deg.abs() < 2.0, "{found_deg} for {yaw_deg}");
    }

    #[test]
    fn a_package_is_turned_as_its_longer_side_is() {
        for yaw_deg in [0.0, 20.0, 45.0, 70.0, 90.0, 110.0, 160.0] {
            check(yaw_deg, 200.0, 120.0);
            check(yaw_deg, 160.0, 150.0);
        }
    }

    #[test]
    fn without_a_mask_or_a_plane_nothing_tells() {
        let empty = package(0.0, 0.0, 0.0);
        assert_eq!(reference_from_package(&empty, &scene()), None);
        assert_eq!(reference_from_package(&wire::Package::default(), &scene()), None);
        let scene = Scene { support_plane_in_camera: None, ..scene() };
        assert_eq!(reference_from_package(&package(0.0, 200.0, 120.0), &scene), None);
    }
}

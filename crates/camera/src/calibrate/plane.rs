//! The plane that packages rest on, from a depth image of it.

use magpie_perception::{CameraInfo, DepthImage, Plane};
use nalgebra::{Matrix3, Point3, Unit, Vector3};

use super::errors::CalibrateError;

/// A plane in the optical frame, its normal towards the camera.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlaneFit {
    pub plane: Plane,
    /// The share of the depth pixels looked at that lies on the plane.
    pub inlier_share: f64,
    /// The distance from the plane of the pixels on it, root mean square.
    pub rms_mm: f64,
    /// How many depth pixels were looked at.
    pub pixels: usize,
}

const PIXELS_MIN: usize = 100;
/// More pixels than these do not make the plane better.
const PIXELS_MAX: usize = 20_000;
const TRIALS: usize = 400;
/// The support of a cleared cell holds at least this share of the pixels.
pub const CLEARED_SHARE_MIN: f64 = 0.5;
/// The noise of a structured-light or time-of-flight camera is 2 mm and a few thousandths of the
/// depth.
const TOLERANCE_M: f64 = 0.002;
const TOLERANCE_SHARE: f64 = 0.004;

/// Fits a plane by RANSAC and then by least squares over `region` (x, y, width, height in pixels;
/// all if `None`). At least `share_min` of the pixels that have depth must lie on it.
pub fn fit_plane(
    depth: &DepthImage,
    info: &CameraInfo,
    region: Option<[u32; 4]>,
    share_min: f64,
) -> Result<PlaneFit, CalibrateError> {
    let points = points_in_camera(depth, info, region);
    if points.len() < PIXELS_MIN {
        return Err(CalibrateError::NoDepth { points: points.len(), needed: PIXELS_MIN });
    }
    let mut depths: Vec<f64> = points.iter().map(|point| point.z).collect();
    depths.sort_by(f64::total_cmp);
    let tolerance_m = TOLERANCE_M + TOLERANCE_SHARE * depths[depths.len() / 2];
    let mut best: Option<(usize, Plane)> = None;
    for trial in 0..TRIALS {
        // Strides that share no factor with the count visit all points.
        let pick = |k: usize| &points[(trial * 7919 + k * (trial * 31 + 104_729)) % points.len()];
        let Some(plane) = through(pick(0), pick(1), pick(2)) else { continue };
        let count = points.iter().filter(|p| plane.distance_m(p).abs() < tolerance_m).count();
        if best.is_none_or(|(most, _)| count > most) {
            best = Some((count, plane));
        }
    }
    let share = |count: usize| count as f64 / points.len() as f64;
    let found = best.filter(|(count, _)| share(*count) >= share_min);
    let Some((_, mut plane)) = found else {
        let share_percent = 100.0 * best.map_or(0.0, |(count, _)| share(count));
        return Err(CalibrateError::NoPlane { share_percent, tolerance_mm: 1000.0 * tolerance_m });
    };
    let mut inliers = Vec::new();
    for _ in 0..5 {
        inliers = points
            .iter()
            .filter(|point| plane.distance_m(point).abs() < tolerance_m)
            .copied()
            .collect();
        plane = least_squares(&inliers);
    }
    let sum: f64 = inliers.iter().map(|point| plane.distance_m(point).powi(2)).sum();
    Ok(PlaneFit {
        plane,
        inlier_share: share(inliers.len()),
        rms_mm: 1000.0 * (sum / inliers.len() as f64).sqrt(),
        pixels: points.len(),
    })
}

fn points_in_camera(
    depth: &DepthImage,
    info: &CameraInfo,
    region: Option<[u32; 4]>,
) -> Vec<Point3<f64>> {
    let [x, y, width, height] =
        region.unwrap_or_else(|| [0, 0, depth.width_px(), depth.height_px()]);
    let columns = x.min(depth.width_px())..(x.saturating_add(width)).min(depth.width_px());
    let rows = y.min(depth.height_px())..(y.saturating_add(height)).min(depth.height_px());
    let area = columns.len() * rows.len();
    let stride = (area as f64 / PIXELS_MAX as f64).sqrt().ceil().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below a side")]
    let stride = stride as usize;
    rows.step_by(stride)
        .flat_map(|y| columns.clone().step_by(stride).map(move |x| (x, y)))
        .filter_map(|(x, y)| {
            let ray = info.ray(f64::from(x), f64::from(y));
            depth.depth_m(x, y).map(|depth_m| Point3::from(ray * depth_m))
        })
        .collect()
}

/// Returns `None` for three points on a line.
fn through(a: &Point3<f64>, b: &Point3<f64>, c: &Point3<f64>) -> Option<Plane> {
    let normal = Unit::try_new((b - a).cross(&(c - a)), 1e-9)?;
    Some(facing(normal, a))
}

/// Turns the normal towards the camera.
fn facing(normal: Unit<Vector3<f64>>, point: &Point3<f64>) -> Plane {
    let normal = if normal.dot(&point.coords) > 0.0 { -normal } else { normal };
    Plane { normal, offset_m: normal.dot(&point.coords) }
}

fn least_squares(points: &[Point3<f64>]) -> Plane {
    let center = Point3::from(
        points.iter().map(|point| point.coords).sum::<Vector3<f64>>() / points.len() as f64,
    );
    let scatter: Matrix3<f64> =
        points.iter().map(|point| (point - center) * (point - center).transpose()).sum();
    let eigen = scatter.symmetric_eigen();
    let smallest = eigen.eigenvalues.imin();
    facing(Unit::new_normalize(eigen.eigenvectors.column(smallest).into_owned()), &center)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::coverage::guess;

    /// A tilted plane with a box on it, holes, and noise of a millimetre.
    fn depth_image(info: &CameraInfo, truth: &Plane) -> DepthImage {
        let values = (0..info.height_px).flat_map(|y| (0..info.width_px).map(move |x| (x, y)));
        let depth = values.map(|(x, y)| {
            let hit = truth.intersect_ray(&info.ray(f64::from(x), f64::from(y))).unwrap();
            let on_box = (60..110).contains(&x) && (40..80).contains(&y);
            let hole = (x * 7 + y * 13) % 11 == 0;
            let noise_m = f64::from((x * 31 + y * 17) % 5) * 0.0005 - 0.001;
            let depth_m = if on_box { hit.z - 0.12 } else { hit.z } + noise_m;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "mm")]
            if hole { 0 } else { (1000.0 * depth_m).round() as u16 }
        });
        let depth = depth.collect();
        DepthImage::new(info.width_px, info.height_px, depth).unwrap()
    }

    #[test]
    fn the_support_is_found_under_a_box_and_between_holes() {
        let info = guess(160, 120);
        let normal = Unit::new_normalize(Vector3::new(0.05, -0.1, -1.0));
        let truth = Plane { normal, offset_m: -0.9 };
        let fit = fit_plane(&depth_image(&info, &truth), &info, None, CLEARED_SHARE_MIN).unwrap();
        let off_deg = fit.plane.normal.angle(&truth.normal).to_degrees();
        assert!(off_deg < 0.1, "{off_deg} degrees");
        assert!((fit.plane.offset_m - truth.offset_m).abs() < 0.0005, "{fit:?}");
        assert!(fit.inlier_share < 0.95 && fit.rms_mm < 1.5, "{fit:?}");
    }

    /// In closed form: points of a plane lie on it, whichever way it faces.
    #[test]
    fn exact_points_of_a_plane_give_that_plane() {
        let normals = [
            [0.0, 0.0, -1.0],
            [-1.0, 0.0, -1e-9],
            [0.0, -1.0, -1e-9],
            [0.3, -0.4, -0.866],
            [-0.577, -0.577, -0.577],
        ];
        for normal in normals.map(|[x, y, z]| Unit::new_normalize(Vector3::new(x, y, z))) {
            let across = normal.cross(&Vector3::new(0.2, 0.9, 0.1)).normalize();
            let along = normal.cross(&across);
            let foot = normal.into_inner() * -1.3;
            let points: Vec<Point3<f64>> = (0..20_u8)
                .map(|i| {
                    let (u, v) = (f64::from(i % 5) * 0.1, f64::from(i / 5) * 0.07);
                    Point3::from(foot + across * u + along * v)
                })
                .collect();
            let found = least_squares(&points);
            assert!(found.normal.angle(&normal) < 1e-7, "{found:?} for {normal:?}");
            assert!((found.offset_m + 1.3).abs() < 1e-12, "{found:?}");
            let three = through(&points[0], &points[4], &points[15]).unwrap();
            assert!(three.normal.angle(&normal) < 1e-7, "{three:?}");
        }
    }

    #[test]
    fn nothing_measured_and_no_plane_are_refused() {
        let info = guess(160, 120);
        let empty = DepthImage::new(160, 120, vec![0; 160 * 120]).unwrap();
        let message = fit_plane(&empty, &info, None, CLEARED_SHARE_MIN).unwrap_err().to_string();
        assert!(message.contains("0 depth pixels"), "{message}");
        let rough = (0..160 * 120_u32).map(|i| u16::try_from(700 + i * 7919 % 600).unwrap());
        let rough = DepthImage::new(160, 120, rough.collect()).unwrap();
        let message = fit_plane(&rough, &info, None, CLEARED_SHARE_MIN).unwrap_err().to_string();
        assert!(message.contains("no plane"), "{message}");
    }
}

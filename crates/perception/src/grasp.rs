//! Where and how a suction cup can hold each package, and which package comes first.
//!
//! The contact is the point deepest inside the mask; its normal comes from a robust plane fit of
//! the depth under the cup, or from the support plane where there is no depth.

use nalgebra::{
    Isometry3, Matrix3, Point3, Rotation3, Translation3, Unit, UnitQuaternion, Vector3,
};

use crate::number::{round_px, to_f32};
use crate::{DepthImage, Grasp, Instance, Mask, Package, PoseSource, Scene};

/// Cells along the longer side of a mask in the search for its deepest point.
const GRID_CELLS: u32 = 48;
/// Points this close to the deepest count as deep; among them the nearest to the centroid wins,
/// which keeps the contact of a long box near its centre of mass, and still from frame to frame.
const DEEP_SHARE: f32 = 0.85;
/// Depth points that enter a plane fit at most.
const FIT_POINTS_MAX: usize = 256;
/// A cup that sees less of its surface than this is placed on the support plane.
const HOLE_FRACTION_MAX: f32 = 0.5;
/// Residual at which half of the seal is lost: the give of a soft bellows cup.
const SEAL_RESIDUAL_M: f64 = 0.002;
/// Without depth nobody knows how flat the surface is.
const SEAL_UNKNOWN: f32 = 0.5;
/// Three points make any plane perfect; a dozen make it mean something.
const FIT_POINTS_MIN: usize = 12;
/// The median of the residuals stops moving after three or four rounds.
const FIT_ROUNDS: usize = 5;
/// Depth comes in millimetres: no residual limit may be finer.
const DEPTH_STEP_M: f64 = 0.001;

/// Plans a grasp for every instance and puts the packages in pick order: topmost first.
pub fn plan(
    instances: Vec<Instance>,
    track_ids: &[u64],
    depth: Option<&DepthImage>,
    scene: Option<&Scene>,
) -> Vec<Package> {
    assert_eq!(instances.len(), track_ids.len());
    let mut packages: Vec<Package> = instances
        .into_iter()
        .zip(track_ids)
        .map(|(instance, &track_id)| plan_package(instance, track_id, depth, scene))
        .collect();
    packages.sort_by(|a, b| {
        let key = |p: &Package| {
            (!p.grasps.is_empty(), p.height_m.unwrap_or(f64::NEG_INFINITY), p.instance.score)
        };
        key(b).partial_cmp(&key(a)).expect("no NaN in heights and scores")
    });
    for (rank, package) in (0..).zip(&mut packages) {
        package.pick_rank = rank;
    }
    packages
}

fn plan_package(
    instance: Instance,
    track_id: u64,
    depth: Option<&DepthImage>,
    scene: Option<&Scene>,
) -> Package {
    let deepest = deepest_point(&instance.mask);
    let contact = scene.and_then(|scene| find_contact(&instance.mask, &deepest, depth, scene));
    let height_m = scene.zip(contact.as_ref()).and_then(|(scene, contact)| {
        let plane = scene.support_plane_in_camera.as_ref()?;
        (contact.pose_source == PoseSource::Depth)
            .then(|| plane.distance_m(&contact.point_in_camera))
    });
    let grasps = scene.zip(contact).map(|(scene, contact)| grasp(scene, &deepest, &contact));
    Package {
        track_id,
        instance,
        grasps: grasps.into_iter().collect(),
        deepest_px: [deepest.x_px, deepest.y_px],
        height_m,
        pick_rank: 0,
    }
}

/// A point inside a mask and how far it is from the outside.
#[derive(Clone, Copy, Debug, PartialEq)]
struct DeepestPoint {
    x_px: f32,
    y_px: f32,
    clearance_px: f32,
}

/// Searched on a grid of at most [`GRID_CELLS`] cells a side. What lies outside the image counts
/// as outside the mask.
fn deepest_point(mask: &Mask) -> DeepestPoint {
    let bbox = mask.bbox().expect("decode leaves empty masks out");
    let [x_min, y_min, x_max, y_max] =
        [bbox.x_min_px, bbox.y_min_px, bbox.x_max_px, bbox.y_max_px].map(round_px);
    let step = (x_max - x_min).max(y_max - y_min).div_ceil(GRID_CELLS).max(1);
    // One cell of outside all around.
    let columns = (x_max - x_min).div_ceil(step) as usize + 2;
    let rows = (y_max - y_min).div_ceil(step) as usize + 2;
    let mut inside = vec![false; columns * rows];
    let middle = step / 2;
    for (x, y, length) in mask.columns() {
        if (x - x_min) % step != middle.min(x_max - x_min - 1) {
            continue;
        }
        let column = ((x - x_min) / step) as usize + 1;
        let first = (y - y_min + step - 1 - middle.min(step - 1)).div_ceil(step);
        for row in first.. {
            let center = y_min + row * step + middle;
            if center < y {
                continue;
            }
            if center >= y + length {
                break;
            }
            inside[column * rows + row as usize + 1] = true;
        }
    }
    let distances = squared_distances(&inside, columns, rows);
    let centroid = centroid(&inside, rows);
    let deepest = distances.iter().copied().max().unwrap_or(0);
    let deep = (deepest as f32) * DEEP_SHARE * DEEP_SHARE;
    let offset =
        |cell: usize| [(cell / rows) as f32 - centroid[0], (cell % rows) as f32 - centroid[1]];
    let best = (0..distances.len())
        .filter(|&cell| distances[cell] > 0 && distances[cell] as f32 >= deep)
        .min_by(|&a, &b| {
            let far = |cell| offset(cell).iter().map(|d| d * d).sum::<f32>();
            far(a).total_cmp(&far(b))
        });
    match best {
        Some(cell) => {
            let at = |index: usize, min: u32| min as f32 + ((index - 1) as f32) * step as f32;
            DeepestPoint {
                x_px: at(cell / rows, x_min) + middle as f32,
                y_px: at(cell % rows, y_min) + middle as f32,
                clearance_px: (distances[cell] as f32).sqrt() * step as f32 - 0.5 * step as f32,
            }
        }
        // Thinner than the grid: any pixel of it is as deep as any other.
        None => {
            let (x, y, length) = mask.columns().max_by_key(|run| run.2).expect("not empty");
            let y_px = y as f32 + (length / 2) as f32;
            DeepestPoint { x_px: x as f32, y_px, clearance_px: 0.5 }
        }
    }
}

fn centroid(inside: &[bool], rows: usize) -> [f32; 2] {
    let (mut sum, mut count) = ([0usize; 2], 0);
    for cell in (0..inside.len()).filter(|&cell| inside[cell]) {
        sum = [sum[0] + cell / rows, sum[1] + cell % rows];
        count += 1;
    }
    sum.map(|s| s as f32 / count.max(1) as f32)
}

/// Squared Euclidean distance of each cell to the nearest cell outside: the two-pass transform of
/// Felzenszwalb and Huttenlocher ("Distance Transforms of Sampled Functions", 2012).
fn squared_distances(inside: &[bool], columns: usize, rows: usize) -> Vec<u32> {
    let mut along = vec![0u32; columns * rows];
    for x in 0..columns {
        let line = &inside[x * rows..][..rows];
        let distance = &mut along[x * rows..][..rows];
        let mut run = 0;
        for y in 0..rows {
            run = if line[y] { run + 1 } else { 0 };
            distance[y] = run;
        }
        run = 0;
        for y in (0..rows).rev() {
            run = if line[y] { run + 1 } else { 0 };
            distance[y] = distance[y].min(run);
        }
    }
    let mut squared = vec![0u32; columns * rows];
    let mut envelope = Envelope::default();
    for y in 0..rows {
        envelope.build((0..columns).map(|x| along[x * rows + y].pow(2)));
        envelope.read(|x, distance| squared[x * rows + y] = distance, columns);
    }
    squared
}

/// Lower envelope of the parabolas `(x - apex)^2 + height`, from left to right.
#[derive(Default)]
struct Envelope {
    /// Apex, height, and the first x at which the parabola is the lowest.
    parabolas: Vec<(i32, i32, i32)>,
}

impl Envelope {
    /// One parabola for each height, its apex at the height's index.
    fn build(&mut self, heights: impl Iterator<Item = u32>) {
        self.parabolas.clear();
        for (apex, height) in (0i32..).zip(heights) {
            let height = height.cast_signed();
            let mut from = 0;
            while let Some(&(other, other_height, other_from)) = self.parabolas.last() {
                // The first whole x at which this parabola is not above the other, rounded up.
                let rise = (height + apex * apex) - (other_height + other * other);
                from = -(-rise).div_euclid(2 * (apex - other));
                if from > other_from {
                    break;
                }
                self.parabolas.pop();
                from = 0;
            }
            self.parabolas.push((apex, height, from));
        }
    }

    fn read(&self, mut lowest: impl FnMut(usize, u32), columns: usize) {
        let mut at = 0;
        for (x, column) in (0i32..).zip(0..columns) {
            while self.parabolas.get(at + 1).is_some_and(|next| next.2 <= x) {
                at += 1;
            }
            let (apex, height, _) = self.parabolas[at];
            lowest(column, ((x - apex).pow(2) + height).cast_unsigned());
        }
    }
}

/// The surface under the cup.
#[derive(Clone, Debug)]
struct Contact {
    point_in_camera: Point3<f64>,
    /// Out of the surface, towards the camera.
    normal_in_camera: Unit<Vector3<f64>>,
    pose_source: PoseSource,
    residual_m: f64,
    depth_hole_fraction: f32,
}

fn find_contact(
    mask: &Mask,
    deepest: &DeepestPoint,
    depth: Option<&DepthImage>,
    scene: &Scene,
) -> Option<Contact> {
    let ray = scene.camera_info.ray(f64::from(deepest.x_px), f64::from(deepest.y_px));
    let (fitted, depth_hole_fraction) = match depth {
        Some(depth) => fit_surface(mask, deepest, depth, scene),
        None => (None, 1.0),
    };
    if let Some(surface) = fitted.filter(|_| depth_hole_fraction <= HOLE_FRACTION_MAX) {
        let point_in_camera = Point3::from(ray / surface.inverse_depth.dot(&ray));
        let normal_in_camera = Unit::new_normalize(-surface.inverse_depth);
        return Some(Contact {
            point_in_camera,
            normal_in_camera,
            pose_source: PoseSource::Depth,
            residual_m: surface.residual_m,
            depth_hole_fraction,
        });
    }
    let plane = scene.support_plane_in_camera.as_ref()?;
    Some(Contact {
        point_in_camera: plane.intersect_ray(&ray)?,
        normal_in_camera: plane.normal,
        pose_source: PoseSource::SupportPlane,
        residual_m: 0.0,
        depth_hole_fraction,
    })
}

/// A plane as `inverse_depth . point = 1` in the optical frame.
struct Surface {
    inverse_depth: Vector3<f64>,
    /// Root mean square along the optical axis, over the inliers.
    residual_m: f64,
}

/// Fits the depth under the cup; also says which share of the cup's pixels has none.
fn fit_surface(
    mask: &Mask,
    deepest: &DeepestPoint,
    depth: &DepthImage,
    scene: &Scene,
) -> (Option<Surface>, f32) {
    let Some(cup_radius_px) = cup_radius_px(mask, deepest, depth, scene) else {
        return (None, 1.0);
    };
    let reach = round_px(cup_radius_px.max(2.0));
    let step = (2 * reach + 1).div_ceil(16).max(1);
    let (x, y) = (round_px(deepest.x_px), round_px(deepest.y_px));
    let (mut points, mut looked) = (Vec::with_capacity(FIT_POINTS_MAX), 0u32);
    for (mask_x, run_y, length) in mask.columns() {
        if mask_x.abs_diff(x) > reach || mask_x.abs_diff(x) % step != 0 {
            continue;
        }
        for pixel_y in run_y.max(y.saturating_sub(reach))..(run_y + length).min(y + reach + 1) {
            let aside = [mask_x.abs_diff(x), pixel_y.abs_diff(y)];
            if aside[1] % step != 0 || aside.iter().map(|d| d * d).sum::<u32>() > reach * reach {
                continue;
            }
            looked += 1;
            if let Some(depth_m) = depth.depth_m(mask_x, pixel_y) {
                let ray = scene.camera_info.ray(f64::from(mask_x), f64::from(pixel_y));
                points.push((ray, depth_m));
            }
        }
    }
    let holes = 1.0 - points.len() as f32 / looked.max(1) as f32;
    (fit_plane(&points), holes)
}

/// How many pixels the cup's radius spans at the contact, by the median depth around it.
fn cup_radius_px(
    mask: &Mask,
    deepest: &DeepestPoint,
    depth: &DepthImage,
    scene: &Scene,
) -> Option<f32> {
    let (x, y) = (round_px(deepest.x_px), round_px(deepest.y_px));
    let reach = round_px(deepest.clearance_px.clamp(2.0, 8.0));
    let mut near = Vec::with_capacity(17 * 17);
    for y in y.saturating_sub(reach)..=(y + reach).min(mask.height_px() - 1) {
        for x in x.saturating_sub(reach)..=(x + reach).min(mask.width_px() - 1) {
            near.extend(depth.depth_m(x, y));
        }
    }
    let middle = near.len().checked_sub(1)? / 2;
    let median_m = *near.select_nth_unstable_by(middle, f64::total_cmp).1;
    Some(to_f32(scene.tool.cup_radius_m * scene.camera_info.intrinsics.fx_px / median_m))
}

/// Least squares with outliers left out: a plane is linear in inverse depth along rays of `z = 1`,
/// so each round solves a 3x3 system over the points near the last round's plane.
fn fit_plane(points: &[(Vector3<f64>, f64)]) -> Option<Surface> {
    let mut inverse_depth = solve(points.iter())?;
    let mut residuals = Vec::with_capacity(points.len());
    let mut limit_m = f64::INFINITY;
    for _ in 0..FIT_ROUNDS {
        residuals.clear();
        residuals.extend(points.iter().map(|point| residual_m(&inverse_depth, point)));
        let middle = residuals.len() / 2;
        let median_m = *residuals.select_nth_unstable_by(middle, f64::total_cmp).1;
        // 3 sigma of a normal distribution, whose median deviation is 0.6745 sigma.
        let last_m = std::mem::replace(&mut limit_m, (3.0 / 0.6745 * median_m).max(DEPTH_STEP_M));
        if (last_m - limit_m).abs() <= 0.01 * limit_m {
            break;
        }
        let near = points.iter().filter(|point| residual_m(&inverse_depth, point) <= limit_m);
        inverse_depth = solve(near)?;
    }
    let (mut squares, mut count) = (0.0, 0u32);
    for residual_m in points.iter().map(|point| residual_m(&inverse_depth, point)) {
        if residual_m <= limit_m {
            (squares, count) = (squares + residual_m * residual_m, count + 1);
        }
    }
    let residual_m = (squares / f64::from(count.max(1))).sqrt();
    Some(Surface { inverse_depth, residual_m })
}

/// Distance of a point to the plane, along the optical axis.
fn residual_m(inverse_depth: &Vector3<f64>, (ray, depth_m): &(Vector3<f64>, f64)) -> f64 {
    (1.0 / inverse_depth.dot(ray) - depth_m).abs()
}

fn solve<'a>(points: impl Iterator<Item = &'a (Vector3<f64>, f64)>) -> Option<Vector3<f64>> {
    let (mut normal_matrix, mut right, mut count) = (Matrix3::zeros(), Vector3::zeros(), 0);
    for (ray, depth_m) in points {
        normal_matrix += ray * ray.transpose();
        right += ray / *depth_m;
        count += 1;
    }
    if count < FIT_POINTS_MIN {
        return None;
    }
    let plane = normal_matrix.cholesky()?.solve(&right);
    plane.iter().all(|value| value.is_finite()).then_some(plane)
}

fn grasp(scene: &Scene, deepest: &DeepestPoint, contact: &Contact) -> Grasp {
    let camera_from_grasp = Isometry3::from_parts(
        Translation3::from(contact.point_in_camera),
        orientation(&-contact.normal_in_camera),
    );
    let reference_from_grasp = match &scene.base_from_camera {
        Some(base_from_camera) => base_from_camera * camera_from_grasp,
        None => camera_from_grasp,
    };
    let radius_px = scene.tool.cup_radius_m * scene.camera_info.intrinsics.fx_px
        / contact.point_in_camera.z.max(1e-3);
    let clearance = (deepest.clearance_px / to_f32(radius_px)).clamp(0.0, 1.0);
    let seal = match contact.pose_source {
        PoseSource::Depth => to_f32(1.0 / (1.0 + (contact.residual_m / SEAL_RESIDUAL_M).powi(2))),
        PoseSource::SupportPlane => SEAL_UNKNOWN,
    };
    let seen = match contact.pose_source {
        PoseSource::Depth => 1.0 - contact.depth_hole_fraction,
        PoseSource::SupportPlane => 1.0,
    };
    Grasp {
        contact_px: [deepest.x_px, deepest.y_px],
        reference_from_grasp,
        pose_source: contact.pose_source,
        quality: clearance * seal * seen,
        clearance,
        seal,
        depth_hole_fraction: contact.depth_hole_fraction,
    }
}

/// z along the approach, x as near to the camera's x as that allows.
fn orientation(approach_in_camera: &Unit<Vector3<f64>>) -> UnitQuaternion<f64> {
    let z = approach_in_camera.into_inner();
    let aside = if z.x.abs() < 0.9 { Vector3::x() } else { Vector3::y() };
    let x = (aside - z * z.dot(&aside)).normalize();
    let rotation = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[x, z.cross(&x), z]));
    UnitQuaternion::from_rotation_matrix(&rotation)
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::{BboxPx, CameraInfo, Distortion, Intrinsics, Plane, Tool};
    use proptest::prelude::*;

    fn scene() -> Scene {
        Scene {
            camera_info: CameraInfo {
                camera_name: "test".into(),
                frame_id: "camera_optical_frame".into(),
                width_px: 320,
                height_px: 240,
                intrinsics: Intrinsics { fx_px: 300.0, fy_px: 300.0, cx_px: 160.0, cy_px: 120.0 },
                distortion: Distortion::default(),
            },
            base_from_camera: None,
            support_plane_in_camera: Some(Plane { normal: -Vector3::z_axis(), offset_m: -1.0 }),
            tool: Tool { cup_radius_m: 0.02 },
            calibration_id: "test".into(),
        }
    }

    fn rectangle(x: u32, y: u32, w: u32, h: u32) -> Mask {
        let mut bitmap = vec![0; 320 * 240];
        for row in y..y + h {
            bitmap[(row * 320 + x) as usize..][..w as usize].fill(1);
        }
        Mask::from_bitmap(320, 240, &bitmap)
    }

    fn instance(mask: Mask) -> Instance {
        let bbox = mask.bbox().unwrap();
        Instance { class_id: 0, score: 0.9, bbox, mask }
    }

    /// Depth of a plane through `(0, 0, z_m)` with the given normal, quantised to 1 mm.
    fn plane_depth(z_m: f64, normal: Vector3<f64>, info: &CameraInfo) -> DepthImage {
        let mut data = Vec::new();
        for y in 0..240 {
            for x in 0..320 {
                let ray = info.ray(f64::from(x), f64::from(y));
                data.push((1000.0 * z_m * normal.z / normal.dot(&ray)).round() as u16);
            }
        }
        DepthImage::new(320, 240, data).unwrap()
    }

    #[test]
    fn the_deepest_point_of_a_long_box_is_at_its_middle() {
        let point = deepest_point(&rectangle(40, 60, 200, 40));
        assert!((point.x_px - 140.0).abs() <= 5.0, "{point:?}");
        assert!((point.y_px - 80.0).abs() <= 5.0, "{point:?}");
        assert!((point.clearance_px - 20.0).abs() <= 5.0, "{point:?}");
    }

    #[test]
    fn a_mask_of_one_pixel_has_a_deepest_point() {
        let point = deepest_point(&rectangle(7, 9, 1, 1));
        assert_eq!((point.x_px, point.y_px), (7.0, 9.0));
    }

    #[test]
    fn without_depth_the_pose_lies_on_the_support_plane_and_says_so() {
        let packages =
            plan(vec![instance(rectangle(140, 100, 40, 40))], &[1], None, Some(&scene()));
        let grasp = &packages[0].grasps[0];
        assert_eq!(grasp.pose_source, PoseSource::SupportPlane);
        assert_eq!(packages[0].height_m, None);
        let contact = grasp.reference_from_grasp.translation.vector;
        assert!((contact - Vector3::new(0.0, 0.0, 1.0)).norm() < 0.01, "{contact}");
    }

    #[test]
    fn without_a_calibration_there_is_no_grasp() {
        let packages = plan(vec![instance(rectangle(140, 100, 40, 40))], &[1], None, None);
        assert!(packages[0].grasps.is_empty());
    }

    #[test]
    fn a_cup_over_holes_falls_back_to_the_support_plane() {
        let holes = DepthImage::new(320, 240, vec![0; 320 * 240]).unwrap();
        let instances = vec![instance(rectangle(140, 100, 40, 40))];
        let packages = plan(instances, &[1], Some(&holes), Some(&scene()));
        assert_eq!(packages[0].grasps[0].pose_source, PoseSource::SupportPlane);
        assert_eq!(packages[0].grasps[0].depth_hole_fraction, 1.0);
    }

    #[test]
    fn the_topmost_package_is_picked_first() {
        let mut data = vec![1000; 320 * 240];
        for (x, depth_mm) in [(40, 900), (160, 700)] {
            for row in 100..140 {
                data[row * 320 + x..][..40].fill(depth_mm);
            }
        }
        let depth = DepthImage::new(320, 240, data).unwrap();
        let instances =
            vec![instance(rectangle(40, 100, 40, 40)), instance(rectangle(160, 100, 40, 40))];
        let packages = plan(instances, &[1, 2], Some(&depth), Some(&scene()));
        assert_eq!(packages.iter().map(|p| p.track_id).collect::<Vec<_>>(), [2, 1]);
        assert!((packages[0].height_m.unwrap() - 0.3).abs() < 0.001);
        assert_eq!((packages[0].pick_rank, packages[1].pick_rank), (0, 1));
    }

    #[test]
    fn poses_are_in_base_where_the_cell_is_calibrated() {
        let base_from_camera = Isometry3::new(
            Vector3::new(0.5, 0.0, 1.0),
            Vector3::new(std::f64::consts::PI, 0.0, 0.0),
        );
        let calibrated = Scene { base_from_camera: Some(base_from_camera), ..scene() };
        let packages =
            plan(vec![instance(rectangle(140, 100, 40, 40))], &[1], None, Some(&calibrated));
        let base_from_grasp = packages[0].grasps[0].reference_from_grasp;
        assert!((base_from_grasp.translation.vector - Vector3::new(0.5, 0.0, 0.0)).norm() < 0.01);
        let approach_in_base = base_from_grasp * Vector3::z();
        assert!((approach_in_base + Vector3::z()).norm() < 1e-6, "down: {approach_in_base}");
    }

    proptest! {
        #[test]
        fn distances_are_those_of_looking_at_every_cell(
            columns in 1usize..12, rows in 1usize..12, seed in prop::collection::vec(any::<bool>(), 144),
        ) {
            let inside = &seed[..columns * rows];
            let place = |cell: usize| [(cell / rows) as i32, (cell % rows) as i32];
            let distances = squared_distances(inside, columns, rows);
            // Above and below the grid there is outside, as there is around every mask.
            for (cell, distance) in distances.iter().enumerate() {
                let [x, y] = place(cell);
                let beyond = (y + 1).min(rows as i32 - y).pow(2) as u32;
                let nearest = (0..inside.len()).filter(|&other| !inside[other]).map(|other| {
                    let [ox, oy] = place(other);
                    ((x - ox).pow(2) + (y - oy).pow(2)) as u32
                });
                prop_assert_eq!(*distance, nearest.chain([beyond]).min().unwrap());
            }
        }

        #[test]
        fn the_normal_of_a_tilted_plane_is_found_despite_outliers(
            tilt_x in -0.7f64..0.7, tilt_y in -0.7f64..0.7, z_m in 0.5f64..1.5, seed in 0usize..50,
        ) {
            let scene = scene();
            let normal = Vector3::new(tilt_x, tilt_y, -1.0).normalize();
            let depth = plane_depth(z_m, normal, &scene.camera_info);
            let mut data = depth.data_mm().to_vec();
            for i in (seed..data.len()).step_by(11) {
                data[i] += 150;
            }
            let depth = DepthImage::new(320, 240, data).unwrap();
            let instances = vec![instance(rectangle(130, 90, 60, 60))];
            let packages = plan(instances, &[1], Some(&depth), Some(&scene));
            let grasp = &packages[0].grasps[0];
            prop_assert_eq!(grasp.pose_source, PoseSource::Depth);
            let approach = grasp.reference_from_grasp * Vector3::z();
            let error_deg = (-approach).angle(&normal).to_degrees();
            prop_assert!(error_deg < 3.0, "{error_deg} degrees off");
        }

        #[test]
        fn the_deepest_point_lies_inside(
            w in 1u32..40, h in 1u32..40, bits in proptest::collection::vec(0u8..4, 1600),
        ) {
            let bitmap: Vec<u8> = bits[..(w * h) as usize].iter().map(|&b| u8::from(b > 0)).collect();
            let mask = Mask::from_bitmap(w, h, &bitmap);
            prop_assume!(!mask.is_empty());
            let point = deepest_point(&mask);
            prop_assert!(mask.contains(point.x_px as u32, point.y_px as u32), "{point:?}");
        }
    }

    #[test]
    fn boxes_and_masks_of_one_frame_agree_in_size() {
        let bbox = BboxPx { x_min_px: 3.0, y_min_px: 4.0, x_max_px: 13.0, y_max_px: 24.0 };
        assert_eq!(rectangle(3, 4, 10, 20).bbox(), Some(bbox));
    }
}

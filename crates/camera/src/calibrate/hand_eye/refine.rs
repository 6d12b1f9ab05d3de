//! The joint refinement: camera and board at once, by the board's points in the pictures.

use std::sync::Arc;

use magpie_perception::{CameraInfo, Distortion};
use nalgebra::{DVector, Isometry3, Point2, Point3, Vector3};

use super::model::{HandEye, HandEyePair};
use crate::calibrate::least_squares::minimise;

/// The focal length of the camera that stands in where there is no picture.
const VIRTUAL_FOCAL_PX: f64 = 1000.0;
/// The size of the board that stands in, in metres: it fits on an A4 sheet.
const VIRTUAL_BOARD_M: [f64; 2] = [0.24, 0.16];

/// One pair, ready to be compared: points of the board, and where an ideal camera sees them.
#[derive(Clone)]
pub(crate) struct Observation {
    base_from_gripper: Isometry3<f64>,
    /// Points in the board's reference frame, and where `lens` sees them.
    points: Vec<(Point3<f64>, Point2<f64>)>,
    lens: Lens,
}

/// The camera that points are compared in.
#[derive(Clone)]
enum Lens {
    /// Pixels from the principal point of a camera without distortion, with this focal length:
    /// undistorted once.
    Straight { focal_px: f64 },
    /// A fisheye lens's own pixels: undistorted, what lies aside would weigh many times as much.
    Fisheye(Arc<CameraInfo>),
}

/// What the refinement found.
#[derive(Clone, Copy)]
pub(crate) struct Refined {
    pub(crate) hand_eye: HandEye,
    pub(crate) rms_px: f64,
}

/// Takes the pair's picture where there is one, else the picture that its board pose would make.
pub(crate) fn observe(pair: &HandEyePair, info: Option<&CameraInfo>) -> Observation {
    let base_from_gripper = pair.base_from_gripper;
    if let (Some(view), Some(info)) = (&pair.view, info) {
        if matches!(info.distortion, Distortion::Equidistant(_)) {
            let points = view.points.iter().map(|p| (p.in_board, p.px)).collect();
            let lens = Lens::Fisheye(Arc::new(info.clone()));
            return Observation { base_from_gripper, points, lens };
        }
        let focal_px = f64::midpoint(info.intrinsics.fx_px, info.intrinsics.fy_px);
        let undistorted = |px: Point2<f64>| {
            let ray = info.ray(px.x, px.y);
            Point2::new(ray.x * focal_px, ray.y * focal_px)
        };
        let points = view.points.iter().map(|p| (p.in_board, undistorted(p.px))).collect();
        return Observation { base_from_gripper, points, lens: Lens::Straight { focal_px } };
    }
    let grid = (0..9_u8).map(|i| {
        let share = |index: u8| f64::from(index) / 2.0;
        let [width_m, height_m] = VIRTUAL_BOARD_M;
        Point3::new(width_m * share(i % 3), height_m * share(i / 3), 0.0)
    });
    let see = |point: Point3<f64>| {
        let px = project(&(pair.camera_from_board * point), VIRTUAL_FOCAL_PX);
        px.map(|px| (point, px))
    };
    let points = grid.filter_map(see).collect();
    let lens = Lens::Straight { focal_px: VIRTUAL_FOCAL_PX };
    Observation { base_from_gripper, points, lens }
}

impl Lens {
    fn project(&self, point_in_camera: &Point3<f64>) -> Option<Point2<f64>> {
        match self {
            Lens::Straight { focal_px } => project(point_in_camera, *focal_px),
            Lens::Fisheye(info) => info.project(point_in_camera),
        }
    }
}

fn project(point_in_camera: &Point3<f64>, focal_px: f64) -> Option<Point2<f64>> {
    (point_in_camera.z > 1e-6).then(|| {
        let scale = focal_px / point_in_camera.z;
        Point2::new(point_in_camera.x * scale, point_in_camera.y * scale)
    })
}

/// Moves camera and board until the board lies where the pictures have it. Returns `None` if the
/// start puts the board behind the camera, or nothing was observed.
pub(crate) fn refine(start: &HandEye, observations: &[Observation]) -> Option<Refined> {
    let count: usize = observations.iter().map(|observation| observation.points.len()).sum();
    if count == 0 {
        return None;
    }
    let residuals = |parameters: &DVector<f64>| residuals(&moved(start, parameters), observations);
    let hand_eye = moved(start, &minimise(12, residuals)?);
    let left = self::residuals(&hand_eye, observations)?;
    let rms_px = (left.norm_squared() / count as f64).sqrt();
    Some(Refined { hand_eye, rms_px })
}

/// Six numbers move the camera in its own frame, six the board in its own.
fn moved(start: &HandEye, parameters: &DVector<f64>) -> HandEye {
    let by = |first: usize| {
        let vector =
            |at: usize| Vector3::new(parameters[at], parameters[at + 1], parameters[at + 2]);
        Isometry3::new(vector(first), vector(first + 3))
    };
    HandEye {
        parent_from_camera: start.parent_from_camera * by(0),
        parent_from_board: start.parent_from_board * by(6),
        ..*start
    }
}

fn residuals(hand_eye: &HandEye, observations: &[Observation]) -> Option<DVector<f64>> {
    let mut values = Vec::new();
    for observation in observations {
        let camera_from_board = hand_eye.camera_from_board(&observation.base_from_gripper);
        for (in_board, seen) in &observation.points {
            let px = observation.lens.project(&(camera_from_board * in_board))?;
            values.extend([px.x - seen.x, px.y - seen.y]);
        }
    }
    Some(DVector::from_vec(values))
}

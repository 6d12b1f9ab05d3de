//! What is known of the cell before the first frame: camera, support plane, tool.

use nalgebra::{Isometry3, Point3, Unit, Vector3};

use crate::{CameraInfo, Tool};

/// A ray whose direction and a plane's normal have a smaller product runs along the plane.
const PARALLEL_SLOPE_MAX: f64 = 1e-9;

/// A plane in Hesse form: `normal . point = offset_m`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plane {
    pub normal: Unit<Vector3<f64>>,
    pub offset_m: f64,
}

impl Plane {
    pub fn distance_m(&self, point: &Point3<f64>) -> f64 {
        self.normal.dot(&point.coords) - self.offset_m
    }

    /// Where the ray from the origin along `direction` meets the plane, if it does so ahead.
    pub fn intersect_ray(&self, direction: &Vector3<f64>) -> Option<Point3<f64>> {
        let slope = self.normal.dot(direction);
        let scale = self.offset_m / slope;
        (slope.abs() > PARALLEL_SLOPE_MAX && scale > 0.0).then(|| Point3::from(direction * scale))
    }
}

/// Where the camera is, as a hand-eye calibration says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CameraPlace {
    /// The camera is fixed in the cell: `base_from_camera`.
    InBase(Isometry3<f64>),
    /// The camera is on the arm: `gripper_from_camera`. The arm's controller knows best where the
    /// gripper was.
    InGripper(Isometry3<f64>),
}

/// What is constant about the cell while the process lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    pub camera_info: CameraInfo,
    /// `None` while the cell has no hand-eye calibration: poses are then in the camera's frame.
    pub camera_place: Option<CameraPlace>,
    /// In the optical frame, normal towards the camera. A camera on the arm must always look from
    /// the same place for this to hold.
    pub support_plane_in_camera: Option<Plane>,
    pub tool: Tool,
    /// Identity of the calibration, carried by every message.
    pub calibration_id: String,
}

impl Scene {
    /// The reference frame of the poses.
    pub fn reference_frame(&self) -> ReferenceFrame {
        match self.camera_place {
            None => ReferenceFrame::Camera,
            Some(CameraPlace::InBase(_)) => ReferenceFrame::Base,
            Some(CameraPlace::InGripper(_)) => ReferenceFrame::Gripper,
        }
    }

    pub fn reference_from_camera(&self) -> Isometry3<f64> {
        match self.camera_place {
            None => Isometry3::identity(),
            Some(CameraPlace::InBase(pose) | CameraPlace::InGripper(pose)) => pose,
        }
    }
}

/// The reference frame of published poses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferenceFrame {
    Base,
    /// The gripper at the frame's stamp: the camera is on the arm.
    Gripper,
    /// The camera's optical frame: the cell has no hand-eye calibration.
    Camera,
}

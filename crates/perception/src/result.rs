//! Instances, packages, grasps, and what is known of the cell they lie in.

use std::sync::atomic::{AtomicU64, Ordering};

use nalgebra::{Isometry3, Point3, Unit, Vector3};

use crate::{CameraInfo, Mask, StampNs, StampSource, Tool, Velocity};

/// Classes of the universal model, in the order of its class ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PackageType {
    Box,
    PaddedMailer,
    PolyBag,
    /// Unpackaged goods.
    Item,
}

impl PackageType {
    pub const ALL: [PackageType; 4] =
        [PackageType::Box, PackageType::PaddedMailer, PackageType::PolyBag, PackageType::Item];

    pub fn name(self) -> &'static str {
        match self {
            PackageType::Box => "box",
            PackageType::PaddedMailer => "padded_mailer",
            PackageType::PolyBag => "poly_bag",
            PackageType::Item => "item",
        }
    }
}

/// Box around an instance in the camera image. Continuous pixel coordinates of its outer edges:
/// the pixel `(0, 0)` alone has `x_min_px = 0`, `x_max_px = 1` (as COCO counts).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BboxPx {
    pub x_min_px: f32,
    pub y_min_px: f32,
    pub x_max_px: f32,
    pub y_max_px: f32,
}

impl BboxPx {
    pub fn area_px(&self) -> f32 {
        (self.x_max_px - self.x_min_px).max(0.0) * (self.y_max_px - self.y_min_px).max(0.0)
    }

    /// Intersection over union, `0.0..=1.0`.
    pub fn iou(&self, other: &BboxPx) -> f32 {
        let width = self.x_max_px.min(other.x_max_px) - self.x_min_px.max(other.x_min_px);
        let height = self.y_max_px.min(other.y_max_px) - self.y_min_px.max(other.y_min_px);
        let intersection = width.max(0.0) * height.max(0.0);
        let union = self.area_px() + other.area_px() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }
}

/// One object found in one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Index into [`ModelSpec::class_names`](crate::ModelSpec::class_names).
    pub class_id: usize,
    /// `0.0..=1.0`.
    pub score: f32,
    pub bbox: BboxPx,
    /// Everything visible of the object, at the camera's resolution.
    pub mask: Mask,
}

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
        (slope.abs() > 1e-9 && scale > 0.0).then(|| Point3::from(direction * scale))
    }
}

/// Where the camera is, as a hand-eye calibration says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CameraPlace {
    /// Fixed in the cell, `base_from_camera`.
    InBase(Isometry3<f64>),
    /// On the arm, `gripper_from_camera`: where the gripper was, the arm's controller knows best.
    InGripper(Isometry3<f64>),
}

/// What is constant about the cell while the process lives.
#[derive(Clone, Debug, PartialEq)]
pub struct Scene {
    pub camera_info: CameraInfo,
    /// `None` while the cell has no hand-eye calibration: poses are then in the camera's frame.
    pub camera_place: Option<CameraPlace>,
    /// In the optical frame, normal towards the camera. With the camera on the arm it holds where the
    /// arm looks from always the same place.
    pub support_plane_in_camera: Option<Plane>,
    pub tool: Tool,
    /// Identity of the calibration, carried by every message.
    pub calibration_id: String,
}

impl Scene {
    /// Of the poses.
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

/// What a pose was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoseSource {
    Depth,
    /// No usable depth: the pixel's ray met the support plane, so height is unknown.
    SupportPlane,
}

/// Suction cups of a tool, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CupSet(u8);

impl CupSet {
    /// `index` is below [`Tool::CUPS_MAX`].
    pub fn of(index: usize) -> CupSet {
        CupSet::default().with(index)
    }

    pub fn with(self, index: usize) -> CupSet {
        assert!(index < Tool::CUPS_MAX, "cup {index} of at most {}", Tool::CUPS_MAX);
        CupSet(self.0 | 1 << index)
    }

    pub fn indices(self) -> impl Iterator<Item = usize> {
        (0..Tool::CUPS_MAX).filter(move |index| self.0 >> index & 1 == 1)
    }
}

/// Where and how the tool can hold a package.
#[derive(Clone, Debug, PartialEq)]
pub struct Grasp {
    /// The contact point in the camera image.
    pub contact_px: [f32; 2],
    /// The tool's reference frame when its cups touch: for a single cup its origin is the contact
    /// point. z is the approach, into the package. In the reference frame that
    /// [`Packages::reference_frame`] names.
    pub reference_from_grasp: Isometry3<f64>,
    pub pose_source: PoseSource,
    /// `0.0..=1.0`, the product of its parts.
    pub quality: f32,
    /// `0.0..=1.0`: how far the lips stay inside the mask.
    pub clearance: f32,
    /// `0.0..=1.0`: how little the lip of the worst cup has to follow, against its compliance.
    pub seal: f32,
    /// `0.0..=1.0`: how near to the centre of mass the cups hold.
    pub moment: f32,
    /// `0.0..=1.0`: how little the approach leans.
    pub tilt: f32,
    /// `0.0..=1.0`: how much of the tool's suction is in use.
    pub hold: f32,
    /// `0.0..=1.0`: share of the cups' pixels without depth.
    pub depth_hole_fraction: f32,
    /// The cups to switch on.
    pub cups: CupSet,
    /// Standard deviation of the contact along the approach, the calibration's share left out.
    pub position_sigma_m: f64,
}

/// Why a package has no grasp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GraspRefusal {
    /// The camera has no calibration.
    NotCalibrated,
    /// Neither depth nor a support plane says where its surface is.
    NoSurface,
    /// No cup fits on what is seen of it.
    ToolTooLarge,
    /// Everywhere beyond the tilt limit.
    TooSteep,
    /// Something stands where the tool would have to come from.
    Blocked,
    /// Nowhere flat enough for a cup.
    NoSeal,
    /// Too heavy, or too much of it unseen, to be held where it can be reached.
    OffBalance,
}

/// Outer dimensions. Along the package's own axes, the height above the support plane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SizeM {
    pub length_m: f64,
    pub width_m: f64,
    pub height_m: f64,
}

/// Why the depth of a frame was not used.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum DepthProblem {
    #[error("no pixel of the depth image has a measurement: is the depth stream covered or off?")]
    Empty,
    #[error(
        "depth says {ratio:.3} times the distance of the support plane: it must be in millimetres, \
         aligned with the color, and scene.support_plane_z_in_base_m must be right"
    )]
    NotTheSupportPlanes { ratio: f32 },
    #[error(
        "most packages lie below the support plane, {ratio:.2} times as far away as it: depth must be \
         in millimetres, and scene.support_plane_z_in_base_m must be right"
    )]
    BelowTheSupportPlane { ratio: f32 },
    #[error(
        "depth is {median_m:.3} m at the median: it must be in millimetres, between 0.1 and 12 m"
    )]
    OutOfRange { median_m: f32 },
}

/// An instance with an identity and, in a calibrated cell, a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Package {
    /// Stays with the package from frame to frame; never reused within a run.
    pub track_id: u64,
    pub instance: Instance,
    /// Best first.
    pub grasps: Vec<Grasp>,
    /// Why there are no grasps; `None` if there are.
    pub refusal: Option<GraspRefusal>,
    /// The pixel deepest inside the mask.
    pub deepest_px: [f32; 2],
    /// Height of the contact above the support plane, where both are known.
    pub height_m: Option<f64>,
    /// Middle of the package; without depth, the point of the support plane seen through it.
    pub position_in_reference: Option<Point3<f64>>,
    /// `None` where it was not measured, or where the package is not wholly seen, is a few pixels wide,
    /// or leans by 30 degrees or more.
    pub size: Option<SizeM>,
    /// `0.0..=1.0`: share of its rim where another package is nearer to the camera.
    pub occluded_share: f32,
    /// `0` is to be picked first.
    pub pick_rank: u32,
}

/// All packages of one frame, in pick order.
#[derive(Clone, Debug, PartialEq)]
pub struct Packages {
    pub sequence: u64,
    pub stamp: StampNs,
    pub stamp_source: StampSource,
    pub image_width_px: u32,
    pub image_height_px: u32,
    pub reference_frame: ReferenceFrame,
    /// No picking after this moment.
    pub valid_until: StampNs,
    pub packages: Vec<Package>,
    /// How all packages move together; `None` while nobody knows.
    pub velocity: Option<Velocity>,
    /// Why the frame's depth was not used; `None` if it was, or if there is none.
    pub depth_problem: Option<DepthProblem>,
}

/// How long each stage of one frame took, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct StageLatencies {
    /// From the stamp to the moment the pipeline took the frame.
    pub wait_ns: u64,
    pub preprocess_ns: u64,
    pub inference_ns: u64,
    pub decode_ns: u64,
    pub plan_ns: u64,
    /// From the stamp to the hand-over to the publisher.
    pub total_ns: u64,
}

/// What the pipeline hands to the publisher.
#[derive(Clone, Debug)]
pub struct FrameReport {
    pub packages: Packages,
    pub latencies: StageLatencies,
    pub counters: CountersSnapshot,
}

/// What happened to frames so far. Written by the loop, read by status.
#[derive(Debug, Default)]
pub struct Counters {
    pub frames: AtomicU64,
    /// Dropped: older than the limit when their turn came.
    pub frames_stale: AtomicU64,
    /// Dropped: a newer frame replaced them while the pipeline was busy.
    pub frames_superseded: AtomicU64,
    /// Dropped: could not be decoded, or changed size in mid-stream.
    pub frames_corrupt: AtomicU64,
    pub results_published: AtomicU64,
    /// Published, but later after the exposure than [`Limits::deadline_ns`](crate::Limits).
    pub deadline_misses: AtomicU64,
}

/// [`Counters`] at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CountersSnapshot {
    pub frames: u64,
    pub frames_stale: u64,
    pub frames_superseded: u64,
    pub frames_corrupt: u64,
    pub results_published: u64,
    pub deadline_misses: u64,
}

impl Counters {
    pub fn snapshot(&self) -> CountersSnapshot {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CountersSnapshot {
            frames: read(&self.frames),
            frames_stale: read(&self.frames_stale),
            frames_superseded: read(&self.frames_superseded),
            frames_corrupt: read(&self.frames_corrupt),
            results_published: read(&self.results_published),
            deadline_misses: read(&self.deadline_misses),
        }
    }
}

//! What is found in a frame: instances, packages, grasps.

use std::ops::Deref;

use nalgebra::{Isometry3, Point3, Vector3};

use crate::{
    BboxPx, CountersSnapshot, CupSet, Mask, ReferenceFrame, StageLatencies, StampNs, StampSource,
};

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

/// What a pose was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoseSource {
    Depth,
    /// No usable depth: the pixel's ray met the support plane, so height is unknown.
    SupportPlane,
}

/// How well a tool would hold, as six parts of `0.0..=1.0` each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// How far the lips stay inside the mask.
    pub clearance: f32,
    /// How little the lip of the worst cup has to follow, against its compliance.
    pub seal: f32,
    /// How near to the centre of mass the cups hold.
    pub moment: f32,
    /// How little the approach leans.
    pub tilt: f32,
    /// How much of the tool's suction is in use.
    pub hold: f32,
    /// Share of the worst cup's pixels with depth. `None` where the pose was made without depth:
    /// then this part does not count.
    pub depth_share: Option<f32>,
}

impl Quality {
    /// The product of the parts, `0.0..=1.0`.
    pub fn product(&self) -> f32 {
        let Quality { clearance, seal, moment, tilt, hold, depth_share } = self;
        clearance * seal * moment * tilt * hold * depth_share.unwrap_or(1.0)
    }

    /// Share of the worst cup's pixels without depth: 1 for a pose that was made without depth.
    pub fn depth_hole_fraction(&self) -> f32 {
        1.0 - self.depth_share.unwrap_or(0.0)
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
    pub quality: Quality,
    /// The cups to switch on.
    pub cups: CupSet,
    /// Standard deviation of the contact along the approach, the calibration's share left out.
    pub position_sigma_m: f64,
}

/// The grasps of a package, the best first; never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Grasps(Vec<Grasp>);

impl Grasps {
    /// `None` of an empty list: a package without grasps has a [`GraspRefusal`].
    pub fn new(best_first: Vec<Grasp>) -> Option<Grasps> {
        (!best_first.is_empty()).then_some(Grasps(best_first))
    }

    pub fn best(&self) -> &Grasp {
        &self.0[0]
    }

    /// The list, for its memory.
    pub(crate) fn into_vec(self) -> Vec<Grasp> {
        self.0
    }
}

impl Deref for Grasps {
    type Target = [Grasp];

    fn deref(&self) -> &[Grasp] {
        &self.0
    }
}

/// Why a package has no grasp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GraspRefusal {
    /// The camera has no calibration.
    NotCalibrated,
    /// Neither depth nor a support plane says where its surface is, or it is too far aside for the
    /// lens to say so.
    NoSurface,
    /// No cup fits on what is seen of it.
    ToolTooLarge,
    /// It leans beyond the tilt limit everywhere.
    TooSteep,
    /// Something stands where the tool would have to come from.
    Blocked,
    /// It is nowhere flat enough for a cup.
    NoSeal,
    /// It is too heavy, or too much of it is hidden, to be held where it can be reached.
    OffBalance,
}

/// Outer dimensions. Length and width are along the package's own axes, the height is above the
/// support plane.
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
    /// `ratio`: the median over the picture of measured depth over depth of the support plane.
    #[error(
        "depth is {ratio:.3} times the distance of the support plane: depth must be in \
         millimetres and aligned with the colour image, and the support plane's height must be right"
    )]
    NotTheSupportPlanes { ratio: f32 },
    /// `ratio`: the median over packages of measured depth over depth of the support plane.
    #[error(
        "most packages lie below the support plane, {ratio:.2} times as far away as it: depth must \
         be in millimetres, and the support plane's height must be right"
    )]
    BelowTheSupportPlane { ratio: f32 },
    /// There is no support plane to compare with.
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
    /// Where the tool can hold it, or why it cannot.
    pub grasps: Result<Grasps, GraspRefusal>,
    /// The pixel deepest inside the mask.
    pub deepest_px: [f32; 2],
    /// Height of the contact above the support plane, where both are known.
    pub height_m: Option<f64>,
    /// Centre of the package; without depth, the point of the support plane seen through it.
    pub position_in_reference: Option<Point3<f64>>,
    /// `None` where it was not measured, or where the package is not wholly seen, is a few pixels
    /// wide, or leans by 30 degrees or more.
    pub size: Option<SizeM>,
    /// `0.0..=1.0`: share of its rim where another package is nearer to the camera.
    pub occluded_share: f32,
    /// `0` is to be picked first.
    pub pick_rank: u32,
}

impl Package {
    /// A package of which nothing is known but what the model found.
    pub fn unplanned(instance: Instance, track_id: u64) -> Package {
        Package {
            track_id,
            instance,
            grasps: Err(GraspRefusal::NotCalibrated),
            deepest_px: [0.0; 2],
            height_m: None,
            position_in_reference: None,
            size: None,
            occluded_share: 0.0,
            pick_rank: 0,
        }
    }

    /// Best first; empty where there is a [`refusal`](Self::refusal).
    pub fn grasps(&self) -> &[Grasp] {
        self.grasps.as_deref().unwrap_or_default()
    }

    pub fn best_grasp(&self) -> Option<&Grasp> {
        self.grasps.as_ref().ok().map(Grasps::best)
    }

    /// Why there are no grasps; `None` if there are.
    pub fn refusal(&self) -> Option<GraspRefusal> {
        self.grasps.as_ref().err().copied()
    }
}

/// A velocity in the reference frame of the poses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Velocity {
    pub linear_m_s: Vector3<f64>,
    /// Standard deviation along each axis.
    pub sigma_m_s: f64,
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

/// What the pipeline hands to the publisher.
#[derive(Clone, Debug)]
pub struct FrameReport {
    pub packages: Packages,
    pub latencies: StageLatencies,
    pub counters: CountersSnapshot,
}

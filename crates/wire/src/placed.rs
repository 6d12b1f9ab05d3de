//! Poses as an arm may have them: in time, finite, and in the reference frame that it asked for.

use crate::proto::{self as wire, ReferenceFrame};
use crate::read::plain;

/// The result's time was over when it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the result of frame {sequence} {why}; ask the subscriber for a newer one")]
pub struct Expired {
    pub sequence: u64,
    pub why: ExpiredWhy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpiredWhy {
    #[error("expired {} ms ago", by_ns / 1_000_000)]
    Late { by_ns: u64 },
    #[error("is from before this machine's clock was set")]
    ClockStepped,
}

/// Why there is no pose to move by.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoPose {
    #[error(transparent)]
    Expired(#[from] Expired),
    #[error(transparent)]
    WrongFrame(#[from] WrongFrame),
    #[error(
        "the moment lies {:.1} s {} the exposure, and where a package is can be told for a minute: is it \
         Unix time in nanoseconds?",
        elapsed_s.abs(),
        if *elapsed_s < 0.0 { "before" } else { "after" }
    )]
    Moment { elapsed_s: f64 },
    #[error("the pose is beyond all numbers: look at the calibration, and at the velocity")]
    NotFinite,
}

/// The pose is in another reference frame than the one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongFrame {
    pub found: ReferenceFrame,
    /// Its name.
    pub frame_id: String,
    pub wanted: ReferenceFrame,
}

impl std::error::Error for WrongFrame {}

impl std::fmt::Display for WrongFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let remedy = match self.found {
            ReferenceFrame::Base => "use base_from_grasp",
            ReferenceFrame::Camera => {
                "no arm can move by it until the cell has a hand-eye calibration"
            }
            ReferenceFrame::Gripper => {
                "the camera is on the arm: pose_in_base takes where the gripper was at the stamp"
            }
            ReferenceFrame::Unspecified => {
                "this reader does not know it: use the reader of the daemon's version"
            }
        };
        let name = |reference: ReferenceFrame| plain(reference.as_str_name(), "REFERENCE_FRAME_");
        let (found, wanted) = (name(self.found), name(self.wanted));
        write!(f, "the pose is in {found} ({:?}), not in {wanted}: {remedy}", self.frame_id)
    }
}

/// A pose at a later time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PoseAt<'a> {
    pub pose: wire::Pose,
    /// Standard deviation along each axis, the calibration's error left out.
    pub position_sigma_m: f64,
    /// Reference frame of the pose.
    pub frame_id: &'a str,
    pub reference_frame: ReferenceFrame,
}

impl PoseAt<'_> {
    /// The pose as a matrix, as [`PackagesView::base_from_grasp`](crate::PackagesView::base_from_grasp)
    /// gives it. It holds until the result expires.
    ///
    /// # Errors
    /// If it is not in the robot's base.
    pub fn base_from_grasp(&self) -> Result<[[f64; 4]; 4], NoPose> {
        check_frame(self.reference_frame, self.frame_id, ReferenceFrame::Base)?;
        self.pose.matrix().ok_or(NoPose::NotFinite)
    }
}

pub(crate) fn check_frame(
    found: ReferenceFrame,
    frame_id: &str,
    wanted: ReferenceFrame,
) -> Result<(), WrongFrame> {
    if found == wanted {
        return Ok(());
    }
    Err(WrongFrame { found, frame_id: frame_id.to_owned(), wanted })
}

/// What was computed, if it is a pose.
pub(crate) fn finite(pose: wire::Pose) -> Result<wire::Pose, NoPose> {
    let is_finite = |p: &wire::Vector3| [p.x, p.y, p.z].iter().all(|value| value.is_finite());
    if pose.position_m.as_ref().is_some_and(is_finite) { Ok(pose) } else { Err(NoPose::NotFinite) }
}

//! The differences between two results, and the tolerances within which they count as the same.

use std::fmt;

use magpie_wire as wire;
use nalgebra::{Quaternion, UnitQuaternion, Vector3};

/// Differences up to these count as the same result. The defaults accept what another execution
/// provider changes by rounding, and nothing that a picker would notice.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Tolerance {
    /// Least overlap (intersection over union) of the masks of a package.
    #[arg(long, default_value_t = 0.98, value_parser = share, requires = "compare")]
    pub(super) mask_iou_min: f32,
    /// Greatest difference of scores.
    #[arg(long, default_value_t = 0.02, value_parser = share, requires = "compare")]
    pub(super) score_difference_max: f32,
    /// Greatest distance between the best grasps of a package, or between its centres without one.
    #[arg(long, default_value_t = 2.0, value_parser = distance, requires = "compare")]
    pub(super) position_mm_max: f64,
    /// Greatest angle between their approach directions; of a tool with several cups, between poses.
    #[arg(long, default_value_t = 2.0, value_parser = distance, requires = "compare")]
    pub(super) angle_deg_max: f64,
    /// Greatest difference of a package's length, width or height.
    #[arg(long, default_value_t = 5.0, value_parser = distance, requires = "compare")]
    pub(super) size_mm_max: f64,
    /// Greatest share of frames that have a recorded result and were not replayed, or the other way
    /// round.
    #[arg(long, default_value_t = 0.05, value_parser = share, requires = "compare")]
    pub(super) uncompared_share_max: f32,
}

fn share(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("must lie between 0 and 1".into()) }
}

fn distance(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if value >= 0.0 { Ok(value) } else { Err("must be 0 or more".into()) }
}

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Difference {
    Missing,
    New,
    Type {
        recorded: String,
        replayed: String,
    },
    Mask {
        iou: f32,
    },
    Score {
        recorded: f32,
        replayed: f32,
    },
    GraspMissing,
    GraspNew,
    ReferenceFrame {
        recorded: String,
        replayed: String,
    },
    Position {
        mm: f64,
    },
    Angle {
        deg: f64,
    },
    Cups {
        recorded: Vec<u32>,
        replayed: Vec<u32>,
    },
    /// The centre of a package that cannot be held.
    Center {
        mm: f64,
    },
    Size {
        mm: f64,
    },
    /// Measured in one of the two results only.
    Known {
        what: &'static str,
        now: bool,
    },
    PickOrder {
        recorded: usize,
        replayed: usize,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Missing => f.write_str("is no longer found"),
            Difference::New => f.write_str("was not found"),
            Difference::Type { recorded, replayed } => write!(f, "was {recorded}, is {replayed}"),
            Difference::Mask { iou } => write!(f, "mask IoU {iou:.3}"),
            Difference::Score { recorded, replayed } => {
                write!(f, "score was {recorded:.3}, is {replayed:.3}")
            }
            Difference::GraspMissing => f.write_str("can no longer be held"),
            Difference::GraspNew => f.write_str("could not be held"),
            Difference::ReferenceFrame { recorded, replayed } => {
                write!(f, "poses were in {recorded}, are in {replayed}")
            }
            Difference::Position { mm } => write!(f, "grasp moved by {mm:.1} mm"),
            Difference::Angle { deg } => write!(f, "grasp turned by {deg:.1} deg"),
            Difference::Cups { recorded, replayed } => {
                write!(f, "was held by cups {recorded:?}, is by {replayed:?}")
            }
            Difference::Center { mm } => write!(f, "centre moved by {mm:.1} mm"),
            Difference::Size { mm } => write!(f, "size differs by {mm:.1} mm"),
            Difference::Known { what, now: true } => write!(f, "its {what} was not known"),
            Difference::Known { what, now: false } => write!(f, "its {what} is no longer known"),
            Difference::PickOrder { recorded, replayed } => {
                write!(f, "was number {recorded} in pick order, is {replayed}")
            }
        }
    }
}

/// How far the best grasps are from each other, and what differs beyond the tolerance.
pub(super) fn compare_holds(
    recorded: Option<&wire::Grasp>,
    replayed: Option<&wire::Grasp>,
    tolerance: &Tolerance,
) -> (f64, Vec<Difference>) {
    match (recorded, replayed) {
        (None, None) => (0.0, vec![]),
        (Some(_), None) => (0.0, vec![Difference::GraspMissing]),
        (None, Some(_)) => (0.0, vec![Difference::GraspNew]),
        (Some(recorded), Some(replayed)) => compare_grasps(recorded, replayed, tolerance),
    }
}

fn compare_grasps(
    recorded: &wire::Grasp,
    replayed: &wire::Grasp,
    tolerance: &Tolerance,
) -> (f64, Vec<Difference>) {
    let ((p, turn), (q, turn_now)) = (pose(recorded), pose(replayed));
    let mm = 1000.0 * (p - q).norm();
    // A single cup may be turned about the approach as one likes.
    let is_single = |grasp: &wire::Grasp| grasp.cups.iter().all(|cup| *cup == 0);
    let angle = if is_single(recorded) && is_single(replayed) {
        (turn * Vector3::z()).angle(&(turn_now * Vector3::z()))
    } else {
        turn.angle_to(&turn_now)
    };
    let deg = angle.to_degrees();
    // Written so that NaN is a difference.
    let same_place = mm <= tolerance.position_mm_max;
    let same_turn = deg <= tolerance.angle_deg_max;
    let moved = (!same_place).then_some(Difference::Position { mm });
    let turned = (!same_turn).then_some(Difference::Angle { deg });
    let cups = (recorded.cups != replayed.cups).then(|| Difference::Cups {
        recorded: recorded.cups.clone(),
        replayed: replayed.cups.clone(),
    });
    (mm, moved.into_iter().chain(turned).chain(cups).collect())
}

pub(super) fn compare_centers(
    recorded: Option<wire::Vector3>,
    replayed: Option<wire::Vector3>,
    tolerance: &Tolerance,
) -> Option<Difference> {
    let (Some(p), Some(q)) = (recorded, replayed) else {
        let now = replayed.is_some();
        return (recorded.is_some() != now).then_some(Difference::Known { what: "centre", now });
    };
    let mm = 1000.0 * Vector3::new(p.x - q.x, p.y - q.y, p.z - q.z).norm();
    let same = mm <= tolerance.position_mm_max;
    (!same).then_some(Difference::Center { mm })
}

pub(super) fn compare_sizes(
    recorded: Option<wire::SizeM>,
    replayed: Option<wire::SizeM>,
    tolerance: &Tolerance,
) -> Option<Difference> {
    let (Some(a), Some(b)) = (recorded, replayed) else {
        let now = replayed.is_some();
        return (recorded.is_some() != now).then_some(Difference::Known { what: "size", now });
    };
    let sides = [a.length_m - b.length_m, a.width_m - b.width_m, a.height_m - b.height_m];
    let mm = 1000.0 * Vector3::from(sides).amax();
    let same = mm <= tolerance.size_mm_max;
    (!same).then_some(Difference::Size { mm })
}

fn pose(grasp: &wire::Grasp) -> (Vector3<f64>, UnitQuaternion<f64>) {
    let pose = grasp.pose.unwrap_or_default();
    let (p, q) = (pose.position_m.unwrap_or_default(), pose.orientation.unwrap_or_default());
    let turn = UnitQuaternion::from_quaternion(Quaternion::new(q.w, q.x, q.y, q.z));
    (Vector3::new(p.x, p.y, p.z), turn)
}

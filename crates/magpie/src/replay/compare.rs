//! Recorded results against replayed ones, package by package.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use magpie_perception::Mask;
use magpie_recording::{MessageReader, RecordedMessage};
use magpie_transport::wire;
use nalgebra::{Quaternion, UnitQuaternion, Vector3};
use prost::Message;

use crate::failure::Failure;
use crate::output;
use crate::record::messages::PACKAGES_TOPIC;

/// Two masks that overlap by less are of two packages.
const SAME_PACKAGE_IOU_MIN: f32 = 0.3;

/// What still counts as the same result. The defaults let pass what another execution provider
/// changes by rounding, and nothing that a picker would notice.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Tolerance {
    /// Least overlap (intersection over union) of the masks of a package.
    #[arg(long, default_value_t = 0.98, value_parser = share, requires = "compare")]
    mask_iou_min: f32,
    /// Greatest difference of scores.
    #[arg(long, default_value_t = 0.02, value_parser = share, requires = "compare")]
    score_difference_max: f32,
    /// Greatest distance between the best grasps of a package.
    #[arg(long, default_value_t = 2.0, value_parser = distance, requires = "compare")]
    position_mm_max: f64,
    /// Greatest angle between their approach directions; of a tool with several cups, between poses.
    #[arg(long, default_value_t = 2.0, value_parser = distance, requires = "compare")]
    angle_deg_max: f64,
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
enum Difference {
    Missing,
    New,
    Type { recorded: String, replayed: String },
    Mask { iou: f32 },
    Score { recorded: f32, replayed: f32 },
    GraspMissing,
    GraspNew,
    ReferenceFrame { recorded: String, replayed: String },
    Position { mm: f64 },
    Angle { deg: f64 },
    Cups { recorded: Vec<u32>, replayed: Vec<u32> },
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
        }
    }
}

/// Walks the recorded results beside the replay.
pub(super) struct Comparison {
    path: PathBuf,
    recorded: MessageReader,
    next: Option<RecordedMessage>,
    tolerance: Tolerance,
    verdict: Verdict,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    frames: u64,
    /// Frames that the recording has no result of.
    frames_without_result: u64,
    /// Results of frames that were not replayed.
    results_unused: u64,
    packages: u64,
    packages_different: u64,
    mask_iou_min: Option<f32>,
    position_mm_max: f64,
}

impl Verdict {
    pub(super) fn is_within_tolerance(&self) -> bool {
        self.packages_different == 0 && self.frames > 0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames == 0
    }

    pub(super) fn summary(&self) -> String {
        let mut line = format!(
            "{} frames compared, {} packages: {} differ",
            self.frames, self.packages, self.packages_different
        );
        if let Some(iou) = self.mask_iou_min {
            line += &format!(
                "; worst mask IoU {iou:.4}, grasps moved by {:.3} mm at most",
                self.position_mm_max
            );
        }
        if self.frames_without_result > 0 {
            line += &format!("; frames without a recorded result: {}", self.frames_without_result);
        }
        if self.results_unused > 0 {
            line += &format!("; recorded results of frames not replayed: {}", self.results_unused);
        }
        line
    }
}

impl Comparison {
    /// Refuses a recording that there is nothing to compare with.
    pub(super) fn open(path: &Path, tolerance: Tolerance) -> Result<Comparison, Failure> {
        let mut recorded = MessageReader::open(path, PACKAGES_TOPIC).map_err(Failure::config)?;
        let next = recorded.next_message().map_err(Failure::fault)?;
        let Some(first) = &next else {
            return Err(Failure::Config(anyhow!(
                "{} holds frames but no results to compare with: record it with `magpie record`",
                path.display()
            )));
        };
        let first = decode(path, first)?;
        if first.schema_version > wire::SCHEMA_VERSION {
            return Err(Failure::Config(anyhow!(
                "{} has results of schema {}, and this program reads up to {}: update Magpie",
                path.display(),
                first.schema_version,
                wire::SCHEMA_VERSION
            )));
        }
        let (path, verdict) = (path.to_owned(), Verdict::default());
        Ok(Comparison { path, recorded, next, tolerance, verdict })
    }

    /// Compares one result with the recorded one of the same frame, and prints what differs.
    pub(super) fn take(&mut self, replayed: &wire::Packages) -> Result<(), anyhow::Error> {
        let Some(recorded) = self.recorded_of(replayed.sequence)? else {
            self.verdict.frames_without_result += 1;
            return Ok(());
        };
        self.verdict.frames += 1;
        for (package, differences) in self.verdict.compare(&recorded, replayed, &self.tolerance) {
            let differences: Vec<_> = differences.iter().map(ToString::to_string).collect();
            let line =
                format!("frame {}: {package}: {}", replayed.sequence, differences.join(", "));
            output::line_if_read(&line).map_err(|_| anyhow!("print {line:?}"))?;
        }
        Ok(())
    }

    /// Recorded results come in the order of their frames.
    fn recorded_of(&mut self, sequence: u64) -> Result<Option<wire::Packages>, anyhow::Error> {
        while let Some(message) = &self.next {
            if u64::from(message.sequence) > sequence {
                return Ok(None);
            }
            let found = u64::from(message.sequence) == sequence;
            let result = found.then(|| decode(&self.path, message)).transpose()?;
            self.next = self.recorded.next_message()?;
            if found {
                return Ok(result);
            }
            self.verdict.results_unused += 1;
        }
        Ok(None)
    }

    pub(super) fn finish(mut self) -> Result<Verdict, Failure> {
        self.recorded_of(u64::MAX)?;
        Ok(self.verdict)
    }
}

fn decode(path: &Path, message: &RecordedMessage) -> Result<wire::Packages, anyhow::Error> {
    wire::Packages::decode(&message.data[..]).with_context(|| {
        format!("decode the result of frame {} of {}", message.sequence, path.display())
    })
}

/// One package with its mask unpacked.
struct Found<'a> {
    package: &'a wire::Package,
    mask: Option<Mask>,
}

impl Found<'_> {
    fn of(message: &wire::Packages) -> Vec<Found<'_>> {
        let mask = |package: &wire::Package| Mask::try_from(package.mask.as_ref()?).ok();
        message.packages.iter().map(|package| Found { package, mask: mask(package) }).collect()
    }

    fn iou(&self, other: &Found<'_>) -> f32 {
        match (&self.mask, &other.mask) {
            (Some(a), Some(b))
                if (a.width_px(), a.height_px()) == (b.width_px(), b.height_px()) =>
            {
                a.iou(b)
            }
            _ => 0.0,
        }
    }

    fn name(&self) -> String {
        let at = self.package.deepest_px.unwrap_or_default();
        format!("{} at ({:.0}, {:.0}) px", self.package.r#type, at.x_px, at.y_px)
    }
}

impl Verdict {
    /// What differs beyond the tolerance, by package.
    fn compare(
        &mut self,
        recorded: &wire::Packages,
        replayed: &wire::Packages,
        tolerance: &Tolerance,
    ) -> Vec<(String, Vec<Difference>)> {
        let (before, now) = (Found::of(recorded), Found::of(replayed));
        let pairs = pair(&before, &now);
        let mut report = Vec::new();
        for &(old, new, iou) in &pairs {
            let mut differences =
                self.compare_pair(before[old].package, now[new].package, iou, tolerance);
            if recorded.frame_id != replayed.frame_id && !before[old].package.grasps.is_empty() {
                let (recorded, replayed) = (recorded.frame_id.clone(), replayed.frame_id.clone());
                differences.push(Difference::ReferenceFrame { recorded, replayed });
            }
            report.push((before[old].name(), differences));
        }
        let lone = |found: &[Found<'_>], paired: &dyn Fn(usize) -> bool, what: Difference| {
            let lone = found.iter().enumerate().filter(|(i, _)| !paired(*i));
            lone.map(|(_, found)| (found.name(), vec![what.clone()])).collect::<Vec<_>>()
        };
        report.extend(lone(&before, &|i| pairs.iter().any(|p| p.0 == i), Difference::Missing));
        report.extend(lone(&now, &|i| pairs.iter().any(|p| p.1 == i), Difference::New));
        self.packages += report.len() as u64;
        report.retain(|(_, differences)| !differences.is_empty());
        self.packages_different += report.len() as u64;
        report
    }

    fn compare_pair(
        &mut self,
        recorded: &wire::Package,
        replayed: &wire::Package,
        iou: f32,
        tolerance: &Tolerance,
    ) -> Vec<Difference> {
        let mut differences = Vec::new();
        if recorded.r#type != replayed.r#type {
            let (recorded, replayed) = (recorded.r#type.clone(), replayed.r#type.clone());
            differences.push(Difference::Type { recorded, replayed });
        }
        self.mask_iou_min = Some(self.mask_iou_min.map_or(iou, |least| least.min(iou)));
        if iou < tolerance.mask_iou_min {
            differences.push(Difference::Mask { iou });
        }
        // Written so that a score that is no number is a difference.
        let same_score = (recorded.score - replayed.score).abs() <= tolerance.score_difference_max;
        if !same_score {
            let (recorded, replayed) = (recorded.score, replayed.score);
            differences.push(Difference::Score { recorded, replayed });
        }
        match (recorded.grasps.first(), replayed.grasps.first()) {
            (None, None) => {}
            (Some(_), None) => differences.push(Difference::GraspMissing),
            (None, Some(_)) => differences.push(Difference::GraspNew),
            (Some(recorded), Some(replayed)) => {
                differences.extend(self.compare_grasps(recorded, replayed, tolerance));
            }
        }
        differences
    }

    fn compare_grasps(
        &mut self,
        recorded: &wire::Grasp,
        replayed: &wire::Grasp,
        tolerance: &Tolerance,
    ) -> Vec<Difference> {
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
        self.position_mm_max = self.position_mm_max.max(mm);
        // Written so that what is no number is a difference.
        let same_place = mm <= tolerance.position_mm_max;
        let same_turn = deg <= tolerance.angle_deg_max;
        let moved = (!same_place).then_some(Difference::Position { mm });
        let turned = (!same_turn).then_some(Difference::Angle { deg });
        let cups = (recorded.cups != replayed.cups).then(|| Difference::Cups {
            recorded: recorded.cups.clone(),
            replayed: replayed.cups.clone(),
        });
        moved.into_iter().chain(turned).chain(cups).collect()
    }
}

fn pose(grasp: &wire::Grasp) -> (Vector3<f64>, UnitQuaternion<f64>) {
    let pose = grasp.pose.unwrap_or_default();
    let (p, q) = (pose.position_m.unwrap_or_default(), pose.orientation.unwrap_or_default());
    let turn = UnitQuaternion::from_quaternion(Quaternion::new(q.w, q.x, q.y, q.z));
    (Vector3::new(p.x, p.y, p.z), turn)
}

/// Pairs of packages whose masks overlap most, best first: `(recorded, replayed, IoU)`.
fn pair(before: &[Found<'_>], now: &[Found<'_>]) -> Vec<(usize, usize, f32)> {
    let mut candidates = Vec::new();
    for (old, was) in before.iter().enumerate() {
        for (new, is) in now.iter().enumerate() {
            let iou = was.iou(is);
            if iou >= SAME_PACKAGE_IOU_MIN {
                candidates.push((old, new, iou));
            }
        }
    }
    candidates.sort_by(|a, b| b.2.total_cmp(&a.2));
    let mut pairs: Vec<(usize, usize, f32)> = Vec::new();
    for candidate in candidates {
        if pairs.iter().all(|pair| pair.0 != candidate.0 && pair.1 != candidate.1) {
            pairs.push(candidate);
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE_PX: u32 = 40;
    const TOLERANCE: Tolerance = Tolerance {
        mask_iou_min: 0.9,
        score_difference_max: 0.02,
        position_mm_max: 2.0,
        angle_deg_max: 2.0,
    };

    /// A box that fills ten columns from `x` on, held 1 m away.
    fn package(x: u32) -> wire::Package {
        let inside = |at: u32| (x..x + 10).contains(&(at % SIDE_PX));
        let bitmap: Vec<u8> = (0..SIDE_PX * SIDE_PX).map(|at| u8::from(inside(at))).collect();
        let orientation = wire::Quaternion { x: 0.0, y: 0.0, z: 0.0, w: 1.0 };
        let position_m = wire::Vector3 { x: 0.1, y: 0.2, z: 1.0 };
        let pose = wire::Pose { position_m: Some(position_m), orientation: Some(orientation) };
        wire::Package {
            r#type: "box".into(),
            score: 0.8,
            mask: Some((&Mask::from_bitmap(SIDE_PX, SIDE_PX, &bitmap)).into()),
            grasps: vec![wire::Grasp { pose: Some(pose), ..Default::default() }],
            ..Default::default()
        }
    }

    fn message(packages: Vec<wire::Package>) -> wire::Packages {
        wire::Packages { frame_id: "base".into(), packages, ..Default::default() }
    }

    fn found(recorded: Vec<wire::Package>, replayed: Vec<wire::Package>) -> Vec<Difference> {
        let mut verdict = Verdict { frames: 1, ..Verdict::default() };
        let report = verdict.compare(&message(recorded), &message(replayed), &TOLERANCE);
        assert_eq!(verdict.is_within_tolerance(), report.is_empty());
        report.into_iter().flat_map(|(_, differences)| differences).collect()
    }

    fn with(change: impl FnOnce(&mut wire::Package)) -> wire::Package {
        let mut package = package(0);
        change(&mut package);
        package
    }

    fn pose(package: &mut wire::Package) -> &mut wire::Pose {
        package.grasps[0].pose.as_mut().unwrap()
    }

    #[test]
    fn the_same_in_another_order_is_the_same() {
        assert_eq!(found(vec![package(0), package(20)], vec![package(20), package(0)]), []);
    }

    #[test]
    fn what_is_gone_and_what_is_new_are_told_apart() {
        assert_eq!(found(vec![package(0)], vec![]), [Difference::Missing]);
        assert_eq!(found(vec![], vec![package(0)]), [Difference::New]);
        let both = [Difference::Missing, Difference::New];
        assert_eq!(found(vec![package(0)], vec![package(20)]), both);
    }

    #[test]
    fn a_mask_may_move_by_as_much_as_the_tolerance_says() {
        // Nine of eleven columns in common.
        let [Difference::Mask { iou }] = found(vec![package(0)], vec![package(1)])[..] else {
            panic!("no difference of masks alone");
        };
        assert!((iou - 9.0 / 11.0).abs() < 1e-6);
    }

    #[test]
    fn type_and_score_are_compared() {
        let other = with(|package| package.r#type = "poly_bag".into());
        let difference = Difference::Type { recorded: "box".into(), replayed: "poly_bag".into() };
        assert_eq!(found(vec![package(0)], vec![other]), [difference]);
        assert_eq!(found(vec![package(0)], vec![with(|package| package.score = 0.81)]), []);
        let worse = Difference::Score { recorded: 0.8, replayed: 0.7 };
        assert_eq!(found(vec![package(0)], vec![with(|package| package.score = 0.7)]), [worse]);
        let broken = found(vec![package(0)], vec![with(|package| package.score = f32::NAN)]);
        assert_eq!(broken.len(), 1);
    }

    #[test]
    fn grasps_are_compared_by_place_and_approach_but_not_by_turn() {
        let moved = with(|package| pose(package).position_m.as_mut().unwrap().x += 0.003);
        let [Difference::Position { mm }] = found(vec![package(0)], vec![moved])[..] else {
            panic!("no difference of positions alone");
        };
        assert!((mm - 3.0).abs() < 1e-9);
        let half = (10f64.to_radians() / 2.0).sin_cos();
        let turned = |axis: fn(f64, f64) -> wire::Quaternion| {
            with(|package| pose(package).orientation = Some(axis(half.0, half.1)))
        };
        let tilted = turned(|s, c| wire::Quaternion { x: s, y: 0.0, z: 0.0, w: c });
        let [Difference::Angle { deg }] = found(vec![package(0)], vec![tilted])[..] else {
            panic!("no difference of angles alone");
        };
        assert!((deg - 10.0).abs() < 1e-6);
        let spun = turned(|s, c| wire::Quaternion { x: 0.0, y: 0.0, z: s, w: c });
        assert_eq!(found(vec![package(0)], vec![spun]), []);
        let loose = with(|package| package.grasps.clear());
        assert_eq!(found(vec![package(0)], vec![loose.clone()]), [Difference::GraspMissing]);
        assert_eq!(found(vec![loose], vec![package(0)]), [Difference::GraspNew]);
    }

    #[test]
    fn several_cups_must_land_where_they_did_and_a_pose_must_be_a_number() {
        let several = || with(|package| package.grasps[0].cups = vec![0, 1]);
        let mut turned = several();
        let (s, c) = (90f64.to_radians() / 2.0).sin_cos();
        pose(&mut turned).orientation = Some(wire::Quaternion { x: 0.0, y: 0.0, z: s, w: c });
        assert!(matches!(found(vec![several()], vec![turned])[..], [Difference::Angle { .. }]));
        let others = with(|package| package.grasps[0].cups = vec![0, 2]);
        assert!(matches!(found(vec![several()], vec![others])[..], [Difference::Cups { .. }]));
        let lost = with(|package| pose(package).position_m.as_mut().unwrap().x = f64::NAN);
        let differences = found(vec![package(0)], vec![lost]);
        assert!(matches!(differences[..], [Difference::Position { .. }]), "{differences:?}");
    }

    #[test]
    fn what_was_not_compared_is_not_within_any_tolerance() {
        assert!(!Verdict::default().is_within_tolerance());
    }

    #[test]
    fn masks_of_another_image_size_or_none_are_never_the_same() {
        let small = with(|package| {
            package.mask = Some((&Mask::from_bitmap(2, 2, &[1, 1, 1, 1])).into());
        });
        let both = [Difference::Missing, Difference::New];
        assert_eq!(found(vec![package(0)], vec![small]), both);
        assert_eq!(found(vec![package(0)], vec![with(|package| package.mask = None)]), both);
    }
}

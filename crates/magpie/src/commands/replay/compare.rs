//! Recorded results against replayed ones, package by package.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use magpie_perception::Mask;
use magpie_recording::{MessageReader, RecordedMessage};
use magpie_wire as wire;

use super::difference::{Difference, Tolerance, compare_centers, compare_holds, compare_sizes};
use crate::present::output;
use magpie_daemon::failure::Failure;

/// Two masks that overlap by less are of two packages.
const SAME_PACKAGE_IOU_MIN: f32 = 0.3;

/// How the frames come that are compared.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pacing {
    /// With new stamps: their sequences alone say which results are theirs.
    pub(super) is_restamped: bool,
    /// Those that come while the pipeline is busy are left out.
    pub(super) leaves_out: bool,
}

/// Walks the recorded results beside the replay.
pub(super) struct Comparison {
    path: PathBuf,
    pacing: Pacing,
    recorded: MessageReader<wire::Packages>,
    next: Option<RecordedMessage<wire::Packages>>,
    tolerance: Tolerance,
    verdict: Verdict,
}

/// The result of a comparison.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    frames: u64,
    /// Frames without a recorded result.
    frames_without_result: u64,
    /// Results of frames that were not replayed.
    results_unused: u64,
    packages: u64,
    packages_different: u64,
    mask_iou_min: Option<f32>,
    position_mm_max: f64,
    uncompared_share_max: f32,
    leaves_out: bool,
    /// Tracks up to this one began before the recording: a grasp stays where it was unless another
    /// one is better by far, and the replay cannot know where that was.
    track_before: u64,
    packages_before: u64,
    /// Those of them that are held in another way.
    grasps_before_different: u64,
}

impl Verdict {
    /// Why the results do not pass for the recorded ones in `file`.
    pub(super) fn refusal(&self, file: &Path) -> Option<String> {
        let (frames, file) = (self.frames, file.display());
        let uncompared = self.frames_without_result + self.results_unused;
        let all = frames + uncompared;
        if frames == 0 {
            return Some(format!("no frame was compared with those recorded in {file}"));
        }
        // This comes first: what was left out may be why the rest differs.
        if uncompared as f64 > f64::from(self.uncompared_share_max) * all as f64 {
            let remedy = if self.leaves_out {
                "replay it without --as-recorded and --publish, or"
            } else {
                "the others have no frame or no result in it;"
            };
            return Some(format!(
                "only {frames} of {all} frames were compared with those recorded in {file}: \
                 {remedy} raise --uncompared-share-max"
            ));
        }
        let differs = self.packages_different > 0;
        differs.then(|| format!("the results differ from those recorded in {file}"))
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
        if self.packages_before > 0 {
            line += &format!(
                "; not judged: grasps and pick order of packages that were there before the \
                 recording began, {} times, of which {} are held in another way",
                self.packages_before, self.grasps_before_different
            );
        }
        line
    }
}

impl Comparison {
    /// Refuses a recording that there is nothing to compare with.
    pub(super) fn open(
        path: &Path,
        tolerance: Tolerance,
        pacing: Pacing,
    ) -> Result<Comparison, Failure> {
        let mut recorded = MessageReader::packages(path).map_err(Failure::config)?;
        let next = next_result(path, &mut recorded)?;
        let Some(first) = &next else {
            return Err(Failure::Config(anyhow!(
                "{} holds frames but no results to compare with: record it with `magpie record`",
                path.display()
            )));
        };
        let first = &first.message;
        if first.schema_version > wire::SCHEMA_VERSION {
            return Err(Failure::Config(anyhow!(
                "{} has results of schema {}, and this program reads up to {}: update Magpie",
                path.display(),
                first.schema_version,
                wire::SCHEMA_VERSION
            )));
        }
        let seen_before = first.counters.is_some_and(|counters| counters.results_published > 1);
        let tracks = first.packages.iter().map(|package| package.track_id);
        let verdict = Verdict {
            uncompared_share_max: tolerance.uncompared_share_max,
            leaves_out: pacing.leaves_out,
            track_before: tracks.filter(|_| seen_before).max().unwrap_or(0),
            ..Verdict::default()
        };
        let path = path.to_owned();
        Ok(Comparison { path, pacing, recorded, next, tolerance, verdict })
    }

    /// Compares one result with the recorded one of the same frame, and prints what differs.
    pub(super) fn take(&mut self, replayed: &wire::Packages) -> Result<(), anyhow::Error> {
        let key = if self.pacing.is_restamped { replayed.sequence } else { replayed.stamp_ns };
        let Some(recorded) = self.recorded_of(key)? else {
            self.verdict.frames_without_result += 1;
            return Ok(());
        };
        self.verdict.frames += 1;
        for (package, differences) in self.verdict.compare(&recorded, replayed, &self.tolerance) {
            let differences: Vec<_> = differences.iter().map(ToString::to_string).collect();
            let line =
                format!("frame {}: {package}: {}", replayed.sequence, differences.join(", "));
            output::line(&line).map_err(|_| anyhow!("print {line:?}"))?;
        }
        Ok(())
    }

    /// Recorded results come in the order of their frames, and have their stamps. Sequences may have
    /// been lost, or frames between two others, where a tool wrote the file anew.
    fn recorded_of(&mut self, key: u64) -> Result<Option<wire::Packages>, anyhow::Error> {
        let is_restamped = self.pacing.is_restamped;
        let key_of = |recorded: &RecordedMessage<wire::Packages>| {
            if is_restamped { u64::from(recorded.sequence) } else { recorded.stamp.0 }
        };
        while let Some(result) = self.next.take_if(|next| key_of(next) <= key) {
            self.next = next_result(&self.path, &mut self.recorded)?;
            if key_of(&result) == key {
                return Ok(Some(result.message));
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

fn next_result(
    path: &Path,
    recorded: &mut MessageReader<wire::Packages>,
) -> Result<Option<RecordedMessage<wire::Packages>>, anyhow::Error> {
    recorded
        .next_message()
        .with_context(|| format!("compare with the results in {}", path.display()))
}

/// One package with its mask unpacked.
struct MaskedPackage<'a> {
    package: &'a wire::Package,
    mask: Option<Mask>,
}

impl MaskedPackage<'_> {
    fn all(message: &wire::Packages) -> Vec<MaskedPackage<'_>> {
        let mask = |package: &wire::Package| Mask::try_from(package.mask.as_ref()?).ok();
        message
            .packages
            .iter()
            .map(|package| MaskedPackage { package, mask: mask(package) })
            .collect()
    }

    fn iou(&self, other: &MaskedPackage<'_>) -> f32 {
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
    /// The differences beyond the tolerance, package by package.
    fn compare(
        &mut self,
        recorded: &wire::Packages,
        replayed: &wire::Packages,
        tolerance: &Tolerance,
    ) -> Vec<(String, Vec<Difference>)> {
        let (before, now) = (MaskedPackage::all(recorded), MaskedPackage::all(replayed));
        let pairs = pair(&before, &now);
        let mut report = Vec::new();
        for &(old, new, iou) in &pairs {
            let mut differences =
                self.compare_pair(before[old].package, now[new].package, iou, tolerance);
            let has_pose = |p: &wire::Package| !p.grasps.is_empty() || p.position_m.is_some();
            if recorded.frame_id != replayed.frame_id && has_pose(before[old].package) {
                let (recorded, replayed) = (recorded.frame_id.clone(), replayed.frame_id.clone());
                differences.push(Difference::ReferenceFrame { recorded, replayed });
            }
            report.push((before[old].name(), differences));
        }
        // A package's quality decides about the places of all others. Old recordings have no ranks.
        let is_ordered = recorded.packages.iter().any(|package| package.pick_rank > 0);
        if is_ordered && !recorded.packages.iter().any(|package| self.is_from_before(package)) {
            for (at, (recorded, replayed)) in orders(&before, &now, &pairs).enumerate() {
                if recorded != replayed {
                    report[at].1.push(Difference::PickOrder { recorded, replayed });
                }
            }
        }
        let lone =
            |found: &[MaskedPackage<'_>], paired: &dyn Fn(usize) -> bool, what: Difference| {
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
        // Written so that a score of NaN is a difference.
        let same_score = (recorded.score - replayed.score).abs() <= tolerance.score_difference_max;
        if !same_score {
            let (recorded, replayed) = (recorded.score, replayed.score);
            differences.push(Difference::Score { recorded, replayed });
        }
        differences.extend(compare_sizes(recorded.size, replayed.size, tolerance));
        if recorded.grasps.is_empty() && replayed.grasps.is_empty() {
            let centers = (recorded.position_m, replayed.position_m);
            differences.extend(compare_centers(centers.0, centers.1, tolerance));
        }
        let (mm, held) = compare_holds(recorded.grasps.first(), replayed.grasps.first(), tolerance);
        if self.is_from_before(recorded) {
            self.packages_before += 1;
            self.grasps_before_different += u64::from(!held.is_empty());
        } else {
            self.position_mm_max = self.position_mm_max.max(mm);
            differences.extend(held);
        }
        differences
    }

    fn is_from_before(&self, recorded: &wire::Package) -> bool {
        recorded.track_id <= self.track_before
    }
}

/// The number of each pair in pick order among all pairs, as recorded and as replayed.
fn orders<'a>(
    before: &'a [MaskedPackage<'_>],
    now: &'a [MaskedPackage<'_>],
    pairs: &'a [(usize, usize, f32)],
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let number = |ranks: Vec<u32>, rank: u32| ranks.iter().filter(|other| **other < rank).count();
    pairs.iter().map(move |&(old, new, _)| {
        let old_ranks = pairs.iter().map(|pair| before[pair.0].package.pick_rank).collect();
        let new_ranks = pairs.iter().map(|pair| now[pair.1].package.pick_rank).collect();
        let recorded = number(old_ranks, before[old].package.pick_rank);
        (recorded, number(new_ranks, now[new].package.pick_rank))
    })
}

/// Pairs of packages whose masks overlap most, best first: `(recorded, replayed, IoU)`.
fn pair(before: &[MaskedPackage<'_>], now: &[MaskedPackage<'_>]) -> Vec<(usize, usize, f32)> {
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
        size_mm_max: 5.0,
        uncompared_share_max: 0.05,
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
            track_id: 7,
            pick_rank: x,
            ..Default::default()
        }
    }

    fn message(packages: Vec<wire::Package>) -> wire::Packages {
        wire::Packages { frame_id: "base".into(), packages, ..Default::default() }
    }

    fn found(recorded: Vec<wire::Package>, replayed: Vec<wire::Package>) -> Vec<Difference> {
        let mut verdict = Verdict { frames: 1, ..Verdict::default() };
        let report = verdict.compare(&message(recorded), &message(replayed), &TOLERANCE);
        assert_eq!(verdict.refusal(Path::new("a.mcap")).is_none(), report.is_empty());
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
    fn a_package_that_is_gone_and_one_that_is_new_are_different_differences() {
        assert_eq!(found(vec![package(0)], vec![]), [Difference::Missing]);
        assert_eq!(found(vec![], vec![package(0)]), [Difference::New]);
        let both = [Difference::Missing, Difference::New];
        assert_eq!(found(vec![package(0)], vec![package(20)]), both);
    }

    #[test]
    fn a_mask_may_move_by_as_much_as_the_tolerance_says() {
        // The masks have nine of eleven columns in common.
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
    fn sizes_and_the_middles_of_what_cannot_be_held_are_compared() {
        let size = |length_m: f64| wire::SizeM { length_m, width_m: 0.2, height_m: 0.1 };
        let sized = |length_m| with(|package| package.size = Some(size(length_m)));
        assert_eq!(found(vec![sized(0.3)], vec![sized(0.304)]), []);
        let [Difference::Size { mm }] = found(vec![sized(0.3)], vec![sized(0.31)])[..] else {
            panic!("no difference of sizes alone");
        };
        assert!((mm - 10.0).abs() < 1e-9);
        let gone = Difference::Known { what: "size", now: false };
        assert_eq!(found(vec![sized(0.3)], vec![package(0)]), [gone]);
        let loose = |x| {
            with(|package| {
                package.grasps.clear();
                package.position_m = Some(wire::Vector3 { x, y: 0.0, z: 1.0 });
            })
        };
        assert_eq!(found(vec![loose(0.1)], vec![loose(0.1015)]), []);
        let moved = found(vec![loose(0.1)], vec![loose(0.104)]);
        assert!(matches!(moved[..], [Difference::Center { .. }]), "{moved:?}");
    }

    #[test]
    fn pick_order_is_compared_among_the_packages_of_both() {
        let later = |mut package: wire::Package| {
            package.pick_rank += 30;
            package
        };
        // A package that is new changes everybody's number and nobody's order.
        let new = vec![package(10), later(package(0)), later(package(20))];
        assert_eq!(found(vec![package(0), package(20)], new), [Difference::New]);
        let other = found(vec![package(0), package(20)], vec![later(package(0)), package(20)]);
        let swapped = [(0, 1), (1, 0)]
            .map(|(recorded, replayed)| Difference::PickOrder { recorded, replayed });
        assert_eq!(other, swapped);
    }

    #[test]
    fn grasps_of_packages_from_before_the_recording_are_counted_and_not_judged() {
        let mut verdict = Verdict { frames: 1, track_before: 7, ..Verdict::default() };
        let moved = with(|package| pose(package).position_m.as_mut().unwrap().x += 0.03);
        let messages = [message(vec![package(0)]), message(vec![moved.clone()])];
        assert_eq!(verdict.compare(&messages[0], &messages[1], &TOLERANCE), []);
        assert_eq!((verdict.packages_before, verdict.grasps_before_different), (1, 1));
        assert!(verdict.summary().contains("before the recording began"), "{}", verdict.summary());
        let newer = |mut package: wire::Package| {
            package.track_id = 8;
            message(vec![package])
        };
        let differences = verdict.compare(&newer(package(0)), &newer(moved), &TOLERANCE);
        assert_eq!(differences.len(), 1);
    }

    #[test]
    fn what_was_not_compared_is_not_within_any_tolerance() {
        let refused = |verdict: Verdict| verdict.refusal(Path::new("a.mcap")).unwrap_or_default();
        assert!(refused(Verdict::default()).contains("no frame was compared"));
        let mostly = Verdict { frames: 95, results_unused: 5, ..Verdict::default() };
        let mostly = Verdict { uncompared_share_max: 0.05, ..mostly };
        assert_eq!(refused(mostly), "");
        let hardly = Verdict { frames: 1, results_unused: 40, ..Verdict::default() };
        assert!(refused(hardly).contains("only 1 of 41 frames"));
        let hardly = || Verdict { frames: 1, results_unused: 40, ..Verdict::default() };
        assert!(!refused(hardly()).contains("--as-recorded"), "it was not used");
        assert!(refused(Verdict { leaves_out: true, ..hardly() }).contains("--as-recorded"));
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

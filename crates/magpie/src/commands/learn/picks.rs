//! What the recordings say of each pick: its outcome, the result that was acted upon, and where
//! pictures of the place follow.
//!
//! Outcomes, results and pictures may lie in different files, as a ring of recordings leaves them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, anyhow};
use magpie_daemon::failure::Failure;
use magpie_perception::{Mask, StampNs};
use magpie_recording::{MessageReader, RecordingError};
use magpie_wire as wire;

use super::refusal::Refusal;
use super::vanished::Other;

/// Where a picture is: the number of its file, and its stamp in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PictureAt {
    pub(super) file: usize,
    pub(super) stamp: StampNs,
}

/// One pick with all that is known of it.
pub(super) struct Pick {
    pub(super) told: wire::PickOutcome,
    /// What it was picked by, or why that is unknown.
    pub(super) acted: Result<Acted, Refusal>,
}

/// The result that was acted upon.
pub(super) struct Acted {
    pub(super) result: Rc<wire::Packages>,
    pub(super) picture: PictureAt,
    /// Which of its packages, and which of that one's grasps.
    package: usize,
    grasp: usize,
    /// Results that may show the place afterwards, the first one first.
    pub(super) after: Vec<After>,
}

pub(super) struct After {
    pub(super) picture: PictureAt,
    tracks: Rc<BTreeSet<u64>>,
}

impl Acted {
    pub(super) fn package(&self) -> &wire::Package {
        &self.result.packages[self.package]
    }

    pub(super) fn grasp(&self) -> &wire::Grasp {
        &self.package().grasps[self.grasp]
    }

    pub(super) fn outline(&self) -> Result<Mask, Refusal> {
        outline(self.package()).ok_or(Refusal::NoOutline)
    }

    pub(super) fn contact_px(&self) -> Option<[f32; 2]> {
        self.grasp().contact_px.map(|point| [point.x_px, point.y_px])
    }

    pub(super) fn others(&self, after: &After) -> Vec<Other> {
        let track_id = self.package().track_id;
        let others = self.result.packages.iter().filter(|other| other.track_id != track_id);
        others
            .filter_map(|other| {
                let is_still_there = after.tracks.contains(&other.track_id);
                Some(Other { outline: outline(other)?, is_still_there })
            })
            .collect()
    }

    /// Whether the same pixels show the same place until the pick is over.
    fn stands_still(&self) -> Result<(), Refusal> {
        if self.result.reference_frame() == wire::ReferenceFrame::Gripper {
            return Err(Refusal::CameraMoves);
        }
        let is_moving = self.result.velocity.as_ref().is_some_and(|velocity| {
            let linear = velocity.linear_m_s.unwrap_or_default();
            let speed_m_s = (linear.x.powi(2) + linear.y.powi(2) + linear.z.powi(2)).sqrt();
            speed_m_s > BELT_M_S_MAX.max(BELT_SIGMAS * velocity.sigma_m_s)
        });
        if is_moving { Err(Refusal::BeltMoves) } else { Ok(()) }
    }
}

pub(super) fn outline(package: &wire::Package) -> Option<Mask> {
    let mask = Mask::try_from(package.mask.as_ref()?).ok()?;
    (!mask.is_empty()).then_some(mask)
}

/// Slower than a tenth of a belt's usual creep, or not known to move.
const BELT_M_S_MAX: f64 = 0.005;
const BELT_SIGMAS: f64 = 3.0;
/// A picture this long after the pick shows too much else.
const AFTER_NS_MAX: u64 = 10_000_000_000;
/// When pictures after a pick are tried, in turn: the arm may stand in the first ones.
const AFTER_NS: [u64; 5] = [0, 300_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000];

/// A pick is named by the instance, the publication and the track.
type Name = (String, u64, u64);

/// What became of picks, the last word on each.
pub(super) struct Outcomes {
    by_name: BTreeMap<Name, wire::PickOutcome>,
    /// Messages that a later one replaced, and copies.
    pub(super) replaced: usize,
}

impl Outcomes {
    /// Recordings without a single outcome are an error.
    pub(super) fn read(recordings: &[PathBuf]) -> Result<Outcomes, Failure> {
        let mut told = Vec::new();
        for path in recordings {
            for_each(path, MessageReader::outcomes, |stamp, message: wire::PickOutcome| {
                told.push((stamp, message));
            })?;
        }
        if told.is_empty() {
            return Err(Failure::Fault(anyhow!(
                "{} hold no outcome of a pick: the arm's controller tells them by \
                 `report_outcome` while the cell records",
                listed(recordings)
            )));
        }
        told.sort_by_key(|(stamp, _)| *stamp);
        let messages = told.len();
        let mut by_name = BTreeMap::<Name, wire::PickOutcome>::new();
        for (_, mut told) in told {
            let name = (told.instance_id.clone(), told.publication, told.track_id);
            // A station that reads the type later does not prolong the pick.
            if let Some(earlier) = by_name.get(&name) {
                told.done_ns = told.done_ns.min(earlier.done_ns);
            }
            by_name.insert(name, told);
        }
        Ok(Outcomes { replaced: messages - by_name.len(), by_name })
    }
}

fn listed(recordings: &[PathBuf]) -> String {
    let names: Vec<String> = recordings.iter().map(|path| path.display().to_string()).collect();
    names.join(", ")
}

fn for_each<T: prost::Message + Default>(
    path: &Path,
    open: fn(&Path) -> Result<MessageReader<T>, RecordingError>,
    mut see: impl FnMut(StampNs, T),
) -> Result<(), Failure> {
    let mut read = || -> anyhow::Result<()> {
        let mut reader = open(path)?;
        while let Some(message) = reader.next_message()? {
            see(message.stamp, message.message);
        }
        Ok(())
    };
    read().with_context(|| format!("read {}", path.display())).map_err(Failure::Fault)
}

/// One result, as far as it matters to others than its own picks.
struct Sight {
    stamp_ns: u64,
    picture: PictureAt,
    tracks: Rc<BTreeSet<u64>>,
}

/// Puts results and pictures to the outcomes, in the order in which the picks were over.
pub(super) fn read(recordings: &[PathBuf], outcomes: Outcomes) -> Result<Vec<Pick>, Failure> {
    let wanted: BTreeSet<(&str, u64)> = outcomes
        .by_name
        .keys()
        .map(|(instance, publication, _)| (&**instance, *publication))
        .collect();
    let mut acted = HashMap::new();
    let mut sights: HashMap<String, Vec<Sight>> = HashMap::new();
    for (file, path) in recordings.iter().enumerate() {
        for_each(path, MessageReader::packages, |stamp, result: wire::Packages| {
            let picture = PictureAt { file, stamp };
            let tracks = result.packages.iter().map(|package| package.track_id).collect();
            let sight = Sight { stamp_ns: result.stamp_ns, picture, tracks: Rc::new(tracks) };
            sights.entry(result.instance_id.clone()).or_default().push(sight);
            if wanted.contains(&(&*result.instance_id, result.publication)) {
                let name = (result.instance_id.clone(), result.publication);
                acted.entry(name).or_insert_with(|| (Rc::new(result), picture));
            }
        })?;
    }
    sights.values_mut().for_each(|sights| sights.sort_by_key(|sight| sight.stamp_ns));
    let mut told: Vec<wire::PickOutcome> = outcomes.by_name.into_values().collect();
    told.sort_by_key(|told| (told.done_ns, told.stamp_ns));
    let nothing = Vec::new();
    let picks = told.iter().map(|one| {
        let found = acted.get(&(one.instance_id.clone(), one.publication));
        let acted = found.ok_or(Refusal::NoResult).and_then(|(result, picture)| {
            let sights = sights.get(&one.instance_id).unwrap_or(&nothing);
            acted_upon(one, result, *picture, &after(one, &told, sights))
        });
        Pick { told: one.clone(), acted }
    });
    Ok(picks.collect())
}

fn acted_upon(
    told: &wire::PickOutcome,
    result: &Rc<wire::Packages>,
    picture: PictureAt,
    after: &[&Sight],
) -> Result<Acted, Refusal> {
    if told.stamp_ns != result.stamp_ns {
        return Err(Refusal::OtherStamp);
    }
    let package = result.packages.iter().position(|package| package.track_id == told.track_id);
    let package = package.ok_or(Refusal::NoTrack)?;
    let grasp = told.grasp_index as usize;
    if grasp >= result.packages[package].grasps.len() {
        return Err(Refusal::NoGrasp);
    }
    let after = after
        .iter()
        .map(|sight| After { picture: sight.picture, tracks: Rc::clone(&sight.tracks) });
    Ok(Acted { result: Rc::clone(result), picture, package, grasp, after: after.collect() })
}

/// Results that show the place after a pick and before the next one changes it, without the package.
fn after<'a>(
    told: &wire::PickOutcome,
    all: &[wire::PickOutcome],
    sights: &'a [Sight],
) -> Vec<&'a Sight> {
    let until_ns = all
        .iter()
        .filter(|next| next.instance_id == told.instance_id && next.done_ns > told.done_ns)
        .filter(|next| next.outcome() != wire::Outcome::NotTried)
        // What was acted upon next was seen before the arm came back. Where that was chosen before
        // this pick was over, only its end is known.
        .map(|next| if next.stamp_ns > told.done_ns { next.stamp_ns } else { next.done_ns })
        .min()
        .unwrap_or(u64::MAX)
        .min(told.done_ns.saturating_add(AFTER_NS_MAX));
    let first = sights.partition_point(|sight| sight.stamp_ns <= told.done_ns);
    let in_time: Vec<&Sight> = (sights[first..].iter())
        .take_while(|sight| sight.stamp_ns <= until_ns)
        .filter(|sight| !sight.tracks.contains(&told.track_id))
        .collect();
    let Some(last) = in_time.last() else { return Vec::new() };
    let at = |wait_ns: u64| {
        let from_ns = told.done_ns.saturating_add(wait_ns);
        in_time.iter().find(|sight| sight.stamp_ns >= from_ns)
    };
    let mut chosen: Vec<&Sight> =
        AFTER_NS.iter().filter_map(|wait_ns| at(*wait_ns)).copied().collect();
    chosen.push(last);
    chosen.dedup_by_key(|sight| sight.picture);
    chosen
}

impl Pick {
    /// What is needed to see what vanished, or why that cannot be seen.
    pub(super) fn seen(&self) -> Result<&Acted, Refusal> {
        let acted = self.acted.as_ref().map_err(|refusal| *refusal)?;
        acted.stands_still()?;
        if self.told.done_ns < acted.result.stamp_ns {
            return Err(Refusal::OverBefore);
        }
        if acted.after.is_empty() {
            return Err(Refusal::NoneAfter);
        }
        Ok(acted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sight(stamp_ns: u64, tracks: &[u64]) -> Sight {
        let picture = PictureAt { file: 0, stamp: StampNs(stamp_ns) };
        Sight { stamp_ns, picture, tracks: Rc::new(tracks.iter().copied().collect()) }
    }

    fn told(stamp_ns: u64, done_ns: u64, track_id: u64) -> wire::PickOutcome {
        wire::PickOutcome {
            stamp_ns,
            done_ns,
            track_id,
            outcome: wire::Outcome::Held.into(),
            ..wire::PickOutcome::default()
        }
    }

    fn check(
        told: &wire::PickOutcome,
        all: &[wire::PickOutcome],
        sights: &[Sight],
        expected: &[u64],
    ) {
        let found: Vec<u64> = after(told, all, sights).iter().map(|s| s.stamp_ns).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn pictures_after_a_pick_come_before_the_next_one_and_without_the_package() {
        const S: u64 = 1_000_000_000;
        let sights: Vec<Sight> =
            (0..100).map(|at| sight(at * S / 5, if at < 12 { &[1, 2] } else { &[2] })).collect();
        let one = told(0, 2 * S, 1);
        // The model still sees it until 2.4 s.
        check(&one, &[], &sights, &[12, 15, 23, 35, 60].map(|fifths| fifths * S / 5));
        let next = told(3 * S, 4 * S, 2);
        check(&one, &[one.clone(), next], &sights, &[S * 12 / 5, S * 3]);
        let not_tried = wire::PickOutcome {
            outcome: wire::Outcome::NotTried.into(),
            ..told(S * 5 / 2, S * 26 / 10, 2)
        };
        assert_eq!(after(&one, &[not_tried], &sights).len(), 5);
        check(&told(0, 30 * S, 1), &[], &sights, &[]);
        check(&told(0, S, 2), &[], &sights, &[]);
    }
}

//! What was found in the last frames, so that a still scene is given still grasps, and not all of
//! every package has to be searched in every frame.

use crate::{GraspLimits, GraspRefusal, Package};

/// Frames that a package may be out of sight and find its grasps again.
const FRAMES_MAX: u8 = 15;
/// A box that moved by less did not move: masks flicker by a pixel or two.
const STILL_PX: f32 = 4.0;
/// All of a package is searched every so many frames, not of all packages in the same one; in between
/// its contacts are looked at again, where they are now.
const SEARCH_EVERY: u64 = 4;
const CONTACTS_MAX: usize = GraspLimits::PER_PACKAGE_MAX;
/// A package that shows more by this share of its rim may have become another one.
const UNCOVERED_SHARE: f32 = 0.02;

/// What a search found out about a package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SearchSummary {
    /// How rough the package is all over, from trough to crest under a lip.
    pub(crate) roughness_m: f32,
    /// Quality of its best grasp.
    pub(crate) quality: f32,
}

/// How a search ended.
pub(crate) type SearchResult = Result<SearchSummary, GraspRefusal>;

/// The grasps of a package in the last frame, as of this frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PreviousGrasps {
    contacts_px: [[f32; 2]; CONTACTS_MAX],
    count: usize,
    pub(crate) summary: SearchSummary,
    /// Whether all of the package is to be searched.
    pub(crate) is_search_due: bool,
}

impl PreviousGrasps {
    /// The best one first; never empty.
    pub(crate) fn contacts_px(&self) -> &[[f32; 2]] {
        &self.contacts_px[..self.count]
    }
}

/// A package with grasps, when it was seen last.
#[derive(Clone, Copy, Debug)]
struct HeldPackage {
    track_id: u64,
    contacts_px: [[f32; 2]; CONTACTS_MAX],
    count: usize,
    summary: SearchSummary,
    /// Centre of its box when the contacts were chosen.
    center_px: [f32; 2],
    frames_ago: u8,
}

/// A package that was searched in vain, as it was then.
#[derive(Clone, Copy, Debug)]
struct RefusedPackage {
    track_id: u64,
    refusal: GraspRefusal,
    center_px: [f32; 2],
    occluded_share: f32,
    /// When it was seen last.
    frame: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    held: Vec<HeldPackage>,
    refused: Vec<RefusedPackage>,
    first_track: Option<u64>,
    frames: u64,
}

impl Memory {
    /// The package that was first in the last frame.
    pub(crate) fn first_track(&self) -> Option<u64> {
        self.first_track
    }

    /// Where the contacts of a package are now: they go with it, and stay where they are while it
    /// does not move.
    pub(crate) fn previous_grasps(&self, package: &Package) -> Option<PreviousGrasps> {
        let last = self.held.iter().find(|last| last.track_id == package.track_id)?;
        let center_px = package.instance.bbox.center_px();
        let moved = [center_px[0] - last.center_px[0], center_px[1] - last.center_px[1]];
        let [dx, dy] = if is_still(center_px, last.center_px) { [0.0; 2] } else { moved };
        Some(PreviousGrasps {
            contacts_px: last.contacts_px.map(|[x, y]| [x + dx, y + dy]),
            count: last.count,
            summary: last.summary,
            is_search_due: self.is_search_due(package.track_id),
        })
    }

    fn is_search_due(&self, track_id: u64) -> bool {
        self.frames.wrapping_add(track_id).is_multiple_of(SEARCH_EVERY)
    }

    /// Why a package that has not changed since has no grasp; `None` where it is to be searched.
    /// What blocked the way may be gone without a trace in the package's own looks.
    pub(crate) fn standing_refusal(&self, package: &Package) -> Option<GraspRefusal> {
        let track_id = package.track_id;
        if self.is_search_due(track_id) || self.held.iter().any(|last| last.track_id == track_id) {
            return None;
        }
        let last = self.refused.iter().find(|last| last.track_id == track_id)?;
        let is_same = is_still(package.instance.bbox.center_px(), last.center_px)
            && package.occluded_share > last.occluded_share - UNCOVERED_SHARE;
        (is_same && last.refusal != GraspRefusal::Blocked).then_some(last.refusal)
    }

    /// Takes in a frame. `searches` says how the search of each package ended, in the same order;
    /// `None` where depth did not show it.
    pub(crate) fn keep(
        &mut self,
        packages: &[Package],
        searches: impl Iterator<Item = Option<SearchResult>> + Clone,
    ) {
        for (package, search) in packages.iter().zip(searches.clone()) {
            if let Some(Err(refusal)) = search {
                self.keep_refused(package, refusal);
            }
        }
        self.refused.retain(|last| last.frame == self.frames);
        self.frames = self.frames.wrapping_add(1);
        for package in &mut self.held {
            package.frames_ago += 1;
        }
        self.held.retain(|package| package.frames_ago <= FRAMES_MAX);
        for (package, search) in packages.iter().zip(searches) {
            if let Some(Ok(summary)) = search {
                self.keep_held(package, summary);
            }
        }
    }

    fn keep_held(&mut self, package: &Package, summary: SearchSummary) {
        let grasps = package.grasps();
        let mut now = HeldPackage {
            track_id: package.track_id,
            contacts_px: [[0.0; 2]; CONTACTS_MAX],
            count: grasps.len().min(CONTACTS_MAX),
            summary,
            center_px: package.instance.bbox.center_px(),
            frames_ago: 0,
        };
        for (contact_px, grasp) in now.contacts_px.iter_mut().zip(grasps) {
            *contact_px = grasp.contact_px;
        }
        match self.held.iter_mut().find(|last| last.track_id == package.track_id) {
            // The same pixels: what they were chosen for still holds.
            Some(last) if last.contacts_px == now.contacts_px => {
                *last = HeldPackage { center_px: last.center_px, ..now };
            }
            Some(last) => *last = now,
            None => self.held.push(now),
        }
    }

    fn keep_refused(&mut self, package: &Package, refusal: GraspRefusal) {
        let now = RefusedPackage {
            track_id: package.track_id,
            refusal,
            center_px: package.instance.bbox.center_px(),
            occluded_share: package.occluded_share,
            frame: self.frames,
        };
        let still_stands = self.standing_refusal(package).is_some();
        match self.refused.iter_mut().find(|last| last.track_id == package.track_id) {
            Some(last) if still_stands => last.frame = self.frames,
            Some(last) => *last = now,
            None => self.refused.push(now),
        }
    }

    /// `packages` are in pick order.
    pub(crate) fn keep_order(&mut self, packages: &[Package]) {
        self.first_track = packages.first().map(|package| package.track_id);
    }
}

fn is_still(center_px: [f32; 2], before_px: [f32; 2]) -> bool {
    (center_px[0] - before_px[0]).hypot(center_px[1] - before_px[1]) < STILL_PX
}

//! What was found in the last frames, so that a still scene is given still grasps, and not all of
//! every package has to be searched in every frame.

use crate::{GraspLimits, GraspRefusal, Instance, Package};

/// Frames that a package may be out of sight and find its grasps again.
const FRAMES_MAX: u8 = 15;
/// A box that moved by less did not move: masks flicker by a pixel or two.
const STILL_PX: f32 = 4.0;
/// All of a package is searched every so many frames, not of all packages in the same one; in between
/// its contacts are looked at again, where they are now.
const SEARCH_EVERY: u64 = 4;
const CONTACTS_MAX: usize = GraspLimits::PER_PACKAGE_MAX;
/// A package of which more than this share of the rim came into view may have become another one.
const UNCOVERED_SHARE: f32 = 0.02;

/// What a search found out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// How rough the package is all over, from trough to crest under a lip.
    pub(crate) rough_m: f32,
    /// Of its best grasp.
    pub(crate) quality: f32,
}

/// Of a package that was searched; `None` where depth did not show it.
pub(crate) type Searched = Option<Result<Found, GraspRefusal>>;

/// What is remembered of a package, as of this frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recalled {
    contacts_px: [[f32; 2]; CONTACTS_MAX],
    count: usize,
    pub(crate) found: Found,
    /// Whether all of it is to be searched.
    pub(crate) is_due: bool,
}

impl Recalled {
    /// The best one first; never empty.
    pub(crate) fn contacts_px(&self) -> &[[f32; 2]] {
        &self.contacts_px[..self.count]
    }
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    track_id: u64,
    contacts_px: [[f32; 2]; CONTACTS_MAX],
    count: usize,
    found: Found,
    /// Of the box around the mask, when the contacts were chosen.
    middle_px: [f32; 2],
    frames_ago: u8,
}

/// A package that was searched in vain, as it was then.
#[derive(Clone, Copy, Debug)]
struct Refused {
    track_id: u64,
    refusal: GraspRefusal,
    middle_px: [f32; 2],
    occluded_share: f32,
    /// When it was seen last.
    frame: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    packages: Vec<Remembered>,
    refused: Vec<Refused>,
    first_track: Option<u64>,
    frames: u64,
}

impl Memory {
    pub(crate) fn first_track(&self) -> Option<u64> {
        self.first_track
    }

    /// Where the contacts of a package are now: they go with it, and stay where they are while it
    /// does not move.
    pub(crate) fn recall(&self, track_id: u64, middle_px: [f32; 2]) -> Option<Recalled> {
        let last = self.packages.iter().find(|last| last.track_id == track_id)?;
        let moved = [middle_px[0] - last.middle_px[0], middle_px[1] - last.middle_px[1]];
        let [dx, dy] = if is_still(middle_px, last.middle_px) { [0.0; 2] } else { moved };
        Some(Recalled {
            contacts_px: last.contacts_px.map(|[x, y]| [x + dx, y + dy]),
            count: last.count,
            found: last.found,
            is_due: self.is_due(track_id),
        })
    }

    fn is_due(&self, track_id: u64) -> bool {
        self.frames.wrapping_add(track_id).is_multiple_of(SEARCH_EVERY)
    }

    /// Why a package that has not changed since has no grasp; `None` where it is to be searched.
    /// What blocked the way may be gone without a trace in the package's own looks.
    pub(crate) fn refusal(&self, package: &Package) -> Option<GraspRefusal> {
        let track_id = package.track_id;
        if self.is_due(track_id) || self.packages.iter().any(|last| last.track_id == track_id) {
            return None;
        }
        let last = self.refused.iter().find(|last| last.track_id == track_id)?;
        let is_same = is_still(middle_px(&package.instance), last.middle_px)
            && package.occluded_share > last.occluded_share - UNCOVERED_SHARE;
        (is_same && last.refusal != GraspRefusal::Blocked).then_some(last.refusal)
    }

    /// `searched` is what was found out about each package, in the same order.
    pub(crate) fn keep(&mut self, packages: &[Package], searched: &[Searched]) {
        self.keep_refused(packages, searched);
        self.frames = self.frames.wrapping_add(1);
        for package in &mut self.packages {
            package.frames_ago += 1;
        }
        self.packages.retain(|package| package.frames_ago <= FRAMES_MAX);
        for (package, searched) in packages.iter().zip(searched) {
            let Some(Ok(found)) = *searched else { continue };
            let mut now = Remembered {
                track_id: package.track_id,
                contacts_px: [[0.0; 2]; CONTACTS_MAX],
                count: package.grasps.len().min(CONTACTS_MAX),
                found,
                middle_px: middle_px(&package.instance),
                frames_ago: 0,
            };
            for (contact_px, grasp) in now.contacts_px.iter_mut().zip(&package.grasps) {
                *contact_px = grasp.contact_px;
            }
            let known = self.packages.iter_mut().find(|last| last.track_id == package.track_id);
            match known {
                // The same pixels: what they were chosen for still holds.
                Some(last) if last.contacts_px == now.contacts_px => {
                    *last = Remembered { middle_px: last.middle_px, ..now };
                }
                Some(last) => *last = now,
                None => self.packages.push(now),
            }
        }
    }

    fn keep_refused(&mut self, packages: &[Package], searched: &[Searched]) {
        for (package, searched) in packages.iter().zip(searched) {
            let Some(Err(refusal)) = *searched else { continue };
            let now = Refused {
                track_id: package.track_id,
                refusal,
                middle_px: middle_px(&package.instance),
                occluded_share: package.occluded_share,
                frame: self.frames,
            };
            let is_recalled = self.refusal(package).is_some();
            match self.refused.iter_mut().find(|last| last.track_id == package.track_id) {
                Some(last) if is_recalled => last.frame = self.frames,
                Some(last) => *last = now,
                None => self.refused.push(now),
            }
        }
        self.refused.retain(|last| last.frame == self.frames);
    }

    pub(crate) fn keep_order(&mut self, packages: &[Package]) {
        self.first_track = packages.first().map(|package| package.track_id);
    }
}

fn is_still(middle_px: [f32; 2], before_px: [f32; 2]) -> bool {
    (middle_px[0] - before_px[0]).hypot(middle_px[1] - before_px[1]) < STILL_PX
}

/// Of the box that the model drew: masks are not looked through again for this.
pub(crate) fn middle_px(instance: &Instance) -> [f32; 2] {
    let bbox = &instance.bbox;
    [0.5 * (bbox.x_min_px + bbox.x_max_px), 0.5 * (bbox.y_min_px + bbox.y_max_px)]
}

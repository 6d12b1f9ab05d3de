//! What was found in the last frames, so that a still scene is given still grasps, and not all of
//! every package has to be searched in every frame.

use crate::{GraspLimits, Instance, Package};

/// Frames that a package may be out of sight and find its grasps again.
const FRAMES_MAX: u8 = 15;
/// A box that moved by less did not move: masks flicker by a pixel or two.
const STILL_PX: f32 = 4.0;
/// All of a package is searched every so many frames, not of all packages in the same one; in between
/// its contacts are looked at again, where they are now.
const SEARCH_EVERY: u64 = 4;
const CONTACTS_MAX: usize = GraspLimits::PER_PACKAGE_MAX;

/// What a search found out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// How rough the package is all over, from trough to crest under a lip.
    pub(crate) rough_m: f32,
    /// Of its best grasp.
    pub(crate) quality: f32,
}

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

#[derive(Debug, Default)]
pub(crate) struct Memory {
    packages: Vec<Remembered>,
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
        let is_still = moved[0].hypot(moved[1]) < STILL_PX;
        let [dx, dy] = if is_still { [0.0; 2] } else { moved };
        Some(Recalled {
            contacts_px: last.contacts_px.map(|[x, y]| [x + dx, y + dy]),
            count: last.count,
            found: last.found,
            is_due: self.frames.wrapping_add(track_id).is_multiple_of(SEARCH_EVERY),
        })
    }

    /// `found` is what was found out about each package, in the same order.
    pub(crate) fn keep(&mut self, packages: &[Package], found: &[Option<Found>]) {
        self.frames = self.frames.wrapping_add(1);
        for package in &mut self.packages {
            package.frames_ago += 1;
        }
        self.packages.retain(|package| package.frames_ago <= FRAMES_MAX);
        for (package, found) in packages.iter().zip(found) {
            let Some(found) = *found else { continue };
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

    pub(crate) fn keep_order(&mut self, packages: &[Package]) {
        self.first_track = packages.first().map(|package| package.track_id);
    }
}

/// Of the box that the model drew: masks are not looked through again for this.
pub(crate) fn middle_px(instance: &Instance) -> [f32; 2] {
    let bbox = &instance.bbox;
    [0.5 * (bbox.x_min_px + bbox.x_max_px), 0.5 * (bbox.y_min_px + bbox.y_max_px)]
}

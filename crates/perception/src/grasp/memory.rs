//! What was chosen in the last frames, so that a still scene is given still grasps.

use crate::{Instance, Package};

/// Frames that a package may be out of sight and find its grasp again.
const FRAMES_MAX: u8 = 15;
/// A box that moved by less did not move: masks flicker by a pixel or two.
const STILL_PX: f32 = 4.0;

#[derive(Clone, Copy, Debug)]
struct Remembered {
    track_id: u64,
    contact_px: [f32; 2],
    /// Of the box around the mask, when the contact was chosen.
    middle_px: [f32; 2],
    frames_ago: u8,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    contacts: Vec<Remembered>,
    first_track: Option<u64>,
}

impl Memory {
    pub(crate) fn first_track(&self) -> Option<u64> {
        self.first_track
    }

    /// Where the last contact of a package is now: it goes with the package, and stays where it is
    /// while the package does not move.
    pub(crate) fn contact_px(&self, track_id: u64, middle_px: [f32; 2]) -> Option<[f32; 2]> {
        let last = self.contacts.iter().find(|last| last.track_id == track_id)?;
        let moved = [middle_px[0] - last.middle_px[0], middle_px[1] - last.middle_px[1]];
        if moved[0].hypot(moved[1]) < STILL_PX {
            return Some(last.contact_px);
        }
        Some([last.contact_px[0] + moved[0], last.contact_px[1] + moved[1]])
    }

    pub(crate) fn keep(&mut self, packages: &[Package]) {
        self.first_track = packages.first().map(|package| package.track_id);
        for contact in &mut self.contacts {
            contact.frames_ago += 1;
        }
        self.contacts.retain(|contact| contact.frames_ago <= FRAMES_MAX);
        for package in packages {
            let Some(grasp) = package.grasps.first() else { continue };
            let (track_id, contact_px) = (package.track_id, grasp.contact_px);
            let middle_px = middle_px(&package.instance);
            let known = self.contacts.iter_mut().find(|last| last.track_id == track_id);
            match known {
                // The same pixel: what it was chosen for still holds.
                Some(last) if last.contact_px == contact_px => last.frames_ago = 0,
                Some(last) => {
                    *last = Remembered { track_id, contact_px, middle_px, frames_ago: 0 };
                }
                None => {
                    self.contacts.push(Remembered {
                        track_id,
                        contact_px,
                        middle_px,
                        frames_ago: 0,
                    });
                }
            }
        }
    }
}

/// Of the box that the model drew: masks are not looked through again for this.
pub(crate) fn middle_px(instance: &Instance) -> [f32; 2] {
    let bbox = &instance.bbox;
    [0.5 * (bbox.x_min_px + bbox.x_max_px), 0.5 * (bbox.y_min_px + bbox.y_max_px)]
}

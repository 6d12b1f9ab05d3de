//! The outline of a package that was picked: what vanished between the picture before the pick and
//! one after it.

use magpie_perception::{Frame, Mask};

use super::change::{Change, Evidence, change, median};
use super::refusal::Refusal;
use super::region::{Region, Window};

/// A pick in two pictures.
pub(super) struct Sighting<'a> {
    /// Of the result that was acted upon.
    pub(super) before: &'a Frame,
    /// Exposed when the pick was over.
    pub(super) after: &'a Frame,
    /// What the model took the package to be.
    pub(super) outline: &'a Mask,
    pub(super) contact_px: [f32; 2],
    /// The other packages of the result.
    pub(super) others: &'a [Other],
}

pub(super) struct Other {
    pub(super) outline: Mask,
    /// Its track is seen in the picture after.
    pub(super) is_still_there: bool,
}

#[derive(Debug)]
pub(super) struct Vanished {
    pub(super) mask: Mask,
    /// With the outline that the model published.
    pub(super) iou: f32,
    /// Median over the mask of the change, in thresholds of noise.
    pub(super) strength: f32,
    pub(super) evidence: Evidence,
}

/// A package is not connected with others by less than this share of the root of its area.
const BRIDGE_SHARE: f64 = 0.03;
const BRIDGE_PX_MAX: f64 = 4.0;
/// How far from the contact point the region may begin: film is lifted by its middle.
const CONTACT_PX: usize = 6;
/// A region this many times as large as the outline is not one package.
const LARGER_MAX: f64 = 4.0;
const SHARE_MIN: f64 = 0.1;
const AREA_PX_MIN: usize = 30;
/// Something stands in the outline when it is nearer than before in this share of it.
const CAME_SHARE_MAX: f64 = 0.1;
/// Of the surroundings, without packages that moved.
const CHANGED_SHARE_MAX: f64 = 0.4;
/// A neighbour of which this share changed has moved.
const MOVED_SHARE: f64 = 0.25;
/// A neighbour counts by what of it lies beyond the package's own outline, if that is so much of it.
const OWN_SHARE_MIN: f64 = 0.3;
/// What a neighbour may have of the region before it matters that it is gone.
const TOUCHED_SHARE_MAX: f64 = 0.05;

/// The region of the package, or why it cannot be told.
pub(super) fn vanished(sighting: &Sighting<'_>) -> Result<Vanished, Refusal> {
    let Seen { window, outline, change } = see(sighting)?;
    let (width_px, height_px) = (sighting.outline.width_px(), sighting.outline.height_px());
    let moved = Neighbours::find(sighting, &window, &outline, &change.gone);
    let of_others = moved.stayed.or(&moved.left);
    let around = change.gone.without(&of_others).without(&outline.grown(CONTACT_PX));
    let beyond = window.area_px() - outline.area_px();
    if share(around.area_px(), beyond) > CHANGED_SHARE_MAX {
        return Err(Refusal::SceneMoved);
    }
    refuse_what_came(&change, &outline)?;
    let reach_px = reach_px(&outline);
    let place = window.place(sighting.contact_px).ok_or(Refusal::NothingGone)?;
    let region = region_at(&change.gone.without(&moved.stayed), place, reach_px)?;
    let area = region.area_px();
    let with_others = region_at(&change.gone, place, reach_px)?;
    if with_others.and(&moved.stayed).area_px() > area {
        return Err(Refusal::NeighboursMoved);
    }
    if share(region.and(&moved.left).area_px(), area) > TOUCHED_SHARE_MAX {
        return Err(Refusal::NeighbourGone);
    }
    if region.and(&outline).area_px() == 0 {
        return Err(Refusal::BesideTheOutline);
    }
    if share(area, outline.area_px()) > LARGER_MAX || region.leaves(&window, width_px, height_px) {
        return Err(Refusal::TooLarge);
    }
    if area < AREA_PX_MIN || share(area, outline.area_px()) < SHARE_MIN {
        return Err(Refusal::TooSmall);
    }
    let mut strengths: Vec<f32> = region.pixels().map(|at| change.strength[at]).collect();
    let mask = region.to_mask(&window, width_px, height_px);
    Ok(Vanished {
        iou: mask.iou(sighting.outline),
        strength: median(&mut strengths),
        evidence: change.evidence,
        mask,
    })
}

/// Every region of some size that vanished within the outline, largest first: more than one where a
/// double pick took packages that only looked like one.
pub(super) fn pieces(sighting: &Sighting<'_>) -> Result<Vec<Mask>, Refusal> {
    let Seen { window, outline, change } = see(sighting)?;
    refuse_what_came(&change, &outline)?;
    let reach_px = reach_px(&outline);
    let cores = change.gone.shrunk(reach_px).pieces();
    let whole = cores.iter().map(|core| restored(core, &change.gone, reach_px));
    let mut found: Vec<Region> = whole
        .filter(|region| {
            let own = region.and(&outline).area_px();
            region.area_px() >= AREA_PX_MIN && share(own, outline.area_px()) >= SHARE_MIN
        })
        .collect();
    if found.is_empty() {
        return Err(Refusal::NothingGone);
    }
    found.sort_by_key(|region| std::cmp::Reverse(region.area_px()));
    let (width_px, height_px) = (sighting.outline.width_px(), sighting.outline.height_px());
    Ok(found.iter().map(|region| region.to_mask(&window, width_px, height_px)).collect())
}

struct Seen {
    window: Window,
    /// Within the window.
    outline: Region,
    change: Change,
}

fn refuse_what_came(change: &Change, outline: &Region) -> Result<(), Refusal> {
    let came = change.came.and(outline).area_px();
    if share(came, outline.area_px()) > CAME_SHARE_MAX {
        return Err(Refusal::SomethingCame);
    }
    Ok(())
}

fn see(sighting: &Sighting<'_>) -> Result<Seen, Refusal> {
    let size = |frame: &Frame| (frame.color.width_px(), frame.color.height_px());
    let outline = sighting.outline;
    let sizes = [size(sighting.before), size(sighting.after)];
    if sizes != [(outline.width_px(), outline.height_px()); 2] {
        return Err(Refusal::Sizes);
    }
    let window = Window::around(outline).ok_or(Refusal::NoOutline)?;
    let outline = Region::of_mask(&window, outline);
    let change = change(sighting.before, sighting.after, &window, &outline)?;
    Ok(Seen { window, outline, change })
}

/// What of the change belongs to packages that nobody picked.
struct Neighbours {
    /// They moved, and are seen at another place.
    stayed: Region,
    /// They are not seen any more.
    left: Region,
}

impl Neighbours {
    fn find(
        sighting: &Sighting<'_>,
        window: &Window,
        outline: &Region,
        gone: &Region,
    ) -> Neighbours {
        let nothing = || Region::from_fn(window, |_| false);
        let mut neighbours = Neighbours { stayed: nothing(), left: nothing() };
        for other in sighting.others {
            let own = Region::of_mask(window, &other.outline).without(outline);
            let area = own.area_px();
            let is_known = share(area, other.outline.area_px() as usize) >= OWN_SHARE_MIN;
            if !is_known || share(own.and(gone).area_px(), area) < MOVED_SHARE {
                continue;
            }
            let kind =
                if other.is_still_there { &mut neighbours.stayed } else { &mut neighbours.left };
            *kind = kind.or(&own);
        }
        neighbours
    }
}

/// The connected region at the contact point, without thin bridges to others, with its holes closed.
fn region_at(gone: &Region, place: (usize, usize), reach_px: usize) -> Result<Region, Refusal> {
    let cores = gone.shrunk(reach_px);
    let start = cores.nearest(place, CONTACT_PX + reach_px).ok_or(Refusal::NothingGone)?;
    Ok(restored(&cores.connected([start]), gone, reach_px))
}

/// What was shrunk, at its full size.
fn restored(core: &Region, gone: &Region, reach_px: usize) -> Region {
    let full = core.grown(reach_px).and(gone);
    full.closed(reach_px).filled()
}

fn reach_px(outline: &Region) -> usize {
    let reach = BRIDGE_SHARE * (outline.area_px() as f64).sqrt();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 4 pixels")]
    {
        reach.round().clamp(1.0, BRIDGE_PX_MAX) as usize
    }
}

fn share(part: usize, whole: usize) -> f64 {
    part as f64 / whole.max(1) as f64
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
mod tests;

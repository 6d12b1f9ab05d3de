//! From the cells of a package to its best grasps.

use crate::GraspRefusal;
use crate::grasp::hold::{
    Held, Site, clearance_share, hold_with_many, hold_with_one, moment_share, seal_share,
};
use crate::grasp::search::memory::{Found, Recalled};
use crate::grasp::search::overview::is_blocked;
use crate::grasp::surface::grid::{CELL_NOISE, Cell, Grid};
use crate::grasp::surface::patch::{Care, Patch, Spot};
use crate::number::{floor_index, to_f32};

/// The best cell of each of so many by so many blocks is looked at closer.
const BLOCKS: usize = 4;
/// Contacts that are fitted, for a tool of one cup and of several.
const CONTACTS_MAX: usize = 6;
const CONTACTS_MAX_MANY: usize = 3;
/// Flatness of a place beside a hole.
const BEND_UNKNOWN: f32 = 0.6;
/// The median of the larger of two bends that noise alone makes is 1.29 of it: each bend has its
/// variance times one and a half, and half of all pairs stay below 1.05 of their deviations. The
/// rest is for a noise that is known to a tenth or two.
const NOISE_BEND: f32 = 1.5;
/// From the median bend to trough and crest under a lip.
const ROUGH_BENDS: f32 = 4.0;
/// What seems worse than this share of the least quality at a glance is not looked at again: a
/// glance sees less, and trusts what it sees less.
const GLANCE_SHARE_MIN: f32 = 0.4;
/// The last frame's choice stays unless another is better by more than this.
const STAY_GAIN: f32 = 1.35;
/// Of the quality that a search found, while nothing is searched anew.
const KEPT_SHARE: f32 = 0.8;

#[derive(Clone, Copy, Debug)]
struct Candidate {
    spot: Spot,
    promise: f32,
    remembered: bool,
}

/// A candidate, and how the tool would be held there.
#[derive(Clone, Copy, Debug)]
struct Rated {
    candidate: Candidate,
    held: Held,
}

impl Rated {
    fn value(&self) -> f32 {
        let gain = if self.candidate.remembered { STAY_GAIN } else { 1.0 };
        gain * self.held.quality()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Candidates {
    candidates: Vec<Candidate>,
    bends_m: Vec<f32>,
    rated: Vec<Rated>,
    picked: Vec<Rated>,
}

impl Candidates {
    /// Chooses what [`Candidates::held`] tells, or says why there is nothing.
    pub(crate) fn choose(
        &mut self,
        site: &Site<'_>,
        recalled: Option<&Recalled>,
        patch: &mut Patch,
    ) -> Result<Found, GraspRefusal> {
        if let Some(recalled) = recalled.filter(|recalled| !recalled.is_due)
            && self.revisit(site, recalled, patch)
        {
            return Ok(recalled.found);
        }
        self.find(site);
        self.remember(site, recalled);
        if self.candidates.is_empty() {
            return Err(GraspRefusal::ToolTooLarge);
        }
        let rough_m = self.rough_m(CELL_NOISE * site.load.noise_m).max(site.load.rough_min_m);
        self.rate(site, rough_m, patch)?;
        self.pick(site, rough_m, patch)?;
        Ok(Found { rough_m, quality: self.picked[0].held.quality() })
    }

    /// At most [`GraspLimits::per_package_max`], best first.
    ///
    /// [`GraspLimits::per_package_max`]: crate::GraspLimits::per_package_max
    pub(crate) fn held(&self) -> impl Iterator<Item = &Held> {
        self.picked.iter().map(|rated| &rated.held)
    }

    /// Looks closely at the contacts of the last frame, where they are now. Whether all of them still
    /// hold, and the best one about as well as when the package was searched.
    fn revisit(&mut self, site: &Site<'_>, recalled: &Recalled, patch: &mut Patch) -> bool {
        let Site { view, tool, load, limits, .. } = *site;
        self.picked.clear();
        for (index, &at_px) in recalled.contacts_px().iter().enumerate() {
            let Some(spot) = spot_at(site, at_px) else { return false };
            let held = hold(site, &spot, recalled.found.rough_m, Care::Close, patch);
            let Some(held) = held.ok().filter(|held| held.quality() >= limits.quality_min) else {
                return false;
            };
            if is_blocked(view, &held.origin, &held.normal, tool, load.noise_m) {
                return false;
            }
            let candidate = Candidate { spot, promise: f32::MAX, remembered: index == 0 };
            self.picked.push(Rated { candidate, held });
        }
        self.picked.sort_by(|a, b| b.value().total_cmp(&a.value()));
        self.picked[0].held.quality() >= KEPT_SHARE * recalled.found.quality
    }

    /// The most promising cell of each block, the most promising first.
    fn find(&mut self, site: &Site<'_>) {
        let Site { grid, view, load, tool, .. } = *site;
        let radius_m = to_f32(tool.smallest_radius_m());
        let reach_m = to_f32(tool.reach_m());
        let lever_max_m = load.lever_max_m(tool, reach_m);
        let mut best = [None::<Candidate>; BLOCKS * BLOCKS];
        let (wide, high) = (grid.columns - 2, grid.rows - 2);
        let per_px_m = 1.0 / view.rays.focal_px;
        let compliance_m = to_f32(tool.cups[0].compliance_m);
        // The lip, in cells.
        let reach = view.pixels(radius_m, load.center.z.max(0.05)) / grid.step_px as f32;
        let reach = round_index(reach).max(1);
        self.candidates.clear();
        self.bends_m.clear();
        let cell_noise_m = CELL_NOISE * load.noise_m;
        for cell in &grid.cells {
            let (column, row) = (cell.column as usize, cell.row as usize);
            let clearance_m =
                grid.clearance_px(cell.index as usize) * cell.point_in_camera.z * per_px_m;
            let room = clearance_share(clearance_m, radius_m);
            if room <= 0.0 {
                continue;
            }
            let d = load.center - cell.point_in_camera;
            let aside2 = match &load.up {
                Some(up) => d.norm_squared() - up.dot(&d).powi(2),
                None => d.x * d.x + d.y * d.y,
            };
            let flat = grid.bend_m(cell, reach).map_or(BEND_UNKNOWN, |bend_m| {
                self.bends_m.push(bend_m);
                // Noise bends, too: by as much as its variance times one and a half.
                seal_share((bend_m - 1.2 * cell_noise_m).max(0.0), compliance_m)
            });
            let promise = room * flat * moment_share(aside2.max(0.0).sqrt(), lever_max_m, reach_m);
            let block = (column - 1) * BLOCKS / wide * BLOCKS + (row - 1) * BLOCKS / high;
            if best[block].is_none_or(|other| other.promise < promise) {
                best[block] = Some(candidate(grid, cell, clearance_m, promise, false));
            }
        }
        self.candidates.extend(best.iter().flatten());
        self.candidates.sort_unstable_by(|a, b| b.promise.total_cmp(&a.promise));
        let many = if tool.cups.len() > 1 { CONTACTS_MAX_MANY } else { CONTACTS_MAX };
        self.candidates.truncate(many);
    }

    /// Adds the last frame's choice, where the tool still fits.
    fn remember(&mut self, site: &Site<'_>, recalled: Option<&Recalled>) {
        let last = recalled.and_then(|recalled| spot_at(site, recalled.contacts_px()[0]));
        let last = last.map(|spot| Candidate { spot, promise: f32::MAX, remembered: true });
        self.candidates.extend(last);
    }

    /// Compares all candidates at a glance.
    fn rate(
        &mut self,
        site: &Site<'_>,
        rough_m: f32,
        patch: &mut Patch,
    ) -> Result<(), GraspRefusal> {
        self.rated.clear();
        let mut refusal = GraspRefusal::NoSurface;
        for candidate in &self.candidates {
            match hold(site, &candidate.spot, rough_m, Care::Glance, patch) {
                Ok(held) => self.rated.push(Rated { candidate: *candidate, held }),
                Err(GraspRefusal::TooSteep) => refusal = GraspRefusal::TooSteep,
                Err(_) => {}
            }
        }
        self.rated.sort_unstable_by(|a, b| b.value().total_cmp(&a.value()));
        if self.rated.is_empty() { Err(refusal) } else { Ok(()) }
    }

    /// How rough the package is all over, from trough to crest under a lip.
    fn rough_m(&mut self, cell_noise_m: f32) -> f32 {
        let Some(middle) = self.bends_m.len().checked_sub(1).map(|last| last / 2) else {
            return 0.0;
        };
        let bend_m = *self.bends_m.select_nth_unstable_by(middle, f32::total_cmp).1;
        (bend_m * bend_m - (NOISE_BEND * cell_noise_m).powi(2)).max(0.0).sqrt() * ROUGH_BENDS
    }

    /// The best ones that the tool can reach, looked at closely, a tool's reach apart.
    fn pick(
        &mut self,
        site: &Site<'_>,
        rough_m: f32,
        patch: &mut Patch,
    ) -> Result<(), GraspRefusal> {
        let Site { view, tool, load, limits, .. } = *site;
        self.picked.clear();
        let apart_m = to_f32(tool.smallest_radius_m());
        let mut refusal = None;
        for rated in &self.rated {
            if self.picked.len() == limits.per_package_max {
                break;
            }
            let near = |other: &Rated| (other.held.origin - rated.held.origin).norm() < apart_m;
            let is_hopeless = rated.held.quality() < GLANCE_SHARE_MIN * limits.quality_min;
            if is_hopeless || self.picked.iter().any(near) {
                continue;
            }
            let Ok(held) = hold(site, &rated.candidate.spot, rough_m, Care::Close, patch) else {
                continue;
            };
            if held.quality() < limits.quality_min {
                continue;
            }
            if is_blocked(view, &held.origin, &held.normal, tool, load.noise_m) {
                refusal = Some(GraspRefusal::Blocked);
                continue;
            }
            self.picked.push(Rated { held, ..*rated });
        }
        self.picked.sort_by(|a, b| b.value().total_cmp(&a.value()));
        if !self.picked.is_empty() {
            return Ok(());
        }
        Err(refusal.unwrap_or_else(|| {
            let best = &self.rated[0].held;
            let hangs_askew = best.moment < best.seal.min(best.clearance);
            if hangs_askew { GraspRefusal::OffBalance } else { GraspRefusal::NoSeal }
        }))
    }
}

/// Where the smallest cup still fits on what was measured.
fn spot_at(site: &Site<'_>, at_px: [f32; 2]) -> Option<Spot> {
    let Site { grid, view, tool, .. } = *site;
    let index = grid.cell_at(at_px)?;
    let cell = grid.cells.iter().find(|cell| cell.index as usize == index)?;
    let z_m = cell.point_in_camera.z;
    let clearance_m = grid.clearance_px(index) * z_m / view.rays.focal_px;
    let room = clearance_share(clearance_m, to_f32(tool.smallest_radius_m()));
    (room > 0.0).then_some(Spot { at_px, z_m, clearance_m })
}

/// The tool on a spot of a package that is as rough as this all over.
fn hold(
    site: &Site<'_>,
    spot: &Spot,
    rough_m: f32,
    care: Care,
    patch: &mut Patch,
) -> Result<Held, GraspRefusal> {
    let Site { view, tool, load, .. } = *site;
    let smallest_m = to_f32(tool.smallest_radius_m());
    // Several cups lie on what is under all of them, as far as the package reaches.
    let radius_m = if tool.is_round() {
        smallest_m
    } else {
        to_f32(tool.reach_m()).min(spot.clearance_m).max(smallest_m)
    };
    let contact = patch.touch(view, spot, radius_m, load.noise_m, care);
    let contact = contact.ok_or(GraspRefusal::NoSurface)?.on_surface(rough_m);
    let held = if tool.is_round() {
        hold_with_one(site, &contact, spot.clearance_m)
    } else {
        hold_with_many(site, &contact, patch)
    };
    held.ok_or(GraspRefusal::TooSteep)
}

fn round_index(value: f32) -> usize {
    floor_index(value + 0.5)
}

fn candidate(
    grid: &Grid,
    cell: &Cell,
    clearance_m: f32,
    promise: f32,
    remembered: bool,
) -> Candidate {
    let at_px = grid.px(cell.index as usize).map(|px| px as f32);
    let spot = Spot { at_px, z_m: cell.point_in_camera.z, clearance_m };
    Candidate { spot, promise, remembered }
}

//! From the cells of a package to its best grasps.

use super::contact::Patch;
use super::grid::{Cell, Grid};
use super::hold::{
    Held, Site, clearance_share, hold_with_many, hold_with_one, moment_share, seal_share,
};
use super::overview::is_blocked;
use crate::GraspRefusal;
use crate::number::{floor_index, to_f32};

/// The best cell of each of so many by so many blocks is looked at closer.
const BLOCKS: usize = 4;
/// Contacts that are fitted, for a tool of one cup and of several.
const CONTACTS_MAX: usize = 7;
const CONTACTS_MAX_MANY: usize = 3;
/// Flatness of a place beside a hole.
const BEND_UNKNOWN: f32 = 0.6;
/// The last frame's choice stays unless another is better by more than this.
const STAY_GAIN: f32 = 1.35;

#[derive(Clone, Copy, Debug)]
struct Candidate {
    at_px: [f32; 2],
    z_m: f32,
    clearance_m: f32,
    promise: f32,
    remembered: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Candidates {
    candidates: Vec<Candidate>,
    held: Vec<(Held, f32)>,
    chosen: Vec<Held>,
}

impl Candidates {
    /// At most [`GraspLimits::per_package_max`], best first, or why there is none.
    ///
    /// [`GraspLimits::per_package_max`]: crate::GraspLimits::per_package_max
    pub(crate) fn choose(
        &mut self,
        site: &Site<'_>,
        remembered_px: Option<[f32; 2]>,
        patch: &mut Patch,
    ) -> Result<&[Held], GraspRefusal> {
        self.find(site);
        self.remember(site, remembered_px);
        if self.candidates.is_empty() {
            return Err(GraspRefusal::ToolTooLarge);
        }
        self.hold_all(site, patch)?;
        self.pick(site)
    }

    /// The most promising cell of each block, the most promising first.
    fn find(&mut self, site: &Site<'_>) {
        let Site { grid, view, load, tool, .. } = *site;
        let radius_m = to_f32(tool.smallest_radius_m());
        let reach_m = to_f32(tool.reach_m());
        let mut best = [None::<Candidate>; BLOCKS * BLOCKS];
        let (wide, high) = (grid.columns - 2, grid.rows - 2);
        let per_px_m = 1.0 / view.rays.focal_px;
        let compliance_m = to_f32(tool.cups[0].compliance_m);
        // The lip, in cells.
        let reach = view.pixels(radius_m, load.center.z.max(0.05)) / grid.step_px as f32;
        let reach = round_index(reach).max(1);
        self.candidates.clear();
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
                // Noise bends, too: by as much as its variance times one and a half.
                seal_share((bend_m - 1.2 * load.noise_m).max(0.0), compliance_m)
            });
            let promise = room * flat * moment_share(aside2.max(0.0).sqrt(), reach_m);
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
    fn remember(&mut self, site: &Site<'_>, remembered_px: Option<[f32; 2]>) {
        let Site { grid, view, tool, .. } = *site;
        let radius_m = to_f32(tool.smallest_radius_m());
        let Some(at_px) = remembered_px else { return };
        let Some(index) = grid.cell_at(at_px) else { return };
        let Some(z_m) = grid
            .cells
            .iter()
            .find(|cell| cell.index as usize == index)
            .map(|cell| cell.point_in_camera.z)
        else {
            return;
        };
        let clearance_m = grid.clearance_px(index) * z_m / view.rays.focal_px;
        if clearance_share(clearance_m, radius_m) > 0.0 {
            let promise = f32::MAX;
            let remembered = true;
            self.candidates.push(Candidate { at_px, z_m, clearance_m, promise, remembered });
        }
    }

    fn hold_all(&mut self, site: &Site<'_>, patch: &mut Patch) -> Result<(), GraspRefusal> {
        let Site { view, tool, load, .. } = *site;
        self.held.clear();
        let mut steep = false;
        for candidate in &self.candidates {
            // Several cups lie on what is under all of them, as far as the package reaches.
            let radius_m = if tool.is_round() {
                to_f32(tool.smallest_radius_m())
            } else {
                to_f32(tool.reach_m())
                    .min(candidate.clearance_m)
                    .max(to_f32(tool.smallest_radius_m()))
            };
            let touched = patch.touch(view, candidate.at_px, candidate.z_m, radius_m, load.noise_m);
            let Some(contact) = touched else { continue };
            let held = if tool.is_round() {
                hold_with_one(site, &contact, candidate.clearance_m)
            } else {
                hold_with_many(site, &contact, patch)
            };
            steep |= held.is_none();
            if let Some(held) = held {
                let gain = if candidate.remembered { STAY_GAIN } else { 1.0 };
                self.held.push((held, gain * held.quality()));
            }
        }
        match (self.held.is_empty(), steep) {
            (false, _) => Ok(()),
            (true, true) => Err(GraspRefusal::TooSteep),
            (true, false) => Err(GraspRefusal::NoSurface),
        }
    }

    /// The best ones that the tool can reach, a tool's reach apart.
    fn pick(&mut self, site: &Site<'_>) -> Result<&[Held], GraspRefusal> {
        let Site { view, tool, load, limits, .. } = *site;
        self.held.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
        self.chosen.clear();
        let apart_m = to_f32(tool.smallest_radius_m());
        let mut blocked = false;
        for (held, _) in &self.held {
            if self.chosen.len() == limits.per_package_max {
                break;
            }
            if held.quality() < limits.quality_min {
                continue;
            }
            let near = |other: &Held| (other.origin - held.origin).norm() < apart_m;
            if self.chosen.iter().any(near) {
                continue;
            }
            if is_blocked(view, &held.origin, &held.normal, tool, load.noise_m) {
                blocked = true;
                continue;
            }
            self.chosen.push(*held);
        }
        match (self.chosen.is_empty(), blocked) {
            (false, _) => Ok(&self.chosen),
            (true, true) => Err(GraspRefusal::Blocked),
            (true, false) => Err(GraspRefusal::NoSeal),
        }
    }
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
    Candidate { at_px, z_m: cell.point_in_camera.z, clearance_m, promise, remembered }
}

//! From the cells of a package to its best grasps.

use super::approach::is_blocked;
use super::memory::{PreviousGrasps, SearchResult, SearchSummary};
use crate::GraspRefusal;
use crate::grasp::hold::context::PackageContext;
use crate::grasp::hold::hold;
use crate::grasp::hold::placement::ToolPlacement;
use crate::grasp::hold::shares::{clearance_share, moment_share, seal_share};
use crate::grasp::surface::depth::{CELL_NOISE_SHARE, DEPTH_M_MIN};
use crate::grasp::surface::grid::Cell;
use crate::grasp::surface::patch::{ContactPoint, PatchSampler, Sampling};
use crate::number::{floor_index, to_f32};

/// The best cell of each of so many by so many blocks is looked at closer.
const BLOCKS: usize = 4;
/// Contacts that are fitted, for a tool of one cup and of several.
const CONTACTS_MAX: usize = 6;
const CONTACTS_MAX_MANY: usize = 3;
/// The flatness part of a place beside a hole.
const FLATNESS_UNKNOWN: f32 = 0.6;
/// A bend has the variance of a cell's noise times one and a half, hence its deviation times 1.2.
const BEND_NOISE: f32 = 1.2;
/// The median of the larger of two bends that noise alone makes is 1.29 of it: each bend has its
/// variance times one and a half, and half of all pairs stay below 1.05 of their deviations. The
/// rest is for a noise that is known to a tenth or two.
const MEDIAN_BEND_NOISE: f32 = 1.5;
/// From the median bend to trough and crest under a lip.
const ROUGHNESS_BENDS: f32 = 4.0;
/// What seems worse than this share of the least quality by coarse sampling is not looked at again:
/// coarse sampling sees less, and trusts what it sees less.
const COARSE_SHARE_MIN: f32 = 0.4;
/// The last frame's choice stays unless another is better by more than this.
const HYSTERESIS: f32 = 1.35;
/// While nothing is searched anew, the best grasp must keep this share of the quality that the search
/// found.
const QUALITY_KEPT_MIN: f32 = 0.8;

/// A contact point that may be tried.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    at: ContactPoint,
    /// Estimate of the quality from cells alone: the larger, the earlier it is tried.
    prior: f32,
    /// Whether it was the last frame's choice.
    is_previous: bool,
}

/// A candidate, and how the tool would be held there.
#[derive(Clone, Copy, Debug)]
struct RatedCandidate {
    candidate: Candidate,
    placement: ToolPlacement,
}

impl RatedCandidate {
    fn quality(&self) -> f32 {
        self.placement.quality.product()
    }

    /// The quality, in favour of the last frame's choice.
    fn value(&self) -> f32 {
        let gain = if self.candidate.is_previous { HYSTERESIS } else { 1.0 };
        gain * self.quality()
    }
}

/// The best first; what was found first stays before its equals.
fn sort(rated: &mut [RatedCandidate]) {
    rated.sort_by(|a, b| b.value().total_cmp(&a.value()));
}

/// Buffers of a search, kept from package to package.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    candidates: Vec<Candidate>,
    bends_m: Vec<f32>,
    rated: Vec<RatedCandidate>,
    picked: Vec<RatedCandidate>,
}

impl Candidates {
    /// Chooses what [`Candidates::placements`] then tells, at least one.
    ///
    /// # Errors
    /// Why there is nothing to choose.
    pub(crate) fn choose(
        &mut self,
        context: &PackageContext<'_>,
        previous: Option<&PreviousGrasps>,
        sampler: &mut PatchSampler,
    ) -> SearchResult {
        if let Some(previous) = previous.filter(|previous| !previous.is_search_due)
            && self.revisit(context, previous, sampler)
        {
            return Ok(previous.summary);
        }
        self.find(context);
        self.add_previous(context, previous);
        if self.candidates.is_empty() {
            return Err(GraspRefusal::ToolTooLarge);
        }
        let cell_noise_m = CELL_NOISE_SHARE * context.load.noise_m;
        let roughness_m = self.roughness_m(cell_noise_m).max(context.load.roughness_min_m);
        self.rate(context, roughness_m, sampler)?;
        self.pick(context, roughness_m, sampler)?;
        Ok(SearchSummary { roughness_m, quality: self.picked[0].quality() })
    }

    /// At most [`GraspLimits::per_package_max`], best first.
    ///
    /// [`GraspLimits::per_package_max`]: crate::GraspLimits::per_package_max
    pub(crate) fn placements(&self) -> impl Iterator<Item = &ToolPlacement> {
        self.picked.iter().map(|rated| &rated.placement)
    }

    /// Looks closely at the contacts of the last frame, where they are now. Whether all of them still
    /// hold, and the best one about as well as when the package was searched.
    fn revisit(
        &mut self,
        context: &PackageContext<'_>,
        previous: &PreviousGrasps,
        sampler: &mut PatchSampler,
    ) -> bool {
        let PackageContext { view, tool, load, limits, .. } = *context;
        self.picked.clear();
        for (index, &at_px) in previous.contacts_px().iter().enumerate() {
            let Some(at) = contact_point(context, at_px) else { return false };
            let roughness_m = previous.summary.roughness_m;
            let placement = hold(context, &at, roughness_m, Sampling::Fine, sampler).ok();
            let enough = |held: &ToolPlacement| held.quality.product() >= limits.quality_min;
            let Some(placement) = placement.filter(enough) else { return false };
            if is_blocked(view, &placement.origin, &placement.normal, tool, load.noise_m) {
                return false;
            }
            let candidate = Candidate { at, prior: f32::MAX, is_previous: index == 0 };
            self.picked.push(RatedCandidate { candidate, placement });
        }
        sort(&mut self.picked);
        self.picked[0].quality() >= QUALITY_KEPT_MIN * previous.summary.quality
    }

    /// The most promising cell of each block, the most promising first.
    fn find(&mut self, context: &PackageContext<'_>) {
        let PackageContext { grid, view, load, tool, .. } = *context;
        let radius_m = to_f32(tool.smallest_radius_m());
        let reach_m = to_f32(tool.reach_m());
        let lever_max_m = load.lever_max_m(tool, reach_m);
        let mut best = [None::<Candidate>; BLOCKS * BLOCKS];
        let (wide, high) = (grid.columns - 2, grid.rows - 2);
        let per_px_m = 1.0 / view.rays.focal_px;
        let compliance_m = to_f32(tool.cups[0].compliance_m);
        // The lip, in cells.
        let reach = view.pixels(radius_m, load.center.z.max(DEPTH_M_MIN)) / grid.step_px as f32;
        let reach = floor_index(reach + 0.5).max(1);
        self.candidates.clear();
        self.bends_m.clear();
        let cell_noise_m = CELL_NOISE_SHARE * load.noise_m;
        for cell in &grid.cells {
            let (column, row) = (cell.column as usize, cell.row as usize);
            let clearance_m =
                grid.clearance_px(cell.index as usize) * cell.point_in_camera.z * per_px_m;
            let clearance = clearance_share(clearance_m, radius_m);
            if clearance <= 0.0 {
                continue;
            }
            let d = load.center - cell.point_in_camera;
            let lever2 = match &load.up {
                Some(up) => d.norm_squared() - up.dot(&d).powi(2),
                None => d.x * d.x + d.y * d.y,
            };
            let flatness = grid.bend_m(cell, reach).map_or(FLATNESS_UNKNOWN, |bend_m| {
                self.bends_m.push(bend_m);
                seal_share((bend_m - BEND_NOISE * cell_noise_m).max(0.0), compliance_m)
            });
            let moment = moment_share(lever2.max(0.0).sqrt(), lever_max_m, reach_m);
            let prior = clearance * flatness * moment;
            let block = (column - 1) * BLOCKS / wide * BLOCKS + (row - 1) * BLOCKS / high;
            if best[block].is_none_or(|other| other.prior < prior) {
                let at = contact_point_of(context, cell, clearance_m);
                best[block] = Some(Candidate { at, prior, is_previous: false });
            }
        }
        self.candidates.extend(best.iter().flatten());
        self.candidates.sort_unstable_by(|a, b| b.prior.total_cmp(&a.prior));
        self.candidates.truncate(contacts_max(context));
    }

    /// Adds the last frame's choice, where the tool still fits.
    fn add_previous(&mut self, context: &PackageContext<'_>, previous: Option<&PreviousGrasps>) {
        let last = previous.and_then(|previous| contact_point(context, previous.contacts_px()[0]));
        let last = last.map(|at| Candidate { at, prior: f32::MAX, is_previous: true });
        self.candidates.extend(last);
    }

    /// Compares all candidates by coarse sampling.
    fn rate(
        &mut self,
        context: &PackageContext<'_>,
        roughness_m: f32,
        sampler: &mut PatchSampler,
    ) -> Result<(), GraspRefusal> {
        self.rated.clear();
        let mut refusal = GraspRefusal::NoSurface;
        for &candidate in &self.candidates {
            match hold(context, &candidate.at, roughness_m, Sampling::Coarse, sampler) {
                Ok(placement) => self.rated.push(RatedCandidate { candidate, placement }),
                Err(GraspRefusal::TooSteep) => refusal = GraspRefusal::TooSteep,
                Err(_) => {}
            }
        }
        self.rated.sort_unstable_by(|a, b| b.value().total_cmp(&a.value()));
        if self.rated.is_empty() { Err(refusal) } else { Ok(()) }
    }

    /// How rough the package is all over, from trough to crest under a lip.
    fn roughness_m(&mut self, cell_noise_m: f32) -> f32 {
        let Some(median_at) = self.bends_m.len().checked_sub(1).map(|last| last / 2) else {
            return 0.0;
        };
        let bend_m = *self.bends_m.select_nth_unstable_by(median_at, f32::total_cmp).1;
        let of_noise_m = MEDIAN_BEND_NOISE * cell_noise_m;
        (bend_m * bend_m - of_noise_m.powi(2)).max(0.0).sqrt() * ROUGHNESS_BENDS
    }

    /// The best ones that the tool can reach, finely sampled, a tool's reach apart.
    fn pick(
        &mut self,
        context: &PackageContext<'_>,
        roughness_m: f32,
        sampler: &mut PatchSampler,
    ) -> Result<(), GraspRefusal> {
        let PackageContext { view, tool, load, limits, .. } = *context;
        self.picked.clear();
        let apart_m = to_f32(tool.smallest_radius_m());
        let mut refusal = None;
        for rated in &self.rated {
            if self.picked.len() == limits.per_package_max {
                break;
            }
            let is_near = |other: &RatedCandidate| {
                (other.placement.origin - rated.placement.origin).norm() < apart_m
            };
            let is_hopeless = rated.quality() < COARSE_SHARE_MIN * limits.quality_min;
            if is_hopeless || self.picked.iter().any(is_near) {
                continue;
            }
            let Candidate { at, .. } = rated.candidate;
            let Ok(placement) = hold(context, &at, roughness_m, Sampling::Fine, sampler) else {
                continue;
            };
            if placement.quality.product() < limits.quality_min {
                continue;
            }
            if is_blocked(view, &placement.origin, &placement.normal, tool, load.noise_m) {
                refusal = Some(GraspRefusal::Blocked);
                continue;
            }
            self.picked.push(RatedCandidate { placement, ..*rated });
        }
        sort(&mut self.picked);
        if !self.picked.is_empty() {
            return Ok(());
        }
        Err(refusal.unwrap_or_else(|| weakest_part(&self.rated[0].placement)))
    }
}

/// What a placement that is not good enough lacks most.
fn weakest_part(placement: &ToolPlacement) -> GraspRefusal {
    let quality = &placement.quality;
    let hangs_askew = quality.moment < quality.seal.min(quality.clearance);
    if hangs_askew { GraspRefusal::OffBalance } else { GraspRefusal::NoSeal }
}

fn contacts_max(context: &PackageContext<'_>) -> usize {
    if context.tool.cups.len() > 1 { CONTACTS_MAX_MANY } else { CONTACTS_MAX }
}

/// Where the smallest cup still fits on what was measured.
fn contact_point(context: &PackageContext<'_>, at_px: [f32; 2]) -> Option<ContactPoint> {
    let PackageContext { grid, view, tool, .. } = *context;
    let index = grid.cell_at(at_px)?;
    let cell = grid.cells.iter().find(|cell| cell.index as usize == index)?;
    let z_m = cell.point_in_camera.z;
    let clearance_m = grid.clearance_px(index) * z_m / view.rays.focal_px;
    let clearance = clearance_share(clearance_m, to_f32(tool.smallest_radius_m()));
    (clearance > 0.0).then_some(ContactPoint { at_px, z_m, clearance_m })
}

/// The centre of a cell.
fn contact_point_of(context: &PackageContext<'_>, cell: &Cell, clearance_m: f32) -> ContactPoint {
    let at_px = context.grid.px(cell.index as usize).map(|px| px as f32);
    ContactPoint { at_px, z_m: cell.point_in_camera.z, clearance_m }
}

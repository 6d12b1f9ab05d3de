//! How well a tool holds: which of its cups seal, and what pulls at them.

pub(crate) mod on_support_plane;

use arrayvec::ArrayVec;
use nalgebra::Vector3;

use crate::grasp::surface::grid::Grid;
use crate::grasp::surface::patch::{Care, Contact, Patch, Spot, View, tangent};
use crate::number::to_f32;
use crate::{CupSet, GraspLimits, Tool};

/// A lip needs its radius; twice the error of a mask's edge more is better.
const CLEARANCE: std::ops::Range<f32> = 0.9..1.3;
/// Share of its compliance at which half of the seal is lost.
const SEAL_HALF: f32 = 0.85;
/// A cup below this is better switched off.
const SEAL_MIN: f32 = 0.2;
/// Turns of a tool of several cups that are tried.
const TURNS: usize = 4;
/// 0.6 bar below the atmosphere: what ejectors reach on cardboard.
const VACUUM_PA: f32 = 60_000.0;
/// What carriers reckon a parcel weighs by its volume: 6000 cm3 are a kilogram.
const DENSITY_KG_M3: f32 = 120.0;
const GRAVITY_M_S2: f32 = 9.81;
/// Hanging so many reaches from the tool's middle, a package swings twice as much as is good.
const SWING_REACHES: f32 = 8.0;
/// The tool was chosen for the goods: nothing weighs more than this share of what it lifts.
const LOAD_SHARE_MAX: f32 = 1.0 / 3.0;

/// What the package asks of the tool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Estimate of the centre of mass.
    pub(crate) center: Vector3<f32>,
    /// How far it may be off: the part of the package that is hidden pulls, too.
    pub(crate) center_sigma_m: f32,
    /// Against gravity; `None` where nobody knows.
    pub(crate) up: Option<Vector3<f32>>,
    pub(crate) long_axis: Vector3<f32>,
    /// `None` where the size is unknown.
    pub(crate) volume_m3: Option<f32>,
    /// From trough to crest under a lip, where nothing smoother was seen.
    pub(crate) rough_min_m: f32,
    pub(crate) noise_m: f32,
}

impl Load {
    /// Share of what a whole tool lifts, `0.0..=1.0`.
    fn weight_share(&self, tool: &Tool) -> f32 {
        let lifts_n =
            VACUUM_PA * tool.cups.iter().map(|cup| area_m2(to_f32(cup.radius_m))).sum::<f32>();
        self.volume_m3.map_or(LOAD_SHARE_MAX, |volume_m3| {
            (DENSITY_KG_M3 * GRAVITY_M_S2 * volume_m3 / lifts_n).min(LOAD_SHARE_MAX)
        })
    }

    /// How far from the middle of a tool of this reach the centre of mass may hang: there the
    /// weight's moment lifts the far side of the lip off, against what the vacuum has to spare.
    pub(crate) fn lever_max_m(&self, tool: &Tool, reach_m: f32) -> f32 {
        reach_m * (1.0 / self.weight_share(tool).max(0.02) - 1.0)
    }
}

fn area_m2(radius_m: f32) -> f32 {
    std::f32::consts::PI * radius_m * radius_m
}

/// A package, what is seen of it, and what is to hold it.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) grid: &'a Grid,
    pub(crate) view: View<'a>,
    pub(crate) load: &'a Load,
    pub(crate) tool: &'a Tool,
    pub(crate) limits: &'a GraspLimits,
}

/// A tool in place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Held {
    pub(crate) at_px: [f32; 2],
    /// Origin of the tool's reference frame when the cups touch.
    pub(crate) origin: Vector3<f32>,
    /// Out of the surface: against the approach.
    pub(crate) normal: Vector3<f32>,
    pub(crate) tool_x: Vector3<f32>,
    pub(crate) cups: CupSet,
    pub(crate) clearance: f32,
    pub(crate) seal: f32,
    pub(crate) moment: f32,
    pub(crate) tilt: f32,
    pub(crate) hold: f32,
    pub(crate) depth_hole_fraction: f32,
    pub(crate) sigma_m: f32,
}

impl Held {
    pub(crate) fn quality(&self) -> f32 {
        let seen = 1.0 - self.depth_hole_fraction;
        self.clearance * self.seal * self.moment * self.tilt * self.hold * seen
    }
}

/// One cup, in place.
#[derive(Clone, Copy, Debug)]
struct Sealed {
    index: usize,
    center: Vector3<f32>,
    area: f32,
    radius_m: f32,
    clearance: f32,
    seal: f32,
    hole_fraction: f32,
}

pub(crate) fn clearance_share(clearance_m: f32, radius_m: f32) -> f32 {
    let span = CLEARANCE.end - CLEARANCE.start;
    ((clearance_m / radius_m - CLEARANCE.start) / span).clamp(0.0, 1.0)
}

/// A cup seals well up to half of what it can follow, and hardly at all of it: depth shows less of
/// a wrinkle than there is.
pub(crate) fn seal_share(deviation_m: f32, compliance_m: f32) -> f32 {
    1.0 / (1.0 + (deviation_m / (SEAL_HALF * compliance_m)).powi(4))
}

/// Half at the limit, and soon nothing beyond it; less, too, where a light package would swing.
pub(crate) fn moment_share(lever_m: f32, lever_max_m: f32, reach_m: f32) -> f32 {
    let tears = (lever_m / lever_max_m).powi(4);
    let swings = (lever_m / (SWING_REACHES * reach_m)).powi(2);
    1.0 / ((1.0 + tears) * (1.0 + swings))
}

/// `None` beyond the limit.
fn tilt_share(site: &Site<'_>, normal: &Vector3<f32>) -> Option<f32> {
    let Some(up) = &site.load.up else { return Some(1.0) };
    let tilt_deg = normal.dot(up).clamp(-1.0, 1.0).acos().to_degrees();
    let share = tilt_deg / to_f32(site.limits.tilt_deg_max);
    (share <= 1.0).then_some(1.0 - 0.5 * share * share)
}

fn lever_m(load: &Load, at: &Vector3<f32>, normal: &Vector3<f32>) -> f32 {
    let d = load.center - at;
    let up = load.up.as_ref().unwrap_or(normal);
    (d.norm_squared() - up.dot(&d).powi(2)).max(0.0).sqrt().hypot(load.center_sigma_m)
}

/// A single cup on the axis: the contact is the tool's. `None` where the surface is too steep.
pub(crate) fn hold_with_one(site: &Site<'_>, contact: &Contact, clearance_m: f32) -> Option<Held> {
    let cup = &site.tool.cups[0];
    let radius_m = to_f32(cup.radius_m);
    let normal = contact.normal_in_camera;
    Some(Held {
        at_px: contact.at_px,
        origin: contact.point_in_camera + normal * to_f32(cup.position_m[2]),
        normal,
        tool_x: tangent(&-normal),
        cups: CupSet::of(0),
        clearance: clearance_share(clearance_m, radius_m),
        seal: seal_share(contact.deviation_m, to_f32(cup.compliance_m)),
        moment: moment_share(
            lever_m(site.load, &contact.point_in_camera, &normal),
            site.load.lever_max_m(site.tool, radius_m),
            radius_m,
        ),
        tilt: tilt_share(site, &normal)?,
        hold: 1.0,
        depth_hole_fraction: contact.depth_hole_fraction,
        sigma_m: contact.sigma_m,
    })
}

/// The best turn and subset of a tool of several cups, put down with its axis, or else with one of
/// its cups, on the contact.
pub(crate) fn hold_with_many(
    site: &Site<'_>,
    contact: &Contact,
    patch: &mut Patch,
) -> Option<Held> {
    let Site { load, tool, .. } = *site;
    let normal = contact.normal_in_camera;
    let tilt = tilt_share(site, &normal)?;
    let along = load.long_axis - normal * normal.dot(&load.long_axis);
    let along = along.try_normalize(1e-3).unwrap_or_else(|| tangent(&-normal));
    let across = normal.cross(&along);
    let mut best: Option<Held> = None;
    let axis = Vector3::<f32>::zeros();
    let anchors =
        std::iter::once(axis).chain(tool.cups.iter().map(|cup| cup.position().cast::<f32>()));
    for (at, anchor) in anchors.enumerate() {
        // The tool as a whole is what it is for; a lone cup is for what is smaller than the tool.
        if at == 1 && best.is_some_and(|held| held.quality() > 0.4) {
            break;
        }
        for turn in 0..TURNS {
            let (sin, cos) = (std::f32::consts::PI * turn as f32 / TURNS as f32).sin_cos();
            let tool_x = along * cos + across * sin;
            let tool_y = (-normal).cross(&tool_x);
            let origin = contact.point_in_camera - tool_x * anchor.x - tool_y * anchor.y;
            let place = Place { origin, normal, tool_x, tool_y };
            let sealed = seal_cups(site, contact, &place, patch);
            let held = best_subset(site, &sealed, &place, contact, tilt);
            if held.is_some_and(|held| best.is_none_or(|b| b.quality() < held.quality())) {
                best = held;
            }
        }
    }
    best
}

struct Place {
    origin: Vector3<f32>,
    normal: Vector3<f32>,
    tool_x: Vector3<f32>,
    tool_y: Vector3<f32>,
}

fn seal_cups(
    site: &Site<'_>,
    contact: &Contact,
    place: &Place,
    patch: &mut Patch,
) -> ArrayVec<Sealed, { Tool::CUPS_MAX }> {
    let Site { grid, view, tool, load: &Load { noise_m, .. }, .. } = *site;
    let mut all = ArrayVec::new();
    for (index, cup) in tool.cups.iter().enumerate() {
        let position: Vector3<f32> = cup.position().cast();
        let center = place.origin + place.tool_x * position.x + place.tool_y * position.y
            - place.normal * position.z;
        if center.z < 0.05 {
            continue;
        }
        let at_px = view.rays.project(center.x / center.z, center.y / center.z);
        let Some(cell) = grid.cell_at(at_px) else { continue };
        let radius_m = to_f32(cup.radius_m);
        let clearance_m = grid.clearance_px(cell) * contact.point_in_camera.z / view.rays.focal_px;
        let clearance = clearance_share(clearance_m, radius_m);
        if clearance <= 0.0 {
            continue;
        }
        let spot = Spot { at_px, z_m: center.z, clearance_m };
        let Some(under) = patch.touch(view, &spot, radius_m, noise_m, Care::Glance) else {
            continue;
        };
        // A cup that stands askew or off the surface has to give way by as much.
        let askew = place.normal.cross(&under.normal_in_camera).norm();
        let off_m = place.normal.dot(&(under.point_in_camera - center)).abs();
        let deviation_m =
            under.deviation_m.hypot(2.0 * radius_m * askew).hypot((off_m - noise_m).max(0.0));
        let seal = seal_share(deviation_m, to_f32(cup.compliance_m));
        if seal >= SEAL_MIN {
            let area = radius_m * radius_m;
            let hole_fraction = under.depth_hole_fraction;
            all.push(Sealed { index, center, area, radius_m, clearance, seal, hole_fraction });
        }
    }
    all
}

/// Tries every subset: more cups hold more, but the worst of them decides about the vacuum.
fn best_subset(
    site: &Site<'_>,
    sealed: &[Sealed],
    place: &Place,
    contact: &Contact,
    tilt: f32,
) -> Option<Held> {
    let Site { load, tool, .. } = *site;
    let area_all: f32 = tool.cups.iter().map(|cup| to_f32(cup.radius_m).powi(2)).sum();
    let mut best: Option<Held> = None;
    for subset in 1u32..1 << sealed.len() {
        let chosen = || sealed.iter().enumerate().filter(|(at, _)| subset >> at & 1 == 1);
        let (mut cups, mut area, mut middle) = (CupSet::default(), 0.0, Vector3::zeros());
        let (mut clearance, mut seal, mut holes) = (1.0f32, 1.0f32, 0.0f32);
        for (_, cup) in chosen() {
            cups = cups.with(cup.index);
            area += cup.area;
            middle += cup.center * cup.area;
            clearance = clearance.min(cup.clearance);
            seal = seal.min(cup.seal);
            holes = holes.max(cup.hole_fraction);
        }
        let middle = middle / area;
        let reach_m = chosen()
            .map(|(_, cup)| (cup.center - middle).norm() + cup.radius_m)
            .fold(0.0, f32::max);
        let held = Held {
            at_px: contact.at_px,
            origin: place.origin,
            normal: place.normal,
            tool_x: place.tool_x,
            cups,
            clearance,
            seal,
            moment: moment_share(
                lever_m(load, &middle, &place.normal),
                load.lever_max_m(tool, reach_m),
                reach_m,
            ),
            tilt,
            hold: 0.5 + 0.5 * area / area_all,
            depth_hole_fraction: holes,
            sigma_m: contact.sigma_m,
        };
        if best.is_none_or(|best| best.quality() < held.quality()) {
            best = Some(held);
        }
    }
    best
}

//! Where and how a suction tool can hold each package, and which package comes first.
//!
//! ```text
//! mask -> grid of a few hundred cells -> size, centre of mass
//!                |                              |
//!                +-> candidates: clear of edges, near the centre of mass
//!                        -> contact: plane under the cup, what its lip must follow
//!                        -> tool: tilt, cups that seal, moment; is the approach free?
//!                               -> best K, the last frame's first if it is still as good
//! ```
//!
//! # Conventions
//! Everything is computed in the optical frame, in `f32` metres, and moved to the reference frame
//! at the end. Normals point out of the surface, towards the camera; the approach is against them.

mod hold;
mod search;
mod size;
mod surface;

use nalgebra::{Isometry3, Matrix3, Point3, Rotation3, Translation3, UnitQuaternion, Vector3};

use self::hold::{Held, Load, Site};
use self::search::candidates::Candidates;
use self::search::memory::{Found, Memory, Searched};
use self::search::overview::{Owners, check_depth};
use self::size::{Body, Ground, Sizing};
use self::surface::grid::{CELL_NOISE, Grid};
use self::surface::patch::{Care, Patch, STEP_SIGMA_M, Spot, View};
use self::surface::rays::Rays;
use crate::number::to_f32;
use crate::{
    DepthImage, DepthProblem, Grasp, GraspRefusal, Instance, Mask, Package, PackageType,
    PoseSource, Scene,
};

/// A package of which less is measured than this is placed on the support plane.
const MEASURED_SHARE_MIN: f32 = 0.3;
/// A visible part that is hidden more, or cut by the image's border, tells no size.
const SIZE_OCCLUDED_SHARE_MAX: f32 = 0.1;

/// Narrower than this a pixel more or less is six percent: no size is better than a wrong one.
const SIZE_WIDTH_PX_MIN: f32 = 16.0;

/// Cosine of 30 degrees: of what leans more, more than one face may pass for the top.
const SIZE_UPRIGHT_MIN: f32 = 0.866;

/// From trough to crest under a lip, where film was not seen to be smoother: its wrinkles are finer
/// than what depth shows from afar.
const FILM_ROUGH_M: f32 = 0.006;
/// Of a rim hidden by more nobody knows how much larger the package is.
const HIDDEN_MAX: f32 = 0.4;
/// Of what hidden parts may add to the length: how far off the centre of mass they pull.
const CENTER_SHARE: f32 = 0.35;
/// What the image's border hides of a package that it cuts across, as a share of what is seen.
const CUT_SHARE: f32 = 0.35;

/// What the planner may propose.
#[derive(Clone, Debug, PartialEq)]
pub struct GraspLimits {
    /// Grasps published for one package, at most [`GraspLimits::PER_PACKAGE_MAX`].
    pub per_package_max: usize,
    /// Between the approach and straight down on the support plane.
    pub tilt_deg_max: f64,
    /// Grasps of lower quality are not published.
    pub quality_min: f32,
}

impl GraspLimits {
    /// So many contacts of a package are remembered.
    pub const PER_PACKAGE_MAX: usize = 9;
}

/// What one frame gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In pick order.
    pub packages: Vec<Package>,
    /// Why the frame's depth was not used.
    pub depth_problem: Option<DepthProblem>,
}

/// What the planner keeps from frame to frame: buffers, the lens, and which grasps it chose.
#[derive(Debug, Default)]
pub struct PlanState {
    rays: Option<Rays>,
    owners: Owners,
    memory: Memory,
    ratios: Vec<f32>,
    /// Of each package of the frame.
    searched: Vec<Searched>,
    /// By class; `None` where its name is not one of ours.
    package_types: Vec<Option<PackageType>>,
    /// For packages that are planned at the same time.
    buffers: [Buffers; 4],
    spare: Spare,
}

/// Empty lists, for the memory that they hold.
#[derive(Debug, Default)]
struct Spare {
    instances: Vec<Instance>,
    packages: Vec<Package>,
    grasps: Vec<Vec<Grasp>>,
}

/// For one package after the other.
#[derive(Debug, Default)]
struct Buffers {
    grid: Grid,
    sizing: Sizing,
    patch: Patch,
    candidates: Candidates,
    scatter_mm: Vec<u16>,
}

impl PlanState {
    /// For instances of these classes; by [`PackageType::name`] it is known which wrinkle and which
    /// have walls.
    pub fn for_classes(class_names: &[String]) -> PlanState {
        let find = |name: &String| PackageType::ALL.into_iter().find(|kind| name == kind.name());
        let package_types = class_names.iter().map(find).collect();
        PlanState { package_types, ..PlanState::default() }
    }

    /// Takes back packages that nobody needs any more, for the memory that they hold, and gives back
    /// the instances that they were planned for.
    pub fn recycle(&mut self, mut packages: Vec<Package>) -> Vec<Instance> {
        let mut instances = std::mem::take(&mut self.spare.instances);
        for Package { instance, mut grasps, .. } in packages.drain(..) {
            grasps.clear();
            self.spare.grasps.push(grasps);
            instances.push(instance);
        }
        self.spare.packages = packages;
        instances
    }
}

/// Of fewer packages there is too little to share to wake another thread for it.
const PACKAGES_MIN_TO_SHARE: usize = 8;

/// Plans grasps for every instance and puts the packages in pick order. Where packages are many,
/// they are shared among the threads of rayon's pool, with the same result.
pub fn plan(
    mut instances: Vec<Instance>,
    track_ids: &[u64],
    depth: Option<&DepthImage>,
    scene: Option<&Scene>,
    limits: &GraspLimits,
    state: &mut PlanState,
) -> Plan {
    assert_eq!(instances.len(), track_ids.len());
    let rays = scene.map(|scene| match state.rays.take() {
        Some(rays) if rays.are_of(&scene.camera_info) => rays,
        _ => Rays::new(&scene.camera_info),
    });
    let plane = scene.and_then(|scene| scene.support_plane_in_camera.as_ref());
    let depth_problem = depth
        .zip(rays.as_ref())
        .and_then(|(depth, rays)| check_depth(depth, rays, plane, &instances, &mut state.ratios));
    let view = depth
        .filter(|_| depth_problem.is_none())
        .zip(rays.as_ref())
        .map(|(depth, rays)| View { depth, rays });
    if view.is_some() {
        state.owners.fill(&instances);
    }
    let context = scene.map(|scene| Context {
        scene,
        limits,
        ground: plane.map(Ground::new),
        view,
        owners: &state.owners,
        memory: &state.memory,
        package_types: &state.package_types,
    });
    let mut packages = std::mem::take(&mut state.spare.packages);
    let mut spare_grasps = || state.spare.grasps.pop().unwrap_or_default();
    let unplanned = |(instance, &id)| unplanned(instance, id, spare_grasps());
    packages.extend(instances.drain(..).zip(track_ids).map(unplanned));
    state.spare.instances = instances;
    let share = view.is_some() && packages.len() >= PACKAGES_MIN_TO_SHARE;
    let buffers = if share { &mut state.buffers[..] } else { &mut state.buffers[..1] };
    state.searched.clear();
    state.searched.resize(packages.len(), None);
    plan_from(0, &mut packages, &mut state.searched, context.as_ref(), buffers);
    state.memory.keep(&packages, &state.searched);
    search::order::sort(&mut packages, state.memory.first_track());
    state.memory.keep_order(&packages);
    state.rays = rays;
    Plan { packages, depth_problem }
}

/// As many parts as there are buffers, at the same time where threads are free.
fn plan_from(
    first: usize,
    packages: &mut [Package],
    searched: &mut [Searched],
    context: Option<&Context<'_>>,
    buffers: &mut [Buffers],
) {
    if let [buffers] = buffers {
        for ((index, package), searched) in (first..).zip(packages).zip(searched) {
            *searched = plan_package(index, package, context, buffers);
        }
        return;
    }
    let half = packages.len() / 2;
    let (one, other) = packages.split_at_mut(half);
    let (searched, more_searched) = searched.split_at_mut(half);
    let (buffers, more_buffers) = buffers.split_at_mut(buffers.len() / 2);
    rayon::join(
        || plan_from(first, one, searched, context, buffers),
        || plan_from(first + half, other, more_searched, context, more_buffers),
    );
}

/// What is the same for all packages of a frame.
struct Context<'a> {
    scene: &'a Scene,
    limits: &'a GraspLimits,
    ground: Option<Ground>,
    /// `None` without usable depth.
    view: Option<View<'a>>,
    owners: &'a Owners,
    memory: &'a Memory,
    package_types: &'a [Option<PackageType>],
}

/// `grasps` is empty, and will be filled.
fn unplanned(instance: Instance, track_id: u64, grasps: Vec<Grasp>) -> Package {
    Package {
        track_id,
        instance,
        grasps,
        refusal: Some(GraspRefusal::NotCalibrated),
        deepest_px: [0.0; 2],
        height_m: None,
        position_in_reference: None,
        size: None,
        occluded_share: 0.0,
        pick_rank: 0,
    }
}

fn plan_package(
    index: usize,
    package: &mut Package,
    context: Option<&Context<'_>>,
    buffers: &mut Buffers,
) -> Searched {
    let grid = &mut buffers.grid;
    grid.fill(&package.instance.mask);
    let deepest = grid.deepest();
    package.deepest_px = match deepest {
        Some(cell) => grid.px(cell).map(|px| px as f32),
        None => grid.centroid_px,
    };
    let context = context?;
    if let Some(view) = context.view {
        let height_m = |point: &Vector3<f32>| {
            context.ground.as_ref().map_or(0.0, |ground| ground.height_m(point))
        };
        grid.measure(view.depth, view.rays, height_m);
        let measured = grid.cells.len() as f32 / grid.inside_cells.max(1) as f32;
        if measured >= MEASURED_SHARE_MIN {
            return Some(plan_on_depth(index, package, context, view, buffers));
        }
    }
    hold::on_support_plane::plan(package, grid, deepest, context.scene, context.limits);
    None
}

fn plan_on_depth(
    index: usize,
    package: &mut Package,
    context: &Context<'_>,
    view: View<'_>,
    buffers: &mut Buffers,
) -> Result<Found, GraspRefusal> {
    let Buffers { grid, sizing, patch, candidates, scatter_mm } = buffers;
    let package_type = context.package_types.get(package.instance.class_id).copied().flatten();
    let has_walls = matches!(package_type, None | Some(PackageType::Box));
    let noise_m = noise_m(view, grid, scatter_mm);
    package.occluded_share = context.owners.occluded_share(grid, index, view, noise_m);
    let body = context
        .ground
        .as_ref()
        .and_then(|ground| sizing.measure(grid, view, ground, CELL_NOISE * noise_m, has_walls));
    let border_px = package.instance.mask.border_px();
    if let Some(body) = &body {
        let whole = package.occluded_share <= SIZE_OCCLUDED_SHARE_MAX && border_px == 0;
        let width_px = view.pixels(to_f32(body.size.width_m), body.top.z);
        let tells = width_px >= SIZE_WIDTH_PX_MIN && body.upright >= SIZE_UPRIGHT_MIN;
        package.size = (whole && tells).then_some(body.size);
        package.position_in_reference = Some(in_reference(context.scene, &body.middle));
    }
    let bbox = &package.instance.bbox;
    let sides_px = bbox.x_max_px - bbox.x_min_px + bbox.y_max_px - bbox.y_min_px;
    let cut = 2.0 * border_px as f32 / sides_px.max(1.0);
    let hidden = package.occluded_share + CUT_SHARE * cut.min(1.0);
    let load = Load {
        rough_min_m: if package_type == Some(PackageType::PolyBag) { FILM_ROUGH_M } else { 0.0 },
        ..load(grid, body.as_ref(), context.ground.as_ref(), noise_m, hidden)
    };
    let recalled =
        context.memory.recall(package.track_id, search::memory::middle_px(&package.instance));
    let (tool, limits) = (&context.scene.tool, context.limits);
    let site = Site { grid, view, load: &load, tool, limits };
    let chosen = match context.memory.refusal(package) {
        Some(refusal) => Err(refusal),
        None => candidates.choose(&site, recalled.as_ref(), patch),
    };
    let above = body.map_or(load.center, |body| body.top);
    let mut top = above;
    match chosen {
        Ok(_) => {
            package.refusal = None;
            package.grasps.reserve(context.limits.per_package_max);
            package.grasps.extend(candidates.held().map(|held| grasp(context.scene, held)));
            top = candidates.held().next().map_or(above, |held| held.origin);
        }
        Err(refusal) => package.refusal = Some(refusal),
    }
    package.height_m = context.ground.as_ref().map(|ground| f64::from(ground.height_m(&top)));
    chosen
}

/// The centre of mass is guessed to lie in the middle of the body.
fn load(
    grid: &Grid,
    body: Option<&Body>,
    ground: Option<&Ground>,
    noise_m: f32,
    hidden: f32,
) -> Load {
    let mean = || {
        let sum: Vector3<f32> = grid.cells.iter().map(|cell| cell.point_in_camera).sum();
        sum / grid.cells.len().max(1) as f32
    };
    // What covers a share of the rim covers about twice that of the face.
    let grown = 1.0 / (1.0 - 2.0 * hidden.min(HIDDEN_MAX));
    Load {
        center: body.map_or_else(mean, |body| body.center),
        center_sigma_m: body
            .map_or(0.0, |body| CENTER_SHARE * (grown - 1.0) * to_f32(body.size.length_m)),
        up: ground.map(|ground| ground.up),
        long_axis: body.map_or_else(Vector3::x, |body| body.long_axis),
        volume_m3: body.map(|body| {
            let size = &body.size;
            to_f32(size.length_m * size.width_m * size.height_m) * grown
        }),
        rough_min_m: 0.0,
        noise_m,
    }
}

/// Scatter of single depth values, from second differences along rows, which neither planes nor
/// the slow curves of packages have.
fn noise_m(view: View<'_>, grid: &Grid, scatter_mm: &mut Vec<u16>) -> f32 {
    scatter_mm.clear();
    let every = (grid.cells.len() / 64).max(1);
    for cell in grid.cells.iter().step_by(every) {
        let [x, y] = grid.px(cell.index as usize);
        if x == 0 || x + 1 >= view.depth.width_px() {
            continue;
        }
        let [left, own, right] = [x - 1, x, x + 1].map(|x| i32::from(view.depth.mm(x, y)));
        if left != 0 && right != 0 {
            let bend = (left - 2 * own + right).unsigned_abs();
            scatter_mm.push(crate::number::to_u16(bend.min(1000)));
        }
    }
    let Some(middle) = scatter_mm.len().checked_sub(1).map(|last| last / 2) else {
        return STEP_SIGMA_M;
    };
    let median_mm = f32::from(*scatter_mm.select_nth_unstable(middle).1);
    // Variance of a second difference: 1 + 4 + 1; median of a normal deviation: 0.6745 sigma.
    (median_mm * 0.001 / (0.6745 * 6.0f32.sqrt())).max(STEP_SIGMA_M)
}

fn in_reference(scene: &Scene, point_in_camera: &Point3<f64>) -> Point3<f64> {
    scene.reference_from_camera() * point_in_camera
}

fn grasp(scene: &Scene, held: &Held) -> Grasp {
    let z = -held.normal.cast::<f64>().normalize();
    let x = held.tool_x.cast::<f64>();
    let x = (x - z * z.dot(&x)).normalize();
    let rotation = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[x, z.cross(&x), z]));
    let camera_from_grasp = Isometry3::from_parts(
        Translation3::from(held.origin.cast::<f64>()),
        UnitQuaternion::from_rotation_matrix(&rotation),
    );
    Grasp {
        contact_px: held.at_px,
        reference_from_grasp: scene.reference_from_camera() * camera_from_grasp,
        pose_source: PoseSource::Depth,
        quality: held.quality(),
        clearance: held.clearance,
        seal: held.seal,
        moment: held.moment,
        tilt: held.tilt,
        hold: held.hold,
        depth_hole_fraction: held.depth_hole_fraction,
        cups: held.cups,
        position_sigma_m: f64::from(held.sigma_m),
    }
}

/// The surface under a cup as the planner sees it, anywhere: for pictures, and for evaluations that
/// compare other ways to choose a contact.
pub struct CupProbe<'a> {
    depth: &'a DepthImage,
    rays: Rays,
    patch: Patch,
    noise_m: f32,
}

/// See [`CupProbe`].
#[derive(Clone, Copy, Debug)]
pub struct SurfaceUnderCup {
    pub point_in_camera: Point3<f64>,
    /// Towards the camera.
    pub normal_in_camera: Vector3<f64>,
    /// Highest against lowest place under the lip.
    pub deviation_m: f64,
}

impl<'a> CupProbe<'a> {
    pub fn new(depth: &'a DepthImage, scene: &Scene) -> CupProbe<'a> {
        let rays = Rays::new(&scene.camera_info);
        CupProbe { depth, rays, patch: Patch::default(), noise_m: STEP_SIGMA_M }
    }

    /// Takes the sensor's noise on this package out of what follows, as the planner does.
    pub fn quieten(&mut self, mask: &Mask) {
        let mut grid = Grid::default();
        grid.fill(mask);
        grid.measure(self.depth, &self.rays, |_| 0.0);
        let view = View { depth: self.depth, rays: &self.rays };
        self.noise_m = noise_m(view, &grid, &mut Vec::new());
    }

    /// `None` in a hole, and where too little around it was measured.
    pub fn touch(&mut self, at_px: [f32; 2], radius_m: f64) -> Option<SurfaceUnderCup> {
        let view = View { depth: self.depth, rays: &self.rays };
        let [x, y] = at_px.map(crate::number::round_px);
        let z_m = to_f32(self.depth.depth_m(x, y)?);
        let (spot, radius_m) = (Spot { at_px, z_m, clearance_m: 0.0 }, to_f32(radius_m));
        let contact = self.patch.touch(view, &spot, radius_m, self.noise_m, Care::Close)?;
        Some(SurfaceUnderCup {
            point_in_camera: Point3::from(contact.point_in_camera.cast::<f64>()),
            normal_in_camera: contact.normal_in_camera.cast::<f64>(),
            deviation_m: f64::from(contact.deviation_m),
        })
    }
}

#[cfg(test)]
mod tests;

//! All packages of a frame: planned, each on its own, then put in pick order.

use super::limits::GraspLimits;
use super::package::{Buffers, FrameContext, Work, plan_package};
use super::search::depth_check::check_depth;
use super::search::labels::LabelMap;
use super::search::memory::Memory;
use super::search::order;
use super::size::support::SupportPlane;
use super::surface::rays::Rays;
use super::surface::view::View;
use crate::{DepthImage, DepthProblem, Grasp, Grasps, Instance, Package, PackageType, Scene};

/// With fewer packages than this, waking another thread takes longer than it saves.
const PACKAGES_MIN_TO_SHARE: usize = 8;
/// Parts that many packages are shared in.
const PARTS: usize = 4;

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
    labels: LabelMap,
    memory: Memory,
    depth_ratios: Vec<f32>,
    /// An entry for each package of the frame.
    works: Vec<Work>,
    /// By class; `None` where its name is not one of ours.
    package_types: Vec<Option<PackageType>>,
    /// For packages that are planned at the same time.
    buffers: [Buffers; PARTS],
    spare: Spare,
}

/// Empty lists, for the memory that they hold.
#[derive(Debug, Default)]
struct Spare {
    instances: Vec<Instance>,
    packages: Vec<Package>,
    grasps: Vec<Vec<Grasp>>,
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
        for Package { instance, grasps, .. } in packages.drain(..) {
            self.spare.grasps.extend(grasps.ok().map(emptied));
            instances.push(instance);
        }
        self.spare.packages = packages;
        instances
    }
}

fn emptied(grasps: Grasps) -> Vec<Grasp> {
    let mut list = grasps.into_vec();
    list.clear();
    list
}

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
    let depth_problem = depth.zip(rays.as_ref()).and_then(|(depth, rays)| {
        check_depth(depth, rays, plane, &instances, &mut state.depth_ratios)
    });
    let view = depth
        .filter(|_| depth_problem.is_none())
        .zip(rays.as_ref())
        .map(|(depth, rays)| View { depth, rays });
    if view.is_some() {
        state.labels.fill(&instances);
    }
    let context = scene.map(|scene| FrameContext {
        scene,
        limits,
        support: plane.map(SupportPlane::new),
        view,
        labels: &state.labels,
        memory: &state.memory,
        package_types: &state.package_types,
    });
    let mut packages = std::mem::take(&mut state.spare.packages);
    packages
        .extend(instances.drain(..).zip(track_ids).map(|(one, &id)| Package::unplanned(one, id)));
    state.spare.instances = instances;
    let spare_grasps = &mut state.spare.grasps;
    state.works.extend(
        packages
            .iter()
            .map(|_| Work { grasps: spare_grasps.pop().unwrap_or_default(), search: None }),
    );
    let share = view.is_some() && packages.len() >= PACKAGES_MIN_TO_SHARE;
    let buffers = if share { &mut state.buffers[..] } else { &mut state.buffers[..1] };
    plan_from(0, &mut packages, &mut state.works, context.as_ref(), buffers);
    state.memory.keep(&packages, state.works.iter().map(|work| work.search));
    // Lists of packages that were refused. Those that are in use have left an empty one behind.
    let unused = state.works.drain(..).map(|work| work.grasps);
    spare_grasps.extend(unused.filter(|grasps| grasps.capacity() > 0));
    order::sort(&mut packages, state.memory.first_track());
    state.memory.keep_order(&packages);
    state.rays = rays;
    Plan { packages, depth_problem }
}

/// As many parts as there are buffers, at the same time where threads are free. `first` is the index
/// of the first package.
fn plan_from(
    first: usize,
    packages: &mut [Package],
    works: &mut [Work],
    context: Option<&FrameContext<'_>>,
    buffers: &mut [Buffers],
) {
    if let [buffers] = buffers {
        for ((index, package), work) in (first..).zip(packages).zip(works) {
            plan_package(index, package, work, context, buffers);
        }
        return;
    }
    let half = packages.len() / 2;
    let (packages, more_packages) = packages.split_at_mut(half);
    let (works, more_works) = works.split_at_mut(half);
    let (buffers, more_buffers) = buffers.split_at_mut(buffers.len() / 2);
    rayon::join(
        || plan_from(first, packages, works, context, buffers),
        || plan_from(first + half, more_packages, more_works, context, more_buffers),
    );
}

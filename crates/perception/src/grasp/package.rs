//! One package: what is seen of it, how it can be held, or why it cannot.

use nalgebra::Vector3;

use super::hold::context::PackageContext;
use super::hold::load::Load;
use super::hold::on_support_plane;
use super::limits::GraspLimits;
use super::search::candidates::Candidates;
use super::search::labels::LabelMap;
use super::search::memory::{Memory, SearchResult};
use super::size::SizeBuffers;
use super::size::extent::Extent;
use super::size::support::SupportPlane;
use super::surface::depth::CELL_NOISE_SHARE;
use super::surface::grid::Grid;
use super::surface::noise::noise_m;
use super::surface::patch::PatchSampler;
use super::surface::view::View;
use crate::number::to_f32;
use crate::{Grasp, GraspRefusal, Grasps, Package, PackageType, PoseSource, Scene};

/// A package of which less is measured than this is placed on the support plane.
const MEASURED_SHARE_MIN: f32 = 0.3;
/// A visible part that is hidden more, or cut by the image's border, tells no size.
const SIZE_OCCLUDED_SHARE_MAX: f32 = 0.1;
/// A narrower package is six percent wider or narrower by a pixel: no size is better than a wrong one.
const SIZE_WIDTH_PX_MIN: f32 = 16.0;
/// Cosine of 30 degrees: more than one face of a package that leans more may pass for its top.
const SIZE_UPRIGHT_MIN: f32 = 0.866;
/// From trough to crest under a lip, where film was not seen to be smoother: its wrinkles are finer
/// than what depth shows from afar.
const FILM_ROUGHNESS_M: f32 = 0.006;
/// What the image's border hides of a package that it cuts across, as a share of what is seen.
const CUT_SHARE: f32 = 0.35;

/// What is the same for all packages of a frame.
pub(super) struct FrameContext<'a> {
    pub(super) scene: &'a Scene,
    pub(super) limits: &'a GraspLimits,
    pub(super) support: Option<SupportPlane>,
    /// `None` without usable depth.
    pub(super) view: Option<View<'a>>,
    pub(super) labels: &'a LabelMap,
    pub(super) memory: &'a Memory,
    /// By class; `None` where its name is not one of ours.
    pub(super) package_types: &'a [Option<PackageType>],
}

/// Buffers for one package after the other.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    grid: Grid,
    size: SizeBuffers,
    sampler: PatchSampler,
    candidates: Candidates,
    scatter_mm: Vec<u16>,
}

/// What planning a package takes and gives besides the package itself.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// An empty list for the grasps; left untouched where there are none.
    pub(super) grasps: Vec<Grasp>,
    /// How the search ended; `None` where depth did not show the package.
    pub(super) search: Option<SearchResult>,
}

/// Plans the package that was instance `index` of the frame.
pub(super) fn plan_package(
    index: usize,
    package: &mut Package,
    work: &mut Work,
    context: Option<&FrameContext<'_>>,
    buffers: &mut Buffers,
) {
    let grid = &mut buffers.grid;
    grid.fill(&package.instance.mask);
    let deepest = grid.deepest();
    package.deepest_px = match deepest {
        Some(cell) => grid.px(cell).map(|px| px as f32),
        None => grid.centroid_px,
    };
    let Some(context) = context else { return };
    let [x_px, y_px] = package.deepest_px.map(f64::from);
    if !context.scene.camera_info.sees(x_px, y_px) {
        package.grasps = Err(GraspRefusal::NoSurface);
        return;
    }
    if let Some(view) = context.view {
        let height_m = |point: &Vector3<f32>| {
            context.support.as_ref().map_or(0.0, |support| support.height_m(point))
        };
        grid.measure(view.depth, view.rays, height_m);
        let measured = grid.cells.len() as f32 / grid.inside_cells.max(1) as f32;
        if measured >= MEASURED_SHARE_MIN {
            return plan_on_depth(index, package, work, context, view, buffers);
        }
    }
    let grasp = on_support_plane::grasp(package, grid, deepest, context.scene, context.limits);
    package.grasps = grasp.map(|grasp| filled(work, 1, std::iter::once(grasp)));
}

fn plan_on_depth(
    index: usize,
    package: &mut Package,
    work: &mut Work,
    context: &FrameContext<'_>,
    view: View<'_>,
    buffers: &mut Buffers,
) {
    let Buffers { grid, size, sampler, candidates, scatter_mm } = buffers;
    let FrameContext { scene, limits, .. } = context;
    let support = context.support.as_ref();
    let package_type = context.package_types.get(package.instance.class_id).copied().flatten();
    let has_walls = matches!(package_type, None | Some(PackageType::Box));
    let noise_m = noise_m(view, grid, scatter_mm);
    package.occluded_share = context.labels.occluded_share(grid, index, view, noise_m);
    let extent = support.and_then(|support| {
        size.measure(grid, view, support, CELL_NOISE_SHARE * noise_m, has_walls)
    });
    let border_px = package.instance.mask.border_px();
    if let Some(extent) = &extent {
        package.size = tells_size(extent, package, border_px, view).then_some(extent.size);
        let center = scene.reference_from_camera() * extent.center_in_camera;
        package.position_in_reference = Some(center);
    }
    let hidden = hidden_share(package, border_px);
    let is_film = package_type == Some(PackageType::PolyBag);
    let roughness_min_m = if is_film { FILM_ROUGHNESS_M } else { 0.0 };
    let load = Load::estimate(grid, extent.as_ref(), support, noise_m, hidden, roughness_min_m);
    let previous = context.memory.previous_grasps(package);
    let on_package = PackageContext { grid, view, load: &load, tool: &scene.tool, limits };
    let search = match context.memory.standing_refusal(package) {
        Some(refusal) => Err(refusal),
        None => candidates.choose(&on_package, previous.as_ref(), sampler),
    };
    let mut top = extent.map_or(load.center, |extent| extent.top_center);
    package.grasps = search.map(|_| {
        top = candidates.placements().next().map_or(top, |placement| placement.origin);
        let grasps =
            candidates.placements().map(|placement| placement.grasp(scene, PoseSource::Depth));
        filled(work, limits.per_package_max, grasps)
    });
    package.height_m = support.map(|support| f64::from(support.height_m(&top)));
    work.search = Some(search);
}

/// Grasps in the list that was given for them.
fn filled(work: &mut Work, count_max: usize, all: impl Iterator<Item = Grasp>) -> Grasps {
    let mut grasps = std::mem::take(&mut work.grasps);
    grasps.reserve(count_max);
    grasps.extend(all);
    Grasps::new(grasps).expect("what is not refused has a grasp")
}

/// Whether what is seen of a package is enough for its size.
fn tells_size(extent: &Extent, package: &Package, border_px: u32, view: View<'_>) -> bool {
    let is_whole = package.occluded_share <= SIZE_OCCLUDED_SHARE_MAX && border_px == 0;
    let width_px = view.pixels(to_f32(extent.size.width_m), extent.top_center.z);
    is_whole && width_px >= SIZE_WIDTH_PX_MIN && extent.upright >= SIZE_UPRIGHT_MIN
}

/// How much of a package's rim other packages and the image's border hide.
fn hidden_share(package: &Package, border_px: u32) -> f32 {
    let bbox = &package.instance.bbox;
    let sides_px = bbox.x_max_px - bbox.x_min_px + bbox.y_max_px - bbox.y_min_px;
    let cut = 2.0 * border_px as f32 / sides_px.max(1.0);
    package.occluded_share + CUT_SHARE * cut.min(1.0)
}

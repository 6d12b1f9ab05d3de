//! A simulated cell that shows as many packages as were asked for.

use magpie_perception::{CameraPlace, Scene, Tool};
use magpie_workcell::{Recipe, Simulator};

use super::frames::BenchFrames;
use magpie_daemon::config::plane_in_camera;
use magpie_daemon::failure::Failure;

/// A heap on the floor under a camera that looks down from 2 to 3 m, with the sensor's usual noise
/// and holes in its depth.
const RECIPE: &str = "views_per_scene = 1
distractor_share = 0.0
[supports]
belt = 0.0
tote = 0.0
pallet = 0.0
floor = 1.0
table = 0.0
shelf = 0.0
[camera]
distance_m_min = 2.0
distance_m_max = 3.0
tilt_deg_max = 15.0
tilt_deg_stack_max = 20.0
[sensor]
jpeg_share = 0.0
";
/// The size of its frames, unless another is asked for.
pub(super) const SIZE_PX_USUAL: (u32, u32) = (1280, 720);
const SEED: u64 = 5;
/// Heaps to try until one shows as many packages as asked for, or one in forty more or less.
const HEAPS_MAX: u64 = 24;
const OFF_ONE_IN: usize = 40;
/// The simulator allows no more packages in a heap.
const PACKAGES_MAX: usize = 200;
const SEARCH_WIDTH_PX: u32 = 640;
/// Frames of the heap, each with its own noise.
const SHOTS: u32 = 8;

/// A heap in whose first frame about this many packages are seen; those that others hide do not
/// count.
pub fn simulate(size_px: (u32, u32), packages: usize) -> Result<BenchFrames, Failure> {
    let mut recipe = Recipe::from_toml(RECIPE).expect("our own recipe is right");
    // Heaps are looked for in small pictures: large ones take seconds each.
    let shrink = size_px.0.div_ceil(SEARCH_WIDTH_PX);
    (recipe.width_px, recipe.height_px) = (size_px.0 / shrink, size_px.1 / shrink);
    tracing::info!(packages, "simulating a cell of {}x{} px", size_px.0, size_px.1);
    // Packages dropped in all heaps so far, and packages seen of them.
    let (mut dropped, mut seen) = (0, 0);
    let mut nearest: Option<(usize, u32, u64)> = None;
    for heap in 0..HEAPS_MAX {
        let wanted = (packages.min(PACKAGES_MAX) * dropped).checked_div(seen).unwrap_or(packages);
        let count = wanted.clamp(1, PACKAGES_MAX);
        let in_heap = u32::try_from(count).expect("a few hundred at most");
        (recipe.packages_min, recipe.packages_max) = (in_heap, in_heap);
        let simulator = Simulator::new(recipe.clone()).map_err(Failure::config)?;
        let visible = simulator.frame(SEED, heap).truth.packages.len();
        let off = visible.abs_diff(packages);
        if nearest.as_ref().is_none_or(|(least, ..)| off < *least) {
            nearest = Some((off, in_heap, heap));
        }
        if off <= packages / OFF_ONE_IN {
            break;
        }
        (dropped, seen) = (dropped + count, seen + visible);
    }
    let (_, in_heap, heap) = nearest.expect("one heap at least");
    (recipe.packages_min, recipe.packages_max) = (in_heap, in_heap);
    (recipe.width_px, recipe.height_px) = size_px;
    Ok(frames(&Simulator::new(recipe).map_err(Failure::config)?, heap))
}

fn frames(simulator: &Simulator, heap: u64) -> BenchFrames {
    let shots = simulator.still(SEED, heap, SHOTS);
    let truth = &shots[0].truth;
    let scene = Scene {
        camera_info: truth.camera_info.clone(),
        camera_place: Some(CameraPlace::InBase(truth.base_from_camera)),
        support_plane_in_camera: Some(plane_in_camera(0.0, &truth.base_from_camera)),
        tool: Tool::single_cup(0.02),
        calibration_id: "simulated".into(),
    };
    BenchFrames {
        name: "a simulated cell".into(),
        packages_visible: Some(truth.packages.len()),
        frames: shots.into_iter().map(|shot| shot.frame).collect(),
        scene: Some(scene),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_the_size_asked_for_shows_the_packages_asked_for_through_its_own_noise() {
        let cell = simulate((160, 128), 6).unwrap();
        assert_eq!(cell.packages_visible, Some(6));
        let [first, second] = [&cell.frames[0], &cell.frames[1]];
        assert_eq!((first.color.width_px(), first.color.height_px()), (160, 128));
        assert_ne!(first.depth, second.depth);
        assert_eq!(cell.scene.unwrap().camera_info.width_px, 160);
    }

    #[test]
    fn a_size_that_cannot_be_simulated_is_refused() {
        let refused = simulate((64, 16), 3).err().unwrap().message();
        assert!(refused.contains("height_px"), "{refused}");
    }
}

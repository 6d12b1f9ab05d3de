//! A cell that is being emptied: what a held grasp takes is gone, and the rest settles.

use std::sync::Arc;

use magpie_perception::{CameraInfo, CupSet, Frame, PackageType, StampNs, Tool};
use nalgebra::Isometry3;
use rapier3d::math::Pose;

use crate::arrange;
use crate::belt::fixed_view;
use crate::depth::DepthSensor;
use crate::judge::{Judge, Verdict};
use crate::light::Lighting;
use crate::packages::Model;
use crate::random::{Rng, Stream};
use crate::recipe::Recipe;
use crate::scene::Scene;
use crate::sensor::Sensor;
use crate::simulate::{Exposure, PreparedScene, SimulatedFrame, Simulator, render};
use crate::support::{Support, SupportKind};
use crate::truth::isometry;
use crate::view::View;
use crate::{Solids, WorkcellError};

/// What a suction arm over a fixed camera picks from.
const SUPPORTS: [SupportKind; 3] = [SupportKind::Belt, SupportKind::Tote, SupportKind::Table];

/// A heap under a camera that stands still.
///
/// The recipe's picture size, package types and numbers, and textures apply; its cameras do not.
pub struct PickingCell {
    simulator: Simulator,
    seed: u64,
    view: View,
    /// So many heaps there were before this one.
    heap: u64,
    support: Support,
    packages: Vec<(Model, Pose)>,
    /// Another one after each change.
    prepared: Arc<PreparedScene>,
    exposures: u64,
}

/// The cell at one moment, to be drawn while the arm goes on.
pub struct Sight {
    recipe: Recipe,
    view: View,
    prepared: Arc<PreparedScene>,
    seed: u64,
    heap: u64,
    exposure: u64,
}

impl Sight {
    /// What the camera sees. The frame is to be stamped by the caller.
    pub fn expose(&self) -> Frame {
        self.expose_with_truth().frame
    }

    /// [`expose`](Self::expose), and what is true of it.
    pub fn expose_with_truth(&self) -> SimulatedFrame {
        // The lamps stand still as long as the heap is the same.
        let mut rng = Rng::new(self.seed, Stream::View, self.heap);
        let lighting = Lighting::random(&mut rng, &self.prepared.scene, &self.prepared.soup);
        let exposure = Exposure {
            view: &self.view,
            lighting: &lighting,
            sensor: &Sensor::steady(),
            depth_sensor: &DepthSensor::steady(),
            noise_seed: Rng::new(self.seed, Stream::Sensor, self.exposure).word(),
            sequence: self.exposure,
            stamp: StampNs(0),
        };
        render(&self.recipe, &self.prepared, &exposure)
    }
}

/// What became of a grasp.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Picked {
    /// The package left with the tool.
    Held(PackageType),
    /// So many packages left with the tool, each held by cups of its own.
    Double(usize),
    /// The cups met a package that did not come along.
    Lost(PackageType, Verdict),
    /// The cups met no package.
    Nothing,
}

impl PickingCell {
    pub fn new(recipe: Recipe, seed: u64) -> Result<PickingCell, WorkcellError> {
        let simulator = Simulator::new(recipe)?;
        let mut rng = Rng::new(seed, Stream::Picking, 0);
        let view = fixed_view(&mut rng, &simulator.recipe);
        let (support, packages) = pile(&simulator, seed, 0);
        let prepared = prepare(&support, &packages);
        Ok(PickingCell {
            simulator,
            seed,
            view,
            heap: 0,
            support,
            packages,
            prepared,
            exposures: 0,
        })
    }

    pub fn camera_info(&self) -> &CameraInfo {
        &self.view.camera_info
    }

    pub fn base_from_camera(&self) -> Isometry3<f64> {
        isometry(&self.view.base_from_camera)
    }

    pub fn packages_left(&self) -> usize {
        self.packages.len()
    }

    pub fn sight(&mut self) -> Sight {
        self.exposures += 1;
        Sight {
            recipe: self.simulator.recipe.clone(),
            view: self.view.clone(),
            prepared: Arc::clone(&self.prepared),
            seed: self.seed,
            heap: self.heap,
            exposure: self.exposures - 1,
        }
    }

    /// Whether nothing has changed since.
    pub fn is_as_in(&self, sight: &Sight) -> bool {
        Arc::ptr_eq(&self.prepared, &sight.prepared)
    }

    /// Presses the tool's cups on at `base_from_tool`, switches the vacuum on and lifts.
    pub fn pick(
        &mut self,
        tool: &Tool,
        cups: CupSet,
        base_from_tool: &Isometry3<f64>,
    ) -> Result<Picked, WorkcellError> {
        let judge = Judge::new(&Solids::new(&self.prepared.scene, &self.prepared.soup))?;
        let Some(package_id) = judge.touched(tool, cups, base_from_tool) else {
            return Ok(Picked::Nothing);
        };
        let judged = |id: u32| self.prepared.scene.packages[id as usize].judged(id);
        let package = judged(package_id);
        let verdict = judge.judge(tool, cups, base_from_tool, &package);
        if verdict.is_accepted() {
            self.take_away(&[package_id]);
            return Ok(Picked::Held(package.package_type));
        }
        let together = judge.held_together(tool, cups, base_from_tool, judged);
        if together.is_empty() {
            return Ok(Picked::Lost(package.package_type, verdict));
        }
        self.take_away(&together);
        Ok(Picked::Double(together.len()))
    }

    /// The rest settles.
    fn take_away(&mut self, package_ids: &[u32]) {
        let mut index = 0;
        self.packages.retain(|_| {
            index += 1;
            !package_ids.contains(&(index - 1))
        });
        self.packages = arrange::let_fall(&self.support.fixed, std::mem::take(&mut self.packages));
        self.prepared = prepare(&self.support, &self.packages);
    }

    /// Puts another heap in place of what is left.
    pub fn refill(&mut self) {
        self.heap += 1;
        (self.support, self.packages) = pile(&self.simulator, self.seed, self.heap);
        self.prepared = prepare(&self.support, &self.packages);
    }
}

fn pile(simulator: &Simulator, seed: u64, heap: u64) -> (Support, Vec<(Model, Pose)>) {
    let mut rng = Rng::new(seed, Stream::Scene, heap);
    let kind = *rng.pick(&SUPPORTS);
    let support = Support::random(&mut rng, kind, &simulator.photos);
    let placed = arrange::packages(&mut rng, &simulator.recipe, &support, &simulator.photos);
    (support, placed.models)
}

fn prepare(support: &Support, packages: &[(Model, Pose)]) -> Arc<PreparedScene> {
    let mut scene = Scene::empty(support);
    for (model, pose) in packages {
        scene.add_package(model, *pose);
    }
    scene.parts.extend(support.parts.iter().cloned());
    scene.aim();
    Arc::new(PreparedScene::new(scene))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{Rotation3, Translation3, UnitQuaternion, Vector3};

    fn cell() -> PickingCell {
        let recipe = "width_px = 96\nheight_px = 72\npackages_min = 4\npackages_max = 8\n\
                      [types]\nbox = 1.0\npadded_mailer = 0.0\npoly_bag = 0.0\nitem = 0.0";
        PickingCell::new(Recipe::from_toml(recipe).unwrap(), 5).unwrap()
    }

    /// The tool straight down on the top of the highest package's centre.
    fn on_top(cell: &PickingCell) -> Isometry3<f64> {
        let height = |placed: &crate::scene::PlacedPackage| placed.base_from_package.translation.z;
        let packages = &cell.prepared.scene.packages;
        let top = packages.iter().max_by(|a, b| height(a).total_cmp(&height(b))).unwrap();
        let at = top.base_from_package.translation;
        let down = Rotation3::from_axis_angle(&Vector3::x_axis(), std::f64::consts::PI);
        let above = Isometry3::from_parts(
            Translation3::new(f64::from(at.x), f64::from(at.y), f64::from(at.z)),
            UnitQuaternion::from_rotation_matrix(&down),
        );
        let judge = Judge::new(&Solids::new(&cell.prepared.scene, &cell.prepared.soup)).unwrap();
        let gap_m = judge.gap_m(&above).unwrap();
        above * Translation3::new(0.0, 0.0, gap_m)
    }

    #[test]
    fn what_is_held_is_gone_and_a_heap_that_was_emptied_is_replaced() {
        let (mut cell, tool) = (cell(), Tool::single_cup(0.012));
        let before = cell.packages_left();
        let base_from_tool = on_top(&cell);
        let picked = cell.pick(&tool, CupSet::of(0), &base_from_tool).unwrap();
        assert!(matches!(picked, Picked::Held(PackageType::Box)), "{picked:?}");
        assert!(cell.packages_left() < before);
        cell.packages.clear();
        cell.refill();
        assert!(cell.packages_left() > 0);
    }

    #[test]
    fn cups_in_the_air_or_beside_packages_hold_nothing_and_change_nothing() {
        let (mut cell, tool) = (cell(), Tool::single_cup(0.012));
        let before = cell.packages_left();
        let base_from_tool = on_top(&cell);
        let high = base_from_tool * Translation3::new(0.0, 0.0, -0.1);
        let picked = cell.pick(&tool, CupSet::of(0), &high).unwrap();
        assert!(matches!(picked, Picked::Lost(_, verdict) if verdict.misplaced), "{picked:?}");
        let far = Translation3::new(30.0, 0.0, 0.0) * base_from_tool;
        assert_eq!(cell.pick(&tool, CupSet::of(0), &far).unwrap(), Picked::Nothing);
        assert_eq!(cell.packages_left(), before);
    }

    #[test]
    fn the_same_seed_gives_the_same_pictures() {
        let [mut one, mut two] = [cell(), cell()];
        assert!(one.sight().expose().color == two.sight().expose().color);
        two.refill();
        assert!(one.sight().expose().color != two.sight().expose().color);
    }

    #[test]
    fn a_sight_shows_the_cell_as_it_was_and_tells_when_it_is_old() {
        let (mut cell, tool) = (cell(), Tool::single_cup(0.012));
        let before = cell.sight();
        assert!(cell.is_as_in(&before));
        let base_from_tool = on_top(&cell);
        cell.pick(&tool, CupSet::of(0), &base_from_tool).unwrap();
        assert!(!cell.is_as_in(&before));
        let after = Sight { exposure: before.exposure, ..cell.sight() };
        assert!(before.expose().color != after.expose().color);
    }
}

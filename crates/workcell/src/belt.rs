//! A moving belt under a fixed camera: the same packages, frame after frame.

use std::time::Duration;

use magpie_perception::{CameraInfo, PackageType, StampNs};
use rapier3d::math::{Pose, Vec3};

use crate::WorkcellError;
use crate::arrange;
use crate::depth::DepthSensor;
use crate::light::Lighting;
use crate::packages::random_package;
use crate::random::{Rng, Stream};
use crate::recipe::Recipe;
use crate::scene::Scene;
use crate::sensor::Sensor;
use crate::simulate::{Exposure, PreparedScene, SimulatedFrame, Simulator, render};
use crate::support::{Support, SupportKind};
use crate::view::{View, looking_at};

/// Speed of the belt. A few seconds bring new packages into view.
const SPEED_M_PER_S: f32 = 0.22;
/// How many packages of each type lie on the belt; all of them are on it at once.
const PACKAGES_PER_TYPE: [(PackageType, usize); 4] = [
    (PackageType::Box, 5),
    (PackageType::PaddedMailer, 4),
    (PackageType::PolyBag, 3),
    (PackageType::Item, 2),
];
/// Distance along the belt between packages when they are dropped, one by one.
const PITCH_M: f32 = 0.15;
const DISTANCE_M: f32 = 1.15;
const TILT_DEG: f32 = 14.0;

/// `frames` frames of one belt, `frame_interval` apart, from a camera that never moves.
///
/// The recipe's picture size, textures and annotation limits apply; the rest of it does not: the belt
/// carries packages of all types, and the sensor is an ordinary one.
pub fn belt_sequence(
    recipe: &Recipe,
    seed: u64,
    frames: u64,
    frame_interval: Duration,
) -> Result<BeltSequence, WorkcellError> {
    let simulator = Simulator::new(recipe.clone())?;
    let mut rng = Rng::new(seed, Stream::Belt, 0);
    let support = Support::random(&mut rng, SupportKind::Belt, &simulator.photos);
    let packages = lay_out(&mut rng, &simulator, &support);
    let mut scene = Scene::empty(&support);
    for (model, pose) in packages {
        scene.add_package(&model, pose);
    }
    // The belt itself moves with what lies on it; it is the first part of its support.
    let carried = scene.parts.len() + 1;
    scene.parts.extend(support.parts);
    scene.focus = Vec3::new(0.0, 0.0, 0.1);
    scene.focus_radius_m = 1.2;
    let travel_m = SPEED_M_PER_S * frame_interval.as_secs_f32() * frames as f32;
    let view = fixed_view(&mut rng, recipe);
    // The centre of the packages passes under the camera half-way through.
    let start_m = -0.5 * travel_m;
    let light_seed = u64::from(rng.word());
    Ok(BeltSequence {
        simulator,
        base: scene,
        carried,
        view,
        sensor: Sensor::steady(),
        depth_sensor: DepthSensor::steady(),
        seed,
        light_seed,
        start_m,
        next: 0,
        frames,
        frame_interval,
    })
}

fn lay_out(
    rng: &mut Rng,
    simulator: &Simulator,
    support: &Support,
) -> Vec<(crate::packages::Model, Pose)> {
    let mut types: Vec<PackageType> = PACKAGES_PER_TYPE
        .iter()
        .flat_map(|(package_type, count)| std::iter::repeat_n(*package_type, *count))
        .collect();
    for last in (1..types.len()).rev() {
        types.swap(last, rng.below(last + 1));
    }
    let center = 0.5 * (types.len() - 1) as f32;
    let half_width_m = support.half_m.y;
    let falling = types
        .into_iter()
        .enumerate()
        .map(|(index, package_type)| {
            let model = loop {
                let model = random_package(rng, package_type, &simulator.photos);
                if model.size_m.x < 0.4 && model.size_m.z < 0.3 {
                    break model;
                }
            };
            let along_m = (index as f32 - center) * PITCH_M;
            let across_m = rng.around((half_width_m - 0.35 * model.size_m.x).max(0.02));
            let at = Vec3::new(
                along_m,
                across_m,
                0.05 + 0.6 * model.size_m.z + 0.1 * (index % 3) as f32,
            );
            (model, Pose::from_parts(at, rng.yaw()))
        })
        .collect();
    arrange::let_fall(&support.fixed, falling)
}

/// A camera that looks down on the middle of the support.
pub(crate) fn fixed_view(rng: &mut Rng, recipe: &Recipe) -> View {
    let target = Vec3::new(0.0, 0.0, 0.05);
    let across = -std::f32::consts::FRAC_PI_2;
    let base_from_camera = looking_at(target, DISTANCE_M, TILT_DEG.to_radians(), across, 0.0);
    let camera_info: CameraInfo = crate::view::lens(rng, recipe, 58.0);
    View { camera_info, base_from_camera, tilt_deg: TILT_DEG, distance_m: DISTANCE_M }
}

/// The frames that [`belt_sequence`] makes.
pub struct BeltSequence {
    simulator: Simulator,
    base: Scene,
    /// So many of the scene's parts, counted from the first, ride on the belt.
    carried: usize,
    view: View,
    sensor: Sensor,
    depth_sensor: DepthSensor,
    seed: u64,
    light_seed: u64,
    start_m: f32,
    next: u64,
    frames: u64,
    frame_interval: Duration,
}

impl BeltSequence {
    /// The camera's calibration, which is the same for all frames.
    pub fn camera_info(&self) -> &CameraInfo {
        &self.view.camera_info
    }
}

impl Iterator for BeltSequence {
    type Item = SimulatedFrame;

    fn next(&mut self) -> Option<SimulatedFrame> {
        let index = self.next;
        if index >= self.frames {
            return None;
        }
        self.next += 1;
        let stamp = StampNs(0) + self.frame_interval * u32::try_from(index).ok()?;
        let travelled_m =
            self.start_m + SPEED_M_PER_S * (self.frame_interval.as_secs_f32() * index as f32);
        let prepared = PreparedScene::new(self.base.shifted(self.carried, Vec3::X * travelled_m));
        // The lamps stand still: every frame draws the same random numbers for them.
        let mut light_rng = Rng::new(self.seed, Stream::Belt, 1 + self.light_seed);
        let lighting = Lighting::random(&mut light_rng, &prepared.scene, &prepared.soup);
        let exposure = Exposure {
            view: &self.view,
            lighting: &lighting,
            sensor: &self.sensor,
            depth_sensor: &self.depth_sensor,
            noise_seed: (self.light_seed as u32).wrapping_add(index as u32),
            sequence: index,
            stamp,
        };
        Some(render(&self.simulator.recipe, &prepared, &exposure))
    }
}

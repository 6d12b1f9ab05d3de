//! One frame from nothing but a recipe, a seed and a number.

use std::sync::Arc;

use magpie_perception::{BgrImage, DepthImage, Frame, Mask, StampNs, StampSource};
use rapier3d::math::Vec3;

use crate::depth::{DepthSensor, ExactDepth};
use crate::light::Lighting;
use crate::print::Picture;
use crate::random::{Dice, Stream};
use crate::raster::{self, Coverage, Soup};
use crate::recipe::Recipe;
use crate::scene::Scene;
use crate::sensor::Sensor;
use crate::shade::shade;
use crate::textures;
use crate::truth::{TruePackage, Truth, isometry, support_plane};
use crate::view::{View, Warp};
use crate::{Solids, WorkcellError};

/// What the camera delivers, and the truth about it.
#[derive(Clone, Debug)]
pub struct SimulatedFrame {
    pub frame: Frame,
    pub truth: Truth,
}

/// A checked recipe and the photographs it names.
pub struct Simulator {
    pub(crate) recipe: Recipe,
    pub(crate) photos: Vec<Arc<Picture>>,
}

/// Nanoseconds between the stamps of unrelated frames.
const FRAME_INTERVAL_NS: u64 = 100_000_000;

impl Simulator {
    /// Checks the recipe and reads its textures.
    pub fn new(recipe: Recipe) -> Result<Simulator, WorkcellError> {
        recipe.check()?;
        let photos = match &recipe.textures {
            Some(folder) => textures::load(folder)?,
            None => Vec::new(),
        };
        Ok(Simulator { recipe, photos })
    }

    /// Frame `index` of the endless set that `seed` names.
    pub fn frame(&self, seed: u64, index: u64) -> SimulatedFrame {
        let views = u64::from(self.recipe.views_per_scene);
        let scene = self.scene(seed, index / views);
        self.view(&scene, seed, index)
    }

    /// Frame `index` again and again, each time with other noise: what a camera that stands still
    /// sees of a heap at rest.
    pub fn still(&self, seed: u64, index: u64, shots: u32) -> Vec<SimulatedFrame> {
        let setup = self.scene(seed, index / u64::from(self.recipe.views_per_scene));
        (0..shots).map(|shot| self.shot(&setup, seed, index, shot)).collect()
    }

    /// The true surfaces of frame `index`; frames of one scene share them.
    pub fn solids(&self, seed: u64, index: u64) -> Solids {
        let setup = self.scene(seed, index / u64::from(self.recipe.views_per_scene));
        Solids::new(&setup.scene, &setup.soup)
    }

    pub(crate) fn scene(&self, seed: u64, scene_index: u64) -> Setup {
        Setup::new(Scene::random(&self.recipe, &self.photos, seed, scene_index))
    }

    pub(crate) fn view(&self, setup: &Setup, seed: u64, index: u64) -> SimulatedFrame {
        self.shot(setup, seed, index, 0)
    }

    fn shot(&self, setup: &Setup, seed: u64, index: u64, shot: u32) -> SimulatedFrame {
        let mut dice = Dice::new(seed, Stream::View, index);
        let view = View::random(&mut dice, &self.recipe, &setup.scene, &setup.soup);
        let lighting = Lighting::random(&mut dice, &setup.scene, &setup.soup);
        let mut dice = Dice::new(seed, Stream::Sensor, index);
        let shot = Shot {
            view: &view,
            lighting: &lighting,
            sensor: &Sensor::random(&mut dice, &self.recipe),
            depth_sensor: &DepthSensor::random(&mut dice, &self.recipe),
            noise_seed: dice.word().wrapping_add(shot),
            sequence: index,
            stamp: StampNs(index * FRAME_INTERVAL_NS),
        };
        render(&self.recipe, setup, &shot)
    }
}

/// A scene ready to be drawn.
pub(crate) struct Setup {
    pub(crate) scene: Scene,
    pub(crate) soup: Soup,
}

impl Setup {
    pub(crate) fn new(scene: Scene) -> Setup {
        let soup = Soup::new(&scene);
        Setup { scene, soup }
    }
}

/// One press of the shutter.
pub(crate) struct Shot<'a> {
    pub(crate) view: &'a View,
    pub(crate) lighting: &'a Lighting,
    pub(crate) sensor: &'a Sensor,
    pub(crate) depth_sensor: &'a DepthSensor,
    pub(crate) noise_seed: u32,
    pub(crate) sequence: u64,
    pub(crate) stamp: StampNs,
}

pub(crate) fn render(recipe: &Recipe, setup: &Setup, shot: &Shot) -> SimulatedFrame {
    let warp = Warp::new(shot.view);
    let (seen, coverage) = raster::draw(&setup.scene, &setup.soup, &warp.pinhole);
    let shaded = shade(&setup.scene, &setup.soup, shot.lighting, &warp.pinhole, &seen);
    let (width, height) = (recipe.width_px, recipe.height_px);
    let pixels = (width * height) as usize;
    let mut light = Vec::with_capacity(pixels);
    let mut owner = Vec::with_capacity(pixels);
    let mut exact =
        ExactDepth { depth_m: Vec::with_capacity(pixels), doubt: Vec::with_capacity(pixels) };
    for y in 0..height {
        for x in 0..width {
            let (x, y) = (x as f32, y as f32);
            let mut sum = Vec3::ZERO;
            for (dx, dy) in [(-0.25, -0.25), (0.25, -0.25), (-0.25, 0.25), (0.25, 0.25)] {
                // One bright sample must not outshine the pixel's other three.
                sum += shaded.color[warp.source(x + dx, y + dy)].min(Vec3::splat(6.0));
            }
            light.push(0.25 * sum);
            let at = warp.source(x, y);
            let key = seen.inverse_depth[at];
            exact.depth_m.push(if key > 0.0 { 1.0 / key } else { 0.0 });
            exact.doubt.push(shaded.depth_doubt[at]);
            owner.push(setup.soup.owner(&setup.scene, seen.triangle[at]));
        }
    }
    let mut seen_px = vec![0; setup.scene.packages.len()];
    for triangle in &seen.triangle {
        if let Some(instance) = setup.soup.owner(&setup.scene, *triangle) {
            seen_px[instance as usize] += 1;
        }
    }
    let color: BgrImage = shot.sensor.expose(width, height, light, shot.noise_seed);
    let depth: DepthImage = shot.depth_sensor.measure(width, height, &exact, shot.noise_seed);
    let mut truth = truth(recipe, setup, shot.view, &owner, &seen_px, &coverage);
    truth.depth_sigma_m = f64::from(shot.depth_sensor.sigma_m(1.0));
    let frame = Frame {
        sequence: shot.sequence,
        stamp: shot.stamp,
        stamp_source: StampSource::Recorded,
        color,
        depth: Some(depth),
    };
    SimulatedFrame { frame, truth }
}

fn truth(
    recipe: &Recipe,
    setup: &Setup,
    view: &View,
    owner: &[Option<u16>],
    seen_px: &[u32],
    coverage: &[Coverage],
) -> Truth {
    let (width, height) = (recipe.width_px, recipe.height_px);
    let mut packages = Vec::new();
    let mut unannotated = vec![0_u8; owner.len()];
    for (instance, placed) in (0_u16..).zip(&setup.scene.packages) {
        let bitmap: Vec<u8> = owner.iter().map(|own| u8::from(*own == Some(instance))).collect();
        let area_px = bitmap.iter().map(|inside| u32::from(*inside)).sum::<u32>();
        if area_px == 0 {
            continue;
        }
        let visible_fraction = f64::from(seen_px[instance as usize])
            / f64::from(coverage[instance as usize].alone_px.max(1));
        if area_px < recipe.visible_px_min
            || visible_fraction < f64::from(recipe.visible_fraction_min)
        {
            unannotated.iter_mut().zip(&bitmap).for_each(|(all, one)| *all |= one);
            continue;
        }
        packages.push(TruePackage {
            package_id: u32::from(instance),
            package_type: placed.package_type,
            mask: Mask::from_bitmap(width, height, &bitmap),
            visible_fraction,
            base_from_package: isometry(&placed.base_from_package),
            length_m: f64::from(placed.size_m.x),
            width_m: f64::from(placed.size_m.y),
            height_m: f64::from(placed.size_m.z),
        });
    }
    Truth {
        camera_info: view.camera_info.clone(),
        base_from_camera: isometry(&view.base_from_camera),
        support_plane_in_base: support_plane(),
        packages,
        unannotated: Mask::from_bitmap(width, height, &unannotated),
        background: setup.scene.kind.name(),
        tilt_deg: f64::from(view.tilt_deg),
        distance_m: f64::from(view.distance_m),
        depth_sigma_m: 0.0,
    }
}

//! Makes one frame from a recipe, a seed and a number, and from nothing else.

use std::sync::Arc;

use magpie_perception::{BgrImage, DepthImage, Frame, Mask, StampNs, StampSource};
use rapier3d::math::Vec3;

use crate::depth::{DepthSensor, ExactDepth};
use crate::light::Lighting;
use crate::print::Picture;
use crate::random::{Rng, Stream};
use crate::raster::{self, Coverage, Soup};
use crate::recipe::Recipe;
use crate::scene::Scene;
use crate::sensor::Sensor;
use crate::shade::shade;
use crate::textures;
use crate::truth::{Truth, isometry, support_plane};
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
    pub fn still(&self, seed: u64, index: u64, exposures: u32) -> Vec<SimulatedFrame> {
        let prepared = self.scene(seed, index / u64::from(self.recipe.views_per_scene));
        (0..exposures).map(|exposure| self.exposure(&prepared, seed, index, exposure)).collect()
    }

    /// The true surfaces of frame `index`; frames of one scene share them.
    pub fn solids(&self, seed: u64, index: u64) -> Solids {
        let prepared = self.scene(seed, index / u64::from(self.recipe.views_per_scene));
        Solids::new(&prepared.scene, &prepared.soup)
    }

    pub(crate) fn scene(&self, seed: u64, scene_index: u64) -> PreparedScene {
        PreparedScene::new(Scene::random(&self.recipe, &self.photos, seed, scene_index))
    }

    pub(crate) fn view(&self, prepared: &PreparedScene, seed: u64, index: u64) -> SimulatedFrame {
        self.exposure(prepared, seed, index, 0)
    }

    fn exposure(
        &self,
        prepared: &PreparedScene,
        seed: u64,
        index: u64,
        exposure: u32,
    ) -> SimulatedFrame {
        let mut rng = Rng::new(seed, Stream::View, index);
        let view = View::random(&mut rng, &self.recipe, &prepared.scene, &prepared.soup);
        let lighting = Lighting::random(&mut rng, &prepared.scene, &prepared.soup);
        let mut rng = Rng::new(seed, Stream::Sensor, index);
        let exposure = Exposure {
            view: &view,
            lighting: &lighting,
            sensor: &Sensor::random(&mut rng, &self.recipe),
            depth_sensor: &DepthSensor::random(&mut rng, &self.recipe),
            noise_seed: rng.word().wrapping_add(exposure),
            sequence: index,
            stamp: StampNs(index * FRAME_INTERVAL_NS),
        };
        render(&self.recipe, prepared, &exposure)
    }
}

/// A scene ready to be drawn.
pub(crate) struct PreparedScene {
    pub(crate) scene: Scene,
    pub(crate) soup: Soup,
}

impl PreparedScene {
    pub(crate) fn new(scene: Scene) -> PreparedScene {
        let soup = Soup::new(&scene);
        PreparedScene { scene, soup }
    }
}

/// How one frame is exposed.
pub(crate) struct Exposure<'a> {
    pub(crate) view: &'a View,
    pub(crate) lighting: &'a Lighting,
    pub(crate) sensor: &'a Sensor,
    pub(crate) depth_sensor: &'a DepthSensor,
    pub(crate) noise_seed: u32,
    pub(crate) sequence: u64,
    pub(crate) stamp: StampNs,
}

pub(crate) fn render(
    recipe: &Recipe,
    prepared: &PreparedScene,
    exposure: &Exposure,
) -> SimulatedFrame {
    let warp = Warp::new(exposure.view);
    let (seen, coverage) = raster::draw(&prepared.scene, &prepared.soup, &warp.pinhole);
    let shaded = shade(&prepared.scene, &prepared.soup, exposure.lighting, &warp.pinhole, &seen);
    let (width, height) = (recipe.width_px, recipe.height_px);
    let pixels = (width * height) as usize;
    let mut light = Vec::with_capacity(pixels);
    let mut owner = Vec::with_capacity(pixels);
    let mut exact =
        ExactDepth { depth_m: Vec::with_capacity(pixels), hole_risk: Vec::with_capacity(pixels) };
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
            exact.hole_risk.push(shaded.hole_risk[at]);
            owner.push(prepared.soup.owner(&prepared.scene, seen.triangle[at]));
        }
    }
    let mut seen_px = vec![0; prepared.scene.packages.len()];
    for triangle in &seen.triangle {
        if let Some(instance) = prepared.soup.owner(&prepared.scene, *triangle) {
            seen_px[instance as usize] += 1;
        }
    }
    let color: BgrImage = exposure.sensor.expose(width, height, light, exposure.noise_seed);
    let depth: DepthImage =
        exposure.depth_sensor.measure(width, height, &exact, exposure.noise_seed);
    let mut truth = truth(recipe, prepared, exposure.view, &owner, &seen_px, &coverage);
    truth.depth_sigma_m = f64::from(exposure.depth_sensor.sigma_m(1.0));
    let frame = Frame {
        sequence: exposure.sequence,
        stamp: exposure.stamp,
        stamp_source: StampSource::Recorded,
        color,
        depth: Some(depth),
    };
    SimulatedFrame { frame, truth }
}

fn truth(
    recipe: &Recipe,
    prepared: &PreparedScene,
    view: &View,
    owner: &[Option<u16>],
    seen_px: &[u32],
    coverage: &[Coverage],
) -> Truth {
    let (width, height) = (recipe.width_px, recipe.height_px);
    let mut packages = Vec::new();
    let mut unannotated = vec![0_u8; owner.len()];
    for (instance, placed) in (0_u16..).zip(&prepared.scene.packages) {
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
        let mask = Mask::from_bitmap(width, height, &bitmap);
        packages.push(placed.seen(u32::from(instance), mask, visible_fraction));
    }
    Truth {
        camera_info: view.camera_info.clone(),
        base_from_camera: isometry(&view.base_from_camera),
        support_plane_in_base: support_plane(),
        packages,
        unannotated: Mask::from_bitmap(width, height, &unannotated),
        background: prepared.scene.kind.name(),
        tilt_deg: f64::from(view.tilt_deg),
        distance_m: f64::from(view.distance_m),
        depth_sigma_m: 0.0,
    }
}

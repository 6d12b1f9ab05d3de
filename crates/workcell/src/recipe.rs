//! What the simulated cell varies: a TOML file laid over the shipped one.

use std::path::PathBuf;

use serde::Deserialize;

use crate::WorkcellError;

/// The shipped recipe, which is also the list of all keys.
pub const DEFAULT_RECIPE: &str = include_str!("recipe.toml");

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub width_px: u32,
    pub height_px: u32,
    pub views_per_scene: u32,
    pub packages_min: u32,
    pub packages_max: u32,
    pub solids: bool,
    pub distractor_share: f32,
    pub visible_px_min: u32,
    pub visible_fraction_min: f32,
    /// A folder of photographs (jpg or png, any depth of subfolders) for surfaces.
    pub textures: Option<PathBuf>,
    pub supports: SupportMix,
    pub types: TypeMix,
    pub camera: CameraRange,
    pub sensor: SensorRange,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupportMix {
    pub belt: f32,
    pub tote: f32,
    pub pallet: f32,
    pub floor: f32,
    pub table: f32,
    pub shelf: f32,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TypeMix {
    #[serde(rename = "box")]
    pub boxes: f32,
    pub padded_mailer: f32,
    pub poly_bag: f32,
    pub item: f32,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraRange {
    pub distance_m_min: f32,
    pub distance_m_max: f32,
    pub tilt_deg_min: f32,
    pub tilt_deg_max: f32,
    pub tilt_deg_stack_max: f32,
    pub fov_deg_min: f32,
    pub fov_deg_max: f32,
    pub distortion_max: f32,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorRange {
    pub noise: f32,
    pub blur: f32,
    pub color: f32,
    pub jpeg_share: f32,
    pub depth_noise: f32,
    pub depth_holes: f32,
}

impl Default for Recipe {
    fn default() -> Recipe {
        toml::from_str(DEFAULT_RECIPE).expect("the shipped recipe is complete")
    }
}

impl Recipe {
    /// Lays `text` over the shipped recipe, key by key, and checks every value.
    pub fn from_toml(text: &str) -> Result<Recipe, WorkcellError> {
        let parse = |text: &str| {
            text.parse::<toml::Table>().map_err(|source| WorkcellError::Recipe { source })
        };
        let mut table = parse(DEFAULT_RECIPE)?;
        lay_over(&mut table, parse(text)?);
        let recipe: Recipe = table.try_into().map_err(|source| WorkcellError::Recipe { source })?;
        recipe.check()?;
        Ok(recipe)
    }

    /// Every value in its range; called before anything is rendered.
    pub fn check(&self) -> Result<(), WorkcellError> {
        let camera = &self.camera;
        between("width_px", self.width_px as f32, 64.0, 4096.0)?;
        between("height_px", self.height_px as f32, 64.0, 4096.0)?;
        between("views_per_scene", self.views_per_scene as f32, 1.0, 100.0)?;
        between("packages_max", self.packages_max as f32, 1.0, 200.0)?;
        between("packages_min", self.packages_min as f32, 0.0, self.packages_max as f32)?;
        between("distractor_share", self.distractor_share, 0.0, 1.0)?;
        between("visible_fraction_min", self.visible_fraction_min, 0.0, 1.0)?;
        between("camera.distance_m_min", camera.distance_m_min, 0.2, 20.0)?;
        between("camera.distance_m_max", camera.distance_m_max, camera.distance_m_min, 20.0)?;
        between("camera.tilt_deg_min", camera.tilt_deg_min, 0.0, 90.0)?;
        between("camera.tilt_deg_max", camera.tilt_deg_max, camera.tilt_deg_min, 90.0)?;
        between(
            "camera.tilt_deg_stack_max",
            camera.tilt_deg_stack_max,
            camera.tilt_deg_min,
            100.0,
        )?;
        between("camera.fov_deg_min", camera.fov_deg_min, 10.0, 110.0)?;
        between("camera.fov_deg_max", camera.fov_deg_max, camera.fov_deg_min, 110.0)?;
        between("camera.distortion_max", camera.distortion_max, 0.0, 0.3)?;
        for (key, value) in [
            ("sensor.noise", self.sensor.noise),
            ("sensor.blur", self.sensor.blur),
            ("sensor.color", self.sensor.color),
            ("sensor.depth_noise", self.sensor.depth_noise),
            ("sensor.depth_holes", self.sensor.depth_holes),
        ] {
            between(key, value, 0.0, 10.0)?;
        }
        between("sensor.jpeg_share", self.sensor.jpeg_share, 0.0, 1.0)?;
        weights("supports", &self.supports.weights())?;
        weights("types", &self.types.weights())
    }
}

impl SupportMix {
    pub(crate) fn weights(&self) -> [f32; 6] {
        [self.belt, self.tote, self.pallet, self.floor, self.table, self.shelf]
    }
}

impl TypeMix {
    /// Weights in the order of [`PackageType::ALL`](magpie_perception::PackageType::ALL).
    pub(crate) fn weights(&self) -> [f32; 4] {
        [self.boxes, self.padded_mailer, self.poly_bag, self.item]
    }
}

fn lay_over(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(table)) => lay_over(inner, table),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn between(key: &'static str, value: f32, min: f32, max: f32) -> Result<(), WorkcellError> {
    // A NaN lies nowhere.
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(WorkcellError::Range { key, value, min, max })
}

fn weights(key: &'static str, weights: &[f32]) -> Result<(), WorkcellError> {
    let sum: f32 = weights.iter().sum();
    if weights.iter().all(|weight| *weight >= 0.0) && sum.is_finite() && sum > 0.0 {
        return Ok(());
    }
    Err(WorkcellError::Weights { key })
}

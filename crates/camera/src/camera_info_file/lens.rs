//! What a calibration says about distortion: its model and coefficients, under everybody's names.
//!
//! Two statements about one lens must agree, and a model that is not known is refused by its key.

use magpie_perception::{Distortion, DistortionError};
use serde_json::{Map, Value};

use super::fields::{Fields, data};
use super::names::{
    COEFFICIENT_KEYS, COEFFICIENTS, FISHEYE, MODELS, find_all, is_coefficient, is_one_of, plain,
};
use super::problem::CameraInfoProblem;

const FISHEYES: [usize; 4] = [0, 1, 4, 5];

/// librealsense numbers its models (`rs2_distortion`).
const REALSENSE_MODELS: [&str; 6] = [
    "none",
    "modified_brown_conrady",
    "inverse_brown_conrady",
    "ftheta",
    "brown_conrady",
    "kannala_brandt4",
];

/// The name of a model, and the key that says it.
struct Model {
    key: String,
    name: String,
}

impl Fields {
    pub(super) fn distortion(
        &self,
        doubts: &mut Vec<String>,
    ) -> Result<Distortion, CameraInfoProblem> {
        let models = self.models()?;
        let d = match self.coefficients(&models)? {
            Some(d) => d,
            None if models.iter().all(|model| ["", "none"].contains(&model.name.as_str())) => {
                doubts.push(format!("{} are missing: no distortion is taken", COEFFICIENTS[0]));
                Vec::new()
            }
            None => {
                for model in &models {
                    model.lens(&[0.0; 8])?;
                }
                return Err(CameraInfoProblem::Missing {
                    key: COEFFICIENTS[0],
                    remedy: ": write [] for a lens without distortion",
                });
            }
        };
        let Some((first, others)) = models.split_first() else {
            if !d.is_empty() {
                let count = d.len();
                doubts.push(format!(
                    "{} is missing: OpenCV's of {count} coefficients is taken",
                    MODELS[0]
                ));
            }
            return Ok(Distortion::named("", &d)?);
        };
        let lens = first.lens(&d)?;
        for other in others {
            if other.lens(&d)? != lens {
                return Err(contradiction(&first.key, &other.key));
            }
        }
        Ok(lens)
    }

    /// The models that are named. That a camera is a pinhole says nothing about its lens.
    fn models(&self) -> Result<Vec<Model>, CameraInfoProblem> {
        let mut models = Vec::new();
        for (key, value) in find_all(&self.values, MODELS) {
            let name = match value {
                Value::String(name) => name.clone(),
                Value::Null => String::new(),
                Value::Number(number) => number.to_string(),
                _ => return Err(self.refuse(key, "the name of a model")),
            };
            let name = if plain(key) == "model" { self.realsense_model(name) } else { name };
            let name = colmap_model(&name).map_or(name, str::to_owned);
            let of_camera = !plain(key).starts_with("distortion");
            let is_plain = ["", "pinhole", "simple_pinhole", "perspective"]
                .contains(&name.to_lowercase().as_str());
            if !(of_camera && is_plain) {
                models.push(Model { key: key.to_owned(), name });
            }
        }
        for (key, value) in find_all(&self.values, FISHEYE) {
            let is = match value {
                Value::Null => false,
                Value::Bool(is) => *is,
                Value::String(text) if ["true", "1"].contains(&text.to_lowercase().as_str()) => {
                    true
                }
                Value::String(text) if ["false", "0"].contains(&text.to_lowercase().as_str()) => {
                    false
                }
                Value::Number(number) => number.as_f64() != Some(0.0),
                _ => return Err(self.refuse(key, "0 or 1")),
            };
            if is {
                models.push(Model { key: key.to_owned(), name: "fisheye".into() });
            }
        }
        // ROS's empty model says nothing beside another one.
        if models.iter().any(|model| !model.name.is_empty()) {
            models.retain(|model| !model.name.is_empty());
        }
        Ok(models)
    }

    /// Numbers are librealsense's where the file has its names.
    fn realsense_model(&self, name: String) -> String {
        let of_realsense = ["ppx", "coeffs"].iter().any(|key| self.values.contains_key(*key));
        let number = name.trim().parse::<f64>().ok().filter(|_| of_realsense);
        let known = number.and_then(|number| {
            (0_u8..).zip(REALSENSE_MODELS).find(|(index, _)| f64::from(*index) == number)
        });
        known.map_or(name, |(_, name)| name.to_owned())
    }

    /// The coefficients in OpenCV's order; `None` where the file has none.
    fn coefficients(&self, models: &[Model]) -> Result<Option<Vec<f64>>, CameraInfoProblem> {
        let fisheye = models.iter().any(Model::is_fisheye);
        let mut found: Option<(String, Vec<f64>)> = None;
        let mut add = |key: &str, d: Vec<f64>| match &found {
            Some((first, other)) if !same_lens(other, &d) => Err(contradiction(first, key)),
            Some(_) => Ok(()),
            None => {
                found = Some((key.to_owned(), d));
                Ok(())
            }
        };
        for (key, value) in find_all(&self.values, COEFFICIENTS).filter(|(_, v)| !v.is_null()) {
            let d = match value {
                Value::Object(inner) if inner.keys().any(|key| is_coefficient(key)) => {
                    if let Some(key) = inner.keys().find(|key| !is_coefficient(key)) {
                        return Err(CameraInfoProblem::Unread {
                            line: self.line(key),
                            key: key.clone(),
                        });
                    }
                    self.one_by_one(inner, fisheye)?.unwrap_or_default()
                }
                _ => data(value).ok_or_else(|| self.refuse(key, "a list of numbers"))?,
            };
            add(key, d)?;
        }
        if let Some(d) = self.one_by_one(&self.values, fisheye)? {
            let key = self.values.keys().find(|key| is_coefficient(key)).expect("it has some");
            add(key, d)?;
        }
        Ok(found.map(|(_, d)| d))
    }

    /// `k1`, `k2`, `p1`, ... as keys of their own.
    fn one_by_one(
        &self,
        values: &Map<String, Value>,
        fisheye: bool,
    ) -> Result<Option<Vec<f64>>, CameraInfoProblem> {
        let mut d = [None; 12];
        for (key, value) in values.iter().filter(|(key, _)| is_coefficient(key)) {
            let place = COEFFICIENT_KEYS.iter().position(|name| *name == plain(key));
            let number = match value {
                Value::Number(number) => number.as_f64(),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            d[place.expect("it is a coefficient")] =
                Some(number.ok_or_else(|| self.refuse(key, "one number"))?);
        }
        if d.iter().all(Option::is_none) {
            return Ok(None);
        }
        let is_set = |index: usize| d[index].is_some_and(|value| value != 0.0);
        let refuse = |index: usize, why| {
            Err(CameraInfoProblem::Coefficient { key: COEFFICIENT_KEYS[index], why })
        };
        if d[0].is_none() {
            return match (1..12).find(|&index| is_set(index)) {
                Some(index) => refuse(index, "k1 is missing"),
                None => Ok(Some(Vec::new())),
            };
        }
        if fisheye {
            return match (0..12).find(|&index| is_set(index) && !FISHEYES.contains(&index)) {
                Some(index) => refuse(index, "a fisheye lens has k1, k2, k3, k4"),
                None => Ok(Some(FISHEYES.map(|index| d[index].unwrap_or(0.0)).to_vec())),
            };
        }
        // Some count k4 on from k3; OpenCV's divides, and comes with k5 and k6.
        if is_set(5) && (d[6].is_none() || d[7].is_none()) {
            return refuse(5, "of a fisheye lens, or without k5 and k6, it means different things");
        }
        let count = if (8..12).any(is_set) {
            12
        } else if (5..8).any(is_set) {
            8
        } else {
            5
        };
        Ok(Some(d[..count].iter().map(|value| value.unwrap_or(0.0)).collect()))
    }
}

impl Model {
    fn is_fisheye(&self) -> bool {
        matches!(Distortion::named(&self.name, &[0.0; 4]), Ok(Distortion::Equidistant(_)))
    }

    fn lens(&self, d: &[f64]) -> Result<Distortion, CameraInfoProblem> {
        Distortion::named(&self.name, d).map_err(|error| match error {
            DistortionError::Model { model } if !is_one_of(&self.key, &MODELS[..1]) => {
                CameraInfoProblem::Model { key: self.key.clone(), model }
            }
            other => other.into(),
        })
    }
}

/// COLMAP's and nerfstudio's names.
fn colmap_model(name: &str) -> Option<&'static str> {
    match name.to_ascii_uppercase().as_str() {
        "OPENCV" => Some("plumb_bob"),
        "FULL_OPENCV" => Some("rational_polynomial"),
        "OPENCV_FISHEYE" => Some("fisheye"),
        _ => None,
    }
}

fn contradiction(first: &str, second: &str) -> CameraInfoProblem {
    CameraInfoProblem::Contradiction { first: first.to_owned(), second: second.to_owned() }
}

/// Zeros behind the coefficients say nothing.
fn same_lens(a: &[f64], b: &[f64]) -> bool {
    let at = |d: &[f64], index: usize| d.get(index).copied().unwrap_or(0.0);
    (0..a.len().max(b.len())).all(|index| super::fields::is_same(at(a, index), at(b, index)))
}

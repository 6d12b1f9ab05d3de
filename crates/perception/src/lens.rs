//! What the coefficients of a lens mean, by the many names of its model.

use crate::Distortion;

/// Why the coefficients of a lens are not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DistortionError {
    #[error("distortion_coefficients holds a value that is not finite; calibrate again")]
    NotFinite,
    #[error(
        "distortion_model {model:?} is not supported; calibrate with plumb_bob, \
         rational_polynomial or equidistant (fisheye)"
    )]
    Model { model: String },
    #[error(
        "distortion_coefficients of {model} must be {expected} values (and zeros after them), found \
         {len}"
    )]
    Count { model: String, expected: &'static str, len: usize },
    #[error("the distortion_coefficients after the first {len} are not 0: {why}")]
    Behind { len: usize, why: &'static str },
}

impl Distortion {
    /// A lens by the name of its model, as ROS, OpenCV and calibration tools write it, and its
    /// coefficients in their order. `model` is empty where none is named.
    pub fn named(model: &str, d: &[f64]) -> Result<Distortion, DistortionError> {
        if !d.iter().all(|value| value.is_finite()) {
            return Err(DistortionError::NotFinite);
        }
        let none = d.iter().all(|&value| value == 0.0);
        let name = model.trim().to_ascii_lowercase().replace(['-', ' '], "_");
        // librealsense's in C++, and in Python by `str` and by `repr`.
        let name = name.strip_prefix("rs2_distortion_").unwrap_or(&name);
        let name = name.trim_start_matches('<').split(':').next().unwrap_or_default();
        let name = name.strip_prefix("distortion.").unwrap_or(name);
        match name {
            "equidistant" | "fisheye" | "kannala_brandt" | "kannala_brandt4" => {
                let four = leading(name, d, &[4], "4", "an equidistant lens has k1, k2, k3, k4")?;
                Ok(Distortion::Equidistant(four.try_into().expect("four were counted")))
            }
            // ROS: without coefficients there is no distortion, whatever the model.
            _ if d.is_empty() => Ok(Distortion::default()),
            "plumb_bob" | "radtan" | "radial_tangential" | "brown_conrady" => {
                let why =
                    "a plumb_bob lens has k1, k2, p1, p2, k3; is it a rational_polynomial one?";
                Ok(polynomial(leading(name, d, &[5, 4], "4 or 5", why)?))
            }
            "rational_polynomial" => {
                Ok(polynomial(leading(name, d, rational_count(d), "8 or 12", RATIONAL)?))
            }
            // As OpenCV tells them apart: by their number.
            "" if d.len() > 5 => {
                Ok(polynomial(leading("OpenCV", d, rational_count(d), OPENCV, RATIONAL)?))
            }
            "" => Ok(polynomial(leading("OpenCV", d, &[5, 4], OPENCV, RATIONAL)?)),
            "none" | "pinhole" | "inverse_brown_conrady" | "modified_brown_conrady" | "ftheta"
                if none =>
            {
                Ok(Distortion::default())
            }
            _ => Err(DistortionError::Model { model: model.to_owned() }),
        }
    }
}

const OPENCV: &str = "4, 5, 8 or 12";
const RATIONAL: &str = "a thin prism has s1, s2, s3, s4, and tilted sensors are not computed with";

/// With a thin prism or without.
fn rational_count(d: &[f64]) -> &'static [usize] {
    if d.len() < 12 { &[8] } else { &[12] }
}

/// The first coefficients, where only zeros come after them. The largest count comes first.
fn leading<'a>(
    model: &str,
    d: &'a [f64],
    counts: &[usize],
    expected: &'static str,
    why: &'static str,
) -> Result<&'a [f64], DistortionError> {
    if counts.contains(&d.len()) {
        return Ok(d);
    }
    let len = counts[0];
    if d.len() < len {
        let model = model.to_owned();
        return Err(DistortionError::Count { model, expected, len: d.len() });
    }
    let (first, behind) = d.split_at(len);
    if behind.iter().any(|&value| value != 0.0) {
        return Err(DistortionError::Behind { len, why });
    }
    Ok(first)
}

fn polynomial(d: &[f64]) -> Distortion {
    let mut all = [0.0; 12];
    all[..d.len()].copy_from_slice(d);
    Distortion::Polynomial(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lens_is_named_by_its_model_and_has_that_models_coefficients() {
        let named = |model, d: &[f64]| Distortion::named(model, d).unwrap();
        let plain = named("plumb_bob", &[0.1, 0.2, 0.3, 0.4, 0.5]);
        assert_eq!((plain.model(), plain.coefficients().len()), ("plumb_bob", 5));
        assert_eq!(format!("{plain:?}"), "Distortion { d: [0.1, 0.2, 0.3, 0.4, 0.5] }");
        for (model, count) in
            [("rational_polynomial", 8), ("rational_polynomial", 12), ("equidistant", 4)]
        {
            let lens = named(model, &vec![0.1; count]);
            assert_eq!((lens.model(), lens.coefficients().len()), (model, count));
            assert_eq!(named(lens.model(), lens.coefficients()), lens);
        }
        assert_eq!(named("Kannala-Brandt4", &[0.1; 4]).model(), "equidistant");
        for model in ["RS2_DISTORTION_KANNALA_BRANDT4", "<distortion.kannala_brandt4: 5>"] {
            assert_eq!(named(model, &[0.1; 4]).model(), "equidistant");
        }
        let refused = Distortion::named("equidistant", &[]).unwrap_err();
        assert_eq!(
            refused,
            DistortionError::Count { model: "equidistant".into(), expected: "4", len: 0 }
        );
    }
}

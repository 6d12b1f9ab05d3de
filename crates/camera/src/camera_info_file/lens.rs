//! What the coefficients of a lens mean, by the many names of its model.

use magpie_perception::Distortion;

use super::problem::CameraInfoProblem;

/// `model` is empty where the file names none.
pub(super) fn distortion(model: &str, d: &[f64]) -> Result<Distortion, CameraInfoProblem> {
    if !d.iter().all(|value| value.is_finite()) {
        return Err(CameraInfoProblem::NotFinite { key: "distortion_coefficients" });
    }
    let none = d.iter().all(|&value| value == 0.0);
    let name = model.trim().to_ascii_lowercase().replace(['-', ' '], "_");
    let name = name.strip_prefix("distortion.").unwrap_or(&name);
    match name {
        "equidistant" | "fisheye" | "kannala_brandt" | "kannala_brandt4" => {
            let four = leading(name, d, &[4], "4", "an equidistant lens has k1, k2, k3, k4")?;
            Ok(Distortion::of_model("equidistant", four).expect("four were counted"))
        }
        // ROS: without coefficients there is no distortion, whatever the model.
        _ if d.is_empty() => Ok(Distortion::default()),
        "plumb_bob" | "radtan" | "radial_tangential" | "brown_conrady" => {
            let why = "a plumb_bob lens has k1, k2, p1, p2, k3; is it a rational_polynomial one?";
            Ok(polynomial(leading(name, d, &[5, 4], "4 or 5", why)?))
        }
        "rational_polynomial" => Ok(polynomial(leading(name, d, &[8], "8", PRISM)?)),
        // As OpenCV tells them apart: by their number.
        "" if d.len() > 5 => Ok(polynomial(leading("OpenCV", d, &[8], "4, 5 or 8", PRISM)?)),
        "" => Ok(polynomial(leading("OpenCV", d, &[5, 4], "4, 5 or 8", PRISM)?)),
        "none" | "pinhole" | "inverse_brown_conrady" | "modified_brown_conrady" | "ftheta"
            if none =>
        {
            Ok(Distortion::default())
        }
        _ => Err(CameraInfoProblem::DistortionModel { model: model.to_owned() }),
    }
}

const PRISM: &str = "thin prisms and tilted sensors are not computed with; calibrate without them";

/// The first coefficients, where only zeros come after them. The largest count comes first.
fn leading<'a>(
    model: &str,
    d: &'a [f64],
    counts: &[usize],
    expected: &'static str,
    why: &'static str,
) -> Result<&'a [f64], CameraInfoProblem> {
    if counts.contains(&d.len()) {
        return Ok(d);
    }
    let len = counts[0];
    if d.len() < len {
        let model = model.to_owned();
        return Err(CameraInfoProblem::Coefficients { model, expected, len: d.len() });
    }
    let (first, behind) = d.split_at(len);
    if behind.iter().any(|&value| value != 0.0) {
        return Err(CameraInfoProblem::CoefficientsBehind { len, why });
    }
    Ok(first)
}

fn polynomial(d: &[f64]) -> Distortion {
    let mut all = [0.0; 8];
    all[..d.len()].copy_from_slice(d);
    Distortion::Polynomial(all)
}

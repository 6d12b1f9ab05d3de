//! Everybody's names for what a calibration says, and which unknown keys must not be passed over.

use serde_json::{Map, Value};

/// The names of one value; the first is ROS's own.
pub(super) type Names = &'static [&'static str];

pub(super) const WIDTH: Names = &["image_width", "width", "w"];
pub(super) const HEIGHT: Names = &["image_height", "height", "h"];
/// Both sides, as Kalibr and Autoware write them.
pub(super) const SIZE: Names = &["resolution", "ImageSize"];
pub(super) const MATRIX: Names =
    &["camera_matrix", "K", "k", "intrinsic_matrix", "camera_mat", "mtx", "cam_K"];
/// Four numbers, as Kalibr writes them, or a matrix.
pub(super) const INTRINSICS: Names = &["intrinsics", "intrinsic", "camera_intrinsics"];
/// `fx`, `fy`, `cx`, `cy` one by one: OpenCV's names, RealSense's, those of instant-ngp and Kalibr.
pub(super) const ONE_BY_ONE: [Names; 4] = [
    &["fx", "Fx", "fl_x", "fu"],
    &["fy", "Fy", "fl_y", "fv"],
    &["cx", "ppx", "pu"],
    &["cy", "ppy", "pv"],
];
pub(super) const COEFFICIENTS: Names = &[
    "distortion_coefficients",
    "distortion_coeffs",
    "distortion_coeff",
    "dist_coefficients",
    "dist_coeffs",
    "dist_coeff",
    "dist_coefs",
    "dist_coef",
    "distortion_parameters",
    "distortion_params",
    "distortion",
    "dist",
    "coefficients",
    "coeffs",
    "D",
    "d",
];
/// Coefficients as keys of their own, in OpenCV's order.
pub(super) const COEFFICIENT_KEYS: [&str; 12] =
    ["k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4"];
pub(super) const RECTIFICATION: Names = &["rectification_matrix", "R", "r"];
pub(super) const PROJECTION: Names = &["projection_matrix", "P", "p"];
pub(super) const MODELS: Names = &[
    "distortion_model",
    "distortion_type",
    "camera_model",
    "camera_type",
    "lens_model",
    "lens_type",
    "projection_model",
    "model_type",
    "model",
];
/// OpenCV's sample writes 1 for a lens of `cv::fisheye`.
pub(super) const FISHEYE: Names = &["fisheye_model", "fisheye", "is_fisheye", "use_fisheye"];
const OTHERS: Names =
    &["header", "camera_name", "binning_x", "binning_y", "roi", "frame_id", "extrinsics"];
/// What a misspelt key probably is.
const OFTEN_MISSPELT: Names = &[
    "image_width",
    "image_height",
    "camera_matrix",
    "distortion_model",
    "distortion_coefficients",
    "distortion_coeffs",
    "rectification_matrix",
    "projection_matrix",
    "camera_name",
    "binning_x",
    "binning_y",
    "frame_id",
    "intrinsics",
    "resolution",
];
/// Parts of keys that speak of a lens.
const WORDS_OF_LENSES: [&str; 10] = [
    "dist",
    "coef",
    "fisheye",
    "radial",
    "tangential",
    "prism",
    "poly",
    "skew",
    "mirrorparam",
    "projectionparam",
];

/// Case and separators matter in short names only: `K` is a matrix, and `d` is no `D1`.
pub(super) fn is_one_of(key: &str, names: Names) -> bool {
    names.iter().any(|name| if name.len() > 2 { plain(name) == plain(key) } else { *name == key })
}

pub(super) fn find_all(
    values: &Map<String, Value>,
    names: Names,
) -> impl Iterator<Item = (&str, &Value)> {
    let named = values.iter().filter(move |(key, _)| is_one_of(key, names));
    named.map(|(key, value)| (key.as_str(), value))
}

/// Without case and separators.
pub(super) fn plain(key: &str) -> String {
    let letters = key.chars().filter(char::is_ascii_alphanumeric);
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

pub(super) fn is_known(key: &str) -> bool {
    let named = [
        WIDTH,
        HEIGHT,
        SIZE,
        MATRIX,
        INTRINSICS,
        COEFFICIENTS,
        RECTIFICATION,
        PROJECTION,
        MODELS,
        FISHEYE,
        OTHERS,
    ];
    let one_by_one = ONE_BY_ONE.into_iter().any(|names| is_one_of(key, names));
    one_by_one || is_coefficient(key) || named.into_iter().any(|names| is_one_of(key, names))
}

/// One coefficient of a polynomial, as they are written one by one.
pub(super) fn is_coefficient(key: &str) -> bool {
    COEFFICIENT_KEYS.contains(&plain(key).as_str())
}

/// The known key that an unknown one differs little from.
pub(super) fn meant_by(values: &Map<String, Value>, key: &str) -> Option<&'static str> {
    let mut names = OFTEN_MISSPELT.iter().copied();
    names.find(|name| !values.contains_key(*name) && differ_little(name, key))
}

/// The key that speaks of the lens, where an unknown key or what it holds does so.
pub(super) fn speaks_of_lens(key: &str, value: &Value) -> Option<String> {
    let name = plain(key);
    let numbered = name.strip_prefix(['k', 'p', 'd', 's', 'l']).unwrap_or_default();
    let is_numbered =
        (1..=2).contains(&numbered.len()) && numbered.bytes().all(|byte| byte.is_ascii_digit());
    let has_word = WORDS_OF_LENSES.iter().any(|word| name.contains(word));
    if (is_numbered || name == "xi" || (has_word && !name.contains("distance")))
        && !says_nothing(value)
    {
        return Some(key.to_owned());
    }
    let inside = |(inner, value): (&String, &Value)| {
        let known = is_one_of(inner, COEFFICIENTS) || is_one_of(inner, MODELS);
        let found = speaks_of_lens(inner, value);
        found.or_else(|| (known && !says_nothing(value)).then(|| inner.clone()))
    };
    Some(format!("{key}.{}", value.as_object()?.iter().find_map(inside)?))
}

/// No lens at all: nothing, zeros, or the word for it.
pub(super) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(is) => !is,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => ["", "none", "null"].contains(&text.trim().to_lowercase().as_str()),
        Value::Array(items) => items.iter().all(says_nothing),
        Value::Object(fields) => match fields.get("data") {
            Some(data) => says_nothing(data),
            None => fields.values().all(says_nothing),
        },
    }
}

/// Whether two edits at most lead from one word to the other.
fn differ_little(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > 2 {
        return false;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()] <= 2
}

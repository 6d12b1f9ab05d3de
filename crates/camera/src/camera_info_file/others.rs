//! Calibrations as Kalibr, RealSense, OAK and others have them: read where one camera is meant, and
//! named where it is not.

use magpie_perception::CameraInfo;
use serde_json::{Map, Value};

use super::fields::{Fields, data, pixels};
use super::names::{INTRINSICS, MATRIX, ONE_BY_ONE, find_all};
use super::problem::CameraInfoProblem;

const AS_ROS: &str = "write the one camera that is meant as a camera_info of ROS";

/// One camera, as anybody writes it.
pub(super) fn read(text: &str) -> Result<(CameraInfo, Vec<String>), CameraInfoProblem> {
    if text.contains('\0') || text.starts_with("PK") {
        return Err(foreign(
            "no text, but perhaps NumPy's or pickle's",
            "write its matrix and coefficients as a camera_info of ROS",
        ));
    }
    if text.trim_start().starts_with('<') {
        return Err(foreign(
            "XML",
            "OpenCV's FileStorage writes YAML, which is read, where the \
                            file's name ends in .yaml",
        ));
    }
    if text.contains("PPX") && text.contains("Coeffs") {
        return realsense_listing(text);
    }
    if let Some(values) = pyrealsense(text) {
        return Fields { text: text.to_owned(), values }.camera_info();
    }
    if let Some(problem) = no_yaml(text) {
        return Err(problem);
    }
    let fields = Fields::parse(text)?;
    let values = &fields.values;
    let has = |key: &str| values.contains_key(key);
    let has_all = |keys: &[&str]| keys.iter().all(|key| has(key));
    if has("cameraData") {
        return oak(&fields);
    }
    if let Some(inner) = values.get("CameraIntrinsics").and_then(Value::as_object) {
        return zivid(&fields, inner);
    }
    if has_all(&["model", "params"]) {
        return pycolmap(&fields);
    }
    if let Some(problem) = bop(values) {
        return Err(problem);
    }
    let names = [
        (
            has_all(&["M1", "D1"]) || has_all(&["K1", "D1"]) || has_all(&["cameraMatrix1"]),
            "a stereo pair of OpenCV",
            "write one camera's matrix and coefficients as \
             camera_matrix and distortion_coefficients, with image_width and image_height",
        ),
        (
            values.keys().any(|key| key.starts_with("rectified.")),
            "RealSense's calibration table",
            "`rs-enumerate-devices -c` prints the intrinsics of \
             each stream: copy the section of the one that is meant",
        ),
        (
            values.keys().any(|key| key.starts_with("Camera.") || key.starts_with("Camera1.")),
            "settings of ORB-SLAM",
            AS_ROS,
        ),
        (
            has("CalibrationInformation"),
            "an Azure Kinect's calibration",
            "its numbers are shares of the sensor's size: take the camera_info of its ROS driver",
        ),
        (
            has("IntrinsicMatrix") || has("RadialDistortion"),
            "MATLAB's cameraParameters",
            "its matrix is turned and its pixels count from 1: write a camera_info of ROS, with \
             cx and cy less 1, and [k1, k2, p1, p2, k3]",
        ),
        (
            values.get("projection_parameters").is_some_and(|inner| inner.get("fx").is_none()),
            "camodocal's calibration of a fisheye or mirror lens",
            "calibrate as PINHOLE, or write a KANNALA_BRANDT one as equidistant: k1, k2, k3, k4 \
             are its k2, k3, k4, k5, and fx, fy, cx, cy its mu, mv, u0, v0",
        ),
    ];
    match names.into_iter().find(|(is, ..)| *is) {
        Some((_, what, remedy)) => Err(foreign(what, remedy)),
        None if is_camera(values) => fields.camera_info(),
        None => inner_camera(&fields),
    }
}

/// Calibrations that are neither YAML nor JSON.
fn no_yaml(text: &str) -> Option<CameraInfoProblem> {
    let lines = || text.lines().map(str::trim);
    let starts = |start: &str| lines().any(|line| line.starts_with(start));
    let of_colmap = |line: &str| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|id| id.parse::<u32>().is_ok())
            && words.next().is_some_and(|model| {
                ["PINHOLE", "RADIAL", "OPENCV", "FISHEYE", "FOV"]
                    .iter()
                    .any(|it| model.ends_with(it))
            })
    };
    if starts("# oST version") || (starts("camera matrix") && starts("[")) {
        return Some(foreign(
            "ROS's ost.txt",
            "camera_calibration writes ost.yaml beside it: give that one",
        ));
    }
    if starts("[LEFT_CAM_") || starts("[RIGHT_CAM_") {
        return Some(foreign(
            "a ZED's factory calibration of two cameras at several sizes",
            "take the camera_info that its ROS driver publishes",
        ));
    }
    if starts("ParGroup: Cam") || starts("# INTERNAL CAMERA PARAMETERS") {
        return Some(foreign(
            "HALCON's camera parameters, in metres on the sensor and with distortions of its own",
            "run `magpie calibrate intrinsics`, or write a camera_info of ROS with fx = Focus / Sx, \
             fy = Focus / Sy, cx = Cx, cy = Cy, if its Kappa is 0",
        ));
    }
    lines()
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(|line| of_colmap(line))?;
    Some(foreign("COLMAP's list of cameras", AS_ROS))
}

fn foreign(what: &str, remedy: &str) -> CameraInfoProblem {
    CameraInfoProblem::Foreign { what: what.to_owned(), remedy: remedy.to_owned() }
}

/// What gzip compressed.
pub(super) fn packed() -> CameraInfoProblem {
    foreign("compressed by gzip", "unpack it, by gunzip for example")
}

/// `CameraIntrinsics: {CameraMatrix: {CX, CY, FX, FY}, Distortion: {K1, ...}}`, without a size.
fn zivid(
    fields: &Fields,
    inner: &Map<String, Value>,
) -> Result<(CameraInfo, Vec<String>), CameraInfoProblem> {
    let mut values = fields.values.clone();
    values.remove("CameraIntrinsics");
    values.remove("__version__");
    for (key, value) in inner {
        match value.as_object() {
            Some(inner) if ["CameraMatrix", "Distortion"].contains(&key.as_str()) => {
                values.extend(inner.iter().map(|(key, value)| (key.to_lowercase(), value.clone())));
            }
            _ => {
                values.insert(key.clone(), value.clone());
            }
        }
    }
    Fields { text: fields.text.clone(), values }.camera_info()
}

/// What each of COLMAP's models has after its focal lengths and the principal point, by the names of
/// the model here; those with one focal length come first in their names.
const COLMAP_MODELS: [(&str, bool, &[&str], &str); 8] = [
    ("SIMPLE_PINHOLE", true, &[], "plumb_bob"),
    ("PINHOLE", false, &[], "plumb_bob"),
    ("SIMPLE_RADIAL", true, &["k1"], "plumb_bob"),
    ("RADIAL", true, &["k1", "k2"], "plumb_bob"),
    ("OPENCV", false, &["k1", "k2", "p1", "p2"], "plumb_bob"),
    (
        "FULL_OPENCV",
        false,
        &["k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"],
        "rational_polynomial",
    ),
    ("OPENCV_FISHEYE", false, &["k1", "k2", "k3", "k4"], "equidistant"),
    ("RADIAL_FISHEYE", true, &["k1", "k2"], "equidistant"),
];

/// A camera of pycolmap: `{"model": "OPENCV", "width": ..., "params": [fx, fy, cx, cy, k1, ...]}`.
fn pycolmap(fields: &Fields) -> Result<(CameraInfo, Vec<String>), CameraInfoProblem> {
    let name = fields.text("model").unwrap_or_default();
    let known = COLMAP_MODELS.into_iter().find(|(model, ..)| *model == name);
    let Some((_, one_focal_length, coefficients, model)) = known else {
        return Err(CameraInfoProblem::Model { key: "model".into(), model: name });
    };
    let params = data(&fields.values["params"]).unwrap_or_default();
    let count = if one_focal_length { 3 } else { 4 } + coefficients.len();
    if params.len() != count {
        return Err(foreign(
            &format!("a camera of COLMAP whose {name} has {count} params, found {}", params.len()),
            AS_ROS,
        ));
    }
    let (lens, d) = params.split_at(count - coefficients.len());
    let [fx, fy, cx, cy] = match *lens {
        [f, cx, cy] => [f, f, cx, cy],
        [fx, fy, cx, cy] => [fx, fy, cx, cy],
        _ => unreachable!("they were counted"),
    };
    let mut d = d.to_vec();
    // A fisheye lens has four.
    d.resize(if model == "equidistant" { 4 } else { d.len() }, 0.0);
    // plumb_bob has the tangential ones behind two radial ones.
    if d.len() < 4 {
        d.resize(if d.is_empty() { 0 } else { 4 }, 0.0);
    }
    let mut values = fields.values.clone();
    for key in ["params", "model", "camera_id", "has_prior_focal_length"] {
        values.remove(key);
    }
    values.extend([
        ("fx".to_owned(), fx.into()),
        ("fy".to_owned(), fy.into()),
        ("cx".to_owned(), (cx - 0.5).into()),
        ("cy".to_owned(), (cy - 0.5).into()),
        ("distortion_model".to_owned(), model.into()),
        ("distortion_coefficients".to_owned(), d.into()),
    ]);
    let (info, mut doubts) = Fields { text: fields.text.clone(), values }.camera_info()?;
    doubts.push(
        "COLMAP counts pixels from their corners: cx and cy are half a pixel less here".into(),
    );
    Ok((info, doubts))
}

/// `{"0": {"cam_K": [...], "depth_scale": 0.1}, ...}`: a camera for each picture, without its size.
fn bop(values: &Map<String, Value>) -> Option<CameraInfoProblem> {
    let inner = values.values().find(|inner| inner.get("cam_K").is_some())?;
    let unit = inner.get("depth_scale").and_then(Value::as_f64).map(|mm| {
        // Thousandths of a short decimal number.
        let unit_m = (mm * 1e6).round() / 1e9;
        format!("; its depth_scale is --depth-unit-m {unit_m}")
    });
    Some(foreign(
        "BOP's scene_camera.json, with a camera for each picture and no size",
        &format!(
            "write its cam_K as camera_matrix into a file of its own, with image_width and \
             image_height{}",
            unit.unwrap_or_default()
        ),
    ))
}

/// What pyrealsense2 prints of intrinsics: `[ 640x480  p[cx cy]  f[fx fy]  Model [k1 ...] ]`, or, in
/// older releases, `width: 640, height: 480, ppx: ..., coeffs: [...]`.
fn pyrealsense(text: &str) -> Option<Map<String, Value>> {
    let line = text.trim();
    if line.starts_with("width:") && line.contains("ppx:") && line.lines().count() == 1 {
        let value: Value = serde_saphyr::from_str(&format!("{{{line}}}")).ok()?;
        return value.as_object().cloned();
    }
    let (size, rest) = line.strip_prefix('[')?.strip_suffix(']')?.split_once("p[")?;
    let (width, height) = size.trim().split_once('x')?;
    let (center, rest) = rest.split_once(']')?;
    let (focal, rest) = rest.trim().strip_prefix("f[")?.split_once(']')?;
    let (model, coefficients) = rest.trim().strip_suffix(']')?.split_once('[')?;
    let (cx, cy) = center.trim().split_once(' ')?;
    let (fx, fy) = focal.trim().split_once(' ')?;
    let coefficients: Vec<Value> = coefficients.split_whitespace().map(Value::from).collect();
    let mut values = Map::new();
    for (key, value) in [
        ("width", width),
        ("height", height),
        ("ppx", cx),
        ("ppy", cy),
        ("fx", fx),
        ("fy", fy),
        ("model", model),
    ] {
        values.insert(key.to_owned(), value.trim().into());
    }
    values.insert("coeffs".to_owned(), coefficients.into());
    values.insert("camera_name".to_owned(), "camera".into());
    Some(values)
}

/// Whether it says where a camera's rays are.
fn is_camera(values: &Map<String, Value>) -> bool {
    let [fx, fy, ..] = ONE_BY_ONE.map(|names| find_all(values, names).next().is_some());
    let matrix = find_all(values, MATRIX).next().is_some();
    let numbers = |value: &Value| data(value).is_some();
    matrix || (fx && fy) || find_all(values, INTRINSICS).any(|(_, value)| numbers(value))
}

/// A camera inside of a document, with what stands around it and the keys that lead in.
struct Inner<'a> {
    path: Vec<String>,
    values: &'a Map<String, Value>,
    around: Vec<(&'a Map<String, Value>, &'a str)>,
}

impl Inner<'_> {
    /// What stands further in counts.
    fn merged(&self) -> Map<String, Value> {
        let around = self.around.iter().flat_map(|(outer, within)| {
            outer.iter().filter(move |(key, _)| key.as_str() != *within)
        });
        around.chain(self.values).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// Deeper is nothing that a calibration tool writes.
const DEPTH_MAX: usize = 4;

fn inner_cameras<'a>(
    path: &[String],
    value: &'a Value,
    around: &[(&'a Map<String, Value>, &'a str)],
) -> Vec<Inner<'a>> {
    let below = |key: String| [path, &[key]].concat();
    match value {
        Value::Object(values) if is_camera(values) => {
            vec![Inner { path: path.to_vec(), values, around: around.to_vec() }]
        }
        _ if path.len() == DEPTH_MAX => Vec::new(),
        Value::Object(values) => {
            let inside = values.iter().flat_map(|(key, value)| {
                let around = [around, &[(values, key.as_str())]].concat();
                inner_cameras(&below(key.clone()), value, &around)
            });
            inside.collect()
        }
        Value::Array(items) => {
            let objects = items.iter().enumerate().filter(|(_, item)| !item.is_number());
            let inside = objects
                .flat_map(|(index, item)| inner_cameras(&below(index.to_string()), item, around));
            inside.collect()
        }
        _ => Vec::new(),
    }
}

/// One camera under a name, as Kalibr's chains and many scripts have it; of several none is taken.
fn inner_camera(fields: &Fields) -> Result<(CameraInfo, Vec<String>), CameraInfoProblem> {
    let whole = Value::Object(fields.values.clone());
    let found = inner_cameras(&[], &whole, &[]);
    let [inner] = &found[..] else {
        if found.is_empty() {
            return fields.camera_info();
        }
        let names: Vec<String> = found.iter().map(|inner| inner.path.join(".")).collect();
        let what = format!("a calibration of several cameras ({})", names.join(", "));
        return Err(foreign(&what, "copy the one that is meant into a file of its own"));
    };
    let mut values = inner.merged();
    let name = inner.path.iter().rev().find(|name| name.parse::<u32>().is_err());
    if let Some(name) = name.filter(|_| !values.contains_key("camera_name")) {
        values.insert("camera_name".into(), name.as_str().into());
    }
    Fields { text: fields.text.clone(), values }.camera_info()
}

/// `[[socket, {intrinsicMatrix, distortionCoeff, width, height}], ...]` of depthai.
fn oak(fields: &Fields) -> Result<(CameraInfo, Vec<String>), CameraInfoProblem> {
    let cameras = fields.values["cameraData"].as_array().map(Vec::as_slice).unwrap_or_default();
    let parts = |entry: &Value| {
        let entry = entry.as_array()?;
        let camera = entry.get(1)?.as_object()?.clone();
        let k = data(camera.get("intrinsicMatrix")?)?;
        (k.len() == 9 && k[0] > 0.0).then(|| (entry[0].to_string(), camera))
    };
    let found: Vec<_> = cameras.iter().filter_map(parts).collect();
    let side = |camera: &Map<String, Value>, key: &str| camera.get(key).and_then(pixels);
    let [(socket, values)] = &found[..] else {
        let sockets: Vec<_> = found
            .iter()
            .map(|(socket, camera)| {
                let [width, height] = ["width", "height"].map(|key| side(camera, key).unwrap_or(0));
                format!("{socket}: {width}x{height}")
            })
            .collect();
        return Err(foreign(
            &format!("an OAK's calibration of {} cameras ({})", found.len(), sockets.join(", ")),
            "leave the one that is meant in cameraData, or take the camera_info of its ROS driver",
        ));
    };
    let mut values = values.clone();
    let model = match side(&values, "cameraType") {
        Some(0) | None => "",
        Some(1) => "fisheye",
        Some(other) => {
            let model = other.to_string();
            return Err(CameraInfoProblem::Model { key: "cameraType".into(), model });
        }
    };
    if !values.contains_key("distortionCoeff") {
        let remedy = ": write [] for a lens without distortion";
        return Err(CameraInfoProblem::Missing { key: "distortionCoeff", remedy });
    }
    let matrix = values.remove("intrinsicMatrix").expect("it was read");
    values.remove("cameraType");
    values.extend([
        ("camera_matrix".to_owned(), matrix),
        ("distortion_model".to_owned(), model.into()),
        ("camera_name".to_owned(), format!("oak_{socket}").into()),
    ]);
    Fields { text: fields.text.clone(), values }.camera_info()
}

fn values_of<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim()).collect()
}

/// What `rs-enumerate-devices -c` prints of one stream; of several it is refused.
fn realsense_listing(text: &str) -> Result<(CameraInfo, Vec<String>), CameraInfoProblem> {
    let values_of = |key| values_of(text, key);
    let streams = values_of("PPX").len();
    if streams != 1 {
        return Err(foreign(
            &format!("RealSense's listing of {streams} streams"),
            "copy the one section \"Intrinsic of ...\" that is meant into a file of its own",
        ));
    }
    let value = |key: &'static str| {
        let found = values_of(key).first().copied();
        found.ok_or(CameraInfoProblem::Missing { key, remedy: " from RealSense's listing" })
    };
    let coefficients: Vec<Value> = value("Coeffs")?.split_whitespace().map(Value::from).collect();
    let mut values = Map::new();
    for (key, name) in [
        ("width", "Width"),
        ("height", "Height"),
        ("ppx", "PPX"),
        ("ppy", "PPY"),
        ("fx", "Fx"),
        ("fy", "Fy"),
        ("model", "Distortion"),
    ] {
        values.insert(key.to_owned(), value(name)?.into());
    }
    values.insert("coeffs".to_owned(), coefficients.into());
    values.insert("camera_name".to_owned(), "camera".into());
    Fields { text: text.to_owned(), values }.camera_info()
}

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
    lines()
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .filter(|line| of_colmap(line))?;
    Some(foreign("COLMAP's list of cameras", AS_ROS))
}

fn foreign(what: &str, remedy: &str) -> CameraInfoProblem {
    CameraInfoProblem::Foreign { what: what.to_owned(), remedy: remedy.to_owned() }
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

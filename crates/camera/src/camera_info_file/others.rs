//! Calibrations as Kalibr, RealSense, OAK and others have them: read where one camera is meant, and
//! named where it is not.

use magpie_perception::{CameraInfo, Distortion, Intrinsics};
use serde_json::{Map, Value};

use super::fields::{Fields, data, intrinsics, pixels};
use super::problem::CameraInfoProblem;

const AS_ROS: &str = "write the one camera that is meant as a camera_info of ROS";

/// `None` for the files and messages of ROS and OpenCV.
pub(super) fn read(text: &str) -> Result<Option<CameraInfo>, CameraInfoProblem> {
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
        return realsense_listing(text).map(Some);
    }
    let Ok(fields) = Fields::parse(text) else { return Ok(None) };
    let values = &fields.values;
    let has = |key: &str| values.contains_key(key);
    let has_all = |keys: &[&str]| keys.iter().all(|key| has(key));
    if values.keys().any(|key| key.starts_with("cam") && values[key].get("intrinsics").is_some()) {
        return kalibr_chain(values).map(Some);
    }
    if has_all(&["intrinsics", "resolution"]) {
        return kalibr_camera("", values).map(Some);
    }
    if has("cameraData") {
        return oak(&values["cameraData"]).map(Some);
    }
    if has_all(&["fx", "fy", "width", "height"]) {
        return realsense_intrinsics(values).map(Some);
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
    ];
    match names.into_iter().find(|(is, ..)| *is) {
        Some((_, what, remedy)) => Err(foreign(what, remedy)),
        None => Ok(None),
    }
}

fn foreign(what: &str, remedy: &str) -> CameraInfoProblem {
    CameraInfoProblem::Foreign { what: what.to_owned(), remedy: remedy.to_owned() }
}

fn camera(
    name: &str,
    [width_px, height_px]: [u32; 2],
    intrinsics: Intrinsics,
    distortion: Distortion,
) -> Result<CameraInfo, CameraInfoProblem> {
    if width_px == 0 || height_px == 0 {
        return Err(CameraInfoProblem::ImageSize { width_px, height_px });
    }
    let Intrinsics { fx_px, fy_px, cx_px, cy_px } = intrinsics;
    if ![fx_px, fy_px, cx_px, cy_px].iter().all(|value| value.is_finite()) {
        return Err(CameraInfoProblem::NotFinite { key: "the intrinsics" });
    }
    if !(fx_px > 0.0 && fy_px > 0.0) {
        return Err(CameraInfoProblem::NotCalibrated { fx_px, fy_px });
    }
    Ok(CameraInfo {
        camera_name: name.to_owned(),
        frame_id: format!("{name}_optical_frame"),
        width_px,
        height_px,
        intrinsics,
        distortion,
    })
}

fn list(values: &Map<String, Value>, key: &'static str) -> Result<Vec<f64>, CameraInfoProblem> {
    let numbers = values.get(key).map_or(Some(Vec::new()), data);
    numbers.ok_or_else(|| CameraInfoProblem::Value {
        line: 1,
        key: key.to_owned(),
        expected: "a list of numbers",
    })
}

/// `cam0: {camera_model, intrinsics, resolution, ...}`, one for each camera.
fn kalibr_chain(values: &Map<String, Value>) -> Result<CameraInfo, CameraInfoProblem> {
    let cameras: Vec<_> =
        values.iter().filter(|(_, value)| value.get("intrinsics").is_some()).collect();
    match cameras[..] {
        [(name, Value::Object(camera))] => kalibr_camera(name, camera),
        _ => {
            let names: Vec<&str> = cameras.iter().map(|(name, _)| name.as_str()).collect();
            let what = format!("Kalibr's chain of several cameras ({})", names.join(", "));
            Err(foreign(&what, "copy the one that is meant into a file of its own"))
        }
    }
}

/// Also a camera of the EuRoC data set, which is written alike.
fn kalibr_camera(name: &str, values: &Map<String, Value>) -> Result<CameraInfo, CameraInfoProblem> {
    let text = |key: &str| values.get(key).and_then(Value::as_str).unwrap_or_default();
    let model = text("camera_model");
    if !["pinhole", ""].contains(&model) {
        return Err(foreign(
            &format!("a {model:?} camera of Kalibr"),
            "only its pinhole cameras are computed with: calibrate as pinhole-radtan, or as \
             pinhole-equi for a fisheye lens",
        ));
    }
    let [fx_px, fy_px, cx_px, cy_px] = list(values, "intrinsics")?[..] else {
        return Err(CameraInfoProblem::Value {
            line: 1,
            key: "intrinsics".into(),
            expected: "fu, fv, pu, pv of a pinhole camera",
        });
    };
    let size = values.get("resolution").and_then(Value::as_array).map(Vec::as_slice);
    let Some([width, height]) = size else {
        return Err(CameraInfoProblem::Missing { key: "resolution", remedy: ": [width, height]" });
    };
    let size = [width, height].map(|side| pixels(side).unwrap_or(0));
    let key = if values.contains_key("distortion_coeffs") {
        "distortion_coeffs"
    } else {
        "distortion_coefficients"
    };
    let lens = Distortion::named(text("distortion_model"), &list(values, key)?)?;
    let name = if name.is_empty() { "camera" } else { name };
    camera(name, size, Intrinsics { fx_px, fy_px, cx_px, cy_px }, lens)
}

/// `[[socket, {intrinsicMatrix, distortionCoeff, width, height}], ...]` of depthai.
fn oak(cameras: &Value) -> Result<CameraInfo, CameraInfoProblem> {
    let cameras = cameras.as_array().map(Vec::as_slice).unwrap_or_default();
    let parts = |entry: &Value| {
        let entry = entry.as_array()?;
        let camera = entry.get(1)?.as_object()?.clone();
        let k = data(camera.get("intrinsicMatrix")?)?;
        (k.len() == 9 && k[0] > 0.0).then(|| (entry[0].to_string(), k, camera))
    };
    let found: Vec<_> = cameras.iter().filter_map(parts).collect();
    let side = |camera: &Map<String, Value>, key: &str| camera.get(key).and_then(pixels);
    let [(socket, k, values)] = &found[..] else {
        let sockets: Vec<_> = found
            .iter()
            .map(|(socket, _, camera)| {
                let [width, height] = ["width", "height"].map(|key| side(camera, key).unwrap_or(0));
                format!("{socket}: {width}x{height}")
            })
            .collect();
        return Err(foreign(
            &format!("an OAK's calibration of {} cameras ({})", found.len(), sockets.join(", ")),
            "leave the one that is meant in cameraData, or take the camera_info of its ROS driver",
        ));
    };
    let fisheye = side(values, "cameraType") == Some(1);
    let model = if fisheye { "fisheye" } else { "" };
    let lens = Distortion::named(model, &list(values, "distortionCoeff")?)?;
    let size = ["width", "height"].map(|key| side(values, key).unwrap_or(0));
    camera(&format!("oak_{socket}"), size, intrinsics(k)?, lens)
}

/// The fields of librealsense's `intrinsics`.
fn realsense_intrinsics(values: &Map<String, Value>) -> Result<CameraInfo, CameraInfoProblem> {
    let number = |keys: [&'static str; 2]| {
        let found = keys.iter().find_map(|key| values.get(*key)?.as_f64());
        found.ok_or(CameraInfoProblem::Missing { key: keys[0], remedy: "" })
    };
    let intrinsics = Intrinsics {
        fx_px: number(["fx", "fx"])?,
        fy_px: number(["fy", "fy"])?,
        cx_px: number(["ppx", "cx"])?,
        cy_px: number(["ppy", "cy"])?,
    };
    let model = values.get("model").and_then(Value::as_str).unwrap_or_default();
    let size = ["width", "height"].map(|key| values.get(key).and_then(pixels).unwrap_or(0));
    camera("camera", size, intrinsics, Distortion::named(model, &list(values, "coeffs")?)?)
}

fn values_of<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim()).collect()
}

/// What `rs-enumerate-devices -c` prints of one stream; of several it is refused.
fn realsense_listing(text: &str) -> Result<CameraInfo, CameraInfoProblem> {
    let values_of = |key| values_of(text, key);
    let streams = values_of("PPX").len();
    if streams != 1 {
        return Err(foreign(
            &format!("RealSense's listing of {streams} streams"),
            "copy the one section \"Intrinsic of ...\" that is meant into a file of its own",
        ));
    }
    let number = |key: &'static str| {
        let found = values_of(key).first().and_then(|value| value.parse::<f64>().ok());
        found.ok_or(CameraInfoProblem::Missing { key, remedy: " from RealSense's listing" })
    };
    let side = |key: &'static str| number(key).map(|side| pixels(&side.into()).unwrap_or(0));
    let intrinsics = Intrinsics {
        fx_px: number("Fx")?,
        fy_px: number("Fy")?,
        cx_px: number("PPX")?,
        cy_px: number("PPY")?,
    };
    let coefficients = values_of("Coeffs").first().copied().unwrap_or_default();
    let d: Result<Vec<f64>, _> = coefficients.split_whitespace().map(str::parse).collect();
    let d = d.map_err(|_| CameraInfoProblem::Value {
        line: 1,
        key: "Coeffs".into(),
        expected: "a list of numbers",
    })?;
    let model = values_of("Distortion").first().copied().unwrap_or_default();
    camera("camera", [side("Width")?, side("Height")?], intrinsics, Distortion::named(model, &d)?)
}

//! Poses as people and controllers write them.
//!
//! | written | means |
//! |---|---|
//! | `[[r, r, r, x], [r, r, r, y], [r, r, r, z], [0, 0, 0, 1]]`, or its 16 numbers in a row; without the last row 12 | matrix, row by row |
//! | `"pose.txt"` | a file with such numbers, or with JSON; lines that begin with `#` are comments |
//! | `{"rotation_vector": [...], "translation": [...]}`, also `rvec` and `tvec` | axis times angle |
//! | `{"R": [[3x3]], "t": [...]}`, also `rotation` and `translation` | rotation matrix |
//! | `{"quaternion_xyzw": [...], "translation": [...]}`, or `quaternion_wxyz` | quaternion |
//! | `{"position": {"x": ...}, "orientation": {"x": ..., "w": ...}}`, also `translation` and `rotation` | ROS's messages |
//! | `{"rpy": [...], "translation": [...]}`, `{"euler_ZYX": [...], ...}` | Euler angles of an order |
//! | `[x, y, z, rx, ry, rz]` | translation, then rotation vector, as UR controllers have it; Euler angles if an order was given |
//! | a file in YAML | Zivid's matrix, a matrix of OpenCV's FileStorage, or a pose or transform of ROS |

use std::path::Path;

use magpie_camera::calibrate::{EulerOrder, RawPose};
use magpie_perception::nearest_rotation;
use nalgebra::{Isometry3, Matrix3, Quaternion, UnitQuaternion, Vector3};
use serde_json::{Map, Value};

/// Units of what is read.
#[derive(Clone, Copy, Debug)]
pub struct Units {
    pub length_m: f64,
    pub angle_rad: f64,
    /// How three angles beside a translation turn; `None` for a rotation vector.
    pub euler: Option<EulerOrder>,
}

impl Units {
    pub const SI: Units = Units { length_m: 1.0, angle_rad: 1.0, euler: None };
}

/// Lengths by their names, in metres.
pub const LENGTHS: [(&str, f64); 4] = [("m", 1.0), ("mm", 0.001), ("cm", 0.01), ("in", 0.0254)];
/// Angles by their names, in radians.
pub const ANGLES: [(&str, f64); 2] = [("rad", 1.0), ("deg", std::f64::consts::PI / 180.0)];

/// Digits that a printed rotation matrix may lack.
const ROTATION_OFF_MAX: f64 = 5e-3;

/// `folder` is where relative paths begin. An error says what is wrong in a few words.
pub fn read(value: &Value, units: Units, folder: &Path) -> Result<RawPose, String> {
    match value {
        Value::String(path) => read_file(&folder.join(path), units),
        Value::Array(_) => from_numbers(&flatten(value)?, units),
        Value::Object(fields) => from_object(fields, units),
        _ => Err("must be a 4x4 matrix, an object, or the path of a file".into()),
    }
}

const NUMPY: &str = "it is NumPy's own format: write its 16 numbers as text, by numpy.savetxt";
const XML: &str = "it is XML, as OpenCV's FileStorage writes into a file whose name ends in .xml; write \
                   it as .yaml, or its 16 numbers as text";

/// A text file with the numbers of a pose, or JSON.
pub fn read_file(path: &Path, units: Units) -> Result<RawPose, String> {
    let within = |why: String| format!("pose {}: {why}", path.display());
    let text = magpie_files::read_text(path, magpie_files::TEXT_BYTES_MAX).map_err(|error| {
        let start = magpie_files::read(path, magpie_files::TEXT_BYTES_MAX).unwrap_or_default();
        match start[..] {
            [0x93, b'N', b'U', b'M', ..] | [b'P', b'K', ..] => within(NUMPY.to_owned()),
            _ => format!("read the pose {}: {error}", path.display()),
        }
    })?;
    parse(&text, units).map_err(within)
}

/// The text of such a file. It names no other file.
pub fn parse(text: &str, units: Units) -> Result<RawPose, String> {
    let text = without_mark(text);
    if text.trim_start().starts_with('<') {
        return Err(XML.to_owned());
    }
    let lines = || text.lines().filter(|line| !is_comment(line));
    match serde_json::from_str::<Value>(&lines().collect::<Vec<_>>().join("\n")) {
        Ok(Value::Array(items)) => from_numbers(&flatten(&Value::Array(items))?, units),
        Ok(Value::Object(fields)) => from_object(&fields, units),
        // Numbers alone have no colon.
        _ if lines().any(|line| line.contains(':')) => from_yaml(text, units),
        _ => from_text(text, units),
    }
}

/// A document of YAML. OpenCV begins with a directive that is none, and tags its matrices.
fn from_yaml(text: &str, units: Units) -> Result<RawPose, String> {
    let lines = text.lines().filter(|line| !line.starts_with('%'));
    let lines = lines.skip_while(|line| line.trim() == "---" || line.trim().is_empty());
    let document: Vec<&str> = lines.take_while(|line| line.trim_end() != "---").collect();
    let yaml = document.join("\n").replace("!!opencv-matrix", "");
    let value: Value = serde_saphyr::from_str(&yaml).map_err(|error| {
        let why = error.to_string().lines().next().unwrap_or_default().to_owned();
        format!("neither numbers nor JSON nor YAML: {why}")
    })?;
    let Value::Object(fields) = &value else { return Err("it holds no pose".into()) };
    // Zivid's lengths are millimetres, whatever the rest is written in.
    let zivid = Units { length_m: 0.001, ..units };
    if let Some(data) = fields.get("FloatMatrix").and_then(|matrix| matrix.get("Data")) {
        return from_matrix(&flatten(data)?, zivid);
    }
    if let Some(data) = fields.get("PoseState").and_then(|matrix| matrix.get("data")) {
        return from_matrix(&flatten(data)?, zivid);
    }
    if let Some(calibration) = of_easy_handeye(fields) {
        return Err(calibration);
    }
    // `PoseStamped` and `TransformStamped` of ROS.
    if let Some(Value::Object(inner)) = fields.get("pose").or_else(|| fields.get("transform")) {
        return from_object(inner, units);
    }
    let matrices: Vec<&Value> = fields.values().filter_map(|matrix| matrix.get("data")).collect();
    match matrices[..] {
        [data] => from_matrix(&flatten(data)?, units),
        [] => from_object(fields, units),
        _ => Err(format!("it holds {} matrices; one is a pose", matrices.len())),
    }
}

/// Says what to do with the file that easy_handeye writes: a result, in a frame of its own.
pub(super) fn of_easy_handeye(fields: &Map<String, Value>) -> Option<String> {
    let text = |key: &str| {
        let inner = fields.get("parameters").and_then(|inner| inner.get(key));
        fields.get(key).or(inner).and_then(Value::as_str).unwrap_or("?").to_owned()
    };
    let has_pose = fields.contains_key("transformation") || fields.contains_key("transform");
    (has_pose && text("tracking_base_frame") != "?").then(|| {
        format!(
            "it is a calibration of easy_handeye: where {} is, seen from {} or {}. If that is the \
             camera's optical frame, write its transform as gripper_from_camera or base_from_camera \
             into a file like calibration/hand_eye.yaml; else run `magpie calibrate hand-eye` on the \
             arm's and the board's poses",
            text("tracking_base_frame"),
            text("robot_effector_frame"),
            text("robot_base_frame")
        )
    })
}

/// Some editors begin a file with a byte order mark.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

pub fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

fn from_text(text: &str, units: Units) -> Result<RawPose, String> {
    let mut numbers: Vec<f64> = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !is_comment(line)) {
        // UR's controllers write `p[...]`.
        let line = line.trim_start().strip_prefix("p[").unwrap_or(line);
        let words = line.split(|c: char| c.is_whitespace() || ",;[]()".contains(c));
        for word in words.filter(|word| !word.is_empty()) {
            let number = word.parse().ok().filter(|number: &f64| number.is_finite());
            numbers.push(number.ok_or_else(|| {
                let line = index + 1;
                format!("line {line}: {word:?} is no finite number; it must hold numbers or JSON")
            })?);
        }
    }
    from_numbers(&numbers, units)
}

fn from_numbers(numbers: &[f64], units: Units) -> Result<RawPose, String> {
    match *numbers {
        [x, y, z, rx, ry, rz] => match units.euler {
            Some(order) => Ok(from_euler([x, y, z], [rx, ry, rz], order, units)),
            None => Ok(from_rotation_vector([x, y, z], [rx, ry, rz], units)),
        },
        [_, _, _, _, _, _, _, _] => Err(format!(
            "8 numbers are a stamp, a place and a quaternion, as in ethz-asl's CSV and in trajectories \
             of TUM; write \"translation\": [x, y, z] and \"quaternion_xyzw\": [qx, qy, qz, qw] \
             instead ({ALTERNATIVES})"
        )),
        [_, _, _, _, _, _, _] => Err(format!(
            "7 numbers do not say where the quaternion has its w; write {ALTERNATIVES} beside \
             \"translation\""
        )),
        _ => from_matrix(numbers, units),
    }
}

const ALTERNATIVES: &str = "\"quaternion_xyzw\" (ROS) or \"quaternion_wxyz\"";

/// Anything else may change what the pose means, such as a unit.
fn from_object(fields: &Map<String, Value>, units: Units) -> Result<RawPose, String> {
    let is_translation = |key: &str| ["translation", "tvec", "t", "position"].contains(&key);
    let (places, rotations): (Vec<_>, Vec<_>) =
        fields.iter().partition(|(key, _)| is_translation(key));
    let ([(_, place)], [(key, rotation)]) = (&places[..], &rotations[..]) else {
        let keys = fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        return Err(format!(
            "an object pose needs one \"translation\" and one rotation, such as \
             \"rotation_vector\" or {ALTERNATIVES}, and nothing else; it has {keys}"
        ));
    };
    let place: [f64; 3] = numbers(&named(place, ["x", "y", "z"])?)?;
    if ["rotation_vector", "rvec"].contains(&key.as_str()) {
        return Ok(from_rotation_vector(place, numbers(rotation)?, units));
    }
    if let Some(order) = euler_order(key)? {
        return Ok(from_euler(place, numbers(rotation)?, order, units));
    }
    let rotation = match (key.as_str(), rotation) {
        ("quaternion_xyzw", _) => from_quaternion(numbers(rotation)?)?,
        ("quaternion_wxyz", _) => {
            let [w, x, y, z] = numbers(rotation)?;
            from_quaternion([x, y, z, w])?
        }
        ("quaternion" | "orientation" | "rotation", Value::Object(_)) => {
            from_quaternion(numbers(&named(rotation, ["x", "y", "z", "w"])?)?)?
        }
        ("quaternion" | "orientation", _) => {
            return Err(format!("{key:?} does not say where w is; write {ALTERNATIVES}"));
        }
        ("R" | "rotation" | "rotation_matrix", _) => {
            let found = flatten(rotation)?;
            let Ok(matrix) = <[f64; 9]>::try_from(found) else {
                return Err(format!(
                    "{key:?} must be a 3x3 matrix; write others as \"rotation_vector\", \
                     {ALTERNATIVES}"
                ));
            };
            rotation_of(&Matrix3::from_row_slice(&matrix))?
        }
        _ => {
            return Err(format!(
                "{key:?} is no rotation; \"rotation_vector\", \"R\", {ALTERNATIVES} are"
            ));
        }
    };
    let place = Vector3::from(place) * units.length_m;
    Ok(Isometry3::from_parts(place.into(), rotation).into())
}

/// The order that the key of Euler angles names; `None` for other keys.
fn euler_order(key: &str) -> Result<Option<EulerOrder>, String> {
    match key.strip_prefix("euler_") {
        Some(order) => order.parse().map(Some),
        None if key == "rpy" => Ok(Some("xyz".parse().expect("roll, pitch, yaw"))),
        None if ["euler", "euler_angles", "angles"].contains(&key) => Err(format!(
            "{key:?} does not say in which order; write \"rpy\" for roll, pitch, yaw about fixed \
             axes, or the order, such as \"euler_ZYX\""
        )),
        None => Ok(None),
    }
}

/// ROS's `{"x": ..., "y": ...}` as a list; a list is left as it is.
fn named<const N: usize>(value: &Value, names: [&str; N]) -> Result<Value, String> {
    let Value::Object(fields) = value else { return Ok(value.clone()) };
    let found: Option<Vec<Value>> = names.iter().map(|name| fields.get(*name).cloned()).collect();
    let found = found.filter(|_| fields.len() == N);
    found.map(Value::Array).ok_or_else(|| format!("{value} must have {}", names.join(", ")))
}

fn numbers<const N: usize>(value: &Value) -> Result<[f64; N], String> {
    let found = flatten(value)?;
    let count = found.len();
    found.try_into().map_err(|_| format!("{N} numbers are needed, {count} were found"))
}

fn flatten(value: &Value) -> Result<Vec<f64>, String> {
    match value {
        Value::Array(items) => {
            let parts: Result<Vec<_>, _> = items.iter().map(flatten).collect();
            Ok(parts?.concat())
        }
        Value::Number(number) => {
            let number = number.as_f64().filter(|number| number.is_finite());
            Ok(vec![number.ok_or("a number is out of range")?])
        }
        other => Err(format!("{other} is not a number")),
    }
}

fn from_rotation_vector(translation: [f64; 3], rotation: [f64; 3], units: Units) -> RawPose {
    let rotation_vector = Vector3::from(rotation) * units.angle_rad;
    let translation = Vector3::from(translation) * units.length_m;
    RawPose {
        pose: Isometry3::new(translation, rotation_vector),
        rotation_vector: Some(rotation_vector),
    }
}

fn from_euler(place: [f64; 3], angles: [f64; 3], order: EulerOrder, units: Units) -> RawPose {
    let rotation = order.rotation(&(Vector3::from(angles) * units.angle_rad));
    let place = Vector3::from(place) * units.length_m;
    Isometry3::from_parts(place.into(), rotation).into()
}

fn from_quaternion([x, y, z, w]: [f64; 4]) -> Result<UnitQuaternion<f64>, String> {
    let quaternion = Quaternion::new(w, x, y, z);
    if (quaternion.norm() - 1.0).abs() > ROTATION_OFF_MAX {
        return Err(format!("the quaternion has length {:.4}, not 1", quaternion.norm()));
    }
    Ok(UnitQuaternion::new_normalize(quaternion))
}

/// Row by row, with its last row or without.
fn from_matrix(numbers: &[f64], units: Units) -> Result<RawPose, String> {
    let (upper, last_row) = match numbers.len() {
        12 => (numbers, None),
        16 => (&numbers[..12], Some(&numbers[12..])),
        count => {
            return Err(format!(
                "a 4x4 matrix has 16 numbers, a 3x4 matrix 12, a translation with a rotation vector \
                 6; {count} were found"
            ));
        }
    };
    let place = Vector3::new(upper[3], upper[7], upper[11]);
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6;
    if last_row.is_some_and(|row| !row.iter().zip(&[0.0, 0.0, 0.0, 1.0]).all(near)) {
        return Err(if place.iter().zip(&[0.0; 3]).all(near) {
            "the matrix is transposed: the translation belongs into the last column".into()
        } else {
            "the last row of a pose must be 0 0 0 1".into()
        });
    }
    let rotation = Matrix3::from_fn(|row, column| upper[4 * row + column]);
    let rotation = rotation_of(&rotation).map_err(|why| format!("its upper left 3x3 {why}"))?;
    Ok(Isometry3::from_parts((place * units.length_m).into(), rotation).into())
}

fn rotation_of(matrix: &Matrix3<f64>) -> Result<UnitQuaternion<f64>, String> {
    let off = (matrix * matrix.transpose() - Matrix3::identity()).norm();
    if off > ROTATION_OFF_MAX || !off.is_finite() {
        return Err(format!("is no rotation: its rows are off by {off:.4}"));
    }
    nearest_rotation(matrix)
        .ok_or_else(|| "is a mirror, not a rotation: an axis is reversed".into())
}

/// Row by row.
pub fn rows(pose: &Isometry3<f64>) -> [[f64; 4]; 4] {
    let matrix = pose.to_homogeneous();
    std::array::from_fn(|row| std::array::from_fn(|column| matrix[(row, column)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const METRES: Units = Units::SI;

    fn check(value: Value, units: Units) {
        let pose = read(&value, units, Path::new(".")).unwrap().pose;
        let truth = Isometry3::new(Vector3::new(0.1, -0.2, 0.3), Vector3::new(0.0, 0.0, 0.5));
        assert!((pose.to_homogeneous() - truth.to_homogeneous()).norm() < 1e-3, "{value}: {pose}");
    }

    fn check_refused(value: Value, expected: &str) {
        let why = read(&value, METRES, Path::new(".")).unwrap_err();
        assert!(why.contains(expected), "{why}");
    }

    #[test]
    fn files_of_other_programs_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).unwrap();
            read(&json!(name), METRES, folder.path()).unwrap_err()
        };
        assert!(refused("p.npy", b"\x93NUMPY\x01\x00v\x00{'descr'").contains("numpy.savetxt"));
        assert!(refused("p.npz", b"PK\x03\x04\xff").contains("numpy.savetxt"));
        assert!(refused("p.xml", b"<?xml version=\"1.0\"?>\n").contains("it is XML"));
    }

    #[test]
    fn a_pose_may_be_written_in_many_ways() {
        let (c, s) = (0.8776, 0.4794);
        let rows = json!([[c, -s, 0, 0.1], [s, c, 0, -0.2], [0, 0, 1, 0.3], [0, 0, 0, 1]]);
        check(rows.clone(), METRES);
        check(json!(flatten(&rows).unwrap()), METRES);
        check(json!([0.1, -0.2, 0.3, 0, 0, 0.5]), METRES);
        check(json!({"rotation_vector": [0, 0, 0.5], "translation": [0.1, -0.2, 0.3]}), METRES);
        check(json!({"rvec": [[0], [0], [0.5]], "tvec": [[0.1], [-0.2], [0.3]]}), METRES);
        let quaternion = json!([0, 0, 0.247_404, 0.968_912]);
        check(json!({"quaternion_xyzw": quaternion, "translation": [0.1, -0.2, 0.3]}), METRES);
        let quaternion = json!([0.968_912, 0, 0, 0.247_404]);
        check(json!({"quaternion_wxyz": quaternion, "translation": [0.1, -0.2, 0.3]}), METRES);
        let (x, y, z) = (0.1, -0.2, 0.3);
        let position = json!({"x": x, "y": y, "z": z});
        let orientation = json!({"x": 0, "y": 0, "z": 0.247_404, "w": 0.968_912});
        check(json!({"position": position, "orientation": orientation}), METRES);
        check(json!({"translation": position, "rotation": orientation}), METRES);
        let matrix = json!([[c, -s, 0], [s, c, 0], [0, 0, 1]]);
        check(json!({"R": matrix, "t": [[x], [y], [z]]}), METRES);
        check(json!({"rotation": matrix, "translation": [x, y, z]}), METRES);
        check(json!([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z]]), METRES);
        let units = Units { length_m: 1e-3, angle_rad: 1.0_f64.to_radians(), euler: None };
        check(json!([100, -200, 300, 0, 0, 28.6479]), units);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pose.txt");
        std::fs::write(&path, format!("{c} {} 0 0.1\n{s} {c} 0 -0.2\n0 0 1 0.3\n0 0 0 1\n", -s))
            .unwrap();
        check(json!(path), METRES);
        let header = "\u{feff}# x y z, rotation vector\r\n0.1 -0.2 0.3\n  # radians\n0 0 0.5\n";
        std::fs::write(&path, header).unwrap();
        check(json!(path), METRES);
        std::fs::write(&path, "# from the arm\n[0.1, -0.2, 0.3, 0, 0, 0.5]\n").unwrap();
        check(json!(path), METRES);
    }

    #[test]
    fn euler_angles_are_read_in_the_order_that_was_given() {
        let degrees = |order: &str| Units {
            length_m: 1e-3,
            angle_rad: 1.0_f64.to_radians(),
            euler: Some(order.parse().unwrap()),
        };
        // Half a radian about z, in the third place or in the first.
        check(json!([100, -200, 300, 0, 0, 28.6479]), degrees("xyz"));
        check(json!([100, -200, 300, 28.6479, 0, 0]), degrees("ZYX"));
        check(json!({"rpy": [0, 0, 0.5], "translation": [0.1, -0.2, 0.3]}), METRES);
        check(json!({"euler_ZYX": [0.5, 0, 0], "translation": [0.1, -0.2, 0.3]}), METRES);
        let why = "euler_ZYX";
        check_refused(json!({"euler": [0, 0, 0.5], "translation": [0, 0, 0]}), why);
        check_refused(json!({"euler_abc": [0, 0, 0.5], "translation": [0, 0, 0]}), "no order");
    }

    #[test]
    fn pose_files_of_zivid_opencv_and_ros_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let check_file = |text: &str| {
            std::fs::write(folder.path().join("pose.yaml"), text).unwrap();
            let truth = Isometry3::new(Vector3::new(0.1, -0.2, 0.3), Vector3::new(0.0, 0.0, 0.5));
            let pose = read(&json!("pose.yaml"), METRES, folder.path()).unwrap().pose;
            assert!((pose.to_homogeneous() - truth.to_homogeneous()).norm() < 1e-3, "{pose}");
        };
        let rows =
            "[0.8776, -0.4794, 0, 100], [0.4794, 0.8776, 0, -200], [0, 0, 1, 300], [0, 0, 0, 1]";
        check_file(&format!(
            "__version__:\n  serializer: 1\n  data: 1\nFloatMatrix:\n  Data: [{rows}]\n"
        ));
        let flat = rows.replace(['[', ']'], "");
        let matrix =
            format!("!!opencv-matrix\n   rows: 4\n   cols: 4\n   dt: d\n   data: [ {flat} ]\n");
        check_file(&format!("%YAML:1.0\n---\nPoseState: {matrix}"));
        let metres = matrix.replace("100", "0.1").replace("-200", "-0.2").replace("300", "0.3");
        check_file(&format!("%YAML:1.0\n---\nT: {metres}"));
        let place = "{x: 0.1, y: -0.2, z: 0.3}";
        let turn = "{x: 0.0, y: 0.0, z: 0.247404, w: 0.968912}";
        check_file(&format!(
            "header:\n  frame_id: base\npose:\n  position: {place}\n  orientation: {turn}\n---\n"
        ));
        check_file(&format!("transform:\n  translation: {place}\n  rotation: {turn}\n"));
        check_file("p[0.1, -0.2, 0.3, 0, 0, 0.5]\n".trim());
        let easy = "parameters:\n  eye_on_hand: true\n  robot_effector_frame: tool0\n  \
                    tracking_base_frame: camera_link\ntransformation: {qw: 1.0, x: 0.1}\n";
        std::fs::write(folder.path().join("pose.yaml"), easy).unwrap();
        let why = read(&json!("pose.yaml"), METRES, folder.path()).unwrap_err();
        assert!(why.contains("easy_handeye: where camera_link is"), "{why}");
        check_refused(json!([1.5, 0, 0, 0, 0, 0, 0, 1]), "ethz-asl");
    }

    #[test]
    fn a_text_is_read_as_its_file_would_be_and_names_no_file() {
        let truth = Isometry3::new(Vector3::new(0.1, -0.2, 0.3), Vector3::new(0.0, 0.0, 0.5));
        for text in [
            "0.1, -0.2, 0.3, 0, 0, 0.5",
            "p[0.1, -0.2, 0.3, 0, 0, 0.5]",
            "[0.1, -0.2, 0.3, 0, 0, 0.5]",
            "# pendant\n0.1 -0.2 0.3\n0 0 0.5",
            "{\"translation\": [0.1, -0.2, 0.3], \"rvec\": [0, 0, 0.5]}",
            "translation: [0.1, -0.2, 0.3]\nrvec: [0, 0, 0.5]",
        ] {
            let pose = parse(text, METRES).unwrap_or_else(|why| panic!("{text}: {why}")).pose;
            assert!((pose.to_homogeneous() - truth.to_homogeneous()).norm() < 1e-9, "{text}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pose.txt");
        std::fs::write(&path, "0.1 -0.2 0.3 0 0 0.5").unwrap();
        for text in [format!("{}", path.display()), format!("{:?}", path), String::new()] {
            assert!(parse(&text, METRES).is_err(), "{text}");
        }
    }

    #[test]
    fn a_half_turn_is_read_as_one() {
        for (x, y) in [(-1, 1), (1, -1)] {
            let pose = json!([[x, 0, 0, 0.1], [0, y, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]]);
            let found = read(&pose, METRES, Path::new(".")).unwrap().pose * Vector3::x();
            assert!((found - Vector3::x() * f64::from(x)).norm() < 1e-9, "{pose}: {found}");
        }
    }

    #[test]
    fn a_number_of_a_text_file_that_is_none_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        for word in ["nan", "inf", "-inf", "x"] {
            let text = format!("# arm\n1 0 0 0.1\n0 1 0 {word}\n0 0 1 0\n0 0 0 1\n");
            std::fs::write(folder.path().join("pose.txt"), text).unwrap();
            let why = read(&json!("pose.txt"), METRES, folder.path()).unwrap_err();
            assert!(why.contains(&format!("line 3: {word:?} is no finite number")), "{why}");
        }
    }

    #[test]
    fn what_is_no_pose_is_refused_by_what_is_wrong() {
        check_refused(json!([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1]]), "11 were found");
        check_refused(json!([0, 0, 0, 0, 0, 0, 1]), "quaternion_wxyz");
        check_refused(json!({"translation": [0, 0, 0], "quaternion": [0, 0, 0, 1]}), "where w is");
        check_refused(json!({"translation": [0, 0, 0], "rotation": [0, 0, 0]}), "rotation_vector");
        check_refused(json!({"t": [0, 0, 0], "rvec": [0, 0, 0], "unit": "mm"}), "rvec, t, unit");
        check_refused(json!({"t": {"x": 0, "y": 0}, "rvec": [0, 0, 0]}), "must have x, y, z");
        check_refused(
            json!([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.1, 0.2, 0.3, 1]]),
            "transposed",
        );
        check_refused(
            json!([[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
            "no rotation",
        );
        check_refused(json!([[-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "mirror");
        check_refused(json!("nowhere.txt"), "nowhere.txt");
        check_refused(json!({"translation": [0, 0, 0]}), "rotation_vector");
        check_refused(json!(["a"]), "not a number");
    }
}

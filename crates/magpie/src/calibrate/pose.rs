//! Poses as people and controllers write them.
//!
//! | written | means |
//! |---|---|
//! | `[[r, r, r, x], [r, r, r, y], [r, r, r, z], [0, 0, 0, 1]]`, or its 16 numbers in a row | 4x4 matrix, row by row |
//! | `"pose.txt"` | a file with those 16 numbers, or with JSON |
//! | `{"rotation_vector": [...], "translation": [...]}`, also `rvec` and `tvec` | axis times angle |
//! | `{"quaternion_xyzw": [...], "translation": [...]}` | ROS's order |
//! | `[x, y, z, rx, ry, rz]` | translation, then rotation vector, as UR controllers have it |

use std::path::Path;

use magpie_camera::calibrate::RawPose;
use nalgebra::{Isometry3, Matrix3, Quaternion, Rotation3, Translation3, UnitQuaternion, Vector3};
use serde_json::Value;

/// Units of what is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Units {
    pub(super) length_m: f64,
    pub(super) angle_rad: f64,
}

/// Digits that a printed rotation matrix may lack.
const ROTATION_OFF_MAX: f64 = 5e-3;

/// `folder` is where relative paths begin. An error says what is wrong in a few words.
pub(super) fn read(value: &Value, units: Units, folder: &Path) -> Result<RawPose, String> {
    match value {
        Value::String(path) => read_file(&folder.join(path), units),
        Value::Array(items) if items.len() == 6 && items.iter().all(Value::is_number) => {
            let [x, y, z, rx, ry, rz] = numbers(value)?;
            Ok(from_rotation_vector([x, y, z], [rx, ry, rz], units))
        }
        Value::Array(_) => from_matrix(flatten(value)?, units),
        Value::Object(fields) => {
            let field = |names: &[&str]| names.iter().find_map(|name| fields.get(*name));
            let translation = field(&["translation", "tvec"])
                .ok_or("an object pose needs \"translation\" (or \"tvec\")")?;
            let translation: [f64; 3] = numbers(translation)?;
            if fields.len() > 2 {
                return Err(
                    "an object pose has a translation and one rotation, nothing else".into()
                );
            }
            if let Some(rotation) = field(&["rotation_vector", "rvec"]) {
                return Ok(from_rotation_vector(translation, numbers(rotation)?, units));
            }
            let rotation = field(&["quaternion_xyzw", "quaternion"]).ok_or(
                "an object pose needs \"rotation_vector\" (or \"rvec\") or \"quaternion_xyzw\"",
            )?;
            from_quaternion(translation, numbers(rotation)?, units)
        }
        _ => Err("must be a 4x4 matrix, an object, or the path of a file".into()),
    }
}

/// A text file with 16 numbers, or JSON.
pub(super) fn read_file(path: &Path, units: Units) -> Result<RawPose, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("read the pose {}: {error}", path.display()))?;
    let within = |why: String| format!("pose {}: {why}", path.display());
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    match serde_json::from_str::<Value>(&text) {
        Ok(value) if !value.is_number() && !value.is_string() => {
            read(&value, units, folder).map_err(within)
        }
        _ => {
            let words = text.split(|c: char| c.is_whitespace() || ",;[]()".contains(c));
            let numbers: Result<Vec<f64>, _> =
                words.filter(|word| !word.is_empty()).map(str::parse).collect();
            let numbers = numbers.map_err(|_| within("must hold numbers or JSON".into()))?;
            from_matrix(numbers, units).map_err(within)
        }
    }
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

fn from_quaternion(
    translation: [f64; 3],
    [x, y, z, w]: [f64; 4],
    units: Units,
) -> Result<RawPose, String> {
    let quaternion = Quaternion::new(w, x, y, z);
    if (quaternion.norm() - 1.0).abs() > ROTATION_OFF_MAX {
        return Err(format!("the quaternion has length {:.4}, not 1", quaternion.norm()));
    }
    let translation = Vector3::from(translation) * units.length_m;
    let rotation = UnitQuaternion::new_normalize(quaternion);
    Ok(Isometry3::from_parts(translation.into(), rotation).into())
}

fn from_matrix(numbers: Vec<f64>, units: Units) -> Result<RawPose, String> {
    let count = numbers.len();
    let m: [f64; 16] = numbers
        .try_into()
        .map_err(|_| format!("a 4x4 matrix has 16 numbers, {count} were found"))?;
    let near = |a: f64, b: f64| (a - b).abs() < 1e-6;
    let last_row = [m[12], m[13], m[14]].iter().all(|&value| near(value, 0.0)) && near(m[15], 1.0);
    if !last_row {
        let transposed = [m[3], m[7], m[11]].iter().all(|&value| near(value, 0.0));
        return Err(if transposed {
            "the matrix is transposed: the translation belongs into the last column".into()
        } else {
            "the last row of a pose must be 0 0 0 1".into()
        });
    }
    let rotation = Matrix3::new(m[0], m[1], m[2], m[4], m[5], m[6], m[8], m[9], m[10]);
    let off = (rotation * rotation.transpose() - Matrix3::identity()).norm();
    if off > ROTATION_OFF_MAX || !off.is_finite() {
        return Err(format!("its upper left 3x3 is no rotation: its rows are off by {off:.4}"));
    }
    if rotation.determinant() < 0.0 {
        return Err("its upper left 3x3 is a mirror, not a rotation: an axis is reversed".into());
    }
    let rotation = UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix(&rotation));
    let translation = Translation3::new(m[3], m[7], m[11]);
    let translation = Translation3::from(translation.vector * units.length_m);
    Ok(Isometry3::from_parts(translation, rotation).into())
}

/// Row by row.
pub(crate) fn rows(pose: &Isometry3<f64>) -> [[f64; 4]; 4] {
    let matrix = pose.to_homogeneous();
    std::array::from_fn(|row| std::array::from_fn(|column| matrix[(row, column)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const METRES: Units = Units { length_m: 1.0, angle_rad: 1.0 };

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
        let units = Units { length_m: 1e-3, angle_rad: 1.0_f64.to_radians() };
        check(json!([100, -200, 300, 0, 0, 28.6479]), units);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pose.txt");
        std::fs::write(&path, format!("{c} {} 0 0.1\n{s} {c} 0 -0.2\n0 0 1 0.3\n0 0 0 1\n", -s))
            .unwrap();
        check(json!(path), METRES);
    }

    #[test]
    fn what_is_no_pose_is_refused_by_what_is_wrong() {
        check_refused(json!([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]), "16 numbers, 12");
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

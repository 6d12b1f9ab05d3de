//! `[scene]`: the camera's lens, where it hangs, and the plane that packages lie on.

use std::path::{Path, PathBuf};

use magpie_camera::read_camera_info;
use magpie_network::SystemClock;
use magpie_perception::{CameraInfo, CameraPlace, Plane, Scene, Tool};
use nalgebra::{Isometry3, Unit, Vector3};
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};
use super::source::Source;
use crate::calibration_files::{HandEyeFile, camera_info_id, short_hash};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SceneFile {
    camera_info: Option<PathBuf>,
    hand_eye: Option<PathBuf>,
    base_from_camera: Option<[[f64; 4]; 4]>,
    support_plane_z_in_base_m: Option<f64>,
    support_plane_in_camera: Option<[f64; 4]>,
    calibration_age_days_max: Option<u64>,
    pub(super) base_frame_id: Option<String>,
}

/// `None` while the camera is not calibrated.
pub(super) fn check(
    checker: &Checker<'_>,
    file: &SceneFile,
    source: &Source,
    tool: Tool,
) -> Result<Option<Scene>, ConfigError> {
    let Some(info_path) = &file.camera_info else {
        let keys = [
            ("scene.base_from_camera", file.base_from_camera.is_some()),
            ("scene.hand_eye", file.hand_eye.is_some()),
            ("scene.support_plane_in_camera", file.support_plane_in_camera.is_some()),
            ("scene.support_plane_z_in_base_m", file.support_plane_z_in_base_m.is_some()),
        ];
        if let Some((key, _)) = keys.into_iter().find(|(_, is_set)| *is_set) {
            checker.refuse(key, "...", "has no meaning without scene.camera_info; set that too")?;
        }
        return Ok(None);
    };
    let camera_info = read_camera_info(&checker.resolve(info_path), None).map_err(|error| {
        let path = checker.path.to_owned();
        ConfigError::File { path, key: "scene.camera_info", source: error.into() }
    })?;
    check_device(checker, source, &camera_info)?;
    let camera_place = match (&file.base_from_camera, &file.hand_eye) {
        (Some(_), Some(path)) => {
            let why = "and scene.base_from_camera say the same; remove one of them";
            checker.refuse("scene.hand_eye", path.display(), why)?
        }
        (Some(rows), None) => {
            Some(CameraPlace::InBase(checker.pose("scene.base_from_camera", rows)?))
        }
        (None, Some(path)) => Some(read_hand_eye(checker, path, &camera_info, file)?),
        (None, None) => None,
    };
    let support_plane_in_camera = check_support_plane(checker, file, camera_place.as_ref())?;
    let calibration_id =
        calibration_id(&camera_info, camera_place.as_ref(), support_plane_in_camera.as_ref());
    Ok(Some(Scene { camera_info, camera_place, support_plane_in_camera, tool, calibration_id }))
}

/// A calibration that was made with `--live` bears its device's name, and fits no other.
fn check_device(
    checker: &Checker<'_>,
    source: &Source,
    camera_info: &CameraInfo,
) -> Result<(), ConfigError> {
    let Source::Camera(camera) = source else { return Ok(()) };
    let name = &camera_info.camera_name;
    match camera.device_name() {
        Some(device) if name.starts_with("usb_") && *name != device => {
            let why = "is the calibration of another camera; calibrate this one, or set \
                       camera_name in the file to its name in /dev/v4l/by-id if it is the same";
            checker.refuse("scene.camera_info", format!("{name} (camera: {device})"), why)
        }
        _ => Ok(()),
    }
}

/// Reads what `magpie calibrate hand-eye` wrote, if it belongs to this lens and is not too old.
fn read_hand_eye(
    checker: &Checker<'_>,
    path: &Path,
    camera_info: &CameraInfo,
    file: &SceneFile,
) -> Result<CameraPlace, ConfigError> {
    let key = "scene.hand_eye";
    let path = checker.resolve(path);
    let refused = |why: String| checker.unusable(key, why);
    let hand_eye = HandEyeFile::read(&path).map_err(|error| checker.unusable(key, error))?;
    let info_id = camera_info_id(camera_info);
    if let Some(id) = hand_eye.camera_info_id.as_ref().filter(|id| **id != info_id) {
        return Err(refused(format!(
            "{} was made with the camera_info {id}, scene.camera_info is {info_id}: run `magpie \
             calibrate hand-eye` again",
            path.display()
        )));
    }
    let days_max = shipped(file.calibration_age_days_max);
    let age = hand_eye.age(SystemClock::start().now());
    let days = age.map(|age| age.as_secs() / 86_400);
    if days_max > 0 && days.is_none_or(|days| days > days_max) {
        let found = days.map_or_else(|| "of no date".to_owned(), |days| format!("{days} days old"));
        return Err(refused(format!(
            "{} is {found}, scene.calibration_age_days_max is {days_max}: calibrate again",
            path.display()
        )));
    }
    hand_eye.place(&path).map_err(|error| refused(error.to_string()))
}

fn check_support_plane(
    checker: &Checker<'_>,
    file: &SceneFile,
    camera_place: Option<&CameraPlace>,
) -> Result<Option<Plane>, ConfigError> {
    if let Some(plane) = file.support_plane_in_camera {
        let key = "scene.support_plane_in_camera";
        let [x, y, z, offset_m] = plane;
        let normal = Vector3::new(x, y, z);
        if file.support_plane_z_in_base_m.is_some() {
            let why = "and scene.support_plane_z_in_base_m say the same; remove one of them";
            return checker.refuse(key, "[...]", why);
        }
        if (normal.norm() - 1.0).abs() > 1e-3 || !(-20.0..0.0).contains(&offset_m) {
            let why = "must be a unit normal towards the camera and an offset below 0 in metres";
            return checker.refuse(key, format!("{plane:?}"), why);
        }
        return Ok(Some(Plane { normal: Unit::new_normalize(normal), offset_m }));
    }
    match (file.support_plane_z_in_base_m, camera_place) {
        (None, _) => Ok(None),
        (Some(z_m), Some(CameraPlace::InBase(base_from_camera))) => {
            let plane = plane_in_camera(z_m, base_from_camera);
            if (-20.0..0.0).contains(&plane.offset_m) {
                return Ok(Some(plane));
            }
            let why = "must be a height in metres below the camera";
            checker.refuse("scene.support_plane_z_in_base_m", z_m, why)
        }
        (Some(z_m), Some(CameraPlace::InGripper(_))) => {
            let why = "moves in the view of a camera on the arm: if the arm always looks from the \
                       same place, set scene.support_plane_in_camera, which `magpie calibrate plane` \
                       finds from there";
            checker.refuse("scene.support_plane_z_in_base_m", z_m, why)
        }
        (Some(z_m), None) => {
            let why = "is a height in base, so it needs scene.hand_eye or scene.base_from_camera";
            checker.refuse("scene.support_plane_z_in_base_m", z_m, why)
        }
    }
}

/// The plane `z = z_m` of base, seen from the camera, normal up.
pub fn plane_in_camera(z_m: f64, base_from_camera: &Isometry3<f64>) -> Plane {
    let camera_from_base = base_from_camera.inverse();
    let normal = Unit::new_normalize(camera_from_base * Vector3::z());
    let point_in_camera = camera_from_base.translation.vector + normal.into_inner() * z_m;
    Plane { normal, offset_m: normal.dot(&point_in_camera) }
}

/// Twelve hex digits that change with every number of the calibration.
fn calibration_id(
    camera_info: &CameraInfo,
    camera_place: Option<&CameraPlace>,
    support_plane_in_camera: Option<&Plane>,
) -> String {
    short_hash(&format!("{camera_info:?} {camera_place:?} {support_plane_in_camera:?}"))
}

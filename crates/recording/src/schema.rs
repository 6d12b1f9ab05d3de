//! What a recording says about itself and its cell, as MCAP metadata.

use std::collections::BTreeMap;

use magpie_perception::{
    CameraInfo, CameraPlace, Cup, Distortion, Intrinsics, Plane, ReferenceFrame, Scene, Tool,
};
use magpie_wire::GRIPPER_FRAME_ID;
use nalgebra::{Isometry3, Quaternion, Translation3, Unit, UnitQuaternion, Vector3};

use crate::RecordingError;

pub const SCHEMA_VERSION: u32 = 1;

pub(crate) const COLOR_TOPIC: &str = "/camera/color";
pub(crate) const DEPTH_TOPIC: &str = "/camera/depth";
pub(crate) const CAMERA_INFO_TOPIC: &str = "/camera/camera_info";
pub(crate) const TF_TOPIC: &str = "/tf";
pub(crate) const ANNOTATIONS_TOPIC: &str = "/camera/annotations";
pub(crate) const GRASPS_TOPIC: &str = "/grasps";
pub(crate) const SCENE_TOPIC: &str = "/scene";
pub(crate) const LOG_TOPIC: &str = "/log";

pub(crate) const RECORDING_RECORD: &str = "magpie.recording";
pub(crate) const SCENE_RECORD: &str = "magpie.scene";
pub(crate) const IDENTITY_RECORD: &str = "magpie.identity";
pub(crate) const GAPS_RECORD: &str = "magpie.gaps";

/// The base's name in recordings that do not give it one.
const BASE_FRAME_ID_DEFAULT: &str = "base";

const BASE_FRAME_ID: &str = "base_frame_id";
const BASE_FROM_CAMERA: &str = "base_from_camera_xyz_m_quaternion_xyzw";
const GRIPPER_FROM_CAMERA: &str = "gripper_from_camera_xyz_m_quaternion_xyzw";
/// The camera's reference frame in a recording without calibration.
pub(crate) const UNCALIBRATED_FRAME_ID: &str = "camera_optical_frame";

/// Names and values of one MCAP metadata record.
pub(crate) type Fields = BTreeMap<String, String>;

/// What is constant about one recording.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordingInfo {
    /// `None` without a calibration: frames only.
    pub scene: Option<Scene>,
    /// Name of the robot's base as a reference frame, in transforms and views.
    pub base_frame_id: String,
    /// What made the recording, for people and comparisons: the program, the model, its SHA-256, and
    /// so on.
    pub identity: BTreeMap<String, String>,
}

impl Default for RecordingInfo {
    fn default() -> RecordingInfo {
        RecordingInfo {
            scene: None,
            base_frame_id: BASE_FRAME_ID_DEFAULT.to_owned(),
            identity: BTreeMap::new(),
        }
    }
}

impl RecordingInfo {
    pub(crate) fn frame_id(&self) -> &str {
        self.frame_id_of(ReferenceFrame::Camera)
    }

    /// The name of a reference frame.
    pub(crate) fn frame_id_of(&self, frame: ReferenceFrame) -> &str {
        match (frame, &self.scene) {
            (ReferenceFrame::Base, _) => &self.base_frame_id,
            (ReferenceFrame::Gripper, _) => GRIPPER_FRAME_ID,
            (ReferenceFrame::Camera, Some(scene)) => &scene.camera_info.frame_id,
            (ReferenceFrame::Camera, None) => UNCALIBRATED_FRAME_ID,
        }
    }

    /// The metadata records that [`RecordingInfo::from_records`] reads.
    pub(crate) fn to_records(&self) -> Vec<(&'static str, Fields)> {
        let version = ("schema_version".to_owned(), SCHEMA_VERSION.to_string());
        let mut records = vec![(RECORDING_RECORD, Fields::from([version]))];
        if let Some(scene) = &self.scene {
            let mut fields = scene_fields(scene);
            if self.base_frame_id != BASE_FRAME_ID_DEFAULT {
                fields.insert(BASE_FRAME_ID.to_owned(), self.base_frame_id.clone());
            }
            records.push((SCENE_RECORD, fields));
        }
        if !self.identity.is_empty() {
            records.push((IDENTITY_RECORD, self.identity.clone()));
        }
        records
    }

    /// `None` if no record is Magpie's.
    pub(crate) fn from_records(
        name: &str,
        records: &BTreeMap<String, Fields>,
    ) -> Result<Option<RecordingInfo>, RecordingError> {
        let Some(fields) = records.get(RECORDING_RECORD) else {
            return Ok(None);
        };
        let recording = RecordReader { name, record: RECORDING_RECORD, fields };
        let found = recording.parse("schema_version", "a whole number")?;
        if found > SCHEMA_VERSION {
            let (name, supported) = (name.to_owned(), SCHEMA_VERSION);
            return Err(RecordingError::Newer { name, found, supported });
        }
        let mut info = RecordingInfo::default();
        if let Some(fields) = records.get(SCENE_RECORD) {
            let fields = RecordReader { name, record: SCENE_RECORD, fields };
            info.scene = Some(read_scene(&fields)?);
            if fields.has(BASE_FRAME_ID) {
                info.base_frame_id = fields.text(BASE_FRAME_ID);
            }
        }
        info.identity = records.get(IDENTITY_RECORD).cloned().unwrap_or_default();
        Ok(Some(info))
    }
}

/// Says how many frames the recorder could not take. The last such record of a file counts.
pub(crate) fn gaps_fields(frames_unrecorded: u64) -> Fields {
    Fields::from([("frames_unrecorded".to_owned(), frames_unrecorded.to_string())])
}

pub(crate) fn read_gaps(
    name: &str,
    records: &BTreeMap<String, Fields>,
) -> Result<u64, RecordingError> {
    let Some(fields) = records.get(GAPS_RECORD) else { return Ok(0) };
    RecordReader { name, record: GAPS_RECORD, fields }.parse("frames_unrecorded", "a whole number")
}

fn scene_fields(scene: &Scene) -> Fields {
    let info = &scene.camera_info;
    let k = &info.intrinsics;
    let mut fields = Fields::new();
    let mut set = |key: &str, value: String| fields.insert(key.to_owned(), value);
    set("camera_name", info.camera_name.clone());
    set("frame_id", info.frame_id.clone());
    set("width_px", info.width_px.to_string());
    set("height_px", info.height_px.to_string());
    set("fx_fy_cx_cy_px", join(&[k.fx_px, k.fy_px, k.cx_px, k.cy_px]));
    set("distortion_model", info.distortion.model().to_owned());
    set("d", join(info.distortion.coefficients()));
    let tool = &scene.tool;
    let cups = tool.cups.iter().flat_map(|cup| {
        let [x, y, z] = cup.position_m;
        [x, y, z, cup.radius_m, cup.compliance_m]
    });
    set("tool_cups_xyz_radius_compliance_m", join(&cups.collect::<Vec<f64>>()));
    set("tool_approach_radius_length_m", join(&[tool.approach_radius_m, tool.approach_length_m]));
    set("calibration_id", scene.calibration_id.clone());
    if let Some(place) = &scene.camera_place {
        let (key, pose) = match place {
            CameraPlace::InBase(pose) => (BASE_FROM_CAMERA, pose),
            CameraPlace::InGripper(pose) => (GRIPPER_FROM_CAMERA, pose),
        };
        let (t, q) = (pose.translation.vector, pose.rotation.coords);
        set(key, join(&[t.x, t.y, t.z, q.x, q.y, q.z, q.w]));
    }
    if let Some(plane) = &scene.support_plane_in_camera {
        let n = &plane.normal;
        set("support_plane_in_camera_normal_offset_m", join(&[n.x, n.y, n.z, plane.offset_m]));
    }
    fields
}

fn read_scene(fields: &RecordReader<'_>) -> Result<Scene, RecordingError> {
    let [fx_px, fy_px, cx_px, cy_px] = fields.numbers("fx_fy_cx_cy_px")?;
    Ok(Scene {
        camera_info: CameraInfo {
            camera_name: fields.text("camera_name"),
            frame_id: fields.text("frame_id"),
            width_px: fields.parse("width_px", "a whole number")?,
            height_px: fields.parse("height_px", "a whole number")?,
            intrinsics: Intrinsics { fx_px, fy_px, cx_px, cy_px },
            distortion: read_distortion(fields)?,
        },
        camera_place: read_camera_place(fields)?,
        support_plane_in_camera: read_support_plane(fields)?,
        tool: read_tool(fields)?,
        calibration_id: fields.text("calibration_id"),
    })
}

fn read_distortion(fields: &RecordReader<'_>) -> Result<Distortion, RecordingError> {
    let model = fields.text("distortion_model");
    let distortion = Distortion::named(&model, &fields.all_numbers("d")?);
    fields.check(
        distortion.is_ok(),
        "d",
        "5, 8 or 12 finite numbers, or 4 of an equidistant lens",
    )?;
    Ok(distortion.expect("checked above"))
}

fn read_tool(fields: &RecordReader<'_>) -> Result<Tool, RecordingError> {
    let key = "tool_cups_xyz_radius_compliance_m";
    if !fields.has(key) {
        // The first versions knew only tools of one cup.
        return Ok(Tool::single_cup(fields.parse("tool_cup_radius_m", "a number")?));
    }
    let numbers = fields.all_numbers(key)?;
    let cups: Vec<Cup> = numbers
        .chunks_exact(5)
        .map(|n| Cup { position_m: [n[0], n[1], n[2]], radius_m: n[3], compliance_m: n[4] })
        .collect();
    let whole = numbers.len() == 5 * cups.len() && (1..=Tool::CUPS_MAX).contains(&cups.len());
    fields.check(whole, key, "one to eight cups of five numbers each")?;
    let [approach_radius_m, approach_length_m] = fields.numbers("tool_approach_radius_length_m")?;
    Ok(Tool { cups, approach_radius_m, approach_length_m })
}

fn read_camera_place(fields: &RecordReader<'_>) -> Result<Option<CameraPlace>, RecordingError> {
    if fields.has(BASE_FROM_CAMERA) {
        return read_pose(fields, BASE_FROM_CAMERA).map(CameraPlace::InBase).map(Some);
    }
    if fields.has(GRIPPER_FROM_CAMERA) {
        return read_pose(fields, GRIPPER_FROM_CAMERA).map(CameraPlace::InGripper).map(Some);
    }
    Ok(None)
}

fn read_pose(
    fields: &RecordReader<'_>,
    key: &'static str,
) -> Result<Isometry3<f64>, RecordingError> {
    let [x, y, z, qx, qy, qz, qw] = fields.numbers(key)?;
    let quaternion = Quaternion::new(qw, qx, qy, qz);
    fields.check(is_one(quaternion.norm()), key, "a position and a unit quaternion")?;
    // Not normalised again, so that every bit comes back.
    let rotation = UnitQuaternion::new_unchecked(quaternion);
    Ok(Isometry3::from_parts(Translation3::new(x, y, z), rotation))
}

fn read_support_plane(fields: &RecordReader<'_>) -> Result<Option<Plane>, RecordingError> {
    let key = "support_plane_in_camera_normal_offset_m";
    if !fields.has(key) {
        return Ok(None);
    }
    let [x, y, z, offset_m] = fields.numbers(key)?;
    let normal = Vector3::new(x, y, z);
    fields.check(is_one(normal.norm()), key, "a unit normal and an offset")?;
    Ok(Some(Plane { normal: Unit::new_unchecked(normal), offset_m }))
}

fn is_one(norm: f64) -> bool {
    (norm - 1.0).abs() < 1e-6
}

/// Rust prints the shortest decimal that reads back as the same `f64`.
fn join(numbers: &[f64]) -> String {
    numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(" ")
}

/// Reads the fields of one metadata record, and names file and record where one is wrong.
struct RecordReader<'a> {
    name: &'a str,
    record: &'static str,
    fields: &'a Fields,
}

impl RecordReader<'_> {
    fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    fn text(&self, key: &str) -> String {
        self.fields.get(key).cloned().unwrap_or_default()
    }

    fn check(
        &self,
        valid: bool,
        key: &'static str,
        expected: &'static str,
    ) -> Result<(), RecordingError> {
        if valid {
            return Ok(());
        }
        let (name, record, value) = (self.name.to_owned(), self.record, self.text(key));
        Err(RecordingError::Metadata { name, record, key, value, expected })
    }

    fn parse<T: std::str::FromStr>(
        &self,
        key: &'static str,
        expected: &'static str,
    ) -> Result<T, RecordingError> {
        let parsed = self.text(key).parse().ok();
        self.check(parsed.is_some(), key, expected)?;
        Ok(parsed.expect("checked above"))
    }

    fn numbers<const N: usize>(&self, key: &'static str) -> Result<[f64; N], RecordingError> {
        let numbers = <[f64; N]>::try_from(self.all_numbers(key)?).ok();
        self.check(numbers.is_some(), key, "as many finite numbers as its name says")?;
        Ok(numbers.expect("checked above"))
    }

    fn all_numbers(&self, key: &'static str) -> Result<Vec<f64>, RecordingError> {
        let text = self.text(key);
        let numbers: Option<Vec<f64>> = text.split(' ').map(|part| part.parse().ok()).collect();
        let finite = numbers.filter(|numbers| numbers.iter().all(|number| number.is_finite()));
        self.check(finite.is_some(), key, "as many finite numbers as its name says")?;
        Ok(finite.expect("checked above"))
    }
}

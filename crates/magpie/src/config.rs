//! The configuration: as written, and as checked.
//!
//! [`ConfigFile`] is the file as the operator wrote it, every key optional. [`Config`] only exists
//! if every value passed; the defaults are those of the shipped file, and nowhere else.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use magpie_camera::{
    CameraConfig, DepthConfig, FileSource, FilesConfig, GStreamerConfig, ImageFolderConfig,
    LiveConfig, LiveLimits, LiveSource, RtspConfig, V4l2Config, read_camera_info,
};
use magpie_inference::SessionOptions;
use magpie_perception::{
    BoxError, CameraPlace, DecodeLimits, GraspLimits, Limits, Plane, Provider, ReferenceFrame,
    Scene, Tool, Velocity, nearest_rotation,
};
use magpie_transport::{CellName, ZenohConfig};
use nalgebra::{Isometry3, Matrix3, Translation3, Unit, Vector3};
use serde::Deserialize;
use toml::Table;

use self::tool::{BeltFile, GraspsFile, ToolFile, check_belt, check_grasps, check_tool};
use crate::calibrate::files::{HandEyeFile, camera_info_id, short_hash};
use crate::clock::SystemClock;
use crate::depth::{self, DepthFile};
use crate::drift::{self, DriftConfig, DriftFile};
use crate::record::settings::{self, RecordingConfig, RecordingFile};
use crate::scheduling::{self, Scheduling, SchedulingFile};

mod tool;

/// The list of all settings and their defaults.
pub const SHIPPED_CONFIG: &str = include_str!("../../../systemd/magpie.toml");

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("read configuration {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The message has line, column and the line itself.
    #[error("configuration {path}: {message}")]
    Parse { path: PathBuf, message: String },
    #[error("configuration {path}: {key} = {value}: {why}")]
    Value { path: PathBuf, key: &'static str, value: String, why: &'static str },
    #[error("configuration {path}: [source] names {found} sources; leave exactly one")]
    Sources { path: PathBuf, found: usize },
    #[error("configuration {path}: {key}")]
    File {
        path: PathBuf,
        key: &'static str,
        #[source]
        source: BoxError,
    },
}

/// Everything a run needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub cell: CellName,
    pub source: Source,
    pub model_path: Option<PathBuf>,
    pub model_sha256: Option<String>,
    pub session: SessionOptions,
    /// `None`: as the model advises.
    pub score_min: Option<f32>,
    iou_max: f32,
    nms_class_agnostic: bool,
    packages_max: usize,
    grasps: GraspLimits,
    belt_velocity: Option<Velocity>,
    frame_age_max: Duration,
    deadline: Duration,
    result_valid: Duration,
    /// `None` while the camera is not calibrated. Recordings bring their own.
    pub scene: Option<Scene>,
    pub tool: Tool,
    pub base_frame_id: String,
    pub zenoh: ZenohConfig,
    pub image_period: Duration,
    pub jpeg_quality_percent: u8,
    pub recording: RecordingConfig,
    /// A depth stream beside the colour camera.
    pub depth: Option<DepthConfig>,
    /// `None`: drift of the camera is not watched.
    pub drift: Option<DriftConfig>,
    pub scheduling: Scheduling,
    /// The operator's file as it was written; empty without one.
    pub written: String,
}

#[derive(Clone, Debug)]
pub enum Source {
    Demo,
    Camera(CameraConfig),
    Recording { path: PathBuf, looped: bool },
}

/// Scores below this are noise for a model that gives no advice (Ultralytics' default).
const SCORE_MIN_UNADVISED: f32 = 0.25;

impl Config {
    /// The shipped configuration, with the operator's file laid over it.
    pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
        let Some(path) = path else {
            return Config::parse(Path::new("(shipped)"), "");
        };
        Config::parse(path, &read_text(path)?)
    }

    /// As [`Config::load`], but for the camera alone: nothing that a calibration would write is
    /// read, so that a camera without one, or with a wrong one, can be calibrated. `lens`: with this
    /// `camera_info`, which depth is registered by; without it depth is left out too.
    pub fn load_uncalibrated(
        path: Option<&Path>,
        lens: Option<&Path>,
    ) -> Result<Config, ConfigError> {
        let Some(path) = path else { return Config::load(None) };
        let text = read_text(path)?;
        Config::parse_table(path, &text, |operator| {
            operator.remove("drift");
            operator.remove("scene");
            match lens {
                Some(lens) => {
                    let lens = std::path::absolute(lens).unwrap_or_else(|_| lens.to_owned());
                    let lens = toml::Value::String(lens.to_string_lossy().into_owned());
                    let scene = Table::from_iter([("camera_info".to_owned(), lens)]);
                    operator.insert("scene".to_owned(), toml::Value::Table(scene));
                }
                None => drop(operator.remove("depth")),
            }
        })
    }

    /// `path` is for messages, and relative paths in the text are relative to its folder.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        Config::parse_table(path, text, |_| ())
    }

    fn parse_table(
        path: &Path,
        text: &str,
        change: impl FnOnce(&mut Table),
    ) -> Result<Config, ConfigError> {
        let refused = |error: toml::de::Error| ConfigError::Parse {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        };
        // Alone first: errors then have the line and column of the operator's own file.
        toml::from_str::<ConfigFile>(text).map_err(refused)?;
        let mut merged: Table = toml::from_str(SHIPPED_CONFIG).expect("the shipped file is TOML");
        let mut operator = toml::from_str(text).map_err(refused)?;
        change(&mut operator);
        overlay(&mut merged, operator);
        let config = check(path, merged.try_into().map_err(refused)?)?;
        Ok(Config { written: text.to_owned(), ..config })
    }

    /// What the camera's device is called, in letters that a `camera_name` may have; `None` where
    /// nothing lasting names it.
    pub fn device_name(&self) -> Option<String> {
        let Source::Camera(camera) = &self.source else { return None };
        camera.device_name()
    }

    /// Limits of the loop, for a model that advises `score_min`.
    pub fn limits(&self, model_score_min: Option<f32>) -> Limits {
        Limits {
            frame_age_ns_max: nanoseconds(self.frame_age_max),
            deadline_ns: nanoseconds(self.deadline),
            result_valid_ns: nanoseconds(self.result_valid),
            decode: DecodeLimits {
                score_min: self.score_min.or(model_score_min).unwrap_or(SCORE_MIN_UNADVISED),
                iou_max: self.iou_max,
                nms_class_agnostic: self.nms_class_agnostic,
                instances_max: self.packages_max,
            },
            grasps: self.grasps.clone(),
            belt_velocity: self.belt_velocity,
        }
    }
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("limits are minutes at most")
}

/// Key by key; `source` as a whole, since its tables exclude each other.
fn overlay(shipped: &mut Table, operator: Table) {
    for (key, value) in operator {
        match (shipped.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) if key != "source" => {
                overlay(below, above);
            }
            (_, value) => {
                shipped.insert(key, value);
            }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    cell: Option<String>,
    source: SourceFile,
    camera: CameraFile,
    model: ModelFile,
    detection: DetectionFile,
    limits: LimitsFile,
    scene: SceneFile,
    tool: ToolFile,
    grasps: GraspsFile,
    belt: BeltFile,
    zenoh: ZenohFile,
    image: ImageFile,
    recording: RecordingFile,
    drift: DriftFile,
    depth: DepthFile,
    scheduling: SchedulingFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SourceFile {
    demo: Option<DemoFile>,
    v4l2: Option<V4l2File>,
    gstreamer: Option<GstreamerFile>,
    rtsp: Option<RtspFile>,
    video_file: Option<PlayedFile>,
    image_folder: Option<ImageFolderFile>,
    recording: Option<PlayedFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DemoFile {}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct V4l2File {
    device: PathBuf,
    width_px: Option<u32>,
    height_px: Option<u32>,
    fps: Option<f64>,
    fourcc: Option<String>,
}

impl V4l2File {
    /// `fourcc` is what the device is asked for where the file does not say.
    pub(crate) fn source(self, fourcc: Option<&str>) -> V4l2Config {
        V4l2Config {
            device: self.device,
            width_px: self.width_px,
            height_px: self.height_px,
            fps: self.fps,
            fourcc: self.fourcc.or_else(|| fourcc.map(str::to_owned)),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GstreamerFile {
    pipeline: String,
}

impl GstreamerFile {
    pub(crate) fn source(self) -> GStreamerConfig {
        GStreamerConfig { pipeline: self.pipeline }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RtspFile {
    url: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlayedFile {
    path: PathBuf,
    #[serde(default)]
    r#loop: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageFolderFile {
    path: PathBuf,
    depth_path: Option<PathBuf>,
    frame_interval_ms: Option<u64>,
    #[serde(default)]
    r#loop: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CameraFile {
    frame_age_ms_max: Option<u64>,
    open_time_ms_max: Option<u64>,
    reopen_pause_ms_min: Option<u64>,
    reopen_pause_ms_max: Option<u64>,
    hang_time_ms_max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ModelFile {
    path: Option<PathBuf>,
    sha256: Option<String>,
    providers: Option<Vec<String>>,
    allow_fallback: Option<bool>,
    threads: Option<usize>,
    spinning: Option<bool>,
    engine_cache: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DetectionFile {
    score_min: Option<f64>,
    iou_max: Option<f64>,
    nms_class_agnostic: Option<bool>,
    packages_max: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LimitsFile {
    frame_age_ms_max: Option<u64>,
    deadline_ms: Option<u64>,
    result_valid_ms: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SceneFile {
    camera_info: Option<PathBuf>,
    hand_eye: Option<PathBuf>,
    base_from_camera: Option<[[f64; 4]; 4]>,
    support_plane_z_in_base_m: Option<f64>,
    support_plane_in_camera: Option<[f64; 4]>,
    calibration_age_days_max: Option<u64>,
    base_frame_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ZenohFile {
    config: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ImageFile {
    period_ms: Option<u64>,
    jpeg_quality_percent: Option<u8>,
}

/// The value of a key that the shipped file has.
fn shipped<T>(value: Option<T>) -> T {
    value.expect("the shipped file has every key without which nothing runs")
}

/// Checks values, and reads the files that they name.
pub(crate) struct Checker<'a> {
    path: &'a Path,
}

impl Checker<'_> {
    pub(crate) fn refuse<T>(
        &self,
        key: &'static str,
        value: impl ToString,
        why: &'static str,
    ) -> Result<T, ConfigError> {
        Err(ConfigError::Value { path: self.path.to_owned(), key, value: value.to_string(), why })
    }

    /// A file that a key names and that cannot be used.
    pub(crate) fn unusable(&self, key: &'static str, error: impl Into<BoxError>) -> ConfigError {
        ConfigError::File { path: self.path.to_owned(), key, source: error.into() }
    }

    pub(crate) fn share(&self, key: &'static str, value: f64) -> Result<f32, ConfigError> {
        #[expect(clippy::cast_possible_truncation, reason = "a share needs no more digits")]
        if (0.0..=1.0).contains(&value) {
            return Ok(value as f32);
        }
        self.refuse(key, value, "must lie between 0 and 1")
    }

    /// From one millisecond to ten minutes.
    pub(crate) fn time(&self, key: &'static str, ms: u64) -> Result<Duration, ConfigError> {
        if (1..=600_000).contains(&ms) {
            return Ok(Duration::from_millis(ms));
        }
        self.refuse(key, ms, "must lie between 1 and 600000 ms")
    }

    /// A rigid transform in metres.
    pub(crate) fn pose(
        &self,
        key: &'static str,
        rows: &[[f64; 4]; 4],
    ) -> Result<Isometry3<f64>, ConfigError> {
        check_pose(self, key, rows)
    }

    /// Relative to the configuration's folder.
    pub(crate) fn resolve(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }
}

fn check(path: &Path, file: ConfigFile) -> Result<Config, ConfigError> {
    let checker = Checker { path };
    let cell = CellName::new(&shipped(file.cell)).map_err(|error| ConfigError::File {
        path: path.into(),
        key: "cell",
        source: error.into(),
    })?;
    let tool = check_tool(&checker, file.tool)?;
    let grasps = check_grasps(&checker, &file.grasps)?;
    let quality = shipped(file.image.jpeg_quality_percent);
    if !(1..=100).contains(&quality) {
        checker.refuse("image.jpeg_quality_percent", quality, "must lie between 1 and 100")?;
    }
    let detection = file.detection;
    let packages_max = shipped(detection.packages_max);
    if !(1..=1000).contains(&packages_max) {
        checker.refuse("detection.packages_max", packages_max, "must lie between 1 and 1000")?;
    }
    let score_min = detection.score_min;
    let source = check_source(&checker, file.source, &file.camera)?;
    let scene = check_scene(&checker, &file.scene, &source, tool.clone())?;
    let depth = depth::check(&checker, &file.depth, &source, scene.as_ref())?;
    let drift = drift::check(&checker, &file.drift, scene.as_ref())?;
    let belt_velocity = check_belt(&checker, &file.belt)?;
    let on_arm =
        scene.as_ref().is_some_and(|scene| scene.reference_frame() == ReferenceFrame::Gripper);
    if on_arm && belt_velocity.is_some() {
        let why = "is in base, but poses of a camera on the arm are in the gripper; leave it out";
        checker.refuse("belt.velocity_m_s", "[...]", why)?;
    }
    if on_arm && drift.is_some() {
        let why = "says nothing of a camera that moves with the arm; leave it out";
        checker.refuse("drift.reference", "...", why)?;
    }
    Ok(Config {
        cell,
        source,
        session: check_session(&checker, &file.model)?,
        model_path: file.model.path.map(|path| checker.resolve(&path)),
        model_sha256: file.model.sha256,
        score_min: score_min.map(|s| checker.share("detection.score_min", s)).transpose()?,
        iou_max: checker.share("detection.iou_max", shipped(detection.iou_max))?,
        nms_class_agnostic: shipped(detection.nms_class_agnostic),
        packages_max,
        grasps,
        belt_velocity,
        frame_age_max: checker
            .time("limits.frame_age_ms_max", shipped(file.limits.frame_age_ms_max))?,
        deadline: checker.time("limits.deadline_ms", shipped(file.limits.deadline_ms))?,
        result_valid: checker
            .time("limits.result_valid_ms", shipped(file.limits.result_valid_ms))?,
        scene,
        depth,
        drift,
        tool,
        base_frame_id: shipped(file.scene.base_frame_id),
        zenoh: match file.zenoh.config {
            Some(path) => ZenohConfig::File(checker.resolve(&path)),
            None => ZenohConfig::Shipped,
        },
        image_period: checker.time("image.period_ms", shipped(file.image.period_ms))?,
        jpeg_quality_percent: quality,
        recording: settings::check(&checker, file.recording)?,
        scheduling: scheduling::check(&checker, file.scheduling)?,
        written: String::new(),
    })
}

fn check_source(
    checker: &Checker<'_>,
    file: SourceFile,
    camera: &CameraFile,
) -> Result<Source, ConfigError> {
    let limits = LiveLimits {
        frame_age_max: checker.time("camera.frame_age_ms_max", shipped(camera.frame_age_ms_max))?,
        open_time_max: checker.time("camera.open_time_ms_max", shipped(camera.open_time_ms_max))?,
        back_off_min: checker
            .time("camera.reopen_pause_ms_min", shipped(camera.reopen_pause_ms_min))?,
        back_off_max: checker
            .time("camera.reopen_pause_ms_max", shipped(camera.reopen_pause_ms_max))?,
        hang_time_max: checker.time("camera.hang_time_ms_max", shipped(camera.hang_time_ms_max))?,
    };
    let live = |source| Source::Camera(CameraConfig::Live(LiveConfig { source, limits }));
    let files = |source, looped| {
        Source::Camera(CameraConfig::Files(FilesConfig { source, looped, paced: true }))
    };
    let mut sources = Vec::new();
    sources.extend(file.demo.map(|_| Source::Demo));
    sources.extend(file.v4l2.map(|v4l2| live(LiveSource::V4l2(v4l2.source(None)))));
    sources.extend(file.gstreamer.map(|stream| live(LiveSource::GStreamer(stream.source()))));
    sources.extend(file.rtsp.map(|rtsp| live(LiveSource::Rtsp(RtspConfig { url: rtsp.url }))));
    sources.extend(file.video_file.map(|video| {
        files(FileSource::VideoFile { path: checker.resolve(&video.path) }, video.r#loop)
    }));
    if let Some(folder) = file.image_folder {
        let interval_ms = folder.frame_interval_ms.unwrap_or(100);
        let source = FileSource::ImageFolder(ImageFolderConfig {
            path: checker.resolve(&folder.path),
            depth_path: folder.depth_path.map(|path| checker.resolve(&path)),
            frame_interval: checker.time("source.image_folder.frame_interval_ms", interval_ms)?,
        });
        sources.push(files(source, folder.r#loop));
    }
    sources.extend(file.recording.map(|recording| Source::Recording {
        path: checker.resolve(&recording.path),
        looped: recording.r#loop,
    }));
    match <[Source; 1]>::try_from(sources) {
        Ok([source]) => Ok(source),
        Err(sources) => {
            Err(ConfigError::Sources { path: checker.path.to_owned(), found: sources.len() })
        }
    }
}

fn check_session(checker: &Checker<'_>, file: &ModelFile) -> Result<SessionOptions, ConfigError> {
    let mut providers = Vec::new();
    for name in file.providers.as_ref().expect("the shipped file has providers") {
        match Provider::from_name(name) {
            Some(provider) => providers.push(provider),
            None => {
                let why = "is no execution provider; there are tensorrt, cuda, openvino and cpu";
                checker.refuse("model.providers", name, why)?;
            }
        }
    }
    if providers.is_empty() {
        checker.refuse("model.providers", "[]", "must name at least one, for example \"cpu\"")?;
    }
    Ok(SessionOptions {
        providers,
        allow_fallback: shipped(file.allow_fallback),
        threads: NonZeroUsize::new(shipped(file.threads)),
        spinning: shipped(file.spinning),
        engine_cache: file.engine_cache.as_ref().map(|path| checker.resolve(path)),
        ..SessionOptions::default()
    })
}

fn check_scene(
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
            checker.refuse(key, "...", "says nothing without scene.camera_info")?;
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
            let why = "and scene.base_from_camera say the same; leave one of them";
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
    camera_info: &magpie_perception::CameraInfo,
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

/// What `magpie calibrate hand-eye` wrote, if it belongs to this lens and is not too old.
fn read_hand_eye(
    checker: &Checker<'_>,
    path: &Path,
    camera_info: &magpie_perception::CameraInfo,
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
            let why = "and scene.support_plane_z_in_base_m say the same; leave one of them";
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

fn check_pose(
    checker: &Checker<'_>,
    key: &'static str,
    rows: &[[f64; 4]; 4],
) -> Result<Isometry3<f64>, ConfigError> {
    let rotation = Matrix3::from_fn(|row, column| rows[row][column]);
    let orthonormal = (rotation * rotation.transpose() - Matrix3::identity()).norm() < 1e-3;
    let rigid = orthonormal && rows[3] == [0.0, 0.0, 0.0, 1.0];
    let Some(rotation) = nearest_rotation(&rotation).filter(|_| rigid) else {
        let why =
            "is no rigid transform: its upper left 3x3 must be a rotation, its last row 0 0 0 1";
        return checker.refuse(key, format!("{rows:?}"), why);
    };
    let translation = Translation3::new(rows[0][3], rows[1][3], rows[2][3]);
    // No arm reaches further; a number like 1200 is millimetres.
    if translation.vector.norm() > 20.0 {
        checker.refuse(key, translation, "is more than 20 m away: are these millimetres?")?;
    }
    Ok(Isometry3::from_parts(translation, rotation))
}

/// Twelve hex digits that change with every number of the calibration.
fn calibration_id(
    camera_info: &magpie_perception::CameraInfo,
    camera_place: Option<&CameraPlace>,
    support_plane_in_camera: Option<&Plane>,
) -> String {
    short_hash(&format!("{camera_info:?} {camera_place:?} {support_plane_in_camera:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::Point3;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("magpie.toml"), text)
    }

    fn check_refused(text: &str, expected: &[&str]) {
        let message = parse(text).unwrap_err().to_string();
        for part in expected {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }

    #[test]
    fn the_shipped_file_alone_plays_the_demo() {
        let config = parse("").unwrap();
        assert!(matches!(config.source, Source::Demo));
        assert_eq!(config.cell.as_str(), "demo");
        assert!(config.scene.is_none());
    }

    #[test]
    fn the_operators_keys_win_and_the_others_stay() {
        let config = parse("cell = \"dock-7\"\n[limits]\nresult_valid_ms = 250").unwrap();
        assert_eq!(config.cell.as_str(), "dock-7");
        let limits = config.limits(Some(0.4));
        assert_eq!(limits.result_valid_ns, 250_000_000);
        assert_eq!(limits.frame_age_ns_max, 500_000_000);
        assert_eq!(limits.decode.score_min, 0.4);
    }

    #[test]
    fn the_operators_source_replaces_the_demo() {
        let config = parse("[source.rtsp]\nurl = \"rtsp://127.0.0.1/x\"").unwrap();
        assert!(matches!(config.source, Source::Camera(_)));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_column() {
        check_refused(
            "cell = \"a\"\n[limits]\nresult_valid_sm = 3",
            &["line 3", "column 1", "result_valid_sm"],
        );
    }

    #[test]
    fn a_value_of_another_type_or_out_of_range_is_refused_by_name() {
        check_refused("[detection]\niou_max = \"high\"", &["line 2", "iou_max"]);
        check_refused(
            "[detection]\niou_max = 1.5",
            &["detection.iou_max = 1.5", "between 0 and 1"],
        );
        check_refused("[limits]\nresult_valid_ms = 0", &["limits.result_valid_ms = 0"]);
        check_refused("[model]\nproviders = [\"gpu\"]", &["gpu", "tensorrt, cuda"]);
        check_refused("cell = \"a/b\"", &["cell"]);
        let cup = "position_m = [0.0, 0.0, 0.0], radius_m = 20.0, compliance_m = 0.004";
        check_refused(&format!("[tool]\ncups = [{{ {cup} }}]"), &["radius_m = 20"]);
        let aside = "position_m = [0.08, 0.0, 0.0], radius_m = 0.02, compliance_m = 0.004";
        check_refused(
            &format!("[tool]\ncups = [{{ {aside} }}]"),
            &["tool.approach_radius_m = 0.03", "outermost lip"],
        );
        check_refused("[tool]\ncups = []", &["tool.cups = 0", "one to eight"]);
        check_refused("[belt]\nvelocity_m_s = [300.0, 0.0, 0.0]", &["velocity_m_s", "millimetres"]);
        check_refused("[grasps]\ntilt_deg_max = 0.8", &["tilt_deg_max = 0.8", "degrees"]);
    }

    #[test]
    fn two_sources_or_none_are_refused() {
        check_refused("[source.demo]\n[source.rtsp]\nurl = \"rtsp://h/x\"", &["2 sources"]);
        check_refused("[source]", &["0 sources"]);
    }

    #[test]
    fn a_pose_is_taken_as_it_is_written_and_refused_in_millimetres() {
        let folder = tempfile::tempdir().unwrap();
        let info = "image_width: 640\nimage_height: 480\ncamera_name: x\ncamera_matrix: {rows: 3, cols: 3, data: [600, 0, 320, 0, 600, 240, 0, 0, 1]}\ndistortion_model: plumb_bob\ndistortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}\nrectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}\nprojection_matrix: {rows: 3, cols: 4, data: [600, 0, 320, 0, 0, 600, 240, 0, 0, 0, 1, 0]}\n";
        std::fs::write(folder.path().join("info.yaml"), info).unwrap();
        let pose = |z: f64| {
            format!(
                "[scene]\ncamera_info = \"info.yaml\"\nsupport_plane_z_in_base_m = 0.1\n\
                 base_from_camera = [[1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, {z:.1}], [0.0, 0.0, 0.0, 1.0]]"
            )
        };
        let path = folder.path().join("magpie.toml");
        let message = Config::parse(&path, &pose(1200.0)).unwrap_err().to_string();
        assert!(message.contains("millimetres"), "{message}");

        let scene = Config::parse(&path, &pose(1.2)).unwrap().scene.unwrap();
        let plane = scene.support_plane_in_camera.unwrap();
        assert!((plane.distance_m(&Point3::origin()) - 1.1).abs() < 1e-9);
        let about_y =
            pose(1.2).replace("[[1.0,", "[[-1.0,").replace("-1.0, 0.0, 0.0],", "1.0, 0.0, 0.0],");
        let scene = Config::parse(&path, &about_y).unwrap().scene.unwrap();
        let found = scene.reference_from_camera() * Vector3::x();
        assert!((found + Vector3::x()).norm() < 1e-9, "{found}");
    }
}

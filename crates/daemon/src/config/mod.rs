//! The configuration: one file for each section of the TOML, which holds the section as it is
//! written, as it is checked, and the check.
//!
//! [`ConfigFile`] is the file as the operator wrote it, every key optional. [`Config`] only exists
//! if every value passed; the defaults are those of the shipped file, and nowhere else.

mod addresses;
mod belt;
mod camera;
mod checker;
mod depth;
mod detection;
mod drift;
mod foxglove;
mod grasps;
mod image;
mod limits;
mod model;
mod recording;
mod ros2;
mod scene;
mod scheduling;
mod source;
mod tool;
mod web;
mod zenoh;

use std::path::{Path, PathBuf};
use std::time::Duration;

use magpie_camera::DepthConfig;
use magpie_inference::SessionOptions;
use magpie_network::ZenohConfig;
use magpie_perception::{DecodeLimits, GraspLimits, Limits, ReferenceFrame, Scene, Tool, Velocity};
use magpie_wire::CellName;
use serde::Deserialize;
use toml::Table;

use self::checker::{Checker, shipped};
use self::detection::Detection;
use self::limits::AgeLimits;
use crate::scheduling::Scheduling;

pub use self::addresses::{addresses_of, collide, is_at};
pub use self::checker::{ConfigError, UNIT_M};
pub use self::drift::DriftConfig;
pub use self::foxglove::FoxgloveConfig;
pub use self::model::StoreConfig;
pub use self::recording::{FileLimits, RecordingConfig, RecordingTarget, RingConfig};
pub use self::ros2::Ros2Config;
pub use self::scene::plane_in_camera;
pub use self::source::Source;
pub use self::web::WebConfig;

/// The list of all settings and their defaults.
pub const SHIPPED_CONFIG: &str = include_str!("../../../../systemd/magpie.toml");

/// Everything a run needs to know, checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub cell: CellName,
    pub source: Source,
    pub model_path: Option<PathBuf>,
    pub model_sha256: Option<String>,
    pub model_store: StoreConfig,
    pub session: SessionOptions,
    /// `None`: as the model advises.
    pub score_min: Option<f32>,
    detection: Detection,
    grasps: GraspLimits,
    belt_velocity: Option<Velocity>,
    ages: AgeLimits,
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
    /// One step of 16-bit depth, in metres.
    pub depth_unit_m: f64,
    /// `None`: drift of the camera is not watched.
    pub drift: Option<DriftConfig>,
    /// `None`: Foxglove cannot connect.
    pub foxglove: Option<FoxgloveConfig>,
    /// `None`: nothing is said to ROS 2.
    pub ros2: Option<Ros2Config>,
    pub scheduling: Scheduling,
    /// `None`: no page is served.
    pub web: Option<WebConfig>,
    /// The operator's file as it was written; empty without one.
    pub written: String,
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

    /// Loads what concerns the camera alone: nothing that a calibration would write is read, so that
    /// a camera without one, or with a wrong one, can be calibrated. `lens`: with this
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
                None => {
                    if let Some(toml::Value::Table(depth)) = operator.get_mut("depth") {
                        depth.retain(|key, _| key == "unit_m");
                    }
                }
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
        // The operator's file is parsed alone first: errors then have the line and column of that file.
        toml::from_str::<ConfigFile>(text).map_err(refused)?;
        let mut merged: Table = toml::from_str(SHIPPED_CONFIG).expect("the shipped file is TOML");
        let mut operator = toml::from_str(text).map_err(refused)?;
        change(&mut operator);
        overlay(&mut merged, operator);
        let config = check(path, merged.try_into().map_err(refused)?)?;
        Ok(Config { written: text.to_owned(), ..config })
    }

    /// The camera device's name in letters that a `camera_name` may have; `None` where no lasting
    /// name exists.
    pub fn device_name(&self) -> Option<String> {
        let Source::Camera(camera) = &self.source else { return None };
        camera.device_name()
    }

    /// Limits of the loop, for a model that advises `score_min`.
    pub fn limits(&self, model_score_min: Option<f32>) -> Limits {
        Limits {
            frame_age_ns_max: nanoseconds(self.ages.frame_age_max),
            deadline_ns: nanoseconds(self.ages.deadline),
            result_valid_ns: nanoseconds(self.ages.result_valid),
            decode: DecodeLimits {
                score_min: self.score_min.or(model_score_min).unwrap_or(SCORE_MIN_UNADVISED),
                iou_max: self.detection.iou_max,
                nms_class_agnostic: self.detection.nms_class_agnostic,
                instances_max: self.detection.packages_max,
            },
            grasps: self.grasps.clone(),
            belt_velocity: self.belt_velocity,
        }
    }
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    magpie_files::read_text(path, magpie_files::TEXT_BYTES_MAX)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("limits are minutes at most")
}

/// Lays the operator's file over the shipped one key by key; `source` as a whole, since its tables
/// exclude each other.
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
    source: source::SourceFile,
    camera: camera::CameraFile,
    model: model::ModelFile,
    detection: detection::DetectionFile,
    limits: limits::LimitsFile,
    scene: scene::SceneFile,
    tool: tool::ToolFile,
    grasps: grasps::GraspsFile,
    belt: belt::BeltFile,
    zenoh: zenoh::ZenohFile,
    image: image::ImageFile,
    recording: recording::RecordingFile,
    drift: drift::DriftFile,
    foxglove: foxglove::FoxgloveFile,
    ros2: ros2::Ros2File,
    depth: depth::DepthFile,
    scheduling: scheduling::SchedulingFile,
    web: web::WebFile,
}

fn check(path: &Path, file: ConfigFile) -> Result<Config, ConfigError> {
    let checker = Checker { path };
    let cell =
        CellName::new(&shipped(file.cell)).map_err(|error| checker.unusable("cell", error))?;
    let base_frame_id = shipped(file.scene.base_frame_id.clone());
    let tool = tool::check(&checker, file.tool)?;
    let camera = camera::check(&checker, &file.camera)?;
    let depth_unit_m = depth::unit_m(&checker, &file.depth)?;
    let source = source::check(&checker, file.source, camera, depth_unit_m)?;
    let scene = scene::check(&checker, &file.scene, &source, tool.clone())?;
    let depth = depth::check(&checker, &file.depth, &source, scene.as_ref())?;
    let drift = drift::check(&checker, &file.drift, scene.as_ref())?;
    let belt_velocity = belt::check(&checker, &file.belt)?;
    let model = model::check(&checker, file.model)?;
    let detection = detection::check(&checker, &file.detection)?;
    let image = image::check(&checker, &file.image)?;
    check_on_arm(&checker, scene.as_ref(), belt_velocity.as_ref(), drift.as_ref())?;
    let ros2 = ros2::check(&checker, &file.ros2, &cell)?;
    let web = web::check(&checker, file.web)?;
    let foxglove = foxglove::check(&checker, &file.foxglove)?;
    let zenoh = zenoh::check(&checker, file.zenoh)?;
    addresses::check(&checker, web.as_ref(), foxglove.as_ref(), &zenoh)?;
    Ok(Config {
        cell,
        source,
        session: model.session,
        model_path: model.path,
        model_sha256: model.sha256,
        model_store: model.store,
        score_min: detection.score_min,
        detection,
        grasps: grasps::check(&checker, &file.grasps)?,
        belt_velocity,
        ages: limits::check(&checker, &file.limits)?,
        scene,
        depth,
        depth_unit_m,
        drift,
        foxglove,
        ros2,
        tool,
        base_frame_id,
        zenoh,
        image_period: image.period,
        jpeg_quality_percent: image.jpeg_quality_percent,
        recording: recording::check(&checker, file.recording)?,
        scheduling: scheduling::check(&checker, file.scheduling)?,
        web,
        written: String::new(),
    })
}

/// Refuses settings that have no meaning for a camera that moves with the arm.
fn check_on_arm(
    checker: &Checker<'_>,
    scene: Option<&Scene>,
    belt_velocity: Option<&Velocity>,
    drift: Option<&DriftConfig>,
) -> Result<(), ConfigError> {
    let on_arm = scene.is_some_and(|scene| scene.reference_frame() == ReferenceFrame::Gripper);
    if on_arm && belt_velocity.is_some() {
        let why = "is in base, but poses of a camera on the arm are in the gripper; leave it out";
        checker.refuse("belt.velocity_m_s", "[...]", why)?;
    }
    if on_arm && drift.is_some() {
        let why = "has no meaning for a camera that moves with the arm; leave it out";
        checker.refuse("drift.reference", "...", why)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_camera::{CameraConfig, FileSource};
    use nalgebra::{Point3, Vector3};

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
        let most = magpie_wire::freshness::RESULT_VALID_MAX.as_millis();
        assert!(parse(&format!("[limits]\nresult_valid_ms = {most}")).is_ok());
        check_refused(
            &format!("[limits]\nresult_valid_ms = {}", most + 1),
            &["limits.result_valid_ms = 5001", &format!("at most {most} ms")],
        );
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
    fn the_unit_of_depth_is_that_of_depth_files_too() {
        let folder = "[source.image_folder]\npath = \"color\"\ndepth_path = \"depth\"";
        let config = parse(&format!("{folder}\n[depth]\nunit_m = 0.0002")).unwrap();
        let Source::Camera(CameraConfig::Files(files)) = config.source else { panic!("no files") };
        let FileSource::ImageFolder(folder) = files.source else { panic!("no folder") };
        assert_eq!((folder.depth_unit_m, config.depth_unit_m), (0.0002, 0.0002));
        check_refused("[depth]\nunit_m = 1.0", &["depth.unit_m = 1", "0.1 m"]);
        check_refused(
            "[source.recording]\npath = \"a.mcap\"\ndepth_unit_m = 1.0",
            &["source.recording.depth_unit_m = 1", "0.1 m"],
        );
    }

    #[test]
    fn a_place_to_listen_is_one_endpoint_or_several_and_never_half_of_one() {
        let listen = |text: &str| parse(&format!("[zenoh]\nlisten = {text}")).map(|c| c.zenoh);
        let own = |endpoints: &[&str]| {
            ZenohConfig::Listen(endpoints.iter().map(|e| (*e).to_owned()).collect())
        };
        assert_eq!(parse("").unwrap().zenoh, ZenohConfig::Shipped);
        let one = "tcp/127.0.0.1:17450";
        assert_eq!(listen(&format!("{one:?}")).unwrap(), own(&[one]));
        let both = [one, "tcp/[::1]:17450"];
        assert_eq!(listen(&format!("{both:?}")).unwrap(), own(&both));
        let refused = |text: &str, parts: &[&str]| {
            check_refused(&format!("[zenoh]\nlisten = {text}"), parts);
        };
        refused("[]", &["zenoh.listen = []", "first free one"]);
        refused("17450", &["line 2", "tcp/127.0.0.1:17448"]);
        refused("\"tcp/127.0.0.1:0\"", &["tcp/127.0.0.1:0", "no port"]);
        refused("\"127.0.0.1:17450\"", &["zenoh.listen = 127.0.0.1:17450", "no plain TCP"]);
        refused("\"tls/10.0.0.1:1\"", &["certificates", "zenoh.config"]);
        refused("\"tcp/\"", &["zenoh.listen"]);
        refused("\"tcp/a:1\"\nconfig = \"z.json5\"", &["zenoh.listen", "keep one"]);
    }

    #[test]
    fn foxglove_is_served_when_asked_for_and_on_loopback_alone() {
        let listen = |text: &str| parse(&format!("[foxglove]\nlisten = {text}"));
        assert_eq!(parse("").unwrap().foxglove, None);
        let served = listen("\"127.0.0.1:8765\"").unwrap().foxglove.unwrap();
        assert_eq!((served.listen.port(), served.jpeg_quality), (8765, 80));
        check_refused("[foxglove]\nlisten = \"8765\"", &["foxglove.listen = 8765", "127.0.0.1"]);
        check_refused("[foxglove]\nlisten = \"0.0.0.0:8765\"", &["0.0.0.0:8765", "ssh -L"]);
        check_refused("[foxglove]\njpeg_quality_percent = 0", &["foxglove.jpeg_quality_percent"]);
    }

    #[test]
    fn ros_2_hears_the_cell_when_asked_for_under_names_that_it_allows() {
        let ros2 = |text: &str| parse(&format!("cell = \"dock-7\"\n[ros2]\n{text}"));
        assert_eq!(parse("").unwrap().ros2, None);
        assert_eq!(ros2("domain_id = 3").unwrap().ros2, None);
        let told = ros2("enabled = true\ndomain_id = 42").unwrap().ros2.unwrap();
        assert_eq!(told.node.router, "tcp/localhost:7447");
        assert_eq!(told.node.namespace.to_string(), "/magpie/dock_7");
        assert_eq!(told.node.domain_id.to_string(), "42");
        assert!(told.node.type_hashes);
        let refused = |text: &str, parts: &[&str]| check_refused(&format!("[ros2]\n{text}"), parts);
        refused("domain_id = 233", &["ros2.domain_id"]);
        refused("domain_id = -1", &["ros2.domain_id"]);
        refused("domain_id = \"0\"", &["line 2", "domain_id"]);
        refused("namespace = \"dock 7\"", &["ros2.namespace"]);
        refused("router = \"tcp/localhost\"", &["ros2.router = tcp/localhost", "rmw_zenohd"]);
        refused("router = \"tls/robot:7447\"", &["ros2.router = tls/robot:7447", "plain TCP"]);
        refused("router = \"localhost:7447\"", &["ros2.router"]);
        refused("picture_period_ms = 0", &["ros2.picture_period_ms"]);
        check_refused("cell = \"7\"\n[ros2]\nenabled = true", &["ros2.namespace"]);
        assert!(parse("cell = \"7\"").is_ok());
    }

    #[test]
    fn a_page_is_served_only_where_an_address_is_given_and_with_a_token_that_cannot_be_guessed() {
        assert!(parse("").unwrap().web.is_none());
        let web = parse("[web]\nlisten = \"127.0.0.1:8447\"").unwrap().web.unwrap();
        assert_eq!((web.listen.port(), web.token), (8447, None));
        check_refused("[web]\nlisten = \"localhost\"", &["web.listen", "127.0.0.1:8447"]);
        check_refused("[web]\nhosts = [\"http://dock\"]", &["web.hosts", "name alone"]);
        let with_token = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("token"), text).unwrap();
            let text = "[web]\nlisten = \"127.0.0.1:8447\"\ntoken = \"token\"";
            Config::parse(&folder.path().join("magpie.toml"), text)
        };
        assert!(with_token("0123456789abcdef0123\n").unwrap().web.unwrap().token.is_some());
        let error = anyhow::Error::new(with_token("1234\n").unwrap_err());
        let message = format!("{error:#}");
        assert!(message.contains("web.token") && message.contains("openssl rand"), "{message}");
        check_refused("[web]\nlisten = \"127.0.0.1:1\"\ntoken = \"gone\"", &["web.token"]);
    }

    #[test]
    fn each_part_of_a_cell_listens_at_an_address_of_its_own() {
        let at = |port: u16| format!("listen = \"127.0.0.1:{port}\"\n");
        let (web, foxglove) = (format!("[web]\n{}", at(8447)), format!("[foxglove]\n{}", at(8447)));
        check_refused(&format!("{web}{foxglove}"), &["foxglove.listen", "[web] listen as well"]);
        let zenoh = "[zenoh]\nlisten = [\"tcp/127.0.0.1:17450\", \"tcp/0.0.0.0:8447\"]\n";
        check_refused(&format!("{web}{zenoh}"), &["web.listen", "[zenoh] listen as well"]);
        check_refused(
            &format!("{foxglove}{zenoh}"),
            &["foxglove.listen", "[zenoh] listen as well"],
        );
        assert!(parse(&format!("{web}[foxglove]\n{}", at(8765))).is_ok());
        for section in ["web", "foxglove"] {
            check_refused(&format!("[{section}]\n{}", at(0)), &[section, "names no port"]);
        }
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

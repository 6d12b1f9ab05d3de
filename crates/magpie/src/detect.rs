//! `magpie detect`: one picture through the pipeline.

use std::path::{Path, PathBuf};

use magpie_camera::{check_aligned, read_camera_info, read_depth_png, read_image, write_png};
use magpie_perception::{
    CameraInfo, Frame, Grasp, InferenceSession, Package, Packages, Pipeline, PoseSource, Scene,
    StampSource,
};
use serde_json::{Value, json};

use crate::clock::SystemClock;
use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::overlay::{Drawn, draw};
use crate::service::ended_by;
use crate::{model, output, table};

#[derive(Debug, clap::Args)]
pub struct DetectArgs {
    /// A JPEG or PNG picture.
    image: PathBuf,
    /// The model; absent: the universal model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// 16-bit PNG in millimetres, aligned with the picture. Needs --camera-info.
    #[arg(long, requires = "camera_info")]
    depth: Option<PathBuf>,
    /// ROS camera_info YAML of the camera: gives grasps, in its optical frame.
    #[arg(long)]
    camera_info: Option<PathBuf>,
    /// Write the picture with masks, types and grasps here, as PNG.
    #[arg(long)]
    overlay: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Lowest score kept, 0 to 1; absent: as the model advises.
    #[arg(long)]
    score_min: Option<f32>,
    /// Configuration for everything else.
    #[arg(long)]
    config: Option<PathBuf>,
}

pub fn detect(args: &DetectArgs) -> Outcome {
    let mut config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    config.score_min = args.score_min.or(config.score_min);
    let model_path = args.model.as_deref().or(config.model_path.as_deref());
    let model = model::read(model_path, config.model_sha256.as_deref())?;
    let clock = SystemClock::start();
    let frame = read_frame(&args.image, args.depth.as_deref(), clock.now())?;
    let scene = match &args.camera_info {
        Some(path) => {
            let camera_info = read_camera_info(path, None).map_err(Failure::config)?;
            Some(camera_scene(camera_info, &config))
        }
        None => None,
    };

    let mut session = model::load(&model, &config.session)?;
    let limits = config.limits(model.spec().score_min);
    let mut pipeline = Pipeline::new(model.spec().clone());
    let (packages, latencies) = pipeline
        .process(&frame, &mut session, clock.as_ref(), scene.as_ref(), &limits)
        .map_err(ended_by)?;

    let class_names = &session.spec().class_names;
    if let Some(path) = &args.overlay {
        let drawn: Vec<Drawn> =
            packages.packages.iter().map(|p| Drawn::from_package(p, class_names)).collect();
        let picture = draw(&frame.color, &drawn).map_err(Failure::fault)?;
        write_png(path, &picture).map_err(Failure::fault)?;
    }
    if args.json {
        let mut document = to_json(&packages, class_names);
        document["image"]["path"] = json!(args.image);
        document["model"] = json!({"name": model.spec().name, "sha256": model.spec().sha256});
        document["provider"] = json!(session.provider().name());
        document["inference_ms"] = json!(latencies.inference_ns as f64 / 1e6);
        output::line(&document.to_string())
    } else {
        output::line(&table::packages(&packages, class_names))
    }
}

/// A picture as a frame that was exposed now.
pub fn read_frame(
    image: &Path,
    depth: Option<&Path>,
    stamp: magpie_perception::StampNs,
) -> Result<Frame, Failure> {
    let color = read_image(image).map_err(Failure::fault)?;
    let depth = depth.map(read_depth_png).transpose().map_err(Failure::fault)?;
    if let Some(depth) = &depth {
        check_aligned(&color, depth).map_err(Failure::fault)?;
    }
    Ok(Frame { sequence: 0, stamp, stamp_source: StampSource::Arrival, color, depth })
}

fn camera_scene(camera_info: CameraInfo, config: &Config) -> Scene {
    Scene {
        camera_info,
        base_from_camera: None,
        support_plane_in_camera: None,
        tool: config.tool,
        calibration_id: String::new(),
    }
}

fn to_json(packages: &Packages, class_names: &[String]) -> Value {
    let found: Vec<Value> =
        packages.packages.iter().map(|package| package_json(package, class_names)).collect();
    json!({
        "image": {"width_px": packages.image_width_px, "height_px": packages.image_height_px},
        "packages": found,
    })
}

fn package_json(package: &Package, class_names: &[String]) -> Value {
    let Package { instance, .. } = package;
    let (bbox, mask) = (&instance.bbox, &instance.mask);
    json!({
        "track_id": package.track_id,
        "type": class_names[instance.class_id],
        "score": instance.score,
        "bbox_px": [bbox.x_min_px, bbox.y_min_px, bbox.x_max_px, bbox.y_max_px],
        "mask": {"size": [mask.height_px(), mask.width_px()], "counts": mask.to_coco_string()},
        "deepest_px": package.deepest_px,
        "height_m": package.height_m,
        "pick_rank": package.pick_rank,
        "grasps": package.grasps.iter().map(grasp_json).collect::<Vec<_>>(),
    })
}

fn grasp_json(grasp: &Grasp) -> Value {
    let position = grasp.reference_from_grasp.translation.vector;
    let q = grasp.reference_from_grasp.rotation.coords;
    json!({
        "contact_px": grasp.contact_px,
        "position_m": [position.x, position.y, position.z],
        "orientation_xyzw": [q.x, q.y, q.z, q.w],
        "reference_frame": "camera",
        "pose_source": match grasp.pose_source {
            PoseSource::Depth => "depth",
            PoseSource::SupportPlane => "support_plane",
        },
        "quality": grasp.quality,
        "clearance": grasp.clearance,
        "seal": grasp.seal,
        "depth_hole_fraction": grasp.depth_hole_fraction,
    })
}

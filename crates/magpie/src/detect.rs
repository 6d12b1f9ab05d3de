//! `magpie detect`: pictures through the pipeline.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use indicatif::ProgressBar;
use magpie_camera::calibrate::fit_plane;
use magpie_camera::{check_aligned, read_camera_info, read_depth_png, read_image, write_png};
use magpie_inference::OnnxSession;
use magpie_perception::{
    CameraInfo, DepthImage, Frame, Grasp, InferenceSession, ModelSpec, Package, Packages, Pipeline,
    Plane, PoseSource, ReferenceFrame, Scene, StampSource, check_image_size,
};
use serde_json::{Value, json};

use crate::clock::SystemClock;
use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::overlay::{Drawn, draw};
use crate::service::ended_by;
use crate::{model, output, pictures, progress, table};

/// Packages may cover most of what they lie on.
const PLANE_SHARE_MIN: f64 = 0.2;

#[derive(Debug, clap::Args)]
pub struct DetectArgs {
    /// JPEG or PNG pictures, or folders of them.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// The model; absent: the universal model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// 16-bit PNG in millimetres, aligned with the one picture. Needs a camera_info. Where no
    /// support plane is configured, the largest plane in it is taken for one.
    #[arg(long)]
    depth: Option<PathBuf>,
    /// ROS camera_info YAML of the camera: gives grasps, in its optical frame. Absent: [scene] of the
    /// configuration.
    #[arg(long)]
    camera_info: Option<PathBuf>,
    /// Write the picture with masks, types and grasps here, as PNG; of several pictures, into this
    /// folder.
    #[arg(long)]
    overlay: Option<PathBuf>,
    /// Print JSON instead of a table, one line for each picture.
    #[arg(long)]
    json: bool,
    /// Lowest score kept, 0 to 1; absent: as the model advises.
    #[arg(long, value_parser = score)]
    score_min: Option<f32>,
    /// Configuration for everything else.
    #[arg(long)]
    config: Option<PathBuf>,
}

pub fn detect(args: &DetectArgs) -> Outcome {
    let mut config = Config::load(args.config.as_deref()).map_err(Failure::config)?;
    config.score_min = args.score_min.or(config.score_min);
    let model = model::chosen(args.model.as_deref(), &config)?;
    let paths = Paths::find(args)?;
    let mut scene = match &args.camera_info {
        Some(path) => {
            let camera_info = read_camera_info(path, None).map_err(Failure::config)?;
            Some(camera_scene(camera_info, &config))
        }
        None => config.scene.clone(),
    };
    if args.depth.is_some() && scene.is_none() {
        return Err(Failure::Config(anyhow!(
            "--depth says nothing without the lens: give --camera-info, or --config with [scene]"
        )));
    }
    // A single picture is read before the model is loaded: a wrong name is told at once.
    let clock = SystemClock::start();
    let read = |path: &Path| read_frame(path, args.depth.as_deref(), clock.now());
    let mut first = if paths.are_several { None } else { Some(read(&paths.pictures[0])?) };
    if let Some((scene, depth)) = scene.as_mut().zip(first.as_ref().and_then(|f| f.depth.as_ref()))
    {
        find_support_plane(scene, depth)?;
    }

    let mut session = model::load(&model, &config.session)?;
    let limits = config.limits(model.spec().score_min);
    let bar = if paths.are_several {
        progress::bar(paths.pictures.len() as u64, "pictures")
    } else {
        ProgressBar::hidden()
    };
    let mut unreadable = 0;
    for (path, overlay) in paths.pictures.iter().zip(&paths.overlays) {
        let frame = match first.take().map_or_else(|| read(path), Ok) {
            Ok(frame) => frame,
            Err(failure) => {
                bar.suspend(|| tracing::error!("{}", failure.message()));
                unreadable += 1;
                continue;
            }
        };
        // A fresh pipeline: pictures are no stream.
        let (packages, latencies) = Pipeline::new(model.spec().clone())
            .process(&frame, &mut session, clock.as_ref(), scene.as_ref(), &limits)
            .map_err(ended_by)?;
        if let Some(overlay) = overlay {
            write_overlay(overlay, &frame, &packages, session.spec())?;
        }
        let text = if args.json {
            to_json_line(path, &packages, &session, latencies.inference_ns)
        } else {
            let table = table::packages(&packages, &model.spec().class_names);
            if paths.are_several { format!("{}\n{table}\n", path.display()) } else { table }
        };
        bar.suspend(|| output::line(&text))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    if unreadable > 0 {
        let all = paths.pictures.len();
        return Err(Failure::Fault(anyhow!("{unreadable} of {all} pictures could not be read")));
    }
    Ok(())
}

/// What is to be read, and where each is drawn.
struct Paths {
    pictures: Vec<PathBuf>,
    overlays: Vec<Option<PathBuf>>,
    /// Several were named, or a folder: one that cannot be read does not stop the others.
    are_several: bool,
}

impl Paths {
    fn find(args: &DetectArgs) -> Result<Paths, Failure> {
        let are_several = args.images.len() > 1 || args.images[0].is_dir();
        if !are_several {
            let overlays = vec![args.overlay.clone()];
            return Ok(Paths { pictures: args.images.clone(), overlays, are_several });
        }
        if args.depth.is_some() {
            let message = "--depth belongs to one picture; name only that one\n";
            clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, message).exit();
        }
        let mut pictures = Vec::new();
        for path in &args.images {
            // One that is not there is told with the unreadable ones.
            let found = if path.is_dir() { pictures::find(path)? } else { vec![path.clone()] };
            pictures.extend(found);
        }
        let overlays = match &args.overlay {
            Some(folder) => overlays_in(folder, &pictures)?.into_iter().map(Some).collect(),
            None => vec![None; pictures.len()],
        };
        Ok(Paths { pictures, overlays, are_several })
    }
}

/// The pictures' names; where two are alike, numbered.
fn overlays_in(folder: &Path, pictures: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("make folder {} for overlays", folder.display()))?;
    let mut taken = HashSet::new();
    let names = pictures.iter().map(|picture| {
        let stem = picture.file_stem().unwrap_or_default().to_string_lossy();
        let numbered = (2..).map(|number| format!("{stem}_{number}.png"));
        let mut names = std::iter::once(format!("{stem}.png")).chain(numbered);
        let name = names.find(|name| taken.insert(name.clone())).expect("numbers do not end");
        folder.join(name)
    });
    Ok(names.collect())
}

fn write_overlay(path: &Path, frame: &Frame, packages: &Packages, spec: &ModelSpec) -> Outcome {
    let drawn: Vec<Drawn> =
        packages.packages.iter().map(|p| Drawn::from_package(p, &spec.class_names)).collect();
    let picture = draw(&frame.color, &drawn).map_err(Failure::fault)?;
    write_png(path, &picture).map_err(Failure::fault)
}

/// A score given on the command line.
pub fn score(text: &str) -> Result<f32, String> {
    let value: f32 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    let is_score = (0.0..=1.0).contains(&value);
    is_score.then_some(value).ok_or_else(|| format!("{text} is not between 0 and 1"))
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

/// Where none is configured: packages lie on the largest plane in view, or nobody knows.
fn find_support_plane(scene: &mut Scene, depth: &DepthImage) -> Outcome {
    check_image_size((depth.width_px(), depth.height_px()), Some(scene))
        .map_err(Failure::config)?;
    if scene.support_plane_in_camera.is_some() {
        return Ok(());
    }
    match fit_plane(depth, &scene.camera_info, None, PLANE_SHARE_MIN) {
        Ok(fit) => {
            let share_percent = 100.0 * fit.inlier_share;
            let Plane { normal: n, offset_m } = fit.plane;
            tracing::info!(
                "took the plane of {share_percent:.0} % of the depth for the support: \
                 support_plane_in_camera = [{:.4}, {:.4}, {:.4}, {offset_m:.4}]",
                n.x,
                n.y,
                n.z
            );
            scene.support_plane_in_camera = Some(fit.plane);
        }
        Err(error) => {
            tracing::warn!("without a support plane there are no sizes and heights: {error}");
        }
    }
    Ok(())
}

fn camera_scene(camera_info: CameraInfo, config: &Config) -> Scene {
    Scene {
        camera_info,
        camera_place: None,
        support_plane_in_camera: None,
        tool: config.tool.clone(),
        calibration_id: String::new(),
    }
}

fn to_json_line(
    path: &Path,
    packages: &Packages,
    session: &OnnxSession,
    inference_ns: u64,
) -> String {
    let spec = session.spec();
    let reference_frame = match packages.reference_frame {
        ReferenceFrame::Base => "base",
        ReferenceFrame::Gripper => "gripper",
        ReferenceFrame::Camera => "camera",
    };
    let found = packages
        .packages
        .iter()
        .map(|package| package_json(package, &spec.class_names, reference_frame));
    let document = json!({
        "image": {
            "path": path,
            "width_px": packages.image_width_px,
            "height_px": packages.image_height_px,
        },
        "depth_problem": packages.depth_problem.map(|problem| problem.to_string()),
        "packages": found.collect::<Vec<_>>(),
        "model": {"name": spec.name, "sha256": spec.sha256},
        "provider": session.provider().name(),
        "inference_ms": inference_ns as f64 / 1e6,
    });
    document.to_string()
}

fn package_json(package: &Package, class_names: &[String], reference_frame: &str) -> Value {
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
        "position_m": package.position_in_reference.map(|p| [p.x, p.y, p.z]),
        "size_m": package.size.map(|size| [size.length_m, size.width_m, size.height_m]),
        "occluded_share": package.occluded_share,
        "refusal": package.refusal().map(|refusal| table::refusal(refusal.into())),
        "pick_rank": package.pick_rank,
        "grasps": package.grasps().iter().map(|g| grasp_json(g, reference_frame)).collect::<Vec<_>>(),
    })
}

fn grasp_json(grasp: &Grasp, reference_frame: &str) -> Value {
    let position = grasp.reference_from_grasp.translation.vector;
    let q = grasp.reference_from_grasp.rotation.coords;
    json!({
        "contact_px": grasp.contact_px,
        "position_m": [position.x, position.y, position.z],
        "orientation_xyzw": [q.x, q.y, q.z, q.w],
        "reference_frame": reference_frame,
        "pose_source": match grasp.pose_source {
            PoseSource::Depth => "depth",
            PoseSource::SupportPlane => "support_plane",
        },
        "quality": grasp.quality.product(),
        "clearance": grasp.quality.clearance,
        "seal": grasp.quality.seal,
        "moment": grasp.quality.moment,
        "tilt": grasp.quality.tilt,
        "hold": grasp.quality.hold,
        "cups": grasp.cups.indices().collect::<Vec<_>>(),
        "position_sigma_m": grasp.position_sigma_m,
        "depth_hole_fraction": grasp.quality.depth_hole_fraction(),
    })
}

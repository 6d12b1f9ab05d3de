//! `magpie detect`: pictures through the pipeline.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use indicatif::ProgressBar;
use magpie_camera::calibrate::fit_plane;
use magpie_camera::{read_camera_info, write_png};
use magpie_daemon::identity::identities;
use magpie_inference::OnnxSession;
use magpie_perception::{
    CameraInfo, CountersSnapshot, DepthImage, Frame, FrameReport, InferenceSession, ModelSpec,
    Packages, Pipeline, Plane, Scene, check_image_size, doubt_packages, doubt_plane,
};
use magpie_wire as wire;
use serde_json::json;

use crate::arguments;
use crate::pictures::{self, read_frame, read_sensor_frame};
use crate::present::json::package_json;
use crate::present::overlay::{Drawn, draw};
use crate::present::{output, progress, table};
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome, ended_by};
use magpie_daemon::model;
use magpie_network::SystemClock;

/// Packages may cover most of what they lie on.
const PLANE_SHARE_MIN: f64 = 0.2;

#[derive(Debug, clap::Args)]
pub struct DetectArgs {
    /// Pictures (JPEG, PNG, WebP, TIFF, BMP, PGM), or folders of them.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// The model; absent: the universal model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// PNG, TIFF or PGM of 16 bits, aligned with the one picture. Needs a camera_info. Where no support
    /// plane is configured, the largest plane in it is taken for one.
    #[arg(long)]
    depth: Option<PathBuf>,
    /// What one step of --depth stands for, in metres: 0.0002 in TUM's data sets, 0.00025 with a
    /// RealSense L515. Absent: [depth] of the configuration, whose default are millimetres.
    #[arg(long, value_parser = arguments::depth_unit, requires = "depth")]
    depth_unit_m: Option<f64>,
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
    #[arg(long, value_parser = arguments::score)]
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
    // An overlay may have the name of a picture that is only read later.
    let inputs = paths.pictures.iter().chain(&args.depth).chain(&args.camera_info);
    inputs.for_each(|input| magpie_files::note_input(input));
    paths.overlays.iter().flatten().try_for_each(|overlay| output::check(overlay))?;
    let mut scene = match &args.camera_info {
        Some(path) => {
            let camera_info = read_camera_info(path, None).map_err(Failure::config)?;
            Some(camera_scene(camera_info, &config))
        }
        None => config.scene.clone(),
    };
    if args.depth.is_some() && scene.is_none() {
        return Err(Failure::Config(anyhow!(
            "--depth has no meaning without the lens: give --camera-info, or --config with [scene]"
        )));
    }
    // A single picture is read before the model is loaded: a wrong name is reported at once.
    let clock = SystemClock::start();
    let unit_m = args.depth_unit_m.unwrap_or(config.depth_unit_m);
    let depth = args.depth.as_deref().map(|path| (path, unit_m));
    let has_lens = scene.is_some();
    let read = |path: &Path| {
        if has_lens {
            read_sensor_frame(path, depth, clock.now())
        } else {
            read_frame(path, clock.now())
        }
    };
    let mut first = if paths.are_several { None } else { Some(read(&paths.pictures[0])?) };
    if let Some((scene, depth)) = scene.as_mut().zip(first.as_ref().and_then(|f| f.depth.as_ref()))
    {
        find_support_plane(scene, depth, args.depth_unit_m.is_some())?;
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
        // Each picture gets a fresh pipeline: pictures are no stream.
        let (packages, latencies) = Pipeline::new(model.spec().clone())
            .process(&frame, &mut session, clock.as_ref(), scene.as_ref(), &limits)
            .map_err(ended_by)?;
        bar.suspend(|| tell_doubts(&packages));
        if let Some(overlay) = overlay {
            write_overlay(overlay, &frame, &packages, session.spec())?;
        }
        let text = if args.json {
            let inference_ns = latencies.inference_ns;
            let counters = CountersSnapshot::default();
            let report = FrameReport { packages, latencies, counters };
            json_line(path, &message(&report, &config, scene.as_ref(), &session), inference_ns)
        } else {
            let table = table::packages(&packages, &model.spec().class_names);
            if paths.are_several { format!("{}\n{table}\n", path.display()) } else { table }
        };
        // Whoever draws pictures wants all of them, read or not.
        let print = if overlay.is_some() { output::line } else { output::line_or_end };
        bar.suspend(|| print(&text))?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    if unreadable > 0 {
        let all = paths.pictures.len();
        return Err(Failure::Fault(anyhow!(
            "{unreadable} of {all} pictures could not be read; see the errors above"
        )));
    }
    Ok(())
}

/// The pictures to read, and the path where each is drawn.
struct Paths {
    pictures: Vec<PathBuf>,
    overlays: Vec<Option<PathBuf>>,
    /// Several pictures were named, or a folder: one that cannot be read does not stop the others.
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
            // A missing file is reported with the unreadable ones.
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

/// Paths with the pictures' names; equal names are numbered.
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

/// What the daemon would say of depth and sizes in its status.
fn tell_doubts(packages: &Packages) {
    if let Some(problem) = packages.depth_problem {
        tracing::warn!("depth not used: {problem}; see --depth-unit-m");
    }
    if let Some(doubt) = doubt_packages(packages) {
        tracing::warn!("sizes are doubtful: {doubt} see --depth-unit-m");
    }
}

/// Takes the largest plane in view for the support plane, where none is configured.
fn find_support_plane(scene: &mut Scene, depth: &DepthImage, is_unit_said: bool) -> Outcome {
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
                "took the plane of {share_percent:.0} % of the depth, {:.3} m away, for the support: \
                 support_plane_in_camera = [{:.4}, {:.4}, {:.4}, {offset_m:.4}]",
                offset_m.abs(),
                n.x,
                n.y,
                n.z
            );
            if let Some(doubt) = doubt_plane(&fit.plane, is_unit_said) {
                tracing::warn!("depth is doubtful: {doubt} see --depth-unit-m");
            }
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

/// The message that a daemon would publish about the picture.
fn message(
    report: &FrameReport,
    config: &Config,
    scene: Option<&Scene>,
    session: &OnnxSession,
) -> wire::Packages {
    let envelope = wire::Envelope {
        cell: config.cell.as_str(),
        instance_id: "detect",
        publication: 1,
        published: report.packages.stamp,
        unix_ahead_ns: 0,
        state: wire::State::Ok,
        results_superseded: 0,
    };
    wire::to_wire(report, &identities(config, scene, session), &envelope)
}

/// The message, and around it what scripts read without protobuf.
fn json_line(path: &Path, message: &wire::Packages, inference_ns: u64) -> String {
    let model = message.model.clone().unwrap_or_default();
    let depth_problem = Some(&message.depth_problem).filter(|problem| !problem.is_empty());
    let document = json!({
        "image": {
            "path": path,
            "width_px": message.image_width_px,
            "height_px": message.image_height_px,
        },
        "depth_problem": depth_problem,
        "packages": message.packages.iter().map(|p| package_json(p, message)).collect::<Vec<_>>(),
        "model": {"name": model.name, "sha256": model.sha256},
        "provider": message.provider_got,
        "inference_ms": inference_ns as f64 / 1e6,
        "message": wire::to_json(message),
    });
    document.to_string()
}

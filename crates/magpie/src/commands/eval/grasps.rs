//! `magpie eval --grasps`: planned grasps before a judge who knows the true surfaces.
//!
//! The judge also judges two simple ways to choose a contact: the centroid of the mask,
//! and the flattest patch in it.

use std::path::Path;

use anyhow::anyhow;
use magpie_inference::OnnxSession;
use magpie_perception::{
    BboxPx, CupProbe, CupSet, DepthImage, Frame, InferenceSession, Instance, Limits, Mask, Package,
    PackageType, Pipeline, Plan, PlanState, PoseSource, Scene, StampNs, SurfaceUnderCup, plan,
};
use magpie_workcell::{Judge, Solids, TruePackage, Verdict};
use nalgebra::{Isometry3, Matrix3, Rotation3, Translation3, UnitQuaternion, Vector3};

use super::args::{EvalArgs, Masks};
use super::grasp_pictures;
use super::grasp_report::{Report, Sizes, Trial};
use super::truth::{self, TrueFrame};
use crate::pictures::read_sensor_frame;
use crate::present::{output, progress};
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome, ended_by};
use magpie_daemon::model;
use magpie_network::SystemClock;
use magpie_perception::SharedClock;

/// A found package is a true one if their masks overlap by this much.
const IOU_MIN: f32 = 0.5;
/// Simulated depth is in millimetres.
const DEPTH_UNIT_M: f64 = 0.001;
/// The planner's pick order uses the same limit.
const OCCLUDED_SHARE_MAX: f32 = 0.08;
/// Patches that the baseline compares, across a mask.
const FLATTEST_ACROSS: f32 = 14.0;

pub(super) fn eval(folder: &Path, args: &EvalArgs, config: &Config) -> Outcome {
    let frames = truth::read(folder, &config.tool).map_err(Failure::Fault)?;
    let limits = config.limits(None);
    if let Some(pictures) = &args.pictures {
        output::create_empty_folder(pictures)?;
    }
    let mut detector = match args.masks {
        Masks::True => None,
        Masks::Model => Some(Detector::load(config)?),
    };
    let bar = progress::bar(frames.len() as u64, "frames");
    let mut report = Report::default();
    for frame in &frames {
        let image = read_sensor_frame(
            &frame.color,
            Some((&frame.depth, DEPTH_UNIT_M)),
            StampNs::default(),
        )?;
        let packages = match &mut detector {
            None => planned(frame, &image, &limits),
            Some(detector) => detector.detect(frame, &image)?,
        };
        let solids = Solids::read(&frame.solids).map_err(Failure::fault)?;
        let judge = Judge::new(&solids).map_err(Failure::fault)?;
        let depth = image.depth.as_ref().expect("read with depth");
        let first = report.trials.len();
        let seen = judge_frame(frame, &packages, depth, &judge, &solids, &mut report);
        if let Some(pictures) = &args.pictures {
            let verdicts = report.trials[first..].iter().map(|trial| trial.ours);
            let judged: Vec<_> = seen.into_iter().zip(verdicts).collect();
            let name = frame.color.file_stem().unwrap_or_default();
            let path = pictures.join(name).with_extension("png");
            grasp_pictures::write(&path, &image, &frame.scene, &judged)?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if report.is_empty() {
        return Err(Failure::fault(anyhow!(
            "judge grasps in {}: no package was found in any frame; try --masks true",
            folder.display()
        )));
    }
    if args.json {
        output::line(&report.to_json().to_string())
    } else {
        output::line(&report.tables())
    }
}

/// Plans on the true masks.
fn planned(frame: &TrueFrame, image: &Frame, limits: &Limits) -> Vec<Package> {
    let instances: Vec<Instance> = frame.packages.iter().map(instance).collect();
    let ids: Vec<u64> = (1..).take(instances.len()).collect();
    let depth = image.depth.as_ref();
    let names = PackageType::ALL.map(|each| each.name().to_owned());
    let mut state = PlanState::for_classes(&names);
    let Plan { packages, .. } =
        plan(instances, &ids, depth, Some(&frame.scene), &limits.grasps, &mut state);
    packages
}

fn instance(package: &TruePackage) -> Instance {
    let none = BboxPx { x_min_px: 0.0, y_min_px: 0.0, x_max_px: 0.0, y_max_px: 0.0 };
    let class_id = PackageType::ALL.iter().position(|each| *each == package.package_type);
    Instance {
        class_id: class_id.expect("ALL holds all"),
        score: 1.0,
        bbox: package.mask.bbox().unwrap_or(none),
        mask: package.mask.clone(),
    }
}

struct Detector {
    session: OnnxSession,
    clock: SharedClock,
    limits: Limits,
}

impl Detector {
    fn load(config: &Config) -> Result<Detector, Failure> {
        let model = model::read(config.model_path.as_deref(), config.model_sha256.as_deref())?;
        let limits = config.limits(model.spec().score_min);
        let session = model::load(&model, &config.session)?;
        Ok(Detector { session, clock: SystemClock::start(), limits })
    }

    fn detect(&mut self, frame: &TrueFrame, image: &Frame) -> Result<Vec<Package>, Failure> {
        // Each picture gets a fresh pipeline: the frames of a dataset are no stream.
        let mut pipeline = Pipeline::new(self.session.spec().clone());
        let clock = self.clock.as_ref();
        pipeline
            .process(image, &mut self.session, clock, Some(&frame.scene), &self.limits)
            .map(|(packages, _)| packages.packages)
            .map_err(ended_by)
    }
}

/// The packages that were judged, one trial each.
fn judge_frame<'a>(
    frame: &TrueFrame,
    packages: &'a [Package],
    depth: &DepthImage,
    judge: &Judge,
    solids: &Solids,
    report: &mut Report,
) -> Vec<&'a Package> {
    let mut seen = Vec::new();
    let mut probe = CupProbe::new(depth, &frame.scene);
    let mut first = true;
    for package in packages {
        let Some(truth) = counterpart(package, &frame.packages) else { continue };
        seen.push(package);
        let radius_m = frame.scene.tool.cups[0].radius_m;
        let ours = package.best_grasp().filter(|grasp| grasp.pose_source == PoseSource::Depth);
        let ours = ours.map(|grasp| {
            judge.judge(&frame.scene.tool, grasp.cups, &grasp.reference_from_grasp, truth)
        });
        let mask = &package.instance.mask;
        let mut simple = |at_px: Option<[f32; 2]>| {
            let surface = probe.touch(at_px?, radius_m)?;
            Some(judge_surface(&surface, &frame.scene, judge, truth))
        };
        let centroid = simple(centroid_px(mask));
        let flattest = {
            let at_px = flattest_px(mask, depth, &frame.scene, radius_m);
            simple(at_px)
        };
        report.trials.push(Trial {
            package_type: truth.package_type,
            distance_m: frame.distance_m,
            tilt_deg: frame.tilt_deg,
            depth_sigma_m: frame.depth_sigma_m,
            buried: judge.is_buried(truth.package_id),
            is_whole: package.occluded_share <= OCCLUDED_SHARE_MAX && !mask.touches_border(),
            first: std::mem::take(&mut first),
            quality: package.best_grasp().map(|grasp| grasp.quality.product()),
            refusal: package.refusal(),
            ours,
            centroid,
            flattest,
            sizes: package
                .size
                .filter(|_| truth.visible_fraction > 0.9)
                .map(|found| Sizes { found, truth: true_size(truth, solids) }),
        });
    }
    report.packages += frame.packages.len();
    seen
}

fn counterpart<'a>(package: &Package, truth: &'a [TruePackage]) -> Option<&'a TruePackage> {
    let iou = |truth: &&TruePackage| package.instance.mask.iou(&truth.mask);
    let best = truth.iter().max_by(|a, b| iou(a).total_cmp(&iou(b)))?;
    (iou(&best) >= IOU_MIN).then_some(best)
}

/// A single cup, put where a baseline says.
fn judge_surface(
    surface: &SurfaceUnderCup,
    scene: &Scene,
    judge: &Judge,
    truth: &TruePackage,
) -> Verdict {
    let z = -surface.normal_in_camera;
    let aside = if z.x.abs() < 0.9 { Vector3::x() } else { Vector3::y() };
    let x = (aside - z * z.dot(&aside)).normalize();
    let rotation = Rotation3::from_matrix_unchecked(Matrix3::from_columns(&[x, z.cross(&x), z]));
    let camera_from_grasp = Isometry3::from_parts(
        Translation3::from(surface.point_in_camera.coords),
        UnitQuaternion::from_rotation_matrix(&rotation),
    );
    let base_from_camera = scene.reference_from_camera();
    judge.judge(&scene.tool, CupSet::of(0), &(base_from_camera * camera_from_grasp), truth)
}

fn centroid_px(mask: &Mask) -> Option<[f32; 2]> {
    let (mut sum, mut count) = ([0.0f64; 2], 0.0);
    for (x, y, length) in mask.columns() {
        let weight = f64::from(length);
        sum[0] += weight * f64::from(x);
        sum[1] += weight * (f64::from(y) + 0.5 * (weight - 1.0));
        count += weight;
    }
    #[expect(clippy::cast_possible_truncation, reason = "a pixel")]
    (count > 0.0).then(|| sum.map(|sum| (sum / count) as f32))
}

/// The place in the mask whose depth deviates the least from a plane.
fn flattest_px(mask: &Mask, depth: &DepthImage, scene: &Scene, radius_m: f64) -> Option<[f32; 2]> {
    let bbox = mask.bbox()?;
    let mut probe = CupProbe::new(depth, scene);
    let span = (bbox.x_max_px - bbox.x_min_px).max(bbox.y_max_px - bbox.y_min_px);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "pixels")]
    let step = (span / FLATTEST_ACROSS).max(1.0) as u32;
    let mut best: Option<(f64, [f32; 2])> = None;
    for (x, y, length) in mask.columns().filter(|(x, ..)| x % step == 0) {
        for y in (y..y + length).filter(|y| y % step == 0) {
            let at_px = [x as f32, y as f32];
            let Some(surface) = probe.touch(at_px, radius_m) else { continue };
            if best.is_none_or(|(least, _)| surface.deviation_m < least) {
                best = Some((surface.deviation_m, at_px));
            }
        }
    }
    best.map(|(_, at_px)| at_px)
}

/// Length and width across the package's most upright axis, and how high it reaches.
fn true_size(truth: &TruePackage, solids: &Solids) -> [f64; 3] {
    let rotation = truth.base_from_package.rotation;
    let upright = |axis: Vector3<f64>| (rotation * axis).z.abs();
    let mut sides = [
        (upright(Vector3::x()), truth.length_m),
        (upright(Vector3::y()), truth.width_m),
        (upright(Vector3::z()), truth.height_m),
    ];
    sides.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (a, b) = (sides[0].1, sides[1].1);
    let top_m = solids
        .package(truth.package_id)
        .flatten()
        .map(|corner| f64::from(corner[2]))
        .fold(0.0, f64::max);
    [a.max(b), a.min(b), top_m]
}

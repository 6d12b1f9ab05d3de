//! A simulated dataset as `magpie simulate` wrote it, with the masks of its annotations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use magpie_perception::{
    CameraInfo, CameraPlace, Distortion, Intrinsics, Mask, PackageType, Plane, Scene, Tool,
};
use magpie_workcell::TruePackage;
use nalgebra::{Isometry3, Quaternion, Translation3, Unit, UnitQuaternion, Vector3};
use serde::Deserialize;

/// One frame of the dataset.
pub(super) struct TrueFrame {
    pub(super) color: PathBuf,
    pub(super) depth: PathBuf,
    pub(super) solids: PathBuf,
    pub(super) scene: Scene,
    pub(super) tilt_deg: f64,
    pub(super) distance_m: f64,
    pub(super) depth_sigma_m: f64,
    pub(super) packages: Vec<TruePackage>,
}

#[derive(Deserialize)]
struct FrameLine {
    image_id: u64,
    file_name: PathBuf,
    depth_file_name: PathBuf,
    solids_file_name: Option<PathBuf>,
    tilt_deg: f64,
    distance_m: f64,
    depth_sigma_m: Option<f64>,
    camera_info: CameraInfoLine,
    base_from_camera: PoseLine,
    support_plane_in_base: PlaneLine,
    packages: Vec<PackageLine>,
}

#[derive(Deserialize)]
struct CameraInfoLine {
    width: u32,
    height: u32,
    d: [f64; 5],
    k: [f64; 9],
}

#[derive(Deserialize)]
struct PoseLine {
    translation_m: [f64; 3],
    rotation_xyzw: [f64; 4],
}

#[derive(Deserialize)]
struct PlaneLine {
    normal: [f64; 3],
    offset_m: f64,
}

#[derive(Deserialize)]
struct PackageLine {
    package_id: u32,
    r#type: String,
    base_from_package: PoseLine,
    length_m: f64,
    width_m: f64,
    height_m: f64,
    visible_fraction: f64,
}

#[derive(Deserialize)]
struct Annotations {
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    iscrowd: u8,
    segmentation: Segmentation,
}

#[derive(Deserialize)]
struct Segmentation {
    size: [u32; 2],
    counts: String,
}

/// A hundred thousand frames of many packages have less.
const LABELS_BYTES_MAX: u64 = 2_000_000_000;

/// Reads the folder's indexes; pictures and surfaces are read frame by frame.
pub(super) fn read(folder: &Path, tool: &Tool) -> anyhow::Result<Vec<TrueFrame>> {
    let read = |name: &str| {
        let path = folder.join(name);
        let text = magpie_files::read_text(&path, LABELS_BYTES_MAX);
        text.with_context(|| format!("read {}: name a folder of magpie simulate", path.display()))
    };
    let annotations: Annotations =
        serde_json::from_str(&read("annotations.json")?).context("parse annotations.json")?;
    let mut masks: BTreeMap<u64, Vec<Mask>> = BTreeMap::new();
    for annotation in annotations.annotations.into_iter().filter(|a| a.iscrowd == 0) {
        let [height_px, width_px] = annotation.segmentation.size;
        let mask = Mask::from_coco_string(width_px, height_px, &annotation.segmentation.counts)?;
        masks.entry(annotation.image_id).or_default().push(mask);
    }
    let mut frames = Vec::new();
    for (index, line) in read("truth.jsonl")?.lines().enumerate() {
        let line: FrameLine = serde_json::from_str(line)
            .with_context(|| format!("parse line {} of truth.jsonl", index + 1))?;
        let masks = masks.remove(&line.image_id).unwrap_or_default();
        frames.push(frame(folder, line, masks, tool)?);
    }
    Ok(frames)
}

fn frame(
    folder: &Path,
    line: FrameLine,
    masks: Vec<Mask>,
    tool: &Tool,
) -> anyhow::Result<TrueFrame> {
    let name = line.file_name.display();
    let solids = line.solids_file_name.with_context(|| {
        format!(
            "{name} comes without its true surfaces: make the dataset with magpie simulate --solids"
        )
    })?;
    ensure!(
        masks.len() == line.packages.len(),
        "{name} has {} masks in annotations.json and {} packages in truth.jsonl: they are not of \
         one dataset",
        masks.len(),
        line.packages.len()
    );
    let packages = line.packages.into_iter().zip(masks).map(|(line, mask)| package(line, mask));
    Ok(TrueFrame {
        color: folder.join(&line.file_name),
        depth: folder.join(&line.depth_file_name),
        solids: folder.join(solids),
        scene: scene(&line.camera_info, &line.base_from_camera, &line.support_plane_in_base, tool),
        tilt_deg: line.tilt_deg,
        distance_m: line.distance_m,
        depth_sigma_m: line.depth_sigma_m.unwrap_or(f64::NAN),
        packages: packages.collect::<anyhow::Result<_>>()?,
    })
}

fn package(line: PackageLine, mask: Mask) -> anyhow::Result<TruePackage> {
    let package_type = PackageType::ALL
        .into_iter()
        .find(|each| each.name() == line.r#type)
        .with_context(|| {
            format!(
                "{:?} in truth.jsonl is no type of package that this program knows",
                line.r#type
            )
        })?;
    Ok(TruePackage {
        package_id: line.package_id,
        package_type,
        mask,
        visible_fraction: line.visible_fraction,
        base_from_package: pose(&line.base_from_package),
        length_m: line.length_m,
        width_m: line.width_m,
        height_m: line.height_m,
    })
}

fn scene(info: &CameraInfoLine, camera: &PoseLine, plane: &PlaneLine, tool: &Tool) -> Scene {
    let base_from_camera = pose(camera);
    let camera_from_base = base_from_camera.inverse();
    let normal = Unit::new_normalize(camera_from_base * Vector3::from(plane.normal));
    let at = camera_from_base.translation.vector + normal.into_inner() * plane.offset_m;
    let [fx_px, _, cx_px, _, fy_px, cy_px, ..] = info.k;
    Scene {
        camera_info: CameraInfo {
            camera_name: "workcell".into(),
            frame_id: "camera_optical_frame".into(),
            width_px: info.width,
            height_px: info.height,
            intrinsics: Intrinsics { fx_px, fy_px, cx_px, cy_px },
            distortion: Distortion::plumb_bob(info.d),
        },
        camera_place: Some(CameraPlace::InBase(base_from_camera)),
        support_plane_in_camera: Some(Plane { normal, offset_m: normal.dot(&at) }),
        tool: tool.clone(),
        calibration_id: "simulated".into(),
    }
}

fn pose(line: &PoseLine) -> Isometry3<f64> {
    let [x, y, z, w] = line.rotation_xyzw;
    let [tx, ty, tz] = line.translation_m;
    Isometry3::from_parts(
        Translation3::new(tx, ty, tz),
        UnitQuaternion::from_quaternion(Quaternion::new(w, x, y, z)),
    )
}

//! A COCO dataset with depth and full truth, written to a folder.
//!
//! `annotations.json` (COCO, masks as compressed RLE), `color/NNNNNN.png`, `depth/NNNNNN.png`
//! (16 bit, millimetres, 0 = hole), `truth.jsonl` (one line per frame) and, if the recipe asks for
//! them, `solids/NNNNNN.ply`, the true surfaces of each scene.
//! Packages of which too little is visible share one annotation with `iscrowd` 1, in category 1 for
//! want of one of their own: evaluators then neither ask for them nor punish finding them.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder as _};
use magpie_files::OutputFile;
use magpie_perception::{Mask, PackageType};
use nalgebra::Isometry3;
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::recipe::Recipe;
use crate::simulate::{SimulatedFrame, Simulator};
use crate::truth::Truth;
use crate::{Solids, WorkcellError};

/// Writes frames `0..frames` of `seed` into `out_dir`, which must be new or empty.
///
/// `progress` is called with the number of frames written so far, from any thread. The annotations
/// come last: a folder without them is incomplete.
pub fn write_dataset(
    recipe: &Recipe,
    seed: u64,
    frames: u64,
    out_dir: &Path,
    progress: impl Fn(u64) + Sync,
) -> Result<(), WorkcellError> {
    let simulator = Simulator::new(recipe.clone())?;
    create_folders(out_dir, recipe.solids)?;
    let views = u64::from(recipe.views_per_scene);
    let done = AtomicU64::new(0);
    let records: Vec<Vec<Record>> = (0..frames.div_ceil(views))
        .into_par_iter()
        .map(|scene_index| {
            let scene = simulator.scene(seed, scene_index);
            let first = scene_index * views;
            let solids_name = recipe.solids.then(|| format!("solids/{scene_index:06}.ply"));
            if let Some(name) = &solids_name {
                Solids::new(&scene.scene, &scene.soup).write(&out_dir.join(name))?;
            }
            (first..(first + views).min(frames))
                .map(|index| {
                    let simulated = simulator.view(&scene, seed, index);
                    let record = write_frame(out_dir, index, &simulated, solids_name.as_deref())?;
                    progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                    Ok(record)
                })
                .collect()
        })
        .collect::<Result<_, WorkcellError>>()?;
    let records: Vec<Record> = records.into_iter().flatten().collect();
    write_truth(out_dir, &records)?;
    write_annotations_to(&out_dir.join("annotations.json"), seed, records)
}

/// What the indexes need of a frame once its images are written.
struct Record {
    image: Value,
    annotations: Vec<Value>,
    truth: String,
}

fn create_folders(out_dir: &Path, with_solids: bool) -> Result<(), WorkcellError> {
    magpie_files::create_empty_folder(out_dir).map_err(|source| match source.kind() {
        ErrorKind::DirectoryNotEmpty => WorkcellError::NotEmpty { folder: out_dir.to_owned() },
        _ => WorkcellError::Write { path: out_dir.to_owned(), source },
    })?;
    let folders = if with_solids { &["color", "depth", "solids"][..] } else { &["color", "depth"] };
    for folder in folders {
        let path = out_dir.join(folder);
        fs::create_dir_all(&path).map_err(|source| WorkcellError::Write { path, source })?;
    }
    Ok(())
}

fn write_frame(
    out_dir: &Path,
    index: u64,
    simulated: &SimulatedFrame,
    solids_name: Option<&str>,
) -> Result<Record, WorkcellError> {
    let (color_name, depth_name) =
        (format!("color/{index:06}.png"), format!("depth/{index:06}.png"));
    let color = &simulated.frame.color;
    let mut rgb = color.data().to_vec();
    for pixel in rgb.chunks_exact_mut(3) {
        pixel.swap(0, 2);
    }
    let size = (color.width_px(), color.height_px());
    write_png(&out_dir.join(&color_name), &rgb, size, ExtendedColorType::Rgb8)?;
    if let Some(depth) = &simulated.frame.depth {
        let bytes: Vec<u8> = depth.data_mm().iter().flat_map(|mm| mm.to_ne_bytes()).collect();
        write_png(&out_dir.join(&depth_name), &bytes, size, ExtendedColorType::L16)?;
    }
    let truth = &simulated.truth;
    let image = json!({
        "id": index + 1,
        "file_name": color_name,
        "depth_file_name": depth_name,
        "width": size.0,
        "height": size.1,
        "license": 1,
        "tilt_deg": rounded(truth.tilt_deg),
        "distance_m": rounded(truth.distance_m),
        "background": truth.background,
    });
    let mut line = truth_json(index, &color_name, &depth_name, truth);
    if let Some(name) = solids_name {
        line["solids_file_name"] = json!(name);
    }
    Ok(Record { image, annotations: annotations(index + 1, truth), truth: line.to_string() })
}

/// Ids follow once all frames are known.
fn annotations(image_id: u64, truth: &Truth) -> Vec<Value> {
    let mut all: Vec<Value> = truth
        .packages
        .iter()
        .filter_map(|package| {
            let mut entry =
                annotation(image_id, category_id(package.package_type), &package.mask, 0)?;
            entry["visible_fraction"] = json!(rounded(package.visible_fraction));
            Some(entry)
        })
        .collect();
    all.extend(annotation(image_id, 1, &truth.unannotated, 1));
    all
}

fn annotation(image_id: u64, category_id: usize, mask: &Mask, crowd: u8) -> Option<Value> {
    let bbox = mask.bbox()?;
    Some(json!({
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [bbox.x_min_px, bbox.y_min_px, bbox.x_max_px - bbox.x_min_px, bbox.y_max_px - bbox.y_min_px],
        "area": mask.area_px(),
        "iscrowd": crowd,
        "segmentation": {
            "size": [mask.height_px(), mask.width_px()],
            "counts": mask.to_coco_string(),
        },
    }))
}

/// COCO counts categories from 1.
fn category_id(package_type: PackageType) -> usize {
    1 + PackageType::ALL.iter().position(|each| *each == package_type).expect("ALL holds all")
}

fn truth_json(index: u64, color_name: &str, depth_name: &str, truth: &Truth) -> Value {
    let info = &truth.camera_info;
    let k = &info.intrinsics;
    let packages: Vec<Value> = truth
        .packages
        .iter()
        .map(|package| {
            json!({
                "package_id": package.package_id,
                "type": package.package_type.name(),
                "base_from_package": pose_json(&package.base_from_package),
                "length_m": package.length_m,
                "width_m": package.width_m,
                "height_m": package.height_m,
                "visible_fraction": rounded(package.visible_fraction),
            })
        })
        .collect();
    let plane = &truth.support_plane_in_base;
    json!({
        "image_id": index + 1,
        "file_name": color_name,
        "depth_file_name": depth_name,
        "background": truth.background,
        "tilt_deg": rounded(truth.tilt_deg),
        "distance_m": rounded(truth.distance_m),
        "depth_sigma_m": truth.depth_sigma_m,
        "camera_info": {
            "camera_name": info.camera_name,
            "frame_id": info.frame_id,
            "width": info.width_px,
            "height": info.height_px,
            "distortion_model": "plumb_bob",
            "d": info.distortion.coefficients(),
            "k": [k.fx_px, 0.0, k.cx_px, 0.0, k.fy_px, k.cy_px, 0.0, 0.0, 1.0],
        },
        "base_from_camera": pose_json(&truth.base_from_camera),
        "support_plane_in_base": {
            "normal": plane.normal.as_slice(),
            "offset_m": plane.offset_m,
        },
        "packages": packages,
    })
}

/// Translation in metres, rotation as a unit quaternion.
fn pose_json(pose: &Isometry3<f64>) -> Value {
    let (t, q) = (&pose.translation, &pose.rotation);
    json!({ "translation_m": [t.x, t.y, t.z], "rotation_xyzw": [q.i, q.j, q.k, q.w] })
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn write_png(
    path: &Path,
    bytes: &[u8],
    size: (u32, u32),
    kind: ExtendedColorType,
) -> Result<(), WorkcellError> {
    let mut writer = create(path)?;
    PngEncoder::new_with_quality(&mut writer, CompressionType::Fast, FilterType::Adaptive)
        .write_image(bytes, size.0, size.1, kind)
        .map_err(|source| WorkcellError::Encode { path: path.to_owned(), source })?;
    finish(path, writer)
}

fn write_truth(out_dir: &Path, records: &[Record]) -> Result<(), WorkcellError> {
    let path = out_dir.join("truth.jsonl");
    let mut writer = create(&path)?;
    for record in records {
        writeln!(writer, "{}", record.truth).map_err(write_error(&path))?;
    }
    finish(&path, writer)
}

fn write_annotations_to(path: &Path, seed: u64, records: Vec<Record>) -> Result<(), WorkcellError> {
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for record in records {
        images.push(record.image);
        for mut annotation in record.annotations {
            annotation["id"] = json!(annotations.len() + 1);
            annotations.push(annotation);
        }
    }
    let categories: Vec<Value> = PackageType::ALL
        .iter()
        .map(|each| json!({ "id": category_id(*each), "name": each.name(), "supercategory": "package" }))
        .collect();
    let dataset = json!({
        "info": { "description": "Simulated packages with exact masks", "version": "1", "seed": seed },
        "licenses": [{ "id": 1, "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" }],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    });
    let mut writer = create(path)?;
    serde_json::to_writer(&mut writer, &dataset)
        .map_err(|source| WorkcellError::Write { path: path.to_owned(), source: source.into() })?;
    finish(path, writer)
}

fn create(path: &Path) -> Result<OutputFile, WorkcellError> {
    OutputFile::create(path).map_err(write_error(path))
}

fn finish(path: &Path, writer: OutputFile) -> Result<(), WorkcellError> {
    writer.finish().map_err(write_error(path))
}

fn write_error(path: &Path) -> impl Fn(std::io::Error) -> WorkcellError {
    let path: PathBuf = path.to_owned();
    move |source| WorkcellError::Write { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_reported_with_the_path() {
        // Linux's stand-in for a disk without room.
        let full = Path::new("/dev/full");
        let pixels = vec![7; 64 * 64 * 3];
        let error = write_png(full, &pixels, (64, 64), ExtendedColorType::Rgb8).unwrap_err();
        assert!(error.to_string().contains("/dev/full"), "{error}");
        let records = [Record { image: json!({}), annotations: vec![], truth: "{}".repeat(9000) }];
        let error = write_annotations_to(full, 1, records.into()).unwrap_err();
        assert!(matches!(error, WorkcellError::Write { .. }), "{error}");
    }
}

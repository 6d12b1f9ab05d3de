//! The simulated cell from outside: frames, their truth, and datasets on disk.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use magpie_perception::{Mask, PackageType};
use magpie_workcell::{
    Recipe, SimulatedFrame, Simulator, TruePackage, WorkcellError, belt_sequence, write_dataset,
};
use nalgebra::{Point3, Vector3};

/// Small pictures, so that the tests are quick.
fn small(extra: &str) -> Recipe {
    Recipe::from_toml(&format!("width_px = 200\nheight_px = 150\n{extra}")).unwrap()
}

/// A perfect depth camera, a strong lens.
fn exact_depth() -> Recipe {
    small(
        "packages_min = 4\n[sensor]\ndepth_noise = 0.0\ndepth_holes = 0.0\n[camera]\ndistortion_max = 0.2",
    )
}

fn frames(recipe: Recipe, seed: u64, count: u64) -> Vec<SimulatedFrame> {
    let simulator = Simulator::new(recipe).unwrap();
    (0..count).map(|index| simulator.frame(seed, index)).collect()
}

/// The point that a pixel with depth shows, in the package's own frame.
fn in_package(
    simulated: &SimulatedFrame,
    package: &TruePackage,
    x: u32,
    y: u32,
) -> Option<Vector3<f64>> {
    let truth = &simulated.truth;
    let depth_m = simulated.frame.depth.as_ref()?.depth_m(x, y)?;
    let ray = truth.camera_info.ray(f64::from(x), f64::from(y));
    let in_base = truth.base_from_camera * Point3::from(ray * depth_m);
    Some(package.base_from_package.inverse_transform_point(&in_base).coords)
}

fn half_size(package: &TruePackage) -> Vector3<f64> {
    0.5 * Vector3::new(package.length_m, package.width_m, package.height_m)
}

#[test]
fn the_same_seed_and_index_give_the_same_frame() {
    let simulator = Simulator::new(small("")).unwrap();
    let (first, second) = (simulator.frame(3, 4), simulator.frame(3, 4));
    assert_eq!(first.frame.color, second.frame.color);
    assert_eq!(first.frame.depth, second.frame.depth);
    let other = simulator.frame(3, 5);
    assert_ne!(first.frame.color, other.frame.color);
}

#[test]
fn a_dataset_has_the_same_bytes_on_any_number_of_threads() {
    let write = |threads: usize| {
        let folder = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| write_dataset(&small(""), 11, 5, folder.path(), |_| ())).unwrap();
        contents(folder.path())
    };
    let (one, three) = (write(1), write(3));
    assert_eq!(one.len(), 12, "five pictures, five depth images, two indexes: {:?}", one.keys());
    assert_eq!(one, three);
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            files.extend(
                contents(&path)
                    .into_iter()
                    .map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)),
            );
        } else {
            files.insert(name, fs::read(path).unwrap());
        }
    }
    files
}

#[test]
fn masks_never_share_a_pixel() {
    for simulated in frames(small("packages_min = 6"), 5, 6) {
        let truth = &simulated.truth;
        let mut masks: Vec<&Mask> = truth.packages.iter().map(|package| &package.mask).collect();
        masks.push(&truth.unannotated);
        for (index, mask) in masks.iter().enumerate() {
            for other in &masks[index + 1..] {
                assert_eq!(mask.intersection_px(other), 0);
            }
        }
    }
}

#[test]
fn every_pixel_of_a_mask_lies_on_its_package_by_depth_pose_and_lens() {
    let mut checked = 0;
    for simulated in frames(exact_depth(), 21, 6) {
        for package in &simulated.truth.packages {
            let fx_px = simulated.truth.camera_info.intrinsics.fx_px;
            for (x, y_start, length) in package.mask.columns() {
                for y in y_start..y_start + length {
                    if let Some(point) = in_package(&simulated, package, x, y) {
                        // Depth comes in steps of 1 mm and is that of the nearest of the renderer's
                        // samples, which lies up to a pixel away.
                        let depth_m =
                            simulated.frame.depth.as_ref().unwrap().depth_m(x, y).unwrap();
                        let reach = half_size(package) + Vector3::repeat(0.002 + depth_m / fx_px);
                        checked += 1;
                        assert!(
                            point.iter().zip(reach.iter()).all(|(p, r)| p.abs() <= *r),
                            "pixel {x}, {y} shows {point} outside {:?} {reach}",
                            package.package_type
                        );
                    }
                }
            }
        }
    }
    assert!(checked > 5000, "only {checked} pixels of packages");
}

#[test]
fn no_pixel_outside_a_boxs_mask_lies_inside_the_box() {
    for simulated in frames(exact_depth(), 22, 6) {
        let boxes = simulated.truth.packages.iter().filter(|p| p.package_type == PackageType::Box);
        for package in boxes {
            let bitmap = package.mask.to_bitmap();
            // Dents are shallower than a fifth of the shortest side.
            let inner = half_size(package) - Vector3::repeat(0.2 * half_size(package).min() * 2.0);
            for (at, inside) in (0_u32..).zip(bitmap) {
                let (x, y) = (at % 200, at / 200);
                if inside == 0
                    && let Some(point) = in_package(&simulated, package, x, y)
                {
                    assert!(
                        point.iter().zip(inner.iter()).any(|(p, r)| p.abs() > *r),
                        "pixel {x}, {y}"
                    );
                }
            }
        }
    }
}

#[test]
fn the_corners_of_a_free_box_project_onto_its_masks_bounds() {
    let mut checked = 0;
    for simulated in frames(exact_depth(), 23, 24) {
        let truth = &simulated.truth;
        for package in &truth.packages {
            let bbox = package.mask.bbox().unwrap();
            let whole = bbox.x_min_px > 1.0
                && bbox.y_min_px > 1.0
                && bbox.x_max_px < 199.0
                && bbox.y_max_px < 149.0;
            if package.package_type != PackageType::Box
                || package.visible_fraction < 0.9999
                || !whole
            {
                continue;
            }
            let half = half_size(package);
            let corners = (0..8).map(|bits: u32| {
                let side = |bit: u32| if bits >> bit & 1 == 0 { -1.0 } else { 1.0 };
                let corner = Point3::new(side(0) * half.x, side(1) * half.y, side(2) * half.z);
                let in_camera =
                    truth.base_from_camera.inverse() * (package.base_from_package * corner);
                truth.camera_info.project(&in_camera).unwrap()
            });
            let (mut low, mut high) = ([f64::MAX; 2], [f64::MIN; 2]);
            for pixel in corners {
                (low[0], low[1]) = (low[0].min(pixel.x), low[1].min(pixel.y));
                (high[0], high[1]) = (high[0].max(pixel.x), high[1].max(pixel.y));
            }
            // The mask counts whole pixels from their edges, projection from their centres. Dents
            // pull an outline in by up to a tenth of its extent.
            let slack_px = 1.5
                + 0.1
                    * f64::from((bbox.x_max_px - bbox.x_min_px).max(bbox.y_max_px - bbox.y_min_px));
            for (projected, seen) in [
                (low[0] + 0.5, bbox.x_min_px),
                (low[1] + 0.5, bbox.y_min_px),
                (high[0] + 0.5, bbox.x_max_px),
                (high[1] + 0.5, bbox.y_max_px),
            ] {
                let error_px = (projected - f64::from(seen)).abs();
                assert!(error_px < slack_px, "{projected} against {seen}");
            }
            checked += 1;
        }
    }
    assert!(checked >= 5, "only {checked} free boxes");
}

#[test]
fn a_dataset_tells_coco_what_the_frames_truth_tells() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = small("");
    write_dataset(&recipe, 31, 3, folder.path(), |_| ()).unwrap();
    let text = fs::read_to_string(folder.path().join("annotations.json")).unwrap();
    let coco: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> = coco["categories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["box", "padded_mailer", "poly_bag", "item"]);
    let annotations = coco["annotations"].as_array().unwrap();
    for (index, simulated) in (1_u64..).zip(frames(recipe, 31, 3)) {
        let image = &coco["images"][usize::try_from(index).unwrap() - 1];
        let color = image::open(folder.path().join(image["file_name"].as_str().unwrap()))
            .unwrap()
            .into_rgb8();
        let [b, g, r] = simulated.frame.color.pixel(17, 9);
        assert_eq!(color.get_pixel(17, 9).0, [r, g, b]);
        let depth = image::open(folder.path().join(image["depth_file_name"].as_str().unwrap()))
            .unwrap()
            .into_luma16();
        assert_eq!(depth.as_raw(), simulated.frame.depth.as_ref().unwrap().data_mm());
        let of_image = |a: &&serde_json::Value| a["image_id"] == index && a["iscrowd"] == 0;
        let written: Vec<_> = annotations.iter().filter(of_image).collect();
        assert_eq!(written.len(), simulated.truth.packages.len());
        for (annotation, package) in written.iter().zip(&simulated.truth.packages) {
            let coded = annotation["segmentation"]["counts"].as_str().unwrap();
            let mask = Mask::from_coco_string(200, 150, coded).unwrap();
            assert_eq!(mask, package.mask);
            assert_eq!(annotation["area"], package.mask.area_px());
            let name =
                names[usize::try_from(annotation["category_id"].as_u64().unwrap()).unwrap() - 1];
            assert_eq!(name, package.package_type.name());
        }
    }
    let truth = fs::read_to_string(folder.path().join("truth.jsonl")).unwrap();
    assert_eq!(truth.lines().count(), 3);
}

#[test]
fn hidden_packages_are_left_out_of_the_annotations_but_not_of_the_truth() {
    let strict = small("packages_min = 8\nvisible_fraction_min = 0.9");
    let mut hidden_px = 0;
    for simulated in frames(strict, 41, 4) {
        assert!(simulated.truth.packages.iter().all(|package| package.visible_fraction >= 0.9));
        hidden_px += simulated.truth.unannotated.area_px();
    }
    assert!(hidden_px > 0);
}

#[test]
fn a_depth_camera_leaves_holes_but_not_everywhere() {
    let (mut holes, mut pixels) = (0, 0);
    for simulated in frames(small(""), 51, 6) {
        let depth = simulated.frame.depth.unwrap();
        holes += depth.data_mm().iter().filter(|mm| **mm == 0).count();
        pixels += depth.data_mm().len();
    }
    assert!(holes * 1000 > pixels && holes * 2 < pixels, "{holes} holes in {pixels} pixels");
}

#[test]
fn a_belt_carries_the_same_packages_under_a_camera_that_stands_still() {
    let interval = Duration::from_millis(200);
    let frames: Vec<SimulatedFrame> = belt_sequence(&small(""), 2, 3, interval).unwrap().collect();
    assert_eq!(frames.len(), 3);
    let mut followed = 0;
    for pair in frames.windows(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert_eq!(before.truth.camera_info, after.truth.camera_info);
        assert_eq!(before.truth.base_from_camera, after.truth.base_from_camera);
        assert_eq!(after.frame.sequence, before.frame.sequence + 1);
        assert_eq!(after.frame.stamp.since_ns(before.frame.stamp), 200_000_000);
        for package in &before.truth.packages {
            let same = after.truth.packages.iter().find(|p| p.package_id == package.package_id);
            let Some(same) = same else { continue };
            let moved = same.base_from_package.translation.vector
                - package.base_from_package.translation.vector;
            assert!((moved - Vector3::new(0.044, 0.0, 0.0)).norm() < 1e-5, "{moved}");
            followed += 1;
        }
    }
    assert!(followed >= 6, "only {followed} packages seen twice");
    let types: std::collections::HashSet<_> = frames
        .iter()
        .flat_map(|frame| frame.truth.packages.iter().map(|p| p.package_type))
        .collect();
    assert_eq!(types.len(), 4, "{types:?}");
}

#[test]
fn textures_from_a_folder_change_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let photo = image::RgbImage::from_fn(64, 48, |x, y| {
        image::Rgb([200, (4 * x).to_le_bytes()[0], (5 * y).to_le_bytes()[0]])
    });
    fs::create_dir(folder.path().join("plastic")).unwrap();
    photo.save(folder.path().join("plastic/a.png")).unwrap();
    fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
    let mut recipe = small("");
    recipe.textures = Some(folder.path().to_owned());
    let with = frames(recipe, 61, 9);
    let without = frames(small(""), 61, 9);
    assert!(with.iter().zip(&without).any(|(a, b)| a.frame.color != b.frame.color));
}

fn check_refused(text: &str, expected: &str) {
    let error = Recipe::from_toml(text).unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    let message = format!("{error}: {cause}");
    assert!(message.contains(expected), "{message:?} does not say {expected:?}");
}

#[test]
fn a_bad_recipe_is_refused_by_the_key_that_is_wrong() {
    check_refused("colour = 3", "unknown field `colour`");
    check_refused("[camera]\ntilt_deg_min = 95.0", "camera.tilt_deg_min = 95");
    check_refused("[camera]\ndistance_m_min = 5.0", "camera.distance_m_max = 4");
    check_refused("width_px = 3", "width_px = 3; it must lie between 64 and 4096");
    check_refused("packages_min = 50", "packages_min = 50");
    check_refused("distractor_share = nan", "distractor_share");
    check_refused("[supports]\nbelt = -1.0", "[supports]");
    check_refused("[types]\nbox = 0.0\npadded_mailer = 0.0\npoly_bag = 0.0\nitem = 0.0", "[types]");
    check_refused("width_px = \"wide\"", "invalid type");
    check_refused("width_px = ", "recipe");
}

#[test]
fn textures_that_are_not_there_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = small("");
    recipe.textures = Some(folder.path().to_owned());
    assert!(matches!(Simulator::new(recipe.clone()), Err(WorkcellError::NoTextures { .. })));
    recipe.textures = Some(folder.path().join("missing"));
    assert!(matches!(Simulator::new(recipe), Err(WorkcellError::Read { .. })));
}

#[test]
fn a_dataset_is_never_mixed_with_other_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("precious"), "keep").unwrap();
    let error = write_dataset(&small(""), 1, 1, folder.path(), |_| ()).unwrap_err();
    assert!(matches!(error, WorkcellError::NotEmpty { .. }), "{error}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "not a folder").unwrap();
    let error = write_dataset(&small(""), 1, 1, &file.join("out"), |_| ()).unwrap_err();
    assert!(error.to_string().contains("file/out\"; check that"), "{error}");
}

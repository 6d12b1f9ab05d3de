//! `magpie export`: labels that annotation tools open, and that nobody's work is lost to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use magpie_perception::Mask;
use serde_json::Value;

use super::{magpie, root, succeed, text};

const WIDTH_PX: u32 = 640;
const HEIGHT_PX: u32 = 480;

/// Four frames of the simulated cell, made once.
static SIMULATED: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("export");
    let _ = fs::remove_dir_all(&folder);
    succeed(&["simulate", "--seed", "9001", "--frames", "4", "--out", folder.to_str().unwrap()]);
    folder
});

/// A test's own pictures, and room for labels.
struct Cell {
    folder: tempfile::TempDir,
}

impl Cell {
    fn new() -> Cell {
        let cell = Cell { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(cell.path("pictures")).unwrap();
        let simulated = SIMULATED.join("color");
        for name in names(&simulated) {
            fs::copy(simulated.join(&name), cell.path("pictures").join(name)).unwrap();
        }
        cell
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// Rows of `order.csv`, without its header: image, picture, unsure, packages.
fn order(labels: &Path) -> Vec<Vec<String>> {
    let table = fs::read_to_string(labels.join("order.csv")).unwrap();
    table.lines().skip(1).map(|row| row.split(',').map(str::to_owned).collect()).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What `magpie detect` finds, by picture: type and mask.
fn found(pictures: &str) -> BTreeMap<String, Vec<(String, Mask)>> {
    let lines = text(&succeed(&["detect", pictures, "--json"]).stdout);
    let picture = |line: &str| {
        let document: Value = serde_json::from_str(line).unwrap();
        let packages = document["packages"].as_array().unwrap().iter().map(|package| {
            let counts = package["mask"]["counts"].as_str().unwrap();
            let mask = Mask::from_coco_string(WIDTH_PX, HEIGHT_PX, counts).unwrap();
            (package["type"].as_str().unwrap().to_owned(), mask)
        });
        (document["image"]["path"].as_str().unwrap().to_owned(), packages.collect())
    };
    lines.lines().map(picture).collect()
}

#[test]
fn the_tools_own_libraries_see_every_package_that_was_found_and_nothing_else() {
    let cell = Cell::new();
    let (pictures, labels) = (cell.arg("pictures"), cell.path("labels"));
    succeed(&["export", &pictures, "--out", labels.to_str().unwrap()]);
    let root = root();
    let output = Command::new(root.join(".cache/annotation_tools/bin/python"))
        .arg(root.join("tests/annotation_tools/read_back.py"))
        .arg(&labels)
        .output()
        .expect("scripts/install --test makes .cache/annotation_tools");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let tools: BTreeMap<String, Vec<Value>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(tools.len(), 3);

    let found = found(&pictures);
    let in_all: usize = found.values().map(Vec::len).sum();
    assert!(in_all > 3, "{in_all} packages are too few to tell");
    let pictures_by_name: BTreeMap<String, String> =
        order(&labels).into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    for (tool, packages) in tools {
        assert_eq!(packages.len(), in_all, "{tool}");
        let mut ious = Vec::new();
        for package in packages {
            let told = |key: &str| package[key].as_str().unwrap().to_owned();
            let mask = Mask::from_coco_string(WIDTH_PX, HEIGHT_PX, &told("counts")).unwrap();
            let there = &found[&pictures_by_name[&told("picture")]];
            let alike = there.iter().filter(|(label, _)| *label == told("label"));
            let iou = alike.map(|(_, other)| mask.iou(other)).fold(0.0, f32::max);
            // Few points, filled holes, and another tool's idea of a pixel's edge cost a small or
            // ragged mask much, but never its likeness.
            assert!(iou > 0.5, "{tool} {} {}: {iou}", told("picture"), told("label"));
            ious.push(iou);
        }
        ious.sort_by(f32::total_cmp);
        let median = ious[ious.len() / 2];
        assert!(median > 0.85, "{tool}: {ious:?}");
    }
}

#[test]
fn the_least_sure_picture_comes_first_and_the_order_is_the_same_everywhere() {
    let cell = Cell::new();
    let labels = cell.path("labels");
    succeed(&["export", &cell.arg("pictures"), "--out", labels.to_str().unwrap()]);
    let rows = order(&labels);
    let unsure: Vec<f64> = rows.iter().map(|row| row[2].parse().unwrap()).collect();
    assert_eq!(unsure.len(), 4);
    assert!(unsure[1..].iter().all(|later| *later < unsure[0]), "{unsure:?}");
    let images: Vec<&String> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!(names(&labels.join("images")).iter().collect::<Vec<_>>(), images);
    let read = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(labels.join(name)).unwrap()).unwrap()
    };
    let coco = read("annotations/instances_default.json");
    for (at, image) in images.iter().enumerate() {
        assert_eq!(coco["images"][at]["file_name"], **image);
        let task = &read("label_studio.json")[at];
        assert!(task["data"]["image"].as_str().unwrap().ends_with(image.as_str()));
        let score = task["predictions"][0]["score"].as_f64().unwrap();
        assert!((score + unsure[at] - 1.0).abs() < 1e-3);
    }

    let few = cell.path("few");
    let (pictures, out) = (cell.arg("pictures"), few.to_str().unwrap());
    let two = ["export", &pictures, "--out", out, "--pictures-max", "2"];
    let printed = text(&succeed(&two).stdout);
    assert!(printed.starts_with("2 pictures (of 4)"), "{printed}");
    assert_eq!(names(&few.join("images")), names(&labels.join("images"))[..2]);
}

#[test]
fn a_near_duplicate_is_named_and_written_only_if_asked_for() {
    let cell = Cell::new();
    fs::copy(cell.path("pictures/000002.png"), cell.path("pictures/again.png")).unwrap();
    let labels = cell.path("labels");
    let (pictures, out) = (cell.arg("pictures"), labels.to_str().unwrap());
    let printed = text(&succeed(&["export", &pictures, "--out", out]).stdout);
    assert!(printed.contains("1 near-duplicate left out, see"), "{printed}");
    assert_eq!(order(&labels).len(), 4);
    let told = fs::read_to_string(labels.join("near_duplicates.csv")).unwrap();
    let again = cell.arg("pictures/again.png");
    assert_eq!(told, format!("picture,same_as\n{again},{}\n", cell.arg("pictures/000002.png")));

    let all = cell.path("all");
    let asked = ["export", &pictures, "--near-duplicates", "--out", all.to_str().unwrap()];
    let printed = text(&succeed(&asked).stdout);
    assert!(!printed.contains("near-duplicate"), "{printed}");
    assert_eq!(order(&all).len(), 5);
    assert!(!all.join("near_duplicates.csv").exists());
}

#[test]
fn without_mobile_sam_a_refinement_says_how_to_install_it_before_anything_is_written() {
    let cell = Cell::new();
    let (refine, labels) = (format!("--refine={}", cell.arg("nowhere")), cell.arg("labels"));
    let output = magpie(&["export", &cell.arg("pictures"), "--out", &labels, &refine]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{message}");
    for part in ["nowhere/encoder.onnx", "scripts/install --refine"] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert!(!cell.path("labels").exists());
}

#[test]
fn frames_of_a_recording_become_pictures_beside_their_labels() {
    let cell = Cell::new();
    // Ten frames a second.
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../daemon/assets/demo.mcap");
    let demo = demo.to_str().unwrap();
    let labels = cell.path("labels");
    succeed(&["export", demo, "--interval-s", "1", "--out", labels.to_str().unwrap()]);
    let images = names(&labels.join("images"));
    assert_eq!(images.len(), 3, "{images:?}");
    for image in &images {
        let picture = magpie_camera::read_image(&labels.join("images").join(image)).unwrap();
        assert_eq!((picture.width_px(), picture.height_px()), (WIDTH_PX, HEIGHT_PX));
        assert!(labels.join("labelme").join(image).with_extension("json").is_file());
    }
    let few = cell.path("few");
    succeed(&["export", demo, "--pictures-max", "1", "--out", few.to_str().unwrap()]);
    assert_eq!(names(&few.join("images")).len(), 1, "what was left over is gone");
}

#[test]
fn corrected_labels_are_never_written_over() {
    let cell = Cell::new();
    let labels = cell.arg("labels");
    succeed(&["export", &cell.arg("pictures/000000.png"), "--out", &labels]);
    let corrected = cell.path("labels/labelme/0001_000000.json");
    fs::write(&corrected, "a person's work").unwrap();
    let output = magpie(&["export", &cell.arg("pictures"), "--out", &labels]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("not empty") && message.contains("name another"), "{message}");
    assert_eq!(fs::read_to_string(corrected).unwrap(), "a person's work");
}

#[test]
fn an_unreadable_picture_is_named_and_the_others_are_labelled() {
    let cell = Cell::new();
    fs::write(cell.path("pictures/000003.png"), "not a picture").unwrap();
    let labels = cell.path("labels");
    let output = magpie(&["export", &cell.arg("pictures"), "--out", labels.to_str().unwrap()]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("000003.png") && message.contains("1 of 4 pictures"), "{message}");
    assert_eq!(order(&labels).len(), 3);
}

#[test]
fn sources_without_pictures_are_refused_before_anything_is_written() {
    let cell = Cell::new();
    fs::create_dir(cell.path("bare")).unwrap();
    fs::write(cell.path("broken.mcap"), "not a recording").unwrap();
    fs::write(cell.path("broken.jpg"), "not a picture").unwrap();
    for (source, part) in [
        ("bare", "no picture (JPEG, PNG"),
        ("nowhere", "nowhere"),
        ("broken.mcap", "broken.mcap"),
        ("broken.jpg", "none of them could be read"),
    ] {
        let labels = cell.path("labels");
        let output = magpie(&["export", &cell.arg(source), "--out", labels.to_str().unwrap()]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{source}: {message}");
        assert!(message.contains(part), "{source}: {message}");
        assert!(!labels.exists() || names(&labels).is_empty(), "{source}");
    }
}

#[test]
fn detect_goes_on_past_a_picture_it_cannot_read_and_draws_the_others() {
    let cell = Cell::new();
    fs::write(cell.path("pictures/000001.png"), "not a picture").unwrap();
    let overlays = cell.path("drawn");
    let output = magpie(&[
        "detect",
        &cell.arg("pictures"),
        &cell.arg("nowhere.png"),
        "--json",
        "--overlay",
        overlays.to_str().unwrap(),
    ]);
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    for part in ["000001.png", "nowhere.png", "2 of 5 pictures"] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert_eq!(text(&output.stdout).lines().count(), 3);
    assert_eq!(names(&overlays).len(), 3);
}

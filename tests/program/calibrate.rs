//! `magpie calibrate` as technicians and their scripts call it, on pictures of simulated boards and
//! poses with known truth.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use board_scene::{BoardScene, Noise, lens, look_at};
use magpie_camera::calibrate::Board;
use magpie_camera::{read_camera_info, write_camera_info, write_depth_png, write_png};
use magpie_client::{CellName, Client, ClientOptions, PackagesSubscriber, ZenohConfig, wire};
use magpie_daemon::config::Config;
use magpie_daemon::failure::one_line;
use magpie_daemon::run;
use magpie_network::SystemClock;
use magpie_perception::{BgrImage, CameraInfo, DepthImage, ReferenceFrame, nearest_rotation};
use nalgebra::{Isometry3, Point3, Vector3};
use serde_json::{Value, json};

use super::{board_scene, free_endpoint, magpie, root, succeed, text, write_zenoh_config};

fn check_done(arguments: &[&str]) -> String {
    text(&succeed(&[&["calibrate"], arguments].concat()).stdout)
}

#[track_caller]
fn check_refused(arguments: &[&str], code: i32, parts: &[&str]) {
    super::check_refused(&[&["calibrate"], arguments].concat(), code, parts);
}

fn check_json(arguments: &[&str]) -> Value {
    serde_json::from_str(&check_done(&[arguments, &["--json"]].concat())).unwrap()
}

const BOARD: [&str; 10] = [
    "--board",
    "charuco",
    "--squares",
    "7x5",
    "--square-length-m",
    "0.030",
    "--marker-length-m",
    "0.021",
    "--dictionary",
    "DICT_4X4_50",
];

/// Pictures of a board from known places, and what a robot would say to them.
pub(crate) struct Cell {
    folder: tempfile::TempDir,
    pub(crate) info: CameraInfo,
    scene: BoardScene,
    pub(crate) poses: Vec<Isometry3<f64>>,
}

impl Cell {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn picture(&self, index: usize) -> String {
        self.arg(&format!("board_{index}.png"))
    }
}

pub(crate) fn base_from_camera() -> Isometry3<f64> {
    Isometry3::new(Vector3::new(0.6, 0.1, 1.1), Vector3::new(3.0, 0.1, -0.2))
}

fn gripper_from_board() -> Isometry3<f64> {
    Isometry3::new(Vector3::new(-0.1, -0.07, 0.09), Vector3::new(0.02, 3.1, 0.02))
}

/// Made once: drawing takes seconds in a debug build.
pub(crate) fn cell() -> &'static Cell {
    static CELL: OnceLock<Cell> = OnceLock::new();
    CELL.get_or_init(|| {
        let board = Board::Charuco {
            squares_x: 7,
            squares_y: 5,
            square_length_m: 0.030,
            marker_length_m: 0.021,
            dictionary: "DICT_4X4_50".parse().unwrap(),
        };
        let scene = BoardScene::new(&board, lens(480, 360));
        let mut noise = Noise(11);
        let poses: Vec<_> = (0..10)
            .map(|index| {
                let aside = Vector3::new(0.05 * noise.uniform(), 0.04 * noise.uniform(), 0.0);
                let target = Point3::new(0.105, 0.075, 0.0) + aside;
                let (tilt_deg, azimuth_deg) =
                    (18.0 + 14.0 * noise.uniform(), 137.5 * f64::from(index));
                look_at(
                    target,
                    0.30 + 0.05 * noise.uniform(),
                    tilt_deg,
                    azimuth_deg,
                    30.0 * noise.uniform(),
                )
            })
            .collect();
        let (folder, info) = (tempfile::tempdir().unwrap(), scene.info.clone());
        let cell = Cell { folder, info, scene, poses };
        for (index, pose) in cell.poses.iter().enumerate() {
            let picture = cell.scene.picture(pose, &mut noise);
            write_png(Path::new(&cell.picture(index)), &picture).unwrap();
        }
        write_camera_info(&cell.path("true_info.yaml"), &cell.info).unwrap();
        cell
    })
}

pub(crate) fn rows(pose: &Isometry3<f64>) -> Value {
    let m = pose.to_homogeneous();
    json!((0..4).map(|r| (0..4).map(|c| m[(r, c)]).collect::<Vec<_>>()).collect::<Vec<_>>())
}

pub(crate) fn arm(cell: &Cell, index: usize) -> Isometry3<f64> {
    base_from_camera() * cell.poses[index] * gripper_from_board().inverse()
}

/// One line a picture.
fn write_pairs(name: &str, line: impl Fn(&Cell, usize) -> Value) -> String {
    let cell = cell();
    let mut lines = String::new();
    for index in 0..cell.poses.len() {
        writeln!(lines, "{}", line(cell, index)).unwrap();
    }
    std::fs::write(cell.path(name), lines).unwrap();
    cell.arg(name)
}

fn pose_pairs(name: &str) -> String {
    write_pairs(
        name,
        |cell, index| json!({"base_from_gripper": rows(&arm(cell, index)), "camera_from_board": rows(&cell.poses[index])}),
    )
}

pub(crate) fn off(found: &Value, truth: &Isometry3<f64>) -> (f64, f64) {
    let m = nalgebra::Matrix4::from_fn(|r, c| found[r][c].as_f64().unwrap());
    let rotation = nearest_rotation(&m.fixed_view::<3, 3>(0, 0).into_owned()).unwrap();
    let place = Vector3::new(m[(0, 3)], m[(1, 3)], m[(2, 3)]);
    let off_mm = 1000.0 * (place - truth.translation.vector).norm();
    (off_mm, rotation.angle_to(&truth.rotation).to_degrees())
}

#[test]
fn a_board_is_printed_to_scale_and_nothing_else_is_called_a_sheet() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name).display().to_string();
    check_done(&[&["board"][..], &BOARD, &["--out", &out("b.svg")]].concat());
    let svg = std::fs::read_to_string(out("b.svg")).unwrap();
    assert!(svg.contains("width=\"297mm\" height=\"210mm\""), "{svg}");
    assert!(svg.contains("width=\"30.0000\" height=\"30.0000\"") && svg.contains("ruler"));
    check_done(&[
        "board",
        "--board",
        "chessboard",
        "--corners",
        "11x8",
        "--square-length-m",
        "0.02",
        "--out",
        &out("c.pdf"),
    ]);
    assert!(std::fs::read(out("c.pdf")).unwrap().starts_with(b"%PDF"));
    check_refused(&["board", "--out", &out("b.png")], 78, &["must end in .svg or .pdf"]);
    let large = ["board", "--square-length-m", "0.2", "--out", &out("large.svg")];
    check_refused(&large, 78, &["larger sheet"]);
    let many = ["board", "--squares", "20x20", "--square-length-m", "0.01", "--out", &out("m.svg")];
    check_refused(&many, 78, &["200 markers", "DICT_4X4_50 has 50"]);
    assert_eq!(
        magpie(&["calibrate", "board", "--dictionary", "DICT_9X9", "--out", "x.svg"]).status.code(),
        Some(2)
    );
}

#[test]
fn the_lens_is_found_from_pictures_and_written_as_ros_reads_it() {
    let cell = cell();
    let out = cell.arg("found_info.yaml");
    let pictures: Vec<String> = (0..10).map(|index| cell.picture(index)).collect();
    let pictures: Vec<&str> = pictures.iter().map(String::as_str).collect();
    let arguments = [&["intrinsics"][..], &BOARD, &["--out", &out], &pictures].concat();
    let report = check_json(&arguments);
    let fx = report["fx_px"].as_f64().unwrap();
    let truth = cell.info.intrinsics.fx_px;
    assert!((fx / truth - 1.0).abs() < 0.003, "{fx} is not {truth}");
    assert!(report["rms_px"].as_f64().unwrap() < 0.15, "{report}");
    assert!(report["held_out_rms_px"].as_f64().unwrap() < 0.15, "{report}");
    let found = magpie_camera::read_camera_info(Path::new(&out), None).unwrap();
    assert_eq!(found.intrinsics.fx_px, fx);
    assert!(check_done(&arguments).contains("px on views that were held out"));
}

#[test]
fn a_camera_is_calibrated_live_before_any_of_its_calibrations_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    for index in 0..10 {
        let name = format!("{index:02}.png");
        std::fs::copy(cell().picture(index), pictures.join(name)).unwrap();
    }
    let config = folder.path().join("dock.toml");
    let keys = "[source.image_folder]\npath = \"pictures\"\nframe_interval_ms = 1000\n\
                [scene]\ncamera_info = \"missing.yaml\"\nhand_eye = \"missing.yaml\"\n";
    std::fs::write(&config, keys).unwrap();
    let out = folder.path().join("lens.yaml").display().to_string();
    let live = ["--out", &out, "--live", "--views", "8"];
    let with_config = [&live[..], &["--config", config.to_str().unwrap()]].concat();
    check_done(&[&["intrinsics"][..], &BOARD, &with_config].concat());
    let found = read_camera_info(Path::new(&out), None).unwrap().intrinsics.fx_px;
    let truth = cell().info.intrinsics.fx_px;
    assert!((found / truth - 1.0).abs() < 0.02, "{found} for {truth}");
    let blind = magpie(&[&["calibrate", "intrinsics"][..], &BOARD, &live].concat());
    assert_eq!(blind.status.code(), Some(2), "the camera of no configuration");
}

#[test]
fn unusable_pictures_of_a_board_leave_what_was_there() {
    let cell = cell();
    let out = cell.arg("kept.yaml");
    std::fs::write(&out, "old").unwrap();
    let check = |pictures: &[&str], board: &[&str], code: i32, parts: &[&str]| {
        let arguments = [&["intrinsics"][..], board, &["--out", &out], pictures].concat();
        check_refused(&arguments, code, parts);
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "old");
    };
    let (first, second) = (cell.picture(0), cell.picture(1));
    let twice = ["left out", "board_1.png", "the board moved by 0.0 px only since"];
    let few = [&["2 usable views", "at least 4"], &twice[..]].concat();
    check(&[&first, &second, &second], &BOARD, 78, &few);
    check(&["nowhere.png"], &BOARD, 78, &["nowhere.png"]);
    let damaged = cell.arg("damaged.png");
    let bytes = std::fs::read(&first).unwrap();
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    check(&[&damaged], &BOARD, 78, &["damaged.png", "truncated"]);
    let small = cell.arg("small.png");
    write_png(Path::new(&small), &BgrImage::new(64, 48, vec![90; 64 * 48 * 3]).unwrap()).unwrap();
    check(&[&first, &small], &BOARD, 78, &["small.png is 64x48 px", "480x360"]);
    let other = ["--squares", "5x7", "--square-length-m", "0.03", "--marker-length-m", "0.021"];
    check(&[&first, &second], &other, 78, &["not as it was described", "7x5"]);
    let dictionary = ["--dictionary", "DICT_5X5_50"];
    check(&[&first], &dictionary, 78, &["markers of DICT_4X4_50 are in view"]);
    let chessboard = ["--board", "chessboard", "--corners", "9x6"];
    check(&[&first], &chessboard, 78, &["no chessboard 9x6"]);
}

#[test]
fn the_camera_is_found_from_poses_in_metres_millimetres_and_pictures() {
    let cell = cell();
    let out = cell.arg("hand_eye.yaml");
    let (poses, info) = (pose_pairs("pairs.jsonl"), cell.arg("true_info.yaml"));
    let call = ["hand-eye", "--setup", "eye-to-hand", "--out", &out];
    let report = check_json(&[&call[..], &["--pairs", &poses]].concat());
    let (off_mm, off_deg) = off(&report["base_from_camera"], &base_from_camera());
    assert!(off_mm < 0.001 && off_deg < 0.001, "{off_mm} mm, {off_deg} degrees");
    assert_eq!(report["solvers"].as_array().unwrap().len(), 7);
    assert_eq!(report["saved"], true);

    let millimetres = write_pairs("mm.jsonl", |cell, index| {
        let vector = |pose: &Isometry3<f64>| {
            let (t, r) = (pose.translation.vector * 1000.0, pose.rotation.scaled_axis());
            json!({"rotation_vector": [r.x, r.y, r.z], "translation": [t.x, t.y, t.z]})
        };
        json!({"base_from_gripper": vector(&arm(cell, index)), "camera_from_board": vector(&cell.poses[index])})
    });
    let report = check_json(&[&call[..], &["--pairs", &millimetres, "--unit", "mm"]].concat());
    assert!(off(&report["base_from_camera"], &base_from_camera()).0 < 0.001);

    let pictures = write_pairs(
        "pictures.jsonl",
        |cell, index| json!({"base_from_gripper": rows(&arm(cell, index)), "image": format!("board_{index}.png")}),
    );
    let with_info = ["--pairs", &pictures, "--camera-info", &info];
    let report = check_json(&[&call[..], &with_info, &BOARD].concat());
    let (off_mm, off_deg) = off(&report["base_from_camera"], &base_from_camera());
    assert!(off_mm < 0.5 && off_deg < 0.05, "{off_mm} mm, {off_deg} degrees");
    let spread = &report["leave_one_out"];
    assert!(spread["rms_mm"].as_f64().unwrap() < 1.0, "{spread}");

    // The touch test, with a tool that touches half a millimetre off.
    let picture = cell.picture(3);
    let verify = ["verify", "--hand-eye", &out, "--camera-info", &info, "--image", &picture];
    let target = check_json(&[&verify[..], &BOARD, &["--corner", "8"]].concat());
    let truth = base_from_camera() * cell.poses[3] * Point3::new(0.09, 0.06, 0.0);
    let at = |axis: usize| target["base_from_target"][axis][3].as_f64().unwrap();
    let found = Point3::new(at(0), at(1), at(2));
    assert!((found - truth).norm() < 0.001, "{found} is not {truth}");
    let touched = format!("{},{},{}", truth.x + 0.0005, truth.y, truth.z);
    let touch = ["--corner", "8", "--touched", &touched];
    let judged = check_json(&[&verify[..], &BOARD, &touch].concat());
    assert!(judged["distance_mm"].as_f64().unwrap() < 1.5, "{judged}");
    let far = format!("{},{},{}", truth.x + 0.02, truth.y, truth.z);
    let far = [&verify[..], &BOARD, &["--corner", "8", "--touched", &far]].concat();
    check_refused(&far, 1, &["the tool touched it", "more than 3 mm"]);
    let mm = truth * 1000.0;
    let mm = format!("{},{},{}", mm.x, mm.y, mm.z);
    let mm = [&verify[..], &BOARD, &["--corner", "8", "--touched", &mm]].concat();
    check_refused(&mm, 1, &["more than 3 mm", "are these millimetres?"]);

    // Another lens than the one that the calibration was made with.
    let mut other = cell.info.clone();
    other.intrinsics.fx_px += 1.0;
    write_camera_info(&cell.path("other_info.yaml"), &other).unwrap();
    let other = cell.arg("other_info.yaml");
    let verify = ["verify", "--hand-eye", &out, "--camera-info", &other, "--image", &picture];
    check_refused(&[&verify[..], &BOARD].concat(), 78, &["was made with the camera_info"]);
}

#[test]
fn mixed_up_poses_are_named_and_not_saved_unless_forced() {
    let cell = cell();
    let out = cell.arg("refused.yaml");
    std::fs::write(&out, "old").unwrap();
    let call = ["hand-eye", "--setup", "eye-to-hand", "--out", &out, "--pairs"];
    let check = |pairs: &str, part: &str| {
        check_refused(&[&call[..], &[pairs]].concat(), 1, &["is not written", part, "--force"]);
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "old");
    };
    let inverted = write_pairs(
        "inverted.jsonl",
        |cell, index| json!({"base_from_gripper": rows(&arm(cell, index).inverse()), "camera_from_board": rows(&cell.poses[index])}),
    );
    check(&inverted, "base_from_gripper is inverted");
    let large = write_pairs("large.jsonl", |cell, index| {
        let mut pose = arm(cell, index);
        pose.translation.vector *= 1000.0;
        json!({"base_from_gripper": rows(&pose), "camera_from_board": rows(&cell.poses[index])})
    });
    check(&large, "base_from_gripper is in millimetres");
    let degrees = write_pairs("degrees.jsonl", |cell, index| {
        let (pose, r) = (arm(cell, index), arm(cell, index).rotation.scaled_axis());
        let (t, r) = (pose.translation.vector, r * (180.0 / std::f64::consts::PI));
        json!({
            "base_from_gripper": {"rvec": [r.x, r.y, r.z], "tvec": [t.x, t.y, t.z]},
            "camera_from_board": rows(&cell.poses[index]),
        })
    });
    check(&degrees, "in degrees: --robot-angle-unit deg");
    let other_setup = ["hand-eye", "--setup", "eye-in-hand", "--out", &out, "--pairs"];
    let good = pose_pairs("good.jsonl");
    check_refused(&[&other_setup[..], &[&good]].concat(), 1, &["--setup eye-to-hand"]);
    check_done(&[&call[..], &[&inverted, "--force"]].concat());
    assert!(std::fs::read_to_string(&out).unwrap().contains("base_from_camera"));
}

#[test]
fn one_bad_line_of_many_is_named() {
    let cell = cell();
    let out = cell.arg("bad_line.yaml");
    // Line 1 is a comment, so that lines and pairs count differently.
    let pairs = write_pairs("bad_line.jsonl", |cell, index| {
        let seen = if index == 4 { 1 } else { index };
        json!({"base_from_gripper": rows(&arm(cell, index)), "camera_from_board": rows(&cell.poses[seen])})
    });
    let text = std::fs::read_to_string(&pairs).unwrap();
    std::fs::write(&pairs, format!("# stops of the arm\n{text}")).unwrap();
    let call = ["hand-eye", "--setup", "eye-to-hand", "--out", &out, "--pairs", &pairs];
    check_refused(&call, 1, &["is not written", "line 6 does not fit the others"]);
}

#[test]
fn euler_angles_are_named_with_the_option_that_reads_them() {
    let cell = cell();
    let out = cell.arg("euler.yaml");
    let pairs = write_pairs("euler.jsonl", |cell, index| {
        let pose = arm(cell, index);
        let (t, (roll, pitch, yaw)) =
            (pose.translation.vector * 1000.0, pose.rotation.euler_angles());
        let [roll, pitch, yaw] = [roll, pitch, yaw].map(f64::to_degrees);
        json!({
            "base_from_gripper": [t.x, t.y, t.z, roll, pitch, yaw],
            "camera_from_board": rows(&cell.poses[index]),
        })
    });
    let units = ["--robot-unit", "mm", "--robot-angle-unit", "deg", "--pairs", &pairs];
    let call = [&["hand-eye", "--setup", "eye-to-hand", "--out", &out][..], &units].concat();
    check_refused(&call, 1, &["Euler angles of the order xyz", "--robot-euler xyz"]);
    let report = check_json(&[&call[..], &["--robot-euler", "xyz"]].concat());
    let (off_mm, off_deg) = off(&report["base_from_camera"], &base_from_camera());
    assert!(off_mm < 0.001 && off_deg < 0.001, "{off_mm} mm, {off_deg} degrees");
    assert!(report["uncertainty_mm"].as_f64().unwrap() < 0.001, "{report}");
    let wrong = [&call[..], &["--robot-euler", "abc"]].concat();
    assert_eq!(magpie(&[&["calibrate"], &wrong[..]].concat()).status.code(), Some(2));
}

#[test]
fn squares_of_another_length_are_told_in_millimetres() {
    let cell = cell();
    let (out, info) = (cell.arg("squares.yaml"), cell.arg("true_info.yaml"));
    let pictures = write_pairs(
        "squares.jsonl",
        |cell, index| json!({"base_from_gripper": rows(&arm(cell, index)), "image": format!("board_{index}.png")}),
    );
    let call = ["hand-eye", "--setup", "eye-to-hand", "--out", &out, "--pairs", &pictures];
    let said = ["--camera-info", &info, "--squares", "7x5", "--square-length-m", "0.031"];
    let refused = magpie(&[&["calibrate"], &call[..], &said].concat());
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    let measured = told.split("the squares are ").nth(1).unwrap().split(" mm").next().unwrap();
    assert!((measured.parse::<f64>().unwrap() - 30.0).abs() < 0.1, "{told}");
    assert!(told.contains("mm, not 31;"), "{told}");
}

/// What others' programs leave behind, and the next step.
#[test]
fn samples_and_results_of_other_programs_are_named() {
    let cell = cell();
    let (out, samples) = (cell.arg("never.yaml"), cell.arg("samples.txt"));
    let check = |text: &str, parts: &[&str]| {
        std::fs::write(&samples, text).unwrap();
        let call = ["hand-eye", "--setup", "eye-to-hand", "--pairs", &samples, "--out", &out];
        check_refused(&call, 78, parts);
    };
    check("1.0,0.1,0.2,0.3,0,0,0,1\n", &["ethz-asl", "quaternion_xyzw"]);
    check("t, x, y, z, q_x, q_y, q_z, q_w\n", &["ethz-asl"]);
    check("samples:\n- robot: {}\n", &["easy_handeye", "base_from_gripper"]);
    check("FloatMatrix:\n  Data: []\n", &["Zivid", "pos01.yaml"]);
    let easy = "eye_on_hand: false\nrobot_base_frame: base\ntracking_base_frame: camera_link\n\
                transformation: {x: 0.1, qw: 1.0}\n";
    std::fs::write(&samples, easy).unwrap();
    let (info, picture) = (cell.arg("true_info.yaml"), cell.picture(0));
    let verify = ["verify", "--hand-eye", &samples, "--camera-info", &info, "--image", &picture];
    check_refused(&[&verify[..], &BOARD].concat(), 78, &["easy_handeye: where camera_link is"]);
}

/// The left part of a picture.
fn part_of(picture: &BgrImage, width_px: u32) -> BgrImage {
    let rows = picture.data().chunks_exact(3 * picture.width_px() as usize);
    let bytes = rows.flat_map(|row| row[..3 * width_px as usize].to_vec()).collect();
    BgrImage::new(width_px, picture.height_px(), bytes).unwrap()
}

/// Something grey and flat that lies on the board.
fn covered(picture: &BgrImage, x_px: u32, y_px: u32, side_px: u32) -> BgrImage {
    let width = picture.width_px();
    let mut bytes = picture.data().to_vec();
    for y in y_px..y_px + side_px {
        let from = 3 * (y * width + x_px) as usize;
        bytes[from..from + 3 * side_px as usize].fill(95);
    }
    BgrImage::new(width, picture.height_px(), bytes).unwrap()
}

#[test]
fn a_chessboard_of_another_size_is_named_and_the_advice_calibrates() {
    let folder = tempfile::tempdir().unwrap();
    let board = Board::Chessboard { corners_x: 11, corners_y: 8, square_length_m: 0.02 };
    let scene = BoardScene::new(&board, lens(480, 360));
    let mut noise = Noise(12);
    let pictures: Vec<String> = (0..6)
        .map(|index| {
            let target = Point3::new(0.08 + 0.01 * f64::from(index), 0.07, 0.0);
            let pose = look_at(target, 0.4, 25.0, 137.5 * f64::from(index), 10.0);
            let path = folder.path().join(format!("{index}.png"));
            write_png(&path, &scene.picture(&pose, &mut noise)).unwrap();
            path.display().to_string()
        })
        .collect();
    let pictures: Vec<&str> = pictures.iter().map(String::as_str).collect();
    let out = folder.path().join("lens.yaml").display().to_string();
    let call = ["intrinsics", "--board", "chessboard", "--out", &out, "--corners"];
    for wrong in ["9x6", "8x5", "12x9"] {
        let call = [&call[..], &[wrong], &pictures].concat();
        check_refused(&call, 78, &["not as it was described", "--corners 11x8", "6 of 6"]);
    }
    let found = check_json(&[&call[..], &["11x8"], &pictures].concat());
    let (fx, truth) = (found["fx_px"].as_f64().unwrap(), scene.info.intrinsics.fx_px);
    assert!((fx / truth - 1.0).abs() < 0.02, "{fx} for {truth}");

    // Out of the picture, or under a hand, it is no board of another size.
    let refused = |name: &str, spoil: &dyn Fn(&BgrImage, u32) -> BgrImage| {
        let spoiled: Vec<String> = (0..4)
            .map(|index| {
                let target = Point3::new(0.1, 0.07, 0.0);
                let pose = look_at(target, 0.4, 20.0, 137.5 * f64::from(index), 10.0);
                let picture = spoil(&scene.picture(&pose, &mut Noise(20)), index);
                let path = folder.path().join(format!("{name}_{index}.png"));
                write_png(&path, &picture).unwrap();
                path.display().to_string()
            })
            .collect();
        let spoiled: Vec<&str> = spoiled.iter().map(String::as_str).collect();
        let arguments = [&["calibrate"], &call[..], &["11x8"], &spoiled].concat();
        let output = magpie(&arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{message}");
        assert!(!message.contains("--corners"), "{message}");
    };
    refused("cut", &|picture, _| part_of(picture, 230));
    refused("covered", &|picture, index| covered(picture, 150 + 30 * index, 120, 100));
}

#[test]
fn a_bad_line_of_pairs_is_named_by_its_number() {
    let cell = cell();
    let out = cell.arg("never.yaml");
    let good = std::fs::read_to_string(pose_pairs("all.jsonl")).unwrap();
    let first = good.lines().next().unwrap();
    let check = |bad: &str, parts: &[&str]| {
        let path = cell.arg("bad.jsonl");
        std::fs::write(&path, format!("{first}\n\n{bad}\n")).unwrap();
        let call = ["hand-eye", "--setup", "eye-to-hand", "--pairs", &path, "--out", &out];
        check_refused(&call, 78, parts);
        assert!(!Path::new(&out).exists());
    };
    check("{\"base_from_gripper\": [[1", &["bad.jsonl line 3", "not JSON"]);
    check("{\"camera_from_board\": []}", &["line 3", "base_from_gripper", "missing"]);
    let other = first.replace("camera_from_board", "board");
    check(&other, &["line 3", "\"camera_from_board\"", "there are base_from_gripper, board"]);
    check(&first.replace("0.0,0.0,0.0,1.0]]", "0.0,0.0,1.0]]"), &["line 3", "15 were found"]);
    let image = "{\"base_from_gripper\": [0, 0, 0, 0, 0, 0], \"image\": \"board_0.png\"}";
    check(image, &["line 3", "--camera-info"]);
    check("", &["1 stops of the arm where at least 4"]);
}

#[test]
fn pairs_are_read_as_robots_and_their_scripts_write_them() {
    let cell = cell();
    let (out, info) = (cell.arg("tolerant.yaml"), cell.arg("true_info.yaml"));
    let call = ["hand-eye", "--setup", "eye-to-hand", "--out", &out];
    let pose = |pose: &Isometry3<f64>| {
        let (t, q) = (pose.translation.vector * 1000.0, pose.rotation.coords);
        json!({
            "position": {"x": t.x, "y": t.y, "z": t.z},
            "orientation": {"x": q.x, "y": q.y, "z": q.z, "w": q.w},
        })
    };
    let path = write_pairs("tolerant.jsonl", |cell, index| {
        json!({
            "id": index, "stamp": 1.5, "image": "deleted.png",
            "base_from_gripper": pose(&arm(cell, index)),
            "camera_from_board": rows(&cell.poses[index]),
        })
    });
    let lines = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("\u{feff}# station 3\n{lines}")).unwrap();
    // The lens is told for its id; no picture is read, so the board's size is of no interest.
    let units = ["--robot-unit", "mm", "--camera-info", &info, "--json"];
    let arguments = [&["calibrate"], &call[..], &["--pairs", &path], &units].concat();
    let done = succeed(&arguments);
    let report: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert!(off(&report["base_from_camera"], &base_from_camera()).0 < 0.001, "{report}");
    let told = text(&done.stderr);
    assert_eq!(told.matches("not used in").count(), 1, "{told}");
    assert!(told.contains("id, image, stamp"), "{told}");
}

#[test]
fn a_picture_that_cannot_be_read_is_left_out_of_hand_eye_calibration() {
    let cell = cell();
    let (out, info) = (cell.arg("without_one.yaml"), cell.arg("true_info.yaml"));
    std::fs::write(cell.path("garbled.png"), "no picture").unwrap();
    let pairs = write_pairs("garbled.jsonl", |cell, index| {
        let image = if index == 2 { "garbled.png".into() } else { format!("board_{index}.png") };
        json!({"base_from_gripper": rows(&arm(cell, index)), "image": image})
    });
    let call = ["hand-eye", "--setup", "eye-to-hand", "--out", &out, "--pairs", &pairs];
    let report = check_json(&[&call[..], &["--camera-info", &info], &BOARD].concat());
    assert!(off(&report["base_from_camera"], &base_from_camera()).0 < 0.5, "{report}");
    let left_out = report["left_out"][0].as_str().unwrap();
    assert!(left_out.contains("line 3: garbled.png"), "{left_out}");
}

#[test]
fn millimetres_hold_for_the_arm_at_a_touch_test_too() {
    let cell = cell();
    let (info, out) = (cell.arg("true_info.yaml"), cell.arg("on_the_arm.yaml"));
    let base_from_board = base_from_camera() * cell.poses[0];
    let gripper_from_camera =
        Isometry3::new(Vector3::new(0.05, -0.03, 0.08), Vector3::new(0.05, 0.02, 1.5));
    let arm =
        |pose: &Isometry3<f64>| base_from_board * pose.inverse() * gripper_from_camera.inverse();
    let pairs = write_pairs("on_the_arm.jsonl", |cell, index| {
        let pose = &cell.poses[index];
        json!({"base_from_gripper": rows(&arm(pose)), "camera_from_board": rows(pose)})
    });
    check_done(&["hand-eye", "--setup", "eye-in-hand", "--out", &out, "--pairs", &pairs]);
    let mut at = arm(&cell.poses[4]);
    at.translation.vector *= 1000.0;
    std::fs::write(cell.path("arm.json"), rows(&at).to_string()).unwrap();
    let (picture, pose) = (cell.picture(4), cell.arg("arm.json"));
    let files = ["--hand-eye", &out, "--camera-info", &info, "--image", &picture];
    let verify = [&["verify"][..], &files, &["--base-from-gripper", &pose, "--unit", "mm"]];
    let found = check_json(&[&verify.concat()[..], &BOARD, &["--corner", "8"]].concat());
    let truth = base_from_board * Point3::new(0.09, 0.06, 0.0);
    let x = found["base_from_target"][0][3].as_f64().unwrap();
    assert!((x - truth.x).abs() < 0.002, "{found} for {truth}");
    let symmetric = ["--board", "chessboard", "--corners", "8x6", "--square-length-m", "0.03"];
    let twofold = [&verify.concat()[..], &symmetric].concat();
    check_refused(&twofold, 78, &["looks the same when it is turned by half a turn"]);
    let reference = ["reference", "--camera-info", &info, "--image", &picture, "--out", &out];
    check_refused(&[&reference[..], &symmetric].concat(), 78, &["half a turn"]);
}

#[test]
fn the_support_plane_is_found_from_depth_and_from_a_board_on_it() {
    let cell = cell();
    let info = cell.arg("true_info.yaml");
    let plane = ["plane", "--camera-info", &info];
    let depth = cell.arg("depth.png");
    let image = DepthImage::new(480, 360, vec![1100; 480 * 360]).unwrap();
    write_depth_png(Path::new(&depth), &image).unwrap();
    let found = check_json(&[&plane[..], &["--depth", &depth]].concat());
    let number = |index: usize| found["support_plane_in_camera"][index].as_f64().unwrap();
    assert!((number(2) + 1.0).abs() < 1e-3 && (number(3) + 1.1).abs() < 1e-3, "{found}");

    // TUM's steps of 0.2 mm, taken for millimetres, put a table out of reach.
    let image = DepthImage::new(480, 360, vec![3460; 480 * 360]).unwrap();
    write_depth_png(Path::new(&depth), &image).unwrap();
    let far = [&["calibrate"], &plane[..], &["--depth", &depth]].concat();
    let doubt = "depth is doubtful: what packages lie on is 3.460 m from the camera";
    assert!(text(&succeed(&far).stderr).contains(doubt));
    for unit in ["0.001", "0.0002"] {
        let said = succeed(&[&far[..], &["--depth-unit-m", unit]].concat());
        assert!(!text(&said.stderr).contains("doubtful"), "{unit}");
    }

    let picture = cell.picture(0);
    let found = check_json(&[&plane[..], &["--image", &picture], &BOARD].concat());
    let normal = -(cell.poses[0].rotation * Vector3::z());
    let offset = normal.dot(&cell.poses[0].translation.vector);
    let z = found["support_plane_in_camera"][2].as_f64().unwrap();
    let found_offset = found["support_plane_in_camera"][3].as_f64().unwrap();
    assert!((z - normal.z).abs() < 0.01 && (found_offset - offset).abs() < 0.002, "{found}");

    let empty = cell.arg("empty.png");
    write_depth_png(Path::new(&empty), &DepthImage::new(480, 360, vec![0; 480 * 360]).unwrap())
        .unwrap();
    check_refused(&[&plane[..], &["--depth", &empty]].concat(), 78, &["0 depth pixels"]);
    check_refused(&[&plane[..], &["--depth", &picture]].concat(), 78, &["16 bits"]);
}

#[test]
fn the_examples_that_are_shipped_are_what_the_commands_read_and_write() {
    let examples = root().join("calibration");
    let example = |name: &str| examples.join(name).display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("hand_eye.yaml").display().to_string();
    let pairs = example("pairs.jsonl");
    check_done(&["hand-eye", "--setup", "eye-to-hand", "--pairs", &pairs, "--out", &out]);
    let text = "[scene]\ncamera_info = \"camera_info.yaml\"\nhand_eye = \"hand_eye.yaml\"\n\
                calibration_age_days_max = 0\n[drift]\nreference = \"reference.yaml\"";
    let config = Config::parse(&examples.join("magpie.toml"), text).unwrap();
    assert!(config.scene.unwrap().camera_place.is_some());
    assert_eq!(config.drift.unwrap().reference.points.len(), 24);
}

#[test]
fn a_calibration_that_is_old_or_of_another_lens_is_refused_at_start() {
    let examples = root().join("calibration");
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(examples.join("camera_info.yaml"), folder.path().join("info.yaml")).unwrap();
    let check = |from: &str, to: &str, part: &str| {
        let hand_eye = std::fs::read_to_string(examples.join("hand_eye.yaml")).unwrap();
        assert!(hand_eye.contains(from));
        std::fs::write(folder.path().join("he.yaml"), hand_eye.replace(from, to)).unwrap();
        let text = "[scene]\ncamera_info = \"info.yaml\"\nhand_eye = \"he.yaml\"\n";
        let error = Config::parse(&folder.path().join("magpie.toml"), text).unwrap_err();
        let message = one_line(&error.into());
        assert!(message.contains("scene.hand_eye") && message.contains(part), "{message}");
    };
    check("made: \"2026", "made: \"2019", "days old");
    check("pairs: ", "camera_info_id: 0123\npairs: ", "was made with the camera_info");
    check("setup: eye_to_hand", "setup: eye_to_foot", "eye_to_foot");
}

#[test]
fn poses_of_a_camera_on_the_arm_are_in_the_gripper_and_nothing_fixed_in_base_is_taken() {
    let examples = root().join("calibration");
    let folder = tempfile::tempdir().unwrap();
    for name in ["camera_info.yaml", "reference.yaml"] {
        std::fs::copy(examples.join(name), folder.path().join(name)).unwrap();
    }
    let hand_eye = std::fs::read_to_string(examples.join("hand_eye.yaml")).unwrap();
    let (fixed, on_arm) =
        ("setup: eye_to_hand\nbase_from_camera", "setup: eye_in_hand\ngripper_from_camera");
    assert!(hand_eye.contains(fixed));
    std::fs::write(folder.path().join("he.yaml"), hand_eye.replace(fixed, on_arm)).unwrap();
    let parse = |more: &str| {
        let text = format!(
            "[scene]\ncamera_info = \"camera_info.yaml\"\nhand_eye = \"he.yaml\"\n\
             calibration_age_days_max = 0\n{more}"
        );
        Config::parse(&folder.path().join("magpie.toml"), &text)
    };
    let scene = parse("support_plane_in_camera = [0.0, 0.0, -1.0, -0.8]").unwrap().scene.unwrap();
    assert_eq!(scene.reference_frame(), ReferenceFrame::Gripper);
    assert!(scene.support_plane_in_camera.is_some());
    let refused = |more: &str, key: &str| {
        let message = one_line(&parse(more).unwrap_err().into());
        assert!(message.contains(key) && message.contains("arm"), "{message}");
    };
    refused("support_plane_z_in_base_m = 0.0", "scene.support_plane_z_in_base_m");
    refused("[belt]\nvelocity_m_s = [0.3, 0.0, 0.0]", "belt.velocity_m_s");
    refused("[drift]\nreference = \"reference.yaml\"", "drift.reference");
}

/// What the daemon says of its drift while it sees this picture.
fn drift_seen(picture: &BgrImage) -> wire::Status {
    let cell = cell();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(at("frames")).unwrap();
    write_png(Path::new(&at("frames/1.png")), picture).unwrap();
    let (info, first) = (cell.arg("true_info.yaml"), cell.picture(0));
    let reference = ["reference", "--camera-info", &info, "--image", &first, "--out"];
    check_done(&[&reference[..], &[&at("reference.yaml")], &BOARD].concat());
    let endpoint = free_endpoint();
    write_zenoh_config(folder.path(), &endpoint);
    let text = format!(
        "cell = \"drifting\"\n[source.image_folder]\npath = \"frames\"\nloop = true\n\
         [scene]\ncamera_info = \"{info}\"\n[drift]\nreference = \"reference.yaml\"\n\
         period_s = 0.2\n[limits]\nframe_age_ms_max = 5000\n[zenoh]\nconfig = \"zenoh.json5\"\n"
    );
    let config = Config::parse(&folder.path().join("magpie.toml"), &text).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let daemon = std::thread::Builder::new()
        .name("daemon".into())
        .spawn(move || {
            run::run(&config, async {
                let _ = stopped.await;
            })
        })
        .unwrap();
    let status = first_status_with_drift(&endpoint);
    drop(stop);
    daemon.join().unwrap().unwrap();
    status
}

fn first_status_with_drift(endpoint: &str) -> wire::Status {
    let mut subscriber = None;
    for _ in 0..600 {
        std::thread::sleep(Duration::from_millis(100));
        if subscriber.is_none() {
            let zenoh = ZenohConfig::Connect(vec![endpoint.to_owned()]);
            let cell = CellName::new("drifting").unwrap();
            let options = ClientOptions::new(cell, zenoh, SystemClock::start());
            subscriber = Client::open(options).ok().and_then(|client| client.packages().ok());
        }
        let status = subscriber.as_ref().and_then(PackagesSubscriber::status);
        if let Some(status) = status.filter(|status| status.drift.is_some()) {
            return status;
        }
    }
    panic!("no drift in the status within a minute");
}

#[test]
fn a_running_daemon_tells_when_its_camera_was_knocked() {
    let cell = cell();
    let mut noise = Noise(9);
    let still = drift_seen(&cell.scene.picture(&cell.poses[0], &mut noise));
    let drift = still.drift.unwrap();
    assert!(drift.displacement_mm < 0.5 && drift.points >= 12, "{drift:?}");
    assert!(still.reasons.iter().all(|reason| !reason.contains("moved")), "{:?}", still.reasons);

    let knocked = Isometry3::translation(0.008, 0.0, 0.0) * cell.poses[0];
    let moved = drift_seen(&cell.scene.picture(&knocked, &mut noise));
    let drift = moved.drift.unwrap();
    assert!((drift.displacement_mm - 8.0).abs() < 0.6, "{drift:?}");
    assert_eq!(moved.state(), wire::State::Degraded);
    assert!(moved.reasons.iter().any(|reason| reason.contains("the camera has moved")));
}

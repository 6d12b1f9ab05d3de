//! Calibration against the truth, on pictures of simulated boards.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::print_stdout,
    unreachable_pub,
    dead_code,
    reason = "a test that cannot set itself up has failed; its numbers are small"
)]

mod board_scene;

use std::sync::OnceLock;

use board_scene::{BoardScene, Noise, lens, look_at};
use magpie_camera::calibrate::{
    Board, BoardPoint, HandEyePair, HandEyeReport, Rejection, Setup, View, board_pose,
    calibrate_hand_eye, calibrate_intrinsics, detect, resolve_orientations, select_views,
};
use magpie_perception::{BgrImage, CameraInfo, Distortion};
use nalgebra::{Isometry3, Point3, UnitQuaternion, Vector3};

fn charuco() -> Board {
    Board::Charuco {
        squares_x: 7,
        squares_y: 5,
        square_length_m: 0.030,
        marker_length_m: 0.021,
        dictionary: "DICT_4X4_50".parse().unwrap(),
    }
}

/// Where a person holds a board: all over the picture, near and far, tilted each way.
fn poses(count: usize, noise: &mut Noise) -> Vec<Isometry3<f64>> {
    let center = Point3::new(0.105, 0.075, 0.0);
    (0..count)
        .map(|index| {
            let aside = Vector3::new(0.07 * noise.uniform(), 0.05 * noise.uniform(), 0.0);
            let distance_m = 0.32 + 0.08 * noise.uniform();
            let tilt_deg = if index % 5 == 0 { 4.0 } else { 27.0 + 10.0 * noise.uniform() };
            let azimuth_deg = 137.5 * index as f64;
            look_at(center + aside, distance_m, tilt_deg, azimuth_deg, 25.0 * noise.uniform())
        })
        .collect()
}

struct Session {
    info: CameraInfo,
    poses: Vec<Isometry3<f64>>,
    pictures: Vec<BgrImage>,
    views: Vec<View>,
}

/// Twenty pictures that several tests look at.
fn session() -> &'static Session {
    static SESSION: OnceLock<Session> = OnceLock::new();
    SESSION.get_or_init(|| {
        let scene = BoardScene::new(&charuco(), lens(1024, 768));
        let mut noise = Noise(7);
        let poses = poses(20, &mut noise);
        let pictures: Vec<_> = poses.iter().map(|pose| scene.picture(pose, &mut noise)).collect();
        if let Ok(folder) = std::env::var("KEEP_PICTURES") {
            for (index, picture) in pictures.iter().enumerate() {
                let path = std::path::Path::new(&folder).join(format!("board_{index:02}.png"));
                magpie_camera::write_png(&path, picture).unwrap();
            }
        }
        let found = pictures.iter().map(|picture| detect(picture, &charuco()).unwrap().unwrap());
        Session { views: found.collect(), info: scene.info, poses, pictures }
    })
}

#[test]
fn corners_are_found_where_the_lens_puts_them() {
    let session = session();
    let (mut sum, mut count, mut max) = (0.0, 0, 0.0_f64);
    for (view, pose) in session.views.iter().zip(&session.poses) {
        for point in &view.points {
            let truth = session.info.project(&(pose * point.in_board)).unwrap();
            let off = (point.px - truth).norm();
            sum += off * off;
            max = max.max(off);
            count += 1;
        }
    }
    let rms = (f64::from(count).recip() * sum).sqrt();
    println!("{count} corners of {}: off by {rms:.3} px rms, {max:.3} px at most", 20 * 24);
    assert!(count > 430, "{count} corners");
    assert!(rms < 0.08 && max < 0.5, "{rms} px rms, {max} px max");
}

#[test]
fn the_focal_length_is_found_within_a_thousandth() {
    let session = session();
    let mut rejected = select_views(&session.views);
    let report = calibrate_intrinsics(&session.views, &mut rejected, "simulated").unwrap();
    let (found, truth) = (report.info.intrinsics, session.info.intrinsics);
    let off = |found: f64, truth: f64| 100.0 * (found / truth - 1.0).abs();
    println!(
        "fx off by {:.4} %, fy by {:.4} %, cx by {:.2} px, cy by {:.2} px, rms {:.3} px, held out {:.3} px",
        off(found.fx_px, truth.fx_px),
        off(found.fy_px, truth.fy_px),
        (found.cx_px - truth.cx_px).abs(),
        (found.cy_px - truth.cy_px).abs(),
        report.rms_px,
        report.held_out_rms_px
    );
    assert!(off(found.fx_px, truth.fx_px) < 0.1, "{found:?}");
    assert!(off(found.fy_px, truth.fy_px) < 0.1, "{found:?}");
    assert!(report.held_out_rms_px < 0.1 && report.rms_px < 0.1);
    assert!(report.std_px[0] < 0.002 * truth.fx_px);
}

/// An arm that took the camera to where the session's pictures were taken.
fn eye_in_hand() -> (Vec<HandEyePair>, Isometry3<f64>) {
    let session = session();
    let gripper_from_camera =
        Isometry3::new(Vector3::new(0.055, -0.032, 0.081), Vector3::new(0.06, -0.04, 1.52));
    let base_from_board =
        Isometry3::new(Vector3::new(0.52, -0.11, 0.03), Vector3::new(3.1, 0.05, -0.08));
    let pairs = session.poses.iter().zip(&session.views).map(|(camera_from_board, view)| {
        let base_from_gripper =
            base_from_board * camera_from_board.inverse() * gripper_from_camera.inverse();
        let seen = board_pose(&view.points, &session.info).unwrap().camera_from_board;
        HandEyePair { base_from_gripper, camera_from_board: seen, view: Some(view.clone()) }
    });
    (pairs.collect(), gripper_from_camera)
}

fn check_hand_eye(setup: Setup, pairs: &[HandEyePair], truth: &Isometry3<f64>) {
    let report = calibrate_hand_eye(setup, pairs, Some(&session().info)).unwrap();
    let found = report.hand_eye.parent_from_camera;
    let off_mm = 1000.0 * (found.translation.vector - truth.translation.vector).norm();
    let off_deg = found.rotation.angle_to(&truth.rotation).to_degrees();
    let spread = report.leave_one_out;
    println!(
        "{setup:?}: off by {off_mm:.3} mm and {off_deg:.4} degrees; leave-one-out {:.3} mm, {:.4} degrees; rms {:.3?} px; uncertainty {:?}",
        spread.rms_mm, spread.rms_deg, report.reprojection_rms_px, report.uncertainty_mm_deg
    );
    for (solver, found) in &report.solvers {
        if let Some((hand_eye, spread)) = found {
            let off_mm = 1000.0
                * (hand_eye.parent_from_camera.translation.vector - truth.translation.vector)
                    .norm();
            println!("  {solver}: off by {off_mm:.3} mm, spread {:.3} mm", spread.rms_mm);
        }
    }
    assert!(off_mm < 0.5 && off_deg < 0.05, "{off_mm} mm, {off_deg} degrees");
    assert!(spread.rms_mm < 2.0 && spread.rms_deg < 0.5, "{spread:?}");
    let found = report.solvers.iter().filter(|(_, found)| found.is_some()).count();
    assert_eq!(found, 7, "{:?}", report.solvers);
}

#[test]
fn the_camera_on_the_arm_is_found_within_half_a_millimetre() {
    let (pairs, truth) = eye_in_hand();
    check_hand_eye(Setup::EyeInHand, &pairs, &truth);
    let poses_only: Vec<_> =
        pairs.into_iter().map(|pair| HandEyePair { view: None, ..pair }).collect();
    check_hand_eye(Setup::EyeInHand, &poses_only, &truth);
}

/// An arm that is off by a millimetre and a tenth of a degree at each stop.
fn inexact_arm(stops: u32, noise: &mut Noise) -> (Vec<HandEyePair>, Isometry3<f64>) {
    let gripper_from_camera =
        Isometry3::new(Vector3::new(0.055, -0.032, 0.081), Vector3::new(0.06, -0.04, 1.52));
    let base_from_board =
        Isometry3::new(Vector3::new(0.52, -0.11, 0.03), Vector3::new(3.1, 0.05, -0.08));
    let pairs = poses(stops as usize, noise).into_iter().map(|camera_from_board| {
        let arm = base_from_board * camera_from_board.inverse() * gripper_from_camera.inverse();
        let normal = |noise: &mut Noise| Vector3::from_fn(|_, _| noise.normal());
        let off = Isometry3::new(normal(noise) * 1e-3, normal(noise) * 1.7e-3);
        HandEyePair { base_from_gripper: arm * off, camera_from_board, view: None }
    });
    (pairs.collect(), gripper_from_camera)
}

#[test]
fn the_uncertainty_is_as_large_as_the_error() {
    let (mut square_error_mm, mut square_claim_mm, mut square_halves, mut square_claims) =
        (0.0, 0.0, 0.0, 0.0);
    let runs = 12;
    for seed in 0..runs {
        let (pairs, truth) = inexact_arm(16, &mut Noise(100 + seed));
        let calibrate = |pairs: &[HandEyePair]| {
            let report = calibrate_hand_eye(Setup::EyeInHand, pairs, None).unwrap();
            let at = report.hand_eye.parent_from_camera.translation.vector;
            (at, report.uncertainty_mm_deg[0])
        };
        let (found, claim_mm) = calibrate(&pairs);
        square_error_mm += (1000.0 * (found - truth.translation.vector).norm()).powi(2);
        square_claim_mm += claim_mm * claim_mm;
        // Two halves of one set of stops differ as they say they may.
        let halves = [0, 1].map(|half| {
            let half = pairs.iter().skip(half).step_by(2).cloned().collect::<Vec<_>>();
            calibrate(&half)
        });
        square_halves += (1000.0 * (halves[0].0 - halves[1].0).norm()).powi(2);
        square_claims += halves[0].1.powi(2) + halves[1].1.powi(2);
    }
    let ratio = (square_claim_mm / square_error_mm).sqrt();
    let of_halves = (square_claims / square_halves).sqrt();
    let error_mm = (square_error_mm / runs as f64).sqrt();
    println!("error {error_mm:.2} mm rms; claimed {ratio:.2} of it, halves {of_halves:.2}");
    assert!((0.6..1.8).contains(&ratio), "claims {ratio} of the error");
    assert!((0.6..2.0).contains(&of_halves), "halves claim {of_halves} of their difference");
}

/// What is seen twice at one stop shares the arm's error there.
#[test]
fn stops_that_repeat_make_nothing_more_certain() {
    let mut noise = Noise(31);
    let (few, _) = inexact_arm(7, &mut noise);
    let once = calibrate_hand_eye(Setup::EyeInHand, &few, None).unwrap();
    // The arm comes back within a tenth of a millimetre, and the board is seen anew.
    let mut again = |pair: &HandEyePair| {
        let mut off = |size_m: f64| {
            let turn = noise.vector() * size_m;
            Isometry3::new(noise.vector() * size_m, turn)
        };
        HandEyePair {
            base_from_gripper: pair.base_from_gripper * off(1e-4),
            camera_from_board: pair.camera_from_board * off(5e-5),
            view: None,
        }
    };
    let repeated: Vec<_> = (0..8).flat_map(|_| few.iter()).map(&mut again).collect();
    let report = calibrate_hand_eye(Setup::EyeInHand, &repeated, None).unwrap();
    assert_eq!((once.motion.stops, report.motion.stops, report.pair_errors.len()), (7, 7, 56));
    let scale_std = |report: &HandEyeReport| report.board_scale.unwrap().std;
    for (found, expected) in [
        (report.uncertainty_mm_deg[0], once.uncertainty_mm_deg[0]),
        (report.uncertainty_mm_deg[1], once.uncertainty_mm_deg[1]),
        (report.leave_one_out.rms_mm, once.leave_one_out.rms_mm),
        (scale_std(&report), scale_std(&once)),
    ] {
        assert!((0.7..1.4).contains(&(found / expected)), "{found} for {expected}");
    }
    let three: Vec<_> = (0..8).flat_map(|_| few[..3].iter()).map(&mut again).collect();
    let refused = calibrate_hand_eye(Setup::EyeInHand, &three, None).unwrap_err();
    assert!(refused.to_string().starts_with("3 stops of the arm where at least 4"), "{refused}");
}

#[test]
fn what_is_handed_out_is_not_worse_than_a_solvers_solution() {
    let (mut pairs, _) = inexact_arm(14, &mut Noise(5));
    // Squares that are 3.5 % shorter than was said bend what the refinement fits.
    pairs.iter_mut().for_each(|pair| pair.camera_from_board.translation.vector /= 0.965);
    let report = calibrate_hand_eye(Setup::EyeInHand, &pairs, None).unwrap();
    let least =
        report.solvers.iter().filter_map(|(_, found)| found.map(|(_, spread)| spread.rms_mm));
    let least = least.fold(f64::MAX, f64::min);
    let handed = match report.solver {
        Some(solver) => report.solvers.iter().find(|(one, _)| *one == solver).unwrap().1.unwrap().1,
        None => report.refined.unwrap(),
    };
    assert!(handed.rms_mm < 1.25 * least, "{handed:?}, the best {least} mm, {:?}", report.refined);
    let scale = report.board_scale.unwrap();
    assert!((scale.scale - 0.965).abs() < 0.01 && scale.is_off(), "{scale:?}");
}

/// A camera whose z comes out of the lens, as graphics libraries have it.
#[test]
fn poses_that_cannot_be_refined_are_reported_as_solved_and_each_is_still_left_out_once() {
    let (pairs, _) = eye_in_hand();
    let turn = Isometry3::rotation(Vector3::x() * std::f64::consts::PI);
    let turned = pairs.into_iter().map(|pair| HandEyePair {
        camera_from_board: turn * pair.camera_from_board,
        view: None,
        ..pair
    });
    let pairs: Vec<_> = turned.collect();
    let report = calibrate_hand_eye(Setup::EyeInHand, &pairs, None).unwrap();
    assert_eq!((report.refined, report.reprojection_rms_px), (None, None));
    let with_itself =
        report.solvers.iter().filter_map(|(_, found)| found.map(|(_, spread)| spread));
    let least_mm = with_itself.map(|spread| spread.rms_mm).fold(f64::MAX, f64::min);
    let spread = report.leave_one_out;
    assert!(least_mm < spread.rms_mm && spread.rms_mm < 2.0, "{least_mm} mm, {spread:?}");
}

#[test]
fn the_camera_in_the_cell_is_found_within_half_a_millimetre() {
    let session = session();
    let base_from_camera =
        Isometry3::new(Vector3::new(0.6, 0.1, 1.1), Vector3::new(3.0, 0.1, -0.2));
    let gripper_from_board =
        Isometry3::new(Vector3::new(-0.1, -0.07, 0.09), Vector3::new(0.02, 0.03, 0.4));
    let pairs: Vec<_> = session
        .poses
        .iter()
        .zip(&session.views)
        .map(|(camera_from_board, view)| HandEyePair {
            base_from_gripper: base_from_camera * camera_from_board * gripper_from_board.inverse(),
            camera_from_board: board_pose(&view.points, &session.info).unwrap().camera_from_board,
            view: Some(view.clone()),
        })
        .collect();
    check_hand_eye(Setup::EyeToHand, &pairs, &base_from_camera);
}

#[test]
fn a_blurred_view_and_a_second_one_from_the_same_place_are_left_out() {
    let mut scene = BoardScene::new(&charuco(), lens(640, 480));
    let mut noise = Noise(3);
    let mut poses = poses(6, &mut noise);
    poses.push(poses[2]);
    let mut views: Vec<_> = poses
        .iter()
        .map(|pose| detect(&scene.picture(pose, &mut noise), &charuco()).unwrap().unwrap())
        .collect();
    scene.blur_px = 2.5;
    let blurred =
        scene.picture(&look_at(Point3::new(0.1, 0.07, 0.0), 0.3, 15.0, 70.0, 50.0), &mut noise);
    views.push(detect(&blurred, &charuco()).unwrap().expect("found although it is blurred"));
    let answers = select_views(&views);
    assert!(matches!(answers[7], Some(Rejection::Blurred { .. })), "{answers:?}");
    let duplicates = [&answers[2], &answers[6]];
    let left_out =
        duplicates.iter().filter(|answer| matches!(answer, Some(Rejection::Duplicate { .. })));
    assert_eq!(left_out.count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 6, "{answers:?}");
}

#[test]
fn views_of_a_board_that_was_never_tilted_are_refused_with_advice() {
    let scene = BoardScene::new(&charuco(), lens(640, 480));
    let mut noise = Noise(5);
    let views: Vec<_> = (0..6)
        .map(|index| {
            let aside = Point3::new(0.02 * f64::from(index) + 0.05, 0.07, 0.0);
            let pose = look_at(aside, 0.3 + 0.03 * f64::from(index), 0.0, 0.0, 0.0);
            detect(&scene.picture(&pose, &mut noise), &charuco()).unwrap().unwrap()
        })
        .collect();
    let mut rejected = select_views(&views);
    let message = calibrate_intrinsics(&views, &mut rejected, "x").unwrap_err().to_string();
    assert!(message.contains("do not determine the lens"), "{message}");
    assert!(message.contains("tilt"), "{message}");
}

/// Exact corners of a lens that turns back in the picture's corners, where the board never was.
#[test]
fn a_lens_that_turns_back_within_the_picture_is_not_handed_out() {
    let mut info = lens(640, 480);
    info.intrinsics.fx_px = 600.0;
    info.intrinsics.fy_px = 600.0;
    info.distortion = Distortion::plumb_bob([-0.5, 0.0, 0.0, 0.0, 0.0]);
    let mut noise = Noise(2);
    let views: Vec<_> = poses(12, &mut noise)
        .iter()
        .map(|pose| {
            let pose = Isometry3::translation(0.0, 0.0, 0.15) * pose;
            let points = (0..24_u32).map(|id| {
                let (column, row) = (f64::from(id % 6 + 1), f64::from(id / 6 + 1));
                let in_board = Point3::new(0.03 * column, 0.03 * row, 0.0);
                BoardPoint {
                    id: id as usize,
                    in_board,
                    px: info.project(&(pose * in_board)).unwrap(),
                }
            });
            let (width_px, height_px) = (info.width_px, info.height_px);
            View {
                width_px,
                height_px,
                points: points.collect(),
                edge_width_px: None,
                mismatch: None,
                ends_seen: true,
            }
        })
        .collect();
    let message = calibrate_intrinsics(&views, &mut vec![None; 12], "x").unwrap_err().to_string();
    assert!(message.contains("no single ray leads to pixel"), "{message}");
}

fn view_of(board: &Board, described: &Board) -> Option<View> {
    let scene = BoardScene::new(board, lens(640, 480));
    let pose = look_at(Point3::new(0.1, 0.07, 0.0), 0.34, 18.0, 40.0, 5.0);
    detect(&scene.picture(&pose, &mut Noise(1)), described).unwrap()
}

#[test]
fn a_board_of_another_size_than_said_is_noticed() {
    let described = |x: usize, y: usize, marker_length_m: f64| Board::Charuco {
        squares_x: x,
        squares_y: y,
        square_length_m: 0.030,
        marker_length_m,
        dictionary: "DICT_4X4_50".parse().unwrap(),
    };
    let mismatch = |board: Board| {
        view_of(&charuco(), &board).unwrap().mismatch.map(|mismatch| mismatch.to_string())
    };
    assert_eq!(mismatch(described(7, 5, 0.021)), None);
    let turned = mismatch(described(5, 7, 0.021)).unwrap();
    assert!(turned.contains("7x5 squares: columns come first"), "{turned}");
    let small = mismatch(described(5, 4, 0.021)).unwrap();
    assert!(small.contains("7x5 squares: columns come first"), "{small}");
    let wide = mismatch(described(8, 5, 0.021)).unwrap();
    assert!(wide.contains("7x5 squares: columns come first"), "{wide}");
    let thick = mismatch(described(7, 5, 0.027)).unwrap();
    assert!(thick.contains("but 90 % were said"), "{thick}");
}

#[test]
fn a_part_of_a_chessboard_is_not_taken_for_it_and_the_advice_holds() {
    let described =
        |corners_x, corners_y| Board::Chessboard { corners_x, corners_y, square_length_m: 0.02 };
    let scene = BoardScene::new(&described(11, 8), lens(640, 480));
    for roll_deg in [0.0, 90.0] {
        let pose = look_at(Point3::new(0.1, 0.07, 0.0), 0.42, 18.0, 40.0, roll_deg);
        let picture = scene.picture(&pose, &mut Noise(1));
        for (x, y) in [(9, 6), (8, 5), (12, 9), (7, 7)] {
            let view = detect(&picture, &described(x, y)).unwrap().unwrap();
            let mismatch = view.mismatch.unwrap().to_string();
            assert!(mismatch.contains("--corners 11x8"), "{x}x{y}: {mismatch}");
        }
        let view = detect(&picture, &described(11, 8)).unwrap().unwrap();
        assert_eq!((view.mismatch, view.points.len(), view.ends_seen), (None, 88, true));
    }
}

#[test]
fn a_chessboard_is_read_from_the_same_end_however_it_is_turned() {
    let board = Board::Chessboard { corners_x: 8, corners_y: 5, square_length_m: 0.02 };
    assert!(board.has_unique_orientation());
    let scene = BoardScene::new(&board, lens(640, 480));
    for roll_deg in [0.0, 90.0, 180.0, 270.0] {
        let pose = look_at(Point3::new(0.07, 0.04, 0.0), 0.3, 18.0, 40.0, roll_deg);
        let view = detect(&scene.picture(&pose, &mut Noise(1)), &board).unwrap().unwrap();
        assert_eq!(view.points.len(), 40);
        let found = board_pose(&view.points, &scene.info).unwrap().camera_from_board;
        let off_mm = 1000.0 * (found.translation.vector - pose.translation.vector).norm();
        assert!(off_mm < 1.0, "{off_mm} mm at {roll_deg} degrees");
    }
}

#[test]
fn an_ambiguous_chessboard_is_oriented_alike_in_all_pictures() {
    let board = Board::Chessboard { corners_x: 8, corners_y: 6, square_length_m: 0.02 };
    assert!(!board.has_unique_orientation());
    let mut noise = Noise(6);
    let base_from_camera =
        Isometry3::new(Vector3::new(0.6, 0.1, 1.1), Vector3::new(3.0, 0.1, -0.2));
    let gripper_from_board =
        Isometry3::new(Vector3::new(-0.1, -0.07, 0.09), Vector3::new(0.02, 0.03, 0.4));
    let scene = BoardScene::new(&board, lens(640, 480));
    let pictured = |index: u32| {
        let (tilt_deg, roll_deg) = (18.0 + 2.0 * f64::from(index), 85.0 * f64::from(index));
        let azimuth_deg = 137.5 * f64::from(index);
        let target = Point3::new(0.07, 0.05, 0.0);
        let pose = look_at(target, 0.32, tilt_deg, azimuth_deg, roll_deg);
        let view = detect(&scene.picture(&pose, &mut noise), &board).unwrap().unwrap();
        let seen = board_pose(&view.points, &scene.info).unwrap().camera_from_board;
        let base_from_gripper = base_from_camera * pose * gripper_from_board.inverse();
        HandEyePair { base_from_gripper, camera_from_board: seen, view: Some(view) }
    };
    let mut pairs: Vec<_> = (0..8).map(pictured).collect();
    let off = |pairs: &[HandEyePair]| {
        let report = calibrate_hand_eye(Setup::EyeToHand, pairs, Some(&scene.info)).unwrap();
        let found = report.hand_eye.parent_from_camera.translation.vector;
        let off_m = (found - base_from_camera.translation.vector).norm();
        (1000.0 * off_m, report.leave_one_out.rms_deg)
    };
    assert!(off(&pairs).1 > 30.0, "the detector begins at either end");
    resolve_orientations(&board, &mut pairs).unwrap();
    let (off_mm, spread_deg) = off(&pairs);
    assert!(off_mm < 1.0 && spread_deg < 0.5, "{off_mm} mm, {spread_deg} degrees");
    // Arm poses that do not belong to the pictures tell nothing.
    pairs.iter_mut().enumerate().for_each(|(index, pair)| {
        pair.base_from_gripper.rotation =
            UnitQuaternion::new(Vector3::new(0.5 * index as f64, 1.0, 0.3));
    });
    let message = resolve_orientations(&board, &mut pairs).unwrap_err().to_string();
    assert!(message.contains("half a turn"), "{message}");
}

/// Through a fisheye lens, from the pictures' corners to the camera on the arm.
#[test]
fn a_fisheye_camera_on_the_arm_is_found_from_pictures() {
    let mut info = lens(640, 480);
    info.intrinsics.fx_px = 400.0;
    info.intrinsics.fy_px = 401.0;
    info.distortion = Distortion::Equidistant([-0.008, 0.045, -0.042, 0.008]);
    let scene = BoardScene::new(&charuco(), info);
    let mut noise = Noise(21);
    let truth = Isometry3::new(Vector3::new(0.055, -0.032, 0.081), Vector3::new(0.06, -0.04, 1.52));
    let base_from_board =
        Isometry3::new(Vector3::new(0.52, -0.11, 0.03), Vector3::new(3.1, 0.05, -0.08));
    let pairs: Vec<_> = (0..10)
        .map(|index| {
            let index = f64::from(index);
            let aside = Point3::new(0.105 + 0.08 * index.cos(), 0.075 + 0.06 * index.sin(), 0.0);
            let pose = look_at(aside, 0.24, 25.0, 137.5 * index, 20.0 * index.sin());
            let view = detect(&scene.picture(&pose, &mut noise), &charuco()).unwrap().unwrap();
            let seen = board_pose(&view.points, &scene.info).unwrap();
            assert!(seen.rms_px < 0.2, "{} px", seen.rms_px);
            let base_from_gripper = base_from_board * pose.inverse() * truth.inverse();
            HandEyePair {
                base_from_gripper,
                camera_from_board: seen.camera_from_board,
                view: Some(view),
            }
        })
        .collect();
    let report = calibrate_hand_eye(Setup::EyeInHand, &pairs, Some(&scene.info)).unwrap();
    let off = truth.inverse() * report.hand_eye.parent_from_camera;
    let (off_mm, off_deg) =
        (1000.0 * off.translation.vector.norm(), off.rotation.angle().to_degrees());
    println!("fisheye: off by {off_mm:.3} mm, {off_deg:.4} degrees");
    assert!(off_mm < 0.5 && off_deg < 0.1, "{off_mm} mm, {off_deg} degrees");
}

#[test]
fn half_of_a_charuco_board_is_enough() {
    let scene = BoardScene::new(&charuco(), lens(640, 480));
    let pose = look_at(Point3::new(0.21, 0.075, 0.0), 0.2, 10.0, 40.0, 0.0);
    let view = detect(&scene.picture(&pose, &mut Noise(1)), &charuco()).unwrap().unwrap();
    assert!((6..24).contains(&view.points.len()), "{} corners", view.points.len());
    for point in &view.points {
        let truth = scene.info.project(&(pose * point.in_board)).unwrap();
        assert!((point.px - truth).norm() < 0.5, "corner {}", point.id);
    }
}

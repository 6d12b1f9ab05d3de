//! Each usual mix-up of conventions is put into good pairs, and must be found and named.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    unreachable_pub,
    dead_code,
    reason = "a test that cannot set itself up has failed; its numbers are small"
)]

mod board_scene;

use board_scene::{Noise, look_at};
use magpie_camera::calibrate::{EulerOrder, Mistake, RawPose, Setup, find_mistake};
use nalgebra::{Isometry3, Point3, Vector3};

type Pair = (RawPose, RawPose);

/// A board pose as a camera with noise sees it: half a millimetre, a tenth of a degree.
fn seen(pose: &Isometry3<f64>, noise: &mut Noise) -> Isometry3<f64> {
    pose * Isometry3::new(noise.vector() * 0.0005, noise.vector() * 0.0017)
}

fn raw(pose: Isometry3<f64>) -> RawPose {
    RawPose { rotation_vector: Some(pose.rotation.scaled_axis()), ..pose.into() }
}

/// Good pairs of either kind, as cells have them.
fn good(setup: Setup, seed: u64) -> Vec<Pair> {
    let mut noise = Noise(seed);
    let views: Vec<_> = (0..15)
        .map(|index| {
            let aside = Vector3::new(0.05 * noise.uniform(), 0.05 * noise.uniform(), 0.0);
            let distance_m = 0.45 + 0.12 * noise.uniform();
            let tilt_deg = 20.0 + 14.0 * noise.uniform();
            let (azimuth_deg, roll_deg) = (137.5 * f64::from(index), 40.0 * noise.uniform());
            look_at(
                Point3::new(0.1, 0.075, 0.0) + aside,
                distance_m,
                tilt_deg,
                azimuth_deg,
                roll_deg,
            )
        })
        .collect();
    let pair = |camera_from_board: &Isometry3<f64>| match setup {
        Setup::EyeInHand => {
            let gripper_from_camera =
                Isometry3::new(Vector3::new(0.06, -0.03, 0.08), Vector3::new(0.05, 0.02, 1.5));
            let base_from_board =
                Isometry3::new(Vector3::new(0.5, -0.15, 0.02), Vector3::new(3.1, 0.1, -0.05));
            base_from_board * camera_from_board.inverse() * gripper_from_camera.inverse()
        }
        Setup::EyeToHand => {
            let base_from_camera =
                Isometry3::new(Vector3::new(0.75, 0.1, 1.05), Vector3::new(3.0, 0.15, -0.1));
            let gripper_from_board =
                Isometry3::new(Vector3::new(-0.1, -0.07, 0.06), Vector3::new(0.03, 3.1, 0.02));
            base_from_camera * camera_from_board * gripper_from_board.inverse()
        }
    };
    let arms: Vec<_> = views.iter().map(pair).collect();
    arms.into_iter()
        .zip(&views)
        .map(|(arm, view)| (raw(arm), raw(seen(view, &mut noise))))
        .collect()
}

const SETUPS: [Setup; 2] = [Setup::EyeInHand, Setup::EyeToHand];

/// `spoil` changes good pairs of the setup; `expected` must be what is found.
fn check(mut spoil: impl FnMut(&mut Vec<Pair>), expected: &[Mistake]) {
    for (setup, seed) in SETUPS.into_iter().flat_map(|setup| (1..=3).map(move |seed| (setup, seed)))
    {
        let mut pairs = good(setup, seed);
        spoil(&mut pairs);
        let suspicion = find_mistake(setup, &pairs)
            .unwrap_or_else(|| panic!("{setup:?} {seed}: nothing found instead of {expected:?}"));
        assert_eq!(suspicion.mistakes, expected, "{setup:?} {seed}: {suspicion}");
        let undone = suspicion.undone.unwrap();
        assert!(undone.rms_mm < 3.0 && undone.rms_deg < 0.5, "{undone:?}");
    }
}

#[test]
fn good_pairs_are_not_suspected() {
    for (setup, seed) in SETUPS.into_iter().flat_map(|setup| (1..=3).map(move |seed| (setup, seed)))
    {
        assert_eq!(find_mistake(setup, &good(setup, seed)), None, "{setup:?} {seed}");
    }
}

#[test]
fn centimetres_and_inches_are_found() {
    let stretch = |scales: [f64; 2]| {
        move |pairs: &mut Vec<Pair>| {
            for (arm, board) in pairs {
                arm.pose.translation.vector *= scales[0];
                board.pose.translation.vector *= scales[1];
            }
        }
    };
    for (scale, [arm, board]) in [
        (100.0, [Mistake::ArmInCentimetres, Mistake::BoardInCentimetres]),
        (1.0 / 0.0254, [Mistake::ArmInInches, Mistake::BoardInInches]),
    ] {
        check(stretch([scale, 1.0]), &[arm]);
        check(stretch([1.0, scale]), &[board]);
    }
    let both = [Mistake::ArmInCentimetres, Mistake::BoardInCentimetres];
    check(stretch([100.0, 100.0]), &both);
    let arms = [
        (1000.0, Mistake::ArmInMillimetres),
        (100.0, Mistake::ArmInCentimetres),
        (1.0 / 0.0254, Mistake::ArmInInches),
    ];
    let boards = [
        (1000.0, Mistake::BoardInMillimetres),
        (100.0, Mistake::BoardInCentimetres),
        (1.0 / 0.0254, Mistake::BoardInInches),
    ];
    for (i, (arm_scale, arm)) in arms.into_iter().enumerate() {
        for (j, (board_scale, board)) in boards.into_iter().enumerate() {
            if i != j {
                check(stretch([arm_scale, board_scale]), &[arm, board]);
            }
        }
    }
}

/// Axes that the optical frame's x, y and z are in another frame of the camera.
fn camera_axes(x: Vector3<f64>, y: Vector3<f64>) -> Isometry3<f64> {
    let axes = nalgebra::Matrix3::from_columns(&[x, y, x.cross(&y)]);
    let rotation = nalgebra::Rotation3::from_matrix_unchecked(axes);
    Isometry3::from_parts(Vector3::zeros().into(), rotation.into())
}

#[test]
fn other_axes_of_the_camera_are_named_though_the_pairs_fit() {
    let (x, y, z) = (Vector3::<f64>::x(), Vector3::<f64>::y(), Vector3::<f64>::z());
    for (axes, mistake) in [
        (camera_axes(x, -y), Mistake::CameraOfGraphics),
        (camera_axes(-y, -z), Mistake::CameraOfRobots),
        (camera_axes(x, -z), Mistake::CameraOfMaps),
    ] {
        check(
            |pairs| pairs.iter_mut().for_each(|pair| pair.1 = raw(axes * pair.1.pose)),
            &[mistake],
        );
    }
    let graphics = camera_axes(x, -y);
    let seen_by_board = |pairs: &mut Vec<Pair>| {
        pairs.iter_mut().for_each(|pair| pair.1 = raw((graphics * pair.1.pose).inverse()));
    };
    check(seen_by_board, &[Mistake::BoardInverted, Mistake::CameraOfGraphics]);
    let in_mm = |pairs: &mut Vec<Pair>| {
        for pair in pairs {
            pair.1 = raw(graphics * pair.1.pose);
            enlarge(&mut pair.1);
        }
    };
    check(in_mm, &[Mistake::BoardInMillimetres, Mistake::CameraOfGraphics]);
}

#[test]
fn quaternions_with_their_w_at_the_other_end_are_found() {
    let read = |pose: &RawPose, w_first: bool| {
        let [x, y, z, w] = <[f64; 4]>::from(pose.pose.rotation.coords);
        // Nalgebra's own order is w, x, y, z.
        let numbers = if w_first {
            nalgebra::Quaternion::new(z, w, x, y)
        } else {
            nalgebra::Quaternion::new(x, y, z, w)
        };
        let rotation = nalgebra::UnitQuaternion::new_normalize(numbers);
        RawPose::from(Isometry3::from_parts(pose.pose.translation, rotation))
    };
    for w_first in [true, false] {
        check(
            |pairs| pairs.iter_mut().for_each(|pair| pair.0 = read(&pair.0, w_first)),
            &[Mistake::ArmQuaternions { w_first }],
        );
        check(
            |pairs| pairs.iter_mut().for_each(|pair| pair.1 = read(&pair.1, w_first)),
            &[Mistake::BoardQuaternions { w_first }],
        );
    }
}

#[test]
fn rotations_that_are_transposed_beside_good_translations_are_found() {
    let turn = |pose: &RawPose| {
        let rotation = pose.pose.rotation.inverse();
        RawPose::from(Isometry3::from_parts(pose.pose.translation, rotation))
    };
    check(
        |pairs| pairs.iter_mut().for_each(|pair| pair.0 = turn(&pair.0)),
        &[Mistake::ArmRotationsInverted],
    );
    check(
        |pairs| pairs.iter_mut().for_each(|pair| pair.1 = turn(&pair.1)),
        &[Mistake::BoardRotationsInverted],
    );
}

#[test]
fn swapped_poses_are_found() {
    check(
        |pairs| pairs.iter_mut().for_each(|pair| std::mem::swap(&mut pair.0, &mut pair.1)),
        &[Mistake::Swapped],
    );
}

#[test]
fn inverted_poses_are_found() {
    check(
        |pairs| pairs.iter_mut().for_each(|pair| pair.0 = raw(pair.0.pose.inverse())),
        &[Mistake::ArmInverted],
    );
    check(
        |pairs| pairs.iter_mut().for_each(|pair| pair.1 = raw(pair.1.pose.inverse())),
        &[Mistake::BoardInverted],
    );
}

#[test]
fn the_other_setup_is_found() {
    for (setup, other) in [(SETUPS[0], SETUPS[1]), (SETUPS[1], SETUPS[0])] {
        for seed in 1..=3 {
            let suspicion = find_mistake(setup, &good(other, seed)).unwrap();
            assert_eq!(suspicion.mistakes, [Mistake::OtherSetup(other)], "{seed}: {suspicion}");
        }
    }
}

fn enlarge(raw: &mut RawPose) {
    raw.pose.translation.vector *= 1000.0;
}

#[test]
fn millimetres_for_metres_are_found() {
    check(
        |pairs| pairs.iter_mut().for_each(|pair| enlarge(&mut pair.0)),
        &[Mistake::ArmInMillimetres],
    );
    check(
        |pairs| pairs.iter_mut().for_each(|pair| enlarge(&mut pair.1)),
        &[Mistake::BoardInMillimetres],
    );
    let both = |pairs: &mut Vec<Pair>| {
        for pair in pairs {
            enlarge(&mut pair.0);
            enlarge(&mut pair.1);
        }
    };
    check(both, &[Mistake::ArmInMillimetres, Mistake::BoardInMillimetres]);
}

fn reduce(raw: &mut RawPose) {
    raw.pose.translation.vector /= 1000.0;
}

#[test]
fn metres_where_millimetres_were_said_are_found() {
    check(|pairs| pairs.iter_mut().for_each(|pair| reduce(&mut pair.0)), &[Mistake::ArmInMetres]);
    check(|pairs| pairs.iter_mut().for_each(|pair| reduce(&mut pair.1)), &[Mistake::BoardInMetres]);
    let both = |pairs: &mut Vec<Pair>| {
        for pair in pairs {
            reduce(&mut pair.0);
            reduce(&mut pair.1);
        }
    };
    check(both, &[Mistake::ArmInMetres, Mistake::BoardInMetres]);
}

#[test]
fn squares_of_another_length_are_found_and_measured() {
    for scale in [0.571, 0.965, 0.985, 1.02, 1.75] {
        for (setup, seed) in SETUPS.into_iter().zip(1..) {
            let mut pairs = good(setup, seed);
            pairs.iter_mut().for_each(|pair| pair.1.pose.translation.vector /= scale);
            let mut suspicion = find_mistake(setup, &pairs).unwrap();
            assert_eq!(suspicion.mistakes, [Mistake::BoardScale], "{setup:?} {scale}: {suspicion}");
            let found = suspicion.board_scale.unwrap();
            assert!((found / scale - 1.0).abs() < 0.005, "{found} for {scale}");
            suspicion.square_length_m = Some(0.03);
            assert!(suspicion.to_string().contains("mm, not 30"), "{suspicion}");
        }
    }
}

/// Angles that a controller writes, read as a rotation vector.
fn written(pose: &RawPose, angles: Vector3<f64>) -> RawPose {
    let translation = pose.pose.translation.vector;
    RawPose { rotation_vector: Some(angles), ..Isometry3::new(translation, angles).into() }
}

#[test]
fn euler_angles_are_found_with_their_order() {
    type Angles = fn(&RawPose) -> Vector3<f64>;
    let fixed: Angles = |raw| {
        let (roll, pitch, yaw) = raw.pose.rotation.euler_angles();
        Vector3::new(roll, pitch, yaw)
    };
    let moving: Angles = |raw| {
        let (roll, pitch, yaw) = raw.pose.rotation.euler_angles();
        Vector3::new(yaw, pitch, roll)
    };
    // The inverse turns back in the opposite order.
    let moving_xyz: Angles = |raw| {
        let (roll, pitch, yaw) = raw.pose.rotation.inverse().euler_angles();
        -Vector3::new(roll, pitch, yaw)
    };
    for (order, angles) in [("xyz", fixed), ("ZYX", moving), ("XYZ", moving_xyz)] {
        let order: EulerOrder = order.parse().unwrap();
        for degrees in [false, true] {
            let unit = if degrees { 180.0 / std::f64::consts::PI } else { 1.0 };
            let spoil = |pairs: &mut Vec<Pair>| {
                pairs.iter_mut().for_each(|pair| pair.0 = written(&pair.0, angles(&pair.0) * unit));
            };
            check(spoil, &[Mistake::ArmInEulerAngles { order, degrees }]);
        }
    }
    let spoil = |pairs: &mut Vec<Pair>| {
        for pair in pairs {
            pair.0 = written(&pair.0, fixed(&pair.0));
            enlarge(&mut pair.0);
        }
    };
    let order: EulerOrder = "xyz".parse().unwrap();
    let euler = Mistake::ArmInEulerAngles { order, degrees: false };
    check(spoil, &[euler, Mistake::ArmInMillimetres]);
}

#[test]
fn euler_angles_of_another_order_than_was_said_are_found() {
    let (said, order): (EulerOrder, EulerOrder) = ("xyz".parse().unwrap(), "ZYX".parse().unwrap());
    let read = |pose: &RawPose, angles: Vector3<f64>| RawPose {
        euler: Some(angles),
        ..Isometry3::from_parts(pose.pose.translation, said.rotation(&angles)).into()
    };
    let angles = |pose: &RawPose| {
        let (roll, pitch, yaw) = pose.pose.rotation.euler_angles();
        Vector3::new(yaw, pitch, roll)
    };
    for degrees in [false, true] {
        let unit = if degrees { 180.0 / std::f64::consts::PI } else { 1.0 };
        check(
            |pairs| {
                pairs.iter_mut().for_each(|pair| pair.0 = read(&pair.0, angles(&pair.0) * unit));
            },
            &[Mistake::ArmInEulerAngles { order, degrees }],
        );
        // They are rotation vectors.
        check(
            |pairs| {
                for pair in pairs {
                    pair.0 = read(&pair.0, pair.0.pose.rotation.scaled_axis() * unit);
                }
            },
            &[Mistake::ArmInRotationVectors { degrees }],
        );
    }
    // The order is right, the unit is not.
    let in_degrees = |pairs: &mut Vec<Pair>| {
        for pair in pairs {
            let (roll, pitch, yaw) = pair.0.pose.rotation.euler_angles();
            pair.0 = read(&pair.0, Vector3::new(roll, pitch, yaw).map(f64::to_degrees));
        }
    };
    check(in_degrees, &[Mistake::ArmInEulerAngles { order: said, degrees: true }]);
}

fn to_degrees(pose: &RawPose) -> RawPose {
    let degrees = pose.rotation_vector.unwrap() * (180.0 / std::f64::consts::PI);
    RawPose {
        rotation_vector: Some(degrees),
        ..Isometry3::new(pose.pose.translation.vector, degrees).into()
    }
}

#[test]
fn degrees_for_radians_are_found() {
    check(
        |pairs| pairs.iter_mut().for_each(|pair| pair.0 = to_degrees(&pair.0)),
        &[Mistake::ArmInDegrees],
    );
    check(
        |pairs| pairs.iter_mut().for_each(|pair| pair.1 = to_degrees(&pair.1)),
        &[Mistake::BoardInDegrees],
    );
}

#[test]
fn degrees_for_radians_are_found_in_matrices_too() {
    let spoil = |pairs: &mut Vec<Pair>| {
        for pair in pairs {
            pair.0 = RawPose { rotation_vector: None, ..to_degrees(&pair.0) };
            pair.1.rotation_vector = None;
        }
    };
    check(spoil, &[Mistake::ArmInDegrees]);
}

#[test]
fn pictures_that_are_one_line_off_are_found() {
    let late = |pairs: &mut Vec<Pair>| {
        let mut boards: Vec<_> = pairs.iter().map(|pair| pair.1).collect();
        boards.rotate_right(1);
        pairs.iter_mut().zip(boards).for_each(|(pair, board)| pair.1 = board);
    };
    check(late, &[Mistake::BoardLate]);
}

#[test]
fn nonsense_is_called_that_and_not_explained_away() {
    let mut noise = Noise(4);
    let mut pairs = good(Setup::EyeInHand, 1);
    for pair in &mut pairs {
        let turn = Isometry3::new(Vector3::zeros(), noise.vector() * 2.0);
        pair.0 = raw(pair.0.pose * turn);
    }
    let suspicion = find_mistake(Setup::EyeInHand, &pairs).unwrap();
    assert_eq!(suspicion.mistakes, []);
    assert!(suspicion.turn_mismatch_deg > 10.0);
    assert!(suspicion.to_string().contains("no usual mistake"), "{suspicion}");
}

/// Makes one pair a bad one.
type Spoil<'a> = &'a dyn Fn(&mut Vec<Pair>, usize);

#[test]
fn a_pair_that_spoils_the_rest_is_named_and_no_convention_is_suspected() {
    let turned = |pairs: &mut Vec<Pair>, index: usize| {
        let off = Isometry3::new(Vector3::new(0.1, -0.2, 0.15), Vector3::new(0.5, -0.9, 0.4));
        pairs[index].1 = raw(pairs[index].1.pose * off);
    };
    // The picture of another stop.
    let of_another = |pairs: &mut Vec<Pair>, index: usize| {
        pairs[index].1 = pairs[(index + 7) % pairs.len()].1;
    };
    let spoils: [Spoil<'_>; 2] = [&turned, &of_another];
    for (setup, seed) in SETUPS.into_iter().flat_map(|setup| (1..=3).map(move |seed| (setup, seed)))
    {
        for (spoil, bad) in spoils
            .iter()
            .flat_map(|spoil| [vec![0], vec![8], vec![14], vec![3, 12]].map(|bad| (spoil, bad)))
        {
            let mut pairs = good(setup, seed);
            bad.iter().for_each(|index| spoil(&mut pairs, *index));
            let suspicion = find_mistake(setup, &pairs).expect("a pair is bad");
            let lines: Vec<usize> = bad.iter().map(|index| index + 1).collect();
            assert_eq!(suspicion.bad_lines, lines, "{setup:?} {seed}: {suspicion}");
            assert_eq!(suspicion.mistakes, []);
            let message = suspicion.to_string();
            assert!(message.contains("not fit the others"), "{message}");
            assert!(suspicion.undone.unwrap().rms_mm < 3.0, "{message}");
        }
    }
}

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]

use nalgebra::{Isometry3, Point3, Unit, Vector3};
use proptest::prelude::*;

use super::search::order;
use super::*;
use crate::{
    CameraInfo, CameraPlace, Cup, DepthImage, DepthProblem, Distortion, GraspRefusal, Instance,
    Intrinsics, Mask, Package, Plane, PoseSource, Scene, Tool,
};

const LIMITS: GraspLimits =
    GraspLimits { per_package_max: 3, tilt_deg_max: 50.0, quality_min: 0.05 };

fn scene() -> Scene {
    Scene {
        camera_info: CameraInfo {
            camera_name: "test".into(),
            frame_id: "camera_optical_frame".into(),
            width_px: 320,
            height_px: 240,
            intrinsics: Intrinsics { fx_px: 300.0, fy_px: 300.0, cx_px: 160.0, cy_px: 120.0 },
            distortion: Distortion::default(),
        },
        camera_place: None,
        support_plane_in_camera: Some(Plane { normal: -Vector3::z_axis(), offset_m: -1.0 }),
        tool: Tool::single_cup(0.02),
        calibration_id: "test".into(),
    }
}

fn rectangle(x: u32, y: u32, w: u32, h: u32) -> Mask {
    let mut bitmap = vec![0; 320 * 240];
    for row in y..y + h {
        bitmap[(row * 320 + x) as usize..][..w as usize].fill(1);
    }
    Mask::from_bitmap(320, 240, &bitmap)
}

fn instance(mask: Mask) -> Instance {
    let bbox = mask.bbox().unwrap();
    Instance { class_id: 0, score: 0.9, bbox, mask }
}

/// Millimetres of a floor at 1 m with blocks on it: x, y, width, height in pixels, depth.
fn blocks(blocks: &[(u32, u32, u32, u32, u16)]) -> DepthImage {
    let mut data = vec![1000; 320 * 240];
    for &(x, y, w, h, mm) in blocks {
        for row in y..y + h {
            data[(row * 320 + x) as usize..][..w as usize].fill(mm);
        }
    }
    DepthImage::new(320, 240, data).unwrap()
}

/// Depth of a plane through `(0, 0, z_m)` with the given normal, quantised to 1 mm.
fn plane_depth(z_m: f64, normal: Vector3<f64>, info: &CameraInfo) -> DepthImage {
    let mut data = Vec::new();
    for y in 0..240 {
        for x in 0..320 {
            let ray = info.ray(f64::from(x), f64::from(y));
            data.push((1000.0 * z_m * normal.z / normal.dot(&ray)).round() as u16);
        }
    }
    DepthImage::new(320, 240, data).unwrap()
}

fn plan_once(masks: Vec<Mask>, depth: Option<&DepthImage>, scene: &Scene) -> Plan {
    plan_again(masks, depth, scene, &mut PlanState::default())
}

/// Track ids count from 1 in the order of the masks.
fn plan_again(
    masks: Vec<Mask>,
    depth: Option<&DepthImage>,
    scene: &Scene,
    state: &mut PlanState,
) -> Plan {
    let ids: Vec<u64> = (1..).take(masks.len()).collect();
    let instances = masks.into_iter().map(instance).collect();
    plan(instances, &ids, depth, Some(scene), &LIMITS, state)
}

fn order(plan: &Plan) -> Vec<u64> {
    plan.packages.iter().map(|package| package.track_id).collect()
}

#[test]
fn without_depth_the_pose_lies_on_the_support_plane_and_says_so() {
    let found = plan_once(vec![rectangle(140, 100, 40, 40)], None, &scene());
    let package = &found.packages[0];
    assert_eq!(package.grasps()[0].pose_source, PoseSource::SupportPlane);
    assert_eq!((package.height_m, package.size, found.depth_problem), (None, None, None));
    let contact = package.grasps()[0].reference_from_grasp.translation.vector;
    assert!((contact - Vector3::new(0.0, 0.0, 1.0)).norm() < 0.01, "{contact}");
}

#[test]
fn the_least_quality_holds_without_depth_too() {
    let planned = |quality_min| {
        let instances = vec![instance(rectangle(140, 100, 40, 40))];
        let limits = GraspLimits { quality_min, ..LIMITS };
        let found = plan(instances, &[1], None, Some(&scene()), &limits, &mut PlanState::default());
        let package = &found.packages[0];
        (package.grasps().len(), package.refusal())
    };
    assert_eq!(planned(0.3), (1, None));
    assert_eq!(planned(0.6), (0, Some(GraspRefusal::NoSeal)));
}

#[test]
fn a_package_that_hides_another_is_seen_across_the_shadow_beside_it() {
    let masks = [rectangle(100, 100, 50, 60), rectangle(150, 100, 60, 60)];
    let occluded_share = |cover_mm: u16| {
        // The sensor sees nothing for six pixels on both sides of the edge.
        let depth =
            blocks(&[(100, 100, 50, 60, 900), (150, 100, 60, 60, cover_mm), (144, 100, 12, 60, 0)]);
        let found = plan_once(masks.to_vec(), Some(&depth), &scene());
        found.packages.iter().find(|package| package.track_id == 1).unwrap().occluded_share
    };
    let hidden = occluded_share(800);
    assert!((0.2..0.35).contains(&hidden), "{hidden}");
    assert_eq!(occluded_share(905), 0.0);
}

#[test]
fn without_a_calibration_there_is_no_grasp_and_it_says_why() {
    let instances = vec![instance(rectangle(140, 100, 40, 40))];
    let found = plan(instances, &[1], None, None, &LIMITS, &mut PlanState::default());
    assert!(found.packages[0].grasps().is_empty());
    assert_eq!(found.packages[0].refusal(), Some(GraspRefusal::NotCalibrated));
}

#[test]
fn depth_without_a_single_measurement_is_named_and_not_used() {
    let holes = DepthImage::new(320, 240, vec![0; 320 * 240]).unwrap();
    let found = plan_once(vec![rectangle(140, 100, 40, 40)], Some(&holes), &scene());
    assert_eq!(found.depth_problem, Some(DepthProblem::Empty));
    let grasp = &found.packages[0].grasps()[0];
    assert_eq!(
        (grasp.pose_source, grasp.quality.depth_hole_fraction()),
        (PoseSource::SupportPlane, 1.0)
    );
}

#[test]
fn depth_in_another_unit_is_named_and_not_used() {
    // Tenths of a millimetre, and metres.
    for factor in [10.0, 0.001] {
        let mm = (1000.0 * factor) as u16;
        let depth = DepthImage::new(320, 240, vec![mm; 320 * 240]).unwrap();
        let found = plan_once(vec![rectangle(140, 100, 40, 40)], Some(&depth), &scene());
        let Some(DepthProblem::NotTheSupportPlanes { ratio }) = found.depth_problem else {
            panic!("{:?} at factor {factor}", found.depth_problem)
        };
        assert!((ratio / factor as f32 - 1.0).abs() < 0.01, "{ratio} for {factor}");
        assert_eq!(found.packages[0].grasps()[0].pose_source, PoseSource::SupportPlane);
    }
    let blind = Scene { support_plane_in_camera: None, ..scene() };
    let depth = DepthImage::new(320, 240, vec![20_000; 320 * 240]).unwrap();
    let found = plan_once(vec![rectangle(140, 100, 40, 40)], Some(&depth), &blind);
    assert_eq!(found.depth_problem, Some(DepthProblem::OutOfRange { median_m: 20.0 }));
    assert_eq!(found.packages[0].refusal(), Some(GraspRefusal::NoSurface));
}

#[test]
fn a_package_over_a_hole_in_the_depth_falls_back_to_the_support_plane() {
    let depth = blocks(&[(140, 100, 40, 40, 0)]);
    let found = plan_once(vec![rectangle(140, 100, 40, 40)], Some(&depth), &scene());
    assert_eq!(found.depth_problem, None);
    assert_eq!(found.packages[0].grasps()[0].pose_source, PoseSource::SupportPlane);
}

#[test]
fn a_tool_larger_than_the_package_is_refused_by_name() {
    let large = Scene { tool: Tool::single_cup(0.1), ..scene() };
    for depth in [None, Some(&blocks(&[(140, 100, 40, 40, 900)]))] {
        let found = plan_once(vec![rectangle(140, 100, 40, 40)], depth, &large);
        assert_eq!(found.packages[0].refusal(), Some(GraspRefusal::ToolTooLarge));
        assert!(found.packages[0].grasps().is_empty());
    }
}

#[test]
fn the_topmost_package_is_picked_first() {
    let depth = blocks(&[(40, 100, 40, 40, 900), (160, 100, 40, 40, 700)]);
    let masks = vec![rectangle(40, 100, 40, 40), rectangle(160, 100, 40, 40)];
    let found = plan_once(masks, Some(&depth), &scene());
    assert_eq!(order(&found), [2, 1]);
    assert!((found.packages[0].height_m.unwrap() - 0.3).abs() < 0.001);
    assert_eq!((found.packages[0].pick_rank, found.packages[1].pick_rank), (0, 1));
}

#[test]
fn poses_are_in_base_where_the_cell_is_calibrated() {
    let base_from_camera =
        Isometry3::new(Vector3::new(0.5, 0.0, 1.0), Vector3::new(std::f64::consts::PI, 0.0, 0.0));
    let calibrated = Scene { camera_place: Some(CameraPlace::InBase(base_from_camera)), ..scene() };
    let depth = blocks(&[(140, 100, 40, 40, 900)]);
    let found = plan_once(vec![rectangle(140, 100, 40, 40)], Some(&depth), &calibrated);
    let package = &found.packages[0];
    let base_from_grasp = package.grasps()[0].reference_from_grasp;
    let off = base_from_grasp.translation.vector - Vector3::new(0.5, 0.0, 0.1);
    assert!(off.norm() < 0.01, "{base_from_grasp}");
    let approach_in_base = base_from_grasp * Vector3::z();
    assert!((approach_in_base + Vector3::z()).norm() < 1e-3, "down: {approach_in_base}");
    let middle = package.position_in_reference.unwrap();
    assert!((middle - Point3::new(0.5, 0.0, 0.05)).norm() < 0.01, "{middle}");
}

#[test]
fn poses_are_in_the_gripper_where_the_camera_is_on_the_arm() {
    let gripper_from_camera = Isometry3::translation(0.0, 0.1, -0.2);
    let place = CameraPlace::InGripper(gripper_from_camera);
    let depth = blocks(&[(140, 100, 40, 40, 900)]);
    let on_arm = Scene { camera_place: Some(place), ..scene() };
    let found = plan_once(vec![rectangle(140, 100, 40, 40)], Some(&depth), &on_arm);
    assert_eq!(on_arm.reference_frame(), crate::ReferenceFrame::Gripper);
    let contact = found.packages[0].grasps()[0].reference_from_grasp.translation.vector;
    assert!((contact - Vector3::new(0.0, 0.1, 0.7)).norm() < 0.01, "{contact}");
}

#[test]
fn the_size_of_a_box_is_that_of_its_top_face() {
    // 60 x 40 px at 0.9 m: 180 x 120 mm, 100 mm high.
    let depth = blocks(&[(130, 100, 60, 40, 900)]);
    let found = plan_once(vec![rectangle(130, 100, 60, 40)], Some(&depth), &scene());
    let size = found.packages[0].size.unwrap();
    for (found, expected) in [(size.length_m, 0.18), (size.width_m, 0.12), (size.height_m, 0.1)] {
        assert!((found / expected - 1.0).abs() < 0.03, "{size:?}");
    }
}

#[test]
fn a_package_cut_by_the_image_s_border_has_no_size() {
    let depth = blocks(&[(0, 100, 60, 40, 900)]);
    let found = plan_once(vec![rectangle(0, 100, 60, 40)], Some(&depth), &scene());
    assert_eq!(found.packages[0].size, None);
    assert!(!found.packages[0].grasps().is_empty());
}

#[test]
fn a_wall_beside_the_contact_blocks_the_approach() {
    // A package of 50 mm between two walls that rise 150 mm above it.
    let narrow = [(140, 60, 17, 120, 950), (120, 60, 20, 120, 800), (157, 60, 20, 120, 800)];
    let depth = blocks(&narrow);
    let found = plan_once(vec![rectangle(140, 60, 17, 120)], Some(&depth), &scene());
    assert_eq!(found.packages[0].refusal(), Some(GraspRefusal::Blocked));
    let slim = Tool { approach_radius_m: 0.01, ..Tool::single_cup(0.01) };
    let found = plan_once(
        vec![rectangle(140, 60, 17, 120)],
        Some(&depth),
        &Scene { tool: slim, ..scene() },
    );
    assert_eq!(found.packages[0].refusal(), None);
}

#[test]
fn a_steep_face_is_refused() {
    let normal = Vector3::new(1.5, 0.0, -1.0).normalize();
    let depth = plane_depth(0.8, normal, &scene().camera_info);
    let found = plan_once(vec![rectangle(140, 100, 40, 40)], Some(&depth), &scene());
    assert_eq!(found.packages[0].refusal(), Some(GraspRefusal::TooSteep));
}

#[test]
fn a_lens_that_changes_is_taken_up() {
    let mut state = PlanState::default();
    let depth = blocks(&[(140, 100, 40, 40, 900)]);
    let masks = || vec![rectangle(140, 100, 40, 40)];
    let near = plan_again(masks(), Some(&depth), &scene(), &mut state);
    let mut tele = scene();
    tele.camera_info.intrinsics.fx_px = 600.0;
    tele.camera_info.intrinsics.fy_px = 600.0;
    let far = plan_again(masks(), Some(&depth), &tele, &mut state);
    let length_m = |plan: &Plan| plan.packages[0].size.unwrap().length_m;
    assert!((length_m(&near) / length_m(&far) - 2.0).abs() < 0.05);
}

fn four_cups() -> Tool {
    let cup =
        |x: f64, y: f64| Cup { position_m: [x, y, 0.0], radius_m: 0.012, compliance_m: 0.003 };
    let cups = vec![cup(-0.03, -0.03), cup(0.03, -0.03), cup(-0.03, 0.03), cup(0.03, 0.03)];
    Tool { cups, approach_radius_m: 0.05, approach_length_m: 0.1 }
}

#[test]
fn a_tool_of_four_cups_uses_all_on_a_large_box_and_one_on_a_small_one() {
    let tool = Scene { tool: four_cups(), ..scene() };
    let depth = blocks(&[(100, 80, 80, 60, 900), (230, 150, 14, 14, 900)]);
    let found = plan_once(vec![rectangle(100, 80, 80, 60)], Some(&depth), &tool);
    let large = &found.packages[0].grasps()[0];
    assert_eq!(large.cups.indices().collect::<Vec<_>>(), [0, 1, 2, 3]);
    let found = plan_once(vec![rectangle(230, 150, 14, 14)], Some(&depth), &tool);
    let small = &found.packages[0].grasps()[0];
    assert_eq!(small.cups.indices().count(), 1);
    // The tool's axis is a cup's distance away from the package's middle.
    let axis = small.reference_from_grasp.translation.vector;
    let contact = tool.camera_info.ray(236.5, 156.5) * 0.9;
    assert!(((axis - contact).norm() - 0.03 * 2.0f64.sqrt()).abs() < 0.008, "{axis} {contact}");
}

#[test]
fn a_step_under_the_cup_costs_its_seal() {
    let flat = blocks(&[(120, 90, 80, 60, 900)]);
    let stepped = blocks(&[(120, 90, 80, 60, 900), (155, 90, 8, 60, 906)]);
    let scene = scene();
    let deviation_mm = |depth: &DepthImage| {
        1000.0 * CupProbe::new(depth, &scene).touch([159.0, 119.0], 0.02).unwrap().deviation_m
    };
    assert!(deviation_mm(&flat) < 0.5, "{}", deviation_mm(&flat));
    assert!((3.0..12.0).contains(&deviation_mm(&stepped)), "{}", deviation_mm(&stepped));
}

/// Depth noise that is the same for the same seed.
fn noisy(depth: &DepthImage, seed: u64, amplitude_mm: i64) -> DepthImage {
    let mut word = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let data = depth
        .data_mm()
        .iter()
        .map(|mm| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            let off = (word % (2 * amplitude_mm as u64 + 1)) as i64 - amplitude_mm;
            (i64::from(*mm) + off).max(1) as u16
        })
        .collect();
    DepthImage::new(320, 240, data).unwrap()
}

#[test]
fn on_a_still_scene_the_chosen_grasps_and_the_order_stay() {
    let still = blocks(&[(40, 80, 90, 60, 900), (180, 80, 90, 60, 902)]);
    let masks = || vec![rectangle(40, 80, 90, 60), rectangle(180, 80, 90, 60)];
    let mut state = PlanState::default();
    let first = plan_again(masks(), Some(&noisy(&still, 1, 2)), &scene(), &mut state);
    for seed in 2..40 {
        let next = plan_again(masks(), Some(&noisy(&still, seed, 2)), &scene(), &mut state);
        assert_eq!(order(&next), order(&first), "frame {seed}");
        for (package, before) in next.packages.iter().zip(&first.packages) {
            assert_eq!(
                package.grasps()[0].contact_px,
                before.grasps()[0].contact_px,
                "frame {seed}"
            );
        }
    }
}

#[test]
fn a_grasp_goes_with_its_package() {
    let mut state = PlanState::default();
    let mut at = |x: u32| {
        let depth = blocks(&[(x, 80, 90, 60, 900)]);
        let found = plan_again(vec![rectangle(x, 80, 90, 60)], Some(&depth), &scene(), &mut state);
        found.packages[0].grasps()[0].contact_px[0] - x as f32
    };
    let first = at(40);
    for x in [47, 54, 61, 100] {
        assert_eq!(at(x), first);
    }
}

proptest! {
    #[test]
    fn the_normal_of_a_tilted_plane_is_found_despite_outliers(
        tilt_x in -0.7f64..0.7, tilt_y in -0.7f64..0.7, z_m in 0.5f64..1.5, seed in 0usize..50,
    ) {
        let normal = Vector3::new(tilt_x, tilt_y, -1.0).normalize();
        let plane = Plane { normal: Unit::new_unchecked(-Vector3::z()), offset_m: -z_m };
        let scene = Scene { support_plane_in_camera: Some(plane), ..scene() };
        let depth = plane_depth(z_m, normal, &scene.camera_info);
        let mut data = depth.data_mm().to_vec();
        for i in (seed..data.len()).step_by(41) {
            data[i] += 150;
        }
        let depth = DepthImage::new(320, 240, data).unwrap();
        let size = (60.0 / z_m) as u32;
        let mask = rectangle(160 - size / 2, 120 - size / 2, size, size);
        let found = CupProbe::new(&depth, &scene).touch([160.0, 120.0], 0.03).unwrap();
        let error_deg = found.normal_in_camera.angle(&normal).to_degrees();
        prop_assert!(error_deg < 3.0, "{} degrees off", error_deg);
        // And the planner makes of it what it can.
        plan_once(vec![mask], Some(&depth), &scene);
    }

    /// A package that another one covers, wherever that lies, is never first while there is one
    /// that is free.
    #[test]
    fn what_lies_under_another_package_is_never_first(
        x in 70u32..130, y in 50u32..90, dx in -30i32..30, dy in -30i32..30,
        thick_mm in 30u16..200, under_score in 0.3f32..1.0,
    ) {
        let (over_x, over_y) = (x.saturating_add_signed(dx), y.saturating_add_signed(dy));
        let under_mm = 900;
        let depth = blocks(&[
            (x, y, 80, 60, under_mm),
            (over_x, over_y, 60, 50, under_mm - thick_mm),
        ]);
        let over = rectangle(over_x, over_y, 60, 50);
        let whole = rectangle(x, y, 80, 60).to_bitmap();
        let bitmap: Vec<u8> =
            whole.iter().zip(over.to_bitmap()).map(|(a, b)| a & (1 - b)).collect();
        let under = Mask::from_bitmap(320, 240, &bitmap);
        prop_assume!(under.area_px() > 200);
        let mut instances = vec![instance(under), instance(over)];
        instances[0].score = under_score;
        let mut state = PlanState::default();
        let found = plan(instances, &[1, 2], Some(&depth), Some(&scene()), &LIMITS, &mut state);
        prop_assert_eq!(order(&found), vec![2, 1]);
    }

    /// Whatever the masks and the depth are, what comes out is whole.
    #[test]
    fn any_scene_gives_sound_grasps(
        seed in 1u64..u64::MAX, x in 0u32..280, y in 0u32..200, w in 1u32..40, h in 1u32..40,
        amplitude_mm in 0i64..400, holes in 0u32..100, cups in 1usize..3,
    ) {
        let depth = noisy(&blocks(&[(x, y, w, h, 800)]), seed, amplitude_mm);
        let data = depth.data_mm().iter().enumerate().map(|(at, mm)| {
            if (at as u64).wrapping_mul(seed | 1) % 100 < u64::from(holes) { 0 } else { *mm }
        });
        let depth = DepthImage::new(320, 240, data.collect()).unwrap();
        let tool = if cups == 1 { Tool::single_cup(0.01) } else { four_cups() };
        let scene = Scene { tool, ..scene() };
        let mut state = PlanState::default();
        let masks = || vec![rectangle(x, y, w, h), rectangle(100, 100, 50, 30)];
        for _ in 0..2 {
            let found = plan_again(masks(), Some(&depth), &scene, &mut state);
            for package in &found.packages {
                prop_assert_eq!(package.grasps().is_empty(), package.refusal().is_some());
                prop_assert!(package.grasps().len() <= LIMITS.per_package_max);
                prop_assert!((0.0..=1.0).contains(&package.occluded_share));
                for grasp in package.grasps() {
                    prop_assert!(grasp.quality.product().is_finite() && grasp.quality.product() <= 1.0);
                    prop_assert!(grasp.cups.indices().next().is_some());
                    let pose = &grasp.reference_from_grasp;
                    prop_assert!(pose.translation.vector.iter().all(|v| v.is_finite()));
                    prop_assert!((pose.rotation.norm() - 1.0).abs() < 1e-6);
                    let [px, py] = grasp.contact_px.map(|v| v as u32);
                    prop_assert!(package.instance.mask.contains(px, py), "{:?}", grasp.contact_px);
                }
                let best = package.grasps().iter().map(|grasp| grasp.quality.product());
                prop_assert!(best.clone().skip(1).zip(best).all(|(b, a)| b <= 1.35 * a + 1e-6));
            }
        }
    }
}

#[test]
fn noise_tilts_a_grasp_by_little_where_the_face_around_the_cup_is_flat() {
    let flat = blocks(&[(90, 60, 140, 120, 900)]);
    let mut worst_deg = 0.0f64;
    for seed in 1..20 {
        let depth = noisy(&flat, seed, 8);
        let found = plan_once(vec![rectangle(90, 60, 140, 120)], Some(&depth), &scene());
        let approach = found.packages[0].grasps()[0].reference_from_grasp * Vector3::z();
        worst_deg = worst_deg.max(approach.angle(&Vector3::z()).to_degrees());
    }
    // The cup alone covers a tenth of the face: its slope is off by some degrees.
    assert!(worst_deg < 2.5, "{worst_deg}");
}

#[test]
fn film_is_trusted_less_where_noise_hides_its_wrinkles() {
    let flat = blocks(&[(120, 80, 80, 80, 900)]);
    let quality = |depth: &DepthImage, class: &str| {
        let mut state = PlanState::for_classes(&[class.to_owned()]);
        let found = plan_again(vec![rectangle(120, 80, 80, 80)], Some(depth), &scene(), &mut state);
        found.packages[0].grasps().first().map_or(0.0, |grasp| grasp.quality.product())
    };
    let (quiet, noisy) = (noisy(&flat, 3, 1), noisy(&flat, 3, 12));
    assert!(quality(&quiet, "poly_bag") > 0.8 * quality(&quiet, "box"));
    assert!(quality(&noisy, "poly_bag") < 0.5 * quality(&noisy, "box"));
}

#[test]
fn a_heavy_box_that_the_border_cuts_is_off_balance_and_a_light_one_is_not() {
    let limits = GraspLimits { quality_min: 0.4, ..LIMITS };
    let refusal = |(x, y, w, h): (u32, u32, u32, u32), mm: u16| {
        let depth = blocks(&[(x, y, w, h, mm)]);
        let instances = vec![instance(rectangle(x, y, w, h))];
        let state = &mut PlanState::default();
        plan(instances, &[1], Some(&depth), Some(&scene()), &limits, state).packages[0].refusal()
    };
    assert_eq!(refusal((200, 50, 120, 140), 700), Some(GraspRefusal::OffBalance));
    assert_eq!(refusal((260, 90, 60, 60), 975), None);
}

/// An upright box on the floor of [`scene`], seen through every pixel: its mask and the depth.
fn cast_box(size_m: [f64; 3], at_m: [f64; 2], yaw: f64, scene: &Scene) -> (Mask, DepthImage) {
    // The optical z axis points down onto the floor, so heights count against it.
    let box_from_camera =
        Isometry3::new(Vector3::new(at_m[0], at_m[1], 1.0 - 0.5 * size_m[2]), Vector3::z() * yaw)
            .inverse();
    let (mut bitmap, mut data) = (Vec::new(), Vec::new());
    for (x, y) in (0..240).flat_map(|y| (0..320).map(move |x| (x, y))) {
        let ray = scene.camera_info.ray(f64::from(x), f64::from(y));
        let (from, along) = (box_from_camera.translation.vector, box_from_camera.rotation * ray);
        let (mut enter, mut leave) = (0.0f64, f64::MAX);
        for axis in 0..3 {
            let half_m = 0.5 * size_m[axis];
            let [one, other] = [-half_m, half_m].map(|edge| (edge - from[axis]) / along[axis]);
            (enter, leave) = (enter.max(one.min(other)), leave.min(one.max(other)));
        }
        let hit = enter < leave;
        bitmap.push(u8::from(hit));
        data.push((1000.0 * if hit { enter } else { 1.0 }).round() as u16);
    }
    (Mask::from_bitmap(320, 240, &bitmap), DepthImage::new(320, 240, data).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_size_of_a_box_is_right_however_it_stands_and_whatever_walls_it_shows(
        length_m in 0.09f64..0.22, proportion in 0.6f64..1.0, height_m in 0.02f64..0.3,
        x_m in -0.25f64..0.25, y_m in -0.15f64..0.15, yaw in 0.0f64..1.6,
    ) {
        let (scene, width_m) = (scene(), proportion * length_m);
        let (mask, depth) = cast_box([length_m, width_m, height_m], [x_m, y_m], yaw, &scene);
        prop_assume!(!mask.touches_border());
        let found = plan_once(vec![mask], Some(&depth), &scene);
        let size = found.packages[0].size.unwrap();
        // Two pixels at the floor.
        prop_assert!((size.length_m - length_m).abs() < 0.007, "{size:?} for {length_m}");
        prop_assert!((size.width_m - width_m).abs() < 0.007, "{size:?} for {width_m}");
        prop_assert!((size.height_m - height_m).abs() < 0.003, "{size:?} for {height_m}");
    }
}

#[test]
fn many_packages_are_planned_as_each_of_them_alone() {
    let places: Vec<(u32, u32)> = (0..12).map(|at| (10 + at % 4 * 75, 10 + at / 4 * 75)).collect();
    let solid: Vec<_> = places.iter().map(|&(x, y)| (x, y, 40, 50, 900)).collect();
    let (depth, scene) = (blocks(&solid), scene());
    let masks: Vec<Mask> = places.iter().map(|&(x, y)| rectangle(x, y, 40, 50)).collect();
    let together = plan_once(masks.clone(), Some(&depth), &scene);
    assert_eq!(together.packages.len(), 12);
    for package in &together.packages {
        let mask = masks[package.track_id as usize - 1].clone();
        let alone = &plan_once(vec![mask], Some(&depth), &scene).packages[0];
        assert!(!package.grasps().is_empty());
        assert_eq!((package.grasps(), package.size), (alone.grasps(), alone.size));
    }
}

#[test]
fn packages_below_the_support_plane_are_named_and_depth_is_not_used() {
    let masks =
        [rectangle(60, 60, 40, 40), rectangle(140, 100, 40, 40), rectangle(220, 100, 40, 40)];
    let problem = |mm: u16| {
        // The floor around them is deeper than what they lie on.
        let mut data = vec![1400; 320 * 240];
        data.iter_mut().skip(60 * 320).take(100 * 320).for_each(|depth| *depth = mm);
        let depth = DepthImage::new(320, 240, data).unwrap();
        plan_once(masks.to_vec(), Some(&depth), &scene()).depth_problem
    };
    assert_eq!(problem(950), None);
    assert!(matches!(problem(1400), Some(DepthProblem::BelowTheSupportPlane { .. })));
}

/// A box of 80 x 80 pixels, 0.8 m away, and a taller neighbour that begins 15 pixels beside its middle.
fn beside_a_wall(tool: Tool) -> Option<GraspRefusal> {
    let wall = (170, 60, 60, 120, 600);
    let depth = blocks(&[(100, 80, 70, 80, 800), wall]);
    let found =
        plan_once(vec![rectangle(100, 80, 70, 80)], Some(&depth), &Scene { tool, ..scene() });
    found.packages[0].refusal()
}

#[test]
fn the_way_of_the_tool_must_be_free_from_its_lips_on() {
    let tool = |z_m: f64, approach_length_m: f64, approach_radius_m: f64| Tool {
        cups: vec![Cup { position_m: [0.0, 0.0, z_m], radius_m: 0.02, compliance_m: 0.004 }],
        approach_radius_m,
        approach_length_m,
    };
    assert_eq!(beside_a_wall(tool(0.0, 0.15, 0.03)), None);
    assert_eq!(beside_a_wall(tool(0.0, 0.15, 0.2)), Some(GraspRefusal::Blocked));
    // Its origin at the flange, 0.3 m behind the lip.
    assert_eq!(beside_a_wall(tool(0.3, 0.15, 0.2)), Some(GraspRefusal::Blocked));
    // A way that begins behind the camera.
    assert_eq!(beside_a_wall(tool(0.0, 1.5, 0.2)), Some(GraspRefusal::Blocked));
}

#[test]
fn packages_without_any_number_to_compare_are_sorted_all_the_same() {
    let mut packages: Vec<Package> = (1..5)
        .map(|id| Package {
            height_m: (id % 2 == 0).then_some(f64::NAN),
            ..Package::unplanned(instance(rectangle(10, 10, 20, 20)), id)
        })
        .collect();
    order::sort(&mut packages, None);
    let ranks: Vec<u32> = packages.iter().map(|package| package.pick_rank).collect();
    assert_eq!(ranks, [0, 1, 2, 3]);
}

#[test]
fn between_searches_contacts_stay_and_their_poses_are_measured_anew() {
    let mask = || vec![rectangle(100, 80, 80, 70)];
    let state = &mut PlanState::default();
    let mut contact = None;
    for frame in 0..9u16 {
        // It sinks: the pixels stay about the same, the depth does not.
        let mm = 800 + 2 * frame;
        let depth = blocks(&[(100, 80, 80, 70, mm)]);
        let found = plan_again(mask(), Some(&depth), &scene(), state);
        let best = &found.packages[0].grasps()[0];
        let z_m = best.reference_from_grasp.translation.z;
        assert!((z_m - f64::from(mm) / 1000.0).abs() < 0.0006, "frame {frame}: {z_m}");
        assert_eq!(*contact.get_or_insert(best.contact_px), best.contact_px, "frame {frame}");
    }
}

#[test]
fn a_contact_that_was_lost_is_searched_for_at_once() {
    let state = &mut PlanState::default();
    let mask = || vec![rectangle(100, 80, 120, 70)];
    for frame in 0..6 {
        let free = blocks(&[(100, 80, 120, 70, 800)]);
        let before = plan_again(mask(), Some(&free), &scene(), state);
        let [x, y] = before.packages[0].grasps()[0].contact_px.map(|at| at as u32);
        // A hole where it was held.
        let holed = blocks(&[(100, 80, 120, 70, 800), (x - 12, y - 12, 24, 24, 0)]);
        let found = plan_again(mask(), Some(&holed), &scene(), state);
        let grasp = &found.packages[0].grasps()[0];
        let [dx, dy] = [grasp.contact_px[0] - x as f32, grasp.contact_px[1] - y as f32];
        assert!(dx.hypot(dy) > 12.0 && grasp.quality.product() > 0.2, "frame {frame}: {grasp:?}");
    }
}

#[test]
fn a_package_that_was_refused_is_searched_again_soon_and_at_once_where_it_moved() {
    let info = scene().camera_info;
    let steep = plane_depth(0.8, Vector3::new(1.5, 0.0, -1.0).normalize(), &info);
    let level = blocks(&[(100, 60, 120, 100, 800)]);
    let at = |x: u32| vec![rectangle(x, 90, 60, 60)];
    for frames in 1..6 {
        let state = &mut PlanState::default();
        for _ in 0..frames {
            let found = plan_again(at(120), Some(&steep), &scene(), state);
            assert_eq!(found.packages[0].refusal(), Some(GraspRefusal::TooSteep));
        }
        let waited = (0..9).take_while(|_| {
            let found = plan_again(at(120), Some(&level), &scene(), state);
            found.packages[0].refusal().is_some()
        });
        assert!(waited.count() < 4, "after {frames} frames");

        let state = &mut PlanState::default();
        for _ in 0..frames {
            plan_again(at(120), Some(&steep), &scene(), state);
        }
        let moved = plan_again(at(130), Some(&level), &scene(), state);
        assert_eq!(moved.packages[0].refusal(), None, "after {frames} frames");
    }
}

/// A box on the floor a metre away, from half a metre aside on, through any lens.
fn boxed(info: &CameraInfo) -> (Mask, DepthImage) {
    let (low, high) = (Point3::new(0.45, -0.1, 0.85), Point3::new(0.75, 0.1, 1.0));
    let (mut bitmap, mut data) = (Vec::new(), Vec::new());
    for (x, y) in (0..info.height_px).flat_map(|y| (0..info.width_px).map(move |x| (x, y))) {
        let ray = info.ray(f64::from(x), f64::from(y));
        let sides = (0..3).map(|axis| {
            let (a, b) = (low[axis] / ray[axis], high[axis] / ray[axis]);
            (a.min(b), a.max(b))
        });
        let (near, far) = sides.fold((0.0_f64, f64::MAX), |(near, far), (enters, leaves)| {
            (near.max(enters), far.min(leaves))
        });
        let hit = near < far;
        bitmap.push(u8::from(hit));
        data.push((1000.0 * if hit { near } else { 1.0 }).round() as u16);
    }
    let (width, height) = (info.width_px, info.height_px);
    (Mask::from_bitmap(width, height, &bitmap), DepthImage::new(width, height, data).unwrap())
}

#[test]
fn a_fisheye_lens_measures_a_box_as_a_straight_one_does() {
    let lens = |f_px: f64, distortion| CameraInfo {
        width_px: 640,
        height_px: 480,
        intrinsics: Intrinsics { fx_px: f_px, fy_px: f_px, cx_px: 319.5, cy_px: 239.5 },
        distortion,
        ..scene().camera_info
    };
    let fisheye = Distortion::Equidistant([-0.008, 0.045, -0.042, 0.008]);
    for info in [lens(320.0, Distortion::default()), lens(400.0, fisheye)] {
        let (mask, depth) = boxed(&info);
        let found = plan_once(vec![mask], Some(&depth), &Scene { camera_info: info, ..scene() });
        let package = &found.packages[0];
        let size = package.size.unwrap();
        for (found, truth) in [(size.length_m, 0.3), (size.width_m, 0.2), (size.height_m, 0.15)] {
            assert!((found - truth).abs() < 0.008, "{size:?}");
        }
        let at = package.grasps()[0].reference_from_grasp.translation.vector;
        assert!((0.45..0.75).contains(&at.x) && at.y.abs() < 0.1, "{at}");
        assert!((at.z - 0.85).abs() < 0.002, "{at}");
    }
}

#[test]
fn what_is_further_aside_than_a_fisheye_lens_is_computed_with_has_no_grasp() {
    let mut scene = scene();
    scene.camera_info.intrinsics =
        Intrinsics { fx_px: 100.0, fy_px: 100.0, cx_px: 160.0, cy_px: 120.0 };
    scene.camera_info.distortion = Distortion::Equidistant([0.0; 4]);
    let (middle, aside) = (rectangle(140, 100, 40, 40), rectangle(2, 100, 20, 40));
    let found = plan_once(vec![middle, aside], None, &scene);
    let refusal = |id| found.packages.iter().find(|p| p.track_id == id).unwrap().refusal();
    assert_eq!((refusal(1), refusal(2)), (None, Some(GraspRefusal::NoSurface)));
}

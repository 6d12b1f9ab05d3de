//! The frame's way through this crate, without a model: made for counting instructions.
//!
//! `benches/instructions` runs it under callgrind. One frame of 1280x720 px; tensors as of a model
//! of 512x512 px that sees 40 packages, each by ten anchors.

use magpie_perception::{
    BgrImage, CameraInfo, DecodeLimits, DecodeScratch, DepthImage, Distortion, GraspLimits,
    InputForm, InputMut, Instance, Intrinsics, Letterbox, ModelSpec, OutputLayout, Outputs, Plan,
    PlanState, Plane, PreprocessScratch, Scene, StampNs, Tool, Tracks, decode, plan, preprocess,
};
use nalgebra::Vector3;

const FRAMES: usize = 20;
const IMAGE_PX: (u32, u32) = (1280, 720);
const INPUT_PX: u32 = 512;
const ANCHORS: usize = 5376;
const CLASSES: usize = 4;
const COEFFICIENTS: usize = 32;
const PACKAGES: usize = 40;
const ANCHORS_EACH: usize = 10;
const LIMITS: DecodeLimits =
    DecodeLimits { score_min: 0.25, iou_max: 0.6, nms_class_agnostic: true, instances_max: 100 };
const GRASPS: GraspLimits =
    GraspLimits { per_package_max: 3, tilt_deg_max: 45.0, quality_min: 0.4 };

fn main() {
    // In one thread, so that what is shared among threads is counted where it was asked for.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(frames);
}

fn frames() {
    let (spec, image) = (spec(), image());
    let letterbox = Letterbox::new(IMAGE_PX, (INPUT_PX, INPUT_PX));
    let (predictions, prototypes) = (predictions(), prototypes());
    let mut input = vec![0; 3 * (INPUT_PX * INPUT_PX) as usize];
    let mut input_f32 = vec![0.0; input.len()];
    let (mut preprocessing, mut decoding) = <(PreprocessScratch, DecodeScratch)>::default();
    let mut tracks = Tracks::default();
    let (scene, depth, mut planning) = (scene(), depth(), PlanState::default());
    for frame in 0..FRAMES {
        letterbox_bgr8(&image, &letterbox, &mut input, &mut preprocessing);
        letterbox_rgb_f32(&image, &letterbox, &mut input_f32, &mut preprocessing);
        let outputs = Outputs::new(&spec, &predictions, &prototypes);
        let instances = decode_masks(outputs, &spec, &letterbox, &mut decoding);
        assert_eq!(instances.len(), PACKAGES);
        let ids = assign_tracks(&mut tracks, &instances, StampNs(frame as u64 * 50_000_000));
        assert_eq!(ids.last(), Some(&(PACKAGES as u64)));
        let planned = plan_grasps(instances, ids, &depth, &scene, &mut planning);
        assert!(planned.packages.iter().all(|package| package.grasps.is_ok()));
        decoding.recycle(planning.recycle(planned.packages));
    }
}

// One name each in the profile.

#[inline(never)]
fn letterbox_bgr8(
    image: &BgrImage,
    letterbox: &Letterbox,
    input: &mut [u8],
    scratch: &mut PreprocessScratch,
) {
    preprocess(image, letterbox, InputMut::Bgr8Nhwc(input), scratch);
}

#[inline(never)]
fn letterbox_rgb_f32(
    image: &BgrImage,
    letterbox: &Letterbox,
    input: &mut [f32],
    scratch: &mut PreprocessScratch,
) {
    preprocess(image, letterbox, InputMut::RgbF32Nchw(input), scratch);
}

#[inline(never)]
fn decode_masks(
    outputs: Outputs<'_>,
    spec: &ModelSpec,
    letterbox: &Letterbox,
    scratch: &mut DecodeScratch,
) -> Vec<Instance> {
    decode(outputs, spec, letterbox, &LIMITS, scratch)
}

#[inline(never)]
fn assign_tracks<'a>(tracks: &'a mut Tracks, instances: &[Instance], stamp: StampNs) -> &'a [u64] {
    tracks.assign(instances, stamp)
}

#[inline(never)]
fn plan_grasps(
    instances: Vec<Instance>,
    ids: &[u64],
    depth: &DepthImage,
    scene: &Scene,
    state: &mut PlanState,
) -> Plan {
    plan(instances, ids, Some(depth), Some(scene), &GRASPS, state)
}

/// Seen from 1.2 m straight above.
fn scene() -> Scene {
    Scene {
        camera_info: CameraInfo {
            camera_name: "made up".into(),
            frame_id: "made up".into(),
            width_px: IMAGE_PX.0,
            height_px: IMAGE_PX.1,
            intrinsics: Intrinsics { fx_px: 900.0, fy_px: 900.0, cx_px: 639.5, cy_px: 359.5 },
            distortion: Distortion::default(),
        },
        camera_place: None,
        support_plane_in_camera: Some(Plane { normal: -Vector3::z_axis(), offset_m: -1.2 }),
        tool: Tool::single_cup(0.015),
        calibration_id: String::new(),
    }
}

/// Level, 1.1 m away, with the noise of a good sensor: whole millimetres up to two off.
fn depth() -> DepthImage {
    let pixels = IMAGE_PX.0 * IMAGE_PX.1;
    let noise = |at: u32| u16::from((at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0] % 5);
    DepthImage::new(IMAGE_PX.0, IMAGE_PX.1, (0..pixels).map(|at| 1098 + noise(at)).collect())
        .expect("the data fills the size")
}

fn spec() -> ModelSpec {
    ModelSpec {
        name: "made up".into(),
        sha256: String::new(),
        input_form: InputForm::Bgr8Nhwc,
        width_px: INPUT_PX,
        height_px: INPUT_PX,
        class_names: vec![String::new(); CLASSES],
        output_layout: OutputLayout::YoloSeg,
        predictions_shape: [4 + CLASSES + COEFFICIENTS, ANCHORS],
        coefficients: COEFFICIENTS,
        prototype_width_px: INPUT_PX / 4,
        prototype_height_px: INPUT_PX / 4,
        score_min: None,
    }
}

fn image() -> BgrImage {
    let (w, h) = (IMAGE_PX.0 as usize, IMAGE_PX.1 as usize);
    let byte = |i: usize| (i * 31 + i / 3840 * 7).to_le_bytes()[0];
    BgrImage::new(IMAGE_PX.0, IMAGE_PX.1, (0..3 * w * h).map(byte).collect())
        .expect("the data fills the size")
}

/// Boxes of 56x40 px in eight columns and five rows.
fn predictions() -> Vec<f32> {
    let mut rows = vec![0.0; (4 + CLASSES + COEFFICIENTS) * ANCHORS];
    for package in 0..PACKAGES {
        for k in 0..ANCHORS_EACH {
            let anchor = 7 + package * 131 + k * 3;
            let mut set = |row: usize, value: f32| rows[row * ANCHORS + anchor] = value;
            set(0, 32.0 + 64.0 * (package % 8) as f32 + k as f32 * 0.2);
            set(1, 140.0 + 56.0 * (package / 8) as f32);
            set(2, 56.0);
            set(3, 40.0);
            set(4 + package % CLASSES, 0.9 - 0.01 * k as f32);
            for c in 0..COEFFICIENTS {
                let wave = ((package * 7 + c * 3) as f32).sin();
                set(4 + CLASSES + c, if c == 0 { 1.0 } else { wave });
            }
        }
    }
    rows
}

/// Waves, whose sums have outlines like those of packages.
fn prototypes() -> Vec<f32> {
    let side = INPUT_PX as usize / 4;
    let wave = |i: usize| {
        let (c, y, x) = (i / (side * side), i / side % side, i % side);
        if c == 0 {
            return 1.5;
        }
        (x as f32 * 0.02 * c as f32 + y as f32 * 0.15).sin() + 0.2
    };
    (0..COEFFICIENTS * side * side).map(wave).collect()
}

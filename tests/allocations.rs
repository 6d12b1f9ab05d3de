//! A frame allocates nothing on its way, once everything is warm.
//!
//! From the frame to the message that goes to zenoh, without a scene and with grasps from depth.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]
#![expect(unsafe_code, reason = "an allocator cannot be written without; this one only counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use magpie_perception::{
    BboxPx, BgrImage, CameraInfo, Clock, CountersSnapshot, DecodeLimits, DepthImage, Distortion,
    Frame, FrameReport, GraspLimits, InferenceError, InferenceSession, InputForm, InputMut,
    Intrinsics, Letterbox, Limits, ModelSpec, OutputLayout, Outputs, Pipeline, Plane, Provider,
    Scene, StampNs, StampSource, Tool,
};
use magpie_wire::outcome::PublishedLately;
use magpie_wire::{self as wire, Identities};
use nalgebra::Vector3;

/// By all threads.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, and how often something was asked of it.
struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const IMAGE_PX: (u32, u32) = (1280, 720);
const INPUT_PX: u32 = 512;
const ANCHORS: usize = 5376;
const COEFFICIENTS: usize = 32;
const ROWS: usize = 300;
const PACKAGES: usize = 40;

fn spec(output_layout: OutputLayout) -> ModelSpec {
    ModelSpec {
        name: "made up".into(),
        sha256: String::new(),
        input_form: InputForm::Bgr8Nhwc,
        width_px: INPUT_PX,
        height_px: INPUT_PX,
        class_names: vec!["box".into()],
        output_layout,
        predictions_shape: match output_layout {
            OutputLayout::YoloSeg => [5 + COEFFICIENTS, ANCHORS],
            OutputLayout::YoloSegEndToEnd => [ROWS, 6 + COEFFICIENTS],
        },
        coefficients: COEFFICIENTS,
        prototype_width_px: INPUT_PX / 4,
        prototype_height_px: INPUT_PX / 4,
        score_min: None,
    }
}

/// A camera that looks straight down from a metre.
fn scene() -> Scene {
    Scene {
        camera_info: CameraInfo {
            camera_name: "made up".into(),
            frame_id: "camera".into(),
            width_px: IMAGE_PX.0,
            height_px: IMAGE_PX.1,
            intrinsics: Intrinsics { fx_px: 900.0, fy_px: 900.0, cx_px: 639.5, cy_px: 359.5 },
            distortion: Distortion::default(),
        },
        camera_place: None,
        support_plane_in_camera: Some(Plane { normal: -Vector3::z_axis(), offset_m: -1.0 }),
        tool: Tool::single_cup(0.01),
        calibration_id: String::new(),
    }
}

/// Frames in which a belt carries the packages forth by a pixel each, and as many back.
const WAY_FRAMES: usize = 15;

/// Centre of a package in the model's input: eight columns and five rows. Two of them overlap.
fn centre_px(package: usize, frame: usize) -> (f32, f32) {
    let moved = frame.min(2 * WAY_FRAMES - frame);
    let aside = if package == 1 { 25.0 } else { 0.0 };
    let x = 24.0 + 60.0 * (package % 8) as f32 + moved as f32 - aside;
    (x, 140.0 + 56.0 * (package / 8) as f32)
}

/// One comes and goes.
fn in_view(frame: usize) -> usize {
    if frame.is_multiple_of(4) { PACKAGES - 1 } else { PACKAGES }
}

const SIZE_PX: (f32, f32) = (50.0, 40.0);

/// Flat tops 150 mm above what the packages lie on.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "pixels of the picture"
)]
fn depth(frame: usize) -> DepthImage {
    let (width, height) = (IMAGE_PX.0 as usize, IMAGE_PX.1 as usize);
    let letterbox = Letterbox::new(IMAGE_PX, (INPUT_PX, INPUT_PX));
    let mut data_mm = vec![1000; width * height];
    for package in 0..in_view(frame) {
        let (x, y) = centre_px(package, frame);
        let (half_width, half_height) = (SIZE_PX.0 / 2.0, SIZE_PX.1 / 2.0);
        let top = letterbox.bbox_to_image(&BboxPx {
            x_min_px: x - half_width,
            y_min_px: y - half_height,
            x_max_px: x + half_width,
            y_max_px: y + half_height,
        });
        for row in top.y_min_px as usize..(top.y_max_px as usize).min(height) {
            let (first, end) = (top.x_min_px as usize, (top.x_max_px as usize).min(width));
            data_mm[row * width + first..row * width + end].fill(850);
        }
    }
    DepthImage::new(IMAGE_PX.0, IMAGE_PX.1, data_mm).unwrap()
}

fn predictions(layout: OutputLayout, frame: usize) -> Vec<f32> {
    match layout {
        OutputLayout::YoloSeg => columns(frame),
        OutputLayout::YoloSegEndToEnd => rows(frame),
    }
}

fn rows(frame: usize) -> Vec<f32> {
    let mut rows = vec![0.0; ROWS * (6 + COEFFICIENTS)];
    for (package, row) in rows.chunks_exact_mut(6 + COEFFICIENTS).take(in_view(frame)).enumerate() {
        let (x, y) = centre_px(package, frame);
        let (half_width, half_height) = (SIZE_PX.0 / 2.0, SIZE_PX.1 / 2.0);
        row[..7].copy_from_slice(&[
            x - half_width,
            y - half_height,
            x + half_width,
            y + half_height,
            0.9,
            0.0,
            1.0,
        ]);
    }
    rows
}

fn columns(frame: usize) -> Vec<f32> {
    let mut rows = vec![0.0; (5 + COEFFICIENTS) * ANCHORS];
    for package in 0..in_view(frame) {
        let mut set = |row: usize, value: f32| rows[row * ANCHORS + 10 + 131 * package] = value;
        let (x, y) = centre_px(package, frame);
        set(0, x);
        set(1, y);
        set(2, SIZE_PX.0);
        set(3, SIZE_PX.1);
        set(4, 0.9);
        set(5, 1.0);
    }
    rows
}

fn identities() -> Identities {
    Identities {
        model_name: "made up".into(),
        model_sha256: String::new(),
        class_names: vec!["box".into()],
        calibration_id: String::new(),
        providers_asked: vec![Provider::Cpu],
        provider_got: Provider::Cpu,
        base_frame_id: "base".into(),
        camera_frame_id: "camera".into(),
    }
}

/// Sees what it was made to see.
struct MadeUp {
    spec: ModelSpec,
    input: Vec<u8>,
    frame: usize,
    predictions: Vec<Vec<f32>>,
    prototypes: Vec<f32>,
}

impl InferenceSession for MadeUp {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn input(&mut self) -> InputMut<'_> {
        InputMut::Bgr8Nhwc(&mut self.input)
    }

    fn run(&mut self) -> Result<Outputs<'_>, InferenceError> {
        Ok(Outputs::new(&self.spec, &self.predictions[self.frame], &self.prototypes))
    }
}

impl MadeUp {
    fn new(layout: OutputLayout) -> MadeUp {
        let side = INPUT_PX as usize / 4;
        // Wavy outlines, as of crumpled bags.
        let wave = |i: usize| 0.2 + ((i % side) as f32 * 0.3).sin() * ((i / side) as f32).cos();
        MadeUp {
            spec: spec(layout),
            input: vec![0; 3 * (INPUT_PX * INPUT_PX) as usize],
            frame: 0,
            predictions: (0..2 * WAY_FRAMES).map(|frame| predictions(layout, frame)).collect(),
            prototypes: (0..COEFFICIENTS * side * side).map(wave).collect(),
        }
    }
}

struct NoTime;

impl Clock for NoTime {
    fn now(&self) -> StampNs {
        StampNs(0)
    }
}

/// Depth goes with a scene.
fn frame(at: usize, scene: Option<&Scene>) -> Frame {
    let pixels = 3 * IMAGE_PX.0 as usize * IMAGE_PX.1 as usize;
    Frame {
        sequence: 0,
        stamp: StampNs(0),
        stamp_source: StampSource::Exposure,
        color: BgrImage::new(IMAGE_PX.0, IMAGE_PX.1, vec![9; pixels]).unwrap(),
        depth: scene.map(|_| depth(at)),
    }
}

fn limits() -> Limits {
    Limits {
        frame_age_ns_max: u64::MAX,
        deadline_ns: u64::MAX,
        result_valid_ns: 0,
        decode: DecodeLimits {
            score_min: 0.25,
            iou_max: 0.6,
            nms_class_agnostic: true,
            instances_max: 100,
        },
        grasps: GraspLimits { per_package_max: 3, tilt_deg_max: 50.0, quality_min: 0.05 },
        belt_velocity: None,
    }
}

/// What every frame took, in a pool of its own: its queue allocates now and then when work comes
/// from outside.
fn counts(count: usize, layout: OutputLayout, scene: Option<&Scene>) -> Vec<usize> {
    let (mut session, limits, identities) = (MadeUp::new(layout), limits(), identities());
    let mut frames: Vec<Frame> = (0..2 * WAY_FRAMES).map(|at| frame(at, scene)).collect();
    let mut pipeline = Pipeline::new(spec(layout));
    let (mut message, mut spare) = (wire::Packages::default(), wire::Spare::default());
    let mut published = PublishedLately::new("1".into());
    let mut counts = Vec::with_capacity(count);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let mut work = |sequence: usize| {
        session.frame = sequence % frames.len();
        let frame = &mut frames[session.frame];
        frame.sequence = sequence as u64;
        frame.stamp = StampNs(sequence as u64 * 50_000_000);
        ALLOCATIONS.store(0, Ordering::Relaxed);
        let (packages, latencies) =
            pipeline.process(frame, &mut session, &NoTime, scene, &limits).unwrap();
        let report = FrameReport { packages, latencies, counters: CountersSnapshot::default() };
        let envelope = wire::Envelope {
            cell: "dock",
            instance_id: "1",
            publication: 1,
            published: StampNs(0),
            unix_ahead_ns: 0,
            state: wire::State::Ok,
            results_superseded: 0,
        };
        let old = std::mem::take(&mut message);
        message = wire::rewritten(old, &mut spare, &report, &identities, &envelope);
        published.remember(&message);
        pipeline.recycle(report.packages);
        let allocated = ALLOCATIONS.load(Ordering::Relaxed);
        let found = &message.packages;
        assert_eq!(found.len(), in_view(session.frame));
        assert!(message.velocity.is_some() || scene.is_none() || sequence < WAY_FRAMES);
        let with_grasps = found.iter().filter(|package| !package.grasps.is_empty()).count();
        assert!(if scene.is_some() { with_grasps > PACKAGES / 2 } else { with_grasps == 0 });
        allocated
    };
    pool.install(|| counts.extend((0..count).map(&mut work)));
    counts
}

/// One test, since the count is of the whole process.
#[test]
fn a_warm_frame_allocates_nothing() {
    // Until each buffer has held the largest that comes its way.
    const WARM_UP: usize = 20 * WAY_FRAMES;
    const FRAMES: usize = 26 * WAY_FRAMES;
    for (layout, scene) in [
        (OutputLayout::YoloSeg, None),
        (OutputLayout::YoloSeg, Some(scene())),
        (OutputLayout::YoloSegEndToEnd, None),
    ] {
        let counts = counts(FRAMES, layout, scene.as_ref());
        assert!(counts[0] > PACKAGES, "the counting allocator is not used");
        assert_eq!(counts[WARM_UP..], [0; FRAMES - WARM_UP], "{counts:?}");
    }
}

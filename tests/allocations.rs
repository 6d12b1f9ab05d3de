//! A frame allocates nothing on its way, once everything is warm.
//!
//! From the frame to the message that goes to zenoh, without a scene and with grasps from depth.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]
#![expect(unsafe_code, reason = "an allocator cannot be written without; this one only counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use magpie_perception::{
    BboxPx, BgrImage, CameraInfo, CountersSnapshot, DecodeLimits, DecodeScratch, DepthImage,
    Distortion, FrameReport, GraspLimits, InputForm, InputMut, Intrinsics, Letterbox, ModelSpec,
    Outputs, Packages, PlanState, PreprocessScratch, Provider, ReferenceFrame, Scene,
    StageLatencies, StampNs, StampSource, Tool, Tracks, decode, plan, preprocess,
};
use magpie_transport::{Identities, wire};

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
const PACKAGES: usize = 40;

fn spec() -> ModelSpec {
    ModelSpec {
        name: "made up".into(),
        sha256: String::new(),
        input_form: InputForm::Bgr8Nhwc,
        width_px: INPUT_PX,
        height_px: INPUT_PX,
        class_names: vec!["box".into()],
        coefficients: COEFFICIENTS,
        anchors: ANCHORS,
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
        support_plane_in_camera: None,
        tool: Tool::single_cup(0.01),
        calibration_id: String::new(),
    }
}

/// Frames in which a belt carries the packages forth by a pixel each, and as many back.
const WAY_FRAMES: usize = 15;

/// Centre of a package in the model's input.
fn centre_px(package: usize, frame: usize) -> (f32, f32) {
    let at = frame % (2 * WAY_FRAMES);
    let moved = at.min(2 * WAY_FRAMES - at);
    (24.0 + 60.0 * (package % 8) as f32 + moved as f32, 140.0 + 56.0 * (package / 8) as f32)
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
    for package in 0..PACKAGES {
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

/// Packages in eight columns and five rows.
fn predictions(frame: usize) -> Vec<f32> {
    let mut rows = vec![0.0; (5 + COEFFICIENTS) * ANCHORS];
    for package in 0..PACKAGES {
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

/// What lives from frame to frame.
struct Way {
    spec: ModelSpec,
    image: BgrImage,
    input: Vec<u8>,
    predictions: Vec<Vec<f32>>,
    prototypes: Vec<f32>,
    preprocess: PreprocessScratch,
    decode: DecodeScratch,
    tracks: Tracks,
    plan: PlanState,
    message: wire::Packages,
    spare: wire::Spare,
    scene: Option<Scene>,
    depths: Vec<DepthImage>,
    identities: Identities,
}

impl Way {
    /// Depth goes with a scene.
    fn new(frames: usize, scene: Option<Scene>) -> Way {
        let pixels = 3 * IMAGE_PX.0 as usize * IMAGE_PX.1 as usize;
        let side = INPUT_PX as usize / 4;
        // Wavy outlines, as of crumpled bags.
        let wave = |i: usize| 0.2 + ((i % side) as f32 * 0.3).sin() * ((i / side) as f32).cos();
        Way {
            spec: spec(),
            image: BgrImage::new(IMAGE_PX.0, IMAGE_PX.1, vec![9; pixels]).unwrap(),
            input: vec![0; 3 * (INPUT_PX * INPUT_PX) as usize],
            predictions: (0..frames).map(predictions).collect(),
            prototypes: (0..COEFFICIENTS * side * side).map(wave).collect(),
            preprocess: PreprocessScratch::default(),
            decode: DecodeScratch::default(),
            tracks: Tracks::default(),
            plan: PlanState::default(),
            message: wire::Packages::default(),
            spare: wire::Spare::default(),
            depths: scene.iter().flat_map(|_| (0..frames).map(depth)).collect(),
            scene,
            identities: identities(),
        }
    }

    fn frame(&mut self, sequence: usize) {
        let letterbox = Letterbox::new(IMAGE_PX, (INPUT_PX, INPUT_PX));
        let input = InputMut::Bgr8Nhwc(&mut self.input);
        preprocess(&self.image, &letterbox, input, &mut self.preprocess);
        let outputs =
            Outputs { predictions: &self.predictions[sequence], prototypes: &self.prototypes };
        let limits = DecodeLimits {
            score_min: 0.25,
            iou_max: 0.6,
            nms_class_agnostic: true,
            instances_max: 100,
        };
        let instances = decode(outputs, &self.spec, &letterbox, &limits, &mut self.decode);
        let stamp = StampNs(sequence as u64 * 50_000_000);
        let track_ids = self.tracks.assign(&instances, stamp);
        let packages = Packages {
            sequence: sequence as u64,
            stamp,
            stamp_source: StampSource::Exposure,
            image_width_px: IMAGE_PX.0,
            image_height_px: IMAGE_PX.1,
            reference_frame: ReferenceFrame::Camera,
            depth_problem: None,
            velocity: None,
            valid_until: stamp,
            packages: plan(
                instances,
                track_ids,
                self.depths.get(sequence),
                self.scene.as_ref(),
                &GraspLimits { per_package_max: 3, tilt_deg_max: 50.0, quality_min: 0.05 },
                &mut self.plan,
            )
            .packages,
        };
        let report = FrameReport {
            packages,
            latencies: StageLatencies::default(),
            counters: CountersSnapshot::default(),
        };
        let envelope = wire::Envelope {
            cell: "dock",
            instance_id: "1",
            publication: 1,
            published: stamp,
            state: wire::State::Ok,
            results_superseded: 0,
        };
        let old = std::mem::take(&mut self.message);
        self.message = wire::rewritten(old, &mut self.spare, &report, &self.identities, &envelope);
        self.decode.recycle(self.plan.recycle(report.packages.packages));
    }
}

/// What every frame took, in a pool of its own: its queue allocates now and then when work comes
/// from outside.
fn counts(frames: usize, scene: Option<Scene>) -> Vec<usize> {
    let with_scene = scene.is_some();
    let mut way = Way::new(frames, scene);
    let mut counts = Vec::with_capacity(frames);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| {
        for sequence in 0..frames {
            ALLOCATIONS.store(0, Ordering::Relaxed);
            way.frame(sequence);
            counts.push(ALLOCATIONS.load(Ordering::Relaxed));
            let packages = &way.message.packages;
            assert_eq!(packages.len(), PACKAGES);
            let with_grasps = packages.iter().filter(|p| !p.grasps.is_empty()).count();
            assert!(if with_scene { with_grasps > PACKAGES / 2 } else { with_grasps == 0 });
        }
    });
    counts
}

/// One test, since the count is of the whole process.
#[test]
fn a_warm_frame_allocates_nothing() {
    const WARM_UP: usize = 8 * WAY_FRAMES;
    const FRAMES: usize = 12 * WAY_FRAMES;
    for scene in [None, Some(scene())] {
        let counts = counts(FRAMES, scene);
        assert!(counts[0] > PACKAGES, "the counting allocator is not used");
        assert_eq!(counts[WARM_UP..], [0; FRAMES - WARM_UP], "{counts:?}");
    }
}

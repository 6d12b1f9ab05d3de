//! Each function that a frame passes, alone: `cargo bench -p magpie`. And a whole frame, in turn and
//! overlapped with the run of the next one: `cargo bench -p magpie frame`.
//!
//! One frame of a simulated cell at 1280x720 px, with the 40 best findings of the universal model
//! taken for packages.

use divan::{Bencher, black_box};
use magpie::commands::bench::{simulate, take_exactly};
use magpie_daemon::config::Config;
use magpie_daemon::{model, scheduling};
use magpie_inference::OnnxSession;
use magpie_perception::{
    DecodeScratch, Frame, InferenceSession, InputMut, Instance, Letterbox, Limits, ModelSpec,
    PlanState, PreprocessScratch, Scene, Tracks, decode, plan, preprocess,
};

const SIZE_PX: (u32, u32) = (1280, 720);
const PACKAGES: usize = 40;

fn main() {
    scheduling::lead_pool().expect("a thread can be started");
    divan::main();
}

struct Bench {
    spec: ModelSpec,
    letterbox: Letterbox,
    limits: Limits,
    frame: Frame,
    scene: Scene,
    predictions: Vec<f32>,
    prototypes: Vec<f32>,
}

impl Bench {
    fn new() -> Bench {
        Bench::with_session().0
    }

    fn with_session() -> (Bench, OnnxSession) {
        let config = Config::load(None).expect("the shipped configuration is right");
        let file = model::read(None, None).expect("the universal model is whole");
        let mut session = model::load(&file, &config.session).expect("ONNX Runtime is installed");
        let mut frames = simulate(SIZE_PX, PACKAGES).expect("it can be simulated");
        let frame = frames.frames.swap_remove(0);
        let spec = session.spec().clone();
        let letterbox = Letterbox::new(SIZE_PX, (spec.width_px, spec.height_px));
        preprocess(&frame.color, &letterbox, session.input(), &mut PreprocessScratch::default());
        let outputs = session.run().expect("the model runs");
        let (predictions, prototypes) = (
            outputs.predictions.iter().copied().collect(),
            outputs.prototypes.iter().copied().collect(),
        );
        let mut limits = config.limits(spec.score_min);
        take_exactly(&mut limits, PACKAGES);
        let scene = frames.scene.expect("a simulated cell is calibrated");
        (Bench { spec, letterbox, limits, frame, scene, predictions, prototypes }, session)
    }

    fn instances(&self, scratch: &mut DecodeScratch) -> Vec<Instance> {
        let outputs =
            magpie_perception::Outputs::new(&self.spec, &self.predictions, &self.prototypes);
        decode(outputs, &self.spec, &self.letterbox, &self.limits.decode, scratch)
    }
}

#[divan::bench]
fn preprocess_1280x720(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let mut input = vec![0; (bench.spec.width_px * bench.spec.height_px * 3) as usize];
    let mut scratch = PreprocessScratch::default();
    bencher.bench_local(|| {
        let input = InputMut::Bgr8Nhwc(&mut input);
        preprocess(black_box(&bench.frame.color), &bench.letterbox, input, &mut scratch);
    });
}

#[divan::bench]
fn decode_40_packages(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let mut scratch = DecodeScratch::default();
    bencher.bench_local(|| {
        let instances = black_box(bench.instances(&mut scratch));
        scratch.recycle(instances);
    });
}

#[divan::bench]
fn track_40_packages(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let instances = bench.instances(&mut DecodeScratch::default());
    let mut tracks = Tracks::default();
    bencher.bench_local(|| tracks.assign(black_box(&instances), bench.frame.stamp).len());
}

#[divan::bench]
fn plan_40_packages(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let instances = bench.instances(&mut DecodeScratch::default());
    let ids: Vec<u64> = (1..).take(instances.len()).collect();
    let (mut state, depth) = (PlanState::default(), bench.frame.depth.as_ref());
    bencher.with_inputs(|| instances.clone()).bench_local_values(|instances| {
        let (scene, limits) = (Some(&bench.scene), &bench.limits.grasps);
        let packages = plan(instances, &ids, depth, scene, limits, &mut state).packages;
        state.recycle(packages)
    });
}

/// What ROS 2 or a viewer takes of a frame.
#[divan::bench]
fn copy_40_packages(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let instances = bench.instances(&mut DecodeScratch::default());
    let ids: Vec<u64> = (1..).take(instances.len()).collect();
    let (mut state, depth) = (PlanState::default(), bench.frame.depth.as_ref());
    let (scene, limits) = (Some(&bench.scene), &bench.limits.grasps);
    let packages = plan(instances, &ids, depth, scene, limits, &mut state).packages;
    bencher.bench_local(|| black_box(&packages).clone());
}

/// What comes after a run.
struct Rest {
    decode: DecodeScratch,
    tracks: Tracks,
    plan: PlanState,
}

impl Rest {
    fn new(bench: &Bench) -> Rest {
        let plan = PlanState::for_classes(&bench.spec.class_names);
        Rest { decode: DecodeScratch::default(), tracks: Tracks::default(), plan }
    }

    fn work(&mut self, bench: &Bench) {
        let instances = bench.instances(&mut self.decode);
        let ids = self.tracks.assign(&instances, bench.frame.stamp);
        let (depth, scene) = (bench.frame.depth.as_ref(), Some(&bench.scene));
        let planned = plan(instances, ids, depth, scene, &bench.limits.grasps, &mut self.plan);
        self.decode.recycle(self.plan.recycle(black_box(planned).packages));
    }
}

/// From one frame to the next: one thing after the other, as the pipeline works.
#[divan::bench]
fn frame_in_turn(bencher: Bencher<'_, '_>) {
    let (bench, mut session) = Bench::with_session();
    let (mut scratch, mut rest) = (PreprocessScratch::default(), Rest::new(&bench));
    bencher.bench_local(|| {
        preprocess(&bench.frame.color, &bench.letterbox, session.input(), &mut scratch);
        session.run().expect("the model runs");
        rest.work(&bench);
    });
}

/// From one frame to the next if a run began while another thread is busy with what comes after the
/// last one. Each frame would still take that afterwards: this is not how late a result is.
#[divan::bench]
fn frame_overlapped(bencher: Bencher<'_, '_>) {
    let (bench, mut session) = Bench::with_session();
    let (mut scratch, mut rest) = (PreprocessScratch::default(), Rest::new(&bench));
    let mut first = || {
        preprocess(&bench.frame.color, &bench.letterbox, session.input(), &mut scratch);
        session.run().map(drop).expect("the model runs");
    };
    bencher.bench_local(|| rayon::join(&mut first, || rest.work(&bench)));
}

//! The one path from a frame to packages: `run`, `replay`, `bench`, `eval` and `detect` all take it.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    Clock, Counters, DecodeLimits, DecodeScratch, Frame, FrameReport, FrameSource, GraspLimits,
    InferenceError, InferenceSession, Letterbox, ModelSpec, Motion, Packages, Plan, PlanState,
    PreprocessScratch, PublishError, Publisher, ReferenceFrame, Scene, SourceError, StageLatencies,
    Tracks, Velocity, decode, plan, preprocess,
};

/// What the loop may take and keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// An older frame is dropped and counted, never published.
    pub frame_age_ns_max: u64,
    /// A result that is published later after its exposure is counted.
    pub deadline_ns: u64,
    /// How long after its exposure a result may be acted on.
    pub result_valid_ns: u64,
    pub decode: DecodeLimits,
    pub grasps: GraspLimits,
    /// The belt's velocity, if it is known; else it is measured.
    pub belt_velocity: Option<Velocity>,
}

/// Everything foreign that the loop touches.
pub struct Edges<'a> {
    pub source: &'a mut dyn FrameSource,
    pub session: &'a mut dyn InferenceSession,
    pub publisher: &'a mut dyn Publisher,
    pub clock: &'a dyn Clock,
}

/// What ends the process.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Inference(#[from] InferenceError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(
        "the frame is {found_width_px}x{found_height_px} px, the calibration of {camera} is for \
         {width_px}x{height_px} px; set the camera to that size, or calibrate at the new one"
    )]
    ImageSize {
        camera: String,
        width_px: u32,
        height_px: u32,
        found_width_px: u32,
        found_height_px: u32,
    },
}

/// Takes frames until the source ends: each is dropped and counted, or published.
pub fn run(
    edges: &mut Edges<'_>,
    scene: Option<&Scene>,
    limits: &Limits,
    counters: &Counters,
) -> Result<(), Fault> {
    Pipeline::new(edges.session.spec().clone()).run(edges, scene, limits, counters)
}

/// Tracks and buffers that live from frame to frame.
#[derive(Debug)]
pub struct Pipeline {
    model: ModelSpec,
    tracks: Tracks,
    preprocess: PreprocessScratch,
    decode: DecodeScratch,
    plan: PlanState,
    motion: Motion,
    sequence_next: Option<u64>,
}

impl Pipeline {
    pub fn new(model: ModelSpec) -> Pipeline {
        Pipeline {
            plan: PlanState::for_classes(&model.class_names),
            model,
            tracks: Tracks::default(),
            preprocess: PreprocessScratch::default(),
            decode: DecodeScratch::default(),
            motion: Motion::default(),
            sequence_next: None,
        }
    }

    /// [`run`], with what earlier frames have left. The session's model must be this pipeline's.
    pub fn run(
        &mut self,
        edges: &mut Edges<'_>,
        scene: Option<&Scene>,
        limits: &Limits,
        counters: &Counters,
    ) -> Result<(), Fault> {
        assert_eq!(self.model.sha256, edges.session.spec().sha256, "see use_model");
        while let Some(frame) = edges.source.next_frame()? {
            counters.frames.fetch_add(1, Relaxed);
            let expected = self.sequence_next.unwrap_or(frame.sequence);
            let superseded = frame.sequence.saturating_sub(expected);
            counters.frames_superseded.fetch_add(superseded, Relaxed);
            self.sequence_next = Some(frame.sequence + 1);
            if edges.clock.now().since_ns(frame.stamp) > limits.frame_age_ns_max {
                counters.frames_stale.fetch_add(1, Relaxed);
                continue;
            }
            let (packages, latencies) =
                self.process(&frame, edges.session, edges.clock, scene, limits)?;
            let is_expired = edges.clock.now() > packages.valid_until;
            counters.results_expired.fetch_add(u64::from(is_expired), Relaxed);
            counters.results_published.fetch_add(1, Relaxed);
            counters
                .deadline_misses
                .fetch_add(u64::from(latencies.total_ns > limits.deadline_ns), Relaxed);
            let report = FrameReport { packages, latencies, counters: counters.snapshot() };
            edges.publisher.publish(&frame, &report)?;
            self.recycle(report.packages);
        }
        Ok(())
    }

    /// The next frame goes through another model. Packages keep their tracks; their grasps are searched
    /// anew, since their types may have other numbers.
    pub fn use_model(&mut self, model: ModelSpec) {
        self.plan = PlanState::for_classes(&model.class_names);
        self.model = model;
    }

    /// One frame, start to end.
    pub fn process(
        &mut self,
        frame: &Frame,
        session: &mut dyn InferenceSession,
        clock: &dyn Clock,
        scene: Option<&Scene>,
        limits: &Limits,
    ) -> Result<(Packages, StageLatencies), Fault> {
        let image = (frame.color.width_px(), frame.color.height_px());
        check_image_size(image, scene)?;
        let letterbox = Letterbox::new(image, (self.model.width_px, self.model.height_px));
        let taken = clock.now();
        preprocess(&frame.color, &letterbox, session.input(), &mut self.preprocess);
        let preprocessed = clock.now();
        let outputs = session.run()?;
        let inferred = clock.now();
        let instances = decode(outputs, &self.model, &letterbox, &limits.decode, &mut self.decode);
        let decoded = clock.now();
        let track_ids = self.tracks.assign(&instances, frame.stamp);
        let depth = frame.depth.as_ref();
        let Plan { packages, depth_problem } =
            plan(instances, track_ids, depth, scene, &limits.grasps, &mut self.plan);
        let reference_frame = scene.map_or(ReferenceFrame::Camera, Scene::reference_frame);
        let measured = self.motion.follow(&packages, frame.stamp);
        let velocity = limits.belt_velocity.or(measured);
        // What a camera on the arm sees moving may be the arm.
        let velocity = velocity.filter(|_| reference_frame != ReferenceFrame::Gripper);
        let planned = clock.now();

        let latencies = StageLatencies {
            wait_ns: taken.since_ns(frame.stamp),
            preprocess_ns: preprocessed.since_ns(taken),
            inference_ns: inferred.since_ns(preprocessed),
            decode_ns: decoded.since_ns(inferred),
            plan_ns: planned.since_ns(decoded),
            total_ns: planned.since_ns(frame.stamp),
        };
        let packages = Packages {
            sequence: frame.sequence,
            stamp: frame.stamp,
            stamp_source: frame.stamp_source,
            image_width_px: image.0,
            image_height_px: image.1,
            reference_frame,
            valid_until: frame.stamp + std::time::Duration::from_nanos(limits.result_valid_ns),
            packages,
            velocity,
            depth_problem,
        };
        Ok((packages, latencies))
    }

    /// Takes back a result that nobody needs any more: the next one is written into its memory.
    pub fn recycle(&mut self, packages: Packages) {
        self.decode.recycle(self.plan.recycle(packages.packages));
    }
}

/// Poses from a calibration for another image size would be wrong. `image`: width and height, px.
///
/// # Errors
/// [`Fault::ImageSize`].
pub fn check_image_size(image: (u32, u32), scene: Option<&Scene>) -> Result<(), Fault> {
    let Some(info) = scene.map(|scene| &scene.camera_info) else { return Ok(()) };
    if image == (info.width_px, info.height_px) {
        return Ok(());
    }
    Err(Fault::ImageSize {
        camera: info.camera_name.clone(),
        width_px: info.width_px,
        height_px: info.height_px,
        found_width_px: image.0,
        found_height_px: image.1,
    })
}

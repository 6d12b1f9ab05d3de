//! What would change: the same frames through the present model and the new one.

use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, ended_by, source_ended};
use magpie_daemon::model::load;
use magpie_daemon::models::{FOUND_SHARE_MIN, PACKAGES_MIN};
use magpie_inference::{ModelFile, OnnxSession};
use magpie_network::SystemClock;
use magpie_perception::{
    Clock, Frame, FrameSource, Limits, ModelSpec, Package, Pipeline, Provider, Scene,
};
use magpie_recording::FrameReader;

use crate::distribution::Distribution;
use crate::present::{progress, table};

/// One frame of so many is looked at: neighbours show the same.
const STEP: u64 = 3;
/// Masks that overlap less show different packages.
const IOU_MIN: f32 = 0.5;

/// What two models find in the same frames.
pub(super) struct Shadow {
    frames: u64,
    present: Seen,
    new: Seen,
    /// Packages that both find.
    both: usize,
    /// Of those, the ones whose types differ.
    retyped: usize,
}

struct Seen {
    provider: Provider,
    packages: usize,
    /// How many of them can be held.
    held: usize,
    scores: Vec<f64>,
    model_ms: Vec<f64>,
    total_ms: Vec<f64>,
    deadline_ms: f64,
}

struct Model {
    spec: ModelSpec,
    session: OnnxSession,
    pipeline: Pipeline,
    limits: Limits,
    seen: Seen,
}

impl Model {
    fn load(config: &Config, file: &ModelFile) -> Result<Model, Failure> {
        let session = load(file, &config.session)?;
        let (spec, provider) = (file.spec().clone(), session.provider());
        let limits = config.limits(spec.score_min);
        let seen = Seen {
            provider,
            packages: 0,
            held: 0,
            scores: Vec::new(),
            model_ms: Vec::new(),
            total_ms: Vec::new(),
            deadline_ms: limits.deadline_ns as f64 / 1e6,
        };
        Ok(Model { pipeline: Pipeline::new(spec.clone()), spec, session, limits, seen })
    }

    fn look(
        &mut self,
        frame: &Frame,
        clock: &dyn Clock,
        scene: Option<&Scene>,
    ) -> Result<Vec<Package>, Failure> {
        let began = clock.now();
        let found = self.pipeline.process(frame, &mut self.session, clock, scene, &self.limits);
        let (packages, latencies) = found.map_err(ended_by)?;
        let packages = packages.packages;
        let seen = &mut self.seen;
        seen.packages += packages.len();
        seen.held += packages.iter().filter(|package| package.best_grasp().is_some()).count();
        seen.scores.extend(packages.iter().map(|package| f64::from(package.instance.score)));
        seen.model_ms.push(latencies.inference_ns as f64 / 1e6);
        seen.total_ms.push(clock.now().since_ns(began) as f64 / 1e6);
        Ok(packages)
    }
}

/// Sends every third frame through both, the present model first.
pub(super) fn run(
    frames: &mut FrameReader,
    config: &Config,
    [present, new]: [&ModelFile; 2],
    frames_max: u32,
) -> Result<Shadow, Failure> {
    let (mut present, mut new) = (Model::load(config, present)?, Model::load(config, new)?);
    let clock = SystemClock::start();
    let scene = frames.scene().cloned();
    let (mut count, mut both, mut retyped) = (0, 0, 0);
    let bar = progress::bar(u64::from(frames_max), "frames");
    let mut number = 0;
    while count < u64::from(frames_max)
        && let Some(frame) = frames.next_frame().map_err(source_ended)?
    {
        number += 1;
        if (number - 1) % STEP != 0 {
            continue;
        }
        count += 1;
        bar.inc(1);
        let by_present = present.look(&frame, clock.as_ref(), scene.as_ref())?;
        let by_new = new.look(&frame, clock.as_ref(), scene.as_ref())?;
        for (a, b) in pairs(&by_present, &by_new) {
            both += 1;
            let type_of = |model: &Model, package: &Package| {
                model.spec.class_names[package.instance.class_id].clone()
            };
            retyped += usize::from(type_of(&present, a) != type_of(&new, b));
        }
    }
    bar.finish_and_clear();
    Ok(Shadow { frames: count, present: present.seen, new: new.seen, both, retyped })
}

/// The packages that are the same, the best overlaps first.
fn pairs<'a>(a: &'a [Package], b: &'a [Package]) -> Vec<(&'a Package, &'a Package)> {
    let mut overlaps: Vec<(f32, usize, usize)> = Vec::new();
    for (i, one) in a.iter().enumerate() {
        for (j, other) in b.iter().enumerate() {
            let near = one.instance.bbox.iou(&other.instance.bbox) > 0.0;
            let iou = if near { one.instance.mask.iou(&other.instance.mask) } else { 0.0 };
            if iou >= IOU_MIN {
                overlaps.push((iou, i, j));
            }
        }
    }
    overlaps.sort_by(|x, y| y.0.total_cmp(&x.0));
    let (mut used_a, mut used_b) = (vec![false; a.len()], vec![false; b.len()]);
    let mut pairs = Vec::new();
    for (_, i, j) in overlaps {
        if !used_a[i] && !used_b[j] {
            (used_a[i], used_b[j]) = (true, true);
            pairs.push((&a[i], &b[j]));
        }
    }
    pairs
}

impl Seen {
    fn per_frame(&self, frames: u64) -> f64 {
        self.packages as f64 / frames.max(1) as f64
    }

    fn held_percent(&self) -> Option<f64> {
        (self.packages > 0).then(|| 100.0 * self.held as f64 / self.packages as f64)
    }
}

fn median(values: &[f64]) -> Option<f64> {
    Distribution::new(values.iter().copied(), 0.001).median()
}

impl Shadow {
    pub(super) fn table(&self) -> String {
        let (frames, both) = (self.frames, self.both);
        let mut table = table::new(&["", "present", "new"]);
        let mut row = |what: &str, value: &dyn Fn(&Seen) -> table::Cell| {
            table.add_row([table::Cell::new(what), value(&self.present), value(&self.new)]);
        };
        row("runs on", &|seen| table::number(seen.provider));
        row("packages a frame", &|seen| table::decimal(Some(seen.per_frame(frames)), 2));
        row("found by it alone", &|seen| table::number(seen.packages - both));
        row("can be held, %", &|seen| table::decimal(seen.held_percent(), 0));
        row("score, median", &|seen| table::decimal(median(&seen.scores), 2));
        row("model, ms, median", &|seen| table::decimal(median(&seen.model_ms), 1));
        row("frame, ms, median", &|seen| table::decimal(median(&seen.total_ms), 1));
        format!(
            "{table}\n{frames} frames; {both} packages are found by both, {} of them as another type",
            self.retyped
        )
    }

    /// What a daemon would give it up for, or a person should look at first.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.frames == 0 {
            warnings.push("the recording has no frame: nothing was compared".to_owned());
        }
        let (before, now) = (self.present.per_frame(self.frames), self.new.per_frame(self.frames));
        if before >= PACKAGES_MIN && now < FOUND_SHARE_MIN * before {
            warnings.push(
                "it finds less than a quarter of what is found now: a daemon would give it up"
                    .to_owned(),
            );
        }
        if self.new.provider != self.present.provider {
            warnings.push(format!(
                "it runs on {}, not on {}: a daemon would not take it",
                self.new.provider, self.present.provider
            ));
        }
        if median(&self.new.total_ms).is_some_and(|ms| ms > self.new.deadline_ms) {
            warnings.push("most results would come later than limits.deadline_ms".to_owned());
        }
        warnings
    }
}

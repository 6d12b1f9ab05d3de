//! `magpie learn`: labels from what became of picks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use magpie_daemon::config::Config;
use magpie_daemon::identity::identities;
use magpie_daemon::model;
use magpie_network::SystemClock;
use magpie_perception::{
    BboxPx, BgrImage, CameraPlace, Counters, CupSet, DepthImage, Frame, FrameReport, Grasp, Grasps,
    InferenceSession, Instance, Mask, Package, Packages, Pipeline, Plane, PoseSource, Provider,
    Quality, ReferenceFrame, Scene, StageLatencies, StampNs, StampSource,
};
use magpie_recording::{FrameWriter, RecordingInfo, Results, WriteOptions};
use magpie_wire::{self as wire, Envelope, Identities, Outcome, PickOutcome};
use magpie_workcell::{Picked, PickingCell, Recipe};
use nalgebra::{Isometry3, Unit, Vector3};
use serde_json::Value;

use super::{check_refused, magpie, succeed, text};

const WIDTH_PX: u32 = 160;
const HEIGHT_PX: u32 = 120;
const INSTANCE: &str = "0123456789abcdef";
const SECOND_NS: u64 = 1_000_000_000;
const START_NS: u64 = 1_700_000_000 * SECOND_NS;

/// A package from above: columns and rows, their ends left out.
#[derive(Clone, Copy)]
struct Block {
    x: [u32; 2],
    y: [u32; 2],
}

const LEFT: Block = Block { x: [30, 60], y: [40, 70] };
const RIGHT: Block = Block { x: [90, 130], y: [50, 80] };

impl Block {
    fn holds(&self, x: u32, y: u32) -> bool {
        (self.x[0]..self.x[1]).contains(&x) && (self.y[0]..self.y[1]).contains(&y)
    }

    fn mask(&self) -> Mask {
        let bitmap: Vec<u8> = (0..WIDTH_PX * HEIGHT_PX)
            .map(|at| u8::from(self.holds(at % WIDTH_PX, at / WIDTH_PX)))
            .collect();
        Mask::from_bitmap(WIDTH_PX, HEIGHT_PX, &bitmap)
    }
}

/// A recording of blocks on a plane, written frame by frame.
struct Recorder {
    writer: FrameWriter,
    identities: Identities,
    instance: String,
    publication: u64,
    has_depth: bool,
}

impl Recorder {
    fn create(path: &Path) -> Recorder {
        let writer =
            FrameWriter::create(path, RecordingInfo::default(), WriteOptions::default()).unwrap();
        let names = ["box", "padded_mailer", "poly_bag", "item"];
        let identities = Identities {
            model_name: "test".into(),
            model_sha256: "0".repeat(64),
            class_names: names.map(str::to_owned).to_vec(),
            calibration_id: String::new(),
            providers_asked: vec![Provider::Cpu],
            provider_got: Provider::Cpu,
            base_frame_id: "base".into(),
            camera_frame_id: "camera_optical_frame".into(),
        };
        let instance = INSTANCE.to_owned();
        Recorder { writer, identities, instance, publication: 0, has_depth: true }
    }

    /// What there is, and what the model makes of it: tracks with their outlines.
    fn see(&mut self, stamp_ns: u64, there: &[Block], found: &[(u64, Block)]) {
        self.see_with(stamp_ns, there, found, 0.8);
    }

    fn see_with(&mut self, stamp_ns: u64, there: &[Block], found: &[(u64, Block)], seal: f32) {
        self.publication += 1;
        let frame = frame(self.publication, stamp_ns, there, self.has_depth);
        let packages = packages(&frame, found, seal);
        let report = FrameReport {
            packages,
            latencies: StageLatencies::default(),
            counters: Counters::default().snapshot(),
        };
        let envelope = Envelope {
            cell: "dock-7",
            instance_id: &self.instance,
            publication: self.publication,
            published: frame.stamp,
            unix_ahead_ns: 0,
            state: wire::State::Ok,
            results_superseded: 0,
        };
        let message = wire::to_wire(&report, &self.identities, &envelope);
        let class_names = &self.identities.class_names;
        let results = Results { message: &message, packages: &report.packages, class_names };
        self.writer.write_processed(&frame, &results).unwrap();
    }

    /// What became of a pick by the newest result, half a second after it was exposed.
    fn tell(&mut self, stamp_ns: u64, track_id: u64, outcome: Outcome) -> PickOutcome {
        let told = PickOutcome {
            schema_version: 1,
            cell: "dock-7".into(),
            instance_id: self.instance.clone(),
            publication: self.publication,
            stamp_ns,
            track_id,
            outcome: outcome.into(),
            done_ns: stamp_ns + SECOND_NS / 2,
            ..PickOutcome::default()
        };
        self.write(&told);
        told
    }

    fn write(&mut self, told: &PickOutcome) {
        self.writer.write_outcome(StampNs(told.done_ns), told).unwrap();
    }

    fn finish(self) {
        self.writer.finish().unwrap();
    }
}

fn frame(sequence: u64, stamp_ns: u64, there: &[Block], has_depth: bool) -> Frame {
    let noise =
        |at: u32| (at.wrapping_add(sequence as u32 * 7919).wrapping_mul(2_654_435_761) >> 16) % 5;
    let (mut color, mut depth) = (Vec::new(), Vec::new());
    for at in 0..WIDTH_PX * HEIGHT_PX {
        let is_package = there.iter().any(|block| block.holds(at % WIDTH_PX, at / WIDTH_PX));
        let bgr = if is_package { [40, 120, 190] } else { [90, 95, 100] };
        color.extend(bgr.map(|value: u8| value + noise(3 * at) as u8));
        depth.push(1000 - 80 * u16::from(is_package) + noise(at) as u16);
    }
    let depth = DepthImage::new(WIDTH_PX, HEIGHT_PX, depth).unwrap();
    Frame {
        sequence,
        stamp: StampNs(stamp_ns),
        stamp_source: StampSource::Recorded,
        color: BgrImage::new(WIDTH_PX, HEIGHT_PX, color).unwrap(),
        depth: has_depth.then_some(depth),
    }
}

fn packages(frame: &Frame, found: &[(u64, Block)], seal: f32) -> Packages {
    let package = |(track_id, block): &(u64, Block)| {
        let [x, y] = [block.x, block.y].map(|ends| ends.map(|end| end as f32));
        let bbox = BboxPx { x_min_px: x[0], y_min_px: y[0], x_max_px: x[1], y_max_px: y[1] };
        let instance = Instance { class_id: 0, score: 0.9, bbox, mask: block.mask() };
        let center_px = [(x[0] + x[1]) / 2.0, (y[0] + y[1]) / 2.0];
        let quality = Quality {
            clearance: 1.0,
            seal,
            moment: 1.0,
            tilt: 1.0,
            hold: 1.0,
            depth_share: Some(1.0),
        };
        let grasp = Grasp {
            contact_px: center_px,
            reference_from_grasp: Isometry3::translation(0.1, 0.2, 0.3),
            pose_source: PoseSource::Depth,
            quality,
            cups: CupSet::of(0),
            position_sigma_m: 0.001,
        };
        Package {
            grasps: Ok(Grasps::new(vec![grasp]).unwrap()),
            deepest_px: center_px,
            ..Package::unplanned(instance, *track_id)
        }
    };
    Packages {
        sequence: frame.sequence,
        stamp: frame.stamp,
        stamp_source: frame.stamp_source,
        image_width_px: WIDTH_PX,
        image_height_px: HEIGHT_PX,
        reference_frame: ReferenceFrame::Base,
        valid_until: frame.stamp,
        packages: found.iter().map(package).collect(),
        velocity: None,
        depth_problem: None,
    }
}

/// Recordings, and a folder for what is learned from them.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Desk {
        Desk { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn learn(&self, recordings: &[&str]) -> String {
        let paths: Vec<String> = recordings.iter().map(|name| self.arg(name)).collect();
        let out = self.arg("learned");
        let mut arguments = vec!["learn"];
        arguments.extend(paths.iter().map(String::as_str));
        arguments.extend(["--out", &out]);
        text(&succeed(&arguments).stdout)
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path("learned").join(name)).unwrap()).unwrap()
    }

    /// The left package is picked; the model had outlined only its left half.
    fn record_a_pick(&self, name: &str, change: impl FnOnce(&mut Recorder)) {
        let mut recorder = Recorder::create(&self.path(name));
        change(&mut recorder);
        let half = Block { x: [30, 48], ..LEFT };
        recorder.see(START_NS, &[LEFT, RIGHT], &[(1, half), (2, RIGHT)]);
        let told = recorder.tell(START_NS, 1, Outcome::Held);
        recorder.see(START_NS + SECOND_NS, &[RIGHT], &[(2, RIGHT)]);
        let done_ns = told.done_ns + 20 * SECOND_NS;
        recorder.write(&PickOutcome { r#type: "poly_bag".into(), done_ns, ..told });
        recorder.finish();
    }
}

fn mask_of(annotation: &Value) -> Mask {
    let counts = annotation["segmentation"]["counts"].as_str().unwrap();
    Mask::from_coco_string(WIDTH_PX, HEIGHT_PX, counts).unwrap()
}

#[test]
fn what_vanished_is_labelled_and_what_nobody_picked_is_ignored() {
    let desk = Desk::new();
    desk.record_a_pick("day.mcap", |_| ());
    let printed = desk.learn(&["day.mcap"]);
    assert!(printed.contains("1 picks, 1 labels in 1 pictures"), "{printed}");
    let coco = desk.json("annotations.json");
    let [label, crowd] = coco["annotations"].as_array().unwrap().as_slice() else {
        panic!("{coco}")
    };
    let iou = mask_of(label).iou(&LEFT.mask());
    assert!(iou > 0.97, "IoU {iou}");
    assert_eq!((&label["iscrowd"], &label["category_id"]), (&0.into(), &3.into()));
    assert_eq!(label["learned"]["type_source"], "station");
    assert_eq!(crowd["iscrowd"], 1);
    assert!(mask_of(crowd).iou(&RIGHT.mask()) > 0.99);
    let image = &coco["images"][0];
    assert_eq!(image["all_polygon"], false);
    let picture = desk.path("learned").join(image["file_name"].as_str().unwrap());
    let picture = magpie_camera::read_image(&picture).unwrap();
    assert!(picture == frame(1, START_NS, &[LEFT, RIGHT], true).color);
    let report = desk.json("report.json");
    let iou = report["median_iou_with_published"].as_f64().unwrap();
    assert!((iou - 0.6).abs() < 0.03, "18 of 30 columns were outlined: {iou}");
    assert_eq!(report["outcomes_replaced"], 1);
    assert!(desk.path("learned/look/0001.png").is_file());
    assert!(fs::read_to_string(desk.path("learned/page.html")).unwrap().contains("look/0001.png"));
    assert!(!desk.path("learned/grasp_quality.toml").exists(), "one outcome is no statistics");
    assert_eq!(report["labels"][0]["evidence"], "depth");

    let labels = desk.path("learned/annotations.json");
    succeed(&["eval", "--dataset", labels.to_str().unwrap()]);
}

#[test]
fn a_recording_without_depth_is_learned_from_by_colour() {
    let desk = Desk::new();
    desk.record_a_pick("day.mcap", |recorder| recorder.has_depth = false);
    desk.learn(&["day.mcap"]);
    assert_eq!(desk.json("report.json")["labels"][0]["evidence"], "color");
    let iou = mask_of(&desk.json("annotations.json")["annotations"][0]).iou(&LEFT.mask());
    assert!(iou > 0.9, "IoU {iou}");
}

#[test]
fn outcomes_results_and_pictures_may_lie_in_several_files_of_several_instances() {
    let desk = Desk::new();
    fs::create_dir(desk.path("ring")).unwrap();
    let mut first = Recorder::create(&desk.path("ring/1.mcap"));
    first.see(START_NS, &[LEFT, RIGHT], &[(1, LEFT), (2, RIGHT)]);
    let told = first.tell(START_NS, 1, Outcome::Held);
    first.finish();
    let mut second = Recorder::create(&desk.path("ring/2.mcap"));
    second.publication = 1;
    second.see(START_NS + SECOND_NS, &[RIGHT], &[(2, RIGHT)]);
    // A copy, as a ring that is kept leaves it.
    second.write(&told);
    second.finish();
    // Another start of the daemon counts tracks and publications from 1 again.
    desk.record_a_pick("ring/3.mcap", |recorder| recorder.instance = "fedcba".into());
    let printed = desk.learn(&["ring"]);
    assert!(printed.contains("2 picks, 2 labels in 2 pictures"), "{printed}");
    for label in desk.json("annotations.json")["annotations"].as_array().unwrap() {
        let right = if label["iscrowd"] == 0 { LEFT } else { RIGHT };
        assert!(mask_of(label).iou(&right.mask()) > 0.97);
    }
}

#[test]
fn double_picks_are_for_a_person_and_failed_ones_name_the_surface() {
    let desk = Desk::new();
    let mut recorder = Recorder::create(&desk.path("day.mcap"));
    let pair = [Block { x: [30, 48], ..LEFT }, Block { x: [52, 70], ..LEFT }];
    let both = Block { x: [30, 70], ..LEFT };
    recorder.see(START_NS, &pair, &[(1, both)]);
    recorder.tell(START_NS, 1, Outcome::Double);
    recorder.see(START_NS + SECOND_NS, &[RIGHT], &[(2, RIGHT)]);
    let missed = recorder.tell(START_NS + SECOND_NS, 2, Outcome::Missed);
    recorder.write(&PickOutcome { vacuum_pa: Some(1200.0), ..missed });
    recorder.see(START_NS + 2 * SECOND_NS, &[RIGHT], &[(2, RIGHT)]);
    recorder.tell(START_NS + 2 * SECOND_NS, 2, Outcome::NotTried);
    recorder.finish();
    let printed = desk.learn(&["day.mcap"]);
    assert!(printed.contains("merged outlines") && printed.contains("failed seals"), "{printed}");
    let merged = &desk.json("merged.json")[0];
    assert_eq!(merged["regions"].as_array().unwrap().len(), 2);
    assert!(desk.path("learned").join(merged["picture"].as_str().unwrap()).is_file());
    let seals = desk.json("failed_seals.json");
    assert_eq!(seals.as_array().unwrap().len(), 1, "what was not tried says nothing");
    assert_eq!(seals[0]["vacuum_pa"], 1200.0);
    assert_eq!(seals[0]["position_m"], serde_json::json!([0.1, 0.2, 0.3]));
    assert!(!desk.path("learned/annotations.json").exists(), "nothing was held");
}

#[test]
fn quality_is_fitted_from_enough_outcomes_and_shown() {
    let desk = Desk::new();
    let mut recorder = Recorder::create(&desk.path("day.mcap"));
    for at in 0..60 {
        let stamp_ns = START_NS + at * SECOND_NS;
        // Good seals hold in four cases of five, bad ones in one.
        let is_good = at % 2 == 0;
        recorder.see_with(stamp_ns, &[LEFT], &[(1, LEFT)], if is_good { 0.9 } else { 0.3 });
        let is_held = (at / 2 % 5 != 0) == is_good;
        recorder.tell(stamp_ns, 1, if is_held { Outcome::Held } else { Outcome::Missed });
    }
    recorder.finish();
    let printed = desk.learn(&["day.mcap"]);
    assert!(printed.contains("fitted to 60 grasps"), "{printed}");
    let file = fs::read_to_string(desk.path("learned/grasp_quality.toml")).unwrap();
    let file: toml::Table = file.parse().unwrap();
    assert_eq!((file["cell"].as_str(), file["held"].as_integer()), (Some("dock-7"), Some(30)));
    let probability = |quality: f64| {
        let weight = file["weight"]["product"].as_float().unwrap();
        let odds = file["intercept"].as_float().unwrap() + weight * quality.ln();
        1.0 / (1.0 + (-odds).exp())
    };
    assert!((probability(0.9) - 0.8).abs() < 0.03 && (probability(0.3) - 0.2).abs() < 0.03);
    let plot = fs::read_to_string(desk.path("learned/grasp_quality.svg")).unwrap();
    assert!(plot.starts_with("<svg") && plot.contains("dock-7"));
}

#[test]
fn what_teaches_nothing_is_refused_by_its_reason() {
    let desk = Desk::new();
    let out = desk.arg("out");
    let learn = |name: &str| ["learn".to_owned(), desk.arg(name), "--out".to_owned(), out.clone()];
    let refused = |name: &str, parts: &[&str]| {
        let arguments = learn(name);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        check_refused(&arguments, 1, parts);
        let _ = fs::remove_dir_all(&out);
    };
    let mut silent = Recorder::create(&desk.path("silent.mcap"));
    silent.see(START_NS, &[LEFT], &[(1, LEFT)]);
    silent.finish();
    refused("silent.mcap", &["silent.mcap", "no outcome of a pick", "report_outcome"]);
    fs::write(desk.path("notes.mcap"), "no recording").unwrap();
    refused("notes.mcap", &["notes.mcap", "not an MCAP file"]);
    refused("nowhere.mcap", &["nowhere.mcap"]);
    fs::create_dir(desk.path("bare")).unwrap();
    refused("bare", &["no recording", "bare"]);

    let mut strange = Recorder::create(&desk.path("strange.mcap"));
    strange.see(START_NS, &[LEFT], &[(1, LEFT)]);
    let told = strange.tell(START_NS, 9, Outcome::Held);
    strange.write(&PickOutcome { instance_id: "fedcba".into(), track_id: 1, ..told.clone() });
    strange.write(&PickOutcome { publication: 77, track_id: 1, ..told.clone() });
    strange.write(&PickOutcome { stamp_ns: START_NS + 1, track_id: 1, ..told.clone() });
    strange.finish();
    let arguments = learn("strange.mcap");
    let output = magpie(&arguments.each_ref().map(String::as_str));
    assert_eq!(output.status.code(), Some(1));
    let printed = text(&output.stdout);
    for reason in ["no such track", "another stamp", "not in the recordings"] {
        assert!(printed.contains(reason), "{reason}: {printed}");
    }
    assert!(text(&output.stderr).contains("4 picks taught nothing"), "{}", text(&output.stderr));
    check_refused(&arguments.each_ref().map(String::as_str), 1, &["not empty"]);
}

#[test]
fn a_cut_recording_teaches_what_is_left_of_it() {
    let desk = Desk::new();
    let mut recorder = Recorder::create(&desk.path("whole.mcap"));
    for (number, track_id) in (0..40).zip(1..) {
        let stamp_ns = START_NS + number * 2 * SECOND_NS;
        recorder.see(stamp_ns, &[LEFT], &[(track_id, LEFT)]);
        recorder.tell(stamp_ns, track_id, Outcome::Held);
        recorder.see(stamp_ns + SECOND_NS, &[], &[]);
    }
    recorder.finish();
    let whole = fs::read(desk.path("whole.mcap")).unwrap();
    fs::write(desk.path("cut.mcap"), &whole[..whole.len() / 2]).unwrap();
    desk.learn(&["cut.mcap"]);
    let labels = desk.json("report.json")["labels_made"].as_u64().unwrap();
    assert!((10..30).contains(&labels), "{labels} labels of half a file of 40");
}

/// What the simulator knows of a package that was held.
struct Held {
    stamp_ns: u64,
    track_id: u64,
    mask: Mask,
    published: Mask,
}

/// An arm that empties heaps, picture by picture; the pictures with and without their depth.
fn record_a_simulated_shift(recordings: [&Path; 2], seed: u64, picks: usize) -> Vec<Held> {
    let config = Config::load(None).unwrap();
    let model = model::chosen(None, &config).unwrap();
    let mut session = model::load(&model, &config.session).unwrap();
    let limits = config.limits(model.spec().score_min);
    let mut cell = PickingCell::new(Recipe::default(), seed).unwrap();
    let base_from_camera = cell.base_from_camera();
    let camera_from_base = base_from_camera.inverse();
    let normal = Unit::new_normalize(camera_from_base * Vector3::z());
    let scene = Scene {
        camera_info: cell.camera_info().clone(),
        camera_place: Some(CameraPlace::InBase(base_from_camera)),
        support_plane_in_camera: Some(Plane {
            normal,
            offset_m: normal.dot(&camera_from_base.translation.vector),
        }),
        tool: config.tool.clone(),
        calibration_id: "simulated".into(),
    };
    let identities = identities(&config, Some(&scene), &session);
    let info = RecordingInfo { scene: Some(scene.clone()), ..RecordingInfo::default() };
    let mut writers = recordings
        .map(|path| FrameWriter::create(path, info.clone(), WriteOptions::default()).unwrap());
    let mut pipeline = Pipeline::new(session.spec().clone());
    let clock = SystemClock::start();
    let (mut held, mut failed, mut tried) = (Vec::new(), BTreeSet::new(), 0);
    for publication in 1.. {
        let stamp_ns = START_NS + publication * SECOND_NS / 2;
        let mut simulated = cell.sight().expose_with_truth();
        let frame = &mut simulated.frame;
        (frame.sequence, frame.stamp) = (publication, StampNs(stamp_ns));
        let processed =
            pipeline.process(frame, &mut session, clock.as_ref(), Some(&scene), &limits);
        let (packages, latencies) = processed.unwrap();
        let report = FrameReport { packages, latencies, counters: Counters::default().snapshot() };
        let envelope = Envelope {
            cell: "simulated",
            instance_id: INSTANCE,
            publication,
            published: StampNs(stamp_ns),
            unix_ahead_ns: 0,
            state: wire::State::Ok,
            results_superseded: 0,
        };
        let message = wire::to_wire(&report, &identities, &envelope);
        let class_names = &identities.class_names;
        let results = Results { message: &message, packages: &report.packages, class_names };
        let bare = Frame { depth: None, ..simulated.frame.clone() };
        for (writer, frame) in writers.iter_mut().zip([&simulated.frame, &bare]) {
            writer.write_processed(frame, &results).unwrap();
        }
        // The last picture shows what the last pick left.
        if tried == picks {
            break;
        }
        let choice = report.packages.packages.iter().find_map(|package| {
            let is_given_up = failed.contains(&package.track_id);
            Some((package, package.best_grasp().filter(|_| !is_given_up)?))
        });
        let Some((package, grasp)) = choice else {
            cell.refill();
            failed.clear();
            continue;
        };
        tried += 1;
        let picked = cell.pick(&scene.tool, grasp.cups, &grasp.reference_from_grasp).unwrap();
        let (outcome, read) = match &picked {
            Picked::Held(package_type) => (Outcome::Held, package_type.name()),
            _ => (Outcome::Missed, ""),
        };
        let [x, y] = grasp.contact_px.map(|value| value as u32);
        match (&picked, simulated.truth.packages.iter().find(|one| one.mask.contains(x, y))) {
            (Picked::Held(_), Some(truth)) => held.push(Held {
                stamp_ns,
                track_id: package.track_id,
                mask: truth.mask.clone(),
                published: package.instance.mask.clone(),
            }),
            _ => drop(failed.insert(package.track_id)),
        }
        let told = PickOutcome {
            schema_version: 1,
            cell: "simulated".into(),
            instance_id: INSTANCE.into(),
            publication,
            stamp_ns,
            track_id: package.track_id,
            outcome: outcome.into(),
            done_ns: stamp_ns + SECOND_NS / 4,
            r#type: read.into(),
            ..PickOutcome::default()
        };
        for writer in &mut writers {
            writer.write_outcome(StampNs(told.done_ns), &told).unwrap();
        }
    }
    writers.into_iter().for_each(|writer| writer.finish().unwrap());
    held
}

fn median(values: &mut [f32]) -> f32 {
    values.sort_by(f32::total_cmp);
    values[values.len() / 2]
}

/// `PICKS=150 cargo test -p magpie --test program learned_outlines -- --nocapture` measures more.
#[test]
fn learned_outlines_are_those_of_the_simulators_truth() {
    let picks = std::env::var("PICKS").map_or(10, |picks| picks.parse().unwrap());
    let desk = Desk::new();
    let recordings = [desk.path("depth.mcap"), desk.path("color.mcap")];
    let held = record_a_simulated_shift(recordings.each_ref().map(PathBuf::as_path), 7, picks);
    for (name, iou_min, share_min) in [("depth.mcap", 0.9, 0.5), ("color.mcap", 0.75, 0.25)] {
        let _ = fs::remove_dir_all(desk.path("learned"));
        let printed = desk.learn(&[name]);
        let coco = desk.json("annotations.json");
        let (mut learned, mut published, mut types) = (Vec::new(), Vec::new(), 0);
        for label in
            coco["annotations"].as_array().unwrap().iter().filter(|one| one["iscrowd"] == 0)
        {
            let image = &coco["images"][label["image_id"].as_u64().unwrap() as usize - 1];
            let track_id = label["learned"]["track_id"].as_u64().unwrap();
            let is_it = |one: &&Held| {
                one.track_id == track_id
                    && image["file_name"].as_str().unwrap().contains(&one.stamp_ns.to_string())
            };
            let truth = held.iter().find(is_it).unwrap();
            let counts = label["segmentation"]["counts"].as_str().unwrap();
            let (width_px, height_px) = (truth.mask.width_px(), truth.mask.height_px());
            let mask = Mask::from_coco_string(width_px, height_px, counts).unwrap();
            learned.push(mask.iou(&truth.mask));
            published.push(truth.published.iou(&truth.mask));
            types += usize::from(label["learned"]["type_source"] == "station");
        }
        let (labels, of) = (learned.len(), held.len());
        let good = learned.iter().filter(|iou| **iou >= 0.8).count();
        let (iou, said) = (median(&mut learned), median(&mut published));
        println!(
            "{printed}\n{name}: {labels} labels of {of} held packages; median IoU with the truth {iou:.3}, of \
             the model's outlines {said:.3}; worst {:.3}; {good} labels from 0.8 on",
            learned[0]
        );
        assert_eq!(types, labels);
        assert!(iou > iou_min, "{name}: {iou}");
        assert!(labels as f64 > share_min * of as f64, "{name}: {labels} of {of}");
    }
}

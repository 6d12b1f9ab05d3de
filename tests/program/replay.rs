//! Recordings through the program: the same bytes twice, differences told, bad files refused.

use std::path::{Path, PathBuf};

use magpie_daemon::source::DEMO_RECORDING;
use magpie_network::SystemClock;
use magpie_perception::{Frame, FrameSource, Scene, StampNs};
use magpie_recording::{
    ColorCoding, FrameReader, FrameWriter, MessageReader, Playback, RecordingInfo, Results,
    WriteOptions,
};
use magpie_wire as wire;
use tempfile::TempDir;

use super::{check_refused, magpie, succeed, text};

const FRAMES: usize = 3;

/// The first frames of the demo, as a recording of their own.
struct Belt {
    folder: TempDir,
}

impl Belt {
    fn new() -> Belt {
        Belt::of(FRAMES, |scene| scene)
    }

    fn of(frames: usize, change: impl FnOnce(Option<Scene>) -> Option<Scene>) -> Belt {
        let belt = Belt { folder: tempfile::tempdir().unwrap() };
        let mut demo =
            FrameReader::from_bytes("demo", DEMO_RECORDING, Playback::default()).unwrap();
        let info = RecordingInfo { scene: change(demo.scene().cloned()), ..Default::default() };
        let path = belt.folder.path().join("belt.mcap");
        // A chunk for each frame.
        let options = WriteOptions { chunk_ns_max: 1, ..Default::default() };
        let mut writer = FrameWriter::create(&path, info, options).unwrap();
        for _ in 0..frames {
            writer.write(&demo.next_frame().unwrap().unwrap()).unwrap();
        }
        writer.finish().unwrap();
        belt
    }

    /// Frames at this interval whose sequences are `step` apart, as a run leaves them that left out
    /// the rest.
    fn spaced(frames: u64, step: u64, interval_ns: u64) -> Belt {
        let belt = Belt { folder: tempfile::tempdir().unwrap() };
        let mut demo =
            FrameReader::from_bytes("demo", DEMO_RECORDING, Playback::default()).unwrap();
        let info = RecordingInfo { scene: demo.scene().cloned(), ..Default::default() };
        let mut writer =
            FrameWriter::create(&belt.path("belt.mcap"), info, WriteOptions::default()).unwrap();
        for at in 0..frames {
            let frame = demo.next_frame().unwrap().unwrap();
            let stamp = StampNs(1_700_000_000_000_000_000 + at * interval_ns);
            writer.write(&Frame { sequence: at * step, stamp, ..frame }).unwrap();
        }
        writer.finish().unwrap();
        belt
    }

    /// A configuration that finds no frame too old.
    fn patient(&self) -> String {
        let keys = "[limits]\nframe_age_ms_max = 60000\n";
        std::fs::write(self.path("patient.toml"), keys).unwrap();
        self.arg("patient.toml")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Frames and results: what `magpie record` would have made of them.
    fn replayed(&self, name: &str) -> String {
        let out = self.arg(name);
        succeed(&["replay", &self.arg("belt.mcap"), "--out", &out]);
        out
    }
}

fn results(path: &Path) -> Vec<wire::Packages> {
    let mut reader = MessageReader::packages(path).unwrap();
    std::iter::from_fn(|| reader.next_message().unwrap()).map(|recorded| recorded.message).collect()
}

#[test]
fn a_replay_does_not_write_over_its_recording() {
    let belt = Belt::new();
    let recording = belt.arg("belt.mcap");
    let before = std::fs::read(belt.path("belt.mcap")).unwrap();
    check_refused(&["replay", &recording, "--json", &recording], 78, &["written over"]);
    assert_eq!(std::fs::read(belt.path("belt.mcap")).unwrap(), before);
}

#[test]
fn two_replays_give_the_same_bytes_and_so_does_a_replay_of_a_replay() {
    let belt = Belt::new();
    let json = |name: &str| std::fs::read(belt.path(name)).unwrap();
    for name in ["a", "b"] {
        let [out, json] = ["mcap", "json"].map(|kind| belt.arg(&format!("{name}.{kind}")));
        succeed(&["replay", &belt.arg("belt.mcap"), "--out", &out, "--json", &json]);
    }
    succeed(&["replay", &belt.arg("a.mcap"), "--out", &belt.arg("c.mcap")]);
    let first = json("a.mcap");
    assert!(first == json("b.mcap"), "the second replay differs");
    assert!(first == json("c.mcap"), "the replay of a replay differs");
    assert!(json("a.json") == json("b.json"), "the JSON lines differ");
    assert_eq!(text(&json("a.json")).lines().count(), FRAMES);

    let results = results(&belt.path("a.mcap"));
    assert_eq!(results.len(), FRAMES);
    let packages: usize = results.iter().map(|result| result.packages.len()).sum();
    assert!(packages > 0, "nothing was found, so nothing was compared");
    for result in &results {
        assert_eq!(result.valid_until_ns, result.stamp_ns + 500_000_000);
        assert_eq!(result.latencies.unwrap().total_ns, 0, "a standing clock sees no latency");
    }
}

#[test]
fn a_replay_names_the_base_as_the_recording_does() {
    let belt = Belt::new();
    let mut reader = FrameReader::open(&belt.path("belt.mcap"), Playback::default()).unwrap();
    let info = RecordingInfo { base_frame_id: "cell_3_base".into(), ..reader.info().clone() };
    let named = belt.path("named.mcap");
    let mut writer = FrameWriter::create(&named, info, WriteOptions::default()).unwrap();
    while let Some(frame) = reader.next_frame().unwrap() {
        writer.write(&frame).unwrap();
    }
    writer.finish().unwrap();
    let out = belt.path("replayed.mcap");
    succeed(&["replay", named.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let results = results(&out);
    assert_eq!(results.len(), FRAMES);
    assert!(results.iter().all(|result| result.frame_id == "cell_3_base"));
    let replayed = FrameReader::open(&out, Playback::default()).unwrap();
    assert_eq!(replayed.info().base_frame_id, "cell_3_base");
}

#[test]
fn results_that_are_the_recorded_ones_pass_and_others_are_told_package_by_package() {
    let belt = Belt::new();
    let recorded = belt.replayed("recorded.mcap");
    let output = succeed(&["replay", &recorded, "--compare"]);
    let lines = text(&output.stdout);
    assert!(lines.contains(&format!("{FRAMES} frames compared")), "{lines}");
    assert!(lines.contains(" 0 differ"), "{lines}");

    let strict = belt.path("strict.toml");
    std::fs::write(&strict, "[detection]\nscore_min = 0.999\n").unwrap();
    let strict = strict.to_str().unwrap();
    let arguments = ["replay", &recorded, "--compare", "--config", strict];
    check_refused(&arguments, 1, &["differ from those recorded", "recorded.mcap"]);
    let output = magpie(&arguments);
    assert!(text(&output.stdout).contains("is no longer found"), "{}", text(&output.stdout));
    let warning = "was recorded with score_min";
    assert!(text(&output.stderr).contains(warning), "{}", text(&output.stderr));
}

#[test]
fn other_limits_of_the_planner_are_told() {
    let belt = Belt::new();
    let recorded = belt.replayed("recorded.mcap");
    let picky = "[grasps]\nquality_min = 0.9\n[belt]\nvelocity_m_s = [0.3, 0.0, 0.0]\n";
    std::fs::write(belt.path("picky.toml"), picky).unwrap();
    let output = magpie(&["replay", &recorded, "--config", &belt.arg("picky.toml")]);
    let said = text(&output.stderr);
    assert!(said.contains("was recorded with grasps_quality_min = 0.3, now it is 0.9"), "{said}");
    assert!(said.contains("was recorded with belt = measured"), "{said}");
}

#[test]
fn a_comparison_of_hardly_any_frame_is_refused() {
    // All due at once: only the first and the last are replayed at the recorded pace.
    let belt = Belt::spaced(9, 1, 1_000_000);
    let recorded = belt.replayed("recorded.mcap");
    let patient = belt.patient();
    let arguments = ["replay", &recorded, "--as-recorded", "--compare", "--config", &patient];
    check_refused(&arguments, 1, &["of 9 frames were compared", "--uncompared-share-max"]);
}

/// As standard tools write a file anew that keep nothing but messages.
fn written_anew(path: &Path, to: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let mut writer = mcap::Writer::new(std::fs::File::create(to).unwrap()).unwrap();
    for message in mcap::MessageStream::new(&bytes).unwrap() {
        let mut message = message.unwrap();
        let mut channel = (*message.channel).clone();
        channel.metadata.clear();
        message.channel = std::sync::Arc::new(channel);
        writer.write(&message).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn results_are_compared_with_those_of_the_same_stamp_where_frames_between_are_missing() {
    let belt = Belt::spaced(3, 3, 100_000_000);
    belt.replayed("recorded.mcap");
    written_anew(&belt.path("recorded.mcap"), &belt.path("anew.mcap"));
    let output = magpie(&["replay", &belt.arg("anew.mcap"), "--compare"]);
    let lines = text(&output.stdout);
    assert!(lines.contains("3 frames compared"), "{lines}");
    for part in ["without a recorded result", "not replayed"] {
        assert!(!lines.contains(part), "{lines}");
    }
}

#[test]
fn a_comparison_with_a_lossy_recording_says_so() {
    let belt = Belt::new();
    let recorded = belt.replayed("recorded.mcap");
    let mut reader = FrameReader::open(Path::new(&recorded), Playback::default()).unwrap();
    let color = ColorCoding::Jpeg { quality: 95 };
    let options = WriteOptions { color, ..WriteOptions::default() };
    let lossy = belt.path("lossy.mcap");
    let mut writer = FrameWriter::create(&lossy, reader.info().clone(), options).unwrap();
    let mut results = MessageReader::packages(Path::new(&recorded)).unwrap();
    while let Some(frame) = reader.next_frame().unwrap() {
        let result = results.next_message().unwrap().unwrap();
        write_result(&mut writer, &frame, &result.message);
    }
    writer.finish().unwrap();
    let output = magpie(&["replay", lossy.to_str().unwrap(), "--compare"]);
    assert!(text(&output.stderr).contains("jpeg, quality 95"), "{}", text(&output.stderr));
}

#[test]
fn as_recorded_frames_come_at_their_pace_and_what_is_replayed_is_the_same() {
    // Far enough apart that a busy machine is done with each frame before the next is due.
    const INTERVAL_NS: u64 = 1_500_000_000;
    let belt = Belt::spaced(3, 3, INTERVAL_NS);
    let recorded = belt.replayed("recorded.mcap");
    let (out, patient) = (belt.arg("again.mcap"), belt.patient());
    let clock = SystemClock::start();
    let asked = clock.now();
    let arguments = ["--as-recorded", "--compare", "--out", &out, "--config", &patient];
    let output = succeed(&[&["replay", &recorded], &arguments[..]].concat());
    let took_ns = clock.now().since_ns(asked);
    assert!(took_ns >= 2 * INTERVAL_NS, "three frames took {took_ns} ns: not paced");
    let lines = text(&output.stdout);
    // 1, 2, 4 and 5 were left out by the recorded run.
    assert!(lines.contains("3 frames were replayed; 4 between them are missing"), "{lines}");
    assert!(lines.contains("3 frames compared") && lines.contains(": 0 differ"), "{lines}");
    let before = results(&belt.path("recorded.mcap"));
    let now = results(&belt.path("again.mcap"));
    assert_eq!((before.len(), now.len()), (3, 3));
    for (before, now) in before.iter().zip(&now) {
        assert_eq!((now.sequence, now.stamp_ns), (before.sequence, before.stamp_ns));
        // 0 where the clock stands still, or where a frame is handed out before it is due.
        let total_ns = now.latencies.unwrap().total_ns;
        assert!(total_ns > 0 && total_ns < INTERVAL_NS, "{total_ns}");
    }
}

#[test]
fn as_recorded_what_comes_while_the_pipeline_is_busy_is_left_out_and_counted() {
    // All due 8 ms after the first, before any model is done with it.
    let belt = Belt::spaced(9, 1, 1_000_000);
    let (out, patient) = (belt.arg("out.mcap"), belt.patient());
    let arguments = ["--as-recorded", "--out", &out, "--config", &patient];
    let output = succeed(&[&["replay", &belt.arg("belt.mcap")], &arguments[..]].concat());
    let replayed: Vec<u64> = results(&belt.path("out.mcap")).iter().map(|r| r.sequence).collect();
    assert!(replayed.len() < 9 && replayed.last() == Some(&8), "{replayed:?}");
    let left_out: u64 = replayed.windows(2).map(|pair| pair[1] - pair[0] - 1).sum();
    let told =
        format!("{} frames were replayed; {left_out} between them are missing", replayed.len());
    assert!(text(&output.stdout).contains(&told), "{told}: {}", text(&output.stdout));
}

#[test]
fn two_replays_of_many_packages_give_the_same_bytes() {
    let belt = Belt::new();
    let many = belt.arg("many.toml");
    let keys = "[detection]\nscore_min = 0.01\niou_max = 1.0\npackages_max = 60\n";
    std::fs::write(&many, keys).unwrap();
    for out in ["a.mcap", "b.mcap"] {
        let out = belt.arg(out);
        succeed(&["replay", &belt.arg("belt.mcap"), "--config", &many, "--out", &out]);
    }
    let least = results(&belt.path("a.mcap")).iter().map(|r| r.packages.len()).min();
    assert!(least >= Some(8), "{least:?}: too few to be shared among threads");
    let bytes = |name: &str| std::fs::read(belt.path(name)).unwrap();
    assert!(bytes("a.mcap") == bytes("b.mcap"), "the second replay differs");
}

#[test]
fn what_is_doubtful_about_depth_is_told_at_the_end() {
    let told = |belt: &Belt, unit: &[&str]| {
        let recording = belt.arg("belt.mcap");
        let replayed = succeed(&[&["replay", &recording][..], unit].concat());
        text(&replayed.stderr)
    };
    let belt = Belt::new();
    let quiet = told(&belt, &[]);
    assert!(!quiet.contains("of 3 frames"), "{quiet}");
    // Five times as far away, as in TUM's data sets.
    let far = ["--depth-unit-m", "0.005"];
    let doubts = told(&belt, &far);
    for part in ["times the distance of the support plane", "(in 3 of 3 frames; --depth-unit-m"] {
        assert!(doubts.contains(part), "{part:?} is not in {doubts}");
    }
    let without_plane =
        |scene: Option<Scene>| scene.map(|scene| Scene { support_plane_in_camera: None, ..scene });
    let belt = Belt::of(FRAMES, without_plane);
    let quiet = told(&belt, &[]);
    assert!(!quiet.contains("of 3 frames"), "{quiet}");
    let doubts = told(&belt, &far);
    for part in ["at the median; is the unit of depth right?", "(in 3 of 3 frames"] {
        assert!(doubts.contains(part), "{part:?} is not in {doubts}");
    }
}

#[test]
fn a_reader_that_goes_away_changes_neither_the_verdict_nor_the_recording() {
    let belt = Belt::new();
    let recorded = belt.replayed("recorded.mcap");
    std::fs::write(belt.path("strict.toml"), "[detection]\nscore_min = 0.999\n").unwrap();
    let (strict, out) = (belt.arg("strict.toml"), belt.arg("out.mcap"));
    let mut child = super::program()
        .args(["replay", &recorded, "--compare", "--config", &strict, "--out", &out])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let mut reader = FrameReader::open(&belt.path("out.mcap"), Playback::default()).unwrap();
    assert_eq!(std::iter::from_fn(|| reader.next_frame().unwrap()).count(), FRAMES);
    assert!(reader.losses().is_none(), "{}", reader.losses());
}

#[test]
fn frames_without_results_cannot_be_compared_and_without_calibration_have_no_grasps() {
    let belt = Belt::of(1, |_| None);
    let bare = belt.arg("belt.mcap");
    check_refused(&["replay", &bare, "--compare"], 78, &["no results", "magpie record"]);
    let output = succeed(&["replay", &bare, "--out", &belt.arg("out.mcap")]);
    let warning = "has no calibration: masks and boxes are found, grasps are not";
    assert!(text(&output.stderr).contains(warning), "{}", text(&output.stderr));
    let results = results(&belt.path("out.mcap"));
    assert!(results.iter().flat_map(|r| &r.packages).all(|p| p.grasps.is_empty()));
}

#[test]
fn a_cut_recording_is_replayed_as_far_as_it_goes_and_says_what_is_lost() {
    // More than a second, so more than one chunk.
    let belt = Belt::of(9, |scene| scene);
    let recorded = belt.replayed("recorded.mcap");
    let bytes = std::fs::read(&recorded).unwrap();
    let cut = belt.path("cut.mcap");
    std::fs::write(&cut, &bytes[..bytes.len() * 3 / 4]).unwrap();
    let output = succeed(&["replay", cut.to_str().unwrap(), "--compare"]);
    let (lines, warnings) = (text(&output.stdout), text(&output.stderr));
    assert!(lines.contains(" frames compared") && lines.contains(" 0 differ"), "{lines}");
    assert!(!lines.contains("9 frames compared"), "{lines}");
    assert!(warnings.contains("was not finished"), "{warnings}");

    std::fs::write(&cut, &bytes[..300]).unwrap();
    let nothing = ["replay", cut.to_str().unwrap()];
    let output = magpie(&nothing);
    assert!(matches!(output.status.code(), Some(1 | 78)), "{}", text(&output.stderr));
}

#[test]
fn files_that_are_no_recordings_of_ours_are_refused_with_78() {
    let belt = Belt::new();
    check_refused(&["replay", "/nowhere.mcap"], 78, &["/nowhere.mcap"]);

    let foreign = belt.path("foreign.mcap");
    std::fs::write(&foreign, "no recording at all").unwrap();
    check_refused(&["replay", foreign.to_str().unwrap()], 78, &["not an MCAP file"]);

    // The version stands in the file as text.
    let bytes = std::fs::read(belt.path("belt.mcap")).unwrap();
    let key = b"schema_version\x01\0\0\x001";
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap();
    let mut newer = bytes;
    newer[at + key.len() - 1] = b'9';
    std::fs::write(&foreign, newer).unwrap();
    check_refused(&["replay", foreign.to_str().unwrap()], 78, &["schema 9", "update Magpie"]);
}

#[test]
fn results_of_a_newer_schema_are_refused() {
    let belt = Belt::new();
    let with_result = |name: &str, message: &wire::Packages| {
        let path = belt.path(name);
        let mut reader = FrameReader::open(&belt.path("belt.mcap"), Playback::default()).unwrap();
        let mut writer =
            FrameWriter::create(&path, reader.info().clone(), WriteOptions::default()).unwrap();
        let frame = reader.next_frame().unwrap().unwrap();
        write_result(&mut writer, &frame, message);
        writer.finish().unwrap();
        path.display().to_string()
    };
    let newer = wire::Packages { schema_version: 7, ..Default::default() };
    let newer = with_result("newer.mcap", &newer);
    check_refused(&["replay", &newer, "--compare"], 78, &["schema 7", "update Magpie"]);
}

/// Writes a result beside a frame, with nothing for viewers to draw.
fn write_result(writer: &mut FrameWriter, frame: &Frame, message: &wire::Packages) {
    let packages = magpie_perception::Packages {
        sequence: frame.sequence,
        stamp: frame.stamp,
        stamp_source: frame.stamp_source,
        image_width_px: 640,
        image_height_px: 480,
        reference_frame: magpie_perception::ReferenceFrame::Base,
        valid_until: frame.stamp,
        packages: Vec::new(),
        velocity: None,
        depth_problem: None,
    };
    let results = Results { message, packages: &packages, class_names: &[] };
    writer.write_processed(frame, &results).unwrap();
}

//! Recordings of the running daemon: complete or loud, bounded, and never in its way.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use magpie_client::wire::State;
use magpie_client::{CellName, WatchEvent, WatchOptions, Watcher, ZenohConfig, wire};
use magpie_daemon::source::DEMO_RECORDING;
use magpie_perception::{Frame, FrameSource, StampNs};
use magpie_recording::{FrameReader, FrameWriter, MessageReader, Playback, WriteOptions};
use prost::Message;
use tempfile::TempDir;

use super::{free_endpoint, program, root, succeed, text, write_zenoh_config};

/// A cell on a port of its own, playing the demo.
struct Cell {
    folder: TempDir,
    endpoint: String,
}

impl Cell {
    fn new(more: &str) -> Cell {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = free_endpoint();
        write_zenoh_config(folder.path(), &endpoint);
        let config = format!(
            "[limits]\nframe_age_ms_max = 60000\nresult_valid_ms = 5000\n\
             [zenoh]\nconfig = \"zenoh.json5\"\n[model]\nspinning = false\n{more}"
        );
        std::fs::write(folder.path().join("magpie.toml"), config).unwrap();
        Cell { folder, endpoint }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn record(&self, arguments: &[&str]) -> Output {
        let (config, out) = (self.arg("magpie.toml"), self.arg("cell.mcap"));
        let record = ["record", "--config", &config, "--out", &out];
        program().args(record).args(arguments).output().unwrap()
    }

    /// The program with a limit on the size of any file it writes, which stands for a full disk.
    fn start_with_file_limit(&self, kilobytes: u32, arguments: &str) -> Daemon {
        let program = env!("CARGO_BIN_EXE_magpie");
        let config = self.arg("magpie.toml");
        let script = format!("ulimit -f {kilobytes}; exec {program} {arguments} --config {config}");
        let mut command = Command::new("bash");
        command.args(["-c", &script]).env("RUST_LOG", "info").stderr(Stdio::piped());
        Daemon { child: command.spawn().unwrap() }
    }
}

/// Asked to stop when it is dropped.
struct Daemon {
    child: Child,
}

impl Daemon {
    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// What it said until it ended.
    fn wait(mut self) -> (Option<i32>, String) {
        let mut stderr = self.child.stderr.take().unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut stderr, &mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn messages<T: Message + Default>(path: &Path, topic: &str) -> Vec<T> {
    let mut reader = MessageReader::open(path, topic).unwrap();
    std::iter::from_fn(|| reader.next_message().unwrap()).map(|recorded| recorded.message).collect()
}

fn sequences(path: &Path) -> (Vec<u64>, FrameReader) {
    let mut reader = FrameReader::open(path, Playback::default()).unwrap();
    let sequences =
        std::iter::from_fn(|| reader.next_frame().unwrap()).map(|frame| frame.sequence).collect();
    (sequences, reader)
}

#[test]
fn a_recording_holds_frames_results_status_and_what_made_them_and_replays_as_it_was() {
    let cell = Cell::new("");
    let output = cell.record(&["--frames", "5"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let path = cell.path("cell.mcap");
    let (frames, mut reader) = sequences(&path);
    assert_eq!(frames.len(), 5);
    let results: Vec<wire::Packages> = messages(&path, "/magpie/packages");
    assert_eq!(results.iter().map(|result| result.sequence).collect::<Vec<_>>(), frames);
    let packages: usize = results.iter().map(|result| result.packages.len()).sum();
    assert!(packages > 0, "nothing was found");
    for result in &results {
        assert!(result.latencies.unwrap().total_ns > 0);
        assert_eq!(result.cell, "demo");
    }
    // Every processed frame is in it, or its absence is.
    let processed = results[4].counters.unwrap().results_published;
    assert_eq!(5 + reader.losses().frames_unrecorded, processed, "{}", reader.losses());

    let statuses: Vec<wire::Status> = messages(&path, "/magpie/status");
    assert!(statuses.iter().any(|status| status.state() == State::Ok), "{statuses:?}");
    assert_eq!(reader.info().identity["model_sha256"], results[0].model.as_ref().unwrap().sha256);
    assert_eq!(reader.info().identity["provider"], "cpu");
    assert!(reader.scene().is_some());
    let config = reader.attachment("magpie.toml").unwrap().unwrap();
    assert!(text(&config).contains("spinning = false"));

    succeed(&["replay", "--compare", path.to_str().unwrap()]);
}

#[test]
fn a_recording_ends_at_its_limit_and_refuses_a_name_that_is_taken() {
    let cell = Cell::new("");
    let output = cell.record(&["--size-mb-max", "1"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let bytes = std::fs::metadata(cell.path("cell.mcap")).unwrap().len();
    // A chunk holds 4 MiB at most.
    assert!((1_000_000..6_000_000).contains(&bytes), "{bytes}");
    let output = cell.record(&["--size-mb-max", "1"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("is there already"), "{}", text(&output.stderr));
    assert_eq!(std::fs::metadata(cell.path("cell.mcap")).unwrap().len(), bytes);
}

#[test]
fn a_full_disk_ends_a_recording_with_one_error_and_what_was_written_can_be_read() {
    let cell = Cell::new("");
    let out = cell.arg("cell.mcap");
    let (code, said) = cell.start_with_file_limit(4000, &format!("record --out {out}")).wait();
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said.matches("ERROR write recording").count(), 1, "{said}");
    assert!(!said.contains("ERROR recording stopped"), "told twice: {said}");
    let (frames, reader) = sequences(&cell.path("cell.mcap"));
    assert!(!frames.is_empty() && reader.losses().unfinished, "{frames:?} {}", reader.losses());
}

/// Eight frames of the demo, more than a second apart: time enough to join.
fn slow_demo(path: &Path) {
    let mut demo = FrameReader::from_bytes("demo", DEMO_RECORDING, Playback::default()).unwrap();
    let info = demo.info().clone();
    let mut writer = FrameWriter::create(path, info, WriteOptions::default()).unwrap();
    for i in 0..8 {
        let frame = demo.next_frame().unwrap().unwrap();
        let stamp = StampNs(1_700_000_000_000_000_000 + i * 1_500_000_000);
        writer.write(&Frame { stamp, ..frame }).unwrap();
    }
    writer.finish().unwrap();
}

/// Watches the cell's daemon, as soon as there is one.
async fn watcher(cell: &Cell) -> Watcher {
    let connect = ZenohConfig::Connect(vec![cell.endpoint.clone()]);
    let name = CellName::new("demo").unwrap();
    for _ in 0..600 {
        if let Ok(watcher) = Watcher::open(name.clone(), &connect, WatchOptions::default()) {
            return watcher;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no daemon within a minute");
}

async fn result(watcher: &mut Watcher) -> wire::Packages {
    let result = event(watcher, |event| match event {
        WatchEvent::Packages(message) => Some(message),
        _ => None,
    });
    *result.await
}

/// Within a minute, while the daemon runs; else what it said.
#[track_caller]
fn until(daemon: &mut Child, what: impl Fn() -> bool) {
    for _ in 0..600 {
        std::thread::sleep(Duration::from_millis(100));
        if what() {
            return;
        }
        if daemon.try_wait().unwrap().is_some() {
            break;
        }
    }
    let _ = daemon.kill();
    let mut said = String::new();
    if let Some(mut stderr) = daemon.stderr.take() {
        stderr.read_to_string(&mut said).unwrap();
    }
    panic!("not within a minute, or the daemon ended: {:?}, {said}", daemon.wait());
}

/// The first event that `choose` likes, within two minutes.
async fn event<T>(watcher: &mut Watcher, choose: impl Fn(WatchEvent) -> Option<T>) -> T {
    let chosen = async {
        loop {
            if let Some(chosen) = choose(watcher.next().await) {
                return chosen;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), chosen).await.expect("no such event")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_degrades_the_daemon_which_goes_on_publishing_and_recording() {
    let cell = Cell::new("[recording]\nfolder = \"ring\"\n");
    let daemon = cell.start_with_file_limit(2000, "run");
    let mut watcher = watcher(&cell).await;
    let reasons = event(&mut watcher, |event| match event {
        WatchEvent::Status(status) if status.state() == State::Degraded => {
            status.reasons.iter().any(|r| r.contains("stopped")).then_some(status.reasons)
        }
        _ => None,
    });
    let reasons = reasons.await.join("; ");
    assert!(reasons.contains("recording stopped"), "{reasons}");
    assert!(reasons.contains("File too large"), "{reasons}");
    let mut last = 0;
    for _ in 0..4 {
        let sequence = result(&mut watcher).await.sequence;
        assert!(sequence > last);
        last = sequence;
    }
    // The next file has room again.
    event(&mut watcher, |event| match event {
        WatchEvent::Status(status) => {
            (!status.reasons.iter().any(|r| r.contains("stopped"))).then_some(())
        }
        _ => None,
    })
    .await;
    daemon.terminate();
    let (code, said) = daemon.wait();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ERROR recording stopped"), "{said}");
    assert!(said.contains("recording goes on"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_publishes_to_a_controller_under_test_as_if_it_were_now() {
    let cell = Cell::new("");
    slow_demo(&cell.path("demo.mcap"));
    let arguments =
        ["replay", "--publish", "--config", &cell.arg("magpie.toml"), &cell.arg("demo.mcap")];
    let mut child = program().args(arguments).spawn().unwrap();
    let mut watcher = watcher(&cell).await;
    let started = magpie_network::SystemClock::start().now();
    let message = result(&mut watcher).await;
    assert_eq!(message.stamp_source(), wire::StampSource::Recorded);
    let age_ns = started.0.abs_diff(message.stamp_ns);
    assert!(age_ns < 60_000_000_000, "stamped {age_ns} ns away from now");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_run_keeps_its_ring_when_it_is_told_to() {
    let cell = Cell::new("[recording]\nfolder = \"ring\"\nsegment_s = 1\n");
    let config = cell.arg("magpie.toml");
    let mut command = program();
    command.args(["run", "--config", &config]).stderr(Stdio::piped());
    let mut daemon = Daemon { child: command.spawn().unwrap() };
    let files = |folder: &str| {
        let entries = std::fs::read_dir(cell.path(folder));
        let names = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
        names.filter(|path| path.is_file()).collect::<Vec<_>>()
    };
    until(&mut daemon.child, || files("ring").len() >= 2);
    let pid = rustix::process::Pid::from_child(&daemon.child);
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    until(&mut daemon.child, || files("ring/kept").len() >= 2 && !files("ring").is_empty());
    daemon.terminate();
    let (code, said) = daemon.wait();
    assert_eq!(code, Some(0), "{said}");
    let mut kept = files("ring/kept");
    kept.sort();
    let mut frames = 0;
    for path in kept {
        let (found, reader) = sequences(&path);
        assert!(reader.losses().bytes_lost == 0, "{}", reader.losses());
        assert_eq!(messages::<wire::Packages>(&path, "/magpie/packages").len(), found.len());
        frames += found.len();
    }
    assert!(frames > 0);
}

#[test]
fn a_wish_to_keep_the_ring_while_the_daemon_starts_does_not_end_it() {
    let cell = Cell::new("");
    let mut command = program();
    command.args(["run", "--config", &cell.arg("magpie.toml")]).stderr(Stdio::null());
    let mut daemon = Daemon { child: command.spawn().unwrap() };
    let status = format!("/proc/{}/status", daemon.child.id());
    let catches_usr1 = || {
        let status = std::fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        let usr1 = rustix::process::Signal::USR1.as_raw();
        // Signals count from 1.
        u64::from_str_radix(caught.trim(), 16).unwrap() >> (usr1 - 1) & 1 == 1
    };
    until(&mut daemon.child, catches_usr1);
    let pid = rustix::process::Pid::from_child(&daemon.child);
    rustix::process::kill_process(pid, rustix::process::Signal::USR1).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(daemon.child.try_wait().unwrap(), None, "the signal ended it");
}

/// Unless this variable says how many.
const KILLS: u64 = 3;
const KILLS_VARIABLE: &str = "MAGPIE_TEST_KILLS";
/// An open chunk is half a second of the demo's ten frames a second, and one; eight may wait in the
/// queue, one be in the writer's hands, and one be published and not yet offered.
const KILLED_FRAMES_MAX: usize = 6 + 8 + 1 + 1;

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_recording_lacks_the_open_chunk_and_the_queue_at_most() {
    let kills = std::env::var(KILLS_VARIABLE).map_or(KILLS, |kills| kills.parse().unwrap());
    let model = root().join("crates/inference/tests/data/tiny_bgr8.onnx");
    let model = std::fs::canonicalize(model).unwrap();
    for kill in 0..kills {
        let cell = Cell::new(&format!("path = {model:?}\n[recording]\ncolor = \"raw\"\n"));
        let mut command = program();
        let (config, out) = (cell.arg("magpie.toml"), cell.arg("cell.mcap"));
        command.args(["record", "--config", &config, "--out", &out]).stderr(Stdio::null());
        let mut daemon = Daemon { child: command.spawn().unwrap() };
        let mut watcher = watcher(&cell).await;
        let mut published = Vec::new();
        // One chunk is closed by then; moments that no rhythm of the recorder divides.
        for _ in 0..14 + kill % 7 {
            published.push(result(&mut watcher).await.sequence);
        }
        tokio::time::sleep(Duration::from_micros(kill % 30 * 3733)).await;
        daemon.child.kill().unwrap();
        daemon.child.wait().unwrap();
        let patience = Duration::from_millis(100);
        while let Ok(event) = tokio::time::timeout(patience, watcher.next()).await {
            if let WatchEvent::Packages(message) = event {
                published.push(message.sequence);
            }
        }
        let (recorded, reader) = sequences(&cell.path("cell.mcap"));
        let losses = reader.losses();
        assert!(losses.unfinished && losses.chunks_damaged == 0, "kill {kill}: {losses}");
        let last = recorded.last().unwrap();
        let lost = published.iter().filter(|sequence| *sequence > last).count();
        assert!(lost <= KILLED_FRAMES_MAX, "kill {kill}: {lost} of {published:?} lost");
        let noted = published.iter().filter(|&s| s <= last && !recorded.contains(s)).count() as u64;
        assert!(noted <= losses.frames_unrecorded, "kill {kill}: {noted} missing, {losses}");
    }
}

#[test]
fn recordings_are_configured_with_units_and_wrong_ones_are_refused() {
    let refused = |more: &str, part: &str| {
        let cell = Cell::new(more);
        let output = cell.record(&["--frames", "1"]);
        assert_eq!(output.status.code(), Some(78), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(part), "{}", text(&output.stderr));
    };
    refused("[recording]\ncolor = \"gif\"\n", "recording.color = gif");
    refused("[recording]\nsegment_s = 0\n", "recording.segment_s = 0");
    refused("[recording]\nkeep_on_score_below = 2.0\n", "recording.keep_on_score_below = 2");
    refused("[recording]\nfolders = \"x\"\n", "folders");
}

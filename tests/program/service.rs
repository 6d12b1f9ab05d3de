//! The daemon in this process, on the demo recording, seen from another zenoh session.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use magpie_client::{
    CellName, Client, ClientOptions, Freshness, PackagesSubscriber, ZenohConfig, wire,
};
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome};
use magpie_daemon::run;
use magpie_network::SystemClock;
use magpie_perception::Mask;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::{free_endpoint, root, write_zenoh_config};

/// A daemon on its own thread. Dropping it asks it to stop and waits.
pub(crate) struct Daemon {
    pub(crate) endpoint: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Outcome>>,
    _folder: TempDir,
}

impl Daemon {
    pub(crate) fn start(cell: &str, more: &str) -> Daemon {
        Daemon::start_on(&free_endpoint(), cell, more)
    }

    pub(crate) fn start_on(endpoint: &str, cell: &str, more: &str) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        write_zenoh_config(folder.path(), endpoint);
        let text = format!(
            "cell = \"{cell}\"\n{more}\n[limits]\nframe_age_ms_max = 5000\ndeadline_ms = 5000\n\
             result_valid_ms = 5000\n\
             [zenoh]\nconfig = \"zenoh.json5\"\n"
        );
        let config = Config::parse(&folder.path().join("magpie.toml"), &text).unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("daemon".into())
            .spawn(move || {
                run::run(&config, async {
                    let _ = stopped.await;
                })
            })
            .unwrap();
        let endpoint = endpoint.to_owned();
        Daemon { endpoint, stop: Some(stop), thread: Some(thread), _folder: folder }
    }

    pub(crate) fn subscriber(&self, cell: &str) -> PackagesSubscriber {
        let cell = CellName::new(cell).unwrap();
        for _ in 0..600 {
            let zenoh = ZenohConfig::Connect(vec![self.endpoint.clone()]);
            let options = ClientOptions {
                // Two cores may be busy with other tests.
                heartbeat_silence_max: Duration::from_secs(2),
                ..ClientOptions::new(cell.clone(), zenoh, SystemClock::start())
            };
            if let Ok(subscriber) = Client::open(options).and_then(|client| client.packages()) {
                return subscriber;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("no daemon on {} within a minute", self.endpoint);
    }

    pub(crate) fn stop(mut self) -> Outcome {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn fresh(subscriber: &PackagesSubscriber) -> wire::Packages {
    for _ in 0..600 {
        if let Freshness::Fresh(view) = subscriber.next(Duration::from_millis(100)) {
            return view.for_display().clone();
        }
    }
    panic!("no fresh result within a minute");
}

/// `next` may run out of time and give the last one again, which is still fresh.
pub(crate) fn newer(subscriber: &PackagesSubscriber, last: &wire::Packages) -> wire::Packages {
    loop {
        let message = fresh(subscriber);
        if message.sequence != last.sequence {
            assert!(message.sequence > last.sequence, "{} came late", message.sequence);
            return message;
        }
    }
}

#[test]
fn a_daemon_waits_for_a_router_that_is_not_there_yet_and_stops_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let zenoh = format!(
        r#"{{mode: "client", connect: {{endpoints: ["{}"]}}, scouting: {{multicast: {{enabled: false}}}}}}"#,
        free_endpoint()
    );
    std::fs::write(folder.path().join("zenoh.json5"), zenoh).unwrap();
    let text = "[zenoh]\nconfig = \"zenoh.json5\"\n";
    let config = Config::parse(&folder.path().join("magpie.toml"), text).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let daemon = std::thread::Builder::new().name("daemon".into());
    let daemon = daemon.spawn(move || {
        run::run(&config, async {
            let _ = stopped.await;
        })
    });
    let daemon = daemon.unwrap();
    std::thread::sleep(Duration::from_secs(8));
    assert!(!daemon.is_finished(), "{:?}", daemon.join());
    drop(stop);
    daemon.join().unwrap().unwrap();
}

#[test]
fn every_result_of_the_demo_is_whole_in_order_and_not_yet_expired() {
    let daemon = Daemon::start("whole", "");
    let subscriber = daemon.subscriber("whole");
    let clock = SystemClock::start();
    let mut last = fresh(&subscriber);
    let (mut packages, mut held, mut sightings) = (0, 0, BTreeMap::new());
    for _ in 0..12 {
        let message = newer(&subscriber, &last);
        assert!(message.stamp_ns > last.stamp_ns);
        assert!(message.valid_until_ns == message.stamp_ns + 5_000_000_000);
        assert!(message.stamp_ns < clock.now().0 && clock.now().0 < message.valid_until_ns);
        assert_eq!((message.image_width_px, message.image_height_px), (640, 480));
        assert_eq!((message.frame_id.as_str(), message.provider_got.as_str()), ("base", "cpu"));
        assert_eq!(message.model.as_ref().unwrap().sha256.len(), 64);
        assert!(!message.calibration_id.is_empty());
        for package in &message.packages {
            let mask = Mask::try_from(package.mask.as_ref().unwrap()).unwrap();
            let bbox = package.bbox.unwrap();
            let tight = mask.bbox().unwrap();
            assert!(tight.x_min_px >= bbox.x_min_px - 1.0 && tight.x_max_px <= bbox.x_max_px + 1.0);
            assert!(tight.y_min_px >= bbox.y_min_px - 1.0 && tight.y_max_px <= bbox.y_max_px + 1.0);
            packages += 1;
            held += usize::from(!package.grasps.is_empty());
            assert!(package.grasps.len() <= 3);
            // Every package can be held, or says why not.
            let refused = package.refusal() != wire::GraspRefusal::Unspecified;
            assert_eq!(refused, package.grasps.is_empty(), "{:?}", package.refusal());
            *sightings.entry(package.track_id).or_insert(0) += 1;
            for grasp in &package.grasps {
                let p = grasp.pose.unwrap().position_m.unwrap();
                // Packages of the demo lie on a belt at z = 0 and are less than half a metre high.
                assert!((-0.1..0.6).contains(&p.z), "a grasp {} m above the belt", p.z);
            }
        }
        last = message;
    }
    assert!(packages >= 24, "{packages} packages in 12 frames of a full belt");
    assert!(2 * held > packages, "{held} of {packages} packages can be held");
    assert!(sightings.values().any(|count| *count >= 6), "no track lasted: {sightings:?}");
    let status = subscriber.status().unwrap();
    assert_eq!(status.state(), wire::State::Ok, "{:?}", status.reasons);
    assert!(daemon.stop().is_ok());
}

#[test]
fn a_subscriber_sees_the_daemon_lost_when_it_stops_and_found_when_it_is_back() {
    let daemon = Daemon::start("lost", "");
    let endpoint = daemon.endpoint.clone();
    let subscriber = daemon.subscriber("lost");
    fresh(&subscriber);
    assert!(daemon.stop().is_ok());
    let lost = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        matches!(subscriber.latest(), Freshness::Lost { .. })
    });
    assert!(lost, "{:?}", subscriber.latest());

    let again = Daemon::start_on(&endpoint, "lost", "");
    fresh(&subscriber);
    assert!(again.stop().is_ok());
}

#[test]
fn a_subscriber_that_never_reads_takes_nothing_from_the_loop() {
    let daemon = Daemon::start("slow", "");
    let reader = daemon.subscriber("slow");
    let sleeper = daemon.subscriber("slow");
    let first = fresh(&reader);
    let mut last = first.clone();
    for _ in 0..10 {
        last = newer(&reader, &last);
    }
    let (first, last) = (first.counters.unwrap(), last.counters.unwrap());
    // Whatever was processed was handed over: the sleeper held nothing back.
    assert_eq!(last.results_published - first.results_published, last.frames - first.frames);
    assert_eq!(last.frames_stale, 0);
    drop(sleeper);
    assert!(daemon.stop().is_ok());
}

#[test]
fn the_python_example_reads_what_the_daemon_publishes() {
    let root = root();
    let daemon = Daemon::start("python", "");
    drop(daemon.subscriber("python"));
    let output = Command::new(root.join(".cache/python/bin/python"))
        .arg(root.join("crates/client/examples/subscriber.py"))
        .args(["--cell", "python", "--connect", &daemon.endpoint])
        .args(["--count", "3", "--timeout-s", "30"])
        .output()
        .expect("scripts/test makes .cache/python");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.lines().all(|line| line.contains("grasps in base")), "{text}");
    assert!(daemon.stop().is_ok());
}

#[test]
fn a_source_that_ends_ends_the_run_without_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.mcap");
    std::fs::write(&path, magpie_daemon::source::DEMO_RECORDING).unwrap();
    let more = format!("[source.recording]\npath = \"{}\"", path.display());
    let daemon = Daemon::start("ends", &more);
    let mut daemon = daemon;
    let outcome = daemon.thread.take().unwrap().join().unwrap();
    assert!(outcome.is_ok(), "{outcome:?}");
}

#[test]
fn a_second_daemon_of_the_same_cell_or_endpoint_ends_and_says_why() {
    let daemon = Daemon::start("twice", "");
    fresh(&daemon.subscriber("twice"));
    let mut second = Daemon::start_on(&daemon.endpoint, "other", "");
    let outcome = second.thread.take().unwrap().join().unwrap();
    let Err(Failure::Fault(error)) = outcome else { panic!("{outcome:?}") };
    assert!(format!("{error:#}").contains(&daemon.endpoint), "{error:#}");
    assert!(daemon.stop().is_ok());
}

#[test]
fn frames_of_another_size_than_the_calibration_end_the_run_as_wrong_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let picture = magpie_perception::BgrImage::new(320, 240, vec![90; 320 * 240 * 3]).unwrap();
    magpie_camera::write_png(&folder.path().join("a.png"), &picture).unwrap();
    let info = "image_width: 640\nimage_height: 480\ncamera_name: x\n\
        camera_matrix: {rows: 3, cols: 3, data: [600, 0, 320, 0, 600, 240, 0, 0, 1]}\n\
        distortion_model: plumb_bob\n\
        distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}\n\
        rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}\n\
        projection_matrix: {rows: 3, cols: 4, data: [600, 0, 320, 0, 0, 600, 240, 0, 0, 0, 1, 0]}\n";
    let info_path = folder.path().join("info.yaml");
    std::fs::write(&info_path, info).unwrap();
    let more = format!(
        "[source.image_folder]\npath = \"{}\"\n[scene]\ncamera_info = \"{}\"",
        folder.path().display(),
        info_path.display()
    );
    let mut daemon = Daemon::start("size", &more);
    let outcome = daemon.thread.take().unwrap().join().unwrap();
    let Err(Failure::Config(error)) = outcome else { panic!("{outcome:?}") };
    let message = format!("{error:#}");
    assert!(message.contains("320x240") && message.contains("640x480"), "{message}");
}

#[test]
fn the_example_configuration_is_the_shipped_one() {
    let shipped = root().join("systemd/magpie.toml");
    assert!(Config::load(Some(&shipped)).is_ok());
}

#[test]
fn strangers_who_send_nonsense_keep_no_reader_out() {
    let (folder, endpoint) = (tempfile::tempdir().unwrap(), free_endpoint());
    let config = folder.path().join("magpie.toml");
    let text = format!(
        "[limits]\nframe_age_ms_max = 5000\nresult_valid_ms = 5000\n[zenoh]\nlisten = {endpoint:?}\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut daemon = super::program();
    daemon.args(["run", "--config", config.to_str().unwrap()]).stderr(Stdio::null());
    let mut daemon = daemon.spawn().unwrap();
    let watch = ["watch", "demo", "--connect", &endpoint, "--count", "1", "--silence-s-max", "60"];
    let gets_in = || super::magpie(&watch).status.success();
    assert!((0..60).any(|_| gets_in()), "no result within a minute");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let strangers = scope.spawn(|| {
            let mut held = Vec::new();
            while !stop.load(Ordering::Relaxed) && held.len() < 600 {
                let connected = TcpStream::connect(endpoint.trim_start_matches("tcp/"));
                held.extend(connected.and_then(|mut stream| {
                    stream.write_all(&[0xff, 0xff])?;
                    Ok(stream)
                }));
                std::thread::sleep(Duration::from_millis(20));
            }
            held.len()
        });
        std::thread::sleep(Duration::from_secs(2));
        // One of two would get in by chance.
        let inside = (0..4).filter(|_| gets_in()).count();
        stop.store(true, Ordering::Relaxed);
        assert!(strangers.join().unwrap() > 50, "hardly a stranger came");
        assert!(inside >= 3, "{inside} of 4 got in");
    });
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}

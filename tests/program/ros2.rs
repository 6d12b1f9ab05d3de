//! What a ROS 2 program hears: by rosbags and zenoh-ros2-sdk, which have no code of ours. And a router
//! that is not there, and strangers on the cell's topics.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{free_address, free_endpoint, magpie, program, root, text};

fn python() -> Command {
    let python = root().join(".cache/ros2/bin/python");
    assert!(python.exists(), "no {}: run scripts/install --test", python.display());
    Command::new(python)
}

/// A program that ends with its standard input, and is killed if it does not.
struct Peer(Child);

impl Peer {
    fn start(command: &mut Command) -> Peer {
        Peer(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// The router of the ROS side.
    fn router(address: &str) -> Peer {
        let script = root().join("tests/ros2/router.py");
        Peer::start(python().arg(script).arg(format!("tcp/{address}")))
    }

    /// Another program that publishes on one of the cell's topics.
    fn rival(address: &str) -> Peer {
        let script = format!(
            "import sys, zenoh\n\
             config = zenoh.Config()\n\
             config.insert_json5('mode', '\"client\"')\n\
             config.insert_json5('connect/endpoints', '[\"tcp/{address}\"]')\n\
             session = zenoh.open(config)\n\
             key = '@ros2_lv/7/{{}}/0/1/MP/%/%/forger/%magpie%told%grasps/T/H/Q'\n\
             token = session.liveliness().declare_token(key.format(session.info.zid()))\n\
             sys.stdin.read()\n"
        );
        Peer::start(python().args(["-c", &script]))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A daemon on the demo that speaks to a router.
struct Daemon {
    process: Child,
    endpoint: String,
    folder: TempDir,
}

impl Daemon {
    fn start(router: &str, more: &str) -> Daemon {
        let (folder, endpoint) = (tempfile::tempdir().unwrap(), free_endpoint());
        let path = folder.path().join("magpie.toml");
        let text = format!(
            "cell = \"told\"\n[limits]\nframe_age_ms_max = 20000\ndeadline_ms = 20000\n\
             result_valid_ms = 5000\n[zenoh]\nlisten = {endpoint:?}\n\
             [ros2]\nenabled = true\nrouter = \"tcp/{router}\"\n{more}\n"
        );
        std::fs::write(&path, text).unwrap();
        let run = ["run", "--config", path.to_str().unwrap()];
        let process = program().args(run).stderr(Stdio::null()).spawn().unwrap();
        Daemon { process, endpoint, folder }
    }

    /// The results that come meanwhile, by their stamps.
    fn during(&self, act: impl FnOnce()) -> BTreeMap<u64, Value> {
        let path = self.folder.path().join("results.jsonl");
        let watch = ["watch", "told", "--connect", &self.endpoint, "--json"];
        let mut watching = program()
            .args(watch)
            .args(["--silence-s-max", "60"])
            .stdout(File::create(&path).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        act();
        let _ = watching.kill();
        let _ = watching.wait();
        let lines = std::fs::read_to_string(&path).unwrap();
        let results = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        results.map(|result| (number(&result["stamp_ns"]), result)).collect()
    }

    /// Waits until status gives these reasons.
    fn wait_for(&self, codes: &Value) {
        let mut found = Value::Null;
        for _ in 0..300 {
            let cells = magpie(&["cells", "--json", "--connect", &self.endpoint]);
            let cell: Option<Value> = serde_json::from_str(text(&cells.stdout).trim()).ok();
            found = cell.map(|cell| cell["reason_codes"].clone()).unwrap_or_default();
            if found == *codes {
                return;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("{found}, not {codes}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Hears the cell until there was enough of everything.
fn listen(router: &str, more: &[&str]) -> Value {
    let output = python()
        .arg(root().join("tests/ros2/listen.py"))
        .args(["--router", router, "--namespace", "/magpie/told"])
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value) -> u64 {
    value.as_str().unwrap_or("0").parse().unwrap()
}

fn stamp_ns(message: &Value) -> u64 {
    let stamp = &message["header"]["stamp"];
    stamp["sec"].as_u64().unwrap() * 1_000_000_000 + stamp["nanosec"].as_u64().unwrap()
}

fn all(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What protobuf's JSON leaves out is zero.
fn xyz(value: &Value) -> [f64; 3] {
    ["x", "y", "z"].map(|axis| value[axis].as_f64().unwrap_or(0.0))
}

#[track_caller]
fn check_close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
}

fn check_detections(heard: &Value, result: &Value) {
    let packages = all(&result["packages"]);
    let detections = all(&heard["detections"]);
    assert_eq!(detections.len(), packages.len());
    for (detection, package) in detections.iter().zip(packages) {
        assert_eq!(detection["id"], package["track_id"]);
        let hypothesis = &detection["results"][0]["hypothesis"];
        assert_eq!(hypothesis["class_id"], package["type"]);
        check_close(hypothesis["score"].as_f64().unwrap(), package["score"].as_f64().unwrap());
        let bbox = |key: &str| package["bbox"][key].as_f64().unwrap_or(0.0);
        let centre_px = 0.5 * (bbox("x_min_px") + bbox("x_max_px")) - 0.5;
        check_close(detection["bbox"]["center"]["position"]["x"].as_f64().unwrap(), centre_px);
        let height_px = bbox("y_max_px") - bbox("y_min_px");
        check_close(detection["bbox"]["size_y"].as_f64().unwrap(), height_px);
    }
}

fn check_in_space(heard: &Value, result: &Value) {
    let packages: Vec<&Value> = all(&result["packages"])
        .iter()
        .filter(|package| !package["position_m"].is_null())
        .collect();
    let detections = all(&heard["detections"]);
    assert_eq!(detections.len(), packages.len());
    for (detection, package) in detections.iter().zip(packages) {
        assert_eq!(detection["id"], package["track_id"]);
        let bbox = &detection["bbox"];
        assert_eq!(xyz(&bbox["center"]["position"]), xyz(&package["position_m"]));
        let size = ["length_m", "width_m", "height_m"];
        let size = size.map(|key| package["size"][key].as_f64().unwrap_or(0.0));
        assert_eq!(xyz(&bbox["size"]), size);
    }
}

fn check_grasps(heard: &Value, result: &Value) {
    let best = all(&result["packages"]).iter().map_while(|package| package["grasps"].get(0));
    let best: Vec<[f64; 3]> = best.map(|grasp| xyz(&grasp["pose"]["position_m"])).collect();
    let poses: Vec<[f64; 3]> =
        all(&heard["poses"]).iter().map(|pose| xyz(&pose["position"])).collect();
    assert_eq!(poses, best);
    assert_eq!(heard["header"]["frame_id"], result["frame_id"]);
}

#[test]
fn a_ros_program_hears_what_magpies_own_readers_hear() {
    let address = format!("{}:7447", free_address());
    let _router = Peer::router(&address);
    let daemon = Daemon::start(&address, "");
    daemon.wait_for(&json!([]));
    let mut told = Value::Null;
    let results = daemon.during(|| told = listen(&address, &["--count", "5"]));
    let heard = |topic: &str| -> &[Value] { all(&told["heard"][topic]) };
    let compare = |topic: &str, check: fn(&Value, &Value)| {
        let both = heard(topic).iter().filter_map(|message| {
            results.get(&stamp_ns(message)).map(|result| check(message, result))
        });
        assert!(both.count() > 0, "no result of {topic} was heard on both sides");
    };
    compare("/magpie/told/detections_2d", check_detections);
    compare("/magpie/told/detections_3d", check_in_space);
    compare("/magpie/told/grasps", check_grasps);
    assert!(heard("/magpie/told/grasps").iter().any(|grasps| !all(&grasps["poses"]).is_empty()));

    let (camera, place) =
        (&heard("/magpie/told/camera/camera_info")[0], &heard("/tf_static")[0]["transforms"][0]);
    assert_eq!(camera["header"]["frame_id"], place["child_frame_id"]);
    assert_eq!(heard("/magpie/told/labels")[0]["header"]["frame_id"], place["child_frame_id"]);
    assert_eq!(heard("/magpie/told/grasps")[0]["header"]["frame_id"], place["header"]["frame_id"]);
    assert_eq!(heard("/diagnostics").last().unwrap()["status"][0]["name"], "magpie: told");
    assert_eq!(heard("/diagnostics").last().unwrap()["status"][0]["level"], 0);
    let graph = |topic: &str| told["graph"][topic].clone();
    let node = "/magpie/told/magpie";
    assert_eq!(graph("/tf_static"), json!([node, "RELIABLE", "TRANSIENT_LOCAL", 1]));
    assert_eq!(graph("/magpie/told/grasps"), json!([node, "RELIABLE", "VOLATILE", 1]));
    assert_eq!(graph("/magpie/told/labels"), json!([node, "BEST_EFFORT", "VOLATILE", 1]));
}

#[test]
fn a_router_may_come_later_and_go_and_a_stranger_on_the_topics_is_told() {
    let address = format!("{}:7447", free_address());
    let daemon = Daemon::start(&address, "domain_id = 7\ntype_hashes = false");
    daemon.wait_for(&json!(["ros2_unavailable"]));
    assert!(!daemon.during(|| std::thread::sleep(Duration::from_secs(5))).is_empty());
    let router = Peer::router(&address);
    daemon.wait_for(&json!([]));
    listen(&address, &["--count", "1", "--domain", "7", "--no-hashes"]);
    let rival = Peer::rival(&address);
    daemon.wait_for(&json!(["ros2_rival"]));
    drop(rival);
    daemon.wait_for(&json!([]));
    drop(router);
    daemon.wait_for(&json!(["ros2_unavailable"]));
}

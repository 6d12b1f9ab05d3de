//! The channels of a recording, live, as Foxglove sees them; and viewers that never read.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::Duration;

use magpie_client::wire;
use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{free_endpoint, magpie, program, text};

/// A daemon on the demo, which Foxglove can connect to.
struct Daemon {
    process: Child,
    endpoint: String,
    listen: SocketAddr,
    _folder: TempDir,
}

impl Daemon {
    fn start(listen: SocketAddr) -> Daemon {
        let (folder, endpoint) = (tempfile::tempdir().unwrap(), free_endpoint());
        let path = folder.path().join("magpie.toml");
        let text = format!(
            "cell = \"live\"\n[limits]\nframe_age_ms_max = 5000\ndeadline_ms = 5000\n\
             result_valid_ms = 5000\n[zenoh]\nlisten = {endpoint:?}\n\
             [foxglove]\nlisten = \"{listen}\"\n"
        );
        std::fs::write(&path, text).unwrap();
        let run = ["run", "--config", path.to_str().unwrap()];
        let process = program().args(run).stderr(Stdio::null()).spawn().unwrap();
        Daemon { process, endpoint, listen, _folder: folder }
    }

    fn connect(&self) -> Viewer {
        for _ in 0..300 {
            if let Ok(stream) = TcpStream::connect(self.listen) {
                return Viewer::greet(stream, self.listen);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("nobody listens at {}", self.listen);
    }

    fn messages(&self, count: &str) -> Vec<Value> {
        let watch =
            ["watch", "live", "--connect", &self.endpoint, "--json", "--silence-s-max", "60"];
        for _ in 0..100 {
            let output = magpie(&[&watch[..], &["--count", count]].concat());
            if output.status.success() {
                let lines = text(&output.stdout);
                return lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        panic!("no results");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A websocket client, as far as Foxglove's protocol needs one.
struct Viewer {
    stream: TcpStream,
}

impl Viewer {
    fn greet(mut stream: TcpStream, host: SocketAddr) -> Viewer {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let greeting = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: foxglove.sdk.v1\r\n\r\n"
        );
        stream.write_all(greeting.as_bytes()).unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        let answer = text(&answer);
        assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
        Viewer { stream }
    }

    /// The next message and its kind: 1 is text, 2 is binary.
    fn next(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        let length = match head[1] & 0x7f {
            126 => {
                let mut bytes = [0; 2];
                self.stream.read_exact(&mut bytes).unwrap();
                u64::from(u16::from_be_bytes(bytes))
            }
            127 => {
                let mut bytes = [0; 8];
                self.stream.read_exact(&mut bytes).unwrap();
                u64::from_be_bytes(bytes)
            }
            length => u64::from(length),
        };
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).unwrap();
        (head[0] & 0x0f, payload)
    }

    fn say(&mut self, message: &Value) {
        let text = message.to_string();
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
        // A mask of zeros changes nothing.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).unwrap();
    }

    /// Waits for the list of channels, and subscribes to all. Their topics by their numbers.
    fn subscribe(&mut self) -> BTreeMap<u32, String> {
        let mut topics = BTreeMap::new();
        // Channels may come in several messages.
        while topics.len() < 9 {
            let (kind, payload) = self.next();
            let Ok(message) = serde_json::from_slice::<Value>(&payload) else { continue };
            if kind != 1 || message["op"] != "advertise" {
                continue;
            }
            for channel in message["channels"].as_array().unwrap() {
                let id = u32::try_from(channel["id"].as_u64().unwrap()).unwrap();
                topics.insert(id, channel["topic"].as_str().unwrap().to_owned());
            }
        }
        let all = topics.keys().map(|id| json!({ "id": id, "channelId": id }));
        let all: Vec<Value> = all.collect();
        self.say(&json!({ "op": "subscribe", "subscriptions": all }));
        topics
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn foxglove_sees_pictures_results_and_status_and_viewers_that_never_read_hold_nothing_back() {
    let daemon = Daemon::start(free_address());
    let mut viewer = daemon.connect();
    let topics = viewer.subscribe();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut result = None;
    while seen.len() < 9 {
        let (kind, payload) = viewer.next();
        // A message: 1, the subscription, the time of its log, and the data.
        if kind != 2 || payload[0] != 1 {
            continue;
        }
        let id = u32::from_le_bytes(payload[1..5].try_into().unwrap());
        let (topic, data) = (&topics[&id], &payload[13..]);
        *seen.entry(topic.clone()).or_default() += 1;
        if topic == "/magpie/packages" {
            result = Some(wire::Packages::decode(data).unwrap());
        }
    }
    let expected = [
        "/camera/annotations",
        "/camera/camera_info",
        "/camera/color",
        "/camera/depth",
        "/grasps",
        "/magpie/packages",
        "/magpie/status",
        "/scene",
        "/tf",
    ];
    assert_eq!(seen.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    let result = result.unwrap();
    assert_eq!((result.cell.as_str(), result.model.unwrap().name.as_str()), ("live", "universal"));
    drop(viewer);

    let mut sleepers: Vec<Viewer> = (0..20).map(|_| daemon.connect()).collect();
    for sleeper in &mut sleepers {
        sleeper.subscribe();
    }
    let messages = daemon.messages("12");
    let counter = |message: &Value, name: &str| -> u64 {
        message["counters"][name].as_str().unwrap_or("0").parse().unwrap()
    };
    let (first, last) = (&messages[0], &messages[11]);
    let during = |name: &str| counter(last, name) - counter(first, name);
    // Whatever was processed was handed over.
    assert_eq!(during("results_published"), during("frames"));
    assert_eq!(counter(last, "frames_stale"), 0);
}

#[test]
fn a_port_that_is_taken_is_told_by_status_while_the_cell_runs_and_is_taken_when_it_is_free() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = stranger.local_addr().unwrap();
    let daemon = Daemon::start(listen);
    assert!(!daemon.messages("1").is_empty(), "the loop goes on");
    let codes = || {
        let cells = magpie(&["cells", "--json", "--connect", &daemon.endpoint]);
        let cell: Value = serde_json::from_str(text(&cells.stdout).trim()).unwrap();
        cell["reason_codes"].clone()
    };
    assert_eq!(codes(), json!(["foxglove_unavailable"]));
    drop(stranger);
    daemon.connect();
    for _ in 0..50 {
        if codes() == json!([]) {
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("{}", codes());
}

//! A real RTSP stream on loopback, killed and frozen in mid-stream: by its URL, and by a pipeline.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod common;
mod peers;

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::open;
use magpie_camera::{
    CameraConfig, CameraState, GStreamerConfig, LiveConfig, LiveLimits, LiveSource, RtspConfig,
};
use peers::{Peer, check_loss_and_return};

const PACKAGES: &str = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base \
    gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav";

/// A server and the port that it listens on; port 0 picks a free one.
fn start_server(port: u16) -> (Peer, u16) {
    start_server_for(port, &[])
}

/// `user`: nobody, or the only one with the password after it.
fn start_server_for(port: u16, user: &[&str]) -> (Peer, u16) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rtsp_server.py");
    // Debian's own interpreter: only that one has Debian's gi module.
    let mut command = Command::new("/usr/bin/python3");
    command.args([script, &port.to_string()]).args(user).stdout(Stdio::piped());
    let mut server = Peer::start(&mut command, PACKAGES);
    let mut line = String::new();
    let stdout = server.child().stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let port = line.trim().parse();
    (server, port.unwrap_or_else(|_| panic!("no RTSP server; apt-get install {PACKAGES}")))
}

fn by_url(port: u16) -> LiveSource {
    url(&format!("127.0.0.1:{port}/cell"))
}

fn url(address: &str) -> LiveSource {
    LiveSource::Rtsp(RtspConfig { url: format!("rtsp://{address}") })
}

fn by_pipeline(port: u16) -> LiveSource {
    let pipeline = format!(
        "rtspsrc location=rtsp://127.0.0.1:{port}/cell latency=50 protocols=tcp ! decodebin \
         ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false"
    );
    LiveSource::GStreamer(GStreamerConfig { pipeline })
}

fn live(source: LiveSource) -> CameraConfig {
    CameraConfig::Live(LiveConfig { source, limits: LiveLimits::default() })
}

fn check_killed(source: fn(u16) -> LiveSource) {
    let (server, port) = start_server(0);
    let server = RefCell::new(Some(server));
    let (camera, _) = open(&live(source(port)));
    let kill = || drop(server.take());
    let restart = || *server.borrow_mut() = Some(start_server(port).0);
    check_loss_and_return(camera, kill, restart, (320, 240), PACKAGES);
}

fn check_frozen(source: fn(u16) -> LiveSource) {
    let (server, port) = start_server(0);
    let (camera, _) = open(&live(source(port)));
    check_loss_and_return(
        camera,
        || server.signal("STOP"),
        || server.signal("CONT"),
        (320, 240),
        PACKAGES,
    );
}

#[test]
fn a_killed_server_is_lost_and_comes_back_by_url() {
    check_killed(by_url);
}

#[test]
fn a_frozen_server_is_lost_and_comes_back_by_url() {
    check_frozen(by_url);
}

#[test]
fn a_killed_server_is_lost_and_comes_back_by_pipeline() {
    check_killed(by_pipeline);
}

#[test]
fn a_frozen_server_is_lost_and_comes_back_by_pipeline() {
    check_frozen(by_pipeline);
}

#[test]
fn h265_streams_as_h264_does() {
    let (_server, port) = start_server(0);
    let (mut camera, _) = open(&live(url(&format!("127.0.0.1:{port}/h265"))));
    let frame = camera.source.next_frame().unwrap().unwrap();
    assert_eq!((frame.color.width_px(), frame.color.height_px()), (320, 240));
    // A white ball on black, whichever way it was decoded.
    let bright = frame.color.data().iter().filter(|&&value| value > 200).count();
    let dark = frame.color.data().iter().filter(|&&value| value < 50).count();
    assert!(bright > 500 && dark > 100_000, "{bright} bright bytes, {dark} dark ones");
    assert_eq!(camera.handle.pixel_format().as_deref(), Some("I420"));
}

/// Why the camera was lost.
fn reason(source: LiveSource) -> String {
    let (camera, _) = open(&live(source));
    match camera.handle.wait_while_opening(Duration::from_secs(30)) {
        CameraState::Lost { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_server_answers_is_told_and_passwords_are_not() {
    let (server, port) = start_server(0);
    let missing = reason(url(&format!("127.0.0.1:{port}/nowhere")));
    assert!(missing.contains("404"), "{missing}");
    drop(server);
    let refused = reason(by_url(port));
    assert!(refused.contains("Failed to connect"), "{refused}");

    let (_server, port) = start_server_for(0, &["cell", "secret"]);
    let anonymous = reason(by_url(port));
    assert!(anonymous.contains("401"), "{anonymous}");
    let wrong = reason(url(&format!("cell:wrongpassword@127.0.0.1:{port}/cell")));
    assert!(wrong.contains("401") && !wrong.contains("wrongpassword"), "{wrong}");
    let (mut camera, _) = open(&live(url(&format!("cell:secret@127.0.0.1:{port}/cell"))));
    assert!(camera.source.next_frame().unwrap().is_some());
}

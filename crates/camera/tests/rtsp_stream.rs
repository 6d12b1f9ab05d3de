//! A real RTSP stream on loopback, killed and frozen in mid-stream, through both of OpenCV's ways.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod common;
mod peers;

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::open;
use magpie_camera::{
    CameraConfig, GStreamerConfig, LiveConfig, LiveLimits, LiveSource, RtspConfig,
};
use peers::{Peer, check_loss_and_return};

const PACKAGES: &str = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base \
    gstreamer1.0-plugins-good gstreamer1.0-plugins-bad";

/// A server and the port that it listens on; port 0 picks a free one.
fn start_server(port: u16) -> (Peer, u16) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/rtsp_server.py");
    // Debian's own interpreter: only that one has Debian's gi module.
    let mut command = Command::new("/usr/bin/python3");
    command.args([script, &port.to_string()]).stdout(Stdio::piped());
    let mut server = Peer::start(&mut command, PACKAGES);
    let mut line = String::new();
    let stdout = server.child().stdout.take().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    let port = line.trim().parse();
    (server, port.unwrap_or_else(|_| panic!("no RTSP server; apt-get install {PACKAGES}")))
}

fn through_ffmpeg(port: u16) -> LiveSource {
    LiveSource::Rtsp(RtspConfig { url: format!("rtsp://127.0.0.1:{port}/cell") })
}

fn through_gstreamer(port: u16) -> LiveSource {
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
fn a_killed_server_is_lost_and_comes_back_through_ffmpeg() {
    check_killed(through_ffmpeg);
}

#[test]
fn a_frozen_server_is_lost_and_comes_back_through_ffmpeg() {
    check_frozen(through_ffmpeg);
}

#[test]
fn a_killed_server_is_lost_and_comes_back_through_gstreamer() {
    check_killed(through_gstreamer);
}

#[test]
fn a_frozen_server_is_lost_and_comes_back_through_gstreamer() {
    check_frozen(through_gstreamer);
}

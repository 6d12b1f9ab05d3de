//! A real GigE Vision stream: Debian's fake camera on loopback, killed and frozen in mid-stream.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod common;
mod peers;

use std::cell::RefCell;
use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::open;
use magpie_camera::{
    CameraConfig, CameraState, GStreamerConfig, LiveConfig, LiveLimits, LiveSource,
};
use peers::{Peer, check_loss_and_return};

const PACKAGES: &str = "aravis-tools libaravis-0.8-0 gstreamer1.0-plugins-base";

/// GigE Vision's port 3956 is fixed, so one test at a time may have a camera on this machine.
fn lock_port() -> File {
    let path = std::env::temp_dir().join("magpie-test-gige-vision.lock");
    let file = File::create(path).unwrap();
    file.lock().unwrap();
    file
}

fn start_camera() -> Peer {
    let mut command = Command::new("arv-fake-gv-camera-0.8");
    command.args(["-i", "127.0.0.1", "-s", "GV01"]).stdout(Stdio::null());
    let mut camera = Peer::start(&mut command, PACKAGES);
    std::thread::sleep(Duration::from_millis(300));
    let ended = camera.child().try_wait().unwrap();
    assert!(ended.is_none(), "the fake camera ended: is UDP port 3956 taken?");
    camera
}

fn source() -> CameraConfig {
    camera("video/x-raw,format=RGB,width=640,height=480,framerate=30/1")
}

/// As the camera delivers it: what is converted is converted by us.
fn camera(caps: &str) -> CameraConfig {
    let pipeline = format!("aravissrc camera-name=127.0.0.1 ! {caps} ! appsink sync=false");
    let source = LiveSource::GStreamer(GStreamerConfig { pipeline });
    CameraConfig::Live(LiveConfig { source, limits: LiveLimits::default() })
}

#[test]
fn a_gige_camera_that_is_killed_is_lost_and_comes_back() {
    let _port = lock_port();
    let peer = RefCell::new(Some(start_camera()));
    let (camera, _) = open(&source());
    let kill = || drop(peer.take());
    let restart = || *peer.borrow_mut() = Some(start_camera());
    check_loss_and_return(camera, kill, restart, (640, 480), PACKAGES);
}

#[test]
fn a_gige_camera_that_freezes_is_lost_and_comes_back() {
    let _port = lock_port();
    let peer = start_camera();
    let (camera, _) = open(&source());
    check_loss_and_return(
        camera,
        || peer.signal("STOP"),
        || peer.signal("CONT"),
        (640, 480),
        PACKAGES,
    );
}

#[test]
fn the_pixels_of_a_gige_camera_are_converted_by_their_name_and_its_offers_told() {
    let _port = lock_port();
    let _peer = start_camera();
    let size = "width=320,height=240,framerate=20/1";
    for (caps, name) in [
        (format!("video/x-raw,format=GRAY8,{size}"), "GRAY8"),
        (format!("video/x-bayer,format=rggb,{size}"), "Bayer rggb"),
        (format!("video/x-raw,format=RGB,{size}"), "RGB"),
    ] {
        let (mut camera, _) = open(&camera(&caps));
        let frame = camera.source.next_frame().unwrap().unwrap();
        assert_eq!((frame.color.width_px(), frame.color.height_px()), (320, 240));
        assert_eq!(camera.handle.pixel_format().as_deref(), Some(name));
        let is_grey = frame.color.data().as_chunks().0.iter().all(|[b, g, r]| b == g && g == r);
        assert_eq!(is_grey, name == "GRAY8", "{name}");
    }
    let offers = source().offers();
    for format in ["GRAY8: ", "RGB: ", "Bayer "] {
        assert!(offers.iter().any(|line| line.contains(format)), "{format} in {offers:?}");
    }
    assert!(offers[0].contains("px at "), "{offers:?}");
}

#[test]
fn a_gige_camera_that_is_not_there_is_told_in_the_words_of_its_driver() {
    let _port = lock_port();
    // A busy machine needs longer to find nobody than the watch would wait.
    let CameraConfig::Live(mut patient) = source() else { unreachable!() };
    patient.limits.open_time_max = Duration::from_secs(25);
    let (camera, _) = open(&CameraConfig::Live(patient));
    let state = camera.handle.wait_while_opening(Duration::from_secs(30));
    let CameraState::Lost { reason, .. } = &state else { panic!("{state:?}") };
    assert!(reason.contains("aravis") && reason.contains("127.0.0.1"), "{reason}");
}

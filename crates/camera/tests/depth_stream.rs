//! A colour and a depth stream of GStreamer's own, side by side.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{MachineClock, open};
use magpie_camera::{DepthConfig, LiveLimits, SourceKind, pair_depth};

const SINK: &str = "appsink drop=true max-buffers=1 sync=false";

fn pipeline(caps: &str) -> SourceKind {
    let pipeline = format!(
        "videotestsrc is-live=true pattern=white ! video/x-raw,{caps},framerate=30/1 ! {SINK}"
    );
    SourceKind::GStreamer { pipeline }
}

fn depth(source: SourceKind) -> DepthConfig {
    DepthConfig {
        source,
        limits: LiveLimits::default(),
        unit_m: 0.001,
        registration: None,
        pairing_max: Duration::from_millis(200),
    }
}

#[test]
fn a_sixteen_bit_stream_beside_color_gives_frames_with_depth() {
    let (camera, _) = open(pipeline("format=BGR,width=64,height=48"));
    let clock = Arc::new(MachineClock::new());
    let beside = depth(pipeline("format=GRAY16_LE,width=64,height=48"));
    let mut paired = pair_depth(camera.source, beside, clock).unwrap();
    let with_depth = (0..200).find_map(|_| paired.source.next_frame().unwrap().unwrap().depth);
    let depth = with_depth.expect("depth within 200 frames");
    // GStreamer's white.
    assert!(depth.data_mm().iter().all(|&mm| mm > 60_000), "{:?}", &depth.data_mm()[..4]);
    assert_eq!(paired.handle.trouble(), None);
    paired.handle.stop();
    assert!(paired.handle.trouble().unwrap().contains("depth ended"));
}

#[test]
fn depth_of_another_size_is_left_out_and_named() {
    let (camera, _) = open(pipeline("format=BGR,width=64,height=48"));
    let clock = Arc::new(MachineClock::new());
    let beside = depth(pipeline("format=GRAY16_LE,width=32,height=24"));
    let mut paired = pair_depth(camera.source, beside, clock).unwrap();
    let told = (0..200).find_map(|_| {
        assert!(paired.source.next_frame().unwrap().unwrap().depth.is_none());
        paired.handle.trouble()
    });
    assert!(told.unwrap().contains("depth is 32x24 px, colour 64x48 px"));
}

#[test]
fn a_file_is_no_depth_stream() {
    let (camera, _) = open(pipeline("format=BGR,width=64,height=48"));
    let clock = Arc::new(MachineClock::new());
    let file = SourceKind::VideoFile { path: "x.mp4".into(), loop_: false };
    let refused = pair_depth(camera.source, depth(file), clock).err().unwrap().to_string();
    assert!(refused.contains("V4L2 or GStreamer"), "{refused}");
}

//! A colour and a depth stream of GStreamer's own, side by side.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{MachineClock, open};
use magpie_camera::{
    CameraConfig, DepthConfig, DepthSource, DepthTrouble, GStreamerConfig, LiveConfig, LiveLimits,
    LiveSource, pair_depth,
};

const SINK: &str = "appsink drop=true max-buffers=1 sync=false";

fn pipeline(caps: &str) -> GStreamerConfig {
    let pipeline = format!(
        "videotestsrc is-live=true pattern=solid-color foreground-color=0xFF808080 ! video/x-raw,{caps},framerate=30/1 ! {SINK}"
    );
    GStreamerConfig { pipeline }
}

fn color(caps: &str) -> CameraConfig {
    let source = LiveSource::GStreamer(pipeline(caps));
    CameraConfig::Live(LiveConfig { source, limits: LiveLimits::default() })
}

fn depth(caps: &str) -> DepthConfig {
    DepthConfig {
        source: DepthSource::GStreamer(pipeline(caps)),
        limits: LiveLimits::default(),
        unit_m: 0.001,
        registration: None,
        pairing_max: Duration::from_millis(200),
    }
}

#[test]
fn a_sixteen_bit_stream_beside_color_gives_frames_with_depth() {
    let (camera, _) = open(&color("format=BGR,width=64,height=48"));
    let clock = Arc::new(MachineClock::new());
    let beside = depth("format=GRAY16_LE,width=64,height=48");
    let mut paired = pair_depth(camera.source, beside, clock).unwrap();
    let with_depth = (0..200).find_map(|_| paired.source.next_frame().unwrap().unwrap().depth);
    let depth = with_depth.expect("depth within 200 frames");
    // Half of what 16 bits can say, as GStreamer rounds it.
    assert!(
        depth.data_mm().iter().all(|&mm| mm.abs_diff(0x8080) < 0x400),
        "{:?}",
        &depth.data_mm()[..4]
    );
    assert_eq!(paired.handle.trouble(), None);
    paired.handle.stop();
    assert_eq!(paired.handle.trouble(), Some(DepthTrouble::Ended { reason: "stopped".into() }));
}

#[test]
fn depth_of_another_size_is_left_out_and_named() {
    let (camera, _) = open(&color("format=BGR,width=64,height=48"));
    let clock = Arc::new(MachineClock::new());
    let beside = depth("format=GRAY16_LE,width=32,height=24");
    let mut paired = pair_depth(camera.source, beside, clock).unwrap();
    let trouble = (0..200).find_map(|_| {
        assert!(paired.source.next_frame().unwrap().unwrap().depth.is_none());
        paired.handle.trouble()
    });
    let message = trouble.unwrap().to_string();
    assert!(message.contains("depth is 32x24 px, colour 64x48 px"), "{message}");
}

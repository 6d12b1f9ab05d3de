//! What GStreamer delivers is what its caps say: every pixel format becomes the same picture, or is
//! refused by name, and what fails is told in GStreamer's own words.

#![expect(clippy::unwrap_used, reason = "a test fails where it cannot go on")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{MachineClock, open};
use magpie_camera::{
    Camera, CameraConfig, CameraState, DepthConfig, DepthSource, GStreamerConfig, LiveConfig,
    LiveLimits, LiveSource, OpenError, PipelineProblem, pair_depth,
};

const OPENING_MAX: Duration = Duration::from_secs(30);
/// Red 200, green 100, blue 50, as BGR.
const COLOR: [u8; 3] = [50, 100, 200];
const SOLID: &str = "videotestsrc is-live=true pattern=solid-color foreground-color=0xFFC86432";

fn config(pipeline: &str) -> CameraConfig {
    let source = LiveSource::GStreamer(GStreamerConfig { pipeline: pipeline.into() });
    CameraConfig::Live(LiveConfig { source, limits: LiveLimits::default() })
}

fn start(pipeline: &str) -> Camera {
    open(&config(pipeline)).0
}

/// Every pixel of the first frame has the colour, within `tolerance`.
fn check_color(pipeline: &str, name: &str, expected: [u8; 3], tolerance: u8) {
    let mut camera = start(pipeline);
    let state = camera.handle.wait_while_opening(OPENING_MAX);
    assert!(matches!(state, CameraState::Streaming { .. }), "{pipeline}: {state:?}");
    let frame = camera.source.next_frame().unwrap().unwrap();
    let (width_px, height_px) = (frame.color.width_px(), frame.color.height_px());
    let size = format!("width={width_px},height={height_px}");
    assert!(pipeline.contains(&size), "{name}: {size}");
    let apart = |found: [u8; 3]| (0..3).map(|c| found[c].abs_diff(expected[c])).max().unwrap();
    let worst = (0..height_px).flat_map(|y| (0..width_px).map(move |x| (x, y)));
    let worst = worst.map(|(x, y)| frame.color.pixel(x, y)).max_by_key(|px| apart(*px)).unwrap();
    assert!(apart(worst) <= tolerance, "{name}: {worst:?} instead of {expected:?}");
    assert_eq!(camera.handle.pixel_format().as_deref(), Some(name));
}

/// 66 px wide, so that the rows of most formats are padded.
fn caps(media: &str, format: &str) -> String {
    format!("{media},format={format},width=66,height=50,framerate=30/1")
}

#[test]
fn every_raw_format_becomes_the_same_picture() {
    let formats = [
        "BGR",
        "RGB",
        "BGRx",
        "RGBA",
        "ARGB",
        "I420",
        "YV12",
        "NV12",
        "NV21",
        "YUY2",
        "UYVY",
        "Y42B",
        "Y444",
        "I420_10LE",
        "P010_10LE",
        "I422_10LE",
        "v210",
        "v308",
        "AYUV",
        "RGB16",
    ];
    for format in formats {
        // RGB16 has five bits of red and blue.
        let tolerance = if format == "RGB16" { 8 } else { 4 };
        let pipeline = format!("{SOLID} ! {} ! appsink sync=false", caps("video/x-raw", format));
        check_color(&pipeline, format, COLOR, tolerance);
    }
}

#[test]
fn mosaics_and_jpeg_become_the_same_picture() {
    for pattern in ["rggb", "bggr", "grbg", "gbrg"] {
        let pipeline = format!("{SOLID} ! {} ! appsink", caps("video/x-bayer", pattern));
        check_color(&pipeline, &format!("Bayer {pattern}"), COLOR, 4);
    }
    // Whole blocks: what the encoder puts beside the picture else shows in its last ones.
    let whole = caps("video/x-raw", "RGB").replace("width=66,height=50", "width=64,height=48");
    let jpeg = format!("{SOLID} ! {whole} ! jpegenc ! appsink");
    check_color(&jpeg, "JPEG", COLOR, 4);
}

#[test]
fn grey_stays_grey() {
    let source = "videotestsrc is-live=true pattern=solid-color foreground-color=0xFF5A5A5A";
    let pipeline = format!("{source} ! {} ! appsink", caps("video/x-raw", "GRAY8"));
    let mut camera = start(&pipeline);
    let frame = camera.source.next_frame().unwrap().unwrap();
    let [blue, green, red] = frame.color.pixel(33, 25);
    assert!(blue == green && green == red && blue.abs_diff(0x5A) < 16, "{blue} {green} {red}");
    assert!(frame.color.data().iter().all(|&value| value == blue));
}

fn check_ended(pipeline: &str, parts: &[&str]) {
    let camera = start(pipeline);
    let reason = match camera.handle.wait_while_opening(OPENING_MAX) {
        CameraState::Ended { reason } | CameraState::Lost { reason, .. } => reason,
        other => panic!("{pipeline}: {other:?}"),
    };
    for part in parts {
        assert!(reason.contains(part), "{part:?} is not in {reason:?}");
    }
}

#[test]
fn what_is_no_picture_is_refused_by_name_with_the_element_that_converts_it() {
    let gray16 = format!("{SOLID} ! {} ! appsink", caps("video/x-raw", "GRAY16_LE"));
    check_ended(&gray16, &["GRAY16_LE", "[depth]", "video/x-raw,format=GRAY8"]);
    let h264 = format!("{SOLID} ! {} ! openh264enc ! appsink", caps("video/x-raw", "I420"));
    check_ended(&h264, &["video/x-h264", "decodebin"]);
    let sound = "audiotestsrc is-live=true ! appsink";
    check_ended(sound, &["audio/x-raw", "decodebin"]);
    let png = format!("{SOLID} ! {} ! pngenc ! appsink", caps("video/x-raw", "RGB"));
    check_ended(&png, &["image/png", "decodebin"]);
}

#[test]
fn a_buffer_whose_size_does_not_fit_its_caps_is_refused() {
    for bytes in [1000, 9000] {
        let source = format!("fakesrc is-live=true sizetype=fixed sizemax={bytes} filltype=zero");
        // 64x48 px of I420 are 4608 bytes.
        let caps = "video/x-raw,format=I420,width=64,height=48,framerate=30/1";
        let (camera, counters) = open(&config(&format!("{source} ! {caps} ! appsink")));
        let size = format!("a buffer of {bytes} bytes where I420 of 64x48 px takes 4608");
        let told = (0..3000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            camera.handle.last_corrupt()
        });
        assert!(told.as_ref().is_some_and(|told| told.contains(&size)), "{told:?}");
        assert!(counters.snapshot().frames_corrupt > 0);
    }
}

#[test]
fn gstreamers_own_words_say_why_no_frame_comes() {
    check_ended("v4l2src device=/dev/video99 ! appsink", &["/dev/video99", "v4l2src"]);
    check_ended("filesrc location=/nowhere.mp4 ! decodebin ! appsink", &["/nowhere.mp4"]);
    check_ended("videotestsrc num-buffers=0 ! appsink", &["the stream ended"]);
    let jpeg = "video/x-raw,format=I420,width=64,height=48,framerate=30/1 ! jpegenc ! decodebin";
    let asked = "video/x-raw,format=I420,width=640";
    let impossible = format!("videotestsrc is-live=true ! {jpeg} ! {asked} ! appsink");
    let parts =
        ["not-negotiated", "then for video/x-raw, format=I420", "its source offers", "any size"];
    check_ended(&impossible, &parts);
}

#[test]
fn depth_keeps_its_sixteen_bits_and_other_pixels_are_no_depth() {
    let color = start(&format!("{SOLID} ! {} ! appsink", caps("video/x-raw", "BGR")));
    let depth = |format: &str| {
        let pipeline = format!("{SOLID} ! {} ! appsink", caps("video/x-raw", format));
        DepthConfig {
            source: DepthSource::GStreamer(GStreamerConfig { pipeline }),
            limits: LiveLimits::default(),
            unit_m: 0.001,
            registration: None,
            pairing_max: Duration::from_millis(500),
        }
    };
    let clock = Arc::new(MachineClock::new());
    let mut paired = pair_depth(color.source, depth("GRAY16_BE"), clock).unwrap();
    let found = (0..200).find_map(|_| paired.source.next_frame().unwrap().unwrap().depth);
    let mm = found.expect("depth within 200 frames").data_mm()[0];
    // Brightness of the colour over 16 bits: 0.299, 0.587 and 0.114 of red, green and blue.
    assert!((0x6000..0x9000).contains(&mm), "{mm:#x}");

    let color = start(&format!("{SOLID} ! {} ! appsink", caps("video/x-raw", "BGR")));
    let clock = Arc::new(MachineClock::new());
    let mut paired = pair_depth(color.source, depth("NV12"), clock).unwrap();
    let trouble = (0..600).find_map(|_| {
        paired.source.next_frame().unwrap();
        paired.handle.trouble()
    });
    let trouble = trouble.unwrap().to_string();
    assert!(trouble.contains("16-bit grey, but the pipeline delivers NV12"), "{trouble}");
}

#[test]
fn what_a_source_offers_is_told() {
    let offers = config("videotestsrc ! appsink").offers();
    assert!(
        offers.iter().any(|line| line.contains("Bayer") || line.contains("bggr")),
        "{offers:?}"
    );
    assert!(offers[0].contains("any size"), "{offers:?}");
    assert!(config("v4l2src device=/dev/video99 ! appsink").offers().is_empty());
}

/// What no Debian machine has.
const MAKERS: [&str; 4] = ["nvarguscamerasrc", "nvv4l2decoder", "nvvidconv", "pylonsrc"];

#[test]
fn the_pipelines_of_the_documents_are_read_as_far_as_their_elements_exist() {
    let mut read = 0;
    for page in ["docs/cameras.md", "systemd/magpie.toml"] {
        let path = format!("{}/../../{page}", env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(path).unwrap();
        let pipelines = page.lines().filter_map(|line| {
            line.trim_start_matches("# ")
                .strip_prefix("pipeline = ")
                .map(|one| one.trim_matches('"'))
        });
        for pipeline in pipelines {
            read += 1;
            let clock = Arc::new(MachineClock::new());
            let Err(error) = magpie_camera::open(&config(pipeline), clock, Arc::default()) else {
                continue;
            };
            let OpenError::Pipeline { source: PipelineProblem::NoSuchElement(words), .. } = error
            else {
                panic!("{pipeline}: {error:?}")
            };
            assert!(MAKERS.iter().any(|name| words.contains(name)), "{pipeline}: {words}");
        }
    }
    assert!(read >= 5, "{read} pipelines");
}

#[test]
fn a_camera_that_gives_fewer_frames_than_it_announces_is_told() {
    let raw = "video/x-raw,format=BGR,width=66,height=50";
    let announces = |fps: u32| {
        format!(
            "videotestsrc is-live=true ! {raw},framerate=10/1 \
             ! capssetter caps=\"{raw},framerate={fps}/1\" ! appsink"
        )
    };
    let (honest, boastful) = (start(&announces(10)), start(&announces(30)));
    std::thread::sleep(Duration::from_secs(7));
    assert_eq!(honest.handle.slow(), None);
    let slow = boastful.handle.slow().unwrap();
    assert_eq!(slow.announced_fps.round(), 30.0);
    assert!((slow.fps - 10.0).abs() < 2.0, "{slow:?}");
}

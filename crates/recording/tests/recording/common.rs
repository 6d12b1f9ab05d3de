//! Small frames and cells to record.

use std::collections::BTreeMap;
use std::path::Path;

use magpie_perception::{
    BgrImage, CameraInfo, CameraPlace, DepthImage, Distortion, Frame, FrameSource, Intrinsics,
    Plane, Scene, StampNs, StampSource, Tool,
};
use magpie_recording::{FrameReader, FrameWriter, Playback, RecordingInfo, WriteOptions};
use nalgebra::{Isometry3, Unit, UnitQuaternion, Vector3};

pub(crate) const WIDTH_PX: u32 = 16;
pub(crate) const HEIGHT_PX: u32 = 12;
pub(crate) const FIRST_STAMP_NS: u64 = 1_700_000_000_123_456_789;
pub(crate) const INTERVAL_NS: u64 = 10_000_000;

pub(crate) fn scene() -> Scene {
    Scene {
        camera_info: CameraInfo {
            camera_name: "over the belt".into(),
            frame_id: "belt_camera_optical_frame".into(),
            width_px: WIDTH_PX,
            height_px: HEIGHT_PX,
            intrinsics: Intrinsics { fx_px: 15.1, fy_px: 15.3, cx_px: 7.7, cy_px: 1.0 / 3.0 },
            distortion: Distortion::Polynomial([0.1, -0.07, 1e-4, -3.3e-5, 0.0, 0.2, 0.03, -0.4]),
        },
        camera_place: Some(CameraPlace::InBase(Isometry3::from_parts(
            Vector3::new(0.4, -0.1, 1.25).into(),
            UnitQuaternion::from_euler_angles(3.0, 0.1, -0.7),
        ))),
        support_plane_in_camera: Some(Plane {
            normal: Unit::new_normalize(Vector3::new(0.1, 0.2, -1.0)),
            offset_m: -1.2,
        }),
        tool: Tool::single_cup(0.02),
        calibration_id: "belt 2026-11-20".into(),
    }
}

pub(crate) fn info() -> RecordingInfo {
    let identity = BTreeMap::from([("model".to_owned(), "universal".to_owned())]);
    RecordingInfo { scene: Some(scene()), base_frame_id: "cell_3_base".into(), identity }
}

/// Every value of every frame differs from its neighbours, so nothing passes by accident.
pub(crate) fn frame(sequence: u64) -> Frame {
    let pixels = u64::from(WIDTH_PX * HEIGHT_PX);
    let noise =
        |i: u64| (i + 1000 * sequence + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    let color = (0..3 * pixels).map(|i| noise(i)[0]).collect();
    let depth_mm = (0..pixels).map(|i| u16::from_be_bytes([noise(i)[1], noise(i)[2]])).collect();
    Frame {
        sequence,
        stamp: StampNs(FIRST_STAMP_NS + sequence * INTERVAL_NS),
        stamp_source: StampSource::Exposure,
        color: BgrImage::new(WIDTH_PX, HEIGHT_PX, color).unwrap(),
        depth: Some(DepthImage::new(WIDTH_PX, HEIGHT_PX, depth_mm).unwrap()),
    }
}

pub(crate) fn record(path: &Path, info: RecordingInfo, options: WriteOptions, frames: &[Frame]) {
    let mut writer = FrameWriter::create(path, info, options).unwrap();
    frames.iter().for_each(|frame| writer.write(frame).unwrap());
    writer.finish().unwrap();
}

/// The bytes of a recording, as if they were part of the program.
pub(crate) fn recorded(options: WriteOptions, frames: &[Frame]) -> &'static [u8] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("belt.mcap");
    record(&path, info(), options, frames);
    std::fs::read(path).unwrap().leak()
}

pub(crate) fn read_all(reader: &mut FrameReader) -> Vec<Frame> {
    std::iter::from_fn(|| reader.next_frame().unwrap()).collect()
}

pub(crate) fn play(bytes: &'static [u8]) -> FrameReader {
    FrameReader::from_bytes("belt.mcap", bytes, Playback::default()).unwrap()
}

#[track_caller]
pub(crate) fn assert_same(found: &Frame, recorded: &Frame) {
    assert_eq!(found.sequence, recorded.sequence);
    assert_eq!(found.stamp, recorded.stamp);
    assert_eq!(found.stamp_source, StampSource::Recorded);
    assert_eq!(found.color, recorded.color);
    assert_eq!(found.depth, recorded.depth);
}

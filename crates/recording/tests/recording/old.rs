//! Recordings that earlier versions made.

use std::collections::BTreeMap;

use magpie_perception::{CameraPlace, FrameSource};
use magpie_recording::{
    ColorCoding, DepthCoding, FrameReader, FrameWriter, Playback, WriteOptions,
};

/// Made by `magpie simulate` before recordings named their base.
static DEMO: &[u8] = include_bytes!("../../../daemon/assets/demo.mcap");

fn demo() -> FrameReader {
    FrameReader::from_bytes("demo.mcap", DEMO, Playback::default()).unwrap()
}

#[test]
fn a_recording_that_does_not_name_its_base_has_the_usual_name() {
    let demo = demo();
    assert_eq!(demo.info().base_frame_id, "base");
    assert!(matches!(demo.scene().unwrap().camera_place, Some(CameraPlace::InBase(_))));
}

/// Everything about a message that another reader sees.
#[derive(Debug, PartialEq)]
struct Seen {
    topic: String,
    encodings: [String; 2],
    schema: (String, Vec<u8>),
    metadata: BTreeMap<String, String>,
    sequence: u32,
    times_ns: [u64; 2],
    data: Vec<u8>,
}

fn seen(recording: &[u8]) -> Vec<Seen> {
    mcap::MessageStream::new(recording)
        .unwrap()
        .map(|message| {
            let message = message.unwrap();
            let channel = &message.channel;
            let schema = channel.schema.as_ref().unwrap();
            Seen {
                topic: channel.topic.clone(),
                encodings: [channel.message_encoding.clone(), schema.encoding.clone()],
                schema: (schema.name.clone(), schema.data.to_vec()),
                metadata: channel.metadata.clone(),
                sequence: message.sequence,
                times_ns: [message.log_time, message.publish_time],
                data: message.data.to_vec(),
            }
        })
        .collect()
}

#[test]
fn its_frames_are_written_today_as_they_were_then() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("again.mcap");
    let mut demo = demo();
    // As `magpie simulate` codes images.
    let (color, depth) = (ColorCoding::Jpeg { quality: 90 }, DepthCoding::Png);
    let options = WriteOptions { color, depth, ..WriteOptions::default() };
    let mut writer = FrameWriter::create(&path, demo.info().clone(), options).unwrap();
    while let Some(frame) = demo.next_frame().unwrap() {
        writer.write(&frame).unwrap();
    }
    writer.finish().unwrap();
    let (mut then, mut now) = (seen(DEMO), seen(&std::fs::read(path).unwrap()));
    assert_eq!(then.len(), now.len());
    // A JPEG that is decoded and coded again is another one.
    for message in then.iter_mut().chain(&mut now).filter(|m| m.topic == "/camera/color") {
        message.data.clear();
    }
    for (then, now) in then.iter().zip(&now) {
        assert!(then == now, "{} of frame {} differs", now.topic, now.sequence);
    }
}

//! What was written comes back.

use crate::common::{
    FIRST_STAMP_NS, HEIGHT_PX, WIDTH_PX, assert_same, frame, info, play, read_all, record, recorded,
};
use magpie_perception::{DepthImage, Frame, FrameSource};
use magpie_recording::{
    ColorCoding, DepthCoding, FrameReader, FrameWriter, Playback, RecordingError, RecordingInfo,
    StoredFile, WriteOptions,
};

fn check_lossless(color: ColorCoding, depth: DepthCoding) {
    let frames: Vec<Frame> = [3, 4, 7].map(frame).into();
    let mut reader = play(recorded(WriteOptions { color, depth, ..Default::default() }, &frames));
    let found = read_all(&mut reader);
    assert_eq!(found.len(), frames.len());
    found.iter().zip(&frames).for_each(|(found, recorded)| assert_same(found, recorded));
    assert!(reader.losses().is_none(), "{}", reader.losses());
}

#[test]
fn color_and_depth_come_back_bit_by_bit_from_png_and_raw() {
    check_lossless(ColorCoding::Png, DepthCoding::Raw);
    check_lossless(ColorCoding::Png, DepthCoding::Png);
    check_lossless(ColorCoding::Raw, DepthCoding::Raw);
}

#[test]
fn jpeg_changes_color_a_little_and_depth_not_at_all() {
    let mut smooth = frame(0);
    for (i, value) in smooth.color.data_mut().iter_mut().enumerate() {
        *value = u8::try_from(100 + i / 12).unwrap();
    }
    let options = WriteOptions { color: ColorCoding::Jpeg { quality: 95 }, ..Default::default() };
    let found = read_all(&mut play(recorded(options, std::slice::from_ref(&smooth))));
    let difference = |(a, b): (&u8, &u8)| a.abs_diff(*b);
    let pairs = found[0].color.data().iter().zip(smooth.color.data());
    assert!(pairs.map(difference).max().unwrap() <= 6);
    assert_eq!(found[0].depth, smooth.depth);
}

#[test]
fn a_lossy_channel_says_so() {
    let options = WriteOptions { color: ColorCoding::Jpeg { quality: 80 }, ..Default::default() };
    let bytes = recorded(options, &[frame(0)]);
    let summary = mcap::Summary::read(bytes).unwrap().unwrap();
    let channel = summary.channels.values().find(|channel| channel.topic == "/camera/color");
    let metadata = &channel.unwrap().metadata;
    assert_eq!(metadata["lossless"], "false");
    assert_eq!(metadata["coding"], "jpeg, quality 80");
    assert_eq!(metadata["stamp_source"], "exposure");
    let mut reader = play(bytes);
    read_all(&mut reader);
    assert_eq!(reader.lossy_coding(), Some("jpeg, quality 80"));
    let mut lossless = play(recorded(WriteOptions::default(), &[frame(0)]));
    read_all(&mut lossless);
    assert_eq!(lossless.lossy_coding(), None);
}

#[test]
fn the_cell_and_the_identity_come_back_bit_by_bit() {
    assert_eq!(*play(recorded(WriteOptions::default(), &[frame(0)])).info(), info());
}

#[test]
fn frames_without_a_calibration_are_read_without_a_scene() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bare.mcap");
    record(&path, RecordingInfo::default(), WriteOptions::default(), &[frame(0)]);
    let mut reader = FrameReader::open(&path, Playback::default()).unwrap();
    assert_eq!(reader.scene(), None);
    assert_same(&reader.next_frame().unwrap().unwrap(), &frame(0));
}

#[test]
fn frames_with_and_without_depth_mix() {
    let frames = [frame(0), Frame { depth: None, ..frame(1) }, frame(2)];
    let mut reader = play(recorded(WriteOptions::default(), &frames));
    let found = read_all(&mut reader);
    assert_eq!(found.len(), 3);
    found.iter().zip(&frames).for_each(|(found, recorded)| assert_same(found, recorded));
}

#[test]
fn an_attachment_comes_back_and_a_missing_one_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("belt.mcap");
    let mut writer = FrameWriter::create(&path, info(), WriteOptions::default()).unwrap();
    writer.write(&frame(0)).unwrap();
    let config = StoredFile {
        name: "magpie.toml".into(),
        media_type: "application/toml".into(),
        data: b"cell = \"belt\"".to_vec(),
    };
    writer.attach(&config).unwrap();
    writer.write(&frame(1)).unwrap();
    writer.finish().unwrap();
    let mut reader = FrameReader::open(&path, Playback::default()).unwrap();
    assert_eq!(reader.attachment("magpie.toml").unwrap().unwrap(), b"cell = \"belt\"");
    assert_eq!(reader.attachment("other.toml").unwrap(), None);
    assert_eq!(read_all(&mut reader).len(), 2);
}

#[test]
fn other_readers_find_every_channel_its_schema_and_the_stamps() {
    let bytes = recorded(WriteOptions::default(), &[frame(0), frame(1)]);
    let messages: Vec<String> = mcap::MessageStream::new(bytes)
        .unwrap()
        .map(|message| {
            let message = message.unwrap();
            let schema = message.channel.schema.as_ref().unwrap();
            assert_eq!(
                (&*schema.encoding, &*message.channel.message_encoding),
                ("protobuf", "protobuf")
            );
            let ms = (message.log_time - FIRST_STAMP_NS) / 1_000_000;
            format!("{} {} {} {ms}", message.channel.topic, schema.name, message.sequence)
        })
        .collect();
    let expected = [
        "/camera/camera_info foxglove.CameraCalibration 0 0",
        "/tf foxglove.FrameTransform 0 0",
        "/camera/depth foxglove.RawImage 0 0",
        "/camera/color foxglove.CompressedImage 0 0",
        "/camera/depth foxglove.RawImage 1 10",
        "/camera/color foxglove.CompressedImage 1 10",
    ];
    assert_eq!(messages, expected);
}

#[test]
fn a_name_that_is_taken_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("belt.mcap");
    std::fs::write(&path, "precious").unwrap();
    let error = FrameWriter::create(&path, info(), WriteOptions::default()).err().unwrap();
    assert!(error.to_string().contains("choose another name or remove it"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn frames_of_the_wrong_size_or_order_are_refused_and_the_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("belt.mcap");
    let mut writer = FrameWriter::create(&path, info(), WriteOptions::default()).unwrap();
    writer.write(&frame(5)).unwrap();

    let narrow = DepthImage::new(WIDTH_PX - 1, HEIGHT_PX, vec![1; 15 * 12]).unwrap();
    let error = writer.write(&Frame { depth: Some(narrow), ..frame(6) }).unwrap_err();
    assert!(matches!(error, RecordingError::SizeMismatch { other: "depth", .. }), "{error}");
    let error = writer.write(&frame(4)).unwrap_err();
    assert!(matches!(error, RecordingError::WriteBackwards { sequence: 4, .. }), "{error}");

    writer.finish().unwrap();
    let mut reader = FrameReader::open(&path, Playback::default()).unwrap();
    let sequences: Vec<u64> = read_all(&mut reader).iter().map(|frame| frame.sequence).collect();
    assert_eq!(sequences, [5]);
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing").join("belt.mcap");
    let error = FrameWriter::create(&path, info(), WriteOptions::default()).err().unwrap();
    assert!(error.to_string().contains("missing/belt.mcap"), "{error}");
}

//! Recordings that others wrote, or wrote anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::{assert_same, frame, play, read_all, recorded, scene};
use foxglove::Encode;
use foxglove::messages::{CompressedImage, CompressedVideo, RawImage, Timestamp};
use magpie_perception::{CameraPlace, Frame, FrameSource, StampNs};
use magpie_recording::{ColorCoding, FrameReader, Playback, ReadOptions, WriteOptions};
use mcap::records::MessageHeader;
use nalgebra::Vector3;
use prost::Message as _;

const FRAMES: u64 = 40;

fn recording() -> &'static [u8] {
    let options = WriteOptions { color: ColorCoding::Png, ..Default::default() };
    recorded(options, &(0..FRAMES).map(frame).collect::<Vec<_>>())
}

/// What a tool keeps when it writes a file anew.
#[derive(Clone, Copy)]
struct Kept {
    metadata: bool,
    channel_metadata: bool,
    sequences: bool,
}

const ALL: Kept = Kept { metadata: true, channel_metadata: true, sequences: true };
const NOTHING: Kept = Kept { metadata: false, channel_metadata: false, sequences: false };

/// The same messages, by the standard writer.
fn rewritten(bytes: &[u8], options: mcap::WriteOptions, kept: Kept) -> &'static [u8] {
    let mut out = Vec::new();
    let mut writer = options.create(std::io::Cursor::new(&mut out)).unwrap();
    if kept.metadata {
        let summary = mcap::Summary::read(bytes).unwrap().unwrap();
        for index in &summary.metadata_indexes {
            writer.write_metadata(&mcap::read::metadata(bytes, index).unwrap()).unwrap();
        }
    }
    for message in mcap::MessageStream::new(bytes).unwrap() {
        let mut message = message.unwrap();
        if !kept.channel_metadata {
            let mut channel = (*message.channel).clone();
            channel.metadata = BTreeMap::new();
            message.channel = std::sync::Arc::new(channel);
        }
        if !kept.sequences {
            message.sequence = 0;
        }
        writer.write(&message).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    out.leak()
}

#[test]
fn a_recording_written_anew_is_the_same_recording_however_it_is_laid_out() {
    let own = recording();
    let plain = mcap::WriteOptions::new;
    let layouts = [
        plain(),
        plain().use_chunks(false),
        plain().compression(None).chunk_size(Some(100)),
        plain().compression(Some(mcap::Compression::Zstd)).calculate_chunk_crcs(false),
        plain().emit_summary_records(false).emit_summary_offsets(false),
        plain().use_chunks(false).emit_summary_records(false).emit_summary_offsets(false),
        plain().emit_statistics(false).emit_message_indexes(false).repeat_channels(false),
    ];
    for (at, options) in layouts.into_iter().enumerate() {
        for (which, kept) in [
            ("all", ALL),
            ("no metadata", Kept { metadata: false, ..ALL }),
            ("no metadata of channels", Kept { channel_metadata: false, ..ALL }),
            ("no sequences", Kept { sequences: false, ..ALL }),
            ("messages alone", NOTHING),
        ] {
            let mut reader = play(rewritten(own, options.clone(), kept));
            let found = read_all(&mut reader);
            assert_eq!(found.len() as u64, FRAMES, "layout {at}, {which}");
            found.iter().zip(0..).for_each(|(found, at)| assert_same(found, &frame(at)));
            assert!(reader.losses().is_none(), "layout {at}, {which}: {}", reader.losses());
            let lens = |scene: &magpie_perception::Scene| scene.camera_info.clone();
            let same = reader.scene().map(lens).map(|info| (info.intrinsics, info.distortion));
            let expected = lens(&scene());
            assert_eq!(same, Some((expected.intrinsics, expected.distortion)), "{at}, {which}");
        }
    }
}

#[test]
fn a_file_without_chunks_that_is_cut_gives_what_is_before() {
    let bytes = rewritten(recording(), mcap::WriteOptions::new().use_chunks(false), ALL);
    let mut reader = play(&bytes[..bytes.len() / 2]);
    let found = read_all(&mut reader).len() as u64;
    assert!(found > FRAMES / 4 && found < FRAMES, "{found}");
    assert!(reader.losses().unfinished);
}

fn bag(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn open(name: &str, options: &ReadOptions) -> FrameReader {
    FrameReader::open_with(&bag(name), Playback::default(), options).unwrap()
}

/// As `make_bags.py` says.
fn check_exposure(found: &Frame, n: u16, stamp_ns: u64) {
    assert_eq!(found.stamp, StampNs(stamp_ns));
    assert_eq!((found.color.width_px(), found.color.height_px()), (16, 12));
    for (at, bgr) in found.color.data().as_chunks::<3>().0.iter().enumerate() {
        let (x, y) = (u16::try_from(at % 16).unwrap(), u8::try_from(at / 16).unwrap());
        assert_eq!(*bgr, [200, y, u8::try_from(10 * n + x).unwrap()]);
        let depth = found.depth.as_ref().unwrap();
        assert_eq!(depth.data_mm()[at], 1000 + 100 * n + x);
    }
}

const FIRST_NS: u64 = 1_700_000_000_000_000_000;

#[test]
fn ros_2_bags_are_read_with_aligned_depth_lens_and_pose() {
    for name in ["realsense.mcap", "realsense.db3"] {
        let mut reader = open(name, &ReadOptions::default());
        let told = reader.chosen().unwrap().to_owned();
        for part in [
            "color from /camera/color/image_raw, depth from \
             /camera/aligned_depth_to_color/image_raw",
            "lens from /camera/color/camera_info",
            "pose in base_link",
            "/camera/depth/image_rect_raw",
            "/camera/infra1/image_rect_raw",
        ] {
            assert!(told.contains(part), "{part:?} is not in {told:?}");
        }
        let scene = reader.scene().unwrap().clone();
        assert_eq!(scene.camera_info.intrinsics.fy_px, 15.3);
        assert_eq!(scene.camera_info.distortion.coefficients(), [0.1, -0.05, 0.001, 0.002, 0.0]);
        let Some(CameraPlace::InBase(pose)) = scene.camera_place else { panic!("no pose") };
        // The optical axis points down at the table.
        assert!((pose * Vector3::z() + Vector3::z()).norm() < 1e-12);
        assert_eq!(pose.translation.vector, Vector3::new(0.5, 0.0, 1.25));
        assert_eq!(reader.info().base_frame_id, "base_link");
        let found = read_all(&mut reader);
        assert_eq!(found.len(), 3, "{name}");
        for (found, n) in found.iter().zip(0..) {
            check_exposure(found, n, FIRST_NS + u64::from(n) * 100_000_000);
            assert_eq!(found.sequence, u64::from(n));
        }
        assert!(reader.losses().is_none());
    }
}

#[test]
fn compressed_topics_are_read_and_a_picture_without_its_depth_is_counted() {
    for name in ["compressed.mcap", "compressed.db3"] {
        let mut reader = open(name, &ReadOptions::default());
        assert!(reader.scene().is_none() && reader.chosen().unwrap().contains("no lens"));
        let found = read_all(&mut reader);
        assert_eq!(found.len(), 2, "{name}");
        check_exposure(&found[0], 0, FIRST_NS);
        check_exposure(&found[1], 2, FIRST_NS + 200_000_000);
        let expected = "frames incomplete: 1 (depth is stamped 103 ms away or more)";
        assert_eq!(reader.losses().to_string(), expected);
    }
}

#[test]
fn topics_that_are_asked_for_are_read_and_others_are_refused_by_name() {
    let topics = |color: &str, depth: Option<&str>| ReadOptions {
        color_topic: Some(color.to_owned()),
        depth_topic: depth.map(str::to_owned),
        ..ReadOptions::default()
    };
    let infra = topics("/camera/infra1/image_rect_raw", Some("/camera/depth/image_rect_raw"));
    let mut reader = open("realsense.mcap", &infra);
    let found = read_all(&mut reader);
    assert_eq!(found[1].color.data()[..6], [10, 10, 10, 11, 11, 11]);
    assert_eq!(found[1].depth.as_ref().unwrap().data_mm()[3], 1103);
    let playback = Playback::default();
    let refused =
        FrameReader::open_with(&bag("realsense.mcap"), playback, &topics("/camera/front", None));
    let told = refused.err().unwrap().to_string();
    for part in ["no color images on /camera/front", "/camera/color/image_raw"] {
        assert!(told.contains(part), "{part:?} is not in {told:?}");
    }
}

#[test]
fn a_looped_bag_gives_every_frame_in_every_round_whatever_is_left_over_at_its_end() {
    let bytes = std::fs::read(bag("realsense.mcap")).unwrap();
    let messages: Vec<_> =
        mcap::MessageStream::new(&bytes).unwrap().map(|message| message.unwrap()).collect();
    let is_color =
        |message: &&mcap::Message<'_>| message.channel.topic == "/camera/color/image_raw";
    let last_color = messages.iter().filter(is_color).map(|message| message.log_time).max();
    let mut out = Vec::new();
    let mut writer = mcap::WriteOptions::new().create(std::io::Cursor::new(&mut out)).unwrap();
    for message in &messages {
        // The depth of the last picture stays without it.
        if !(is_color(&message) && Some(message.log_time) == last_color) {
            writer.write(message).unwrap();
        }
    }
    writer.finish().unwrap();
    drop(writer);
    let playback = Playback { looped: true, ..Playback::default() };
    let mut reader = FrameReader::from_bytes("looped.mcap", out, playback).unwrap();
    let pixels: Vec<Vec<u8>> =
        (0..6).map(|_| reader.next_frame().unwrap().unwrap().color.data().to_vec()).collect();
    assert_ne!(pixels[0], pixels[1]);
    assert_eq!((&pixels[2..4], &pixels[4..]), (&pixels[..2], &pixels[..2]), "two frames a round");
}

/// The bag with every aligned depth image moved in time, or without any.
/// Its depth comes 3 ms after color before it is moved.
fn bag_with_depth(moved_ns: Option<u64>) -> Vec<u8> {
    let bytes = std::fs::read(bag("realsense.mcap")).unwrap();
    let mut out = Vec::new();
    let mut writer = mcap::WriteOptions::new().create(std::io::Cursor::new(&mut out)).unwrap();
    for message in mcap::MessageStream::new(&bytes).unwrap() {
        let mut message = message.unwrap();
        if message.channel.topic.contains("aligned_depth") && message.channel.topic.ends_with("raw")
        {
            let Some(moved_ns) = moved_ns else { continue };
            // CDR: four bytes, then the stamp's seconds and nanoseconds.
            let mut data = message.data.to_vec();
            let nanos = u32::from_le_bytes(data[8..12].try_into().unwrap());
            let seconds = u32::from_le_bytes(data[4..8].try_into().unwrap());
            let moved = u64::from(seconds) * 1_000_000_000 + u64::from(nanos) + moved_ns;
            let part = |value: u64| u32::try_from(value).unwrap().to_le_bytes();
            data[4..8].copy_from_slice(&part(moved / 1_000_000_000));
            data[8..12].copy_from_slice(&part(moved % 1_000_000_000));
            message.data = data.into();
        }
        writer.write(&message).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    out
}

fn play_bag(bytes: Vec<u8>) -> FrameReader {
    FrameReader::from_bytes("cell.mcap", bytes, Playback::default()).unwrap()
}

#[test]
fn where_all_depth_is_of_other_exposures_the_pictures_are_read_without_it_and_that_is_told() {
    let mut reader = play_bag(bag_with_depth(Some(12_000_000)));
    assert!(read_all(&mut reader).iter().all(|frame| frame.depth.is_some()));
    assert!(reader.losses().is_none());
    for (moved_ns, told) in [
        (30_000_000, "stamped 33 ms away or more"),
        (400_000_000_000, "stamped 399 s away or more"),
    ] {
        let mut reader = play_bag(bag_with_depth(Some(moved_ns)));
        let found = read_all(&mut reader);
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|frame| frame.depth.is_none()));
        assert_eq!(found[0].stamp, StampNs(FIRST_NS));
        let losses = reader.losses().to_string();
        assert!(losses.contains(told) && losses.contains("within 16 ms"), "{losses}");
        assert!(losses.contains("depth is not used") && !losses.contains("incomplete"), "{losses}");
    }
}

#[test]
fn depth_that_is_not_used_is_told_with_the_reason() {
    let reader = play_bag(bag_with_depth(None));
    let told = reader.chosen().unwrap();
    for part in [
        "color from /camera/color/image_raw, no depth",
        "/camera/depth/image_rect_raw (not aligned with the picture, since it is in",
        "record aligned_depth_to_color",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    let images =
        [("/rgb", raw("mono8", 1, &[1; 6])), ("/depth_registered", raw("16UC1", 2, &[1; 6]))];
    let reader = play(foxglove_files(&images));
    let told = reader.chosen().unwrap();
    assert!(told.contains("/depth_registered (3x1, the picture 6x1; record both"), "{told}");
}

#[test]
fn a_bag_that_is_cut_is_told_as_such_and_another_database_by_its_tables() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.db3");
    let bytes = std::fs::read(bag("realsense.db3")).unwrap();
    for cut in [bytes.len() / 4, bytes.len() / 2, 5000] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        let told = FrameReader::open(&path, Playback::default()).err().unwrap().to_string();
        assert!(
            told.contains("it is damaged or cut") && told.contains(".recover"),
            "{cut}: {told}"
        );
    }
    let path = folder.path().join("other.db3");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch("CREATE TABLE goods (id, name);").unwrap();
    drop(database);
    let error = FrameReader::open(&path, Playback::default()).err().unwrap();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "it has no tables `topics` and `messages`");
}

#[test]
fn a_database_whose_messages_are_made_up_by_a_query_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endless.db3");
    let database = rusqlite::Connection::open(&path).unwrap();
    let endless = "CREATE TABLE topics (id, name, type, serialization_format);
        CREATE VIEW messages AS WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n)
        SELECT id, 1 AS topic_id, 1 AS timestamp, zeroblob(9) AS data FROM n;";
    database.execute_batch(endless).unwrap();
    drop(database);
    assert!(FrameReader::open(&path, Playback::default()).is_err());
}

#[test]
fn the_folder_of_a_bag_is_its_one_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("metadata.yaml"), "").unwrap();
    let open = || FrameReader::open(folder.path(), Playback::default());
    assert!(open().err().unwrap().to_string().contains("these recordings: none"));
    std::fs::copy(bag("realsense.mcap"), folder.path().join("bag_0.mcap")).unwrap();
    assert_eq!(read_all(&mut open().unwrap()).len(), 3);
    std::fs::copy(bag("realsense.mcap"), folder.path().join("bag_1.mcap")).unwrap();
    let told = open().err().unwrap().to_string();
    assert!(told.contains("bag_0.mcap") && told.contains("name one"), "{told}");
    let broken = folder.path().join("broken.db3");
    std::fs::write(&broken, b"SQLite format 3\0 and nothing more").unwrap();
    let told = FrameReader::open(&broken, Playback::default()).err().unwrap().to_string();
    assert!(told.contains("broken.db3 as a ROS 2 bag"), "{told}");
}

/// Messages of Foxglove's on topics of others' choosing.
fn foxglove_file<T: Encode + prost::Message>(topic: &str, messages: &[T]) -> &'static [u8] {
    let mut out = Vec::new();
    let mut writer = mcap::Writer::new(std::io::Cursor::new(&mut out)).unwrap();
    let schema = T::get_schema().unwrap();
    let schema = writer.add_schema(&schema.name, &schema.encoding, &schema.data).unwrap();
    let channel_id = writer.add_channel(schema, topic, "protobuf", &BTreeMap::new()).unwrap();
    for message in messages {
        let header = MessageHeader { channel_id, sequence: 0, log_time: 5, publish_time: 5 };
        writer.write_to_known_channel(&header, &message.encode_to_vec()).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    out.leak()
}

fn raw(encoding: &str, bytes_per_pixel: u32, data: &[u8]) -> RawImage {
    let width = u32::try_from(data.len()).unwrap() / bytes_per_pixel;
    RawImage {
        timestamp: Some(Timestamp::new(7, 0)),
        frame_id: "cam".into(),
        width,
        height: 1,
        encoding: encoding.into(),
        step: width * bytes_per_pixel,
        data: data.to_vec().into(),
    }
}

#[test]
fn foxgloves_pictures_are_read_in_the_encodings_that_others_use() {
    // Of YUV, white, black, and pure red as BT.601 has it.
    for (encoding, bytes, data, bgr) in [
        ("rgb8", 3, &[1u8, 2, 3][..], &[3u8, 2, 1][..]),
        ("bgr8", 3, &[1, 2, 3], &[1, 2, 3]),
        ("8UC3", 3, &[1, 2, 3], &[1, 2, 3]),
        ("rgba8", 4, &[1, 2, 3, 9], &[3, 2, 1]),
        ("bgra8", 4, &[1, 2, 3, 9], &[1, 2, 3]),
        ("mono8", 1, &[7, 8], &[7, 7, 7, 8, 8, 8]),
        // 0x0700 and 0x08FF, of a camera with 12 bits.
        ("mono16", 2, &[0, 7, 255, 8], &[112, 112, 112, 143, 143, 143]),
        ("uyvy", 2, &[128, 235, 128, 16], &[255, 255, 255, 0, 0, 0]),
        ("yuyv", 2, &[81, 90, 81, 240], &[0, 0, 254, 0, 0, 254]),
    ] {
        let mut reader = play(foxglove_file("/front", &[raw(encoding, bytes, data)]));
        let found = read_all(&mut reader);
        assert_eq!(found[0].color.data(), bgr, "{encoding}");
        assert_eq!(found[0].stamp, StampNs(7_000_000_000));
    }
    let jpeg = {
        let mut jpeg = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
        encoder.encode(&[90; 3 * 64], 8, 8, image::ExtendedColorType::Rgb8).unwrap();
        jpeg
    };
    // ROS's bridge writes more into `format` than Foxglove defines.
    for format in ["jpeg", "jpg", "rgb8; jpeg compressed bgr8"] {
        let data = jpeg.clone().into();
        let image = CompressedImage { data, format: format.into(), ..Default::default() };
        let mut reader = play(foxglove_file("/front", &[image]));
        let found = read_all(&mut reader);
        assert_eq!(found[0].color.data()[0], 90, "{format}");
        // Without a timestamp of its own, it is stamped with when it was stored.
        assert_eq!(found[0].stamp, StampNs(5));
    }
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let refused = |bytes: &'static [u8]| {
        let opened = FrameReader::from_bytes("cell.mcap", bytes, Playback::default());
        match opened {
            Err(error) => error.to_string(),
            Ok(mut reader) => {
                let error = magpie_perception::FrameSource::next_frame(&mut reader).unwrap_err();
                let cause = std::error::Error::source(&error).unwrap();
                format!("{cause}: {}", cause.source().unwrap())
            }
        }
    };
    let video = CompressedVideo { format: "h264".into(), ..Default::default() };
    let told = refused(foxglove_file("/front", &[video]));
    for part in ["no pictures that are read", "/front", "CompressedVideo: video is not decoded"] {
        assert!(told.contains(part), "{part:?} is not in {told:?}");
    }
    let told = refused(foxglove_file("/front", &[raw("bayer_rggb8", 1, &[1, 2])]));
    assert!(told.contains("\"bayer_rggb8\" is a sensor's mosaic; record the topic"), "{told}");
    let webp = CompressedImage { format: "webp".into(), ..Default::default() };
    let told = refused(foxglove_file("/front", &[webp]));
    assert!(told.contains("format \"webp\" is neither png nor jpeg"), "{told}");
}

#[test]
fn depth_in_metres_becomes_millimetres_and_what_was_not_measured_is_zero() {
    let metres = [1.2345f32, f32::NAN, f32::INFINITY, -1.0, 70.0, 0.0];
    let bytes: Vec<u8> = metres.iter().flat_map(|m| m.to_le_bytes()).collect();
    let images =
        [("/rgb", raw("mono8", 1, &[1; 6])), ("/depth_registered", raw("32FC1", 4, &bytes))];
    let found = read_all(&mut play(foxglove_files(&images)));
    assert_eq!(found[0].depth.as_ref().unwrap().data_mm(), [1235, 0, 0, 0, 0, 0]);
}

/// One picture on each topic.
fn foxglove_files(images: &[(&str, RawImage)]) -> &'static [u8] {
    let mut out = Vec::new();
    let mut writer = mcap::Writer::new(std::io::Cursor::new(&mut out)).unwrap();
    let schema = RawImage::get_schema().unwrap();
    let schema = writer.add_schema(&schema.name, &schema.encoding, &schema.data).unwrap();
    for (topic, image) in images {
        let channel_id = writer.add_channel(schema, topic, "protobuf", &BTreeMap::new()).unwrap();
        let header = MessageHeader { channel_id, sequence: 3, log_time: 5, publish_time: 5 };
        writer.write_to_known_channel(&header, &image.encode_to_vec()).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    out.leak()
}

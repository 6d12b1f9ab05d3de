//! What the recordings of others say of their cameras, and pictures that are not what they were.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::read_all;
use magpie_perception::{CameraPlace, FrameSource, Intrinsics};
use magpie_recording::{FrameReader, Playback, ReadOptions};
use mcap::records::MessageHeader;
use nalgebra::Vector3;

/// A message of ROS 2, as CDR lays it out.
struct Cdr(Vec<u8>);

impl Cdr {
    fn new() -> Cdr {
        Cdr(vec![0, 1, 0, 0])
    }

    fn number<const N: usize>(mut self, bytes: [u8; N]) -> Cdr {
        while !(self.0.len() - 4).is_multiple_of(N) {
            self.0.push(0);
        }
        self.0.extend(bytes);
        self
    }

    fn u32(self, value: u32) -> Cdr {
        self.number(value.to_le_bytes())
    }

    fn f64s(self, values: &[f64]) -> Cdr {
        values.iter().fold(self, |cdr, value| cdr.number(value.to_le_bytes()))
    }

    fn bytes(self, bytes: &[u8]) -> Cdr {
        let mut cdr = self.u32(u32::try_from(bytes.len()).unwrap());
        cdr.0.extend(bytes);
        cdr
    }

    fn text(self, text: &str) -> Cdr {
        self.bytes(format!("{text}\0").as_bytes())
    }

    fn header(self, second: u32, frame_id: &str) -> Cdr {
        self.u32(second).u32(0).text(frame_id)
    }
}

/// A message, where and when it was stored.
type Message = (String, &'static str, u64, Vec<u8>);

const SECOND_NS: u64 = 1_000_000_000;
const SIZE: [u32; 2] = [8, 4];

/// Of 8x4 px.
fn image(topic: &str, second: u32, encoding: &str, data: &[u8]) -> Message {
    let step = u32::try_from(data.len()).unwrap() / SIZE[1];
    let cdr = Cdr::new().header(second, "cam").u32(SIZE[1]).u32(SIZE[0]).text(encoding);
    let cdr = cdr.number([0]).u32(step).bytes(data);
    (topic.into(), "sensor_msgs/msg/Image", SECOND_NS * u64::from(second), cdr.0)
}

fn grey(topic: &str, second: u32) -> Message {
    image(topic, second, "mono8", &[50; 32])
}

fn depth(second: u32, value: u16) -> Message {
    let data: Vec<u8> = std::iter::repeat_n(value.to_le_bytes(), 32).flatten().collect();
    image("/cam/aligned_depth/image", second, "16UC1", &data)
}

fn compressed(topic: &str, second: u32, data: &[u8]) -> Message {
    let cdr = Cdr::new().header(second, "cam").text("jpeg").bytes(data);
    (topic.into(), "sensor_msgs/msg/CompressedImage", SECOND_NS * u64::from(second), cdr.0)
}

fn transform(topic: &str, second: u32, parent: &str, child: &str) -> Message {
    let cdr = Cdr::new().u32(1).header(second, parent).text(child);
    let cdr = cdr.f64s(&[0.0, 0.0, 1.5, 1.0, 0.0, 0.0, 0.0]);
    (topic.into(), "tf2_msgs/msg/TFMessage", SECOND_NS * u64::from(second), cdr.0)
}

/// What `CameraInfo` says, with a lens that bends and a rectified picture of other focal lengths.
#[derive(Clone, Copy)]
struct Info {
    sensor_px: [u32; 2],
    k: [f64; 9],
    d: [f64; 5],
    r: [f64; 9],
    p: [f64; 12],
    binning: [u32; 2],
    /// x, y, height, width.
    roi: [u32; 4],
}

const INFO: Info = Info {
    sensor_px: SIZE,
    k: [10.0, 0.0, 4.0, 0.0, 11.0, 2.0, 0.0, 0.0, 1.0],
    d: [-0.3, 0.1, 0.0, 0.0, 0.0],
    r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
    p: [7.0, 0.0, 4.5, 0.0, 0.0, 7.5, 2.5, 0.0, 0.0, 0.0, 1.0, 0.0],
    binning: [0, 0],
    roi: [0; 4],
};

fn camera_info(info: Info) -> Message {
    let [width, height] = info.sensor_px;
    let cdr = Cdr::new().header(1, "cam").u32(height).u32(width).text("plumb_bob");
    let cdr = cdr.u32(5).f64s(&info.d).f64s(&info.k);
    let cdr = cdr.f64s(&info.r).f64s(&info.p);
    let cdr = info.binning.into_iter().chain(info.roi).fold(cdr, Cdr::u32).number([0]);
    ("/cam/camera_info".into(), "sensor_msgs/msg/CameraInfo", SECOND_NS, cdr.0)
}

fn bag(messages: &[Message]) -> Vec<u8> {
    laid_out(mcap::WriteOptions::new(), messages)
}

fn laid_out(options: mcap::WriteOptions, messages: &[Message]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = options.create(std::io::Cursor::new(&mut out)).unwrap();
    let mut channels: BTreeMap<&str, u16> = BTreeMap::new();
    for (topic, schema, log_time, data) in messages {
        let channel_id = *channels.entry(topic).or_insert_with(|| {
            let schema = writer.add_schema(schema, "ros2msg", &[]).unwrap();
            writer.add_channel(schema, topic, "cdr", &BTreeMap::new()).unwrap()
        });
        let (log_time, publish_time) = (*log_time, *log_time);
        let header = MessageHeader { channel_id, sequence: 0, log_time, publish_time };
        writer.write_to_known_channel(&header, data).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    out
}

/// The same as an SQLite bag.
fn database(path: &Path, messages: &[Message]) {
    let database = rusqlite::Connection::open(path).unwrap();
    let tables = "CREATE TABLE topics (id INTEGER PRIMARY KEY, name TEXT, type TEXT,
            serialization_format TEXT, offered_qos_profiles TEXT);
        CREATE TABLE messages (id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER,
            data BLOB);";
    database.execute_batch(tables).unwrap();
    let mut topics: BTreeMap<&str, i64> = BTreeMap::new();
    for (topic, kind, stamp, data) in messages {
        let next = i64::try_from(topics.len()).unwrap() + 1;
        let id = *topics.entry(topic).or_insert_with(|| {
            let sql = "INSERT INTO topics VALUES (?, ?, ?, 'cdr', '')";
            database.execute(sql, rusqlite::params![next, topic, kind]).unwrap();
            next
        });
        let stamp = i64::try_from(*stamp).unwrap();
        let sql = "INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)";
        database.execute(sql, rusqlite::params![id, stamp, data]).unwrap();
    }
}

fn options() -> ReadOptions {
    ReadOptions::default()
}

fn opened(messages: &[Message], options: &ReadOptions) -> Result<FrameReader, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bag.mcap");
    std::fs::write(&path, bag(messages)).unwrap();
    let opened = FrameReader::open_with(&path, Playback::default(), options);
    opened.map_err(|error| error.to_string())
}

fn open(messages: &[Message]) -> FrameReader {
    opened(messages, &options()).unwrap()
}

#[track_caller]
fn check_told(reader: &FrameReader, parts: &[&str]) {
    let told = reader.chosen().unwrap();
    for part in parts {
        assert!(told.contains(part), "{part:?} is not in {told:?}");
    }
}

const K: Intrinsics = Intrinsics { fx_px: 10.0, fy_px: 11.0, cx_px: 4.0, cy_px: 2.0 };
const P: Intrinsics = Intrinsics { fx_px: 7.0, fy_px: 7.5, cx_px: 4.5, cy_px: 2.5 };

#[test]
fn a_rectified_picture_is_seen_through_p_without_distortion_and_a_raw_one_through_k_and_d() {
    for (topic, intrinsics, k1) in [
        ("/cam/image_rect_color", P, 0.0),
        ("/cam/rect/image", P, 0.0),
        ("/cam/image_raw", K, -0.3),
        ("/cam/image", K, -0.3),
    ] {
        let reader = open(&[camera_info(INFO), grey(topic, 1)]);
        let info = &reader.scene().unwrap().camera_info;
        assert_eq!(info.intrinsics, intrinsics, "{topic}");
        assert_eq!(info.distortion.coefficients()[0], k1, "{topic}");
    }
}

#[test]
fn the_raw_picture_is_preferred_to_the_rectified_one_and_depth_of_the_other_kind_is_told() {
    let both = [
        camera_info(INFO),
        image("/cam/image_rect_color", 1, "bgr8", &[1; 96]),
        image("/cam/image_raw", 1, "bgr8", &[2; 96]),
    ];
    check_told(&open(&both), &["color from /cam/image_raw", "not used: /cam/image_rect_color"]);
    let mut rectified_depth = depth(1, 900);
    rectified_depth.0 = "/cam/depth_registered/image_rect".into();
    // Five pixels aside.
    let far = Info { p: [10.0, 0.0, 9.0, 0.0, 0.0, 11.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0], ..INFO };
    let mixed = [camera_info(far), both[2].clone(), rectified_depth];
    check_told(&open(&mixed), &["only depth is rectified, so depth lies up to 5 px beside color"]);
}

#[test]
fn a_rectified_picture_without_p_has_no_lens() {
    let reader = open(&[camera_info(Info { p: [0.0; 12], ..INFO }), grey("/cam/image_rect", 1)]);
    assert!(reader.scene().is_none());
    check_told(&reader, &["no lens, since of /cam/camera_info P is not filled in"]);
}

#[test]
fn the_axes_of_a_rectified_picture_are_turned_by_r() {
    // A quarter turn about the optical axis: what is right for the picture is down for the camera.
    let r = [0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    let static_tf = transform("/tf_static", 1, "base_link", "cam");
    let place = |topic: &str| {
        let info = camera_info(Info { r, ..INFO });
        let reader = open(&[static_tf.clone(), info, grey(topic, 1)]);
        let Some(CameraPlace::InBase(pose)) = reader.scene().unwrap().camera_place else {
            panic!("no pose: {:?}", reader.chosen())
        };
        pose * Vector3::x()
    };
    assert!((place("/cam/image_raw") - Vector3::x()).norm() < 1e-9);
    // The camera looks down at the base, so its y is the base's -y.
    assert!((place("/cam/image_rect") + Vector3::y()).norm() < 1e-9);
}

#[test]
fn regions_and_binning_are_cut_out_of_the_sensor() {
    let part = Info { sensor_px: [32, 24], binning: [2, 4], roi: [6, 4, 16, 16], ..INFO };
    let reader = open(&[camera_info(part), grey("/cam/image_raw", 1)]);
    let found = reader.scene().unwrap().camera_info.intrinsics;
    let expected = Intrinsics { fx_px: 5.0, fy_px: 2.75, cx_px: -1.0, cy_px: -0.5 };
    assert_eq!(found, expected);
    check_told(&reader, &["for its part of 32x24 px"]);
    let reader = open(&[camera_info(Info { binning: [2, 2], ..INFO }), grey("/cam/image_raw", 1)]);
    assert!(reader.scene().is_none());
    check_told(&reader, &["is for 4x2 px, for its part of 8x4 px, and the picture has 8x4"]);
}

#[test]
fn a_lens_is_the_first_that_is_filled_in() {
    let zeros = camera_info(Info { k: [0.0; 9], ..INFO });
    let picture = grey("/cam/image_raw", 1);
    let reader = open(&[zeros.clone(), zeros.clone(), camera_info(INFO), picture.clone()]);
    assert_eq!(reader.scene().unwrap().camera_info.intrinsics, K);
    check_told(&open(&[zeros, picture]), &["K says that the camera is not calibrated"]);
}

#[test]
fn a_cameras_own_mount_is_not_taken_for_the_robots_base_and_this_is_told() {
    let with = |parent: &str| {
        [transform("/tf_static", 1, parent, "cam"), camera_info(INFO), grey("/cam/image_raw", 1)]
    };
    for mount in ["camera_base", "zed2_base_link"] {
        let reader = open(&with(mount));
        assert_eq!(reader.scene().unwrap().camera_place, None, "{mount}");
        check_told(&reader, &["no pose, since", &format!("--base-frame {mount}")]);
    }
    let asked = |base: &str| ReadOptions { base_frame_id: Some(base.into()), ..options() };
    let reader = opened(&with("camera_base"), &asked("camera_base")).unwrap();
    assert_eq!(reader.info().base_frame_id, "camera_base");
    assert!(reader.scene().unwrap().camera_place.is_some());
    let refused = opened(&with("camera_base"), &asked("base_link")).err().unwrap();
    assert!(refused.contains("does not say where its camera is in base_link"), "{refused}");
    let moving = [
        transform("/tf", 1, "base_link", "tool0"),
        transform("/tf_static", 1, "tool0", "cam"),
        camera_info(INFO),
        grey("/cam/image_raw", 1),
    ];
    check_told(&open(&moving), &["no pose, since tool0 moves"]);
}

#[test]
fn a_static_transform_is_found_however_late_it_comes() {
    let mut messages = vec![transform("/tf_static", 0, "elsewhere", "here"), camera_info(INFO)];
    messages.extend((1..400).map(|second| grey("/cam/image_raw", second)));
    messages.push(transform("/tf_static", 400, "base_link", "cam"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let small = mcap::WriteOptions::new().chunk_size(Some(200));
    std::fs::write(path("chunks.mcap"), laid_out(small, &messages)).unwrap();
    let loose = mcap::WriteOptions::new().use_chunks(false);
    std::fs::write(path("loose.mcap"), laid_out(loose, &messages)).unwrap();
    database(&path("bag.db3"), &messages);
    for name in ["chunks.mcap", "loose.mcap", "bag.db3"] {
        let reader = FrameReader::open(&path(name), Playback::default()).unwrap();
        check_told(&reader, &["pose in base_link"]);
    }
}

#[test]
fn a_topic_that_is_not_read_is_not_chosen_while_another_one_is() {
    let both =
        [image("/cam/color/image_raw", 1, "bayer_rggb8", &[9; 32]), grey("/cam/image_rect", 1)];
    let mut reader = open(&both);
    check_told(&reader, &["color from /cam/image_rect", "/cam/color/image_raw (encoding"]);
    assert_eq!(read_all(&mut reader).len(), 1);
    let asked = ReadOptions { color_topic: Some("/cam/color/image_raw".into()), ..options() };
    let refused = opened(&both, &asked).err().unwrap();
    assert!(
        refused.contains("is a sensor's mosaic") && refused.contains("image_rect"),
        "{refused}"
    );
    // 16-bit signed numbers are no depth.
    let wrong = image("/cam/depth/image", 1, "16SC1", &[0; 64]);
    check_told(
        &open(&[both[1].clone(), wrong]),
        &["/cam/depth/image (encoding \"16SC1\" is not 16UC1"],
    );
}

#[test]
fn what_shows_heat_or_infrared_is_no_depth() {
    let mut thermal = depth(1, 20_000);
    thermal.0 = "/cam/thermal".into();
    check_told(
        &open(&[grey("/cam/image_raw", 1), thermal]),
        &["no depth", "not used: /cam/thermal"],
    );
}

fn jpeg() -> Vec<u8> {
    let mut jpeg = Vec::new();
    let mut encoder = image::codecs::jpeg::JpegEncoder::new(&mut jpeg);
    // Of many values, so that its scan is long.
    let pixels: Vec<u8> =
        (0..3 * 64 * 48_u32).map(|at| u8::try_from(at * at / 7 % 251).unwrap()).collect();
    encoder.encode(&pixels, 64, 48, image::ExtendedColorType::Rgb8).unwrap();
    jpeg
}

#[test]
fn a_damaged_picture_is_refused_wherever_it_stands() {
    let whole = jpeg();
    let mut damaged = whole.clone();
    let middle = whole.len() * 3 / 4;
    damaged[middle..middle + 40].fill(0x55);
    let cut = &whole[..whole.len() * 3 / 4];
    for broken in [&damaged[..], cut] {
        let topic = "/cam/image_raw/compressed";
        let first = [compressed(topic, 1, broken), compressed(topic, 2, &whole)];
        let later = [compressed(topic, 1, &whole), compressed(topic, 2, broken)];
        for messages in [&first, &later] {
            let mut reader = open(messages);
            let error = std::iter::from_fn(|| reader.next_frame().transpose())
                .find_map(Result::err)
                .expect("one of the two is damaged");
            let cause = std::error::Error::source(&error).unwrap();
            let told = format!("{cause}: {}", cause.source().unwrap());
            assert!(told.contains("color image of frame") && told.contains("damaged"), "{told}");
        }
        let alone = opened(&[compressed(topic, 1, broken)], &options()).err().unwrap();
        assert!(alone.contains("its JPEG is damaged"), "{alone}");
    }
}

#[test]
fn what_one_stands_for_in_depth_can_be_said() {
    let metres: Vec<u8> = std::iter::repeat_n(1200_f32.to_le_bytes(), 32).flatten().collect();
    let in_mm = image("/cam/aligned_depth/image", 1, "32FC1", &metres);
    for (depth, unit_m, mm) in [
        (depth(1, 6000), None, 6000),
        (depth(1, 6000), Some(0.0002), 1200),
        (depth(1, u16::MAX), Some(0.0002), 0),
        (in_mm.clone(), None, 0),
        (in_mm, Some(0.001), 1200),
    ] {
        let unit = ReadOptions { depth_unit_m: unit_m, ..options() };
        let mut reader = opened(&[grey("/cam/image_raw", 1), depth], &unit).unwrap();
        let frame = reader.next_frame().unwrap().unwrap();
        assert_eq!(frame.depth.unwrap().data_mm(), [mm; 32], "{unit_m:?}");
    }
}

/// Pictures of a camera of 12 bits.
#[test]
fn deep_pictures_are_as_bright_as_their_camera_took_them() {
    let bytes = |values: &[u16]| -> Vec<u8> {
        (0..32).flat_map(|at| values[at % values.len()].to_le_bytes()).collect()
    };
    let topic = "/cam/image_raw";
    let mut reader = open(&[
        image(topic, 1, "mono16", &bytes(&[4095, 2048])),
        // No value tells any more, but the camera is the same.
        image(topic, 2, "mono16", &bytes(&[160])),
    ]);
    let found = read_all(&mut reader);
    assert_eq!(found[0].color.data()[..6], [255, 255, 255, 128, 128, 128]);
    assert_eq!(found[1].color.data()[..3], [10, 10, 10]);
    let triples: Vec<u8> = bytes(&[4095, 2048, 16]).repeat(3);
    for (encoding, expected) in [("rgb16", [1, 128, 255]), ("bgr16", [255, 128, 1])] {
        let mut reader = open(&[image(topic, 1, encoding, &triples)]);
        assert_eq!(read_all(&mut reader)[0].color.data()[..3], expected, "{encoding}");
    }
    let mut png = std::io::Cursor::new(Vec::new());
    let pixels = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, vec![4095_u16, 2048]);
    pixels.unwrap().write_to(&mut png, image::ImageFormat::Png).unwrap();
    let mut reader = open(&[compressed("/cam/image_raw/compressed", 1, png.get_ref())]);
    assert_eq!(read_all(&mut reader)[0].color.data(), [255, 255, 255, 128, 128, 128]);
}

#[test]
fn compressed_bags_and_those_of_ros_1_are_named() {
    let zstd: &[u8] = &[0x28, 0xB5, 0x2F, 0xFD, 0x20, 0, 1, 0, 0];
    let mut message = grey("/cam/image_raw", 1);
    message.3 = zstd.to_vec();
    let refused = opened(&[message], &options()).err().unwrap();
    assert!(refused.contains("each message is compressed by zstd"), "{refused}");

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("metadata.yaml"), "").unwrap();
    std::fs::write(folder.path().join("bag_0.db3.zstd"), zstd).unwrap();
    let of_file = folder.path().join("bag_0.db3.zstd");
    for path in [folder.path(), &of_file] {
        let refused = FrameReader::open(path, Playback::default()).err().unwrap().to_string();
        assert!(
            refused.contains("unpack it with `zstd -d") && refused.contains("bag_0"),
            "{refused}"
        );
    }
    let ros_1 = folder.path().join("old.bag");
    std::fs::write(&ros_1, b"#ROSBAG V2.0\n").unwrap();
    let refused = FrameReader::open(&ros_1, Playback::default()).err().unwrap().to_string();
    assert!(refused.contains("is a bag of ROS 1"), "{refused}");
}

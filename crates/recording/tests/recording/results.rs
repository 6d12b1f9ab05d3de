//! The results of frames, beside the frames.

use foxglove::messages::points_annotation::Type;
use foxglove::messages::{FrameTransform, ImageAnnotations, Log, PosesInFrame, SceneUpdate};
use magpie_perception::{
    BboxPx, CupSet, FrameSource, Grasp, Grasps, Instance, Mask, Package, Packages, PoseSource,
    Quality, ReferenceFrame, SizeM, StampNs, StampSource,
};
use magpie_recording::{
    FrameReader, FrameWriter, MessageReader, Playback, RecordingError, RecordingInfo, Results,
    WriteOptions,
};
use magpie_wire as wire;
use nalgebra::{Isometry3, Point3, Quaternion, UnitQuaternion, Vector3};
use prost::Message;
use tempfile::TempDir;

use crate::common::{HEIGHT_PX, INTERVAL_NS, WIDTH_PX, frame, info, read_all, scene};

/// One package that fills the pixels 2..6 by 3..8, with a grasp.
fn packages(sequence: u64) -> Packages {
    let inside = |x, y| (2..6).contains(&x) && (3..8).contains(&y);
    let pixels = (0..HEIGHT_PX).flat_map(|y| (0..WIDTH_PX).map(move |x| u8::from(inside(x, y))));
    let mask = Mask::from_bitmap(WIDTH_PX, HEIGHT_PX, &pixels.collect::<Vec<_>>());
    let bbox = BboxPx { x_min_px: 2.0, y_min_px: 3.0, x_max_px: 6.0, y_max_px: 8.0 };
    let rotation = UnitQuaternion::from_euler_angles(3.0, 0.2, 0.1);
    let grasp = Grasp {
        contact_px: [3.5, 5.0],
        reference_from_grasp: Isometry3::from_parts(Vector3::new(0.3, 0.2, 0.1).into(), rotation),
        pose_source: PoseSource::Depth,
        quality: Quality {
            clearance: 1.0,
            seal: 0.9,
            moment: 1.0,
            tilt: 1.0,
            hold: 1.0,
            depth_share: Some(1.0),
        },
        cups: CupSet::of(0),
        position_sigma_m: 0.001,
    };
    let instance = Instance { class_id: 1, score: 0.875, bbox, mask };
    let package = Package {
        grasps: Ok(Grasps::new(vec![grasp]).unwrap()),
        deepest_px: [4.0, 5.0],
        position_in_reference: Some(Point3::new(0.3, 0.2, 0.05)),
        size: Some(SizeM { length_m: 0.3, width_m: 0.2, height_m: 0.1 }),
        ..Package::unplanned(instance, 7)
    };
    Packages {
        sequence,
        stamp: frame(sequence).stamp,
        stamp_source: StampSource::Exposure,
        image_width_px: WIDTH_PX,
        image_height_px: HEIGHT_PX,
        reference_frame: ReferenceFrame::Base,
        valid_until: frame(sequence).stamp,
        packages: vec![package],
        velocity: None,
        depth_problem: None,
    }
}

/// A result that nothing but its own sequence is in.
fn message(sequence: u64) -> wire::Packages {
    wire::Packages { sequence, cell: "belt".into(), ..wire::Packages::default() }
}

fn status(camera: &str) -> wire::Status {
    wire::Status { camera: camera.into(), ..wire::Status::default() }
}

fn write_processed(writer: &mut FrameWriter, sequence: u64) {
    let class_names = ["box".to_owned(), "poly_bag".to_owned()];
    let (message, packages) = (message(sequence), packages(sequence));
    let results = Results { message: &message, packages: &packages, class_names: &class_names };
    writer.write_processed(&frame(sequence), &results).unwrap();
}

/// A chunk for each frame.
fn writer(folder: &TempDir) -> FrameWriter {
    let options = WriteOptions { chunk_ns_max: 1, ..Default::default() };
    FrameWriter::create(&folder.path().join("belt.mcap"), info(), options).unwrap()
}

fn messages<T: Message + Default>(folder: &TempDir, topic: &str) -> Vec<(u32, StampNs, T)> {
    read_messages(MessageReader::open(&folder.path().join("belt.mcap"), topic).unwrap())
}

fn read_messages<T: Message + Default>(mut reader: MessageReader<T>) -> Vec<(u32, StampNs, T)> {
    std::iter::from_fn(|| reader.next_message().unwrap())
        .map(|recorded| (recorded.sequence, recorded.stamp, recorded.message))
        .collect()
}

/// The only message of a topic.
fn drawn<T: Message + Default>(folder: &TempDir, topic: &str) -> T {
    let [(_, _, message)] = <[_; 1]>::try_from(messages(folder, topic)).ok().unwrap();
    message
}

#[test]
fn a_frame_is_on_the_disk_when_only_other_messages_follow() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("belt.mcap");
    let mut writer = FrameWriter::create(&path, info(), WriteOptions::default()).unwrap();
    writer.write(&frame(0)).unwrap();
    let later = StampNs(frame(0).stamp.0 + WriteOptions::default().chunk_ns_max);
    writer.write_status(later, &status("lost")).unwrap();
    std::mem::forget(writer);
    let mut reader = FrameReader::open(&path, Playback::default()).unwrap();
    assert_eq!(read_all(&mut reader).len(), 1);
}

#[test]
fn every_frame_has_its_result_beside_it_and_frames_are_read_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder);
    (0..5).for_each(|sequence| write_processed(&mut writer, sequence));
    writer.finish().unwrap();
    let path = folder.path().join("belt.mcap");
    let results = read_messages(MessageReader::packages(&path).unwrap());
    let expected: Vec<_> =
        (0..5).map(|i| (i, frame(u64::from(i)).stamp, message(u64::from(i)))).collect();
    assert_eq!(results, expected);
    let mut reader = FrameReader::open(&path, Playback::default()).unwrap();
    assert_eq!(read_all(&mut reader).len(), 5);
    assert!(reader.losses().is_none());
}

#[test]
fn viewers_are_given_outlines_labels_contact_points_and_grasps() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder);
    write_processed(&mut writer, 3);
    writer.finish().unwrap();

    let drawn: ImageAnnotations = self::drawn(&folder, "/camera/annotations");
    assert_eq!(drawn.points.len(), 1);
    assert_eq!(drawn.points[0].r#type(), Type::LineLoop);
    let corners: Vec<_> = drawn.points[0].points.iter().map(|p| (p.x, p.y)).collect();
    assert_eq!(corners, [(2.0, 3.0), (6.0, 3.0), (6.0, 8.0), (2.0, 8.0)]);
    assert_eq!(drawn.texts[0].text, "7 poly_bag 88%");
    // Our pixel centres are whole numbers, Foxglove's are halves.
    let contact = drawn.circles[0].position.unwrap();
    assert_eq!((contact.x, contact.y), (4.0, 5.5));

    let poses: PosesInFrame = self::drawn(&folder, "/grasps");
    assert_eq!((poses.frame_id.as_str(), poses.poses.len()), ("cell_3_base", 1));
    let position = poses.poses[0].position.unwrap();
    assert_eq!((position.x, position.y, position.z), (0.3, 0.2, 0.1));
}

#[test]
fn viewers_are_given_a_scene_in_three_dimensions() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder);
    write_processed(&mut writer, 3);
    writer.finish().unwrap();
    let drawn: SceneUpdate = self::drawn(&folder, "/scene");
    assert_eq!(drawn.deletions.len(), 1);
    let [entity] = &drawn.entities[..] else { panic!("{} entities", drawn.entities.len()) };
    assert_eq!((entity.frame_id.as_str(), entity.id.as_str()), ("cell_3_base", "7"));
    assert_eq!(entity.texts[0].text, "7 poly_bag 0.90");

    let scene = scene();
    let points = |line: usize| {
        entity.lines[line].points.iter().map(|p| Point3::new(p.x, p.y, p.z)).collect::<Vec<_>>()
    };
    let camera_from_base = scene.reference_from_camera().inverse();
    let plane = scene.support_plane_in_camera.unwrap();
    for (point, corner) in points(0).iter().zip([(1.5, 2.5), (5.5, 2.5), (5.5, 7.5), (1.5, 7.5)]) {
        let in_camera = camera_from_base * point;
        assert!(plane.distance_m(&in_camera).abs() < 1e-9, "{in_camera}");
        let px = scene.camera_info.project(&in_camera).unwrap();
        assert!((px.x - corner.0).hypot(px.y - corner.1) < 1e-6, "{px} for {corner:?}");
    }
    let found = packages(3);
    let grasp = &found.packages[0].grasps()[0].reference_from_grasp;
    for point in points(1) {
        let on_cup = grasp.inverse() * point;
        assert!((on_cup.x.hypot(on_cup.y) - 0.02).abs() < 1e-9 && on_cup.z.abs() < 1e-9);
    }
    // Arrows point along their own x.
    let arrow = &entity.arrows[0];
    let (pose, length_m) = (arrow.pose.unwrap(), arrow.shaft_length + arrow.head_length);
    let (at, turned) = (pose.position.unwrap(), pose.orientation.unwrap());
    let turned =
        UnitQuaternion::from_quaternion(Quaternion::new(turned.w, turned.x, turned.y, turned.z));
    let tip = Vector3::new(at.x, at.y, at.z) + turned * Vector3::x() * length_m;
    assert!((tip - grasp.translation.vector).norm() < 1e-9, "{tip}");
}

#[test]
fn a_gap_is_written_down_where_it_is_and_summed_up_even_without_a_proper_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder);
    write_processed(&mut writer, 0);
    writer.note_gap(frame(4).stamp, 3, "the disk was too slow").unwrap();
    write_processed(&mut writer, 4);
    writer.note_gap(frame(6).stamp, 1, "the disk was too slow").unwrap();
    writer.flush().unwrap();
    // As a kill leaves it.
    std::mem::forget(writer);
    let path = folder.path().join("belt.mcap");
    let mut reader = FrameReader::open(&path, Playback::default()).unwrap();
    assert_eq!(reader.losses().frames_unrecorded, 4);
    assert!(reader.losses().to_string().contains("not recorded in time: 4"));
    assert_eq!(reader.next_frame().unwrap().unwrap().sequence, 0);
    let logs: Vec<_> = messages::<Log>(&folder, "/log")
        .into_iter()
        .map(|(_, stamp, log)| (stamp, log.message))
        .collect();
    assert_eq!(logs.len(), 2);
    assert_eq!(logs[0].0, StampNs(frame(0).stamp.0 + 4 * INTERVAL_NS));
    assert!(logs[0].1.contains("3 frames are missing"), "{}", logs[0].1);
}

#[test]
fn a_status_comes_back_and_belongs_to_no_frame() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder);
    let stamp = frame(2).stamp;
    writer.write_status(stamp, &status("lost")).unwrap();
    writer.finish().unwrap();
    let statuses = MessageReader::statuses(&folder.path().join("belt.mcap")).unwrap();
    assert_eq!(read_messages(statuses), [(0, stamp, status("lost"))]);
}

#[test]
fn results_and_status_have_the_wire_s_schema_and_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder);
    write_processed(&mut writer, 3);
    writer.write_status(frame(3).stamp, &status("lost")).unwrap();
    writer.finish().unwrap();
    let bytes = std::fs::read(folder.path().join("belt.mcap")).unwrap();
    let found: Vec<_> = mcap::MessageStream::new(&bytes)
        .unwrap()
        .map(Result::unwrap)
        .filter(|message| message.channel.topic.starts_with("/magpie/"))
        .map(|message| {
            let (channel, schema) = (&message.channel, message.channel.schema.as_ref().unwrap());
            assert_eq!((&*channel.message_encoding, &*schema.encoding), ("protobuf", "protobuf"));
            assert!(channel.metadata.is_empty());
            assert_eq!(schema.data, wire::FILE_DESCRIPTOR_SET);
            (channel.topic.clone(), schema.name.clone(), message.data.into_owned())
        })
        .collect();
    let expected = [
        ("/magpie/packages", "magpie.v1.Packages", message(3).encode_to_vec()),
        ("/magpie/status", "magpie.v1.Status", status("lost").encode_to_vec()),
    ];
    assert_eq!(found, expected.map(|(topic, name, data)| (topic.into(), name.into(), data)));
}

#[test]
fn a_message_that_cannot_be_decoded_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder);
    write_processed(&mut writer, 3);
    writer.finish().unwrap();
    // An image is not a log.
    let path = folder.path().join("belt.mcap");
    let mut reader = MessageReader::<Log>::open(&path, "/camera/color").unwrap();
    let error = reader.next_message().unwrap_err();
    assert!(matches!(error, RecordingError::UndecodableMessage { .. }), "{error}");
    assert!(error.to_string().contains("/camera/color of frame 3"), "{error}");
}

#[test]
fn the_camera_s_transform_names_the_base_as_the_scene_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder);
    write_processed(&mut writer, 3);
    writer.finish().unwrap();
    let transform: FrameTransform = drawn(&folder, "/tf");
    assert_eq!(transform.parent_frame_id, "cell_3_base");
    assert_eq!(transform.child_frame_id, "belt_camera_optical_frame");
}

#[test]
fn without_a_calibration_poses_are_in_the_camera() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("belt.mcap");
    let info = RecordingInfo { scene: None, ..info() };
    let mut writer = FrameWriter::create(&path, info, WriteOptions::default()).unwrap();
    let packages = Packages { reference_frame: ReferenceFrame::Camera, ..packages(3) };
    let results = Results { message: &message(3), packages: &packages, class_names: &[] };
    writer.write_processed(&frame(3), &results).unwrap();
    writer.finish().unwrap();
    let poses: PosesInFrame = drawn(&folder, "/grasps");
    assert_eq!(poses.frame_id, "camera_optical_frame");
}

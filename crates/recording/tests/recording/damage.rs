//! Files that are cut, changed, foreign or wrong.

use std::collections::BTreeMap;
use std::io::Cursor;

use crate::common::{
    FIRST_STAMP_NS, INTERVAL_NS, assert_same, frame, info, play, read_all, recorded,
};
use foxglove::Encode;
use foxglove::messages::{CompressedImage, RawImage};
use magpie_perception::{Frame, FrameSource};
use magpie_recording::{
    FrameReader, FrameWriter, Playback, RecordingError, SCHEMA_VERSION, WriteOptions,
};
use mcap::records::{MessageHeader, Metadata};

const FRAMES: u64 = 8;

/// A chunk for each frame or two.
fn small_chunks() -> WriteOptions {
    WriteOptions { chunk_ns_max: INTERVAL_NS, ..Default::default() }
}

fn recording() -> &'static [u8] {
    recorded(small_chunks(), &(0..FRAMES).map(frame).collect::<Vec<_>>())
}

/// Reads until the end or the first error; every frame must be one of the recorded ones.
fn whole_frames(bytes: &'static [u8]) -> Result<(u64, FrameReader), RecordingError> {
    let mut reader = FrameReader::from_bytes("cut.mcap", bytes, Playback::default())?;
    let mut frames = 0;
    while let Ok(Some(found)) = reader.next_frame() {
        assert_same(&found, &frame(found.sequence));
        frames += 1;
    }
    Ok((frames, reader))
}

#[test]
fn cut_anywhere_a_file_gives_the_whole_frames_before_it_and_says_what_is_lost() {
    let bytes = recording();
    let mut frames_before = 0;
    let mut cuts_with_all_frames = 0;
    for cut in (0..bytes.len()).step_by(5).chain([bytes.len()]) {
        let Ok((frames, reader)) = whole_frames(&bytes[..cut]) else {
            assert_eq!(frames_before, 0, "readable at a shorter cut than {cut}");
            continue;
        };
        assert!(frames >= frames_before, "fewer frames at {cut} than before");
        assert!(frames == FRAMES || !reader.losses().is_none(), "silent about the cut at {cut}");
        frames_before = frames;
        cuts_with_all_frames += usize::from(frames == FRAMES);
    }
    assert_eq!(frames_before, FRAMES);
    // The summary is no condition for reading.
    assert!(cuts_with_all_frames > 20, "{cuts_with_all_frames}");
}

#[test]
fn a_cut_costs_only_the_chunk_it_hits() {
    let bytes = recording();
    let summary = mcap::Summary::read(bytes).unwrap().unwrap();
    // The first chunk holds the cell.
    let chunk = &summary.chunk_indexes[2];
    let before = summary.chunk_indexes[1].message_index_offsets.len();
    assert_eq!(before, 2, "color and depth");
    let cut = usize::try_from(chunk.chunk_start_offset + chunk.chunk_length).unwrap() - 1;
    let (frames, reader) = whole_frames(&bytes[..cut]).unwrap();
    let losses = reader.losses();
    assert_eq!((frames, losses.unfinished), (2, true));
    assert_eq!(losses.bytes_lost, chunk.chunk_length - 1);
    let line = losses.to_string();
    assert!(line.contains(&format!("last {} bytes are lost", chunk.chunk_length - 1)), "{line}");
}

#[test]
fn a_changed_byte_anywhere_changes_no_frame_that_comes_back() {
    let bytes = recording();
    for at in (0..bytes.len()).step_by(11) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 0x15;
        let opened = FrameReader::from_bytes("changed.mcap", changed.leak(), Playback::default());
        let Ok(mut reader) = opened else { continue };
        let mut frames = 0;
        let is_loud = loop {
            match reader.next_frame() {
                Ok(Some(found)) => {
                    assert_same(&found, &frame(found.sequence));
                    frames += 1;
                }
                Ok(None) => break !reader.losses().is_none(),
                Err(_) => break true,
            }
        };
        assert!(frames == FRAMES || is_loud, "silent about the change at {at}");
    }
}

#[test]
fn a_chunk_whose_head_is_damaged_is_missed_aloud() {
    let bytes = recording();
    let summary = mcap::Summary::read(bytes).unwrap().unwrap();
    // The first chunk holds the cell.
    for chunk in &summary.chunk_indexes[1..] {
        let mut changed = bytes.to_vec();
        changed[usize::try_from(chunk.chunk_start_offset).unwrap()] ^= 1;
        let (frames, reader) = whole_frames(changed.leak()).unwrap();
        assert!(frames < FRAMES && !reader.losses().is_none(), "{frames}: {}", reader.losses());
    }
}

#[test]
fn a_damaged_length_allocates_nothing_and_is_missed_aloud() {
    // A record that claims a terabyte, in a file as long: all of it is a hole.
    const CLAIMED: u64 = 1 << 40;
    let bytes = recording();
    let summary = mcap::Summary::read(bytes).unwrap().unwrap();
    let at = summary.chunk_indexes[2].chunk_start_offset;
    for opcode in [0x06, 0x09, 0x0c] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("huge.mcap");
        let mut changed = bytes[..usize::try_from(at).unwrap()].to_vec();
        changed.push(opcode);
        changed.extend(CLAIMED.to_le_bytes());
        std::fs::write(&path, changed).unwrap();
        let file = std::fs::File::options().append(true).open(&path).unwrap();
        file.set_len(at + 9 + CLAIMED).unwrap();
        let mut reader = FrameReader::open(&path, Playback::default()).unwrap();
        assert_eq!(reader.attachment("magpie.toml").unwrap(), None);
        assert_eq!(read_all(&mut reader).len(), 2);
        assert!(!reader.losses().is_none());
    }
}

#[test]
fn a_damaged_chunk_is_left_out_and_counted_once() {
    let bytes = recording();
    let summary = mcap::Summary::read(bytes).unwrap().unwrap();
    let chunk = &summary.chunk_indexes[2];
    let mut changed = bytes.to_vec();
    let middle = chunk.compressed_data_offset().unwrap() + chunk.compressed_size / 2;
    changed[usize::try_from(middle).unwrap()] ^= 0xff;
    let playback = Playback { looped: true, ..Default::default() };
    let mut reader = FrameReader::from_bytes("belt.mcap", changed.leak(), playback).unwrap();
    let sequences: Vec<u64> =
        (0..12).map(|_| reader.next_frame().unwrap().unwrap().sequence).collect();
    assert_eq!(sequences, [0, 1, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15]);
    assert_eq!(reader.losses().to_string(), "chunks damaged: 1");
}

#[test]
fn what_was_flushed_before_a_kill_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("belt.mcap");
    let mut writer = FrameWriter::create(&path, info(), WriteOptions::default()).unwrap();
    writer.write(&frame(0)).unwrap();
    writer.flush().unwrap();
    writer.write(&frame(1)).unwrap();
    // As a kill leaves it: nothing of the open chunk reaches the file, nothing is closed.
    std::mem::forget(writer);
    let mut reader = FrameReader::open(&path, Playback::default()).unwrap();
    assert_eq!(read_all(&mut reader).len(), 1);
    assert!(reader.losses().unfinished);
}

/// A file by hand: `(topic, sequence, interval, message)`.
fn by_hand<T: Encode + prost::Message>(
    metadata: Option<&str>,
    messages: &[(&str, u32, u64, T)],
) -> &'static [u8] {
    let mut bytes = Vec::new();
    let mut writer = mcap::Writer::new(Cursor::new(&mut bytes)).unwrap();
    if let Some(version) = metadata {
        let metadata = BTreeMap::from([("schema_version".to_owned(), version.to_owned())]);
        writer.write_metadata(&Metadata { name: "magpie.recording".into(), metadata }).unwrap();
    }
    let schema = T::get_schema().unwrap();
    let schema = writer.add_schema(&schema.name, &schema.encoding, &schema.data).unwrap();
    for (topic, sequence, interval, message) in messages {
        let metadata = match *topic {
            "/camera/color" => BTreeMap::from([("depth".into(), "/camera/depth".into())]),
            _ => BTreeMap::new(),
        };
        let channel_id = writer.add_channel(schema, topic, "protobuf", &metadata).unwrap();
        let log_time = FIRST_STAMP_NS + interval * INTERVAL_NS;
        let header =
            MessageHeader { channel_id, sequence: *sequence, log_time, publish_time: log_time };
        writer.write_to_known_channel(&header, &message.encode_to_vec()).unwrap();
    }
    writer.finish().unwrap();
    drop(writer);
    bytes.leak()
}

fn raw(encoding: &str, width: u32, height: u32, bytes: usize) -> RawImage {
    let step = width.saturating_mul(if encoding == "16UC1" { 2 } else { 3 });
    let (encoding, data) = (encoding.to_owned(), vec![7; bytes].into());
    RawImage { width, height, encoding, step, data, ..Default::default() }
}

const COLOR: &str = "/camera/color";
const DEPTH: &str = "/camera/depth";

/// The chain of causes of the first error, in one line.
fn error_line(bytes: &'static [u8]) -> String {
    let mut reader = match FrameReader::from_bytes("belt.mcap", bytes, Playback::default()) {
        Ok(reader) => reader,
        Err(error) => return error.to_string(),
    };
    let first = loop {
        match reader.next_frame() {
            Ok(frame) => assert!(frame.is_some(), "no error until the end"),
            Err(error) => break error,
        }
    };
    let causes =
        std::iter::successors(Some(&first as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[track_caller]
fn check_error(bytes: &'static [u8], parts: &[&str]) {
    let line = error_line(bytes);
    for part in parts {
        assert!(line.contains(part), "{part:?} is not in {line:?}");
    }
}

#[test]
fn a_file_that_is_no_mcap_is_refused() {
    check_error(b"", &["belt.mcap is not an MCAP file"]);
    check_error(
        b"\x89PNG\r\n\x1a\n and so on",
        &["belt.mcap is not an MCAP file", "magpie record"],
    );
}

#[test]
fn a_foreign_file_is_refused_with_the_channels_it_has_also_when_it_is_cut() {
    let log = foxglove::messages::Log::default();
    let bytes = by_hand(None, &[("/odom", 0, 0, log.clone()), ("/lidar/points", 0, 0, log)]);
    check_error(bytes, &["no pictures that are read", "/lidar/points, /odom", "magpie record"]);
    let summary = mcap::Summary::read(bytes).unwrap().unwrap();
    let chunk = &summary.chunk_indexes[0];
    let cut = usize::try_from(chunk.chunk_start_offset + chunk.chunk_length).unwrap();
    check_error(&bytes[..cut], &["/lidar/points, /odom"]);
}

#[test]
fn a_newer_schema_is_refused_with_both_versions() {
    let newer = (SCHEMA_VERSION + 1).to_string();
    let bytes = by_hand(Some(&newer), &[(COLOR, 0, 0, raw("bgr8", 1, 1, 3))]);
    check_error(bytes, &[&format!("schema {newer}"), "up to 1", "update Magpie"]);
    let bytes = by_hand(Some("one"), &[(COLOR, 0, 0, raw("bgr8", 1, 1, 3))]);
    check_error(bytes, &["magpie.recording.schema_version = \"one\"", "a whole number"]);
}

#[test]
fn a_recording_without_a_whole_frame_is_an_error_and_no_endless_loop() {
    let bytes = recorded(WriteOptions::default(), &[]);
    check_error(bytes, &["read a frame from belt.mcap", "it holds no frame"]);
    let playback = Playback { looped: true, ..Default::default() };
    let mut reader = FrameReader::from_bytes("belt.mcap", bytes, playback).unwrap();
    assert!(reader.next_frame().is_err());
}

#[test]
fn depth_of_another_size_is_an_error() {
    let images = [(DEPTH, 4, 0, raw("16UC1", 3, 1, 6)), (COLOR, 4, 0, raw("bgr8", 2, 1, 6))];
    check_error(by_hand(Some("1"), &images), &["frame 4", "2x1 px", "depth 3x1 px"]);
}

#[test]
fn a_stamp_that_goes_back_is_an_error() {
    let pair = |sequence, interval| {
        [
            (DEPTH, sequence, interval, raw("16UC1", 1, 1, 2)),
            (COLOR, sequence, interval, raw("bgr8", 1, 1, 3)),
        ]
    };
    let images = [pair(0, 5), pair(1, 4)].concat();
    check_error(by_hand(Some("1"), &images), &["frame 1 is stamped", "mcap sort"]);
}

#[test]
fn an_image_that_does_not_fill_its_size_is_an_error() {
    let depth = raw("16UC1", 2, 1, 4);
    let bytes = by_hand(Some("1"), &[(DEPTH, 4, 0, depth), (COLOR, 4, 0, raw("bgr8", 2, 1, 5))]);
    check_error(bytes, &["decode the color image of frame 4", "5 bytes in rows of 6"]);
    // Its product does not fit 64 bits.
    let huge = raw("bgr8", u32::MAX, u32::MAX, 3);
    let bytes = by_hand(Some("1"), &[(DEPTH, 4, 0, raw("16UC1", 1, 1, 2)), (COLOR, 4, 0, huge)]);
    check_error(bytes, &["decode the color image of frame 4"]);
}

#[test]
fn garbage_instead_of_a_png_is_an_error_that_names_the_frame() {
    let garbage = |format: &str| CompressedImage {
        format: format.to_owned(),
        data: b"\x89PNG\r\n\x1a\ngarbage".as_slice().into(),
        ..Default::default()
    };
    let images = |format| [(DEPTH, 9, 0, garbage(format)), (COLOR, 9, 0, garbage(format))];
    let line = ["decode the color image of frame 9", "mcap filter"];
    check_error(by_hand(Some("1"), &images("png")), &line);
    check_error(by_hand(Some("1"), &images("jpeg")), &line);
    // The bytes say what it is, whatever `format` calls it.
    let data = b"RIFF\x10\0\0\0WEBPVP8 and so on".as_slice().into();
    let webp = CompressedImage { format: "webp".into(), data, ..Default::default() };
    let images = [(DEPTH, 9, 0, webp.clone()), (COLOR, 9, 0, webp)];
    check_error(by_hand(Some("1"), &images), &["format \"webp\" is neither png nor jpeg"]);
}

#[test]
fn images_of_a_frame_find_each_other_in_any_order_and_a_lone_one_is_counted() {
    let depth = |sequence, interval| (DEPTH, sequence, interval, raw("16UC1", 1, 1, 2));
    let color = |sequence, interval| (COLOR, sequence, interval, raw("bgr8", 1, 1, 3));
    let images = [color(0, 0), depth(0, 0), color(1, 1), depth(2, 2), color(2, 2), depth(3, 3)];
    let mut reader = play(by_hand(Some("1"), &images));
    let found: Vec<Frame> = read_all(&mut reader);
    let sequences: Vec<u64> = found.iter().map(|frame| frame.sequence).collect();
    assert_eq!(sequences, [0, 2]);
    assert!(found.iter().all(|frame| frame.depth.is_some()));
    assert_eq!(reader.losses().to_string(), "frames incomplete: 2");
}

//! The last minutes of a cell, and what is kept of them.

use std::path::Path;

use magpie_recording::{
    FrameReader, Kept, Playback, RecordingError, Ring, RingLimits, StoredFile, WriteOptions,
};
use tempfile::TempDir;

use crate::common::{INTERVAL_NS, frame, info, read_all};

/// Three frames a segment, four segments.
const LIMITS: RingLimits = RingLimits {
    segment_ns_max: 3 * INTERVAL_NS,
    segments_max: 4,
    bytes_max: 1 << 30,
    kept_bytes_max: 1 << 30,
    free_bytes_min: 0,
};

fn ring(folder: &Path, limits: RingLimits) -> Ring {
    ring_with(folder, limits, WriteOptions::default())
}

fn ring_with(folder: &Path, limits: RingLimits, options: WriteOptions) -> Ring {
    let config = StoredFile {
        name: "magpie.toml".into(),
        media_type: "application/toml".into(),
        data: b"cell = \"belt\"".to_vec(),
    };
    Ring::open(folder, "belt", info(), options, limits, vec![config]).unwrap()
}

fn write(ring: &mut Ring, sequences: std::ops::Range<u64>) {
    for sequence in sequences {
        let frame = frame(sequence);
        ring.writer(frame.stamp).unwrap().write(&frame).unwrap();
    }
}

/// The sequences in each file, oldest first.
fn segments(folder: &Path) -> Vec<Vec<u64>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "mcap"))
        .collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let mut reader = FrameReader::open(path, Playback::default()).unwrap();
        assert_eq!(*reader.info(), info());
        assert_eq!(reader.attachment("magpie.toml").unwrap().unwrap(), b"cell = \"belt\"");
        read_all(&mut reader).iter().map(|frame| frame.sequence).collect()
    };
    paths.iter().map(read).collect()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn only_the_newest_segments_stay_and_each_stands_alone() {
    let folder = folder();
    let mut ring = ring(folder.path(), LIMITS);
    write(&mut ring, 0..17);
    ring.finish().unwrap();
    let expected: [&[u64]; 4] = [&[6, 7, 8], &[9, 10, 11], &[12, 13, 14], &[15, 16]];
    assert_eq!(segments(folder.path()), expected);
}

#[test]
fn what_an_earlier_run_left_is_part_of_the_ring_and_other_files_are_not() {
    let folder = folder();
    std::fs::write(folder.path().join("belt-2_notes.mcap"), "of another cell").unwrap();
    let mut first = ring(folder.path(), LIMITS);
    write(&mut first, 0..9);
    drop(first);
    let mut second = ring(folder.path(), LIMITS);
    write(&mut second, 20..26);
    second.finish().unwrap();
    std::fs::remove_file(folder.path().join("belt-2_notes.mcap")).unwrap();
    let expected: [&[u64]; 4] = [&[3, 4, 5], &[6, 7, 8], &[20, 21, 22], &[23, 24, 25]];
    assert_eq!(segments(folder.path()), expected);
}

#[test]
fn a_cell_whose_name_begins_like_another_s_leaves_that_one_s_files_alone() {
    let folder = folder();
    let others = ["belt_2_2020-01-01T000000.000Z-00000001.mcap", "belt_notes.mcap"];
    for name in others {
        std::fs::write(folder.path().join(name), "not ours").unwrap();
    }
    let mut ring = ring(folder.path(), LIMITS);
    write(&mut ring, 0..30);
    assert_eq!(ring.keep().unwrap().moved, 4);
    ring.finish().unwrap();
    for name in others {
        assert_eq!(std::fs::read(folder.path().join(name)).unwrap(), b"not ours");
    }
}

#[test]
fn a_clock_that_was_set_back_does_not_make_new_segments_old() {
    let folder = folder();
    let mut first = ring(folder.path(), LIMITS);
    write(&mut first, 20..29);
    drop(first);
    let mut second = ring(folder.path(), LIMITS);
    write(&mut second, 0..6);
    second.finish().unwrap();
    // By time, as names sort; the first one written is gone.
    let expected: [&[u64]; 4] = [&[0, 1, 2], &[3, 4, 5], &[23, 24, 25], &[26, 27, 28]];
    assert_eq!(segments(folder.path()), expected);
}

#[test]
fn a_ring_goes_on_when_somebody_tidies_its_folder() {
    let folder = folder();
    let ring_folder = folder.path().join("ring");
    let mut ring = ring(&ring_folder, LIMITS);
    write(&mut ring, 0..7);
    std::fs::remove_dir_all(&ring_folder).unwrap();
    write(&mut ring, 7..9);
    assert_eq!(ring.keep().unwrap().moved, 1);
    std::fs::remove_dir_all(&ring_folder).unwrap();
    assert_eq!(ring.keep().unwrap(), Kept::default());
    write(&mut ring, 9..10);
    ring.finish().unwrap();
    assert_eq!(segments(&ring_folder), [[9]]);
}

/// A folder behind a link, which leads to another disk or to the link's own, as one does whose disk is
/// mounted or not.
#[test]
fn a_ring_whose_disk_is_unmounted_waits_for_it_and_writes_nothing_below() {
    let (here, there) = (folder(), tempfile::tempdir_in("/dev/shm").unwrap());
    let (below, place) = (here.path().join("below"), here.path().join("place"));
    std::fs::create_dir(&below).unwrap();
    let mount = |disk: &Path| {
        let _ = std::fs::remove_file(&place);
        std::os::unix::fs::symlink(disk, &place).unwrap();
    };
    mount(there.path());
    let mut ring = ring(&place, LIMITS);
    write(&mut ring, 0..2);
    mount(&below);
    for refused in [ring.check_writable(), ring.writer(frame(2).stamp).map(|_| ())] {
        let why = refused.unwrap_err();
        assert!(matches!(&why, RecordingError::Unmounted { path } if *path == place), "{why}");
    }
    assert_eq!(std::fs::read_dir(&below).unwrap().count(), 0);
    mount(there.path());
    ring.check_writable().unwrap();
    write(&mut ring, 3..4);
    ring.finish().unwrap();
    assert_eq!(segments(there.path()), [vec![0, 1], vec![3]]);
}

#[test]
fn a_kept_folder_that_leads_elsewhere_is_refused_by_name() {
    let (folder, elsewhere) = (folder(), folder());
    let kept = folder.path().join("kept");
    std::os::unix::fs::symlink(elsewhere.path(), &kept).unwrap();
    let opened = Ring::open(folder.path(), "belt", info(), WriteOptions::default(), LIMITS, vec![]);
    let why = opened.err().unwrap().to_string();
    assert!(why.contains(&kept.display().to_string()) && why.contains("link"), "{why}");
}

#[test]
fn what_is_kept_stays_and_the_segment_being_written_goes_on() {
    let folder = folder();
    let mut ring = ring(folder.path(), LIMITS);
    write(&mut ring, 0..5);
    assert_eq!(ring.keep().unwrap(), Kept { moved: 2, left: 0 });
    assert_eq!(ring.keep().unwrap(), Kept::default(), "kept already");
    write(&mut ring, 5..30);
    ring.finish().unwrap();
    assert_eq!(segments(&folder.path().join("kept")), [&[0, 1, 2], &[3, 4, 5]]);
    assert_eq!(segments(folder.path()).len(), 4);
}

#[test]
fn what_is_kept_is_on_the_disk_at_once() {
    let folder = folder();
    let mut ring = ring(folder.path(), LIMITS);
    write(&mut ring, 0..2);
    ring.keep().unwrap();
    std::mem::forget(ring);
    assert_eq!(segments(&folder.path().join("kept")), [[0, 1]]);
}

#[test]
fn a_segment_ends_when_it_has_its_share_of_the_bytes() {
    let folder = folder();
    let limits =
        RingLimits { segment_ns_max: u64::MAX, segments_max: 1000, bytes_max: 80_000, ..LIMITS };
    let options = WriteOptions { chunk_ns_max: 1, ..WriteOptions::default() };
    let mut ring = ring_with(folder.path(), limits, options);
    write(&mut ring, 0..200);
    ring.finish().unwrap();
    let found = segments(folder.path());
    assert!(found.len() > 1 && found.concat().len() < 200, "{found:?}");
}

#[test]
fn no_more_is_kept_than_there_is_room_for_and_the_newest_comes_first() {
    let folder = folder();
    let mut ring = ring(folder.path(), LIMITS);
    write(&mut ring, 0..9);
    drop(ring);
    let one = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap())
        .find(std::fs::Metadata::is_file)
        .unwrap()
        .len();
    let limits = RingLimits { kept_bytes_max: one * 3 / 2, ..LIMITS };
    let mut ring = self::ring(folder.path(), limits);
    assert_eq!(ring.keep().unwrap(), Kept { moved: 1, left: 2 });
    assert_eq!(segments(&folder.path().join("kept")), [[6, 7, 8]]);
}

#[test]
fn the_ring_never_outgrows_its_bytes() {
    let folder = folder();
    let limits = RingLimits { bytes_max: 40_000, segments_max: 1000, ..LIMITS };
    let mut ring = ring(folder.path(), limits);
    let size = || -> u64 {
        let entries = std::fs::read_dir(folder.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().metadata().unwrap())
            .filter(|m| m.is_file())
            .map(|m| m.len())
            .sum()
    };
    let mut largest = 0;
    for sequence in 0..60 {
        write(&mut ring, sequence..sequence + 1);
        largest = largest.max(size());
    }
    ring.finish().unwrap();
    assert!(largest > 20_000 && largest <= 40_000, "{largest}");
    let last = segments(folder.path()).concat();
    assert_eq!(last.last(), Some(&59));
    assert!(last.windows(2).all(|pair| pair[1] == pair[0] + 1), "{last:?}");
}

#[test]
fn a_disk_without_the_room_that_others_need_is_left_alone() {
    let folder = folder();
    let mut ring = ring(folder.path(), RingLimits { free_bytes_min: u64::MAX, ..LIMITS });
    let error = ring.writer(frame(0).stamp).err().unwrap();
    assert!(matches!(error, RecordingError::Space { .. }), "{error}");
    assert_eq!(segments(folder.path()).len(), 0);
}

#[test]
fn a_folder_that_cannot_be_is_named() {
    let folder = folder();
    let taken = folder.path().join("taken");
    std::fs::write(&taken, "a file").unwrap();
    let error = Ring::open(&taken, "belt", info(), WriteOptions::default(), LIMITS, Vec::new());
    let line = error.err().unwrap().to_string();
    assert!(line.contains("taken") && line.contains("a folder this user may write to"), "{line}");
}

//! A recorder that is killed at any moment.
//!
//! The recorder is this test program itself, started again with [`PATH`] set.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use magpie_recording::{FrameReader, FrameWriter, Playback, RecordingError, WriteOptions};

use crate::common::{INTERVAL_NS, assert_same, frame, info, read_all};

const PATH: &str = "MAGPIE_TEST_RECORD_UNTIL_KILLED";
/// Chunks hold the frames of this many intervals, and one more.
const CHUNK_INTERVALS: u64 = 4;
/// Unless this variable says how many.
const KILLS: u64 = 30;
const KILLS_VARIABLE: &str = "MAGPIE_TEST_KILLS";

/// Says after each frame how many frames it has handed to the writer.
fn record_until_killed(path: &Path) {
    let options =
        WriteOptions { chunk_ns_max: CHUNK_INTERVALS * INTERVAL_NS, ..Default::default() };
    let mut writer = FrameWriter::create(path, info(), options).unwrap();
    let mut stdout = std::io::stdout();
    for sequence in 0.. {
        writer.write(&frame(sequence)).unwrap();
        writeln!(stdout, "frames {}", sequence + 1).unwrap();
        stdout.flush().unwrap();
    }
}

/// Kills a recorder after a while; the number of frames that it had handed over by then.
fn record_and_kill(path: &Path, wait: Duration) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::no_kill_costs_more_than_the_open_chunk", "--nocapture"])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    // The first byte comes before the first frame: from here on, any moment is a good one.
    let mut first = [0];
    stdout.read_exact(&mut first).unwrap();
    std::thread::sleep(wait);
    child.kill().unwrap();
    let mut said = String::new();
    stdout.read_to_string(&mut said).unwrap();
    child.wait().unwrap();
    // The last line may be cut.
    let whole = said.rsplit_once('\n').map_or("", |(whole, _cut)| whole);
    let mut counts = whole.lines().filter_map(|line| line.strip_prefix("frames "));
    counts.next_back().map_or(0, |count| count.parse().unwrap())
}

#[test]
fn no_kill_costs_more_than_the_open_chunk() {
    if let Some(path) = std::env::var_os(PATH) {
        record_until_killed(Path::new(&path));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let kills = std::env::var(KILLS_VARIABLE).map_or(KILLS, |kills| kills.parse().unwrap());
    let mut most = 0;
    for kill in 0..kills {
        let path = folder.path().join(format!("{kill}.mcap"));
        // Steps that no rhythm of the recorder divides.
        let handed_over =
            record_and_kill(&path, Duration::from_micros(kill % KILLS * 1733 + kill / KILLS * 577));
        most = most.max(handed_over);
        let mut reader = match FrameReader::open(&path, Playback::default()) {
            Ok(reader) => reader,
            // Killed while it wrote the first record, or before.
            Err(RecordingError::Open { .. } | RecordingError::NotMcap { .. })
                if handed_over == 0 =>
            {
                continue;
            }
            Err(RecordingError::NoPictures { .. }) if handed_over == 0 => continue,
            Err(error) => panic!("kill {kill}, {handed_over} frames: {error}"),
        };
        assert!(reader.losses().unfinished, "it never finishes by itself");
        if handed_over <= CHUNK_INTERVALS {
            continue;
        }
        let found = read_all(&mut reader);
        let lost = handed_over.saturating_sub(found.len() as u64);
        assert!(lost <= CHUNK_INTERVALS + 1, "kill {kill}: {lost} of {handed_over} frames lost");
        assert_eq!(reader.losses().chunks_damaged, 0, "kill {kill}");
        for (sequence, found) in found.iter().enumerate() {
            assert_same(found, &frame(sequence as u64));
        }
    }
    assert!(most > 10 * CHUNK_INTERVALS, "only {most} frames: nothing was tested");
}

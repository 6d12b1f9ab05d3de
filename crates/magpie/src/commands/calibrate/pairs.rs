//! The file of hand-eye pairs: one JSON object a line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use magpie_camera::calibrate::{Board, HandEyePair, PAIRS_MAX, RawPose, Stop, detect};
use magpie_camera::read_sensor_image;
use magpie_perception::CameraInfo;
use nalgebra::Isometry3;
use serde_json::{Map, Value};

use super::same_lens::check_size;
use crate::present::progress;
use magpie_daemon::calibration_files::pose::{self, Units};
use magpie_daemon::failure::{Failure, one_line};

/// The board and the lens that a picture is read with.
pub(super) struct BoardAndLens<'a> {
    pub(super) board: &'a Board,
    pub(super) info: &'a CameraInfo,
}

/// The file, before any picture is read.
pub(super) struct PairsFile {
    entries: Vec<Entry>,
    /// Keys that have no meaning here.
    pub(super) unused_keys: BTreeSet<String>,
}

struct Entry {
    number: usize,
    arm: RawPose,
    board: BoardSource,
}

enum BoardSource {
    Pose(RawPose),
    /// The path as it was written, and the same path resolved.
    Image(String, PathBuf),
}

/// The pairs, and the reason for each picture that was left out.
pub(super) struct Pairs {
    pub(super) lines: Vec<Stop>,
    pub(super) left_out: Vec<String>,
}

/// With poses written out, a pair has some hundred bytes.
const PAIRS_BYTES_MAX: u64 = 10_000_000;

/// Reads the file; `units` are those of the arm's poses and of the board's.
pub(super) fn read(path: &Path, units: [Units; 2]) -> Result<PairsFile, Failure> {
    let text = magpie_files::read_text(path, PAIRS_BYTES_MAX).map_err(|error| {
        Failure::Config(anyhow::Error::new(error).context(format!("read {}", path.display())))
    })?;
    if let Some(why) = of_others(&text) {
        return Err(Failure::Config(anyhow!("{}: {why}", path.display())));
    }
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut file = PairsFile { entries: Vec::new(), unused_keys: BTreeSet::new() };
    for (index, line) in pose::without_mark(&text).lines().enumerate() {
        if line.trim().is_empty() || pose::is_comment(line) {
            continue;
        }
        let number = index + 1;
        let at = |why: String| Failure::Config(anyhow!("{} line {number}: {why}", path.display()));
        let mut fields = object(line).map_err(at)?;
        let entry = entry(number, &mut fields, units, folder).map_err(at)?;
        file.entries.push(entry);
        if file.entries.len() > PAIRS_MAX {
            return Err(Failure::Config(anyhow!(
                "{} has more than {PAIRS_MAX} pairs, which take long and tell no more: keep as many, \
                 for example every third line",
                path.display()
            )));
        }
        file.unused_keys.extend(fields.into_iter().map(|(key, _)| key));
    }
    Ok(file)
}

const LINE: &str = "write one JSON object a line: {\"base_from_gripper\": {\"translation\": [x, y, z], \
                    \"quaternion_xyzw\": [qx, qy, qz, qw]}, \"camera_from_board\": {...}}";

/// What to do with the samples of other programs.
fn of_others(text: &str) -> Option<String> {
    let first = pose::without_mark(text).lines().find(|line| {
        !line.trim().is_empty() && !pose::is_comment(line) && !line.starts_with('%')
    })?;
    let is_number = |word: &str| word.trim().parse::<f64>().is_ok();
    let words: Vec<&str> = first.split([',', ' ', '\t']).filter(|word| !word.is_empty()).collect();
    let is_header = words.len() == 8 && words[0].trim() == "t";
    if is_header || (words.len() == 8 && words.iter().all(|word| is_number(word))) {
        return Some(format!(
            "these are poses of ethz-asl's hand_eye_calibration (t, x, y, z, qx, qy, qz, qw), of \
             which there are two files, aligned line by line; {LINE}, with the numbers of one line \
             of each"
        ));
    }
    if ["hand_world_samples", "camera_marker_samples", "samples:"]
        .iter()
        .any(|key| text.contains(key))
        && !first.trim_start().starts_with('{')
    {
        return Some(format!(
            "these are samples of easy_handeye; {LINE}, with `robot` (or hand_world) and `tracking` \
             (or camera_marker) of one sample each"
        ));
    }
    (text.contains("FloatMatrix") || text.contains("PoseState")).then(|| {
        "this is one pose of Zivid; write a line for each stop that names its file: \
         {\"base_from_gripper\": \"pos01.yaml\", \"image\": \"img01.png\"}"
            .into()
    })
}

/// Reads one entry, and removes from `fields` what it has used.
fn entry(
    number: usize,
    fields: &mut Map<String, Value>,
    [arm_units, board_units]: [Units; 2],
    folder: &Path,
) -> Result<Entry, String> {
    let keys = fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let arm = fields
        .remove("base_from_gripper")
        .ok_or_else(|| format!("\"base_from_gripper\" is missing; there are {keys}"))?;
    let arm =
        pose::read(&arm, arm_units, folder).map_err(|why| format!("base_from_gripper: {why}"))?;
    // A pose that was given stands: its picture need not be here any more.
    let board = if let Some(board) = fields.remove("camera_from_board") {
        let pose = pose::read(&board, board_units, folder);
        BoardSource::Pose(pose.map_err(|why| format!("camera_from_board: {why}"))?)
    } else if let Some(Value::String(image)) = fields.remove("image") {
        let path = folder.join(&image);
        BoardSource::Image(image, path)
    } else {
        return Err(format!(
            "either \"camera_from_board\" or \"image\" (a path) is needed; there are {keys}"
        ));
    };
    Ok(Entry { number, arm, board })
}

fn object(line: &str) -> Result<Map<String, Value>, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| {
        // The line number that serde_json gives is always 1.
        let what = error.to_string();
        let what = what.split(" at line").next().unwrap_or_default().to_owned();
        format!("column {}: not JSON: {what}", error.column())
    })?;
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err("must be a JSON object with base_from_gripper and camera_from_board".into()),
    }
}

impl PairsFile {
    /// The number of the first line with a picture.
    pub(super) fn first_picture(&self) -> Option<usize> {
        let entry = self.entries.iter().find(|entry| matches!(entry.board, BoardSource::Image(..)));
        entry.map(|entry| entry.number)
    }

    /// Finds the board in every picture; `board_and_lens` is needed where there are pictures.
    pub(super) fn read_pictures(
        self,
        board_and_lens: Option<&BoardAndLens<'_>>,
    ) -> Result<Pairs, Failure> {
        let mut pairs = Pairs { lines: Vec::new(), left_out: Vec::new() };
        let bar = progress::bar(self.entries.len() as u64, "pairs");
        let mut told_s = 0;
        for Entry { number, arm, board } in self.entries {
            match board {
                BoardSource::Pose(board) => {
                    let pair = HandEyePair {
                        base_from_gripper: arm.pose,
                        camera_from_board: board.pose,
                        view: None,
                    };
                    pairs.lines.push(Stop { number, pair, arm, board: Some(board) });
                }
                BoardSource::Image(image, path) => {
                    let board_and_lens =
                        board_and_lens.expect("asked for where there are pictures");
                    let seen = board_in_picture(&path, arm.pose, board_and_lens)
                        .map_err(|why| Failure::Config(anyhow!("line {number}: {why}")))?;
                    match seen {
                        Ok(pair) => pairs.lines.push(Stop { number, pair, arm, board: None }),
                        Err(why) => pairs.left_out.push(format!("line {number}: {image}: {why}")),
                    }
                }
            }
            bar.inc(1);
            progress::tell(&bar, "pairs", &mut told_s);
        }
        bar.finish_and_clear();
        Ok(pairs)
    }
}

/// The board in a picture. The inner error leaves the picture out, the outer one ends everything.
fn board_in_picture(
    path: &Path,
    base_from_gripper: Isometry3<f64>,
    board_and_lens: &BoardAndLens<'_>,
) -> Result<Result<HandEyePair, String>, String> {
    let describe = |error: anyhow::Error| one_line(&error);
    let image = match read_sensor_image(path) {
        Ok(image) => image,
        Err(error) => return Ok(Err(describe(error.into()))),
    };
    let info = board_and_lens.info;
    let size_px = (image.width_px(), image.height_px());
    check_size(&path.display().to_string(), size_px, info).map_err(|failure| failure.message())?;
    let view = detect(&image, board_and_lens.board).map_err(|error| describe(error.into()))?;
    let pair = HandEyePair::at_stop(base_from_gripper, view, info);
    Ok(pair.map_err(|error| describe(error.into())))
}

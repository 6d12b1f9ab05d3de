//! The file of hand-eye pairs: one JSON object a line.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use magpie_camera::calibrate::{Board, HandEyePair, RawPose, board_pose, detect};
use magpie_camera::read_sensor_image;
use magpie_perception::CameraInfo;
use nalgebra::Isometry3;
use serde_json::{Map, Value};

use super::same_lens::check_size;
use magpie_daemon::calibration_files::pose::{self, Units};
use magpie_daemon::failure::{Failure, one_line};

/// One line of the file, understood.
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) pair: HandEyePair,
    /// As they were written; the board's where it was no picture.
    arm: RawPose,
    board: Option<RawPose>,
}

impl Line {
    pub(super) fn raw(&self) -> (RawPose, RawPose) {
        (self.arm, self.board.unwrap_or_else(|| self.pair.camera_from_board.into()))
    }
}

/// What a picture of the board is read with.
pub(super) struct Reading<'a> {
    pub(super) board: &'a Board,
    pub(super) info: &'a CameraInfo,
}

/// The file, before any picture is looked at.
pub(super) struct Written {
    entries: Vec<Entry>,
    /// Keys that nothing is made of.
    pub(super) unused_keys: BTreeSet<String>,
}

struct Entry {
    number: usize,
    arm: RawPose,
    board: WrittenBoard,
}

enum WrittenBoard {
    Pose(RawPose),
    /// As it was written, and from where we are.
    Image(String, PathBuf),
}

/// The pairs, and a line of complaint for each picture in which the board was not found.
pub(super) struct Pairs {
    pub(super) lines: Vec<Line>,
    pub(super) left_out: Vec<String>,
}

/// Units are of the arm's poses and of the board's.
pub(super) fn read(path: &Path, units: [Units; 2]) -> Result<Written, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::Config(anyhow::Error::new(error).context(format!("read {}", path.display())))
    })?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut written = Written { entries: Vec::new(), unused_keys: BTreeSet::new() };
    for (index, line) in pose::without_mark(&text).lines().enumerate() {
        if line.trim().is_empty() || pose::is_comment(line) {
            continue;
        }
        let number = index + 1;
        let at = |why: String| Failure::Config(anyhow!("{} line {number}: {why}", path.display()));
        let mut fields = object(line).map_err(at)?;
        let entry = entry(number, &mut fields, units, folder).map_err(at)?;
        written.entries.push(entry);
        written.unused_keys.extend(fields.into_iter().map(|(key, _)| key));
    }
    Ok(written)
}

/// Takes what it uses out of `fields`.
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
        WrittenBoard::Pose(pose.map_err(|why| format!("camera_from_board: {why}"))?)
    } else if let Some(Value::String(image)) = fields.remove("image") {
        let path = folder.join(&image);
        WrittenBoard::Image(image, path)
    } else {
        return Err(format!(
            "either \"camera_from_board\" or \"image\" (a path) is needed; there are {keys}"
        ));
    };
    Ok(Entry { number, arm, board })
}

fn object(line: &str) -> Result<Map<String, Value>, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| {
        // Its own line number is always 1.
        let what = error.to_string();
        let what = what.split(" at line").next().unwrap_or_default().to_owned();
        format!("column {}: not JSON: {what}", error.column())
    })?;
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err("must be a JSON object with base_from_gripper and camera_from_board".into()),
    }
}

impl Written {
    /// The number of the first line with a picture.
    pub(super) fn first_picture(&self) -> Option<usize> {
        let entry =
            self.entries.iter().find(|entry| matches!(entry.board, WrittenBoard::Image(..)));
        entry.map(|entry| entry.number)
    }

    /// `reading` is needed where there are pictures.
    pub(super) fn look(self, reading: Option<&Reading<'_>>) -> Result<Pairs, Failure> {
        let mut pairs = Pairs { lines: Vec::new(), left_out: Vec::new() };
        for Entry { number, arm, board } in self.entries {
            match board {
                WrittenBoard::Pose(board) => {
                    let pair = HandEyePair {
                        base_from_gripper: arm.pose,
                        camera_from_board: board.pose,
                        view: None,
                    };
                    pairs.lines.push(Line { number, pair, arm, board: Some(board) });
                }
                WrittenBoard::Image(image, path) => {
                    let reading = reading.expect("asked for where there are pictures");
                    let seen = see(&path, arm.pose, reading)
                        .map_err(|why| Failure::Config(anyhow!("line {number}: {why}")))?;
                    match seen {
                        Ok(pair) => pairs.lines.push(Line { number, pair, arm, board: None }),
                        Err(why) => pairs.left_out.push(format!("line {number}: {image}: {why}")),
                    }
                }
            }
        }
        Ok(pairs)
    }
}

/// The board in a picture. The inner error leaves the picture out, the outer one ends everything.
fn see(
    path: &Path,
    base_from_gripper: Isometry3<f64>,
    reading: &Reading<'_>,
) -> Result<Result<HandEyePair, String>, String> {
    let describe = |error: anyhow::Error| one_line(&error);
    let image = match read_sensor_image(path) {
        Ok(image) => image,
        Err(error) => return Ok(Err(describe(error.into()))),
    };
    let info = reading.info;
    let size_px = (image.width_px(), image.height_px());
    check_size(&path.display().to_string(), size_px, info).map_err(|failure| failure.message())?;
    let Some(view) = detect(&image, reading.board).map_err(|error| describe(error.into()))? else {
        return Ok(Err("no board found".into()));
    };
    if let Some(doubt) = &view.doubt {
        return Ok(Err(doubt.clone()));
    }
    match board_pose(&view.points, info) {
        Ok(pose) => Ok(Ok(HandEyePair {
            base_from_gripper,
            camera_from_board: pose.camera_from_board,
            view: Some(view),
        })),
        Err(error) => Ok(Err(describe(error.into()))),
    }
}

//! `[recording]`: what is recorded, where, and how much of it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use magpie_recording::ColorCoding;
use serde::Deserialize;

use super::checker::{Checker, ConfigError, shipped};

/// `[recording]` as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RecordingFile {
    folder: Option<PathBuf>,
    minutes_max: Option<u64>,
    size_mb_max: Option<u64>,
    segment_s: Option<u64>,
    free_space_mb_min: Option<u64>,
    color: Option<String>,
    jpeg_quality_percent: Option<u8>,
    keep_on_degraded: Option<bool>,
    keep_on_score_below: Option<f64>,
    kept_size_mb_max: Option<u64>,
}

/// `[recording]`, checked.
#[derive(Clone, Debug)]
pub struct RecordingConfig {
    /// `None`: nothing is recorded.
    pub target: Option<RecordingTarget>,
    /// How a ring is kept, should there be one.
    ring: RingConfig,
    pub color: ColorCoding,
    /// The disk is left this much for others.
    pub free_bytes_min: u64,
}

/// The target of a recording, and what ends it.
#[derive(Clone, Debug)]
pub enum RecordingTarget {
    /// One file; when it is full or broken the run ends.
    File { path: PathBuf, limits: FileLimits },
    /// The last minutes; whatever happens to it, the run goes on.
    Ring { folder: PathBuf, ring: RingConfig },
}

/// `None` is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileLimits {
    pub duration_max: Option<Duration>,
    pub frames_max: Option<u64>,
    pub bytes_max: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub struct RingConfig {
    pub span: Duration,
    pub segment: Duration,
    pub bytes_max: u64,
    pub kept_bytes_max: u64,
    pub keep_on_degraded: bool,
    /// Keep what shows a package of a lower score.
    pub keep_on_score_below: Option<f32>,
}

const MEGABYTE: u64 = 1_000_000;

impl RecordingConfig {
    /// The same, into one file.
    pub fn into_file(self, path: &Path, limits: FileLimits) -> RecordingConfig {
        let target = Some(RecordingTarget::File { path: path.to_owned(), limits });
        RecordingConfig { target, ..self }
    }

    /// The same, into a ring in this folder, or nowhere.
    pub fn into_ring(self, folder: Option<PathBuf>) -> RecordingConfig {
        let ring = self.ring;
        let target = folder.map(|folder| RecordingTarget::Ring { folder, ring });
        RecordingConfig { target, ..self }
    }
}

pub(super) fn check(
    checker: &Checker<'_>,
    file: RecordingFile,
) -> Result<RecordingConfig, ConfigError> {
    let megabytes = |key, value: Option<u64>| {
        let mb = shipped(value);
        match mb {
            1..=100_000_000 => Ok(mb * MEGABYTE),
            _ => checker.refuse(key, mb, "must lie between 1 and 100000000 MB"),
        }
    };
    let between = |key, value: Option<u64>, max: u64, why| {
        let value = shipped(value);
        if (1..=max).contains(&value) { Ok(value) } else { checker.refuse(key, value, why) }
    };
    let minutes = between(
        "recording.minutes_max",
        file.minutes_max,
        100_000,
        "must lie between 1 and 100000 minutes",
    )?;
    let segment_s =
        between("recording.segment_s", file.segment_s, 3600, "must lie between 1 and 3600 s")?;
    let score_below = file.keep_on_score_below;
    let ring = RingConfig {
        span: Duration::from_secs(60 * minutes),
        segment: Duration::from_secs(segment_s),
        bytes_max: megabytes("recording.size_mb_max", file.size_mb_max)?,
        kept_bytes_max: megabytes("recording.kept_size_mb_max", file.kept_size_mb_max)?,
        keep_on_degraded: shipped(file.keep_on_degraded),
        keep_on_score_below: score_below
            .map(|score| checker.share("recording.keep_on_score_below", score))
            .transpose()?,
    };
    let folder = file.folder.map(|folder| checker.resolve(&folder));
    Ok(RecordingConfig {
        target: folder.map(|folder| RecordingTarget::Ring { folder, ring }),
        ring,
        color: check_color(checker, file.color.as_deref(), file.jpeg_quality_percent)?,
        free_bytes_min: megabytes("recording.free_space_mb_min", file.free_space_mb_min)?,
    })
}

fn check_color(
    checker: &Checker<'_>,
    color: Option<&str>,
    jpeg_quality_percent: Option<u8>,
) -> Result<ColorCoding, ConfigError> {
    let quality = shipped(jpeg_quality_percent);
    if !(1..=100).contains(&quality) {
        let key = "recording.jpeg_quality_percent";
        checker.refuse(key, quality, "must lie between 1 and 100")?;
    }
    match shipped(color) {
        "png" => Ok(ColorCoding::Png),
        "raw" => Ok(ColorCoding::Raw),
        "jpeg" => Ok(ColorCoding::Jpeg { quality }),
        other => {
            let why = "is no coding; there are png and raw, which lose nothing, and jpeg";
            checker.refuse("recording.color", other, why)
        }
    }
}

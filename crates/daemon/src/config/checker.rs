//! Checks values, and says which key is wrong and why.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use magpie_perception::{BoxError, nearest_rotation};
use nalgebra::{Isometry3, Matrix3, Translation3};

/// From a thousandth of a millimetre to a tenth of a metre.
pub const UNIT_M: std::ops::RangeInclusive<f64> = 1e-6..=0.1;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("read configuration {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The message has line, column and the line itself.
    #[error("configuration {path}: {message}")]
    Parse { path: PathBuf, message: String },
    #[error("configuration {path}: {key} = {value}: {why}")]
    Value { path: PathBuf, key: &'static str, value: String, why: &'static str },
    #[error("configuration {path}: [source] names {found} sources; keep exactly one")]
    Sources { path: PathBuf, found: usize },
    #[error("configuration {path}: {key}")]
    File {
        path: PathBuf,
        key: &'static str,
        #[source]
        source: BoxError,
    },
}

/// The value of a key that the shipped file has.
pub(super) fn shipped<T>(value: Option<T>) -> T {
    value.expect("the shipped file has every key without which nothing runs")
}

/// Checks values, and reads the files that they name.
pub(super) struct Checker<'a> {
    pub(super) path: &'a Path,
}

impl Checker<'_> {
    pub(super) fn refuse<T>(
        &self,
        key: &'static str,
        value: impl ToString,
        why: &'static str,
    ) -> Result<T, ConfigError> {
        Err(ConfigError::Value { path: self.path.to_owned(), key, value: value.to_string(), why })
    }

    /// What one step of depth stands for.
    pub(super) fn depth_unit(&self, key: &'static str, unit_m: f64) -> Result<(), ConfigError> {
        if UNIT_M.contains(&unit_m) {
            return Ok(());
        }
        self.refuse(key, unit_m, "must lie between 0.000001 and 0.1 m")
    }

    /// Refuses a port that the system would choose.
    pub(super) fn port(&self, key: &'static str, address: SocketAddr) -> Result<(), ConfigError> {
        if address.port() != 0 {
            return Ok(());
        }
        self.refuse(key, address, "names no port, so nobody would know where to look; choose one")
    }

    /// The error for a file that a key names and that cannot be used.
    pub(super) fn unusable(&self, key: &'static str, error: impl Into<BoxError>) -> ConfigError {
        ConfigError::File { path: self.path.to_owned(), key, source: error.into() }
    }

    pub(super) fn share(&self, key: &'static str, value: f64) -> Result<f32, ConfigError> {
        #[expect(clippy::cast_possible_truncation, reason = "a share needs no more digits")]
        if (0.0..=1.0).contains(&value) {
            return Ok(value as f32);
        }
        self.refuse(key, value, "must lie between 0 and 1")
    }

    /// Accepts one millisecond to ten minutes.
    pub(super) fn time(&self, key: &'static str, ms: u64) -> Result<Duration, ConfigError> {
        if (1..=600_000).contains(&ms) {
            return Ok(Duration::from_millis(ms));
        }
        self.refuse(key, ms, "must lie between 1 and 600000 ms")
    }

    /// A rigid transform in metres.
    pub(super) fn pose(
        &self,
        key: &'static str,
        rows: &[[f64; 4]; 4],
    ) -> Result<Isometry3<f64>, ConfigError> {
        check_pose(self, key, rows)
    }

    /// Resolves a path that is relative to the configuration's folder.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }
}

fn check_pose(
    checker: &Checker<'_>,
    key: &'static str,
    rows: &[[f64; 4]; 4],
) -> Result<Isometry3<f64>, ConfigError> {
    let rotation = Matrix3::from_fn(|row, column| rows[row][column]);
    let orthonormal = (rotation * rotation.transpose() - Matrix3::identity()).norm() < 1e-3;
    let rigid = orthonormal && rows[3] == [0.0, 0.0, 0.0, 1.0];
    let Some(rotation) = nearest_rotation(&rotation).filter(|_| rigid) else {
        let why =
            "is no rigid transform: its upper left 3x3 must be a rotation, its last row 0 0 0 1";
        return checker.refuse(key, format!("{rows:?}"), why);
    };
    let translation = Translation3::new(rows[0][3], rows[1][3], rows[2][3]);
    // No arm reaches further; a number like 1200 is millimetres.
    if translation.vector.norm() > 20.0 {
        checker.refuse(key, translation, "is more than 20 m away: are these millimetres?")?;
    }
    Ok(Isometry3::from_parts(translation, rotation))
}

//! What the calibration tab may ask the daemon to do.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An order, as its JSON has it. All but the first name the collection that they are for: another
/// browser may have begun one since.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum CalibrationOrder {
    /// Begins to collect.
    Start {
        what: WhatToCalibrate,
        /// As the calibration files describe boards.
        board: Value,
    },
    /// Takes the board as the next picture shows it, and the arm's pose.
    TakeStop {
        collection: u64,
        /// In any form that `magpie calibrate hand-eye` reads.
        pose: String,
        /// Of this pose and all before it.
        units: PoseUnits,
    },
    /// Forgets a view or a stop, by the number that it was taken as: none is given twice.
    Remove { collection: u64, number: usize },
    Compute {
        collection: u64,
        /// How the stops are understood, if not as before.
        #[serde(default)]
        reading: Option<Reading>,
    },
    /// Collects more, and forgets what was computed.
    Resume { collection: u64 },
    /// Writes what was computed to a new file.
    Save { collection: u64, name: String },
    /// Forgets everything that was collected.
    Discard { collection: u64 },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum WhatToCalibrate {
    Lens,
    HandEye {
        setup: String,
        /// The file of the lens; empty for the one that runs.
        #[serde(default)]
        lens: String,
    },
}

/// How the arm's poses are written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PoseUnits {
    pub length: String,
    pub angle: String,
    /// The order of Euler angles; empty for a rotation vector.
    #[serde(default)]
    pub euler: String,
}

/// What a technician may have mixed up, and can change without moving the arm again.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    pub units: PoseUnits,
    pub setup: String,
}

/// What became of an order: a line that says what was done, or why not.
pub type Answer = Result<String, String>;

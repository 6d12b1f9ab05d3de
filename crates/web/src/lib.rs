//! One page for a cell, and the same for machines: `/metrics`, `/healthz`, `/readyz`.
//!
//! ```text
//! frame thread  -> Tally (atomics) -----------------------------+
//! supervision   -> Page::set_status, ten times a second --------+-> Page -> axum -> browsers, Prometheus
//! magpie-image  -> Page::show, while somebody looks ------------+
//! calibration   -> Page::show_calibration, likewise ------------+
//! calibration   <- CalibrationOrder ----------------------------+
//! ```
//!
//! Whoever looks can only take: there is one picture and one status for all of them, and nobody who
//! hands them over waits. What the page can do, keeping the recording and calibrating, asks for a
//! token.
//!
//! # Conventions
//!
//! Results and status are protobuf's canonical JSON, as `magpie watch --json` writes it; the browser
//! draws masks, grasps and pick order from them.

mod doors;
mod guard;
mod history;
mod metrics;
mod orders;
mod page;
mod recordings;
mod routes;
mod serve;
mod tally;

pub use guard::{TOKEN_CHARACTERS_MIN, Token, TokenError};
pub use orders::{Answer, CalibrationOrder, PoseUnits, Reading, WhatToCalibrate};
pub use page::{Page, PageOptions};
pub use serve::{check_free, serve};
pub use tally::Tally;

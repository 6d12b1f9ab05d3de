//! Why a received message counts for nothing.

use crate::proto as wire;

/// A message that must not be acted on, whatever its age.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("it is not a magpie.v1.{message} message: {why}")]
    Undecodable { message: &'static str, why: String },
    #[error(
        "it has schema version {found}, this reader knows {}; use the reader of the daemon's \
         version",
        wire::SCHEMA_VERSION
    )]
    SchemaVersion { found: u32 },
    #[error("it belongs to cell {found:?}")]
    Cell { found: String },
    #[error("package {index} {what}")]
    Package { index: usize, what: &'static str },
    #[error("its velocity is none: it holds what is no number, or is negative")]
    Velocity,
    #[error("it is of a picture of {width_px}x{height_px} pixels")]
    Picture { width_px: u32, height_px: u32 },
    #[error("it does not say what its poses are relative to")]
    ReferenceFrame,
    #[error("its times are out of order")]
    Times,
    #[error(
        "it claims to be valid for {valid_ms} ms, more than the {valid_ms_max} ms that this reader \
         believes: lower limits.result_valid_ms of the daemon"
    )]
    Validity { valid_ms: u64, valid_ms_max: u128 },
}

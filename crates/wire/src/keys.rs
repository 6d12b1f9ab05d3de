//! Under which keys a cell publishes.

use std::fmt;

/// A cell's name: one chunk of a zenoh key expression.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CellName(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cell name {name:?} {why}; it becomes one part of a zenoh key, so use letters, digits, `-` and `_`"
)]
pub struct CellNameError {
    pub name: String,
    pub why: &'static str,
}

impl CellName {
    pub fn new(name: &str) -> Result<CellName, CellNameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        let why = match name {
            "" => "is empty",
            _ if name.len() > 64 => "is longer than 64 bytes",
            _ if !name.chars().all(allowed) => "holds other characters",
            _ => return Ok(CellName(name.into())),
        };
        Err(CellNameError { name: name.into(), why })
    }

    /// `magpie/<cell>/<what>`.
    pub fn key(&self, what: &str) -> String {
        format!("magpie/{}/{what}", self.0)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CellName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

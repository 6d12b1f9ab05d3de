//! What people and programs get to see: tables, JSON, overlays and progress bars.

pub mod json;
pub mod output;
pub mod overlay;
pub mod plot;
pub mod progress;
pub mod table;

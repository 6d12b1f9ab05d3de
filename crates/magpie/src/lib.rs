//! The eyes of a picking arm: configuration, wiring, and the subcommands.

pub mod bench;
pub mod calibrate;
pub mod check;
pub mod clock;
pub mod config;
mod depth;
pub mod detect;
pub mod drift;
pub mod eval;
pub mod export;
pub mod failure;
pub mod health;
mod inspect;
pub mod model;
pub mod output;
pub mod overlay;
pub mod pictures;
pub mod progress;
pub mod record;
pub mod replay;
pub mod run;
pub mod service;
pub mod simulate;
pub mod source;
pub mod table;
mod trouble;
pub mod watch;

//! The subcommands, one file or folder each. None imports another.

pub mod bench;
pub mod bundle;
pub mod calibrate;
pub mod cells;
pub mod check;
pub mod detect;
pub mod doctor;
pub mod eval;
pub mod export;
pub mod learn;
pub mod manual;
pub mod model;
pub mod pick;
pub mod record;
pub mod replay;
pub mod run;
pub mod simulate;
pub mod view;
pub mod watch;

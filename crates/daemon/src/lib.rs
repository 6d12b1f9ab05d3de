//! What runs on the robot: the configuration, the wiring of camera, model, network and recording to
//! the pipeline, and the supervision that says how all of it is doing.
//!
//! Start reading at [`run::run`].

mod calibrate;
pub mod calibration_files;
mod certificate_watch;
mod clock_watch;
pub mod config;
pub mod control;
pub mod failure;
mod health;
pub mod identity;
mod inspect;
mod live;
mod live_doors;
pub mod model;
pub mod models;
mod network_watch;
mod page;
pub mod plan_reason;
pub mod process_limits;
pub mod record;
mod result_flow;
mod ros2;
pub mod run;
pub mod scheduling;
pub mod signature;
pub mod source;
mod state_log;
mod supervise;
mod systemd;

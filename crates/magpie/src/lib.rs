//! The program: its subcommands, and how they show what they find. What runs on the robot is in
//! `magpie_daemon`.

mod arguments;
pub mod commands;
mod distribution;
pub mod doctor;
mod inspection;
pub mod pictures;
pub mod present;
mod recent;
mod simulated;
pub mod topics;

//! The messages, made by `build.rs` from `msg/`.

use crate::cdr::{CdrWriter, Encode};

/// A message of ROS 2.
pub trait Message: Encode {
    /// Such as `std_msgs/msg/Header`.
    const TYPE_NAME: &'static str;
    /// By REP-2016. A program with another one receives nothing.
    const TYPE_HASH: &'static str;
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

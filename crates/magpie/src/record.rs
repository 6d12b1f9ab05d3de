//! `magpie record`: the daemon with a recording of what it sees and finds.

pub(crate) mod identity;
pub(crate) mod messages;

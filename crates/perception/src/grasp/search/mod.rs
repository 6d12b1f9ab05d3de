//! Which contacts are tried, which are kept, and which package comes first.

pub(crate) mod approach;
pub(crate) mod candidates;
pub(crate) mod depth_check;
pub(crate) mod labels;
pub(crate) mod memory;
pub(crate) mod order;

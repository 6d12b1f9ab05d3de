//! Which contacts are tried, which are kept, and which package comes first.

pub(crate) mod candidates;
pub(crate) mod memory;
pub(crate) mod order;
pub(crate) mod overview;

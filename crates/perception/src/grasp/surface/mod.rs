//! What a camera shows of a package: cells, samples under a cup, rays through the lens.

pub(crate) mod grid;
pub(crate) mod patch;
pub(crate) mod rays;

//! What a camera shows of a package's surface: rays, cells of a grid, patches under a cup.

pub(crate) mod depth;
pub(crate) mod grid;
mod lip;
pub(crate) mod noise;
pub(crate) mod patch;
mod plane_fit;
pub(crate) mod probe;
pub(crate) mod rays;
pub(crate) mod view;

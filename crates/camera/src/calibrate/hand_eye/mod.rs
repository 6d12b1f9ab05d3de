//! Where the camera is on the arm or in the cell.
//!
//! `model` has the poses and what they are judged by. `calibration` runs the closed `solvers`,
//! refines the best of their solutions (`refine`), and tells how far that can be trusted
//! (`jackknife`). `orientation` turns boards round that were taken for their half turn; `mistakes`
//! finds mixed-up conventions (with `degrees` for degrees that were taken for radians, `euler` for
//! Euler angles that were taken for rotation vectors, and `scale` for squares of another length).

pub(crate) mod calibration;
mod degrees;
mod euler;
pub(crate) mod jackknife;
mod mean;
pub(crate) mod mistakes;
pub(crate) mod model;
pub(crate) mod orientation;
mod refine;
pub(crate) mod scale;
pub(crate) mod solvers;

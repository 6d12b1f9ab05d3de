//! Where the camera is on the arm or in the cell.
//!
//! `model` has the poses and what they are judged by. `calibration` runs the closed `solvers`,
//! refines the best of their solutions (`refine`), and tells how far that can be trusted
//! (`jackknife`). `orientation` turns boards round that were taken for their half turn; `mistakes`
//! finds mixed-up conventions (with `degrees` for degrees that were taken for radians, `euler` for
//! Euler angles that were taken for rotation vectors, and `scale` for squares of another length).
//! `stop` makes a pair of what arm and camera say, `motion` tells how the arm should still move, and
//! `judge` does everything with the pairs and says whether the result may be used.

pub(crate) mod calibration;
mod degrees;
mod euler;
mod jackknife;
pub(crate) mod judge;
mod mean;
pub(crate) mod mistakes;
pub(crate) mod model;
pub(crate) mod motion;
pub(crate) mod orientation;
mod refine;
pub(crate) mod scale;
pub(crate) mod solvers;
pub(crate) mod stop;

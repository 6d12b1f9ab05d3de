//! Calibration on the page: collects views of a board and stops of the arm from the frames of the run,
//! and computes, by the code of `magpie calibrate`.
//!
//! ```text
//! pipeline -> CalibrationTap -> one copied frame --+
//!                                                  +-> magpie-calibrate: Session -> Page -> browsers
//! browsers -> Page -> CalibrationOrder ------------+
//! ```
//!
//! A frame is copied after its result went out, only while somebody has the tab open (or waits for a
//! stop to be taken), and only while no earlier copy is being looked at. What was collected stays until
//! it is discarded or the daemon ends: it does not matter whether a browser is there.

mod collection;
mod desk;
mod found;
mod session;
mod stops;

pub(crate) use desk::{CalibrationDesk, CalibrationTap, DeskOptions};
pub(crate) use session::SessionOptions;

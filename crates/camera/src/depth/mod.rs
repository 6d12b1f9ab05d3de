//! A depth camera beside the colour camera.
//!
//! ```text
//!  colour: capture -> one-frame slot -----------------+
//!                                                     v
//!  depth:  capture -> one-frame slot -> depth -> last few images -> Paired -> pipeline
//!                                      (registers)     nearest stamp, if near enough
//! ```
//!
//! The depth stream is captured, judged and reopened like any live camera. Its own thread brings
//! each image into the colour camera's view, so that the loop only picks one. A colour frame never
//! waits for depth: without any that is near enough it goes on alone, and poses come from the
//! support plane.

pub(crate) mod config;
pub(crate) mod pair;
mod register;

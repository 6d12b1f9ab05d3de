//! Where and how a suction tool can hold each package, and which package comes first.
//!
//! ```text
//! mask -> grid of a few hundred cells -> size, centre of mass
//!                |                              |
//!                +-> candidates: clear of edges, near the centre of mass
//!                        -> patch: plane under the cup, what its lip must follow
//!                        -> tool: tilt, cups that seal, moment; is the approach free?
//!                               -> best K, the last frame's first if it is still as good
//! ```
//!
//! Start reading at `plan.rs` (a frame), then `package.rs` (one package). `surface` is what depth
//! shows, `size` the extent of a package, `hold` a tool on a contact point, `search` which contact
//! points and which packages are chosen. Each of the four knows those before it, and none after it.
//!
//! # Glossary
//!
//! | word | what it is |
//! |---|---|
//! | cell | one of at most 24 by 24 squares that a mask is laid on; its value is that of its centre |
//! | rim | the cells at the mask's edge |
//! | surface patch | the plane under one cup, and how far the surface leaves it under the lip |
//! | face | a flat side of a package; the top face is what is seen of it from above |
//! | wall | the side below an edge of the top face, seen where it faces the camera |
//! | extent | where a package begins and ends: size, top face, centre of mass |
//! | cup, lip | a suction cup, and the ring that it seals with |
//! | reach | from the tool's axis to its outermost lip |
//! | contact point | where a cup, or the axis of a tool of several cups, may touch a package |
//! | placement | a tool put down on a contact point: its pose, the cups in use, its quality |
//! | load | what the package asks of the tool: weight, centre of mass, roughness |
//! | clearance | how far a lip stays inside the mask |
//! | deviation | from the lowest to the highest place under a lip: what it has to follow |
//! | compliance | the deviation that a cup can follow |
//! | seal | how little a lip has to follow, against its compliance |
//! | roughness | the deviation to be expected all over a package |
//! | bend | how far a cell lies off the mean of its neighbours on either side |
//! | lever | how far the centre of mass hangs beside what is held, seen along gravity |
//! | moment | how small the lever is against what the vacuum can bear |
//! | tilt | how far the approach leans from straight down |
//! | hold | share of the tool's suction that is in use |
//! | quality | the product of clearance, seal, moment, tilt, hold and the share of depth |
//! | prior | an estimate of the quality from cells alone, to try the best candidates first |
//! | label map | the package that each pixel of the frame belongs to |
//! | noise | standard deviation of single depth values; that of a cell is a third of it |
//!
//! # Conventions
//! Everything is computed in the optical frame, in `f32` metres, and moved to the reference frame
//! at the end. Normals point out of the surface, towards the camera; the approach is against them.

mod hold;
mod limits;
mod package;
mod plan;
mod search;
mod size;
mod surface;
mod vector;

pub use self::limits::GraspLimits;
pub use self::plan::{Plan, PlanState, plan};
pub use self::surface::probe::{CupProbe, SurfaceUnderCup};

#[cfg(test)]
mod tests;

//! A simulated RGB-D cell with exact truth.
//!
//! Packages of four types are dropped by a physics engine onto a belt, into a tote, onto a pallet,
//! a floor, a table or a shelf, lit by lamps and sky, and photographed by a camera with a real lens
//! and a noisy sensor. Everything is made from a recipe, a seed and a frame's number; the same three
//! give the same bytes on any number of threads.
//!
//! # Conventions
//! Lengths in metres. The base frame has z up and the support plane at z = 0; cameras use the
//! optical frame (x right, y down, z forward). Transforms are named `target_from_source`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rasteriser turns floats into pixel indices all over; the values are bounded first"
)]

mod arrange;
mod belt;
mod dataset;
mod depth;
mod distractors;
mod error;
mod judge;
mod light;
mod material;
mod mesh;
mod noise;
mod packages;
mod part;
mod physics;
mod picking;
mod print;
mod random;
mod raster;
mod recipe;
mod scene;
mod sensor;
mod shade;
mod simulate;
mod solids;
mod support;
mod surfaces;
mod textures;
mod truth;
mod view;

pub use belt::{BeltSequence, belt_sequence};
pub use dataset::write_dataset;
pub use error::WorkcellError;
pub use judge::{Judge, Verdict};
pub use picking::{Picked, PickingCell, Sight};
pub use recipe::{CameraRange, DEFAULT_RECIPE, Recipe, SensorRange, SupportMix, TypeMix};
pub use simulate::{SimulatedFrame, Simulator};
pub use solids::Solids;
pub use truth::{TruePackage, Truth};

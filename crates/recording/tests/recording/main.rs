//! A recording, from the writer through the file to the reader.

#![allow(clippy::unwrap_used, reason = "a helper that panics fails its test")]

mod cameras;
mod common;
mod damage;
mod kill;
mod old;
mod others;
mod playback;
mod results;
mod ring;
mod round_trip;

//! A recording, from the writer through the file to the reader.

mod common;
mod damage;
mod playback;
mod round_trip;

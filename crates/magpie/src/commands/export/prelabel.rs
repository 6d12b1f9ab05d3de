//! What the model labels a picture with, before a person corrects it.

use std::path::PathBuf;

/// A picture and what was found in it.
pub(super) struct PrelabelledPicture {
    /// For people: a file's path, or a recording's and the frame's number in it.
    pub(super) origin: String,
    /// Where the picture is now.
    pub(super) path: PathBuf,
    /// Its name in the labels, but for the number before it.
    pub(super) name: String,
    pub(super) width_px: u32,
    pub(super) height_px: u32,
    /// Highest score first.
    pub(super) labels: Vec<Prelabel>,
    /// 0 (sure) to 1.
    pub(super) unsure: f64,
}

/// One package as the model outlines it.
pub(super) struct Prelabel {
    pub(super) class_id: usize,
    pub(super) score: f32,
    /// Largest piece first; see [`magpie_perception::Outline`] for the pixels' corners.
    pub(super) polygons: Vec<Vec<[i32; 2]>>,
}

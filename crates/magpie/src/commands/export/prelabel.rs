//! The model's labels of a picture, before a person corrects them.

use std::path::PathBuf;

use super::likeness::Likeness;

/// A picture and what was found in it.
pub(super) struct PrelabelledPicture {
    /// Names the source to people: a file's path, or a recording's with the number of the frame.
    pub(super) origin: String,
    /// The file that holds the picture now.
    pub(super) path: PathBuf,
    /// Its name in the labels, but for the number before it.
    pub(super) name: String,
    pub(super) width_px: u32,
    pub(super) height_px: u32,
    /// Highest score first.
    pub(super) labels: Vec<Prelabel>,
    /// 0 (sure) to 1.
    pub(super) unsure: f64,
    pub(super) likeness: Likeness,
}

/// One package as the model outlines it.
pub(super) struct Prelabel {
    pub(super) class_id: usize,
    pub(super) score: f32,
    /// Largest piece first; see [`magpie_perception::Outline`] for the pixels' corners.
    pub(super) polygons: Vec<Vec<[i32; 2]>>,
}

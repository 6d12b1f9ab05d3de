//! What the layouts find, and by which limits: shared by [`decode`](super::decode) and the layouts.

use crate::BboxPx;

/// What [`decode`](crate::decode) keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DecodeLimits {
    /// Lowest score kept, `0.0..=1.0`.
    pub score_min: f32,
    /// NMS: of two boxes that overlap by more, the better stays. `0.0..=1.0`.
    pub iou_max: f32,
    /// `false`: boxes of different classes never suppress each other.
    pub nms_class_agnostic: bool,
    /// Most instances kept, the best first.
    pub instances_max: usize,
}

/// One finding of the model, before its mask is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Column of the mask coefficients that belong to it.
    pub(super) index: usize,
    pub(super) class_id: usize,
    pub(super) score: f32,
    /// In input pixels.
    pub(super) bbox: BboxPx,
}

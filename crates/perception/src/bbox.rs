//! Boxes around instances in the camera image.

/// Box around an instance in the camera image. Continuous pixel coordinates of its outer edges:
/// the pixel `(0, 0)` alone has `x_min_px = 0`, `x_max_px = 1` (as COCO counts).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BboxPx {
    pub x_min_px: f32,
    pub y_min_px: f32,
    pub x_max_px: f32,
    pub y_max_px: f32,
}

impl BboxPx {
    pub fn area_px(&self) -> f32 {
        (self.x_max_px - self.x_min_px).max(0.0) * (self.y_max_px - self.y_min_px).max(0.0)
    }

    /// `[x, y]`.
    pub(crate) fn center_px(&self) -> [f32; 2] {
        [0.5 * (self.x_min_px + self.x_max_px), 0.5 * (self.y_min_px + self.y_max_px)]
    }

    /// Intersection over union, `0.0..=1.0`.
    pub fn iou(&self, other: &BboxPx) -> f32 {
        let width = self.x_max_px.min(other.x_max_px) - self.x_min_px.max(other.x_min_px);
        let height = self.y_max_px.min(other.y_max_px) - self.y_min_px.max(other.y_min_px);
        let intersection = width.max(0.0) * height.max(0.0);
        let union = self.area_px() + other.area_px() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }
}

//! Depth of single pixels with the sensor's noise averaged out.

use crate::DepthImage;

/// Depth images count millimetres.
pub(crate) const M_PER_MM: f32 = 0.001;
pub(crate) const MM_PER_M: f32 = 1000.0;

/// No depth camera measures nearer.
pub(crate) const DEPTH_M_MIN: f32 = 0.05;

/// Standard deviation of a cell's depth, as a share of a pixel's: the mean of up to nine pixels,
/// which is a third of it and a little for those that are left out.
pub(crate) const CELL_NOISE_SHARE: f32 = 0.35;

/// Neighbours are of the same surface up to this distance in depth, and up to one part in
/// `SAME_SURFACE_PARTS` of their depth.
const SAME_SURFACE_MM: i32 = 10;
const SAME_SURFACE_PARTS: i32 = 64;

/// Depth along the optical axis: the mean of a pixel and its eight neighbours, as far as they are of
/// the same surface; `None` in a hole.
pub(crate) fn smooth_depth_m(depth: &DepthImage, x_px: u32, y_px: u32) -> Option<f32> {
    /// What one neighbour adds to a sum of offsets, which stay below: its upper bits count.
    const ONE: u32 = 1 << 16;
    let own = i32::from(depth.mm(x_px, y_px));
    let (width, height) = (depth.width_px(), depth.height_px());
    if own == 0 || width < 3 || height < 3 {
        return (own != 0).then_some(own as f32 * M_PER_MM);
    }
    let limit = SAME_SURFACE_MM + own / SAME_SURFACE_PARTS;
    let (least, span) = (own - limit, 2 * limit.cast_unsigned());
    let (x, y) = (x_px.clamp(1, width - 2) as usize, y_px.clamp(1, height - 2));
    let mut sum = 0;
    for row in [y - 1, y, y + 1] {
        for mm in &depth.row_mm(row)[x - 1..x + 2] {
            let offset = (i32::from(*mm) - least).cast_unsigned();
            sum += if offset <= span { offset + ONE } else { 0 };
        }
    }
    let (count, offsets) = ((sum / ONE).cast_signed(), (sum % ONE).cast_signed());
    Some((offsets + count * least) as f32 * M_PER_MM / count as f32)
}

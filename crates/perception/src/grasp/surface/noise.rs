//! How much the depth of one package scatters.

use super::depth::M_PER_MM;
use super::grid::Grid;
use super::view::View;
use crate::number::to_u16;

/// Depth comes in millimetres: rounding alone has a standard deviation of `1 / sqrt(12)` of one.
pub(crate) const ROUNDING_SIGMA_M: f32 = 0.000_29;
/// Cells whose scatter is looked at: their median is known to a tenth.
const SAMPLES: usize = 64;
/// A larger second difference is an edge.
const SECOND_DIFFERENCE_MM_MAX: u32 = 1000;
/// Median of a normal distribution's absolute deviations, in standard deviations.
const MEDIAN_DEVIATION_SIGMA: f32 = 0.6745;
/// Variance of `left - 2 * own + right`, in those of one value: 1 + 4 + 1.
const SECOND_DIFFERENCE_VARIANCE: f32 = 6.0;

/// Standard deviation of single depth values, from second differences along rows, which neither
/// planes nor the slow curves of packages have. `scatter_mm` is a buffer.
pub(crate) fn noise_m(view: View<'_>, grid: &Grid, scatter_mm: &mut Vec<u16>) -> f32 {
    scatter_mm.clear();
    let every = (grid.cells.len() / SAMPLES).max(1);
    for cell in grid.cells.iter().step_by(every) {
        let [x, y] = grid.px(cell.index as usize);
        if x == 0 || x + 1 >= view.depth.width_px() {
            continue;
        }
        let [left, own, right] = [x - 1, x, x + 1].map(|x| i32::from(view.depth.mm(x, y)));
        if left != 0 && right != 0 {
            let difference = (left - 2 * own + right).unsigned_abs();
            scatter_mm.push(to_u16(difference.min(SECOND_DIFFERENCE_MM_MAX)));
        }
    }
    let Some(median_at) = scatter_mm.len().checked_sub(1).map(|last| last / 2) else {
        return ROUNDING_SIGMA_M;
    };
    let median_mm = f32::from(*scatter_mm.select_nth_unstable(median_at).1);
    let sigmas = MEDIAN_DEVIATION_SIGMA * SECOND_DIFFERENCE_VARIANCE.sqrt();
    (median_mm * M_PER_MM / sigmas).max(ROUNDING_SIGMA_M)
}

//! Which package each pixel belongs to, and which packages lie on others.

use crate::Instance;
use crate::grasp::surface::depth::{CELL_NOISE_SHARE, smooth_depth_m};
use crate::grasp::surface::grid::Grid;
use crate::grasp::surface::view::View;

/// Columns of the map.
const COLUMNS: u32 = 320;
/// What is nearer by this much than a rim beside it lies on top of it, or at least in its way; so
/// many standard deviations of a cell's noise more are noise.
const STEP_ON_TOP_M: f32 = 0.012;
const NOISE_SIGMAS: f32 = 3.0;
/// Cells to the next depth across an edge: beside a step the sensor sees nothing.
const STEPS: i64 = 4;

/// The package that each pixel belongs to, on a coarse map stored column by column.
#[derive(Debug, Default)]
pub(crate) struct LabelMap {
    step_px: u32,
    rows: usize,
    /// Index of the instance plus one; 0 where there is none.
    labels: Vec<u16>,
}

impl LabelMap {
    pub(crate) fn fill(&mut self, instances: &[Instance]) {
        self.labels.clear();
        let Some(first) = instances.first() else { return };
        let (width, height) = (first.mask.width_px(), first.mask.height_px());
        self.step_px = width.div_ceil(COLUMNS);
        self.rows = height.div_ceil(self.step_px) as usize;
        self.labels.resize(width.div_ceil(self.step_px) as usize * self.rows, 0);
        // The surest come first, and what is painted last stays.
        for (index, instance) in instances.iter().enumerate().rev() {
            let label = label(index);
            let step = self.step_px;
            let (mut x_next, mut column) = (0, 0);
            instance.mask.for_each_column(|x, y, length| {
                while x_next < x {
                    (x_next, column) = (x_next + step, column + 1);
                }
                if x == x_next {
                    let (from, to) = (y.div_ceil(step), (y + length).div_ceil(step));
                    let line = &mut self.labels[column * self.rows..][..self.rows];
                    line[from as usize..to as usize].fill(label);
                }
            });
        }
    }

    fn at(&self, x_px: i64, y_px: i64) -> u16 {
        let step = i64::from(self.step_px);
        let (Ok(column), Ok(row)) =
            (usize::try_from(x_px.div_euclid(step)), usize::try_from(y_px.div_euclid(step)))
        else {
            return 0;
        };
        if row < self.rows {
            self.labels.get(column * self.rows + row).copied().unwrap_or(0)
        } else {
            0
        }
    }

    /// Share of a package's rim where another package is nearer to the camera. `noise_m` is that of
    /// single depth values.
    pub(crate) fn occluded_share(
        &self,
        grid: &Grid,
        index: usize,
        view: View<'_>,
        noise_m: f32,
    ) -> f32 {
        let own = label(index);
        // The first depth of a label on the way from a pixel.
        let depth_m = |label: u16, [x, y]: [i64; 2], [dx, dy]: [i64; 2]| {
            (0..STEPS).find_map(|n| {
                let (x, y) = (x + n * dx, y + n * dy);
                let (x_px, y_px) = (u32::try_from(x).ok()?, u32::try_from(y).ok()?);
                let is_inside = x_px < view.depth.width_px() && y_px < view.depth.height_px();
                (is_inside && self.at(x, y) == label)
                    .then(|| smooth_depth_m(view.depth, x_px, y_px))?
            })
        };
        let step_m = STEP_ON_TOP_M + NOISE_SIGMAS * CELL_NOISE_SHARE * noise_m;
        let (mut rim, mut covered) = (0u32, 0u32);
        grid.for_each_rim(|cell, beside| {
            rim += 1;
            let other = self.at(beside[0], beside[1]);
            if other == 0 || other == own {
                return;
            }
            let at = grid.px(cell).map(i64::from);
            let (dx, dy) = (beside[0] - at[0], beside[1] - at[1]);
            let own_m = depth_m(own, at, [-dx, -dy]);
            let Some((own_m, other_m)) = own_m.zip(depth_m(other, beside, [dx, dy])) else {
                return;
            };
            covered += u32::from(own_m - other_m > step_m);
        });
        covered as f32 / rim.max(1) as f32
    }
}

fn label(index: usize) -> u16 {
    u16::try_from(index + 1).expect("a few hundred packages at most")
}

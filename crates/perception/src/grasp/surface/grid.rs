//! One package on a grid of a few hundred cells, however large it is in the picture.
//!
//! # Conventions
//! Cells are stored column by column, with one cell of outside all around. A cell's value is that
//! of the pixel at its centre. Buffers are kept from package to package.

use nalgebra::Vector3;

use super::depth::smooth_depth_m;
use super::rays::Rays;
use crate::number::{floor_px, round_px};
use crate::{DepthImage, Mask};

/// Cells along the longer side of a mask.
const CELLS_MAX: u32 = 24;
/// Chamfer distances (Borgefors 1986): 3 to a side's neighbour, 4 to a corner's.
const SIDE: u16 = 3;
const CORNER: u16 = 4;

/// A run of a mask within one pixel column.
#[derive(Clone, Copy, Debug)]
struct Run {
    x_px: u32,
    y_px: u32,
    length_px: u32,
}

/// A cell inside the mask with depth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) index: u32,
    pub(crate) column: u8,
    pub(crate) row: u8,
    pub(crate) point_in_camera: Vector3<f32>,
    /// Above the support plane; 0 where that is unknown.
    pub(crate) height_m: f32,
}

#[derive(Debug, Default)]
pub(crate) struct Grid {
    runs: Vec<Run>,
    x_min_px: u32,
    y_min_px: u32,
    pub(crate) step_px: u32,
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    pub(crate) inside_cells: usize,
    /// Thirds of a cell to the nearest cell outside; 0 outside.
    pub(crate) edge: Vec<u16>,
    pub(crate) cells: Vec<Cell>,
    /// Inverse depth of each cell of the grid, linear across a plane; 0 where there is none.
    inverse_depth: Vec<f32>,
    /// Centre of the mask.
    pub(crate) centroid_px: [f32; 2],
}

impl Grid {
    /// Lays the grid over a mask. Masks are never empty here.
    pub(crate) fn fill(&mut self, mask: &Mask) {
        self.runs.clear();
        let (mut y_min, mut y_max) = (u32::MAX, 0);
        mask.for_each_column(|x_px, y_px, length_px| {
            self.runs.push(Run { x_px, y_px, length_px });
            (y_min, y_max) = (y_min.min(y_px), y_max.max(y_px + length_px));
        });
        let (first, last) =
            self.runs.first().zip(self.runs.last()).expect("decode leaves empty masks out");
        let (x_min, x_max) = (first.x_px, last.x_px + 1);
        (self.x_min_px, self.y_min_px) = (x_min, y_min);
        self.step_px = (x_max - x_min).max(y_max - y_min).div_ceil(CELLS_MAX);
        self.columns = (x_max - x_min).div_ceil(self.step_px) as usize + 2;
        self.rows = (y_max - y_min).div_ceil(self.step_px) as usize + 2;
        self.edge.clear();
        self.edge.resize(self.columns * self.rows, 0);
        self.mark_inside();
        self.measure_edges();
    }

    fn mark_inside(&mut self) {
        let (step, half_step) = (self.step_px, self.step_px / 2);
        let (mut at, mut sums) = (0, [0u64; 3]);
        for column in 1..self.columns - 1 {
            let x_px = self.x_px(column);
            while at < self.runs.len() && self.runs[at].x_px < x_px {
                at += 1;
            }
            for run in self.runs[at..].iter().take_while(|run| run.x_px == x_px) {
                // The first row whose centre is not above the run, the first one below it.
                let row =
                    |y: u32| ((y + step - 1).saturating_sub(self.y_min_px + half_step)) / step;
                let (first, end) = (row(run.y_px) as usize, row(run.y_px + run.length_px) as usize);
                let end = end.min(self.rows - 2);
                if first < end {
                    self.edge[column * self.rows + 1 + first..][..end - first].fill(u16::MAX);
                    let count = (end - first) as u64;
                    sums[0] += count * column as u64;
                    sums[1] += (first + end + 1) as u64 * count;
                    sums[2] += count;
                }
            }
        }
        self.inside_cells = usize::try_from(sums[2]).expect("a few hundred");
        let mean = |sum: u64| sum as f32 / sums[2].max(1) as f32;
        self.centroid_px = [self.x_of(mean(sums[0])), self.y_of(0.5 * mean(sums[1]))];
        if sums[2] == 0 {
            // Thinner than the grid: any pixel of it is as deep as any other.
            let longest = self.runs.iter().max_by_key(|run| run.length_px).expect("not empty");
            self.centroid_px =
                [longest.x_px as f32, longest.y_px as f32 + (longest.length_px / 2) as f32];
        }
    }

    /// Two sweeps of the chamfer transform.
    fn measure_edges(&mut self) {
        let rows = self.rows;
        for column in 1..self.columns - 1 {
            let (left, own) = self.edge[(column - 1) * rows..][..2 * rows].split_at_mut(rows);
            let mut above = 0;
            for (left, own) in left.windows(3).zip(&mut own[1..]) {
                if *own > 0 {
                    let side = left[1].min(above) + SIDE;
                    *own = side.min(left[0].min(left[2]) + CORNER);
                }
                above = *own;
            }
        }
        for column in (1..self.columns - 1).rev() {
            let (own, right) = self.edge[column * rows..][..2 * rows].split_at_mut(rows);
            let mut below = 0;
            for (right, own) in right.windows(3).zip(&mut own[1..]).rev() {
                if *own > 0 {
                    let side = right[1].min(below) + SIDE;
                    *own = side.min(right[0].min(right[2]) + CORNER).min(*own);
                }
                below = *own;
            }
        }
    }

    /// Looks up the depth of the cells. `height_m` is called with points in the optical frame.
    pub(crate) fn measure(
        &mut self,
        depth: &DepthImage,
        rays: &Rays,
        height_m: impl Fn(&Vector3<f32>) -> f32,
    ) {
        self.cells.clear();
        self.inverse_depth.clear();
        self.inverse_depth.resize(self.edge.len(), 0.0);
        let (rows, y_first_px) = (self.rows, self.y_px(1));
        for column in 1..self.columns - 1 {
            let (x_px, first) = (self.x_px(column), column * rows);
            let column = u8::try_from(column).expect("thirty cells a side");
            let inside = self.edge[first..][..rows - 1].iter().zip(0u8..).skip(1);
            for (_, row) in inside.filter(|(edge, _)| **edge > 0) {
                let y_px = y_first_px + u32::from(row - 1) * self.step_px;
                let Some(z_m) = smooth_depth_m(depth, x_px, y_px) else {
                    continue;
                };
                let point_in_camera = rays.at(x_px as f32, y_px as f32) * z_m;
                let height_m = height_m(&point_in_camera);
                let index = first + usize::from(row);
                self.inverse_depth[index] = 1.0 / z_m;
                let index = u32::try_from(index).expect("a thousand cells");
                self.cells.push(Cell { index, column, row, point_in_camera, height_m });
            }
        }
    }

    /// The pixel at the centre of a cell.
    pub(crate) fn px(&self, index: usize) -> [u32; 2] {
        [self.x_px(index / self.rows), self.y_px(index % self.rows)]
    }

    /// Pixels from a cell to the mask's edge, at least.
    pub(crate) fn clearance_px(&self, index: usize) -> f32 {
        // The edge runs half-way between the last cell inside and the first one outside.
        ((f32::from(self.edge[index]) / f32::from(SIDE) - 0.5) * self.step_px as f32).max(0.0)
    }

    /// How far the surface bends or steps about `reach` cells around a cell, in metres: the largest
    /// deviation of the mean of opposite cells from this one; `None` where one was not measured.
    pub(crate) fn bend_m(&self, cell: &Cell, reach: usize) -> Option<f32> {
        let (column, row) = (usize::from(cell.column), usize::from(cell.row));
        if column < reach
            || row < reach
            || column + reach >= self.columns
            || row + reach >= self.rows
        {
            return None;
        }
        let at = cell.index as usize;
        let own = self.inverse_depth[at];
        let aside = reach * self.rows;
        let bend = |one: usize, other: usize| {
            let (one, other) = (self.inverse_depth[one], self.inverse_depth[other]);
            (one > 0.0 && other > 0.0).then_some((0.5 * (one + other) - own).abs())
        };
        let along = bend(at - reach, at + reach)?;
        let across = bend(at - aside, at + aside)?;
        let z_m = cell.point_in_camera.z;
        // Inverse depths to depths.
        Some(along.max(across) * z_m * z_m)
    }

    /// Whether the mask holds the pixel nearest to a place.
    pub(crate) fn contains(&self, [x, y]: [f32; 2]) -> bool {
        if x < 0.0 || y < 0.0 {
            return false;
        }
        let (x, y) = (round_px(x), round_px(y));
        // Most masks have one run a column.
        let guess = x.wrapping_sub(self.x_min_px) as usize;
        let is_of_column = |at: usize| self.runs.get(at).is_some_and(|run| run.x_px == x);
        let first = if is_of_column(guess) && (guess == 0 || !is_of_column(guess - 1)) {
            guess
        } else {
            self.runs.partition_point(|run| run.x_px < x)
        };
        let mut column = self.runs[first..].iter().take_while(|run| run.x_px == x);
        column.any(|run| (run.y_px..run.y_px + run.length_px).contains(&y))
    }

    /// The cell that a pixel lies in, if that is inside.
    pub(crate) fn cell_at(&self, at_px: [f32; 2]) -> Option<usize> {
        let cell = |at: f32, min: u32, count: usize| {
            let from = at - min as f32;
            let index = floor_px(from.max(0.0)) / self.step_px + 1;
            (from >= 0.0 && (index as usize) < count - 1).then_some(index as usize)
        };
        let column = cell(at_px[0], self.x_min_px, self.columns)?;
        let row = cell(at_px[1], self.y_min_px, self.rows)?;
        let index = column * self.rows + row;
        (self.edge[index] > 0).then_some(index)
    }

    /// The cell nearest to the centroid among those almost as deep as the deepest: keeps the
    /// contact of a long box near its centre.
    pub(crate) fn deepest(&self) -> Option<usize> {
        const DEEP_SHARE: f32 = 0.85;
        let deepest = *self.edge.iter().max()?;
        let enough = f32::from(deepest) * DEEP_SHARE;
        let far = |index: usize| {
            let [x, y] = self.px(index);
            (x as f32 - self.centroid_px[0]).powi(2) + (y as f32 - self.centroid_px[1]).powi(2)
        };
        (0..self.edge.len())
            .filter(|&index| self.edge[index] > 0 && f32::from(self.edge[index]) >= enough)
            .min_by(|&a, &b| far(a).total_cmp(&far(b)))
    }

    /// For each cell at the rim, the pixel just outside of it, on each open side.
    pub(crate) fn for_each_rim(&self, mut see: impl FnMut(usize, [i64; 2])) {
        let sides = [(-1, 0), (1, 0), (0, -1), (0, 1)];
        for column in 1..self.columns - 1 {
            for row in 1..self.rows - 1 {
                let index = column * self.rows + row;
                if self.edge[index] == 0 || self.edge[index] > SIDE {
                    continue;
                }
                let (x, y) = (i64::from(self.x_px(column)), i64::from(self.y_px(row)));
                for (dx, dy) in sides {
                    let beside = (index as isize) + dx * self.rows as isize + dy;
                    if self.edge[beside.unsigned_abs()] == 0 {
                        let step = i64::from(self.step_px);
                        see(index, [x + dx as i64 * step, y + dy as i64 * step]);
                    }
                }
            }
        }
    }

    fn x_px(&self, column: usize) -> u32 {
        let last = self.runs.last().map_or(0, |run| run.x_px);
        (self.x_min_px + cells(column) * self.step_px + self.step_px / 2).min(last)
    }

    fn y_px(&self, row: usize) -> u32 {
        self.y_min_px + cells(row) * self.step_px + self.step_px / 2
    }

    fn x_of(&self, column: f32) -> f32 {
        self.x_min_px as f32 + (column - 1.0) * self.step_px as f32 + (self.step_px / 2) as f32
    }

    fn y_of(&self, row: f32) -> f32 {
        self.y_min_px as f32 + (row - 1.0) * self.step_px as f32 + (self.step_px / 2) as f32
    }
}

/// Cells of the mask before one; the first column and row are outside.
fn cells(index: usize) -> u32 {
    u32::try_from(index - 1).expect("thirty cells a side")
}

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cells_are_inside_exactly_where_the_mask_is(
            w in 1u32..90, h in 1u32..90, seed in 1u32..999,
        ) {
            let blob = |x: u32, y: u32| (x * x + y * seed + (x * y) / 7) % 11 < 8;
            let bitmap: Vec<u8> =
                (0..w * h).map(|at| u8::from(blob(at % w, at / w))).collect();
            let mask = Mask::from_bitmap(w, h, &bitmap);
            prop_assume!(!mask.is_empty());
            let mut grid = Grid::default();
            grid.fill(&mask);
            for column in 1..grid.columns - 1 {
                for row in 1..grid.rows - 1 {
                    let [x, y] = [grid.x_px(column), grid.y_px(row)];
                    let inside = grid.edge[column * grid.rows + row] > 0;
                    // The centre of the last cell may lie beyond the mask's box.
                    let expected = y < h && mask.contains(x, y);
                    prop_assert_eq!(inside, expected, "cell {} {} at {} {}", column, row, x, y);
                }
            }
            if let Some(deepest) = grid.deepest() {
                let [x, y] = grid.px(deepest);
                prop_assert!(mask.contains(x, y));
            }
        }
    }

    #[test]
    fn a_square_is_deepest_at_its_centre() {
        let bitmap: Vec<u8> = (0..60 * 60)
            .map(|at| u8::from((10..31).contains(&(at % 60)) && (20..41).contains(&(at / 60))))
            .collect();
        let mut grid = Grid::default();
        grid.fill(&Mask::from_bitmap(60, 60, &bitmap));
        let deepest = grid.deepest().unwrap();
        assert_eq!(grid.px(deepest), [20, 30]);
        assert_eq!(grid.clearance_px(deepest), 10.5);
        assert_eq!(round_px(grid.centroid_px[0]), 20);
    }
}

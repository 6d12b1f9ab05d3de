//! The cells of a grid as the support plane has them.

use nalgebra::Vector3;

use super::support::SupportPlane;
use crate::grasp::surface::grid::Grid;

/// Along the support plane from an origin, and above it: an entry for each cell with depth.
#[derive(Debug, Default)]
pub(super) struct CellCoordinates {
    u_m: Vec<f32>,
    v_m: Vec<f32>,
    pub(super) height_m: Vec<f32>,
}

impl CellCoordinates {
    pub(super) fn fill(&mut self, grid: &Grid, support: &SupportPlane, origin: &Vector3<f32>) {
        let along = |axis: Vector3<f32>| {
            grid.cells.iter().map(move |cell| axis.dot(&(cell.point_in_camera - origin)))
        };
        self.u_m.clear();
        self.u_m.extend(along(support.u));
        self.v_m.clear();
        self.v_m.extend(along(support.v));
        self.height_m.clear();
        self.height_m.extend(grid.cells.iter().map(|cell| cell.height_m));
    }

    /// `u`, `v` and the height of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (f32, f32, f32)> {
        let along = self.u_m.iter().zip(&self.v_m);
        along.zip(&self.height_m).map(|((u, v), height_m)| (*u, *v, *height_m))
    }
}

//! The plane of a package's top face, over the support plane.

use super::cells::CellCoordinates;

/// Fewer cells show no face.
pub(super) const CELLS_MIN: usize = 12;
/// Cells whose determinant is a smaller share of their spread lie on one line.
const COLLINEAR_SHARE: f32 = 1e-6;

/// `height = at + u_slope * u + v_slope * v`.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopPlane {
    pub(super) at_m: f32,
    pub(super) u_slope: f32,
    pub(super) v_slope: f32,
}

impl TopPlane {
    pub(super) fn height_m(&self, u: f32, v: f32) -> f32 {
        self.at_m + self.u_slope * u + self.v_slope * v
    }

    /// Least squares through the cells that are on the top; `None` of too few, or of cells on one
    /// line.
    pub(super) fn fit(cells: &CellCoordinates, on_top: &[bool]) -> Option<TopPlane> {
        let (mut n, mut mean, mut squares) = (0.0f32, [0.0f32; 3], [0.0f32; 5]);
        for ((u, v, h), on) in cells.iter().zip(on_top) {
            // Nothing is added for the others: among heights that are noise, a branch would be a
            // guess.
            let weight = f32::from(u8::from(*on));
            let [wu, wv, wh] = [weight * u, weight * v, weight * h];
            n += weight;
            mean = [mean[0] + wu, mean[1] + wv, mean[2] + wh];
            let products = [wu * u, wu * v, wv * v, wu * h, wv * h];
            squares.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
        }
        if n < CELLS_MIN as f32 {
            return None;
        }
        let [u, v, h] = mean.map(|sum| sum / n);
        let [uu, uv, vv, uh, vh] = squares.map(|sum| sum / n);
        let (uu, uv, vv, uh, vh) = (uu - u * u, uv - u * v, vv - v * v, uh - u * h, vh - v * h);
        let determinant = uu * vv - uv * uv;
        if determinant <= COLLINEAR_SHARE * uu * vv {
            return None;
        }
        let u_slope = (uh * vv - vh * uv) / determinant;
        let v_slope = (vh * uu - uh * uv) / determinant;
        Some(TopPlane { at_m: h - u_slope * u - v_slope * v, u_slope, v_slope })
    }
}

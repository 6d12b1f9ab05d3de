//! Levenberg-Marquardt with Huber's weights, for a dozen parameters and thousands of residuals.

use nalgebra::{DMatrix, DVector};

const ROUNDS_MAX: usize = 50;
/// The best step for central differences of residuals near 1 is the cube root of the precision of
/// `f64`.
const STEP: f64 = 6e-6;
/// Residuals beyond this many standard deviations count less (Huber's 95 % efficiency is 1.345).
const HUBER_SIGMAS: f64 = 2.0;

/// Minimises from zero. `residuals` gives two values for each observed point, or `None` where the
/// parameters make no sense. Returns `None` if that is so at the start.
pub(crate) fn minimise(
    parameters: usize,
    residuals: impl Fn(&DVector<f64>) -> Option<DVector<f64>>,
) -> Option<DVector<f64>> {
    let mut at = DVector::zeros(parameters);
    let mut values = residuals(&at)?;
    let mut damping = 1e-3;
    for _ in 0..ROUNDS_MAX {
        let limit = HUBER_SIGMAS * sigma(&values);
        let (jacobian, weights) = (differentiate(&at, &residuals)?, weights(&values, limit));
        let (normal, gradient) = normal_equations(&jacobian, &values, &weights);
        let Some((next, next_values, step)) =
            descend(&at, &normal, &gradient, &residuals, cost(&values, limit), limit, &mut damping)
        else {
            break;
        };
        (at, values) = (next, next_values);
        if step < 1e-10 {
            break;
        }
    }
    Some(at)
}

/// The standard deviation of the last parameter at a minimum, from what is left there.
pub(crate) fn std_of_last(
    at: &DVector<f64>,
    residuals: impl Fn(&DVector<f64>) -> Option<DVector<f64>>,
) -> Option<f64> {
    let (values, jacobian) = (residuals(at)?, differentiate(at, &residuals)?);
    let free = values.len().checked_sub(at.len()).filter(|&free| free > 0)?;
    let last = at.len() - 1;
    let inverse = jacobian.tr_mul(&jacobian).try_inverse()?;
    Some((inverse[(last, last)] * values.norm_squared() / free as f64).sqrt())
}

/// Takes one step that lowers the cost, with as much damping as that needs.
fn descend(
    at: &DVector<f64>,
    normal: &DMatrix<f64>,
    gradient: &DVector<f64>,
    residuals: &impl Fn(&DVector<f64>) -> Option<DVector<f64>>,
    cost_before: f64,
    limit: f64,
    damping: &mut f64,
) -> Option<(DVector<f64>, DVector<f64>, f64)> {
    for _ in 0..12 {
        let mut damped = normal.clone();
        for i in 0..damped.nrows() {
            damped[(i, i)] += *damping * normal[(i, i)].max(1e-12);
        }
        let step = damped.cholesky().map(|factors| factors.solve(gradient));
        if let Some(step) = step {
            let next = at - &step;
            let better = residuals(&next).filter(|values| cost(values, limit) < cost_before);
            if let Some(values) = better {
                *damping = (*damping / 10.0).max(1e-12);
                let length = step.norm();
                return Some((next, values, length));
            }
        }
        *damping *= 10.0;
    }
    None
}

fn differentiate(
    at: &DVector<f64>,
    residuals: &impl Fn(&DVector<f64>) -> Option<DVector<f64>>,
) -> Option<DMatrix<f64>> {
    let columns: Option<Vec<DVector<f64>>> = (0..at.len())
        .map(|i| {
            let shifted = |by: f64| {
                let mut moved = at.clone();
                moved[i] += by;
                residuals(&moved)
            };
            Some((shifted(STEP)? - shifted(-STEP)?) / (2.0 * STEP))
        })
        .collect();
    columns.map(|columns| DMatrix::from_columns(&columns))
}

fn normal_equations(
    jacobian: &DMatrix<f64>,
    values: &DVector<f64>,
    weights: &DVector<f64>,
) -> (DMatrix<f64>, DVector<f64>) {
    let mut weighted = jacobian.clone();
    for (mut row, weight) in weighted.row_iter_mut().zip(weights.iter()) {
        row *= *weight;
    }
    (weighted.tr_mul(jacobian), weighted.tr_mul(values))
}

/// Returns the lengths of the two-valued residuals.
fn lengths(values: &DVector<f64>) -> impl Iterator<Item = f64> {
    values.as_slice().chunks(2).map(|pair| pair.iter().map(|v| v * v).sum::<f64>().sqrt())
}

/// Estimates the standard deviation of one value by the median of the lengths, which is 1.1774
/// sigma (Rayleigh).
fn sigma(values: &DVector<f64>) -> f64 {
    let mut lengths: Vec<f64> = lengths(values).collect();
    lengths.sort_by(f64::total_cmp);
    (lengths[lengths.len() / 2] / 1.1774).max(1e-9)
}

fn weights(values: &DVector<f64>, limit: f64) -> DVector<f64> {
    let both = lengths(values).flat_map(|length| {
        let weight = if length <= limit { 1.0 } else { limit / length };
        [weight, weight]
    });
    DVector::from_iterator(values.len(), both.collect::<Vec<_>>())
}

fn cost(values: &DVector<f64>, limit: f64) -> f64 {
    let huber = |length: f64| {
        if length <= limit { length * length } else { limit * (2.0 * length - limit) }
    };
    lengths(values).map(huber).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A circle through points of which one is far out.
    #[test]
    fn an_outlier_hardly_moves_the_fit() {
        let points: Vec<(f64, f64)> = (0..40)
            .map(|i| {
                let angle = f64::from(i) * 0.157;
                let radius = if i == 7 { 9.0 } else { 2.0 + 0.001 * f64::from(i % 3 - 1) };
                (0.5 + radius * angle.cos(), -0.25 + radius * angle.sin())
            })
            .collect();
        let residuals = |p: &DVector<f64>| {
            let values = points.iter().flat_map(|(x, y)| {
                let (dx, dy) = (x - p[0] - 0.3, y - p[1]);
                let scale = 1.0 - (p[2] + 1.5) / dx.hypot(dy);
                [dx * scale, dy * scale]
            });
            Some(DVector::from_vec(values.collect()))
        };
        let fit = minimise(3, residuals).unwrap();
        let found = [fit[0] + 0.3, fit[1], fit[2] + 1.5];
        for (found, true_) in found.iter().zip([0.5, -0.25, 2.0]) {
            assert!((found - true_).abs() < 2e-3, "{found} is not {true_}");
        }
    }

    /// The mean of values is known as well as its standard error says.
    #[test]
    fn what_is_left_tells_how_well_a_parameter_is_known() {
        let values = [0.3, -0.1, 0.8, 0.2, -0.5, 0.9, 0.0, 0.4];
        let mean = values.iter().sum::<f64>() / 8.0;
        let square: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let residuals =
            |p: &DVector<f64>| Some(DVector::from_vec(values.map(|value| p[0] - value).to_vec()));
        let std = std_of_last(&DVector::from_vec(vec![mean]), residuals).unwrap();
        assert!((std - (square / 7.0 / 8.0).sqrt()).abs() < 1e-9, "{std}");
    }

    /// The straight line through exact points, in closed form.
    #[test]
    fn exact_points_are_fitted_exactly() {
        let residuals = |p: &DVector<f64>| {
            let off = |i: i32| p[0] + p[1] * f64::from(i) - (3.0 - 0.5 * f64::from(i));
            Some(DVector::from_vec((0..10).map(off).collect()))
        };
        let fit = minimise(2, residuals).unwrap();
        assert!((fit[0] - 3.0).abs() < 1e-9 && (fit[1] + 0.5).abs() < 1e-9, "{fit}");
    }
}

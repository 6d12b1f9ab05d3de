//! Percentiles of what was measured: every command takes them from an HDR histogram.

use hdrhistogram::Histogram;

/// A percentile is off by one part in ten thousand at most.
const SIGNIFICANT_DIGITS: u8 = 4;
/// Points of a curve for each halving of the values that are left.
const POINTS_PER_HALF: u32 = 4;

/// How values are distributed; none of them is negative.
pub(crate) struct Distribution {
    /// Counts multiples of the resolution.
    histogram: Histogram<u64>,
    resolution: f64,
}

impl Distribution {
    /// `resolution` has the unit of the values: two that differ by less count as one.
    pub(crate) fn new(values: impl IntoIterator<Item = f64>, resolution: f64) -> Distribution {
        let mut histogram =
            Histogram::<u64>::new(SIGNIFICANT_DIGITS).expect("up to five digits are allowed");
        for value in values {
            let count = multiples(value, resolution);
            histogram.record(count).expect("the histogram grows with its values");
        }
        Distribution { histogram, resolution }
    }

    /// The least value that this share of all values does not exceed; `None` without any value.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let histogram = &self.histogram;
        (!histogram.is_empty()).then(|| {
            let count = histogram.median_equivalent(histogram.value_at_quantile(share));
            count as f64 * self.resolution
        })
    }

    pub(crate) fn median(&self) -> Option<f64> {
        self.quantile(0.5)
    }

    pub(crate) fn max(&self) -> Option<f64> {
        let histogram = &self.histogram;
        (!histogram.is_empty()).then(|| histogram.max() as f64 * self.resolution)
    }

    /// Percent of the values, and what these do not exceed; closer and closer towards 100 %.
    pub(crate) fn curve(&self) -> Vec<(f64, f64)> {
        let steps = self.histogram.iter_quantiles(POINTS_PER_HALF);
        steps
            .map(|step| {
                (100.0 * step.quantile(), step.value_iterated_to() as f64 * self.resolution)
            })
            .collect()
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "none is negative")]
fn multiples(value: f64, resolution: f64) -> u64 {
    (value / resolution).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_value_of_its_rank() {
        let distribution = Distribution::new((1..=100).rev().map(f64::from), 1.0);
        for (share, value) in [(0.01, 1.0), (0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0)] {
            assert_eq!(distribution.quantile(share), Some(value), "{share}");
        }
        assert_eq!(distribution.max(), Some(100.0));
    }

    #[test]
    fn small_and_large_values_keep_four_digits() {
        for value in [0.012_345, 1.234_5, 543.21, 9_876_543.0] {
            let median = Distribution::new([value], 1e-6).median().unwrap();
            assert!((median / value - 1.0).abs() < 1e-4, "{median} for {value}");
        }
    }

    #[test]
    fn nothing_has_no_percentile() {
        let nothing = Distribution::new([], 1.0);
        assert_eq!((nothing.median(), nothing.max()), (None, None));
    }

    #[test]
    fn a_curve_rises_to_the_largest_value() {
        let curve = Distribution::new((1..=1000).map(f64::from), 1.0).curve();
        assert!(curve.windows(2).all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1));
        assert_eq!(curve.last(), Some(&(100.0, 1000.0)));
    }
}

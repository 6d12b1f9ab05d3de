//! The convex hull of points.

use nalgebra::Point2;

/// The convex hull, counter-clockwise, by Andrew's chains.
pub fn convex_hull(mut points: Vec<Point2<f64>>) -> Vec<Point2<f64>> {
    points.sort_by(|a, b| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)));
    let mut hull = chain(points.iter());
    hull.extend(chain(points.iter().rev()));
    hull
}

/// Turns left at each point, and ends before the last, where the other chain begins.
fn chain<'a>(points: impl Iterator<Item = &'a Point2<f64>>) -> Vec<Point2<f64>> {
    let mut chain: Vec<Point2<f64>> = Vec::new();
    for &point in points {
        while let [.., a, b] = chain[..]
            && (b - a).perp(&(point - b)) <= 0.0
        {
            chain.pop();
        }
        chain.push(point);
    }
    chain.pop();
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_stay_and_what_lies_within_or_on_an_edge_goes() {
        let points =
            [(0.0, 0.0), (2.0, 0.0), (1.0, 0.0), (1.0, 1.0), (2.0, 2.0), (0.0, 2.0), (2.0, 2.0)];
        let hull = convex_hull(points.map(|(x, y)| Point2::new(x, y)).to_vec());
        let corners = [(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)];
        assert_eq!(hull, corners.map(|(x, y)| Point2::new(x, y)));
    }
}

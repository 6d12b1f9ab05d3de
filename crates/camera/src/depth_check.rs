//! Whether a depth image can be what it is taken for.

use magpie_perception::{CameraInfo, DepthImage, Plane};

/// Every so many pixels each way are enough to judge by.
const STRIDE: usize = 8;
/// Nothing on the support is farther than it, and little comes closer than a fifth of the way.
const RATIO_MIN: f64 = 0.2;
const RATIO_MAX: f64 = 1.5;
/// Without a support plane: no picking camera is so near or so far.
const DEPTH_M_MIN: f64 = 0.08;
const DEPTH_M_MAX: f64 = 10.0;

/// Why the depth cannot be used; `None` if nothing speaks against it. The support plane, in the
/// optical frame, tells a wrong unit apart from an unusual camera.
pub fn judge_depth(depth: &DepthImage, support: Option<(&CameraInfo, &Plane)>) -> Option<String> {
    let (width_px, height_px) = (depth.width_px(), depth.height_px());
    let samples = (0..height_px)
        .step_by(STRIDE)
        .flat_map(|y| (0..width_px).step_by(STRIDE).map(move |x| (x, y)))
        .filter_map(|(x, y)| Some((x, y, depth.depth_m(x, y)?)));
    let samples: Vec<(u32, u32, f64)> = samples.collect();
    if samples.is_empty() {
        return Some(
            "depth is 0 everywhere: does the depth camera see anything, and is its projector on?"
                .into(),
        );
    }
    let median_m = median(samples.iter().map(|sample| sample.2).collect());
    let Some((info, plane)) = support else {
        return (!(DEPTH_M_MIN..=DEPTH_M_MAX).contains(&median_m)).then(|| {
            format!(
                "depth is {median_m:.3} m at the median: it must be in millimetres; is the source \
                 in another unit?"
            )
        });
    };
    let ratios = samples.iter().filter_map(|&(x, y, depth_m)| {
        let hit = plane.intersect_ray(&info.ray(f64::from(x), f64::from(y)))?;
        Some(depth_m / hit.z)
    });
    let ratios: Vec<f64> = ratios.collect();
    if ratios.is_empty() {
        return None;
    }
    let ratio = median(ratios);
    (!(RATIO_MIN..=RATIO_MAX).contains(&ratio)).then(|| {
        format!(
            "depth is {ratio:.3} times the way to the support plane ({median_m:.3} m at the \
             median): is it in another unit than millimetres, or is the plane wrong?"
        )
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use magpie_perception::{Distortion, Intrinsics};
    use nalgebra::{Unit, Vector3};

    use super::*;

    fn image(mm: u16) -> DepthImage {
        DepthImage::new(64, 48, vec![mm; 64 * 48]).unwrap()
    }

    fn check(mm: u16, with_plane: bool, expected: Option<&str>) {
        let info = CameraInfo {
            camera_name: "x".into(),
            frame_id: "x".into(),
            width_px: 64,
            height_px: 48,
            intrinsics: Intrinsics { fx_px: 60.0, fy_px: 60.0, cx_px: 31.5, cy_px: 23.5 },
            distortion: Distortion::default(),
        };
        let normal = Unit::new_unchecked(Vector3::new(0.0, 0.0, -1.0));
        let plane = Plane { normal, offset_m: -1.2 };
        let found = judge_depth(&image(mm), with_plane.then_some((&info, &plane)));
        match (found, expected) {
            (None, None) => {}
            (Some(found), Some(expected)) => assert!(found.contains(expected), "{found}"),
            (found, _) => panic!("{found:?} at {mm} mm"),
        }
    }

    #[test]
    fn depth_of_the_support_and_of_what_lies_on_it_is_fine() {
        check(1200, true, None);
        check(700, true, None);
        check(1200, false, None);
    }

    #[test]
    fn zero_everywhere_and_other_units_are_told() {
        check(0, true, Some("0 everywhere"));
        check(0, false, Some("0 everywhere"));
        check(12_000, true, Some("another unit"));
        check(120, true, Some("another unit"));
        check(4800, true, Some("4.000 times"));
        check(12_000, false, Some("another unit"));
        check(1, false, Some("another unit"));
    }
}

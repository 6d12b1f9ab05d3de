//! Whether what was measured has the size of packages: depth in a wrong unit scales everything, and
//! nothing in it contradicts anything else.

use crate::{CameraInfo, DepthImage, Package, Plane};

/// Where cameras over cells see what packages lie on.
const PLANE_M: std::ops::Range<f64> = 0.1..12.0;
/// The longest side of the median package. Carriers take single parcels of up to 1.2 m or so.
const LENGTH_M: std::ops::RangeInclusive<f64> = 0.04..=1.0;
/// The longer side of the box around the median package in the picture.
const EXTENT_M: std::ops::RangeInclusive<f64> = 0.03..=1.2;
/// No side of anything that an arm picks is longer, and nothing is stacked higher.
const SIDE_M_MAX: f64 = 3.0;
/// Nothing lies further below what it rests on; the border of a tote or a pallet may.
const BELOW_M_MAX: f64 = 0.3;

/// Why the unit of depth, or the support plane, seems to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ScaleDoubt {
    #[error(
        "what packages lie on is {distance_m:.3} m from the camera; is the unit of depth right?"
    )]
    Plane { distance_m: f64 },
    /// `length_m`: the longest side of the median package.
    #[error("packages measure {length_m:.2} m at the median; is the unit of depth right?")]
    Length { length_m: f64 },
    #[error("a package has a side of {side_m:.1} m; is the unit of depth right?")]
    Side { side_m: f64 },
    #[error(
        "a package lies {height_m:.2} m above the support plane; are the unit of depth and the \
         support plane right?"
    )]
    Height { height_m: f64 },
}

/// Doubts a support plane that was measured from depth.
pub fn doubt_plane(plane: &Plane) -> Option<ScaleDoubt> {
    let distance_m = plane.offset_m.abs();
    (!PLANE_M.contains(&distance_m)).then_some(ScaleDoubt::Plane { distance_m })
}

/// Doubts the packages of a frame, by the worst of their sizes and heights.
pub fn doubt_packages(packages: &[Package]) -> Option<ScaleDoubt> {
    let heights = packages.iter().filter_map(|package| package.height_m);
    let out = heights
        .map(|height_m| if height_m.is_nan() { f64::INFINITY } else { height_m })
        .find(|height_m| !(-BELOW_M_MAX..=SIDE_M_MAX).contains(height_m));
    if let Some(height_m) = out {
        return Some(ScaleDoubt::Height { height_m });
    }
    let longest = |package: &Package| {
        package.size.map(|size| size.length_m.max(size.width_m).max(size.height_m))
    };
    let longest_of_all = packages.iter().filter_map(longest).max_by(f64::total_cmp)?;
    if longest_of_all > SIDE_M_MAX {
        return Some(ScaleDoubt::Side { side_m: longest_of_all });
    }
    let length_m = median(packages, longest)?;
    (!LENGTH_M.contains(&length_m)).then_some(ScaleDoubt::Length { length_m })
}

/// Doubts packages whose sizes are not known, by how large they would be at their depth. A box around
/// what lies askew is larger than it, but never by half.
pub fn doubt_extents(
    packages: &[Package],
    depth: &DepthImage,
    info: &CameraInfo,
) -> Option<ScaleDoubt> {
    let longest = |package: &Package| {
        let [x_px, y_px] = package.deepest_px.map(f64::from);
        let is_inside = x_px < f64::from(depth.width_px()) && y_px < f64::from(depth.height_px());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as saturates")]
        let depth_m = is_inside.then(|| depth.depth_m(x_px as u32, y_px as u32)).flatten()?;
        let bbox = package.instance.bbox;
        let side = |from: f32, to: f32, f_px: f64| f64::from(to - from) / f_px * depth_m;
        let across = side(bbox.x_min_px, bbox.x_max_px, info.intrinsics.fx_px);
        Some(across.max(side(bbox.y_min_px, bbox.y_max_px, info.intrinsics.fy_px)))
    };
    let length_m = median(packages, longest)?;
    (!EXTENT_M.contains(&length_m)).then_some(ScaleDoubt::Length { length_m })
}

/// The lower median, found without a buffer: frames have few packages.
fn median(packages: &[Package], of: impl Fn(&Package) -> Option<f64>) -> Option<f64> {
    let count = packages.iter().filter_map(&of).count();
    packages.iter().filter_map(&of).find(|one| {
        let below = packages.iter().filter_map(&of).filter(|other| other < one).count();
        let not_above = packages.iter().filter_map(&of).filter(|other| other <= one).count();
        below <= (count - 1) / 2 && (count - 1) / 2 < not_above
    })
}

#[cfg(test)]
mod tests {
    use nalgebra::Vector3;

    use super::*;
    use crate::{BboxPx, Distortion, Instance, Intrinsics, Mask, SizeM};

    fn package(length_m: f64, height_m: f64) -> Package {
        let bbox = BboxPx { x_min_px: 0.0, y_min_px: 0.0, x_max_px: 1.0, y_max_px: 1.0 };
        let instance = Instance { class_id: 0, score: 1.0, bbox, mask: Mask::empty(4, 4) };
        let size = Some(SizeM { length_m, width_m: length_m / 2.0, height_m: 0.01 });
        Package { size, height_m: Some(height_m), ..Package::unplanned(instance, 1) }
    }

    fn check(packages: &[(f64, f64)], expected: &str) {
        let packages: Vec<Package> = packages.iter().map(|&(l, h)| package(l, h)).collect();
        let doubt = doubt_packages(&packages).map_or_else(String::new, |doubt| doubt.to_string());
        assert!(doubt.contains(expected) && doubt.is_empty() == expected.is_empty(), "{doubt}");
    }

    #[test]
    fn packages_of_usual_sizes_are_not_doubted() {
        check(&[], "");
        check(&[(0.3, 0.2)], "");
        check(&[(0.06, 0.01), (0.3, 0.2), (1.2, 0.4)], "");
    }

    #[test]
    fn boxes_in_a_wrong_unit_are_doubted() {
        // 0.32 m in fifths and in quarters of a millimetre, and in hundredths of a metre.
        check(&[(1.6, 0.5), (1.2, 0.9), (0.4, 0.1)], "1.20 m at the median");
        check(&[(1.28, 0.5)], "1.28 m at the median");
        check(&[(0.032, 0.01)], "0.03 m at the median");
        check(&[(0.3, 0.1), (43.4, 0.2), (0.2, 0.1)], "a side of 43.4 m");
        check(&[(0.3, 0.1), (0.2, -62.0)], "-62.00 m above");
    }

    #[test]
    fn packages_without_a_size_are_doubted_by_their_depth() {
        let intrinsics = Intrinsics { fx_px: 600.0, fy_px: 600.0, cx_px: 2.0, cy_px: 2.0 };
        let (camera_name, frame_id) = ("cam".to_owned(), "cam".to_owned());
        let distortion = Distortion::default();
        let (width_px, height_px) = (4, 4);
        let info =
            CameraInfo { camera_name, frame_id, width_px, height_px, intrinsics, distortion };
        let mut found = package(0.3, 0.1);
        found.size = None;
        found.instance.bbox.x_max_px = 240.0;
        let doubt = |mm: u16| {
            let depth = DepthImage::new(4, 4, vec![mm; 16]).unwrap();
            doubt_extents(std::slice::from_ref(&found), &depth, &info)
        };
        // 240 px of 600 px at a metre are 0.4 m.
        assert_eq!(doubt(1000), None);
        assert_eq!(doubt(0), None);
        let Some(ScaleDoubt::Length { length_m }) = doubt(5000) else { panic!("no doubt") };
        assert!((length_m - 240.0 / 600.0 * 5.0).abs() < 1e-9, "{length_m}");
    }

    #[test]
    fn a_support_plane_that_no_cell_has_is_doubted() {
        let plane = |offset_m| Plane { normal: -Vector3::z_axis(), offset_m };
        assert_eq!(doubt_plane(&plane(-1.2)), None);
        assert_eq!(doubt_plane(&plane(-0.05)), Some(ScaleDoubt::Plane { distance_m: 0.05 }));
        assert_eq!(doubt_plane(&plane(-27.0)), Some(ScaleDoubt::Plane { distance_m: 27.0 }));
    }
}

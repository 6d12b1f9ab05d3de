//! Whether what was measured has the size of packages: depth in a wrong unit scales everything, and
//! nothing in it contradicts anything else.

use std::fmt;

use crate::{CameraInfo, DepthImage, Package, Packages, Plane, ReferenceFrame};

/// Where cameras over cells see what packages lie on: nearer, a package and a tool have no room.
const PLANE_M: std::ops::Range<f64> = 0.2..12.0;
/// They are nearer as a rule: further away the unit is worth a look, unless it was said just now.
const NEAR_M: std::ops::Range<f64> = 0.2..3.0;
/// The longest side of the median package. Carriers take single parcels of up to 1.2 m or so, and
/// half of all are shorter than 0.4 m.
const LENGTH_M: std::ops::RangeInclusive<f64> = 0.04..=0.75;
/// The longer side of the box around the median package in the picture.
const EXTENT_M: std::ops::RangeInclusive<f64> = 0.03..=0.9;
/// No side of anything that an arm picks is longer, and nothing is stacked higher.
const SIDE_M_MAX: f64 = 3.0;
/// Nothing lies further below what it rests on; the border of a tote or a pallet may.
const BELOW_M_MAX: f64 = 0.3;
/// No arm on a pedestal reaches further down.
const BELOW_BASE_M_MAX: f64 = 1.0;
/// Lower than envelopes are.
const FLAT_M: f64 = 0.002;
/// A single envelope may be thinner; that many packages are not.
const FLAT_PACKAGES_MIN: usize = 3;
/// Of fewer packages: depth has steps of a millimetre, so only depth without any relief is as flat.
const EXACTLY_FLAT_M: f64 = 0.00001;
/// The longest side of a usual package.
const USUAL_M: f64 = 0.25;
/// How units of depth in use differ: 1 mm, 0.25 mm (RealSense L515), 0.2 mm (TUM), 0.1 mm, 0.001 mm.
const UNIT_FACTORS: [f64; 4] = [4.0, 5.0, 10.0, 1000.0];

/// Why the unit of depth, or the support plane, seems to be wrong.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ScaleDoubt {
    #[error(
        "what packages lie on is {distance_m:.3} m from the camera; is the unit of depth right?"
    )]
    Plane { distance_m: f64 },
    /// `length_m`: the longest side of the median package.
    #[error(
        "packages measure {length_m:.2} m at the median; is the unit of depth right?{}",
        OtherUnit(*length_m)
    )]
    Length { length_m: f64 },
    #[error("a package has a side of {side_m:.1} m; is the unit of depth right?")]
    Side { side_m: f64 },
    #[error(
        "packages lie {below_m:.2} m below the base at the median; is the unit of depth right? Else \
         the camera's pose is not;"
    )]
    BelowBase { below_m: f64 },
    #[error(
        "none of the {packages} packages stands out of the support plane; is the depth of this \
         picture, and turned as it is?"
    )]
    Flat { packages: usize },
    #[error(
        "a package lies {height_m:.2} m above the support plane; are the unit of depth and the \
         support plane right?"
    )]
    Height { height_m: f64 },
}

/// A unit that makes packages as large as they usually are.
struct OtherUnit(f64);

impl fmt::Display for OtherUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_small = self.0 < USUAL_M;
        let scaled = |factor: f64| if is_small { self.0 * factor } else { self.0 / factor };
        let away = |factor: f64| (scaled(factor) / USUAL_M).ln().abs();
        let closest = UNIT_FACTORS.into_iter().min_by(|a, b| away(*a).total_cmp(&away(*b)));
        let Some(factor) = closest.filter(|factor| LENGTH_M.contains(&scaled(*factor))) else {
            return Ok(());
        };
        let than = if is_small { "larger" } else { "smaller" };
        write!(f, " One {factor} times {than} makes that {:.2} m;", scaled(factor))
    }
}

/// Doubts a support plane that was measured from depth.
pub fn doubt_plane(plane: &Plane, is_unit_said: bool) -> Option<ScaleDoubt> {
    let distance_m = plane.offset_m.abs();
    let usual_m = if is_unit_said { PLANE_M } else { NEAR_M };
    (!usual_m.contains(&distance_m)).then_some(ScaleDoubt::Plane { distance_m })
}

/// Doubts the packages of a frame, by the worst of their places, sizes and heights.
pub fn doubt_packages(frame: &Packages) -> Option<ScaleDoubt> {
    let packages = &frame.packages[..];
    if frame.reference_frame == ReferenceFrame::Base
        && let Some(below_m) = median(packages, below_m).filter(|m| *m > BELOW_BASE_M_MAX)
    {
        return Some(ScaleDoubt::BelowBase { below_m });
    }
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
    let longest_of_all = packages.iter().filter_map(longest).max_by(f64::total_cmp);
    if let Some(side_m) = longest_of_all.filter(|side_m| *side_m > SIDE_M_MAX) {
        return Some(ScaleDoubt::Side { side_m });
    }
    let length_m = median(packages, longest).filter(|length_m| !LENGTH_M.contains(length_m));
    let length = length_m.map(|length_m| ScaleDoubt::Length { length_m });
    length.or_else(|| doubt_heights(packages))
}

/// How far below the origin of poses it is held, or else lies.
fn below_m(package: &Package) -> Option<f64> {
    let held = package.best_grasp().map(|grasp| grasp.reference_from_grasp.translation.z);
    held.or_else(|| package.position_in_reference.map(|center| center.z)).map(|z_m| -z_m)
}

/// Packages that depth does not show: it belongs to another picture, or is turned, or constant.
fn doubt_heights(packages: &[Package]) -> Option<ScaleDoubt> {
    let heights = || packages.iter().filter_map(|package| package.height_m);
    let count = heights().count();
    let flat_m = if count < FLAT_PACKAGES_MIN { EXACTLY_FLAT_M } else { FLAT_M };
    let flat = heights().filter(|height_m| height_m.abs() < flat_m).count();
    (count > 0 && 10 * flat >= 9 * count).then_some(ScaleDoubt::Flat { packages: count })
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
    use crate::{BboxPx, Distortion, Instance, Intrinsics, Mask, SizeM, StampNs, StampSource};

    fn package(length_m: f64, height_m: f64) -> Package {
        let bbox = BboxPx { x_min_px: 0.0, y_min_px: 0.0, x_max_px: 1.0, y_max_px: 1.0 };
        let instance = Instance { class_id: 0, score: 1.0, bbox, mask: Mask::empty(4, 4) };
        let size = Some(SizeM { length_m, width_m: length_m / 2.0, height_m: 0.01 });
        Package { size, height_m: Some(height_m), ..Package::unplanned(instance, 1) }
    }

    fn frame(packages: Vec<Package>) -> Packages {
        Packages {
            sequence: 0,
            stamp: StampNs(0),
            stamp_source: StampSource::Exposure,
            image_width_px: 4,
            image_height_px: 4,
            reference_frame: ReferenceFrame::Base,
            valid_until: StampNs(1),
            packages,
            velocity: None,
            depth_problem: None,
        }
    }

    fn check_frame(frame: &Packages, expected: &str) {
        let doubt = doubt_packages(frame).map_or_else(String::new, |doubt| doubt.to_string());
        assert!(doubt.contains(expected) && doubt.is_empty() == expected.is_empty(), "{doubt}");
    }

    fn check(packages: &[(f64, f64)], expected: &str) {
        check_frame(&frame(packages.iter().map(|&(l, h)| package(l, h)).collect()), expected);
    }

    #[test]
    fn packages_of_usual_sizes_are_not_doubted() {
        check(&[], "");
        check(&[(0.3, 0.2)], "");
        check(&[(0.06, 0.01), (0.3, 0.2), (1.2, 0.4)], "");
        // Small goods near the camera, and long ones.
        check(&[(0.045, 0.02), (0.05, 0.02)], "");
        check(&[(0.7, 0.3), (0.6, 0.3)], "");
    }

    #[test]
    fn boxes_in_a_wrong_unit_are_doubted() {
        // 0.32 m in fifths and in quarters of a millimetre, and in hundredths of a metre.
        check(&[(1.6, 0.5), (1.2, 0.9), (0.4, 0.1)], "1.20 m at the median");
        check(&[(1.28, 0.5)], "1.28 m at the median");
        check(&[(0.032, 0.01)], "0.03 m at the median");
        check(&[(0.97, 0.5), (0.9, 0.4)], "0.90 m at the median");
        check(&[(0.97, 0.5)], "One 4 times smaller makes that 0.24 m;");
        check(&[(1.2, 0.5)], "One 5 times smaller makes that 0.24 m;");
        check(&[(0.025, 0.01)], "One 10 times larger makes that 0.25 m;");
        check(&[(0.3, 0.1), (43.4, 0.2), (0.2, 0.1)], "a side of 43.4 m");
        check(&[(0.3, 0.1), (0.2, -62.0)], "-62.00 m above");
    }

    #[test]
    fn depth_that_shows_none_of_the_packages_is_doubted() {
        check(&[(0.3, 0.0); 4], "none of the 4 packages stands out");
        let mut unsized_ = frame(vec![package(0.3, 0.0005); 3]);
        unsized_.packages.iter_mut().for_each(|package| package.size = None);
        check_frame(&unsized_, "none of the 3 packages stands out");
        // An envelope or two, and empty places among packages.
        check(&[(0.3, 0.0)], "none of the 1 packages");
        check(&[(0.3, 0.001), (0.3, 0.0)], "");
        check(&[(0.3, 0.0), (0.3, 0.0), (0.3, 0.0), (0.3, 0.05)], "");
        check(&[(0.3, 0.004); 4], "");
    }

    #[test]
    fn packages_far_below_the_base_are_doubted() {
        let at = |z_m: f64, reference_frame| {
            let mut found = package(0.3, 0.1);
            found.position_in_reference = Some(nalgebra::Point3::new(0.4, 0.1, z_m));
            Packages { reference_frame, ..frame(vec![found]) }
        };
        check_frame(&at(-1.22, ReferenceFrame::Base), "1.22 m below the base");
        check_frame(&at(-0.8, ReferenceFrame::Base), "");
        check_frame(&at(-1.22, ReferenceFrame::Gripper), "");
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
        let doubt_plane = |plane: Plane| super::doubt_plane(&plane, true);
        assert_eq!(doubt_plane(plane(-1.2)), None);
        assert_eq!(doubt_plane(plane(-3.4)), None);
        assert!(super::doubt_plane(&plane(-3.4), false).is_some());
        assert_eq!(doubt_plane(plane(-0.3)), None);
        assert_eq!(doubt_plane(plane(-0.17)), Some(ScaleDoubt::Plane { distance_m: 0.17 }));
        assert_eq!(doubt_plane(plane(-27.0)), Some(ScaleDoubt::Plane { distance_m: 27.0 }));
    }
}

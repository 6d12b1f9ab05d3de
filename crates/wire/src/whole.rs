//! Whether every number of a result is one: an arm gets finite numbers within their bounds, or nothing.

use std::ops::RangeInclusive;

use magpie_perception::Mask;

use crate::proto as wire;
use crate::refusal::Refusal;

/// No camera has more pixels; a reader of masks would have to find memory for them.
const PICTURE_PX_MAX: u64 = 1 << 28;
/// Single precision may round a share of 1, or the edge of a picture, to this much more.
const ROUNDING: f64 = 1e-3;

/// The message is of a version that is known here.
pub(crate) fn check_numbers(message: &wire::Packages) -> Result<(), Refusal> {
    let (width_px, height_px) = (message.image_width_px, message.image_height_px);
    if !(1..=PICTURE_PX_MAX).contains(&(u64::from(width_px) * u64::from(height_px))) {
        return Err(Refusal::Picture { width_px, height_px });
    }
    // A value that was added later is another matter: no pose is handed out under its name.
    if message.reference_frame == i32::from(wire::ReferenceFrame::Unspecified) {
        return Err(Refusal::ReferenceFrame);
    }
    if !message.velocity.as_ref().is_none_or(is_velocity) {
        return Err(Refusal::Velocity);
    }
    let picture = Picture { width_px, height_px };
    for (index, package) in message.packages.iter().enumerate() {
        if let Some(what) = package_fault(package, &picture) {
            return Err(Refusal::Package { index, what });
        }
    }
    Ok(())
}

fn package_fault(package: &wire::Package, picture: &Picture) -> Option<&'static str> {
    let (Some(mask), Some(bbox)) = (&package.mask, &package.bbox) else {
        return Some("has no mask or no bbox");
    };
    if !picture.has_mask(mask) {
        return Some("has a mask that is not one of the picture");
    }
    if !are_shares(&[package.score, package.occluded_share]) {
        return Some("has a score or an occluded share that is not within 0 to 1");
    }
    if !picture.has_bbox(bbox) {
        return Some("has a bbox that is not one of the picture");
    }
    if !package.deepest_px.as_ref().is_none_or(|point| picture.has_point(point)) {
        return Some("has its deepest pixel outside the picture");
    }
    let is_placed = package.position_m.as_ref().is_none_or(is_finite);
    let has_height = package.height_m.is_none_or(f64::is_finite);
    if !is_placed || !has_height || !package.size.as_ref().is_none_or(is_size) {
        return Some("has a position, a height or a size that no package has");
    }
    package.grasps.iter().find_map(|grasp| grasp_fault(grasp, picture))
}

fn grasp_fault(grasp: &wire::Grasp, picture: &Picture) -> Option<&'static str> {
    if !has_finite_pose(grasp) {
        return Some("has a grasp without a finite pose");
    }
    let wire::Grasp { quality, clearance, seal, moment, tilt, hold, .. } = *grasp;
    if !are_shares(&[quality, clearance, seal, moment, tilt, hold, grasp.depth_hole_fraction]) {
        return Some("has a grasp whose quality is not within 0 to 1");
    }
    if !is_sigma(grasp.position_sigma_m) {
        return Some("has a grasp whose standard deviation is none");
    }
    if !grasp.contact_px.as_ref().is_some_and(|point| picture.has_point(point)) {
        return Some("has a grasp that does not touch within the picture");
    }
    None
}

/// The picture that a message says its masks, boxes and points are in.
struct Picture {
    width_px: u32,
    height_px: u32,
}

impl Picture {
    /// Whoever reads the mask later gets one pixel for each pixel of the picture.
    fn has_mask(&self, mask: &wire::Mask) -> bool {
        (mask.width_px, mask.height_px) == (self.width_px, self.height_px)
            && Mask::try_from(mask).is_ok()
    }

    fn has_bbox(&self, bbox: &wire::BboxPx) -> bool {
        let (x, y) = (edges(self.width_px), edges(self.height_px));
        let [x_min, y_min, x_max, y_max] =
            [bbox.x_min_px, bbox.y_min_px, bbox.x_max_px, bbox.y_max_px].map(f64::from);
        // What is not a number is in no range.
        [x_min, x_max].iter().all(|value| x.contains(value))
            && [y_min, y_max].iter().all(|value| y.contains(value))
            && x_min <= x_max
            && y_min <= y_max
    }

    /// The centre of the first pixel is 0; its outer edge is half a pixel before that.
    fn has_point(&self, point: &wire::PointPx) -> bool {
        let within =
            |value: f32, length_px: u32| (-0.5..=f64::from(length_px)).contains(&f64::from(value));
        within(point.x_px, self.width_px) && within(point.y_px, self.height_px)
    }
}

fn edges(length_px: u32) -> RangeInclusive<f64> {
    -ROUNDING..=f64::from(length_px) + ROUNDING
}

fn are_shares(values: &[f32]) -> bool {
    values.iter().all(|value| (0.0..=1.0 + ROUNDING).contains(&f64::from(*value)))
}

/// A standard deviation.
fn is_sigma(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

fn is_finite(vector: &wire::Vector3) -> bool {
    [vector.x, vector.y, vector.z].iter().all(|value| value.is_finite())
}

fn is_size(size: &wire::SizeM) -> bool {
    [size.length_m, size.width_m, size.height_m].into_iter().all(is_sigma)
}

fn is_velocity(velocity: &wire::Velocity) -> bool {
    velocity.linear_m_s.as_ref().is_none_or(is_finite) && is_sigma(velocity.sigma_m_s)
}

/// A position, and a unit quaternion.
fn has_finite_pose(grasp: &wire::Grasp) -> bool {
    let Some(wire::Pose { position_m: Some(p), orientation: Some(q) }) = &grasp.pose else {
        return false;
    };
    let length = (q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w).sqrt();
    is_finite(p) && (length - 1.0).abs() < 1e-6
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four by three pixels with one package, two by two pixels, that one grasp can hold.
    fn message() -> wire::Packages {
        let mask = Mask::from_counts(4, 3, vec![3, 2, 1, 2, 4]).unwrap();
        let grasp = wire::Grasp {
            pose: Some(wire::Pose {
                position_m: Some(wire::Vector3 { x: 0.4, y: 0.0, z: 0.1 }),
                orientation: Some(wire::Quaternion { x: 1.0, y: 0.0, z: 0.0, w: 0.0 }),
            }),
            contact_px: Some(wire::PointPx { x_px: 1.5, y_px: 0.5 }),
            quality: 0.8,
            ..Default::default()
        };
        let package = wire::Package {
            score: 0.9,
            bbox: Some(wire::BboxPx { x_min_px: 1.0, y_min_px: 0.0, x_max_px: 3.0, y_max_px: 2.0 }),
            mask: Some((&mask).into()),
            deepest_px: Some(wire::PointPx { x_px: 1.0, y_px: 0.0 }),
            position_m: Some(wire::Vector3 { x: 0.4, y: 0.0, z: 0.1 }),
            height_m: Some(0.1),
            size: Some(wire::SizeM { length_m: 0.3, width_m: 0.2, height_m: 0.1 }),
            grasps: vec![grasp],
            ..Default::default()
        };
        wire::Packages {
            image_width_px: 4,
            image_height_px: 3,
            reference_frame: wire::ReferenceFrame::Base.into(),
            velocity: Some(wire::Velocity {
                linear_m_s: Some(wire::Vector3 { x: 0.2, y: 0.0, z: 0.0 }),
                sigma_m_s: 0.01,
            }),
            packages: vec![package],
            ..Default::default()
        }
    }

    fn refusal(change: impl Fn(&mut wire::Packages)) -> String {
        let mut message = message();
        change(&mut message);
        check_numbers(&message).map_or_else(|refusal| refusal.to_string(), |()| "whole".into())
    }

    /// Refused, for each of these values.
    fn check<T: Copy + std::fmt::Debug>(
        values: &[T],
        set: impl Fn(&mut wire::Packages, T),
        told: &str,
    ) {
        for value in values {
            let refusal = refusal(|message| set(message, *value));
            assert!(refusal.contains(told), "{value:?}: {refusal:?} does not say {told:?}");
        }
    }

    type Part<T> = fn(&mut wire::Packages) -> &mut T;

    #[test]
    fn a_number_that_is_none_or_out_of_its_bounds_refuses_the_message() {
        assert_eq!(check_numbers(&message()), Ok(()));
        const NONE: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        const NO_SHARE: [f32; 5] = [f32::NAN, f32::INFINITY, -0.1, 1.1, 9.0];
        const NO_LENGTH: [f64; 3] = [f64::NAN, f64::INFINITY, -1.0];
        fn grasp(message: &mut wire::Packages) -> &mut wire::Grasp {
            &mut message.packages[0].grasps[0]
        }
        let shares: [(Part<f32>, &str); 9] = [
            (|m| &mut m.packages[0].score, "a score"),
            (|m| &mut m.packages[0].occluded_share, "occluded share"),
            (|m| &mut grasp(m).quality, "quality"),
            (|m| &mut grasp(m).clearance, "quality"),
            (|m| &mut grasp(m).seal, "quality"),
            (|m| &mut grasp(m).moment, "quality"),
            (|m| &mut grasp(m).tilt, "quality"),
            (|m| &mut grasp(m).hold, "quality"),
            (|m| &mut grasp(m).depth_hole_fraction, "quality"),
        ];
        for (part, told) in shares {
            check(&NO_SHARE, |message, value| *part(message) = value, told);
        }
        let pixels: [(Part<f32>, &str); 8] = [
            (|m| &mut m.packages[0].bbox.as_mut().unwrap().x_min_px, "bbox"),
            (|m| &mut m.packages[0].bbox.as_mut().unwrap().y_min_px, "bbox"),
            (|m| &mut m.packages[0].bbox.as_mut().unwrap().x_max_px, "bbox"),
            (|m| &mut m.packages[0].bbox.as_mut().unwrap().y_max_px, "bbox"),
            (|m| &mut m.packages[0].deepest_px.as_mut().unwrap().x_px, "deepest"),
            (|m| &mut m.packages[0].deepest_px.as_mut().unwrap().y_px, "deepest"),
            (|m| &mut grasp(m).contact_px.as_mut().unwrap().x_px, "touch"),
            (|m| &mut grasp(m).contact_px.as_mut().unwrap().y_px, "touch"),
        ];
        for (part, told) in pixels {
            check(&NONE, |message, value| *part(message) = value, told);
            check(&[-1.0, 1e9], |message, value| *part(message) = value, told);
        }
        let lengths: [(Part<f64>, &str); 5] = [
            (|m| &mut m.packages[0].size.as_mut().unwrap().length_m, "a size"),
            (|m| &mut m.packages[0].size.as_mut().unwrap().width_m, "a size"),
            (|m| &mut m.packages[0].size.as_mut().unwrap().height_m, "a size"),
            (|m| &mut grasp(m).position_sigma_m, "standard deviation"),
            (|m| &mut m.velocity.as_mut().unwrap().sigma_m_s, "velocity"),
        ];
        for (part, told) in lengths {
            check(&NO_LENGTH, |message, value| *part(message) = value, told);
        }
        let places: [(Part<f64>, &str); 4] = [
            (|m| m.packages[0].height_m.as_mut().unwrap(), "a height"),
            (|m| &mut m.packages[0].position_m.as_mut().unwrap().y, "a position"),
            (|m| &mut m.velocity.as_mut().unwrap().linear_m_s.as_mut().unwrap().z, "velocity"),
            (|m| &mut grasp(m).pose.as_mut().unwrap().position_m.as_mut().unwrap().z, "pose"),
        ];
        for (part, told) in places {
            check(&NO_LENGTH[..2], |message, value| *part(message) = value, told);
        }
    }

    #[test]
    fn a_picture_without_pixels_or_poses_relative_to_nothing_refuse_the_message() {
        let told = |change: fn(&mut wire::Packages)| {
            refusal(|message| {
                message.packages.clear();
                change(message);
            })
        };
        assert_eq!(told(|_| ()), "whole");
        assert!(told(|m| m.image_width_px = 0).contains("0x3 pixels"));
        assert!(told(|m| (m.image_width_px, m.image_height_px) = (0, 0)).contains("0x0 pixels"));
        assert!(told(|m| m.image_width_px = u32::MAX).contains("4294967295x3 pixels"));
        assert!(told(|m| m.reference_frame = 0).contains("relative to"));
        assert_eq!(told(|m| m.reference_frame = 9), "whole", "one that was added later");
        let turned = refusal(|message| {
            let bbox = message.packages[0].bbox.as_mut().unwrap();
            (bbox.x_min_px, bbox.x_max_px) = (3.0, 1.0);
        });
        assert!(turned.contains("bbox"), "{turned}");
    }

    #[test]
    fn what_a_daemon_rounds_is_whole() {
        let rounded = refusal(|message| {
            message.packages[0].score = 1.0 + f32::EPSILON;
            message.packages[0].bbox.as_mut().unwrap().x_max_px = 4.0;
            let contact = message.packages[0].grasps[0].contact_px.as_mut().unwrap();
            (contact.x_px, contact.y_px) = (3.6, -0.2);
        });
        assert_eq!(rounded, "whole");
    }
}

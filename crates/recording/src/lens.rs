//! The lens of a picture, out of what a recording says of its camera.
//!
//! # Conventions
//! As `sensor_msgs/CameraInfo` has them. `k` and `d` are those of the picture that the camera took;
//! `p` is that of the rectified picture, which has no distortion, and `r` turns the camera's axes
//! into that picture's. All are those of the whole sensor; `roi` and `binning` say which part of it
//! the picture shows.

use magpie_perception::{CameraInfo, Distortion, Intrinsics, SensorPart};
use nalgebra::{Matrix3, Rotation3, UnitQuaternion};

/// What a message says of a camera.
#[derive(Clone, Debug, Default)]
pub(crate) struct CameraMessage {
    pub(crate) frame_id: String,
    pub(crate) sensor_px: [u32; 2],
    pub(crate) distortion_model: String,
    pub(crate) d: Vec<f64>,
    pub(crate) k: Vec<f64>,
    pub(crate) r: Vec<f64>,
    pub(crate) p: Vec<f64>,
    pub(crate) binning: [u32; 2],
    pub(crate) region_offset_px: [u32; 2],
    pub(crate) region_px: [u32; 2],
}

/// The lens of one picture.
#[derive(Debug)]
pub(crate) struct Lens {
    pub(crate) info: CameraInfo,
    /// From the picture's axes to those that `frame_id` names; `None` where nobody can know.
    pub(crate) frame_from_picture: Option<UnitQuaternion<f64>>,
    /// What was done to it, to be told.
    pub(crate) told: String,
    /// What speaks against it.
    pub(crate) doubts: Vec<String>,
}

/// Of numbers that others rounded.
const ROTATION_OFF_MAX: f64 = 1e-3;

/// Whether a topic's name says that its picture was rectified. `image_rect_color` and
/// `rgb/rect/image` do, `direct/image_raw` does not.
pub(crate) fn is_rectified(topic: &str) -> bool {
    let words = topic.split(|letter: char| !letter.is_alphanumeric());
    words.map(str::to_lowercase).any(|word| RECTIFIED.contains(&word.as_str()))
}

const RECTIFIED: [&str; 6] = ["rect", "rectified", "rectify", "undist", "undistort", "undistorted"];

impl CameraMessage {
    /// The lens that took the picture, or the one that rectified pictures seem to be taken with. The
    /// reason why there is none goes on from "no lens, since of a topic".
    pub(crate) fn lens(&self, is_rectified: bool) -> Result<Lens, String> {
        let [sensor_width, sensor_height] = self.sensor_px;
        let part =
            SensorPart::new(self.sensor_px, self.region_offset_px, self.region_px, self.binning)
                .map_err(|error| error.to_string())?;
        let mut told = String::new();
        let (matrix, distortion, frame_from_picture) = if is_rectified {
            let (matrix, has_p) = self.rectified_matrix()?;
            if has_p {
                told += ", its P, since the picture is rectified";
            }
            (matrix, Distortion::default(), self.frame_from_rectified()?)
        } else {
            let distortion = Distortion::named(&self.distortion_model, &self.d);
            let distortion = distortion.map_err(|error| error.to_string())?;
            (
                pinhole(&self.k, 3).map_err(|why| format!("K {why}"))?,
                distortion,
                Some(UnitQuaternion::identity()),
            )
        };
        if part.is_part(self.sensor_px) {
            told += &format!(", for its part of {sensor_width}x{sensor_height} px");
        }
        let whole = CameraInfo {
            camera_name: self.frame_id.clone(),
            frame_id: self.frame_id.clone(),
            width_px: sensor_width,
            height_px: sensor_height,
            intrinsics: matrix,
            distortion,
        };
        if let Some(why) = whole.impossibility() {
            return Err(why);
        }
        let doubts = whole.doubts();
        let (width_px, height_px) = part.size_px();
        let intrinsics = part.intrinsics(matrix);
        let info = CameraInfo { width_px, height_px, intrinsics, ..whole };
        match info.pixel_without_ray() {
            Some(pixel) => Err(format!(
                "the distortion turns back within the picture: no single ray leads to pixel {:.0}, \
                 {:.0}",
                pixel.x, pixel.y
            )),
            None => Ok(Lens { info, frame_from_picture, told, doubts }),
        }
    }

    /// Whether rectifying changed nothing.
    fn is_straight(&self) -> bool {
        let is_straight = self.d.iter().all(|&value| value == 0.0);
        is_straight && matches!(self.rotation(), Ok(r) if r.angle() == 0.0)
    }

    /// And whether it is `p`'s: many drivers leave it out where there is nothing to rectify.
    fn rectified_matrix(&self) -> Result<(Intrinsics, bool), String> {
        if self.p.iter().any(|&value| value != 0.0) {
            return Ok((pinhole(&self.p, 4).map_err(|why| format!("P {why}"))?, true));
        }
        if !self.is_straight() {
            return Err("P is not filled in, and the picture is rectified".to_owned());
        }
        Ok((pinhole(&self.k, 3).map_err(|why| format!("K {why}"))?, false))
    }

    fn rotation(&self) -> Result<UnitQuaternion<f64>, String> {
        if self.r.iter().all(|&value| value == 0.0) {
            return Ok(UnitQuaternion::identity());
        }
        if self.r.len() != 9 {
            return Err(format!("R has {} values, not 9", self.r.len()));
        }
        let r = Matrix3::from_row_slice(&self.r);
        let off = (r * r.transpose() - Matrix3::identity()).abs().max();
        if !(off < ROTATION_OFF_MAX && r.determinant() > 0.0) {
            return Err("R is no rotation".to_owned());
        }
        if r == Matrix3::identity() {
            return Ok(UnitQuaternion::identity());
        }
        Ok(UnitQuaternion::from_rotation_matrix(&Rotation3::from_matrix(&r)))
    }

    /// Where a second camera of a pair is, `p` says from the first, and whose axes `frame_id` names
    /// differs from driver to driver.
    fn frame_from_rectified(&self) -> Result<Option<UnitQuaternion<f64>>, String> {
        let rectified_from_frame = self.rotation()?;
        let is_second = [3, 7].iter().any(|&at| self.p.get(at).is_some_and(|&t| t != 0.0));
        Ok((!is_second).then(|| rectified_from_frame.inverse()))
    }

    /// How far, in pixels, rectifying moves the picture at most.
    pub(crate) fn rectifying_moves_px(&self) -> Option<f64> {
        let (raw, rectified) = (self.lens(false).ok()?.info, self.lens(true).ok()?.info);
        let rectified_from_frame = self.rotation().ok()?;
        let (right, bottom) = (f64::from(raw.width_px) - 1.0, f64::from(raw.height_px) - 1.0);
        let moved = |x: f64, y: f64| {
            let ray = rectified_from_frame * raw.ray(x, y);
            let at = rectified.project(&ray.into())?;
            Some((at.x - x).hypot(at.y - y))
        };
        let shares = || [0.0, 0.25, 0.5, 0.75, 1.0].into_iter();
        let grid = shares().flat_map(|x| shares().map(move |y| (x, y)));
        grid.filter_map(|(x, y)| moved(x * right, y * bottom)).reduce(f64::max)
    }
}

/// The first three columns of a matrix of so many.
fn pinhole(values: &[f64], columns: usize) -> Result<Intrinsics, String> {
    if values.len() != 3 * columns {
        return Err(format!("has {} values, not {}", values.len(), 3 * columns));
    }
    let at = |row: usize, column: usize| values[row * columns + column];
    let [fx_px, fy_px, cx_px, cy_px] = [at(0, 0), at(1, 1), at(0, 2), at(1, 2)];
    if !(fx_px > 0.0 && fy_px > 0.0 && values.iter().all(|value| value.is_finite())) {
        return Err("says that the camera is not calibrated".to_owned());
    }
    let others = [at(0, 1), at(1, 0), at(2, 0), at(2, 1), at(2, 2)];
    if others != [0.0, 0.0, 0.0, 0.0, 1.0] {
        return Err("is not [fx, 0, cx; 0, fy, cy; 0, 0, 1]".to_owned());
    }
    Ok(Intrinsics { fx_px, fy_px, cx_px, cy_px })
}

#[cfg(test)]
mod tests {
    use nalgebra::Vector3;

    use super::*;

    fn message() -> CameraMessage {
        CameraMessage {
            frame_id: "cam".into(),
            sensor_px: [640, 480],
            distortion_model: "plumb_bob".into(),
            d: vec![-0.3, 0.1, 0.0, 0.0, 0.0],
            k: vec![600.0, 0.0, 320.0, 0.0, 600.0, 240.0, 0.0, 0.0, 1.0],
            r: vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            p: vec![500.0, 0.0, 310.0, 0.0, 0.0, 500.0, 245.0, 0.0, 0.0, 0.0, 1.0, 0.0],
            ..CameraMessage::default()
        }
    }

    #[track_caller]
    fn check_refused(message: &CameraMessage, is_rectified: bool, expected: &str) {
        let refused = message.lens(is_rectified).unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    }

    #[test]
    fn names_say_what_is_rectified() {
        for topic in [
            "/camera/image_rect",
            "/camera/image_rect_color/compressed",
            "/zed/zed_node/rgb/color/rect/image",
            "/camera/infra1/image_rect_raw",
            "/front/Image_Rectified",
            "/front/image_undistorted",
        ] {
            assert!(is_rectified(topic), "{topic}");
        }
        for topic in ["/camera/image_raw", "/direct/image", "/corrected/image", "/rectangle/image"]
        {
            assert!(!is_rectified(topic), "{topic}");
        }
    }

    #[test]
    fn a_raw_picture_has_k_and_d_and_a_rectified_one_p_alone() {
        let raw = message().lens(false).unwrap();
        assert_eq!(
            (raw.info.intrinsics.fx_px, raw.info.distortion.coefficients()[0]),
            (600.0, -0.3)
        );
        let rectified = message().lens(true).unwrap();
        assert_eq!(
            rectified.info.intrinsics,
            Intrinsics { fx_px: 500.0, fy_px: 500.0, cx_px: 310.0, cy_px: 245.0 }
        );
        assert_eq!(rectified.info.distortion, Distortion::default());
        assert_eq!(rectified.frame_from_picture, Some(UnitQuaternion::identity()));
    }

    #[test]
    fn r_turns_the_axes_of_a_rectified_picture_and_of_no_other() {
        let turn = UnitQuaternion::from_axis_angle(&Vector3::y_axis(), 0.1);
        let r = turn.to_rotation_matrix().transpose();
        let turned = CameraMessage { r: r.matrix().transpose().as_slice().to_vec(), ..message() };
        let found = turned.lens(true).unwrap().frame_from_picture.unwrap();
        assert!(found.angle_to(&turn) < 1e-9, "{found}");
        let raw = turned.lens(false).unwrap().frame_from_picture;
        assert_eq!(raw, Some(UnitQuaternion::identity()));
        check_refused(&CameraMessage { r: vec![2.0; 9], ..message() }, true, "R is no rotation");
    }

    #[test]
    fn of_the_second_camera_of_a_pair_nobody_knows_where_it_is() {
        let mut second = message();
        second.p[3] = -60.0;
        let lens = second.lens(true).unwrap();
        assert_eq!((lens.info.intrinsics.fx_px, lens.frame_from_picture), (500.0, None));
    }

    #[test]
    fn without_p_a_picture_can_only_be_one_that_rectifying_does_not_change() {
        let without = CameraMessage { p: vec![0.0; 12], ..message() };
        check_refused(&without, true, "P is not filled in");
        let straight = CameraMessage { d: vec![0.0; 5], ..without };
        assert_eq!(straight.lens(true).unwrap().info.intrinsics.fx_px, 600.0);
    }

    #[test]
    fn regions_and_binning_cut_k_and_p() {
        let part = CameraMessage {
            binning: [2, 2],
            region_offset_px: [40, 20],
            region_px: [520, 400],
            ..message()
        };
        let raw = part.lens(false).unwrap().info;
        assert_eq!((raw.width_px, raw.height_px), (260, 200));
        let expected = Intrinsics { fx_px: 300.0, fy_px: 300.0, cx_px: 140.0, cy_px: 110.0 };
        assert_eq!(raw.intrinsics, expected);
        let rectified = part.lens(true).unwrap().info.intrinsics;
        assert_eq!((rectified.fx_px, rectified.cx_px, rectified.cy_px), (250.0, 135.0, 112.5));
        let beyond = CameraMessage { region_offset_px: [200, 200], ..part };
        check_refused(&beyond, false, "the region of interest reaches 720, 600");
    }

    #[test]
    fn matrices_of_cameras_that_were_never_calibrated_are_no_lens() {
        check_refused(&CameraMessage { k: vec![0.0; 9], ..message() }, false, "not calibrated");
        check_refused(
            &CameraMessage { k: vec![1.0; 4], ..message() },
            false,
            "has 4 values, not 9",
        );
        check_refused(&CameraMessage { k: vec![1.0; 9], ..message() }, false, "is not [fx");
    }

    #[test]
    fn a_lens_of_another_picture_is_doubted_and_one_that_cannot_be_is_none() {
        assert_eq!(message().lens(false).unwrap().doubts, Vec::<String>::new());
        let larger = [900.0, 0.0, 480.0, 0.0, 900.0, 360.0, 0.0, 0.0, 1.0].to_vec();
        let doubts = CameraMessage { k: larger, ..message() }.lens(false).unwrap().doubts;
        assert!(doubts[0].contains("in the middle of one of 960x720"), "{doubts:?}");
        let stretched = [600.0, 0.0, 320.0, 0.0, 6000.0, 240.0, 0.0, 0.0, 1.0].to_vec();
        check_refused(
            &CameraMessage { k: stretched, ..message() },
            false,
            "fx = 600 and fy = 6000",
        );
    }

    #[test]
    fn how_far_rectifying_moves_a_picture_is_computed() {
        let mut straight = CameraMessage { d: vec![], ..message() };
        straight.p = vec![600.0, 0.0, 323.0, 0.0, 0.0, 600.0, 244.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let moved = straight.rectifying_moves_px().unwrap();
        assert!((moved - 5.0).abs() < 1e-9, "{moved}");
    }
}

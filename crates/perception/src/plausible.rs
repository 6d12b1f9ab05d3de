//! What speaks against a lens: numbers that no camera has, and those that few have.
//!
//! A calibration of another resolution, in millimetres or with a wrong digit computes as well as a
//! right one, and puts every grasp in the wrong place.

use crate::{CameraInfo, Distortion};

/// The middle of the picture and the principal point are this close, as a share of a side. Lenses
/// are mounted within a few hundredths.
const OFF_MIDDLE_SHARE: f64 = 0.1;
/// Further away there is no part of any sensor that a picture could be.
const OFF_MIDDLE_SHARE_MAX: f64 = 1.5;
/// Pixels are square; those of old video cameras nearly so.
const STRETCH: f64 = 1.05;
const STRETCH_MAX: f64 = 3.0;
/// The angles that lenses of cells see, and those that no flat picture holds.
const FIELD_DEG: [f64; 2] = [3.0, 130.0];
const FIELD_DEG_MAX: f64 = 170.0;
const FISHEYE_FIELD_DEG: f64 = 230.0;
const FISHEYE_FIELD_DEG_MAX: f64 = 360.0;

impl CameraInfo {
    /// Why no camera can have this lens; `None` where one can.
    pub fn impossibility(&self) -> Option<String> {
        let stretch = self.stretch();
        let limit_deg = match self.distortion {
            Distortion::Polynomial(_) => FIELD_DEG_MAX,
            Distortion::Equidistant(_) => FISHEYE_FIELD_DEG_MAX,
        };
        let off = self.off_middle();
        if off.iter().any(|off| off.abs() > OFF_MIDDLE_SHARE_MAX) {
            Some(self.centre_says("is far outside"))
        } else if stretch > STRETCH_MAX {
            Some(self.stretch_says())
        } else if self.field_deg() > limit_deg {
            Some(self.field_says())
        } else {
            None
        }
    }

    /// What is unusual about the lens, and what it may come from.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = Vec::new();
        let off = self.off_middle();
        if off.iter().any(|off| off.abs() > 0.5) {
            doubts.push(self.centre_says("is outside"));
        } else if off.iter().any(|off| off.abs() > OFF_MIDDLE_SHARE) {
            doubts.push(self.centre_says("is far from the middle of"));
        }
        if self.stretch() > STRETCH {
            doubts.push(self.stretch_says());
        }
        let widest_deg = match self.distortion {
            Distortion::Polynomial(_) => FIELD_DEG[1],
            Distortion::Equidistant(_) => FISHEYE_FIELD_DEG,
        };
        if !(FIELD_DEG[0]..=widest_deg).contains(&self.field_deg()) {
            doubts.push(self.field_says());
        }
        doubts
    }

    /// How far the principal point is from the middle, as shares of the sides.
    fn off_middle(&self) -> [f64; 2] {
        let (width, height) = (f64::from(self.width_px), f64::from(self.height_px));
        [self.intrinsics.cx_px / width - 0.5, self.intrinsics.cy_px / height - 0.5]
    }

    fn stretch(&self) -> f64 {
        let ratio = self.intrinsics.fx_px / self.intrinsics.fy_px;
        ratio.max(1.0 / ratio)
    }

    /// What the picture's longer side spans, as a straight lens or a plain fisheye lens sees it.
    fn field_deg(&self) -> f64 {
        let k = &self.intrinsics;
        let half =
            (f64::from(self.width_px) / k.fx_px).max(f64::from(self.height_px) / k.fy_px) / 2.0;
        let half_rad = match self.distortion {
            Distortion::Polynomial(_) => half.atan(),
            Distortion::Equidistant(_) => half,
        };
        2.0 * half_rad.to_degrees()
    }

    fn centre_says(&self, where_it_is: &str) -> String {
        let (k, width, height) = (&self.intrinsics, self.width_px, self.height_px);
        let mut said = format!(
            "the principal point (cx, cy) = ({:.1}, {:.1}) {where_it_is} the {width}x{height} px \
             picture",
            k.cx_px, k.cy_px
        );
        if k.cx_px > 1.0 && k.cy_px > 1.0 && k.cx_px.max(k.cy_px) > 10.0 {
            said += &format!(
                " and in the middle of one of {:.0}x{:.0}: is the calibration of another \
                 resolution? That of a part of the sensor has to say which (roi)",
                2.0 * k.cx_px,
                2.0 * k.cy_px
            );
        } else {
            said += ": are cx and cy in pixels, from its upper left corner?";
        }
        said
    }

    fn stretch_says(&self) -> String {
        let k = &self.intrinsics;
        format!(
            "fx = {} and fy = {} differ, and pixels are square: is a digit wrong, or was the picture \
             stretched?",
            k.fx_px, k.fy_px
        )
    }

    fn field_says(&self) -> String {
        let (k, width, height) = (&self.intrinsics, self.width_px, self.height_px);
        format!(
            "with fx = {} and fy = {}, a {width}x{height} px picture spans {:.1} degrees: are they in \
             pixels, and of that resolution?",
            k.fx_px,
            k.fy_px,
            self.field_deg()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Intrinsics;

    fn info([fx_px, fy_px, cx_px, cy_px]: [f64; 4]) -> CameraInfo {
        CameraInfo {
            camera_name: "test".into(),
            frame_id: "test".into(),
            width_px: 640,
            height_px: 480,
            intrinsics: Intrinsics { fx_px, fy_px, cx_px, cy_px },
            distortion: Distortion::default(),
        }
    }

    #[test]
    fn usual_lenses_are_not_doubted() {
        // A normal one, one of 90 degrees, a long one, one that is mounted askew.
        for numbers in [
            [520.5, 521.25, 318.2, 241.7],
            [320.0, 322.0, 330.0, 230.0],
            [5000.0, 5001.0, 300.0, 250.0],
            [600.0, 600.0, 360.0, 210.0],
        ] {
            assert_eq!(info(numbers).doubts(), Vec::<String>::new(), "{numbers:?}");
            assert_eq!(info(numbers).impossibility(), None, "{numbers:?}");
        }
        let fisheye = Distortion::Equidistant([0.0; 4]);
        let wide = CameraInfo { distortion: fisheye, ..info([190.0, 190.0, 320.0, 240.0]) };
        assert_eq!((wide.doubts().len(), wide.impossibility()), (0, None));
    }

    fn check_doubted(numbers: [f64; 4], expected: &str) {
        let doubts = info(numbers).doubts().join("; ");
        assert!(doubts.contains(expected), "{numbers:?}: {doubts}");
        assert_eq!(info(numbers).impossibility(), None, "{numbers:?}");
    }

    #[test]
    fn lenses_of_other_pictures_are_doubted() {
        check_doubted([520.5, 521.25, 964.0, 541.0], "outside the 640x480 px picture");
        check_doubted([520.5, 521.25, 964.0, 541.0], "in the middle of one of 1928x1082");
        check_doubted([780.75, 782.0, 477.3, 362.5], "far from the middle");
        check_doubted([520.5, 521.25, -1.8, 1.7], "in pixels, from its upper left corner");
        check_doubted([520.5, 621.25, 318.2, 241.7], "pixels are square");
        check_doubted([90.0, 90.0, 318.2, 241.7], "spans 148.6 degrees");
        check_doubted([52050.0, 52125.0, 318.2, 241.7], "spans 0.7 degrees");
    }

    fn check_impossible(numbers: [f64; 4], expected: &str) {
        let why = info(numbers).impossibility().unwrap();
        assert!(why.contains(expected), "{numbers:?}: {why}");
    }

    #[test]
    fn what_no_camera_has_is_known() {
        check_impossible([520.5, 521.25, 3000.0, 241.7], "far outside");
        check_impossible([520.5, 5212.5, 318.2, 241.7], "is a digit wrong");
        check_impossible([4.8, 4.8, 318.2, 241.7], "spans 178.3 degrees: are they in pixels");
        check_impossible([0.8, 1.1, 0.5, 0.5], "spans 179");
    }
}

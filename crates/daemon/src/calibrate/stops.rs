//! The stops of an arm: poses as people write them, and the board in the picture of each.

use magpie_camera::calibrate::{
    Board, HandEyePair, NoStop, PAIRS_MAX, RawPose, Rejection, Setup, Stop, View, blurred,
    judge_hand_eye, settle,
};
use magpie_perception::CameraInfo;
use magpie_web::{Answer, PoseUnits};

use super::found::Found;
use crate::calibration_files::pose::{self, ANGLES, LENGTHS, Units};
use crate::failure::one_line;

/// No arm reaches further; a number like 1200 is millimetres.
const ARM_M_MAX: f64 = 20.0;
/// The board cannot have moved so far, as a share of the picture's diagonal, while the arm stood.
const MOVED_SHARE_MAX: f64 = 0.03;
/// Corners are found as exactly as this, so a board that moved less has not moved.
const STILL_PX_MAX: f64 = 1.0;

/// What is known of the stops of an arm.
#[derive(Clone)]
pub(super) struct Stops {
    pub(super) board: Board,
    pub(super) setup: Setup,
    /// The lens, and the file that it is from; empty for the one that runs.
    pub(super) info: CameraInfo,
    pub(super) lens: String,
    /// How the poses are written.
    pub(super) units: PoseUnits,
    pub(super) stops: Vec<Stop>,
    /// The poses as they were given, for other units.
    pub(super) written: Vec<String>,
    /// The number of the stop that was taken last: none is given twice.
    pub(super) taken: usize,
}

/// The setup of this name.
pub(super) fn setup(name: &str) -> Result<Setup, String> {
    match name {
        "eye_to_hand" => Ok(Setup::EyeToHand),
        "eye_in_hand" => Ok(Setup::EyeInHand),
        other => Err(format!("the setup {other:?} is neither eye_to_hand nor eye_in_hand")),
    }
}

/// A pose of the arm as somebody wrote it, and as it is read.
pub(super) struct Written {
    text: String,
    units: PoseUnits,
    pub(super) arm: RawPose,
}

impl Written {
    pub(super) fn read(text: &str, units: &PoseUnits) -> Result<Written, String> {
        if text.trim().is_empty() {
            return Err("give the arm's pose: paste it as its controller tells it".into());
        }
        let arm = read_pose(text, units).map_err(|why| format!("the pose: {why}"))?;
        Ok(Written { text: text.to_owned(), units: units.clone(), arm })
    }
}

fn read_pose(text: &str, units: &PoseUnits) -> Result<RawPose, String> {
    let unit = |known: &[(&str, f64)], name: &str| {
        let found = known.iter().find(|(known, _)| *known == name);
        let unknown = || format!("{name:?} is no unit that is known here");
        found.map(|(_, value)| *value).ok_or_else(unknown)
    };
    let euler = match units.euler.trim() {
        "" => None,
        order => Some(order.parse()?),
    };
    let (length_m, angle_rad) = (unit(&LENGTHS, &units.length)?, unit(&ANGLES, &units.angle)?);
    pose::parse(text, Units { length_m, angle_rad, euler })
}

impl Stops {
    /// The number of each stop, which stays when others go.
    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> {
        self.stops.iter().map(|stop| stop.number)
    }

    /// Reads all poses anew, in other units.
    pub(super) fn read_anew(&mut self, units: &PoseUnits) -> Result<(), String> {
        let arms: Result<Vec<RawPose>, String> = (self.written.iter().zip(self.numbers()))
            .map(|(text, number)| {
                read_pose(text, units).map_err(|why| format!("the pose of stop {number}: {why}"))
            })
            .collect();
        for (stop, arm) in self.stops.iter_mut().zip(arms?) {
            stop.arm = arm;
            stop.pair.base_from_gripper = arm.pose;
        }
        self.units = units.clone();
        Ok(())
    }

    /// Whether a stop could be taken of this view.
    pub(super) fn check(&self, view: Option<View>) -> Result<View, String> {
        let view = view.ok_or("no board found")?;
        let (size, known) =
            ((view.width_px, view.height_px), (self.info.width_px, self.info.height_px));
        if size != known {
            return Err(format!(
                "the picture is {}x{} px, the lens was calibrated at {}x{} px: set the camera back, or \
                 calibrate the lens at this size",
                size.0, size.1, known.0, known.1
            ));
        }
        if let Some(mismatch) = &view.mismatch {
            return Err(say_rejection(&Rejection::Mismatch(mismatch.clone())));
        }
        if view.points.is_empty() {
            return Err(say_rejection(&Rejection::Cut));
        }
        let taken = self.stops.iter().filter_map(|stop| stop.pair.view.as_ref());
        let mut widths: Vec<f64> =
            taken.chain([&view]).filter_map(|view| view.edge_width_px).collect();
        widths.sort_by(f64::total_cmp);
        let median_px = widths.get(widths.len() / 2).copied().unwrap_or(0.0);
        match blurred(&view, median_px) {
            Some(rejection) => Err(say_rejection(&rejection)),
            None => Ok(view),
        }
    }

    pub(super) fn take(&mut self, written: &Written, view: Option<View>) -> Answer {
        let arm = written.arm;
        if self.stops.len() == PAIRS_MAX {
            return Err(format!("{PAIRS_MAX} stops are enough: compute"));
        }
        let reach_m = arm.pose.translation.vector.norm();
        if reach_m > ARM_M_MAX {
            return Err(format!(
                "the gripper would be {reach_m:.0} m from the arm's base: choose the unit of the pose"
            ));
        }
        let view = self.check(view)?;
        self.read_anew(&written.units)?;
        let pair = HandEyePair::at_stop(arm.pose, Some(view), &self.info);
        let pair = pair.map_err(|error: NoStop| one_line(&error.into()))?;
        let diagonal_px = f64::from(self.info.width_px).hypot(f64::from(self.info.height_px));
        for before in &self.stops {
            let views = before.pair.view.as_ref().zip(pair.view.as_ref());
            let Some(moved_px) = views.and_then(|(before, now)| before.distance_px(now)) else {
                continue;
            };
            let number = before.number;
            match before.pair.is_at_stop_of(&pair) {
                true if moved_px > MOVED_SHARE_MAX * diagonal_px => {
                    return Err(format!(
                        "this is the pose of stop {number}, but the board moved by {moved_px:.0} px \
                         since: give the arm's pose of now"
                    ));
                }
                false if moved_px < STILL_PX_MAX => {
                    return Err(format!(
                        "the arm has another pose than at stop {number}, but the board is where it was in \
                         the picture: move the arm to the pose that you give, and fasten the board \
                         to what moves"
                    ));
                }
                true | false => {}
            }
        }
        self.taken += 1;
        let number = self.taken;
        self.stops.push(Stop { number, pair, arm, board: None });
        self.written.push(written.text.clone());
        Ok(format!("stop {number} is taken"))
    }

    pub(super) fn compute(&self) -> Result<Found, String> {
        let mut stops = self.stops.clone();
        settle(&self.board, &mut stops).map_err(|error| one_line(&error.into()))?;
        let square_length_m = self.board.square_length_m();
        judge_hand_eye(self.setup, &stops, Some(&self.info), square_length_m, "stop")
            .map(|verdict| Found::HandEye(Box::new(verdict)))
            .map_err(|error| one_line(&error.into()))
    }
}

/// What is wrong, and what to do.
pub(super) fn say_rejection(rejection: &Rejection) -> String {
    match rejection {
        Rejection::Blurred { .. } => {
            format!("{rejection}; hold the board still, give more light, or focus the lens")
        }
        Rejection::Cut | Rejection::FewPoints { .. } => {
            format!("{rejection}; bring it wholly into view")
        }
        Rejection::Mismatch(mismatch) => format!(
            "the board is not as it was described: {mismatch}; discard, and describe it as it is"
        ),
        Rejection::Duplicate { .. } | Rejection::Misfit { .. } => rejection.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use magpie_camera::calibrate::BoardPoint;
    use magpie_perception::{Distortion, Intrinsics};
    use nalgebra::{Isometry3, Point3, Vector3};

    use super::*;

    fn lens() -> CameraInfo {
        CameraInfo {
            camera_name: "test".into(),
            frame_id: "test".into(),
            width_px: 640,
            height_px: 480,
            intrinsics: Intrinsics { fx_px: 600.0, fy_px: 600.0, cx_px: 320.0, cy_px: 240.0 },
            distortion: Distortion::default(),
        }
    }

    fn units(length: &str) -> PoseUnits {
        PoseUnits { length: length.into(), angle: "rad".into(), euler: String::new() }
    }

    pub(in crate::calibrate) fn stops() -> Stops {
        let board = Board::Chessboard { corners_x: 4, corners_y: 3, square_length_m: 0.03 };
        Stops {
            board,
            setup: Setup::EyeToHand,
            info: lens(),
            lens: String::new(),
            units: units("m"),
            stops: Vec::new(),
            written: Vec::new(),
            taken: 0,
        }
    }

    /// The board this far to the right.
    pub(in crate::calibrate) fn view(x_m: f64) -> View {
        let pose = Isometry3::new(Vector3::new(x_m, 0.0, 0.5), Vector3::new(0.2, 0.3, 0.0));
        let point = |id: usize| {
            let in_board = Point3::new(0.03 * (id % 4) as f64, 0.03 * (id / 4) as f64, 0.0);
            BoardPoint { id, in_board, px: lens().project(&(pose * in_board)).unwrap() }
        };
        View {
            width_px: 640,
            height_px: 480,
            points: (0..12).map(point).collect(),
            edge_width_px: Some(2.0),
            mismatch: None,
            ends_seen: true,
        }
    }

    pub(in crate::calibrate) fn arm(x: f64) -> Written {
        Written::read(&format!("{x} 0 0.4 0 0 0"), &units("m")).unwrap()
    }

    fn check_refused(stops: &mut Stops, arm: &Written, view: Option<View>, part: &str) {
        let before = stops.stops.len();
        let why = stops.take(arm, view).unwrap_err();
        assert!(why.contains(part), "{part:?} is not in {why:?}");
        assert_eq!((stops.stops.len(), stops.written.len()), (before, before));
    }

    #[test]
    fn a_stop_without_a_whole_sharp_board_of_the_right_size_is_refused_with_the_remedy() {
        let mut stops = stops();
        check_refused(&mut stops, &arm(0.0), None, "no board found");
        let cut = View { points: Vec::new(), ends_seen: false, ..view(0.0) };
        check_refused(&mut stops, &arm(0.0), Some(cut), "bring it wholly into view");
        let blurred = View { edge_width_px: Some(12.0), ..view(0.0) };
        check_refused(&mut stops, &arm(0.0), Some(blurred), "hold the board still");
        let small = View { width_px: 320, height_px: 240, ..view(0.0) };
        check_refused(&mut stops, &arm(0.0), Some(small), "calibrated at 640x480 px");
        check_refused(&mut stops, &arm(410.0), Some(view(0.0)), "choose the unit");
        assert_eq!(stops.take(&arm(0.0), Some(view(0.0))).unwrap(), "stop 1 is taken");
    }

    #[test]
    fn a_pose_that_was_given_before_is_refused_where_the_board_has_moved() {
        let mut stops = stops();
        stops.take(&arm(0.0), Some(view(0.0))).unwrap();
        // The same place twice is one stop, and no mistake.
        stops.take(&arm(0.001), Some(view(0.001))).unwrap();
        check_refused(&mut stops, &arm(0.0), Some(view(0.05)), "this is the pose of stop 1");
        stops.take(&arm(0.05), Some(view(0.05))).unwrap();
    }

    #[test]
    fn a_pose_that_the_arm_has_not_gone_to_is_refused_where_the_board_stands_still() {
        let mut stops = stops();
        stops.take(&arm(0.0), Some(view(0.0))).unwrap();
        stops.take(&arm(0.1), Some(view(0.1))).unwrap();
        // Half a pixel is what corners are found to.
        let still = Some(view(0.1 + 0.0004));
        check_refused(
            &mut stops,
            &arm(0.2),
            still,
            "another pose than at stop 2, but the board is",
        );
        stops.take(&arm(0.2), Some(view(0.12))).unwrap();
    }

    #[test]
    fn a_unit_that_was_mixed_up_is_changed_without_moving_the_arm_again() {
        let mut stops = stops();
        stops.take(&arm(1.0), Some(view(0.0))).unwrap();
        stops.take(&arm(2.0), Some(view(0.05))).unwrap();
        stops.read_anew(&units("mm")).unwrap();
        let at = |stops: &Stops| {
            let pairs = stops.stops.iter().map(|stop| &stop.pair);
            pairs.map(|pair| pair.base_from_gripper.translation.vector.x).collect::<Vec<_>>()
        };
        assert_eq!(at(&stops), [0.001, 0.002]);
        // The unit of the next stop is that of those before.
        stops.take(&arm(3.0), Some(view(0.1))).unwrap();
        assert_eq!(at(&stops), [1.0, 2.0, 3.0]);
        assert!(stops.read_anew(&units("furlong")).unwrap_err().contains("furlong"));
        assert_eq!(at(&stops), [1.0, 2.0, 3.0]);
    }
}

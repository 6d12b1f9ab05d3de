//! One collection: what the newest picture shows of the board, and what was taken so far.

use magpie_camera::calibrate::{
    ArmMotion, Board, Coverage, HandEyePair, LENS_VIEWS_MAX, LensViews, NoStop, Offered, PAIRS_MAX,
    RawPose, Rejection, Setup, Stop, View, blurred, detect, judge_hand_eye, settle, without_board,
};
use magpie_perception::{BgrImage, CameraInfo};
use magpie_web::{Answer, PoseUnits, Reading};
use serde_json::{Value, json};

use super::found::{self, Found};
use crate::calibration_files::pose::{self, ANGLES, LENGTHS, Units};
use crate::failure::one_line;

/// After so many pictures in a row without a board, it is said what to try, and then again.
const LOOKS_UNTIL_HINT: u32 = 8;
const LOOKS_BETWEEN_HINTS: u32 = 40;
/// No arm reaches further; a number like 1200 is millimetres.
const ARM_M_MAX: f64 = 20.0;
/// The board cannot have moved so far, as a share of the picture's diagonal, while the arm stood.
const MOVED_SHARE_MAX: f64 = 0.03;

pub(super) struct Collection {
    /// Counts the collections of a run from 1.
    pub(super) number: u64,
    pub(super) kind: Kind,
    pub(super) found: Option<Found>,
    pub(super) saved: Option<Value>,
    seen: Seen,
    looks_without_board: u32,
}

pub(super) enum Kind {
    Lens(LensViews),
    HandEye(Box<Stops>),
}

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
}

/// What the newest picture shows.
#[derive(Default)]
struct Seen {
    view: Option<View>,
    /// `good`, `wait` or `bad`.
    mark: &'static str,
    line: String,
}

impl Collection {
    pub(super) fn new(number: u64, kind: Kind) -> Collection {
        let seen = Seen { mark: "wait", line: "waiting for a picture".into(), view: None };
        Collection { number, kind, found: None, saved: None, seen, looks_without_board: 0 }
    }

    pub(super) fn board(&self) -> &Board {
        match &self.kind {
            Kind::Lens(views) => views.board(),
            Kind::HandEye(stops) => &stops.board,
        }
    }

    /// Looks for the board, and takes a view of it for the lens where it shows something new.
    pub(super) fn look(&mut self, image: &BgrImage, sequence: u64) {
        let view = match detect(image, self.board()) {
            Ok(view) => view,
            Err(error) => {
                let line = one_line(&error.into());
                self.seen = Seen { view: None, mark: "bad", line };
                return;
            }
        };
        let Some(view) = view else {
            self.miss(image);
            return;
        };
        self.looks_without_board = 0;
        let shown = Some(view.clone());
        let (mark, line) = match &mut self.kind {
            Kind::Lens(_) if self.found.is_some() => {
                ("good", "the board is found; go on collecting to take more views".to_owned())
            }
            Kind::Lens(views) => {
                let offered = views.offer(format!("frame {sequence}"), view);
                say_offered(&offered, views)
            }
            Kind::HandEye(stops) => match stops.check(Some(view)) {
                Ok(view) => {
                    let corners = view.points.len();
                    ("good", format!("the board is found, {corners} corners: a stop can be taken"))
                }
                Err(why) => ("bad", why),
            },
        };
        self.seen = Seen { view: shown, mark, line };
    }

    fn miss(&mut self, image: &BgrImage) {
        self.looks_without_board += 1;
        let looks = self.looks_without_board;
        let board = self.board();
        if looks >= LOOKS_UNTIL_HINT
            && (looks - LOOKS_UNTIL_HINT).is_multiple_of(LOOKS_BETWEEN_HINTS)
        {
            let hint = without_board(image, board);
            let line = format!(
                "no {board} is found; {hint}; bring it closer, hold it still, keep reflections and \
                 fingers off it"
            );
            self.seen = Seen { view: None, mark: "bad", line };
        } else if looks < LOOKS_UNTIL_HINT {
            let line = format!("no {board} is found in this picture");
            self.seen = Seen { view: None, mark: "wait", line };
        } else {
            self.seen.view = None;
        }
    }

    /// Takes the arm's pose and the board in this picture.
    pub(super) fn take_stop(&mut self, written: &Written, image: &BgrImage) -> Answer {
        let Kind::HandEye(stops) = &mut self.kind else {
            return Err("views of the lens are taken without a pose of the arm".into());
        };
        let view = detect(image, &stops.board).map_err(|error| one_line(&error.into()))?;
        if view.is_none() {
            let hint = without_board(image, &stops.board);
            return Err(format!("no {} is found: no stop was taken; {hint}", stops.board));
        }
        self.seen.view.clone_from(&view);
        // A stop that is refused changes nothing.
        let mut with_it = stops.clone();
        let line = with_it.take(written, view)?;
        *stops = with_it;
        self.found = None;
        self.saved = None;
        self.seen.line.clone_from(&line);
        Ok(line)
    }

    pub(super) fn remove(&mut self, number: usize) -> Answer {
        let (count, word) = (self.count(), self.word());
        if !(1..=count).contains(&number) {
            return Err(format!("there is no {word} {number}: there are {count}"));
        }
        match &mut self.kind {
            Kind::Lens(views) => views.remove(number - 1),
            Kind::HandEye(stops) => {
                stops.stops.remove(number - 1);
                stops.written.remove(number - 1);
                for (index, stop) in stops.stops.iter_mut().enumerate() {
                    stop.number = index + 1;
                }
            }
        }
        self.found = None;
        self.saved = None;
        Ok(format!("{word} {number} is forgotten"))
    }

    pub(super) fn count(&self) -> usize {
        match &self.kind {
            Kind::Lens(views) => views.views().len(),
            Kind::HandEye(stops) => stops.stops.len(),
        }
    }

    pub(super) fn word(&self) -> &'static str {
        match self.kind {
            Kind::Lens(_) => "view",
            Kind::HandEye(_) => "stop",
        }
    }

    /// Computes from all that was taken, by the code of the commands.
    pub(super) fn compute(&mut self, camera_name: &str, reading: Option<&Reading>) -> Answer {
        self.saved = None;
        self.found = None;
        if let (Kind::HandEye(stops), Some(reading)) = (&mut self.kind, reading) {
            let setup = setup(&reading.setup)?;
            stops.read_anew(&reading.units)?;
            stops.setup = setup;
        }
        let found = match &self.kind {
            Kind::Lens(views) => views
                .calibrate(camera_name)
                .map(|report| Found::Lens(Box::new(report), views.names().to_vec()))
                .map_err(|error| one_line(&error.into())),
            Kind::HandEye(stops) => stops.compute(),
        };
        self.found = Some(found.map_err(|why| format!("not computed: {why}"))?);
        Ok(format!("computed from {} {}s", self.count(), self.word()))
    }

    pub(super) fn describe(&self) -> Value {
        let corners = self.seen.view.iter().flat_map(|view| &view.points);
        let corners: Vec<_> = corners.map(|point| [tenth(point.px.x), tenth(point.px.y)]).collect();
        let of_each = self.found.as_ref().map(Found::of_each);
        let says = |index: usize| of_each.as_ref().and_then(|lines| lines.get(index));
        let mut told = json!({
            "number": self.number,
            "board": self.board().to_string(),
            "seen": {"mark": self.seen.mark, "line": self.seen.line, "corners": corners},
            "result": self.found.as_ref().map(Found::describe),
            "saved": self.saved,
        });
        match &self.kind {
            Kind::Lens(views) => {
                let coverage = views.coverage();
                told["kind"] = json!("lens");
                told["advice"] = json!(coverage.advice());
                told["wanted"] = lens_wanted(&coverage);
                told["ninths"] = json!(coverage.corners);
                let taken = views.names().iter().zip(views.views()).enumerate();
                told["taken"] = taken
                    .map(|(index, (name, view))| {
                        let corners = view.points.len();
                        let what = format!("{name}, {corners} corners");
                        json!({"what": what, "says": says(index), "corners": dots(view)})
                    })
                    .collect();
            }
            Kind::HandEye(stops) => {
                let pairs: Vec<HandEyePair> =
                    stops.stops.iter().map(|stop| stop.pair.clone()).collect();
                let motion = ArmMotion::of(&pairs);
                told["kind"] = json!("hand_eye");
                let lens = if stops.lens.is_empty() { "the one that runs" } else { &stops.lens };
                told["lens"] = json!(lens);
                let (name, words) = match stops.setup {
                    Setup::EyeToHand => ("eye_to_hand", "fixed camera, the arm holds the board"),
                    Setup::EyeInHand => ("eye_in_hand", "camera on the arm, the board lies still"),
                };
                told["setup"] = json!(words);
                told["reading"] = json!({"units": stops.units, "setup": name});
                told["advice"] = json!(motion.advice().map(|advice| format!("take {advice}")));
                told["wanted"] = hand_eye_wanted(&motion);
                let taken = stops.stops.iter().enumerate();
                told["taken"] = taken
                    .map(|(index, stop)| {
                        let what = found::describe(&stop.arm.pose);
                        let view = stop.pair.view.as_ref();
                        let corners = view.map(dots).unwrap_or_default();
                        json!({"what": what, "says": says(index), "corners": corners})
                    })
                    .collect();
            }
        }
        told
    }
}

/// What was wanted of a lens's views and what there is: name, now, wanted, and whether it is enough.
fn lens_wanted(coverage: &Coverage) -> Value {
    let [left, right, up, down] = coverage.tilts_deg;
    let covered = coverage.corners.iter().flatten().filter(|count| **count > 0).count();
    let (views, wanted) = (coverage.views, Coverage::VIEWS_WANTED);
    let tilt = Coverage::TILT_DEG_WANTED;
    let (aside, up) = (left.max(right), up.max(down));
    let (fill, fill_wanted) = (100.0 * coverage.fill_share, 100.0 * Coverage::FILL_SHARE_WANTED);
    json!([
        ["Views", format!("{views}"), format!("{wanted}"), views >= wanted],
        ["Ninths of the picture", format!("{covered}"), "9", covered == 9],
        ["Tilt left or right", format!("{aside:.0}°"), format!("{tilt:.0}°"), aside >= tilt],
        ["Tilt up or down", format!("{up:.0}°"), format!("{tilt:.0}°"), up >= tilt],
        [
            "Board fills the picture",
            format!("{fill:.0} %"),
            format!("{fill_wanted:.0} %"),
            fill >= fill_wanted
        ],
    ])
}

fn hand_eye_wanted(motion: &ArmMotion) -> Value {
    let ArmMotion { stops, turned_deg, axes_cone_deg } = *motion;
    let (stops_wanted, turned_wanted) = (ArmMotion::STOPS_WANTED, ArmMotion::TURNED_DEG_WANTED);
    let axes_wanted = ArmMotion::AXES_DEG_WANTED;
    json!([
        ["Stops", format!("{stops}"), format!("{stops_wanted}"), stops >= stops_wanted],
        [
            "Gripper turned",
            format!("{turned_deg:.0}°"),
            format!("{turned_wanted:.0}°"),
            turned_deg >= turned_wanted
        ],
        [
            "Axes apart",
            format!("{axes_cone_deg:.0}°"),
            format!("{axes_wanted:.0}°"),
            axes_cone_deg >= axes_wanted
        ],
    ])
}

fn tenth(px: f64) -> f64 {
    (10.0 * px).round() / 10.0
}

/// Whole pixels are enough for a dot.
fn dots(view: &View) -> Vec<[f64; 2]> {
    view.points.iter().map(|point| [point.px.x.round(), point.px.y.round()]).collect()
}

/// The mark and the line for what a picture was good for.
fn say_offered(offered: &Offered, views: &LensViews) -> (&'static str, String) {
    let count = views.views().len();
    match offered {
        Offered::Taken => ("good", format!("view {count} is taken")),
        Offered::Sharper => ("good", "sharper than before: it took the other view's place".into()),
        Offered::Full => ("good", format!("{LENS_VIEWS_MAX} views are enough: compute")),
        Offered::OtherSize { size_px: (width, height), before_px: (before_w, before_h) } => {
            let line = format!(
                "the picture is now {width}x{height} px, the views are of {before_w}x{before_h}: set \
                 the camera back, or discard and begin anew"
            );
            ("bad", line)
        }
        Offered::LeftOut(Rejection::Duplicate { .. }) => {
            let next = views.coverage().advice().into_iter().next();
            let next = next.unwrap_or_else(|| "all is covered: compute".into());
            ("wait", format!("this view is taken already; {next}"))
        }
        Offered::LeftOut(rejection) => ("bad", say_rejection(rejection)),
    }
}

/// What is wrong, and what to do.
fn say_rejection(rejection: &Rejection) -> String {
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
    arm: RawPose,
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
    /// Reads all poses anew, in other units.
    fn read_anew(&mut self, units: &PoseUnits) -> Result<(), String> {
        let arms: Result<Vec<RawPose>, String> = (self.written.iter().enumerate())
            .map(|(index, text)| {
                read_pose(text, units)
                    .map_err(|why| format!("the pose of stop {}: {why}", index + 1))
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
    fn check(&self, view: Option<View>) -> Result<View, String> {
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

    fn take(&mut self, written: &Written, view: Option<View>) -> Answer {
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
        for before in self.stops.iter().filter(|stop| stop.pair.is_at_stop_of(&pair)) {
            let views = before.pair.view.as_ref().zip(pair.view.as_ref());
            let moved_px = views.and_then(|(before, now)| before.distance_px(now)).unwrap_or(0.0);
            if moved_px > MOVED_SHARE_MAX * diagonal_px {
                return Err(format!(
                    "this is the pose of stop {}, but the board moved by {moved_px:.0} px since: give \
                     the arm's pose of now",
                    before.number
                ));
            }
        }
        let number = self.stops.len() + 1;
        self.stops.push(Stop { number, pair, arm, board: None });
        self.written.push(written.text.clone());
        Ok(format!("stop {number} is taken"))
    }

    fn compute(&self) -> Result<Found, String> {
        let mut stops = self.stops.clone();
        settle(&self.board, &mut stops).map_err(|error| one_line(&error.into()))?;
        let square_length_m = self.board.square_length_m();
        judge_hand_eye(self.setup, &stops, Some(&self.info), square_length_m, "stop")
            .map(|verdict| Found::HandEye(Box::new(verdict)))
            .map_err(|error| one_line(&error.into()))
    }
}

#[cfg(test)]
mod tests {
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

    fn stops() -> Stops {
        let board = Board::Chessboard { corners_x: 4, corners_y: 3, square_length_m: 0.03 };
        Stops {
            board,
            setup: Setup::EyeToHand,
            info: lens(),
            lens: String::new(),
            units: units("m"),
            stops: Vec::new(),
            written: Vec::new(),
        }
    }

    /// The board this far to the right.
    fn view(x_m: f64) -> View {
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

    fn arm(x: f64) -> Written {
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
    fn stops_are_counted_anew_when_one_is_forgotten_and_what_was_computed_goes() {
        let mut collection = Collection::new(1, Kind::HandEye(Box::new(stops())));
        for step in 0..3 {
            let Kind::HandEye(stops) = &mut collection.kind else { unreachable!() };
            stops.take(&arm(0.1 * f64::from(step)), Some(view(0.05 * f64::from(step)))).unwrap();
        }
        assert_eq!(collection.remove(4).unwrap_err(), "there is no stop 4: there are 3");
        assert_eq!(collection.remove(0).unwrap_err(), "there is no stop 0: there are 3");
        collection.remove(2).unwrap();
        let told = collection.describe();
        assert_eq!(told["taken"].as_array().unwrap().len(), 2);
        let Kind::HandEye(stops) = &collection.kind else { unreachable!() };
        assert_eq!(stops.stops.iter().map(|stop| stop.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(stops.stops[1].arm, arm(0.2).arm);
        let why = collection.compute("camera", None).unwrap_err();
        assert!(why.contains("2 stops of the arm"), "{why}");
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

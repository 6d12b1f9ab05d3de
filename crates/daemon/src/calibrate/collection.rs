//! One collection: what the newest picture shows of the board, and what was taken so far.

use magpie_camera::calibrate::{
    ArmMotion, Board, Coverage, HandEyePair, LENS_VIEWS_MAX, LensViews, Offered, Rejection, Setup,
    View, detect, without_board,
};
use magpie_perception::BgrImage;
use magpie_web::{Answer, Reading};
use serde_json::{Value, json};

use super::found::{self, Found};
use super::stops::{Stops, Written, say_rejection, setup};
use crate::failure::one_line;

/// After so many pictures in a row without a board, it is said what to try, and then again.
const LOOKS_UNTIL_HINT: u32 = 8;
const LOOKS_BETWEEN_HINTS: u32 = 40;

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

    /// Forgets the view or stop of this number, which no other one will ever have.
    pub(super) fn remove(&mut self, number: usize) -> Answer {
        let (numbers, taken) = match &self.kind {
            Kind::Lens(views) => (views.numbers().to_vec(), views.taken()),
            Kind::HandEye(stops) => (stops.numbers().collect(), stops.taken),
        };
        let word = self.word();
        let Some(index) = numbers.iter().position(|known| *known == number) else {
            return Err(match (1..=taken).contains(&number) {
                true => format!("{word} {number} is forgotten already"),
                false => format!("there is no {word} {number}: {taken} were taken"),
            });
        };
        match &mut self.kind {
            Kind::Lens(views) => views.remove(index),
            Kind::HandEye(stops) => {
                stops.stops.remove(index);
                stops.written.remove(index);
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

    /// Whether what is taken was computed already, understood like that.
    pub(super) fn is_computed(&self, reading: Option<&Reading>) -> bool {
        let as_read = match (&self.kind, reading) {
            (Kind::HandEye(stops), Some(reading)) => {
                reading.units == stops.units && setup(&reading.setup) == Ok(stops.setup)
            }
            (Kind::HandEye(_), None) | (Kind::Lens(_), _) => true,
        };
        self.found.is_some() && as_read
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
                let taken = views.names().iter().zip(views.views()).zip(views.numbers());
                told["taken"] = taken
                    .enumerate()
                    .map(|(index, ((name, view), number))| {
                        let corners = view.points.len();
                        let what = format!("{name}, {corners} corners");
                        let corners = dots(view);
                        json!({"number": number, "what": what, "says": says(index), "corners": corners})
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
                        let (number, says) = (stop.number, says(index));
                        json!({"number": number, "what": what, "says": says, "corners": corners})
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
    match offered {
        Offered::Taken => ("good", format!("view {} is taken", views.taken())),
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

#[cfg(test)]
mod tests {
    use super::super::stops::tests::{arm, stops, view};
    use super::*;

    #[test]
    fn a_stop_keeps_its_number_when_another_is_forgotten_and_nobody_forgets_a_third_one() {
        let mut collection = Collection::new(1, Kind::HandEye(Box::new(stops())));
        for step in 0..3 {
            let Kind::HandEye(stops) = &mut collection.kind else { unreachable!() };
            stops.take(&arm(0.1 * f64::from(step)), Some(view(0.05 * f64::from(step)))).unwrap();
        }
        assert_eq!(collection.remove(4).unwrap_err(), "there is no stop 4: 3 were taken");
        assert_eq!(collection.remove(0).unwrap_err(), "there is no stop 0: 3 were taken");
        collection.remove(2).unwrap();
        // Another person wants the same one gone.
        assert_eq!(collection.remove(2).unwrap_err(), "stop 2 is forgotten already");
        let told = collection.describe();
        assert_eq!(told["taken"].as_array().unwrap().len(), 2);
        let Kind::HandEye(stops) = &collection.kind else { unreachable!() };
        assert_eq!(stops.stops.iter().map(|stop| stop.number).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(stops.stops[1].arm, arm(0.2).arm);
        assert_eq!(told["taken"][1]["number"], 3);
        let why = collection.compute("camera", None).unwrap_err();
        assert!(why.contains("2 stops of the arm"), "{why}");
    }
}

//! What was computed, in words and numbers for people.

use magpie_camera::calibrate::{
    BoardScale, HandEyeLimits, HandEyeVerdict, IntrinsicsReport, Rejection, Setup, Spread,
};
use nalgebra::Isometry3;
use serde_json::{Value, json};

pub(super) enum Found {
    /// With the names of its views.
    Lens(Box<IntrinsicsReport>, Vec<String>),
    HandEye(Box<HandEyeVerdict>),
}

impl Found {
    /// Why it must not be saved; `None` where it may.
    pub(super) fn refusal(&self) -> Option<String> {
        match self {
            Found::Lens(report, names) => report.refusal(IntrinsicsReport::LIMIT_PX, names),
            Found::HandEye(verdict) => verdict.refusal(HandEyeLimits::default()),
        }
    }

    /// What would make it better.
    fn doubts(&self) -> Vec<String> {
        match self {
            Found::Lens(report, _) => report.doubts(),
            Found::HandEye(verdict) => {
                let motion = &verdict.report.motion;
                let advice = || motion.advice().map(|advice| format!("take {advice}"));
                let doubts = [motion.doubt().or_else(advice), verdict.far_off()];
                doubts.into_iter().flatten().collect()
            }
        }
    }

    /// `verdict` is `good`, `usable` or `refused`.
    pub(super) fn describe(&self) -> Value {
        let (refusal, doubts) = (self.refusal(), self.doubts());
        let (verdict, words) = match (&refusal, doubts.is_empty()) {
            (Some(why), _) => ("refused", format!("It is not good enough to be saved: {why}.")),
            (None, true) => ("good", self.praise().to_owned()),
            (None, false) => ("usable", "It can be saved; it becomes better like this:".to_owned()),
        };
        json!({
            "verdict": verdict,
            "words": words,
            "doubts": doubts,
            "facts": match self {
                Found::Lens(report, _) => lens_facts(report),
                Found::HandEye(verdict) => hand_eye_facts(verdict),
            },
        })
    }

    fn praise(&self) -> &'static str {
        match self {
            Found::Lens(..) => "The lens is well known.",
            Found::HandEye(_) => {
                "The camera's place is well known. Before the arm moves by it, touch a point with the \
                 tool: magpie calibrate verify."
            }
        }
    }

    /// What is known of each view or stop, in their order.
    pub(super) fn of_each(&self) -> Vec<String> {
        match self {
            Found::Lens(report, _) => {
                let line = |view: &Result<f64, Rejection>| match view {
                    Ok(rms_px) => format!("{rms_px:.2} px"),
                    Err(why) => format!("left out: {why}"),
                };
                report.views.iter().map(line).collect()
            }
            Found::HandEye(verdict) => {
                let errors = verdict.report.pair_errors.iter();
                errors.map(|[mm, deg]| format!("{mm:.2} mm, {deg:.2}°")).collect()
            }
        }
    }
}

fn lens_facts(report: &IntrinsicsReport) -> Value {
    let used = report.views.iter().filter(|view| view.is_ok()).count();
    let k = &report.info.intrinsics;
    let [fx, fy, cx, cy] = report.std_px;
    let (model, d) = (report.info.distortion.model(), report.info.distortion.coefficients());
    json!([
        ["Reprojection", format!("{:.3} px rms over {used} views", report.rms_px)],
        ["On views held out", format!("{:.3} px rms", report.held_out_rms_px)],
        ["Focal length", format!("fx {:.2} ±{fx:.2} px, fy {:.2} ±{fy:.2} px", k.fx_px, k.fy_px)],
        ["Centre", format!("cx {:.2} ±{cx:.2} px, cy {:.2} ±{cy:.2} px", k.cx_px, k.cy_px)],
        ["Distortion", format!("{model} {d:.4?}")],
    ])
}

fn hand_eye_facts(verdict: &HandEyeVerdict) -> Value {
    let report = &verdict.report;
    let [mm, deg] = report.uncertainty_mm_deg;
    let spread = |spread: &Spread| {
        format!(
            "{:.2} mm and {:.3} degrees rms, {:.2} mm and {:.3} degrees at most",
            spread.rms_mm, spread.rms_deg, spread.max_mm, spread.max_deg
        )
    };
    let (camera, board) = match report.hand_eye.setup {
        Setup::EyeInHand => ("gripper_from_camera", "base_from_board"),
        Setup::EyeToHand => ("base_from_camera", "gripper_from_board"),
    };
    let known = format!("±{mm:.2} mm, ±{deg:.3} degrees (one sigma, from leaving stops out)");
    let mut facts = vec![
        ["Camera known to".to_owned(), known],
        ["Board, predicted without itself".to_owned(), spread(&report.leave_one_out)],
        [camera.to_owned(), describe(&report.hand_eye.parent_from_camera)],
        [board.to_owned(), describe(&report.hand_eye.parent_from_board)],
    ];
    if let Some(rms_px) = report.reprojection_rms_px {
        facts.insert(1, ["Reprojection".to_owned(), format!("{rms_px:.3} px rms")]);
    }
    if let Some(BoardScale { scale, std }) = report.board_scale {
        let times = format!("{scale:.4} ±{std:.4} times as long as was said");
        facts.push(["Squares".to_owned(), times]);
    }
    json!(facts)
}

pub(super) fn describe(pose: &Isometry3<f64>) -> String {
    let t = pose.translation.vector * 1000.0;
    let (roll, pitch, yaw) = pose.rotation.euler_angles();
    let [roll, pitch, yaw] = [roll, pitch, yaw].map(f64::to_degrees);
    format!(
        "x {:.1} y {:.1} z {:.1} mm; roll {roll:.2} pitch {pitch:.2} yaw {yaw:.2}°",
        t.x, t.y, t.z
    )
}

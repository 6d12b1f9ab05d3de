//! Why a daemon does not run as configured: data, with a stable code for machines and a sentence
//! for people.
//!
//! Programs decide by the code; the sentence may change with any version.

use std::path::PathBuf;

use magpie_perception::{DepthProblem, ScaleDoubt};

use crate::proto;

/// One reason why the state is `DEGRADED` or `FAULT`.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    #[error("{why}")]
    Fault { why: String },
    #[error("camera lost: {why}")]
    CameraLost { why: String },
    #[error(
        "the camera gives {fps:.1} of the {announced_fps:.1} frames a second that it announces: its \
         exposure may be too long, its link too slow or the processor too busy; else set the frame rate \
         that it really has"
    )]
    CameraSlow { fps: f64, announced_fps: f64 },
    /// The depth camera gives no images.
    #[error("{why}")]
    DepthLost { why: String },
    /// The depth camera gives images that cannot be registered or paired with colour.
    #[error("{why}")]
    DepthUnusable { why: String },
    #[error("{why}")]
    ProviderFallback { why: String },
    #[error("{why}")]
    FoxgloveUnavailable { why: String },
    #[error("{why}")]
    Ros2Unavailable { why: String },
    #[error(
        "in ROS 2 {node} publishes on {topic}, too: stop it, or choose another [ros2] namespace for this \
         cell"
    )]
    Ros2Rival { node: String, topic: String },
    /// A model was given up, and an earlier one is in use again.
    #[error("{why}")]
    ModelRolledBack { why: String },
    #[error(
        "{stale} of the last {frames} frames were too old when their turn came: see \
         limits.frame_age_ms_max, or use a smaller model"
    )]
    FramesStale { stale: u64, frames: u64 },
    /// `why` the newest of them was.
    #[error("{corrupt} of the last {frames} frames were left out: {why}")]
    FramesCorrupt { corrupt: u64, frames: u64, why: String },
    #[error(
        "{expired} of the last {results} results were too old to act on before they could be \
         published, and show nothing: see limits.result_valid_ms, use a smaller model, or free the \
         processor"
    )]
    ResultsExpired { expired: u64, results: u64 },
    /// None has come for longer than this.
    #[error(
        "no result that may be acted upon has come for more than {silence_s:.1} s: the other reasons \
         say why; where there is none, the loop hangs, in the model for example"
    )]
    ResultsStopped { silence_s: f64 },
    #[error(
        "{missed} of the last {results} results came later than limits.deadline_ms: use a smaller \
         model, free the processor, or raise it"
    )]
    DeadlinesMissed { missed: u64, results: u64 },
    #[error("depth not used: {problem}{}", depth_setting(problem))]
    DepthNotUsed { problem: DepthProblem },
    #[error("sizes are doubtful: {doubt} see depth.unit_m and [scene]")]
    ScaleDoubtful { doubt: ScaleDoubt },
    #[error("the tool is too large for each of the {packages} packages in view: see [tool]")]
    ToolTooLarge { packages: usize },
    #[error("recording stopped: {why}")]
    RecordingStopped { why: String },
    #[error(
        "the recording cannot keep up and leaves frames out: see recording.color, or use a faster \
         disk"
    )]
    RecordingBehind,
    #[error(
        "recordings that were to be kept are not: the folder kept is full; move away what is in it, \
         or raise recording.kept_size_mb_max"
    )]
    RecordingKeptFull,
    #[error(
        "the camera has moved: fixed fiducials are {displacement_mm:.1} mm from where they were \
         ({rotation_deg:.2} degrees; drift.limit_mm is {limit_mm}): check its mount, calibrate again"
    )]
    CameraMoved { displacement_mm: f64, rotation_deg: f64, limit_mm: f64 },
    #[error(
        "the fixed fiducials were not seen in the last {looks} looks, one every {period_s:.1} s: clear \
         the view of them; if it is clear, the camera was knocked: calibrate again"
    )]
    FiducialsUnseen { looks: u32, period_s: f64 },
    #[error(
        "the machine's clock was set {} by {:.3} s; results follow it. Where that was not wanted, look \
         at the machine's time synchronisation",
        if *by_s < 0.0 { "back" } else { "forward" },
        by_s.abs()
    )]
    ClockStepped { by_s: f64 },
    #[error(
        "another publisher, {instance_id}, speaks for this cell, too, and readers believe neither: stop \
         one of them, or secure the cell"
    )]
    RivalPublisher { instance_id: String },
    /// Of the routers and peers that the configuration names.
    #[error(
        "the network is lost: nobody answers at {endpoints}, and no reader hears the cell through there"
    )]
    NetworkLost { endpoints: String },
    #[error(
        "{used} of the {limit} files that the daemon may have open are open: too many programs are \
         connected to it"
    )]
    DescriptorsLow { used: u64, limit: u64 },
    #[error(
        "the certificate {} {}: renew it (scripts/certificates), and restart",
        path.display(),
        expiry(*days_left)
    )]
    CertificateExpires { path: PathBuf, days_left: i64 },
    #[error("the page is not served: {why}")]
    PageUnavailable { why: String },
}

/// What to do about each reason, by its code; what stands between backticks is typed or written.
/// `docs/run-as-a-service.md` and the page show the same sentences.
pub const REMEDIES: &[(&str, &str)] = &[
    (CAMERA_LOST, "Check power, cable and network of the camera; the daemon reopens it by itself."),
    ("depth_lost", "Check power, cable and network of the depth camera."),
    (
        "depth_unusable",
        "If colour frames have no depth in time, synchronise the cameras, or raise `[depth] \
         pairing_ms_max`; else calibrate the depth camera for its image size.",
    ),
    (
        "depth_not_used",
        "Look whether the depth camera is covered, and whether `[depth] unit_m` and the support \
         plane are right.",
    ),
    ("provider_fallback", "The model runs on another provider than asked for: the text says why."),
    (
        "model_rolled_back",
        "A model was given up, and the one before is in use: the text says why. `magpie model use` \
         with that one acknowledges it.",
    ),
    (
        FOXGLOVE_UNAVAILABLE,
        "Stop what has the address, or choose another one in `[foxglove] listen`; the daemon tries \
         again by itself, and the loop goes on. If the text says that a thread panicked, restart the \
         daemon.",
    ),
    (
        ROS2_UNAVAILABLE,
        "Start the router on the ROS side (`ros2 run rmw_zenoh_cpp rmw_zenohd`), or name the right one \
         in `[ros2] router`; the daemon tries again by itself, and the loop goes on. If the text says \
         that a thread panicked, restart the daemon.",
    ),
    (
        ROS2_RIVAL,
        "Stop the other program that publishes on the cell's ROS topics, or choose another \
         `[ros2] namespace`: a ROS subscriber hears both.",
    ),
    (
        "frames_stale",
        "Frames are too old when their turn comes: use a smaller model or a faster machine, or \
         raise `[limits] frame_age_ms_max`.",
    ),
    (
        "frames_corrupt",
        "The text says what is wrong with the newest of them. If they are broken, check cable and \
         network of the camera.",
    ),
    (
        "results_expired",
        "Results came after `[limits] result_valid_ms`: free the processor, use a smaller model, or \
         raise it.",
    ),
    (
        RESULTS_STOPPED,
        "Look at the other reasons. Where there is none, the loop hangs, in the model for example: \
         the watchdog starts the daemon again.",
    ),
    (
        "deadlines_missed",
        "Results came after `[limits] deadline_ms`: free the processor, use a smaller model, or \
         raise it.",
    ),
    (
        "scale_doubtful",
        "Compare a package's printed size with the real one. If it is wrong, mend `[depth] unit_m`, \
         then calibrate the support plane anew.",
    ),
    ("tool_too_large", "Compare `[tool]` with the packages."),
    ("camera_moved", "Check the camera's mount, and calibrate again."),
    (
        "fiducials_unseen",
        "Clear the view of the board or markers; if it is clear, calibrate again.",
    ),
    (
        RECORDING_STOPPED,
        "Make room on the disk, or mend it: recording then goes on by itself. The text says what \
         broke, and when.",
    ),
    (
        RECORDING_BEHIND,
        "Use a faster disk, or `[recording] color = \"raw\"`, which costs less processor time.",
    ),
    (
        RECORDING_KEPT_FULL,
        "Move away what the folder `kept` holds, or raise `[recording] kept_size_mb_max`.",
    ),
    (
        "clock_stepped",
        "The machine's clock was set; stamps follow it, and a minute later the reason goes. If it \
         comes again, look at the time synchronisation.",
    ),
    (
        "camera_slow",
        "Look at the camera's exposure time and at its link, and free the processor. If the camera \
         cannot give what it announces, set the frame rate that it has.",
    ),
    (
        "certificate_expires",
        "Renew the certificate with `scripts/certificates`, and restart the daemon.",
    ),
    (
        RIVAL_PUBLISHER,
        "Stop the other daemon of this cell. If there is none, somebody forges results: secure the \
         cell.",
    ),
    (
        NETWORK_LOST,
        "Start the zenoh router again, or look at the network on the way to it; the daemon joins again \
         by itself.",
    ),
    (
        "descriptors_low",
        "Look who is connected to the ports of the cell (`ss -tnp`), and close what is not needed; or \
         raise the limit, `LimitNOFILE` of the unit or `ulimit -n`.",
    ),
    (
        PAGE_UNAVAILABLE,
        "Stop what has the address, or choose another one in `[web] listen`; the daemon tries again \
         by itself, and the loop goes on.",
    ),
    (FAULT, "The state is `FAULT`: the daemon ends, and the text says why."),
];

/// What to do about a reason of this code; `None` for a code that a newer daemon has.
pub fn remedy(code: &str) -> Option<&'static str> {
    REMEDIES.iter().find(|(known, _)| *known == code).map(|(_, remedy)| *remedy)
}

impl Reason {
    /// What programs decide by; a code never changes its meaning.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::Fault { .. } => FAULT,
            Reason::CameraLost { .. } => CAMERA_LOST,
            Reason::CameraSlow { .. } => "camera_slow",
            Reason::DepthLost { .. } => "depth_lost",
            Reason::DepthUnusable { .. } => "depth_unusable",
            Reason::ProviderFallback { .. } => "provider_fallback",
            Reason::FoxgloveUnavailable { .. } => FOXGLOVE_UNAVAILABLE,
            Reason::Ros2Unavailable { .. } => ROS2_UNAVAILABLE,
            Reason::Ros2Rival { .. } => ROS2_RIVAL,
            Reason::ModelRolledBack { .. } => "model_rolled_back",
            Reason::FramesStale { .. } => "frames_stale",
            Reason::FramesCorrupt { .. } => "frames_corrupt",
            Reason::ResultsExpired { .. } => "results_expired",
            Reason::ResultsStopped { .. } => RESULTS_STOPPED,
            Reason::DeadlinesMissed { .. } => "deadlines_missed",
            Reason::DepthNotUsed { .. } => "depth_not_used",
            Reason::ScaleDoubtful { .. } => "scale_doubtful",
            Reason::ToolTooLarge { .. } => "tool_too_large",
            Reason::RecordingStopped { .. } => RECORDING_STOPPED,
            Reason::RecordingBehind => RECORDING_BEHIND,
            Reason::RecordingKeptFull => RECORDING_KEPT_FULL,
            Reason::CameraMoved { .. } => "camera_moved",
            Reason::FiducialsUnseen { .. } => "fiducials_unseen",
            Reason::ClockStepped { .. } => "clock_stepped",
            Reason::RivalPublisher { .. } => RIVAL_PUBLISHER,
            Reason::NetworkLost { .. } => NETWORK_LOST,
            Reason::DescriptorsLow { .. } => "descriptors_low",
            Reason::CertificateExpires { .. } => "certificate_expires",
            Reason::PageUnavailable { .. } => PAGE_UNAVAILABLE,
        }
    }
}

fn expiry(days_left: i64) -> String {
    if days_left < 0 {
        "has expired, and nobody can join any more".into()
    } else {
        format!("expires in {days_left} days, and nobody can join then")
    }
}

/// Where the support plane's height is set, for problems that it may cause.
fn depth_setting(problem: &DepthProblem) -> &'static str {
    match problem {
        DepthProblem::NotTheSupportPlanes { .. } | DepthProblem::BelowTheSupportPlane { .. } => {
            "; see scene.support_plane_z_in_base_m and scene.support_plane_in_camera"
        }
        DepthProblem::Empty | DepthProblem::OutOfRange { .. } => "",
    }
}

const FAULT: &str = "fault";
const CAMERA_LOST: &str = "camera_lost";
const RESULTS_STOPPED: &str = "results_stopped";
const RIVAL_PUBLISHER: &str = "rival_publisher";
const NETWORK_LOST: &str = "network_lost";
const RECORDING_STOPPED: &str = "recording_stopped";
const RECORDING_BEHIND: &str = "recording_behind";
const RECORDING_KEPT_FULL: &str = "recording_kept_full";
const FOXGLOVE_UNAVAILABLE: &str = "foxglove_unavailable";
const ROS2_UNAVAILABLE: &str = "ros2_unavailable";
const ROS2_RIVAL: &str = "ros2_rival";
const PAGE_UNAVAILABLE: &str = "page_unavailable";

impl From<&Reason> for proto::Reason {
    fn from(reason: &Reason) -> proto::Reason {
        proto::Reason { code: reason.code().into(), text: reason.to_string() }
    }
}

impl proto::Reason {
    /// Whether no result reaches the arm, or none that it may act upon.
    pub fn stops_results(&self) -> bool {
        [FAULT, CAMERA_LOST, NETWORK_LOST, RESULTS_STOPPED, RIVAL_PUBLISHER]
            .contains(&self.code.as_str())
    }

    /// Whether it is the recording, the page, Foxglove's view or ROS's that is in trouble, and not what they
    /// show.
    pub fn is_about_onlookers(&self) -> bool {
        [
            RECORDING_STOPPED,
            RECORDING_BEHIND,
            RECORDING_KEPT_FULL,
            PAGE_UNAVAILABLE,
            FOXGLOVE_UNAVAILABLE,
            ROS2_UNAVAILABLE,
            ROS2_RIVAL,
        ]
        .contains(&self.code.as_str())
    }
}

impl proto::Status {
    /// The reasons with their codes. A daemon that is too old to tell codes gives empty ones.
    pub fn coded_reasons(&self) -> Vec<proto::Reason> {
        if !self.reasons_coded.is_empty() {
            return self.reasons_coded.clone();
        }
        let uncoded = |text: &String| proto::Reason { code: String::new(), text: text.clone() };
        self.reasons.iter().map(uncoded).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_a_code_for_machines_and_a_sentence_for_people() {
        let reason = Reason::FramesStale { stale: 8, frames: 20 };
        let sent = proto::Reason::from(&reason);
        assert_eq!(sent.code, "frames_stale");
        assert!(sent.text.starts_with("8 of the last 20 frames were too old"), "{}", sent.text);
        assert!(!sent.is_about_onlookers());
        assert!(proto::Reason::from(&Reason::RecordingBehind).is_about_onlookers());
    }

    /// `[text](target)` as `text`.
    fn without_links(line: &str) -> String {
        let mut parts = line.split("](");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let from = text.rfind('[').expect("a link begins before it ends");
            text.remove(from);
            text.push_str(part.split_once(')').expect("a link ends").1);
        }
        text
    }

    #[test]
    fn every_code_has_one_remedy_and_the_documents_have_the_same() {
        let proto = include_str!("../proto/magpie/v1/status.proto");
        let guide = include_str!("../../../docs/run-as-a-service.md");
        for &(code, remedy) in REMEDIES {
            assert_eq!(super::remedy(code), Some(remedy), "{code} stands there twice");
            assert!(proto.contains(code), "status.proto does not name {code}");
            let row = format!("| `{code}` | {remedy} |");
            assert!(
                guide.lines().any(|line| without_links(line) == row),
                "docs/run-as-a-service.md has no row {row:?}"
            );
        }
        // What `code` may give, from its own text.
        let source = include_str!("reason.rs");
        let codes =
            source.split("pub fn code(").nth(1).and_then(|rest| rest.split("/// Where").next());
        let arms = codes.unwrap().matches("=> ").count();
        assert_eq!(arms, REMEDIES.len());
    }

    #[test]
    fn reasons_of_a_daemon_without_codes_keep_their_text() {
        let old =
            proto::Status { reasons: vec!["camera lost: unplugged".into()], ..Default::default() };
        let [reason] = <[proto::Reason; 1]>::try_from(old.coded_reasons()).unwrap();
        assert_eq!((reason.code.as_str(), reason.text.as_str()), ("", "camera lost: unplugged"));
    }

    #[test]
    fn the_alerts_name_the_codes_that_stop_results() {
        let of = |code: &str| proto::Reason { code: code.into(), ..Default::default() };
        let codes = REMEDIES.iter().map(|(code, _)| *code);
        let mut codes: Vec<_> = codes.filter(|code| of(code).stops_results()).collect();
        codes.sort_unstable();
        let rules = include_str!("../../../docs/monitoring/magpie.rules.yaml");
        assert!(rules.contains(&format!("\"{}\"", codes.join("|"))), "{codes:?}");
    }
}

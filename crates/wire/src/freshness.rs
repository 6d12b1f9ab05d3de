//! Whether what was received may still be acted on.
//!
//! ```text
//!        one heartbeat alone for a while       newest result within its validity
//!   Lost ------------------------> Stale ------------------------------------> Fresh
//!    ^                               |  ^                                        |
//!    +----- silent, gone, FAULT -----+  +-- expired, refused, clocks disagree ---+
//! ```
//!
//! # Conventions
//!
//! Two bounds on a result's life hold at once. On the clock: never past `valid_until_ns`. On the
//! time since it was received: never longer than `valid_until_ns - published_ns`, which needs no
//! agreement between the clocks. The earlier one counts, so a publisher whose clock runs ahead
//! cannot make its results live longer.
//!
//! Messages carry Unix time; everything else here is on the reader's own clock, which never steps.
//! Where the reader's Unix time is set, nothing counts that came before.

use std::sync::Arc;
use std::time::Duration;

use magpie_perception::{SharedClock, StampNs};
use nalgebra::Isometry3;
use prost::Message;

use crate::outcome::Pick;
use crate::placed::{Expired, ExpiredWhy, NoPose, PoseAt, check_frame, finite};
use crate::printable::printable;
use crate::proto as wire;
pub use crate::refusal::Refusal;
use crate::whole::check_numbers;

/// A reader refuses results that claim to be valid for longer, unless it was told to believe more.
pub const RESULT_VALID_MAX: Duration = Duration::from_secs(5);

/// What a controller may do with the newest result.
#[derive(Clone, Debug)]
pub enum Freshness {
    /// Act on it, until it expires.
    Fresh(PackagesView),
    /// The publisher lives, but there is nothing to act on.
    Stale(StaleReason),
    /// No publisher, or none that answers for what it says.
    Lost { since: StampNs, why: LostReason },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaleReason {
    #[error("no result has come yet; the publisher is {state:?}")]
    NothingYet { state: wire::State },
    #[error("the newest result expired {} ms ago", by_ns / 1_000_000)]
    Expired { by_ns: u64 },
    #[error(
        "the newest result had expired {} ms before it was published: the daemon is too slow, and its \
         status says why",
        by_ns / 1_000_000
    )]
    Late { by_ns: u64 },
    #[error(
        "the newest result had expired {} ms before it arrived: a slow network, or the publisher's \
         clock is behind this machine's",
        by_ns / 1_000_000
    )]
    ArrivedExpired { by_ns: u64 },
    #[error(
        "the newest result was published {} ms after it was received: the publisher's clock is \
         ahead of this machine's; synchronise them and restart both programs",
        by_ns / 1_000_000
    )]
    ClockAhead { by_ns: u64 },
    #[error(
        "this machine's clock was set by {} ms since the newest result came; the next one counts",
        by_ns / 1_000_000
    )]
    ClockStepped { by_ns: i64 },
    #[error("the newest message was refused: {0}")]
    Refused(Refusal),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LostReason {
    #[error("no daemon has been heard for this cell; is it running, and is the cell's name right?")]
    NeverHeard,
    #[error("the daemon left the network")]
    Gone,
    #[error(
        "a daemon has just been heard for the first time; it is believed once nobody else has spoken for \
         the cell for a while"
    )]
    JustHeard,
    #[error("no heartbeat for {silent_ms} ms")]
    Silent { silent_ms: u64 },
    #[error(
        "the daemon speaks schema version {found}, and this reader knows {}: use the reader of the \
         daemon's version",
        wire::SCHEMA_VERSION
    )]
    Version { found: u32 },
    #[error(
        "another publisher speaks for this cell, too: stop one of them; none is believed until one has \
         been silent for a while"
    )]
    Rival,
    #[error("the daemon reports a fault: {}", printable(&texts(reasons)))]
    Fault { reasons: Vec<wire::Reason> },
    #[error("the client was closed; connect again")]
    Closed,
}

fn texts(reasons: &[wire::Reason]) -> String {
    reasons.iter().map(|reason| reason.text.as_str()).collect::<Vec<_>>().join("; ")
}

impl StaleReason {
    /// Stable, for programs to decide by; the text is for people.
    pub fn code(&self) -> &'static str {
        match self {
            StaleReason::NothingYet { .. } => "nothing_yet",
            StaleReason::Expired { .. } => "expired",
            StaleReason::Late { .. } => "late",
            StaleReason::ArrivedExpired { .. } => "arrived_expired",
            StaleReason::ClockAhead { .. } => "clock_ahead",
            StaleReason::ClockStepped { .. } => "clock_stepped",
            StaleReason::Refused(_) => "refused",
        }
    }
}

impl LostReason {
    /// Stable, for programs to decide by; the text is for people.
    pub fn code(&self) -> &'static str {
        match self {
            LostReason::NeverHeard => "never_heard",
            LostReason::Gone => "gone",
            LostReason::JustHeard => "just_heard",
            LostReason::Silent { .. } => "silent",
            LostReason::Version { .. } => "schema_version",
            LostReason::Rival => "rival",
            LostReason::Fault { .. } => "fault",
            LostReason::Closed => "closed",
        }
    }
}

/// A received result, if it is whole, of this cell, and valid for no longer than `valid_max`.
pub fn decode_packages(
    bytes: &[u8],
    cell: &str,
    valid_max: Duration,
) -> Result<wire::Packages, Refusal> {
    let message = wire::Packages::decode(bytes)
        .map_err(|error| Refusal::Undecodable { message: "Packages", why: error.to_string() })?;
    check_packages(&message, cell, valid_max)?;
    Ok(message)
}

/// A received heartbeat, if it is of this cell and of a version that is known here.
pub fn decode_status(bytes: &[u8], cell: &str) -> Result<wire::Status, Refusal> {
    let status = wire::Status::decode(bytes)
        .map_err(|error| Refusal::Undecodable { message: "Status", why: error.to_string() })?;
    check_origin(status.schema_version, &status.cell, cell)?;
    Ok(status)
}

fn check_origin(schema_version: u32, found: &str, cell: &str) -> Result<(), Refusal> {
    if schema_version != wire::SCHEMA_VERSION {
        return Err(Refusal::SchemaVersion { found: schema_version });
    }
    if found != cell {
        return Err(Refusal::Cell { found: found.to_owned() });
    }
    Ok(())
}

/// Refuses a result as [`decode_packages`] does, for one that was decoded elsewhere.
pub fn check_packages(
    message: &wire::Packages,
    cell: &str,
    valid_max: Duration,
) -> Result<(), Refusal> {
    check_origin(message.schema_version, &message.cell, cell)?;
    if message.published_ns < message.stamp_ns || message.valid_until_ns < message.stamp_ns {
        return Err(Refusal::Times);
    }
    let valid_ns = message.valid_until_ns - message.stamp_ns;
    if u128::from(valid_ns) > valid_max.as_nanos() {
        let valid_ms_max = valid_max.as_millis();
        return Err(Refusal::Validity { valid_ms: valid_ns / 1_000_000, valid_ms_max });
    }
    check_numbers(message)
}

/// One accepted result, and when it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub message: Arc<wire::Packages>,
    pub at: StampNs,
    /// [`Clock::unix_ahead_ns`](magpie_perception::Clock::unix_ahead_ns) at that moment.
    pub unix_ahead_ns: i64,
    /// The first result of a publisher that was not the one before.
    pub restarted: bool,
}

impl Received {
    /// The last moment, on the reader's clock, at which the result may be acted on.
    pub fn expires_at(&self) -> StampNs {
        let lifetime_ns = self.message.valid_until_ns.saturating_sub(self.message.published_ns);
        let valid_until = StampNs::from_unix_ns(self.message.valid_until_ns, self.unix_ahead_ns);
        StampNs(self.at.0.saturating_add(lifetime_ns)).min(valid_until)
    }

    /// By how much the message was published later than it was received; zero if it was not.
    fn ahead_by_ns(&self) -> u64 {
        self.message.published_ns.saturating_sub(self.at.unix_ns(self.unix_ahead_ns))
    }
}

/// The newest heartbeat.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    pub at: StampNs,
    /// When its instance was first heard.
    pub since: StampNs,
    pub status: wire::Status,
}

/// Everything a subscriber knows.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Since when a heartbeat is expected.
    pub listening: StampNs,
    pub newest: Option<Received>,
    /// Set by a refused message, cleared by an accepted one.
    pub refused: Option<Refusal>,
    pub heartbeat: Option<Heartbeat>,
    /// When the daemon left, unless it is there.
    pub gone: Option<StampNs>,
    /// When another publisher than the one of the heartbeat was last heard.
    pub rival: Option<StampNs>,
    /// When somebody last spoke in a schema version that is not known here, and which one.
    pub version: Option<(StampNs, u32)>,
}

/// How far a subscriber trusts silence and clocks.
#[derive(Clone, Copy, Debug)]
pub struct Trust {
    pub heartbeat_silence_max: Duration,
    pub clock_ahead_max: Duration,
}

impl Trust {
    /// Whether something that was heard at `then` is too long ago to count.
    pub fn is_silent(&self, then: StampNs, now: StampNs) -> bool {
        u128::from(now.since_ns(then)) > self.heartbeat_silence_max.as_nanos()
    }

    /// Whether a message was published later than it was received, by more than clocks may differ.
    pub fn is_ahead(&self, received: &Received) -> bool {
        u128::from(received.ahead_by_ns()) > self.clock_ahead_max.as_nanos()
    }
}

pub fn assess(heard: &Heard, trust: Trust, clock: &SharedClock) -> Freshness {
    let now = clock.now();
    if let Some((since, why)) = lost(heard, trust, now) {
        return Freshness::Lost { since, why };
    }
    let state = heard.heartbeat.as_ref().map(|heartbeat| heartbeat.status.state());
    let state = state.unwrap_or(wire::State::Unspecified);
    if let Some(refusal) = &heard.refused {
        return Freshness::Stale(StaleReason::Refused(refusal.clone()));
    }
    let Some(newest) = &heard.newest else {
        return Freshness::Stale(StaleReason::NothingYet { state });
    };
    if let Some(why) = stale(newest, trust, clock) {
        return Freshness::Stale(why);
    }
    let degraded = match &heard.heartbeat {
        Some(Heartbeat { status, .. }) if status.state() == wire::State::Degraded => {
            status.coded_reasons()
        }
        _ => Vec::new(),
    };
    Freshness::Fresh(PackagesView::new(newest, degraded, clock.clone()))
}

/// Since when nothing may be acted upon, whatever comes, and why.
pub fn lost(heard: &Heard, trust: Trust, now: StampNs) -> Option<(StampNs, LostReason)> {
    let rival = heard.rival.filter(|at| !trust.is_silent(*at, now));
    let rival = rival.map(|at| (at, LostReason::Rival));
    let fault = || match &heard.heartbeat {
        Some(Heartbeat { at, status, .. }) if status.state() == wire::State::Fault => {
            Some((*at, LostReason::Fault { reasons: status.coded_reasons() }))
        }
        _ => None,
    };
    // Whoever speaks first is not always the right one: others would have been heard by then.
    let since = heard.heartbeat.as_ref().map(|heartbeat| heartbeat.since);
    let just_heard = since.filter(|since| !trust.is_silent(*since, now));
    let just_heard = || just_heard.map(|since| (since, LostReason::JustHeard));
    silence(heard, trust, now).or(rival).or_else(fault).or_else(just_heard)
}

/// Since when nobody speaks for the cell, and why; `None` while a daemon is heard.
pub fn silence(heard: &Heard, trust: Trust, now: StampNs) -> Option<(StampNs, LostReason)> {
    let heard_at = heard.heartbeat.as_ref().map(|heartbeat| heartbeat.at);
    let is_heard = heard_at.is_some_and(|at| !trust.is_silent(at, now));
    // Whoever speaks another version is there, and only not understood.
    let version = heard.version.filter(|(at, _)| !is_heard && !trust.is_silent(*at, now));
    if let Some((since, found)) = version {
        return Some((since, LostReason::Version { found }));
    }
    if let Some(since) = heard.gone {
        return Some((since, LostReason::Gone));
    }
    if heard_at.is_none() && heard.newest.is_none() && heard.refused.is_none() {
        return Some((heard.listening, LostReason::NeverHeard));
    }
    // A reader that has just joined waits for its first heartbeat.
    let since = heard_at.unwrap_or(heard.listening);
    let silent_ms = now.since_ns(since) / 1_000_000;
    trust.is_silent(since, now).then_some((since, LostReason::Silent { silent_ms }))
}

/// Why a received result may not be acted on; `None` if it may.
pub fn stale(newest: &Received, trust: Trust, clock: &SharedClock) -> Option<StaleReason> {
    let by_ns = clock.unix_ahead_ns() - newest.unix_ahead_ns;
    if by_ns != 0 {
        return Some(StaleReason::ClockStepped { by_ns });
    }
    if trust.is_ahead(newest) {
        return Some(StaleReason::ClockAhead { by_ns: newest.ahead_by_ns() });
    }
    let now = clock.now();
    let expires_at = newest.expires_at();
    // Both are of one clock, so that no network and no other clock is to blame.
    let late_ns = newest.message.published_ns.saturating_sub(newest.message.valid_until_ns);
    if late_ns > 0 {
        return Some(StaleReason::Late { by_ns: late_ns });
    }
    if newest.at > expires_at {
        return Some(StaleReason::ArrivedExpired { by_ns: newest.at.since_ns(expires_at) });
    }
    (now > expires_at).then(|| StaleReason::Expired { by_ns: now.since_ns(expires_at) })
}

/// The package to pick, and how.
#[derive(Clone, Copy, Debug)]
pub struct BestGrasp<'a> {
    pub package: &'a wire::Package,
    pub grasp: &'a wire::Grasp,
    /// Reference frame of the pose.
    pub frame_id: &'a str,
    /// Whether the pose is in the robot's base, where alone an arm can use it; of a camera on the
    /// arm it is in the gripper, see [`PackagesView::pose_in_base`].
    pub reference_frame: wire::ReferenceFrame,
    /// Do not start to move after this moment, on the reader's clock.
    pub expires_at: StampNs,
    view: &'a PackagesView,
}

impl BestGrasp<'_> {
    /// [`PackagesView::base_from_grasp`] of this grasp.
    ///
    /// # Errors
    /// If the poses are not in the robot's base, or the time of the result is over.
    pub fn base_from_grasp(&self) -> Result<[[f64; 4]; 4], NoPose> {
        self.view.base_from_grasp(self.grasp)
    }
}

/// For how long before and after the exposure a pose on the belt is told: nobody knows how packages
/// move in a minute.
const POSE_AT_MAX: Duration = Duration::from_secs(60);

/// One result, while it lives.
///
/// It hands out packages and grasps only through methods that look at the clock again, so that a
/// view which was kept too long gives [`Expired`] instead of old poses. Ask right before moving,
/// and ask again before each further move.
#[derive(Clone)]
pub struct PackagesView {
    message: Arc<wire::Packages>,
    expires_at: StampNs,
    unix_ahead_ns: i64,
    restarted: bool,
    degraded: Vec<wire::Reason>,
    clock: SharedClock,
}

impl PackagesView {
    /// `degraded`: why the daemon does not run as configured.
    pub fn new(
        received: &Received,
        degraded: Vec<wire::Reason>,
        clock: SharedClock,
    ) -> PackagesView {
        PackagesView {
            message: received.message.clone(),
            expires_at: received.expires_at(),
            unix_ahead_ns: received.unix_ahead_ns,
            restarted: received.restarted,
            degraded,
            clock,
        }
    }

    /// The first grasp of the first package in pick order that has one; `None` if nothing can be
    /// picked.
    pub fn best_grasp(&self) -> Result<Option<BestGrasp<'_>>, Expired> {
        let message = self.unexpired()?;
        let graspable = message.packages.iter().find_map(|p| Some((p, p.grasps.first()?)));
        Ok(graspable.map(|(package, grasp)| BestGrasp {
            package,
            grasp,
            frame_id: &message.frame_id,
            reference_frame: message.reference_frame(),
            expires_at: self.expires_at,
            view: self,
        }))
    }

    /// Where the tool is, in the robot's base, when a grasp of this result holds: a homogeneous matrix
    /// in metres, row by row, whose third column is the approach.
    ///
    /// # Errors
    /// If the poses of the cell are not in base, where alone an arm can use them, or the time of the
    /// result is over.
    pub fn base_from_grasp(&self, grasp: &wire::Grasp) -> Result<[[f64; 4]; 4], NoPose> {
        let message = self.unexpired()?;
        check_frame(message.reference_frame(), &message.frame_id, wire::ReferenceFrame::Base)?;
        grasp.pose.as_ref().and_then(wire::Pose::matrix).ok_or(NoPose::NotFinite)
    }

    /// Where a grasp of this result will be at `at`, on the reader's clock: its package moves on
    /// with the belt, and the longer ago it was seen, the less sure that is. `None` while the
    /// motion of the packages is not known, even if nothing seems to move.
    ///
    /// # Errors
    /// If the time of the result is over, or `at` is further than a minute from its exposure.
    pub fn pose_at(&self, grasp: &wire::Grasp, at: StampNs) -> Result<Option<PoseAt<'_>>, NoPose> {
        let message = self.unexpired()?;
        let stamp = self.at_unix_ns(message.stamp_ns);
        let elapsed_s = (i128::from(at.0) - i128::from(stamp.0)) as f64 / 1e9;
        if elapsed_s.abs() > POSE_AT_MAX.as_secs_f64() {
            return Err(NoPose::Moment { elapsed_s });
        }
        let (Some(velocity), Some(mut pose)) = (&message.velocity, grasp.pose) else {
            return Ok(None);
        };
        let (Some(v), Some(p)) = (&velocity.linear_m_s, &mut pose.position_m) else {
            return Ok(None);
        };
        (p.x, p.y, p.z) = (p.x + v.x * elapsed_s, p.y + v.y * elapsed_s, p.z + v.z * elapsed_s);
        let drift_m = velocity.sigma_m_s * elapsed_s.abs();
        let position_sigma_m = grasp.position_sigma_m.hypot(drift_m);
        if !position_sigma_m.is_finite() {
            return Err(NoPose::NotFinite);
        }
        Ok(Some(PoseAt {
            pose: finite(pose)?,
            position_sigma_m,
            frame_id: &message.frame_id,
            reference_frame: message.reference_frame(),
        }))
    }

    /// A moment of this machine's Unix time, on the reader's clock.
    pub fn at_unix_ns(&self, unix_ns: u64) -> StampNs {
        StampNs::from_unix_ns(unix_ns, self.unix_ahead_ns)
    }

    /// How long this may still be acted on; zero once it is over.
    pub fn expires_in(&self) -> Duration {
        match self.unexpired() {
            Ok(_) => Duration::from_nanos(self.expires_at.since_ns(self.clock.now())),
            Err(_) => Duration::ZERO,
        }
    }

    /// Where a grasp of this result is in base, of a camera on the arm: the arm, at the stamp of the
    /// exposure, was at `base_from_gripper`.
    ///
    /// # Errors
    /// If the poses of the cell are not in the gripper, or the time of the result is over.
    pub fn pose_in_base(
        &self,
        grasp: &wire::Grasp,
        base_from_gripper: &Isometry3<f64>,
    ) -> Result<wire::Pose, NoPose> {
        let message = self.unexpired()?;
        check_frame(message.reference_frame(), &message.frame_id, wire::ReferenceFrame::Gripper)?;
        let gripper_from_grasp = grasp.pose.as_ref().and_then(wire::Pose::isometry);
        let gripper_from_grasp = gripper_from_grasp.ok_or(NoPose::NotFinite)?;
        finite((&(base_from_gripper * gripper_from_grasp)).into())
    }

    /// All packages, in pick order.
    pub fn packages(&self) -> Result<&[wire::Package], Expired> {
        Ok(&self.unexpired()?.packages)
    }

    /// Names a pick by this result, for the report of what became of it; whatever the result's age.
    /// `None` if package and grasp are not of this result.
    pub fn pick(&self, package: &wire::Package, grasp: &wire::Grasp) -> Option<Pick> {
        let packages = &self.message.packages;
        let at = packages.iter().position(|known| known.track_id == package.track_id)?;
        let grasp = packages[at].grasps.iter().position(|known| known == grasp)?;
        self.pick_at(at, grasp)
    }

    /// The same by the place of the package in pick order, and of the grasp in the package.
    pub fn pick_at(&self, package_index: usize, grasp_index: usize) -> Option<Pick> {
        Pick::of(&self.message, package_index, grasp_index)
    }

    /// The message as it came, whatever its age: for display and logs, never for motion.
    pub fn for_display(&self) -> &wire::Packages {
        &self.message
    }

    /// The last moment at which this may be acted on, on the reader's clock.
    pub fn expires_at(&self) -> StampNs {
        self.expires_at
    }

    /// Whether the publisher is another one than before: forget all track ids.
    pub fn restarted(&self) -> bool {
        self.restarted
    }

    /// Why the daemon does not run as configured; empty if it does.
    pub fn degraded(&self) -> &[wire::Reason] {
        &self.degraded
    }

    fn unexpired(&self) -> Result<&wire::Packages, Expired> {
        let now = self.clock.now();
        let why = if self.clock.unix_ahead_ns() != self.unix_ahead_ns {
            ExpiredWhy::ClockStepped
        } else if now > self.expires_at {
            ExpiredWhy::Late { by_ns: now.since_ns(self.expires_at) }
        } else {
            return Ok(&self.message);
        };
        Err(Expired { sequence: self.message.sequence, why })
    }
}

impl std::fmt::Debug for PackagesView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackagesView")
            .field("sequence", &self.message.sequence)
            .field("packages", &self.message.packages.len())
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use magpie_perception::Clock;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

    const MS: u64 = 1_000_000;
    const VALID_MAX: Duration = Duration::from_secs(1);
    const TRUST: Trust = Trust {
        heartbeat_silence_max: Duration::from_millis(500),
        clock_ahead_max: Duration::from_millis(5),
    };

    #[derive(Default)]
    struct HandClock {
        now_ns: AtomicU64,
        unix_ahead_ns: AtomicI64,
    }

    impl HandClock {
        fn at_ms(now_ms: u64) -> HandClock {
            HandClock { now_ns: AtomicU64::new(now_ms * MS), ..HandClock::default() }
        }
    }

    impl Clock for HandClock {
        fn now(&self) -> StampNs {
            StampNs(self.now_ns.load(Ordering::Relaxed))
        }

        fn unix_ahead_ns(&self) -> i64 {
            self.unix_ahead_ns.load(Ordering::Relaxed)
        }
    }

    fn grasp() -> wire::Grasp {
        wire::Grasp {
            pose: Some(wire::Pose {
                position_m: Some(wire::Vector3 { x: 0.4, y: 0.0, z: 0.1 }),
                orientation: Some(wire::Quaternion { x: 1.0, y: 0.0, z: 0.0, w: 0.0 }),
            }),
            contact_px: Some(wire::PointPx { x_px: 3.0, y_px: 4.0 }),
            quality: 0.8,
            ..Default::default()
        }
    }

    /// Exposed at 1000 ms, published at 1050, good until 1200, by the publisher's clock.
    fn message() -> wire::Packages {
        let mask = magpie_perception::Mask::from_counts(8, 6, vec![48]).unwrap();
        let package = |rank, grasps| wire::Package {
            pick_rank: rank,
            mask: Some((&mask).into()),
            bbox: Some(wire::BboxPx::default()),
            grasps,
            ..Default::default()
        };
        wire::Packages {
            schema_version: wire::SCHEMA_VERSION,
            cell: "dock".into(),
            stamp_ns: 1000 * MS,
            published_ns: 1050 * MS,
            valid_until_ns: 1200 * MS,
            image_width_px: 8,
            image_height_px: 6,
            frame_id: "base".into(),
            reference_frame: wire::ReferenceFrame::Base.into(),
            packages: vec![package(0, vec![]), package(1, vec![grasp()])],
            ..Default::default()
        }
    }

    fn status(state: wire::State) -> wire::Status {
        let reasons = vec!["camera lost".into()];
        wire::Status { state: state.into(), reasons, ..Default::default() }
    }

    fn received(message: wire::Packages) -> Received {
        Received {
            message: Arc::new(message),
            at: StampNs(1051 * MS),
            unix_ahead_ns: 0,
            restarted: false,
        }
    }

    fn heartbeat(since_ms: u64, at_ms: u64, state: wire::State) -> Heartbeat {
        let (since, at) = (StampNs(since_ms * MS), StampNs(at_ms * MS));
        Heartbeat { at, since, status: status(state) }
    }

    /// Received at 1051 ms, with a heartbeat at 1100 ms.
    fn heard() -> Heard {
        Heard {
            listening: StampNs(900 * MS),
            newest: Some(received(message())),
            refused: None,
            heartbeat: Some(heartbeat(500, 1100, wire::State::Ok)),
            gone: None,
            rival: None,
            version: None,
        }
    }

    fn at(heard: &Heard, now_ms: u64) -> Freshness {
        let clock: SharedClock = Arc::new(HandClock::at_ms(now_ms));
        assess(heard, TRUST, &clock)
    }

    /// One line for each outcome.
    fn check(heard: &Heard, now_ms: u64, expected: &str) {
        let found = match at(heard, now_ms) {
            Freshness::Fresh(view) => format!("fresh until {}", view.expires_at().0 / MS),
            Freshness::Stale(why) => format!("stale: {why}"),
            Freshness::Lost { since, why } => format!("lost since {}: {why}", since.0 / MS),
        };
        assert!(found.starts_with(expected), "{found:?} does not start with {expected:?}");
    }

    #[test]
    fn a_result_is_fresh_until_it_expires() {
        check(&heard(), 1100, "fresh until 1200");
        check(&heard(), 1200, "fresh until 1200");
        check(&heard(), 1203, "stale: the newest result expired 3 ms ago");
    }

    #[test]
    fn a_publisher_whose_clock_is_ahead_cannot_prolong_its_results() {
        let mut ahead = heard();
        // Within what is tolerated: 150 ms from publication to expiry, counted from receipt.
        ahead.newest.as_mut().unwrap().at = StampNs(1046 * MS);
        check(&ahead, 1100, "fresh until 1196");
        ahead.newest.as_mut().unwrap().at = StampNs(1030 * MS);
        check(&ahead, 1100, "stale: the newest result was published 20 ms after it was received");
    }

    #[test]
    fn a_result_that_arrives_too_late_says_so() {
        let mut late = heard();
        late.newest.as_mut().unwrap().at = StampNs(1230 * MS);
        check(&late, 1240, "stale: the newest result had expired 30 ms before it arrived");
    }

    #[test]
    fn a_result_that_its_daemon_published_too_late_blames_the_daemon() {
        let message = wire::Packages { published_ns: 1230 * MS, ..message() };
        let at = StampNs(1231 * MS);
        let late = Heard { newest: Some(Received { at, ..received(message) }), ..heard() };
        check(&late, 1240, "stale: the newest result had expired 30 ms before it was published");
        let Freshness::Stale(why) = self::at(&late, 1400) else { panic!() };
        assert_eq!((why.code(), why), ("late", StaleReason::Late { by_ns: 30 * MS }));
    }

    #[test]
    fn a_daemon_of_another_version_is_there_and_not_understood() {
        let version = Some((StampNs(1100 * MS), 2));
        let told = "lost since 1100: the daemon speaks schema version 2, and this reader knows 1";
        let alone = Heard { version, newest: None, heartbeat: None, ..heard() };
        check(&alone, 1120, told);
        // Its forerunner left, or is silent.
        check(&Heard { gone: Some(StampNs(1000 * MS)), ..alone.clone() }, 1120, told);
        let silent = Some(heartbeat(200, 500, wire::State::Ok));
        check(&Heard { heartbeat: silent, ..alone.clone() }, 1120, told);
        // It fell silent itself.
        check(&alone, 1700, "lost since 900: no daemon has been heard");
        // Its messages reach the reader of a daemon that is understood.
        check(&Heard { version, ..heard() }, 1120, "fresh until");
        let Freshness::Lost { why, .. } = at(&alone, 1120) else { panic!() };
        assert_eq!(why.code(), "schema_version");
    }

    #[test]
    fn silence_a_departure_and_a_fault_mean_lost() {
        check(&heard(), 1601, "lost since 1100: no heartbeat for 501 ms");
        let gone = Heard { gone: Some(StampNs(1110 * MS)), ..heard() };
        check(&gone, 1120, "lost since 1110: the daemon left");
        let heartbeat = Some(heartbeat(500, 1100, wire::State::Fault));
        let fault = Heard { heartbeat, ..heard() };
        check(&fault, 1120, "lost since 1100: the daemon reports a fault: camera lost");
        let rival = Heard { rival: Some(StampNs(1110 * MS)), ..heard() };
        check(&rival, 1120, "lost since 1110: another publisher speaks for this cell");
        check(&rival, 1650, "lost since 1100: no heartbeat");
        let never = Heard { newest: None, heartbeat: None, ..heard() };
        check(&never, 1120, "lost since 900: no daemon has been heard");
    }

    #[test]
    fn who_has_just_spoken_for_the_first_time_is_not_believed_yet() {
        let heard_since = |since_ms| Heard {
            heartbeat: Some(heartbeat(since_ms, 1100, wire::State::Ok)),
            ..heard()
        };
        let new = heard_since(700);
        check(&new, 1190, "lost since 700: a daemon has just been heard for the first time");
        let later = heard_since(650);
        check(&later, 1190, "fresh until");
    }

    #[test]
    fn a_refused_message_hides_the_one_before() {
        let refused = Heard { refused: Some(Refusal::SchemaVersion { found: 2 }), ..heard() };
        check(&refused, 1100, "stale: the newest message was refused: it has schema version 2");
    }

    #[test]
    fn degradation_travels_with_the_view() {
        let heartbeat = Some(heartbeat(500, 1100, wire::State::Degraded));
        let Freshness::Fresh(view) = at(&Heard { heartbeat, ..heard() }, 1100) else { panic!() };
        let texts: Vec<_> = view.degraded().iter().map(|reason| &reason.text).collect();
        assert_eq!(texts, ["camera lost"]);
    }

    #[test]
    fn a_view_that_was_kept_too_long_gives_no_grasp() {
        let hand = Arc::new(HandClock::at_ms(1100));
        let clock: SharedClock = hand.clone();
        let Freshness::Fresh(view) = assess(&heard(), TRUST, &clock) else { panic!() };
        let best = view.best_grasp().unwrap().unwrap();
        assert_eq!(best.package.pick_rank, 1, "rank 0 has no grasp");
        hand.now_ns.store(1201 * MS, Ordering::Relaxed);
        assert_eq!(view.best_grasp().unwrap_err().why, ExpiredWhy::Late { by_ns: MS });
        assert_eq!(view.packages().unwrap_err().why, ExpiredWhy::Late { by_ns: MS });
    }

    #[test]
    fn nothing_counts_that_came_before_the_clock_was_set() {
        const HOURS: i64 = 7_200_000_000_000;
        for by_ns in [HOURS, -HOURS, 20_000_000] {
            // A publisher that has been running for a day, so that its clock can be set back.
            let day = |ns: u64| ns + 86_400_000_000_000;
            let told = |ahead_ns: i64| wire::Packages {
                stamp_ns: day(1000 * MS).saturating_add_signed(ahead_ns),
                published_ns: day(1050 * MS).saturating_add_signed(ahead_ns),
                valid_until_ns: day(1200 * MS).saturating_add_signed(ahead_ns),
                ..message()
            };
            let hand = Arc::new(HandClock::default());
            hand.now_ns.store(day(1100 * MS), Ordering::Relaxed);
            let clock: SharedClock = hand.clone();
            let heard = |newest: Received| Heard {
                newest: Some(Received { at: StampNs(day(1051 * MS)), ..newest }),
                heartbeat: Some(Heartbeat {
                    at: StampNs(day(1100 * MS)),
                    ..heartbeat(500, 1100, wire::State::Ok)
                }),
                ..heard()
            };
            let before = heard(received(told(0)));
            let Freshness::Fresh(view) = assess(&before, TRUST, &clock) else { panic!() };
            hand.unix_ahead_ns.store(by_ns, Ordering::Relaxed);
            assert_eq!(view.packages().unwrap_err().why, ExpiredWhy::ClockStepped);
            let why = |heard: &Heard| match assess(heard, TRUST, &clock) {
                Freshness::Stale(why) => Some(why),
                Freshness::Fresh(_) => None,
                Freshness::Lost { why, .. } => panic!("{why}"),
            };
            assert_eq!(why(&before), Some(StaleReason::ClockStepped { by_ns }));
            let received_after = |told| Received { unix_ahead_ns: by_ns, ..received(told) };
            assert_eq!(why(&heard(received_after(told(by_ns)))), None, "all clocks follow");
            let across = why(&heard(received_after(told(0))));
            assert!(across.is_some() || by_ns == 20_000_000, "{across:?}");
            let Freshness::Fresh(view) = assess(&heard(received_after(told(by_ns))), TRUST, &clock)
            else {
                panic!()
            };
            assert_eq!(view.expires_at(), StampNs(day(1200 * MS)), "counted on the steady clock");
        }
    }

    #[test]
    fn a_pick_is_named_by_its_own_result_also_once_it_has_expired() {
        let hand = Arc::new(HandClock::at_ms(1100));
        let clock: SharedClock = hand.clone();
        let mut message = message();
        message.packages[1].track_id = 7;
        let heard = Heard { newest: Some(received(message)), ..heard() };
        let Freshness::Fresh(view) = assess(&heard, TRUST, &clock) else { panic!() };
        let best = view.best_grasp().unwrap().unwrap();
        let (package, grasp) = (best.package.clone(), best.grasp.clone());
        hand.now_ns.store(1201 * MS, Ordering::Relaxed);
        let pick = view.pick(&package, &grasp).unwrap();
        assert_eq!((pick.cell(), pick.track_id()), ("dock", 7));
        assert_eq!(view.pick_at(1, 0), Some(pick));
        assert_eq!(view.pick_at(0, 0), None, "it has no grasp");
        let other = wire::Grasp { quality: 0.1, ..grasp.clone() };
        assert_eq!(view.pick(&package, &other), None);
        let other = wire::Package { track_id: 9, ..package };
        assert_eq!(view.pick(&other, &grasp), None);
    }

    #[test]
    fn a_pose_goes_with_the_belt_and_grows_less_sure() {
        let mut moving = message();
        moving.packages[1].grasps[0].position_sigma_m = 0.003;
        let still = heard();
        let Freshness::Fresh(view) = at(&still, 1100) else { panic!() };
        let unknown = view.pose_at(&moving.packages[1].grasps[0], StampNs(1200 * MS));
        assert_eq!(unknown.unwrap(), None, "no velocity, no guess");
        moving.velocity = Some(wire::Velocity {
            linear_m_s: Some(wire::Vector3 { x: 0.5, y: 0.0, z: 0.0 }),
            sigma_m_s: 0.04,
        });
        let heard = Heard { newest: Some(received(moving)), ..heard() };
        let Freshness::Fresh(view) = at(&heard, 1100) else { panic!() };
        let grasp = view.best_grasp().unwrap().unwrap().grasp;
        let later = view.pose_at(grasp, StampNs(1100 * MS)).unwrap().unwrap();
        assert!((later.pose.position_m.unwrap().x - 0.45).abs() < 1e-9, "0.1 s at 0.5 m/s");
        assert!((later.position_sigma_m - 0.005).abs() < 1e-9, "3 mm and 4 mm");
        let own = view.pose_at(grasp, StampNs(1000 * MS)).unwrap().unwrap();
        assert_eq!(own.pose, grasp.pose.unwrap());
        assert!((own.position_sigma_m - 0.003).abs() < 1e-12);
        assert!((later.base_from_grasp().unwrap()[0][3] - 0.45).abs() < 1e-9);
    }

    /// One that a belt of this speed carries.
    fn carried(x_m_s: f64, x_m: f64) -> Heard {
        let mut moving = message();
        let linear_m_s = Some(wire::Vector3 { x: x_m_s, y: 0.0, z: 0.0 });
        moving.velocity = Some(wire::Velocity { linear_m_s, sigma_m_s: 0.04 });
        moving.stamp_ns += 1_000_000 * MS;
        moving.published_ns += 1_000_000 * MS;
        moving.valid_until_ns += 1_000_000 * MS;
        let pose = moving.packages[1].grasps[0].pose.as_mut().unwrap();
        pose.position_m.as_mut().unwrap().x = x_m;
        let at = StampNs((1_000_000 + 1051) * MS);
        Heard {
            newest: Some(Received { at, ..received(moving) }),
            heartbeat: Some(heartbeat(500, 1_001_100, wire::State::Ok)),
            ..heard()
        }
    }

    #[test]
    fn nobody_knows_where_a_grasp_is_minutes_from_its_exposure() {
        let Freshness::Fresh(view) = at(&carried(0.5, 0.4), 1_001_100) else { panic!() };
        let grasp = view.best_grasp().unwrap().unwrap().grasp;
        for at_ms in [0, 1_001_000 - 60_001, 1_001_000 + 60_001, u64::MAX / MS] {
            let told = view.pose_at(grasp, StampNs(at_ms * MS)).unwrap_err();
            assert!(matches!(told, NoPose::Moment { .. }), "{at_ms}: {told}");
        }
        for at_ms in [1_001_000 - 60_000, 1_001_000 + 60_000] {
            assert!(view.pose_at(grasp, StampNs(at_ms * MS)).is_ok(), "{at_ms}");
        }
        // Without a velocity, too, the question is wrong.
        let Freshness::Fresh(still) = at(&heard(), 1100) else { panic!() };
        assert!(still.pose_at(grasp, StampNs(200_000 * MS)).is_err());
    }

    #[test]
    fn a_sum_that_is_no_number_is_no_pose() {
        let Freshness::Fresh(view) = at(&carried(f64::MAX, 0.4), 1_001_100) else { panic!() };
        let grasp = view.best_grasp().unwrap().unwrap().grasp;
        let told = view.pose_at(grasp, StampNs(1_011_000 * MS));
        assert_eq!(told, Err(NoPose::NotFinite));
        let mut on_arm = message();
        on_arm.reference_frame = wire::ReferenceFrame::Gripper.into();
        let pose = on_arm.packages[1].grasps[0].pose.as_mut().unwrap();
        pose.position_m.as_mut().unwrap().x = f64::MAX;
        let heard = Heard { newest: Some(received(on_arm)), ..heard() };
        let Freshness::Fresh(view) = at(&heard, 1100) else { panic!() };
        let grasp = view.best_grasp().unwrap().unwrap().grasp;
        let far = Isometry3::translation(f64::MAX, 0.0, 0.0);
        assert_eq!(view.pose_in_base(grasp, &far), Err(NoPose::NotFinite));
    }

    #[test]
    fn an_arm_gets_a_pose_in_base_or_none() {
        let Freshness::Fresh(view) = at(&heard(), 1100) else { panic!() };
        let best = view.best_grasp().unwrap().unwrap();
        assert_eq!(best.base_from_grasp().unwrap()[2], [0.0, 0.0, -1.0, 0.1]);
        for (frame, told) in [
            (wire::ReferenceFrame::Camera as i32, "hand-eye calibration"),
            (wire::ReferenceFrame::Gripper as i32, "pose_in_base"),
            (99, "does not know"),
        ] {
            let message = wire::Packages {
                reference_frame: frame,
                velocity: Some(wire::Velocity {
                    linear_m_s: Some(wire::Vector3::default()),
                    ..Default::default()
                }),
                ..message()
            };
            let heard = Heard { newest: Some(received(message)), ..heard() };
            let Freshness::Fresh(view) = at(&heard, 1100) else { panic!() };
            let best = view.best_grasp().unwrap().unwrap();
            let refused = best.base_from_grasp().unwrap_err();
            assert!(matches!(refused, NoPose::WrongFrame(_)), "{refused:?}");
            assert!(refused.to_string().contains(told), "{refused}");
            let later = view.pose_at(best.grasp, StampNs(1100 * MS)).unwrap().unwrap();
            assert!(later.base_from_grasp().is_err());
        }
        let hand = Arc::new(HandClock::at_ms(1100));
        let clock: SharedClock = hand.clone();
        let Freshness::Fresh(view) = assess(&heard(), TRUST, &clock) else { panic!() };
        let best = view.best_grasp().unwrap().unwrap();
        hand.now_ns.store(1201 * MS, Ordering::Relaxed);
        assert!(matches!(best.base_from_grasp(), Err(NoPose::Expired(_))));
    }

    #[test]
    fn a_pose_in_the_gripper_is_brought_to_base_by_where_the_arm_was() {
        let Freshness::Fresh(view) = at(&heard(), 1100) else { panic!() };
        let base_from_gripper = Isometry3::translation(0.0, 0.0, 0.5);
        let grasp = view.best_grasp().unwrap().unwrap().grasp.clone();
        let told = view.pose_in_base(&grasp, &base_from_gripper).unwrap_err().to_string();
        assert!(told.starts_with("the pose is in base (\"base\"), not in gripper"), "{told}");
        let mut on_arm = message();
        on_arm.reference_frame = wire::ReferenceFrame::Gripper.into();
        let heard = Heard { newest: Some(received(on_arm)), ..heard() };
        let Freshness::Fresh(view) = at(&heard, 1100) else { panic!() };
        let found = view.pose_in_base(&grasp, &base_from_gripper).unwrap();
        assert_eq!(found.position_m, Some(wire::Vector3 { x: 0.4, y: 0.0, z: 0.6 }));
    }

    #[test]
    fn messages_that_are_not_whole_are_refused() {
        let refusal = |change: fn(&mut wire::Packages)| {
            let mut message = message();
            change(&mut message);
            check_packages(&message, "dock", VALID_MAX).unwrap_err()
        };
        assert_eq!(check_packages(&message(), "dock", VALID_MAX), Ok(()));
        let velocity = |x, sigma_m_s| {
            let linear_m_s = Some(wire::Vector3 { x, y: 0.0, z: 0.0 });
            let velocity = Some(wire::Velocity { linear_m_s, sigma_m_s });
            check_packages(&wire::Packages { velocity, ..message() }, "dock", VALID_MAX)
        };
        assert_eq!(velocity(0.2, 0.01), Ok(()));
        assert_eq!(velocity(0.2, f64::NAN), Err(Refusal::Velocity));
        assert_eq!(refusal(|m| m.schema_version = 2), Refusal::SchemaVersion { found: 2 });
        assert_eq!(refusal(|m| m.cell = "b".into()), Refusal::Cell { found: "b".into() });
        assert_eq!(refusal(|m| m.valid_until_ns = 1), Refusal::Times);
        let hour = Refusal::Validity { valid_ms: 3_600_000, valid_ms_max: 1000 };
        assert_eq!(refusal(|m| m.valid_until_ns = m.stamp_ns + 3_600_000 * MS), hour);
        let pose = Refusal::Package { index: 1, what: "has a grasp without a finite pose" };
        assert_eq!(refusal(|m| m.packages[1].grasps[0].pose = None), pose);
        let torn = Refusal::Package { index: 0, what: "has a mask that is not one of the picture" };
        assert_eq!(refusal(|m| m.image_width_px = 640), torn);
        let short = |m: &mut wire::Packages| {
            m.packages[0].mask.as_mut().unwrap().counts = b"1".to_vec();
        };
        assert_eq!(refusal(short), torn);
        let no_mask = Refusal::Package { index: 0, what: "has no mask or no bbox" };
        assert_eq!(refusal(|m| m.packages[0].mask = None), no_mask);
    }
}

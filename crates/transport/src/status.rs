//! The heartbeat: how the publisher is doing, ten times a second and at every change.

use std::sync::Arc;
use std::time::Duration;

use magpie_perception::StampNs;
use magpie_wire::{self as wire, Reason, State};
use prost::Message;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::latencies::percentiles;
use crate::shared::Shared;

const HEARTBEAT_PERIOD: Duration = Duration::from_millis(100);

/// What the program says about itself; the transport adds counters, latencies and identities.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusSnapshot {
    pub state: State,
    /// Why the state is not [`State::Ok`].
    pub reasons: Vec<Reason>,
    /// The camera's own state, for people.
    pub camera: String,
    /// `None` while no fixed fiducials are watched, or none were seen yet.
    pub drift: Option<DriftStatus>,
    /// How often the machine's Unix time was set while the program ran.
    pub clock_steps: u64,
}

/// How far the camera has moved since it was calibrated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DriftStatus {
    /// The largest distance of a fiducial point from where it was.
    pub displacement_mm: f64,
    pub rotation_deg: f64,
    pub points: u32,
    pub stamp: StampNs,
    pub limit_mm: f64,
}

impl DriftStatus {
    fn to_wire(self, unix_ahead_ns: i64) -> wire::Drift {
        wire::Drift {
            displacement_mm: self.displacement_mm,
            rotation_deg: self.rotation_deg,
            points: self.points,
            stamp_ns: self.stamp.unix_ns(unix_ahead_ns),
            limit_mm: self.limit_mm,
        }
    }
}

impl Default for StatusSnapshot {
    fn default() -> StatusSnapshot {
        StatusSnapshot {
            state: State::Starting,
            reasons: Vec::new(),
            camera: String::new(),
            drift: None,
            clock_steps: 0,
        }
    }
}

/// Says how the program is doing. Every change is sent at once.
#[derive(Clone, Debug)]
pub struct StatusHandle {
    sender: Arc<watch::Sender<StatusSnapshot>>,
}

impl StatusHandle {
    pub(crate) fn new() -> StatusHandle {
        StatusHandle { sender: Arc::new(watch::Sender::new(StatusSnapshot::default())) }
    }

    pub fn set(&self, snapshot: StatusSnapshot) {
        self.update(|current| *current = snapshot);
    }

    pub fn update(&self, change: impl FnOnce(&mut StatusSnapshot)) {
        self.sender.send_if_modified(|current| {
            let before = current.clone();
            change(current);
            *current != before
        });
    }

    pub fn current(&self) -> StatusSnapshot {
        self.sender.borrow().clone()
    }

    pub(crate) fn state(&self) -> State {
        self.sender.borrow().state
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<StatusSnapshot> {
        self.sender.subscribe()
    }
}

/// Runs until it is aborted or the session is closed.
pub(crate) async fn beat(
    shared: Arc<Shared>,
    mut snapshots: watch::Receiver<StatusSnapshot>,
    publisher: zenoh::pubsub::Publisher<'static>,
) {
    let mut ticks = interval(HEARTBEAT_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let snapshot = snapshots.borrow_and_update().clone();
        let message = to_wire(&shared, snapshot).encode_to_vec();
        shared.sent.note(&message);
        if publisher.put(message).await.is_err() {
            return;
        }
        tokio::select! {
            _ = ticks.tick() => {}
            changed = snapshots.changed() => if changed.is_err() { return },
        }
    }
}

pub(crate) fn to_wire(shared: &Shared, snapshot: StatusSnapshot) -> wire::Status {
    let (now, unix_ahead_ns) = (shared.clock.now(), shared.clock.unix_ahead_ns());
    let identities = shared.identities();
    wire::Status {
        schema_version: wire::SCHEMA_VERSION,
        cell: shared.cell.to_string(),
        instance_id: shared.instance_id.clone(),
        sent_ns: now.unix_ns(unix_ahead_ns),
        uptime_ns: now.since_ns(shared.started),
        state: snapshot.state.into(),
        reasons: snapshot.reasons.iter().map(Reason::to_string).collect(),
        reasons_coded: snapshot.reasons.iter().map(Into::into).collect(),
        camera: snapshot.camera,
        counters: Some(wire::counters_to_wire(
            &shared.counters.snapshot(),
            shared.results_superseded(),
        )),
        latency: Some(percentiles(&shared.latest_latencies_us())),
        model: Some(identities.as_ref().into()),
        calibration_id: identities.calibration_id.clone(),
        providers_asked: identities.provider_names(),
        provider_got: identities.provider_got.name().into(),
        drift: snapshot.drift.map(|drift| drift.to_wire(unix_ahead_ns)),
        clock_steps: snapshot.clock_steps,
        listens: shared.listens.clone(),
        picks: Some(shared.outcomes.counters()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_is_told() {
        let handle = StatusHandle::new();
        let mut receiver = handle.subscribe();
        receiver.mark_unchanged();
        handle.update(|snapshot| snapshot.state = State::Starting);
        assert!(!receiver.has_changed().unwrap());
        handle.update(|snapshot| snapshot.state = State::Ok);
        assert!(receiver.has_changed().unwrap());
    }
}

//! What a subscriber has heard of a cell so far, and the callbacks that keep it up to date.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use magpie_network::NetworkError;
use magpie_perception::{SharedClock, StampNs};
use magpie_wire::freshness::{Heard, Heartbeat, Received, Trust, assess, decode_status, lost};
use magpie_wire::{self as wire, Freshness, LostReason, Refusal};
use zenoh::pubsub::Subscriber;
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

use crate::ClientOptions;

/// What happened on the way so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SubscriberCounters {
    pub received: u64,
    /// Published, as the gaps in the numbering say, but never received.
    pub missed: u64,
    pub refused: u64,
    /// How often another publisher took over.
    pub restarts: u64,
    /// Messages of a publisher that is not the one of the heartbeat; none of them counts.
    pub foreign: u64,
}

/// Filled by zenoh's receiving thread, read by the subscriber.
pub(crate) struct SharedInbox {
    inbox: Mutex<Inbox>,
    arrived: Condvar,
}

pub(crate) struct Inbox {
    pub(crate) heard: Heard,
    pub(crate) counters: SubscriberCounters,
    /// When the client was closed, unless it is open.
    pub(crate) closed: Option<StampNs>,
    trust: Trust,
    /// Who published last, and the number of that publication.
    last: Option<(String, u64)>,
    /// How many messages had been received when a result was last handed out.
    handed_out: u64,
    /// Whether another publisher took over since a result was handed out that may be acted upon.
    restarted: bool,
}

/// What fills an inbox, until it is dropped.
pub(crate) type Ears = Vec<Subscriber<()>>;

impl SharedInbox {
    /// Listens to whether the daemon is there, and to its heartbeat, and goes on from what was
    /// `heard` so far. The callbacks run on zenoh's receiving thread: they keep the newest and
    /// return.
    pub(crate) fn listen(
        session: &Session,
        options: &ClientOptions,
        heard: Heard,
    ) -> Result<(Arc<SharedInbox>, Ears), NetworkError> {
        let inbox = Mutex::new(Inbox::new(heard, options.trust()));
        let shared = Arc::new(SharedInbox { inbox, arrived: Condvar::new() });

        let (clock, inbox) = (options.clock.clone(), shared.clone());
        let on_alive = move |sample: Sample| {
            if sample.kind() == SampleKind::Delete {
                inbox.change(|inbox| inbox.forget(clock.now()));
            }
        };
        let key = options.cell.key("alive");
        let alive = session.liveliness().declare_subscriber(&key).history(true).callback(on_alive);
        let alive = declared(&key, alive.wait())?;

        let (clock, inbox, cell) = (options.clock.clone(), shared.clone(), options.cell.clone());
        let on_status = move |sample: Sample| {
            match decode_status(&sample.payload().to_bytes(), cell.as_str()) {
                Ok(status) => inbox.change(|inbox| inbox.receive_status(status, clock.now())),
                Err(Refusal::SchemaVersion { found }) => {
                    inbox.change(|inbox| inbox.receive_version(found, clock.now()));
                }
                // What nobody can read says nothing about who lives.
                Err(_) => {}
            }
        };
        let key = options.cell.key("status");
        let status = session.declare_subscriber(&key).callback(on_status);
        let status = declared(&key, status.wait())?;
        Ok((shared, vec![alive, status]))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the inbox and wakes whoever waits for that.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Inbox)) {
        change(&mut self.lock());
        self.arrived.notify_all();
    }

    /// Waits while `is_old` says that there is nothing new, at most for `timeout`.
    pub(crate) fn wait_while(
        &self,
        timeout: Duration,
        is_old: impl FnMut(&mut Inbox) -> bool,
    ) -> MutexGuard<'_, Inbox> {
        let waited = self.arrived.wait_timeout_while(self.lock(), timeout, is_old);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Gaps in the numbering that are believed to be lost messages: ten minutes at 15 a second.
const GAP_MAX: u64 = 9_000;

pub(crate) fn declared<T>(key: &str, result: zenoh::Result<T>) -> Result<T, NetworkError> {
    result.map_err(|source| NetworkError::Declare { key: key.into(), source })
}

impl Inbox {
    fn new(heard: Heard, trust: Trust) -> Inbox {
        Inbox {
            heard,
            counters: SubscriberCounters::default(),
            closed: None,
            trust,
            last: None,
            handed_out: 0,
            restarted: false,
        }
    }

    /// Whether anything came since a result was last handed out.
    pub(crate) fn has_new(&self) -> bool {
        self.closed.is_none() && self.counters.received != self.handed_out
    }

    /// Whether there is something to wait for.
    pub(crate) fn awaits_news(&self) -> bool {
        self.closed.is_none() && !self.has_new()
    }

    /// Since when nothing may be acted upon, whatever comes, and why.
    pub(crate) fn lost(&self, now: StampNs) -> Option<(StampNs, LostReason)> {
        let closed = self.closed.map(|at| (at, LostReason::Closed));
        closed.or_else(|| lost(&self.heard, self.trust, now))
    }

    /// How things stand. Nothing is new after that.
    pub(crate) fn hand_out(&mut self, clock: &SharedClock) -> Freshness {
        self.handed_out = self.counters.received;
        if let Some(since) = self.closed {
            return Freshness::Lost { since, why: LostReason::Closed };
        }
        let freshness = assess(&self.heard, self.trust, clock);
        if let (Freshness::Fresh(_), Some(newest)) = (&freshness, &mut self.heard.newest) {
            // A restart is told once, with the first result that is handed out after it.
            (self.restarted, newest.restarted) = (false, false);
        }
        freshness
    }

    /// The heartbeat says which instance speaks for the cell. Another one takes over only when that
    /// one has been silent.
    fn receive_status(&mut self, status: wire::Status, at: StampNs) {
        if self.is_foreign(&status.instance_id, at) {
            self.counters.foreign += 1;
            self.heard.rival = Some(at);
            return;
        }
        let speaks = |last: &&Heartbeat| last.status.instance_id == status.instance_id;
        let speaking = self.heard.heartbeat.as_ref().filter(speaks);
        let since = speaking.map_or(at, |last| last.since);
        if speaking.is_none() {
            // What the one before said may be valid for long, and counts no more.
            (self.heard.newest, self.heard.refused) = (None, None);
        }
        if self.heard.gone.take().is_some() {
            self.heard.listening = at;
        }
        self.heard.heartbeat = Some(Heartbeat { at, since, status });
    }

    /// Somebody speaks for the cell in a version that is not known here: a newer daemon, or a rival of
    /// the one that is believed.
    fn receive_version(&mut self, found: u32, at: StampNs) {
        let is_silent = |last: &Heartbeat| self.trust.is_silent(last.at, at);
        if !self.heard.heartbeat.as_ref().is_none_or(is_silent) {
            self.counters.foreign += 1;
            self.heard.rival = Some(at);
        }
        self.heard.version = Some((at, found));
    }

    /// Whether somebody else than this instance speaks for the cell at the moment.
    fn is_foreign(&self, instance_id: &str, at: StampNs) -> bool {
        self.heard.heartbeat.as_ref().is_some_and(|last| {
            last.status.instance_id != instance_id && !self.trust.is_silent(last.at, at)
        })
    }

    /// Takes a message that came at `at`, where the reader's Unix time was `unix_ahead_ns` ahead.
    pub(crate) fn receive(
        &mut self,
        decoded: Result<wire::Packages, Refusal>,
        at: StampNs,
        unix_ahead_ns: i64,
    ) {
        self.counters.received += 1;
        let message = match decoded {
            Ok(message) => message,
            Err(refusal) => {
                self.counters.refused += 1;
                if let Refusal::SchemaVersion { found } = refusal {
                    self.heard.version = Some((at, found));
                }
                self.heard.refused = Some(refusal);
                return;
            }
        };
        let speaks = |last: &Heartbeat| last.status.instance_id == message.instance_id;
        if !self.heard.heartbeat.as_ref().is_some_and(speaks) {
            self.counters.foreign += 1;
            // The first results of a new daemon may come before its first heartbeat.
            if self.is_foreign(&message.instance_id, at) {
                self.heard.rival = Some(at);
            }
            return;
        }
        if self.is_copy(&message, at, unix_ahead_ns) {
            return;
        }
        match &self.last {
            Some((instance_id, publication)) if *instance_id == message.instance_id => {
                let gap = message.publication.saturating_sub(*publication).saturating_sub(1);
                // A longer gap is a lie, or an outage that the heartbeat has told.
                if gap <= GAP_MAX {
                    self.counters.missed += gap;
                }
            }
            Some(_) => {
                self.counters.restarts += 1;
                self.restarted = true;
            }
            None => {}
        }
        self.last = Some((message.instance_id.clone(), message.publication));
        self.heard.refused = None;
        let (message, restarted) = (Arc::new(message), self.restarted);
        self.heard.newest = Some(Received { message, at, unix_ahead_ns, restarted });
    }

    /// A message that came by another way, too, or that a newer one overtook. Frames are told apart
    /// by their stamps, so that no number in a message can keep later frames out. A result that
    /// claims to be from the future keeps nothing out either, nor does an expired one, or one from
    /// before this machine's clock was set.
    fn is_copy(&self, message: &wire::Packages, at: StampNs, unix_ahead_ns: i64) -> bool {
        self.heard.newest.as_ref().is_some_and(|newest| {
            newest.message.instance_id == message.instance_id
                && newest.message.stamp_ns >= message.stamp_ns
                && newest.expires_at() >= at
                && newest.unix_ahead_ns == unix_ahead_ns
                && !self.trust.is_ahead(newest)
        })
    }

    /// The daemon left: nothing that it said counts any more.
    fn forget(&mut self, at: StampNs) {
        let heard = &mut self.heard;
        (heard.newest, heard.refused, heard.heartbeat) = (None, None, None);
        heard.version = None;
        heard.gone = Some(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUST: Trust = Trust {
        heartbeat_silence_max: Duration::from_millis(500),
        clock_ahead_max: Duration::from_millis(5),
    };
    const MS: u64 = 1_000_000;

    /// Number `publication` of an instance, of a frame exposed at `stamp_ms`, published 10 ms later.
    fn message(
        instance_id: &str,
        publication: u64,
        stamp_ms: u64,
    ) -> Result<wire::Packages, Refusal> {
        Ok(wire::Packages {
            instance_id: instance_id.into(),
            publication,
            stamp_ns: stamp_ms * MS,
            published_ns: (stamp_ms + 10) * MS,
            valid_until_ns: (stamp_ms + 200) * MS,
            ..Default::default()
        })
    }

    fn beat(inbox: &mut Inbox, instance_id: &str, at_ms: u64) {
        let status = wire::Status { instance_id: instance_id.into(), ..Default::default() };
        inbox.receive_status(status, StampNs(at_ms * MS));
    }

    /// One that has heard the heartbeat of instance a at 1000 ms.
    fn inbox() -> Inbox {
        let heard = Heard {
            listening: StampNs(0),
            newest: None,
            refused: None,
            heartbeat: None,
            gone: None,
            rival: None,
            version: None,
        };
        let mut inbox = Inbox::new(heard, TRUST);
        beat(&mut inbox, "a", 1000);
        inbox
    }

    /// Received 11 ms after its exposure.
    fn receive(inbox: &mut Inbox, instance_id: &str, publication: u64, stamp_ms: u64) {
        let at = StampNs((stamp_ms + 11) * MS);
        inbox.receive(message(instance_id, publication, stamp_ms), at, 0);
    }

    fn newest_stamp_ms(inbox: &Inbox) -> Option<u64> {
        inbox.heard.newest.as_ref().map(|newest| newest.message.stamp_ns / MS)
    }

    #[test]
    fn gaps_copies_and_restarts_are_told_apart() {
        let mut inbox = inbox();
        for (publication, stamp_ms) in [(7, 1001), (8, 1002), (8, 1002), (11, 1005)] {
            receive(&mut inbox, "a", publication, stamp_ms);
        }
        assert_eq!((inbox.counters.received, inbox.counters.missed), (4, 2));
        inbox.forget(StampNs(1100 * MS));
        beat(&mut inbox, "b", 1200);
        receive(&mut inbox, "b", 1, 1201);
        assert_eq!((inbox.counters.restarts, inbox.counters.foreign), (1, 0));
        assert!(inbox.heard.newest.unwrap().restarted);
    }

    #[test]
    fn a_restart_is_not_forgotten_before_it_is_told() {
        let mut inbox = inbox();
        receive(&mut inbox, "a", 1, 1001);
        beat(&mut inbox, "b", 2000);
        for publication in [1, 2] {
            receive(&mut inbox, "b", publication, 2000 + publication);
        }
        assert!(inbox.heard.newest.unwrap().restarted);
    }

    #[test]
    fn a_restart_outlives_the_departure_of_whoever_took_over() {
        let mut inbox = inbox();
        receive(&mut inbox, "a", 1, 1001);
        inbox.forget(StampNs(1100 * MS));
        beat(&mut inbox, "b", 1200);
        receive(&mut inbox, "b", 1, 1201);
        // Its connection is lost and taken up again before anybody has asked.
        inbox.forget(StampNs(1300 * MS));
        beat(&mut inbox, "b", 1400);
        receive(&mut inbox, "b", 2, 1401);
        assert!(inbox.heard.newest.unwrap().restarted);
    }

    #[test]
    fn what_a_departed_daemon_said_does_not_come_back_with_its_successor() {
        let mut inbox = inbox();
        receive(&mut inbox, "a", 1, 1001);
        inbox.forget(StampNs(1100 * MS));
        beat(&mut inbox, "b", 1200);
        assert!(inbox.heard.newest.is_none());
        receive(&mut inbox, "b", 1, 1201);
        assert!(inbox.heard.newest.unwrap().restarted);
    }

    /// That one did not leave, but fell silent, and its result would be valid for a long time.
    #[test]
    fn what_a_silent_daemon_said_does_not_come_back_under_its_successors_heartbeat() {
        let mut inbox = inbox();
        receive(&mut inbox, "a", 1, 1001);
        inbox.receive(Err(Refusal::Times), StampNs(1020 * MS), 0);
        beat(&mut inbox, "a", 1100);
        assert_eq!(newest_stamp_ms(&inbox), Some(1001));
        beat(&mut inbox, "b", 2000);
        assert_eq!(newest_stamp_ms(&inbox), None);
        assert_eq!(inbox.heard.refused, None);
        receive(&mut inbox, "b", 1, 2001);
        assert!(inbox.heard.newest.unwrap().restarted);
    }

    #[test]
    fn an_accepted_message_clears_a_refusal() {
        let mut inbox = inbox();
        inbox.receive(Err(Refusal::Times), StampNs(1000 * MS), 0);
        assert_eq!(inbox.heard.refused, Some(Refusal::Times));
        receive(&mut inbox, "a", 1, 1001);
        assert_eq!(inbox.heard.refused, None);
        assert_eq!(inbox.counters.refused, 1);
    }

    #[test]
    fn a_result_of_another_instance_is_not_taken_and_shows_as_a_rival_until_it_is_silent() {
        let mut inbox = inbox();
        receive(&mut inbox, "a", 1, 1001);
        receive(&mut inbox, "forged", 2, 1002);
        assert_eq!(newest_stamp_ms(&inbox), Some(1001));
        let lost = |inbox: &Inbox, at_ms| {
            let rival = inbox.heard.rival.filter(|at| !TRUST.is_silent(*at, StampNs(at_ms * MS)));
            rival.is_some()
        };
        assert!(lost(&inbox, 1400));
        assert!(!lost(&inbox, 1600), "it has been silent for half a second");
    }

    #[test]
    fn another_heartbeat_takes_over_only_when_the_one_before_is_silent() {
        let mut inbox = inbox();
        beat(&mut inbox, "b", 1100);
        receive(&mut inbox, "b", 1, 1101);
        assert_eq!(newest_stamp_ms(&inbox), None);
        beat(&mut inbox, "b", 1700);
        receive(&mut inbox, "b", 2, 1701);
        assert_eq!(newest_stamp_ms(&inbox), Some(1701));
    }

    #[test]
    fn a_publisher_is_new_when_it_is_first_heard_and_not_when_it_was_silent_for_a_while() {
        let mut inbox = inbox();
        let since_ms = |inbox: &Inbox| inbox.heard.heartbeat.as_ref().map(|last| last.since.0 / MS);
        beat(&mut inbox, "a", 1100);
        beat(&mut inbox, "a", 2000);
        assert_eq!(since_ms(&inbox), Some(1000));
        beat(&mut inbox, "b", 2700);
        assert_eq!(since_ms(&inbox), Some(2700));
        inbox.forget(StampNs(2800 * MS));
        beat(&mut inbox, "b", 2900);
        assert_eq!(since_ms(&inbox), Some(2900));
    }

    #[test]
    fn a_daemon_of_another_version_is_told_by_its_number_and_a_second_one_is_a_rival() {
        let why = |inbox: &Inbox, at_ms: u64| inbox.lost(StampNs(at_ms * MS)).map(|(_, why)| why);
        let mut inbox = inbox();
        beat(&mut inbox, "a", 1550);
        inbox.receive_version(2, StampNs(1600 * MS));
        assert_eq!(why(&inbox, 1650), Some(LostReason::Rival));
        // The one that was believed falls silent: this one took over.
        inbox.receive_version(2, StampNs(2200 * MS));
        assert_eq!(why(&inbox, 2250), Some(LostReason::Version { found: 2 }));
        inbox.forget(StampNs(2300 * MS));
        assert_eq!(why(&inbox, 2310), Some(LostReason::Gone));
        inbox.receive_version(2, StampNs(2400 * MS));
        assert_eq!(why(&inbox, 2410), Some(LostReason::Version { found: 2 }));
        // Its results alone tell it, too.
        inbox.receive(Err(Refusal::SchemaVersion { found: 3 }), StampNs(3500 * MS), 0);
        assert_eq!(why(&inbox, 3600), Some(LostReason::Version { found: 3 }));
        // Under the heartbeat of one that is understood they are refused, and that is all.
        beat(&mut inbox, "a", 4100);
        beat(&mut inbox, "a", 4601);
        inbox.receive(Err(Refusal::SchemaVersion { found: 3 }), StampNs(4602 * MS), 0);
        assert_eq!(why(&inbox, 4610), None);
    }

    #[test]
    fn no_number_in_a_message_keeps_later_frames_out() {
        let mut inbox = inbox();
        receive(&mut inbox, "a", u64::MAX, 1001);
        receive(&mut inbox, "a", 5, 1002);
        assert_eq!((newest_stamp_ms(&inbox), inbox.counters.missed), (Some(1002), 0));
        // Exposed in an hour, as it says.
        inbox.receive(message("a", 6, 3_600_000), StampNs(1003 * MS), 0);
        receive(&mut inbox, "a", 7, 1004);
        assert_eq!(newest_stamp_ms(&inbox), Some(1004));
    }

    #[test]
    fn frames_from_before_the_clock_was_set_back_keep_none_out() {
        let mut inbox = inbox();
        receive(&mut inbox, "a", 1, 1001);
        let set_back_ns = -900 * i64::try_from(MS).unwrap();
        inbox.receive(message("a", 2, 110), StampNs(1021 * MS), set_back_ns);
        assert_eq!(newest_stamp_ms(&inbox), Some(110));
    }
}

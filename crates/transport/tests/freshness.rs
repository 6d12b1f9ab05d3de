//! What a controller sees of a daemon that works, stalls, dies, lies about time or comes back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use magpie_client::{
    Client, ClientOptions, ExpiredWhy, Freshness, LostReason, PackagesSubscriber, Refusal,
    StaleReason, ZenohConfig, wire,
};
use magpie_perception::StampNs;
use magpie_transport::StatusSnapshot;
use magpie_wire::{Reason, State};
use prost::Message;
use support::{
    Cell, HEIGHT_PX, ShiftedClock, VALIDITY, WIDTH_PX, clock, free_endpoint, options, runtime,
    session, shifted_clock, subscriber,
};
use zenoh::Wait;
use zenoh::sample::Sample;

const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until the subscriber says what `wanted` looks for.
fn wait_for<T>(subscriber: &PackagesSubscriber, wanted: impl Fn(&Freshness) -> Option<T>) -> T {
    let mut last = None;
    for _ in 0..500 {
        let freshness = subscriber.next(PATIENCE / 500);
        if let Some(found) = wanted(&freshness) {
            return found;
        }
        last = Some(freshness);
    }
    panic!("not seen within {PATIENCE:?}; last: {last:?}");
}

fn is_lost(freshness: &Freshness) -> Option<LostReason> {
    match freshness {
        Freshness::Lost { why, .. } => Some(why.clone()),
        _ => None,
    }
}

#[test]
fn a_published_result_arrives_whole_and_fresh() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    cell.transport.status().set(StatusSnapshot { state: State::Ok, ..Default::default() });
    let reader = subscriber("dock", &endpoint, clock());
    cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
    cell.publish();
    let view = wait_for(&reader, |f| match f {
        Freshness::Fresh(view) if view.for_display().sequence == cell.sequence => {
            Some(view.clone())
        }
        _ => None,
    });
    let packages = view.packages().unwrap();
    assert_eq!(packages.len(), 3);
    assert_eq!(packages[1].r#type, "padded_mailer");
    let mask = magpie_perception::Mask::try_from(packages[0].mask.as_ref().unwrap()).unwrap();
    assert_eq!((mask.width_px(), mask.height_px()), (WIDTH_PX, HEIGHT_PX));
    assert!(mask.contains(20, 20) && !mask.contains(160, 200));
    let best = view.best_grasp().unwrap().unwrap();
    assert_eq!((best.package.track_id, best.frame_id), (1, "base"));
    assert_eq!(best.grasp.pose.unwrap().position_m.unwrap().z, 0.12);
    let message = view.for_display();
    assert_eq!((message.state(), message.provider_got.as_str()), (State::Ok, "cpu"));
    assert_eq!(message.providers_asked, ["cuda", "cpu"]);
}

#[test]
fn a_result_that_has_expired_before_it_is_published_comes_without_its_packages() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let reader = subscriber("dock", &endpoint, clock());
    cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
    let session = session(&endpoint);
    let (sender, receiver) = std::sync::mpsc::sync_channel(64);
    let on_sample = move |sample: Sample| drop(sender.try_send(sample));
    session
        .declare_subscriber("magpie/dock/packages")
        .callback(on_sample)
        .background()
        .wait()
        .unwrap();
    let now = cell.clock.now();
    cell.publish_until(|| receiver.try_recv().is_ok());
    cell.publish_stamped(StampNs(now.0 - 2 * u64::try_from(VALIDITY.as_nanos()).unwrap()));
    let sequence = cell.sequence;
    let late = std::iter::from_fn(|| receiver.recv_timeout(PATIENCE).ok())
        .map(|sample| wire::Packages::decode(&*sample.payload().to_bytes()).unwrap())
        .find(|message| message.sequence == sequence)
        .expect("it is published all the same: silence means trouble");
    assert!(late.published_ns > late.valid_until_ns);
    assert!(late.packages.is_empty());
    let view = reader.latest();
    assert!(!matches!(&view, Freshness::Fresh(view) if view.for_display().sequence == sequence));
}

#[test]
fn a_result_expires_while_the_heartbeat_goes_on() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let reader = subscriber("dock", &endpoint, clock());
    let mut kept = None;
    cell.publish_until(|| match reader.latest() {
        Freshness::Fresh(view) => kept.replace(view).is_some(),
        _ => false,
    });
    let kept = kept.unwrap();
    std::thread::sleep(VALIDITY);
    let why = wait_for(&reader, |f| match f {
        Freshness::Stale(why) => Some(why.clone()),
        _ => None,
    });
    assert!(matches!(why, StaleReason::Expired { .. }), "{why}");
    assert_eq!(kept.best_grasp().unwrap_err().sequence, kept.for_display().sequence);
}

#[test]
fn a_daemon_that_leaves_is_lost_and_its_successor_is_told_apart() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let reader = subscriber("dock", &endpoint, clock());
    cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
    drop(cell);
    assert_eq!(wait_for(&reader, is_lost), LostReason::Gone);

    let mut successor = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let mut restarted = Vec::new();
    successor.publish_until(|| {
        if let Freshness::Fresh(view) = reader.latest() {
            restarted.push(view.restarted());
        }
        restarted.len() == 3
    });
    assert_eq!(restarted, [true, false, false], "told once");
    assert_eq!(reader.counters().restarts, 1);
}

#[test]
fn a_daemon_whose_heartbeat_stops_is_lost_although_it_is_still_connected() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let reader = subscriber("dock", &endpoint, clock());
    cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
    // The heartbeat's task dies with its runtime; session and token stay.
    runtime.shutdown_background();
    let why = wait_for(&reader, is_lost);
    assert!(matches!(why, LostReason::Silent { silent_ms: 500.. }), "{why}");
}

#[test]
fn a_fault_that_the_daemon_reports_is_lost_with_its_reason() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let reader = subscriber("dock", &endpoint, clock());
    cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
    let on_fire = Reason::Fault { why: "the camera is on fire".into() };
    cell.transport.status().update(|status| {
        status.state = State::Fault;
        status.reasons = vec![on_fire.clone()];
    });
    let why = wait_for(&reader, is_lost);
    assert_eq!(why, LostReason::Fault { reasons: vec![(&on_fire).into()] });
}

#[test]
fn a_result_of_another_instance_is_never_fresh_and_a_rival_is_told_until_it_is_silent() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let reader = subscriber("dock", &endpoint, clock());
    cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
    let forger = session(&endpoint);
    let mut forged = wire::Packages {
        schema_version: wire::SCHEMA_VERSION,
        cell: "dock".into(),
        instance_id: "forged".into(),
        publication: u64::MAX,
        stamp_ns: cell.clock.now().0,
        reference_frame: wire::ReferenceFrame::Base.into(),
        image_width_px: WIDTH_PX,
        image_height_px: HEIGHT_PX,
        ..Default::default()
    };
    forged.published_ns = forged.stamp_ns;
    forged.valid_until_ns = forged.stamp_ns + 1_000_000_000;
    let is_rival = |freshness: &Freshness| {
        if let Freshness::Fresh(view) = freshness {
            assert_ne!(view.for_display().instance_id, "forged");
        }
        is_lost(freshness).filter(|why| *why == LostReason::Rival)
    };
    forger.put("magpie/dock/packages", forged.encode_to_vec()).wait().unwrap();
    wait_for(&reader, is_rival);
    // This one claims to be of the true instance, but is numbered beyond every later one.
    forged.instance_id = cell.transport.instance_id().into();
    forger.put("magpie/dock/packages", forged.encode_to_vec()).wait().unwrap();
    std::thread::sleep(Duration::from_millis(600));
    let published = cell.sequence;
    cell.publish_until(|| match reader.latest() {
        Freshness::Fresh(view) => view.for_display().sequence > published,
        _ => false,
    });
    // An hour is longer than anybody believes.
    forged.stamp_ns = cell.clock.now().0;
    forged.published_ns = forged.stamp_ns;
    forged.valid_until_ns = forged.stamp_ns + 3_600_000_000_000;
    forger.put("magpie/dock/packages", forged.encode_to_vec()).wait().unwrap();
    wait_for(&reader, |freshness| match freshness {
        Freshness::Stale(StaleReason::Refused(Refusal::Validity { .. })) => Some(()),
        _ => None,
    });
}

#[test]
fn the_heartbeat_tells_codes_and_its_silence_is_lost() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let zenoh = ZenohConfig::Connect(vec![endpoint]);
    let options = ClientOptions::new(support::cell("dock"), zenoh, clock());
    let reader = Client::open(options).unwrap();
    cell.transport.status().update(|status| {
        status.state = State::Degraded;
        status.reasons = vec![Reason::RecordingBehind];
    });
    let is_degraded = |status: &wire::Status| status.state() == State::Degraded;
    let every_50_ms = || {
        (0..100).map(|_| {
            std::thread::sleep(PATIENCE / 100);
            reader.status()
        })
    };
    let heard = every_50_ms().find_map(|status| status.ok().filter(is_degraded));
    let heard = heard.expect("the heartbeat says so");
    assert_eq!(heard.reasons_coded[0].code, "recording_behind");
    assert_eq!(heard.reasons, [heard.reasons_coded[0].text.clone()]);
    drop(cell);
    let lost = every_50_ms().find_map(Result::err).expect("it left");
    assert!(matches!(lost.why, LostReason::Gone | LostReason::Silent { .. }), "{lost}");
}

#[test]
fn without_a_daemon_of_that_cell_there_is_nothing() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let _cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let reader = subscriber("deck", &endpoint, clock());
    assert_eq!(is_lost(&reader.latest()), Some(LostReason::NeverHeard));
}

#[test]
fn a_publisher_whose_clock_is_ahead_is_not_believed() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let ahead = magpie_transport::TransportOptions {
        clock: shifted_clock(2_000),
        ..options("dock", &endpoint)
    };
    let mut cell = Cell::open(ahead, &runtime).unwrap();
    let reader = subscriber("dock", &endpoint, clock());
    cell.publish_until(|| {
        matches!(reader.latest(), Freshness::Stale(StaleReason::ClockAhead { by_ns }) if by_ns > 1_900_000_000)
    });
}

#[test]
fn a_publisher_whose_clock_is_behind_sends_what_has_expired() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let behind = magpie_transport::TransportOptions {
        clock: shifted_clock(-2_000),
        ..options("dock", &endpoint)
    };
    let mut cell = Cell::open(behind, &runtime).unwrap();
    let reader = subscriber("dock", &endpoint, clock());
    cell.publish_until(|| {
        matches!(reader.latest(), Freshness::Stale(StaleReason::ArrivedExpired { .. }))
    });
}

#[test]
fn stamps_follow_the_clock_and_nothing_from_before_it_was_set_counts() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let (here, there) = (Arc::new(ShiftedClock::default()), Arc::new(ShiftedClock::default()));
    let publisher =
        magpie_transport::TransportOptions { clock: there.clone(), ..options("dock", &endpoint) };
    let mut cell = Cell::open(publisher, &runtime).unwrap();
    let reader = subscriber("dock", &endpoint, here.clone());
    for set_ns in [7_200_000_000_000, -7_200_000_000_000, 0] {
        cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
        let Freshness::Fresh(kept) = reader.latest() else { continue };
        // The publisher's machine is set first, and this one follows: two machines of one cell.
        there.unix_ahead_ns.store(set_ns, Ordering::Relaxed);
        cell.publish_until(|| {
            matches!(
                reader.latest(),
                Freshness::Stale(
                    StaleReason::ClockAhead { .. } | StaleReason::ArrivedExpired { .. }
                )
            )
        });
        here.unix_ahead_ns.store(set_ns, Ordering::Relaxed);
        assert_eq!(kept.packages().unwrap_err().why, ExpiredWhy::ClockStepped);
        assert!(
            matches!(reader.latest(), Freshness::Stale(StaleReason::ClockStepped { .. })),
            "nothing has been published since"
        );
    }
    cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
}

#[test]
fn messages_of_another_schema_or_of_no_schema_are_refused() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let reader = subscriber("dock", &endpoint, clock());
    cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
    let impostor = session(&endpoint);
    let newer = wire::Packages { schema_version: 2, ..Default::default() }.encode_to_vec();
    let refusal = |reader: &PackagesSubscriber| {
        wait_for(reader, |f| match f {
            Freshness::Stale(StaleReason::Refused(refusal)) => Some(refusal.clone()),
            _ => None,
        })
    };
    impostor.put("magpie/dock/packages", newer).wait().unwrap();
    assert_eq!(refusal(&reader), Refusal::SchemaVersion { found: 2 });
    cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
    impostor.put("magpie/dock/packages", vec![0xff; 9]).wait().unwrap();
    assert!(matches!(refusal(&reader), Refusal::Undecodable { .. }));
    assert_eq!(reader.counters().refused, 2);
}

#[test]
fn results_lost_on_the_way_are_counted() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let reader = subscriber("dock", &endpoint, clock());
    while reader.status().is_none() {
        reader.next(PATIENCE / 500);
    }
    let lossy = session(&endpoint);
    for publication in [1, 2, 6] {
        let stamp_ns = cell.clock.now().0;
        let message = wire::Packages {
            schema_version: wire::SCHEMA_VERSION,
            cell: "dock".into(),
            instance_id: cell.transport.instance_id().into(),
            publication,
            stamp_ns,
            published_ns: stamp_ns,
            valid_until_ns: stamp_ns + 1_000_000_000,
            reference_frame: wire::ReferenceFrame::Base.into(),
            image_width_px: WIDTH_PX,
            image_height_px: HEIGHT_PX,
            ..Default::default()
        };
        lossy.put("magpie/dock/packages", message.encode_to_vec()).wait().unwrap();
    }
    for _ in 0..500 {
        if reader.counters().received == 3 {
            break;
        }
        reader.next(PATIENCE / 500);
    }
    let counters = reader.counters();
    assert_eq!((counters.received, counters.missed), (3, 3));
}

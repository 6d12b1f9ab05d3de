//! A secured cell, as scripts/certificates makes it of systemd/secure: who reads, asks and publishes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use magpie_client::wire::Outcome;
use magpie_client::{
    Client, ClientOptions, Freshness, LostReason, PackagesSubscriber, PickReport, QueryError,
};
use magpie_network::{NetworkError, ZenohConfig};
use magpie_transport::TransportOptions;
use support::site::{Site, address};
use support::{Cell, cell, clock, options, runtime};
use zenoh::sample::{Sample, SampleKind};
use zenoh::{Session, Wait};

fn daemon(site: &Site) -> TransportOptions {
    TransportOptions { zenoh: site.zenoh("daemon"), ..options("dock", "") }
}

/// A session of one's own, as any program may open one.
fn session(site: &Site, who: &str) -> Session {
    zenoh::open(zenoh::Config::from_file(site.path("dock", who)).unwrap()).wait().unwrap()
}

fn as_reader(zenoh: ZenohConfig) -> ClientOptions {
    ClientOptions {
        // Two cores may be busy with other tests.
        heartbeat_silence_max: Duration::from_secs(2),
        ..ClientOptions::new(cell("dock"), zenoh, clock())
    }
}

fn join(zenoh: ZenohConfig) -> Result<PackagesSubscriber, NetworkError> {
    Client::open(as_reader(zenoh))?.packages()
}

fn camera_info(zenoh: ZenohConfig) -> Result<String, QueryError> {
    let client = Client::open(as_reader(zenoh)).unwrap();
    client.camera_info(Duration::from_secs(3)).map(|info| info.camera_name)
}

#[track_caller]
fn check_kept_out(who: &str, zenoh: ZenohConfig) {
    let error = join(zenoh).map(|_| ()).unwrap_err();
    assert!(matches!(error, NetworkError::Connect { .. }), "{who}: {error}");
}

#[test]
fn the_arm_reads_and_asks_and_the_viewer_reads() {
    let (runtime, site) = (runtime(), Site::new(&address()));
    let mut cell = Cell::open(daemon(&site), &runtime).unwrap();
    let arm = join(site.zenoh("arm")).unwrap();
    let viewer = join(site.zenoh("viewer")).unwrap();
    cell.publish_until(|| matches!(arm.latest(), Freshness::Fresh(_)));
    cell.publish_until(|| matches!(viewer.latest(), Freshness::Fresh(_)));
    assert_eq!(camera_info(site.zenoh("arm")).unwrap(), "test");
    let refused = camera_info(site.zenoh("viewer"));
    assert!(matches!(refused, Err(QueryError::Unanswered { .. })), "{refused:?}");

    let client = Client::open(as_reader(site.zenoh("arm"))).unwrap();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| client.capture(Duration::from_secs(5)));
        cell.publish_until(|| asking.is_finished());
        asking.join().unwrap().unwrap();
    });
}

#[test]
fn strangers_and_those_without_a_certificate_do_not_get_in() {
    let (runtime, address) = (runtime(), address());
    let site = Site::new(&address);
    let _cell = Cell::open(daemon(&site), &runtime).unwrap();

    let stranger = Site::new(&address);
    check_kept_out("a stranger who knows another CA", stranger.zenoh("arm"));
    let own = stranger.folder.path().join("dock/arm/ca.pem");
    let right = site.folder.path().join("ca.pem");
    stranger.edit("dock", "arm", own.to_str().unwrap(), right.to_str().unwrap());
    check_kept_out("a stranger who knows this CA", stranger.zenoh("arm"));

    site.edit("dock", "viewer", "enable_mtls: true", "enable_mtls: false");
    check_kept_out("nobody, by TLS", site.zenoh("viewer"));
    let plain = ZenohConfig::Connect(vec![format!("tcp/{address}:17447")]);
    check_kept_out("nobody, by TCP", plain);
}

#[test]
fn the_arm_of_another_cell_hears_nothing() {
    let (runtime, site) = (runtime(), Site::new(&address()));
    site.add("deck");
    let mut cell = Cell::open(daemon(&site), &runtime).unwrap();
    let other = join(ZenohConfig::File(site.path("deck", "arm"))).unwrap();
    let arm = join(site.zenoh("arm")).unwrap();
    cell.publish_until(|| matches!(arm.latest(), Freshness::Fresh(_)));
    for _ in 0..20 {
        cell.publish();
        let heard = other.next(Duration::from_millis(20));
        let Freshness::Lost { why: LostReason::NeverHeard, .. } = heard else {
            panic!("{heard:?}")
        };
    }
}

#[test]
fn a_reader_s_certificate_does_not_make_a_daemon() {
    let (runtime, site) = (runtime(), Site::new(&address()));
    for file in ["dock-daemon.key", "dock-daemon.pem"] {
        let reader = format!("../arm/{}", file.replace("daemon", "arm"));
        site.edit("dock", "daemon", file, &reader);
    }
    let _impostor = Cell::open(daemon(&site), &runtime).unwrap();
    check_kept_out("the viewer, by an impostor", site.zenoh("viewer"));
}

#[test]
fn a_second_daemon_of_a_secured_cell_hears_that_it_is_the_second() {
    let (runtime, site) = (runtime(), Site::new(&address()));
    let _first = Cell::open(daemon(&site), &runtime).unwrap();
    let error = Cell::open(daemon(&site), &runtime).map(|_| ()).unwrap_err();
    assert!(matches!(error, NetworkError::CellTaken { .. }), "{error}");
}

const FORGED: &[u8] = b"forged";

/// Somebody publishes, withdraws, answers and leaves in the cell's name while another reader listens
/// and asks. How much of that the reader got.
fn forged(cell: &mut Cell, forger: &Session, reader: &Session) -> usize {
    let got = Arc::new(AtomicUsize::new(0));
    let counted = || Arc::clone(&got);
    let (forgeries, results) = (counted(), Arc::new(AtomicUsize::new(0)));
    let received = Arc::clone(&results);
    let on_sample = move |sample: Sample| {
        if sample.kind() == SampleKind::Delete || sample.payload().to_bytes() == FORGED {
            forgeries.fetch_add(1, Ordering::SeqCst);
        } else if sample.key_expr().as_str().ends_with("packages") {
            received.fetch_add(1, Ordering::SeqCst);
        }
    };
    let _samples = ["packages", "status", "image", "label_image"].map(|what| {
        let key = format!("magpie/dock/{what}");
        reader.declare_subscriber(key).callback(on_sample.clone()).wait().unwrap()
    });
    let departures = counted();
    let on_presence = move |sample: Sample| {
        if sample.kind() == SampleKind::Delete {
            departures.fetch_add(1, Ordering::SeqCst);
        }
    };
    let alive = reader.liveliness().declare_subscriber("magpie/dock/alive").history(true);
    let _alive = alive.callback(on_presence).wait().unwrap();
    let answers = forger.declare_queryable("magpie/dock/camera_info").complete(true);
    let _answers = answers
        .callback(|query| _ = query.reply("magpie/dock/camera_info", FORGED).wait())
        .wait()
        .unwrap();
    cell.publish_until(|| results.load(Ordering::SeqCst) > 0);

    for _ in 0..20 {
        for what in ["packages", "status", "image", "label_image"] {
            forger.put(format!("magpie/dock/{what}"), FORGED).wait().unwrap();
        }
        forger.delete("magpie/dock/packages").wait().unwrap();
        let token = forger.liveliness().declare_token("magpie/dock/alive").wait().unwrap();
        cell.publish();
        token.undeclare().wait().unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    let replies = reader.get("magpie/dock/camera_info").timeout(Duration::from_secs(2));
    for reply in replies.wait().unwrap() {
        let sample = reply.into_result().unwrap();
        got.fetch_add(usize::from(sample.payload().to_bytes() == FORGED), Ordering::SeqCst);
    }
    // The forger's messages came before these.
    let so_far = results.load(Ordering::SeqCst);
    cell.publish_until(|| results.load(Ordering::SeqCst) > so_far + 10);
    got.load(Ordering::SeqCst)
}

#[test]
fn nobody_but_the_daemon_publishes() {
    let (runtime, site) = (runtime(), Site::new(&address()));
    let mut cell = Cell::open(daemon(&site), &runtime).unwrap();
    let arm = session(&site, "arm");
    for who in ["arm", "viewer"] {
        let forger = session(&site, who);
        assert_eq!(forged(&mut cell, &forger, &arm), 0, "forged by the {who}");
    }
    assert_eq!(camera_info(site.zenoh("arm")).unwrap(), "test");
}

#[test]
fn the_arm_reports_picks_and_nobody_else_does() {
    let (runtime, site) = (runtime(), Site::new(&address()));
    site.add("deck");
    let mut cell = Cell::open(daemon(&site), &runtime).unwrap();
    let arm = Client::open(as_reader(site.zenoh("arm"))).unwrap();
    let packages = arm.packages().unwrap();
    let mut view = None;
    cell.publish_until(|| {
        if let Freshness::Fresh(fresh) = packages.latest() {
            view = Some(fresh);
        }
        view.is_some()
    });
    let (view, held) = (view.unwrap(), PickReport::new(Outcome::Held));
    let picks = [0, 1, 2].map(|package| view.pick_at(package, 0).unwrap());
    let viewer = Client::open(as_reader(site.zenoh("viewer"))).unwrap();
    let zenoh = ZenohConfig::File(site.path("deck", "arm"));
    let other = Client::open(as_reader(zenoh)).unwrap();
    for who in [&viewer, &other] {
        who.report_outcome(&picks[0], &held).unwrap();
        // It is sent all the same, and gets as far as the rules allow.
        std::thread::sleep(Duration::from_millis(300));
    }
    arm.report_outcome(&picks[1], &held).unwrap();
    let counted = || cell.transport.status_message().picks.unwrap();
    let arrived = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        counted().reports() > 0
    });
    assert!(arrived, "the arm's report did not come");
    let tracks: Vec<_> =
        cell.transport.fetch_outcomes().iter().map(|told| told.message.track_id).collect();
    assert_eq!((tracks, counted().reports()), (vec![picks[1].track_id()], 1));
}

#[test]
fn in_an_open_cell_anybody_publishes() {
    let (runtime, endpoint) = (runtime(), support::free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let (forger, reader) = (support::session(&endpoint), support::session(&endpoint));
    assert!(forged(&mut cell, &forger, &reader) > 20, "the trial above would show nothing");
}

#[test]
fn a_namespace_holds_for_everything_that_a_cell_says() {
    let (runtime, endpoint, folder) =
        (runtime(), support::free_endpoint(), tempfile::tempdir().unwrap());
    let write = |name: &str, text: String| {
        let path = folder.path().join(format!("{name}.json5"));
        std::fs::write(&path, text).unwrap();
        ZenohConfig::File(path)
    };
    let alone = "scouting: {multicast: {enabled: false}, gossip: {enabled: false}}";
    let named = format!("namespace: 'north/hall-2', {alone}");
    let daemon = write("daemon", format!("{{listen: {{endpoints: ['{endpoint}']}}, {named}}}"));
    let client = format!("mode: 'client', connect: {{endpoints: ['{endpoint}']}}");
    let reader = write("reader", format!("{{{client}, {named}}}"));
    let outside = write("outside", format!("{{{client}, {alone}}}"));

    let opened = || TransportOptions { zenoh: daemon.clone(), ..options("dock", "") };
    let mut cell = Cell::open(opened(), &runtime).unwrap();
    let inside = join(reader.clone()).unwrap();
    cell.publish_until(|| matches!(inside.latest(), Freshness::Fresh(_)));
    assert_eq!(camera_info(reader).unwrap(), "test");
    let outside = join(outside).unwrap();
    for _ in 0..5 {
        cell.publish();
        let heard = outside.next(Duration::from_millis(50));
        let Freshness::Lost { why: LostReason::NeverHeard, .. } = heard else {
            panic!("{heard:?}")
        };
    }
    let second = Cell::open(opened(), &runtime).map(|_| ()).unwrap_err();
    assert!(matches!(second, NetworkError::CellTaken { .. }), "{second}");
}

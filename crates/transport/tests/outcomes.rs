//! Reports of picks over the network: which are taken, and why others are not.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use magpie_client::wire::{self, Outcome};
use magpie_client::{
    Client, Freshness, OutcomeRefusal, PackagesView, PickReport, ReportError, ZenohConfig,
};
use prost::Message;
use support::{Cell, free_endpoint, options, runtime, session};
use zenoh::Wait;

fn connect(endpoint: &str) -> Client {
    Client::connect_by("dock", ZenohConfig::Connect(vec![endpoint.into()])).unwrap()
}

fn fresh(cell: &mut Cell, client: &Client) -> PackagesView {
    let packages = client.packages().unwrap();
    let mut found = None;
    cell.publish_until(|| {
        if let Freshness::Fresh(view) = packages.latest() {
            found = Some(view);
        }
        found.is_some()
    });
    found.unwrap()
}

/// What the cell has counted, once so many reports have come.
fn counted(cell: &Cell, reports: u64) -> wire::PickCounters {
    let mut picks = wire::PickCounters::default();
    for _ in 0..1000 {
        picks = cell.transport.status_message().picks.unwrap();
        if picks.reports() >= reports {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(picks.reports(), reports, "{picks:?}");
    picks
}

fn refused(picks: &wire::PickCounters) -> BTreeMap<&str, u64> {
    picks.refused.iter().map(|refused| (refused.reason.as_str(), refused.count)).collect()
}

/// That the first package was held.
fn report(view: &PackagesView) -> wire::PickOutcome {
    let done_ns = view.for_display().stamp_ns + 1;
    let report = PickReport { done_ns: Some(done_ns), ..PickReport::new(Outcome::Held) };
    view.pick_at(0, 0).unwrap().report(&report, done_ns).unwrap()
}

#[test]
fn reports_are_counted_by_outcome_and_handed_on_with_what_amends_them() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let client = connect(&endpoint);
    let view = fresh(&mut cell, &client);
    let pick = |package| view.pick_at(package, 0).unwrap();
    for (package, outcome) in [(0, Outcome::Held), (1, Outcome::Double), (2, Outcome::NotTried)] {
        client.report_outcome(&pick(package), &PickReport::new(outcome)).unwrap();
    }
    // Of another result: other picks of the same packages.
    cell.publish();
    let later = fresh(&mut cell, &client);
    for (package, outcome) in [(0, Outcome::Dropped), (1, Outcome::Missed)] {
        let pick = later.pick_at(package, 0).unwrap();
        client.report_outcome(&pick, &PickReport::new(outcome)).unwrap();
    }
    let read = PickReport { package_type: "poly_bag".into(), ..PickReport::new(Outcome::Held) };
    client.report_outcome(&pick(0), &read).unwrap();

    let picks = counted(&cell, 6);
    assert_eq!(picks.by_outcome().map(|(_, count)| count), [1; 5]);
    assert_eq!((picks.amended, refused(&picks)), (1, BTreeMap::new()));
    let handed_on = cell.transport.fetch_outcomes();
    assert_eq!(handed_on.len(), 6);
    let (first, last) = (&handed_on[0].message, &handed_on[5].message);
    let named = |report: &wire::PickOutcome| {
        (report.instance_id.clone(), report.publication, report.stamp_ns, report.track_id)
    };
    assert_eq!(named(first), named(last));
    assert_eq!((first.r#type.as_str(), last.r#type.as_str()), ("", "poly_bag"));
    assert!(cell.transport.fetch_outcomes().is_empty());
}

#[test]
fn what_is_not_to_be_believed_is_counted_by_its_reason() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let client = connect(&endpoint);
    let view = fresh(&mut cell, &client);
    let stranger = session(&endpoint);
    let whole = report(&view);
    let put = |bytes: &[u8]| stranger.put("magpie/dock/outcomes", bytes).wait().unwrap();
    let changes: [fn(&mut wire::PickOutcome); 14] = [
        |report| report.schema_version = 0,
        |report| report.schema_version = 2,
        |report| report.cell = "deck".into(),
        |report| report.instance_id = "rival".into(),
        |report| report.publication = 1 << 40,
        |report| report.stamp_ns -= 1,
        |report| report.track_id = 4,
        |report| report.grasp_index = 1,
        |report| report.outcome = 6,
        |report| report.outcome = 0,
        |report| report.weight_kg = Some(f64::NAN),
        |report| report.vacuum_pa = Some(-1.0),
        |report| report.reporter = "x".repeat(65),
        |report| report.done_ns = u64::MAX,
    ];
    for change in changes {
        let mut changed = whole.clone();
        change(&mut changed);
        put(&changed.encode_to_vec());
    }
    let bytes = whole.encode_to_vec();
    put(&bytes[..bytes.len() - 1]);
    put(b"");
    put(&[b'x'; 5000]);
    stranger.delete("magpie/dock/outcomes").wait().unwrap();
    put(&bytes);
    let picks = counted(&cell, 19);
    assert_eq!(picks.held, 1);
    let expected = [
        ("cell", 1),
        ("instance", 1),
        ("number", 2),
        // Two of them are no message at all, which says no version.
        ("schema_version", 4),
        ("text", 1),
        ("time", 1),
        ("too_large", 1),
        ("undecodable", 1),
        ("unknown_grasp", 1),
        ("unknown_outcome", 2),
        ("unknown_result", 2),
        ("unknown_track", 1),
    ];
    assert_eq!(refused(&picks), BTreeMap::from(expected));

    // What the client refuses does not get that far.
    let pick = view.pick_at(0, 0).unwrap();
    let nan = PickReport { weight_kg: Some(f64::NAN), ..PickReport::new(Outcome::Held) };
    let error = client.report_outcome(&pick, &nan).unwrap_err();
    assert!(matches!(error, ReportError::Refused(OutcomeRefusal::Number { .. })), "{error}");
    let other = Client::connect_by("deck", ZenohConfig::Connect(vec![endpoint])).unwrap();
    let error = other.report_outcome(&pick, &PickReport::new(Outcome::Held)).unwrap_err();
    assert!(matches!(error, ReportError::OtherCell { .. }), "{error}");
    client.close();
    let error = client.report_outcome(&pick, &PickReport::new(Outcome::Held)).unwrap_err();
    assert!(matches!(error, ReportError::Closed), "{error}");
    assert_eq!(counted(&cell, 19), picks);
}

#[test]
fn a_flood_is_counted_and_results_go_on() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let client = connect(&endpoint);
    let view = fresh(&mut cell, &client);
    let stranger = session(&endpoint);
    let report = report(&view).encode_to_vec();
    let flood = 3000;
    for _ in 0..flood {
        // Dropping is the sender's way with what nobody takes in time.
        let put = stranger.put("magpie/dock/outcomes", report.as_slice());
        put.congestion_control(zenoh::qos::CongestionControl::Block).wait().unwrap();
    }
    let picks = counted(&cell, flood);
    // A busy machine takes seconds for them.
    assert!(refused(&picks)["too_many"] > 1000, "{picks:?}");
    let stamp_ns = view.for_display().stamp_ns;
    let packages = client.packages().unwrap();
    cell.publish_until(|| match packages.latest() {
        Freshness::Fresh(view) => view.for_display().stamp_ns > stamp_ns,
        _ => false,
    });
}

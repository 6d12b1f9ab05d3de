//! What became of picks, from the arm's report to the recording.

use std::path::{Path, PathBuf};
use std::time::Duration;

use magpie_client::wire::{self, Outcome};
use magpie_client::{Client, Freshness, PackagesView, PickReport, ZenohConfig};
use magpie_recording::{MessageReader, RecordedMessage};
use serde_json::Value;

use super::page::{ask, free_page, wait_until_ready, web};
use super::service::Daemon;
use super::{succeed, text};

/// A fresh result with something to hold.
fn holdable(client: &Client) -> PackagesView {
    let packages = client.packages().unwrap();
    for _ in 0..600 {
        if let Freshness::Fresh(view) = packages.next(Duration::from_millis(100))
            && view.best_grasp().is_ok_and(|best| best.is_some())
        {
            return view;
        }
    }
    panic!("nothing to hold within a minute");
}

#[track_caller]
fn wait_for(what: impl Fn() -> bool) {
    let is_there = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        what()
    });
    assert!(is_there, "not within half a minute");
}

/// The files of a ring, oldest first.
fn recordings(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}

fn messages<T: prost::Message + Default>(mut reader: MessageReader<T>) -> Vec<RecordedMessage<T>> {
    std::iter::from_fn(|| reader.next_message().unwrap()).collect()
}

#[test]
fn a_report_is_counted_shown_and_recorded_with_the_result_that_was_acted_upon() {
    let folder = tempfile::tempdir().unwrap();
    let page = free_page();
    let more = format!("[recording]\nfolder = {:?}\n{}", folder.path(), web(&page));
    let daemon = Daemon::start("picked", &more);
    wait_until_ready(&page);
    let zenoh = ZenohConfig::Connect(vec![daemon.endpoint.clone()]);
    let client = Client::connect_by("picked", zenoh).unwrap();
    let view = holdable(&client);
    let best = view.best_grasp().unwrap().unwrap();
    let pick = view.pick(best.package, best.grasp).unwrap();
    let held = PickReport { weight_kg: Some(0.41), ..PickReport::new(Outcome::Held) };
    client.report_outcome(&pick, &held).unwrap();
    let read = PickReport { package_type: "poly_bag".into(), ..held };
    client.report_outcome(&pick, &read).unwrap();
    let picks = || client.status().ok().and_then(|status| status.picks).unwrap_or_default();
    wait_for(|| picks().reports() == 2);
    assert_eq!((picks().held, picks().amended, picks().refused), (1, 1, vec![]));

    let metrics = ask(&page, "/metrics").text();
    let line = "magpie_pick_outcomes_total{cell=\"picked\",outcome=\"held\"} 1";
    assert!(metrics.lines().any(|told| told == line), "{metrics}");
    let status: Value = serde_json::from_str(&ask(&page, "/api/status?after=0").text()).unwrap();
    assert_eq!(status["status"]["picks"]["held"], "1");
    let watched = succeed(&["watch", "picked", "--connect", &daemon.endpoint, "--count", "5"]);
    let watched = text(&watched.stdout);
    assert!(watched.contains("picks so far: 1 held"), "{watched}");

    // Results are recorded while that goes on.
    std::thread::sleep(Duration::from_millis(500));
    daemon.stop().unwrap();
    let paths = recordings(folder.path());
    let all = |path: &PathBuf| messages(MessageReader::outcomes(path).unwrap());
    let reports: Vec<_> = paths.iter().flat_map(all).collect();
    let [first, last] = reports.as_slice() else { panic!("{reports:?}") };
    assert_eq!((first.message.r#type.as_str(), last.message.r#type.as_str()), ("", "poly_bag"));
    assert_eq!(last.message.weight_kg, Some(0.41));
    let report: &wire::PickOutcome = &last.message;
    assert!(report.done_ns <= last.stamp.0 && report.stamp_ns < report.done_ns);
    let mut results =
        paths.iter().flat_map(|path| messages(MessageReader::packages(path).unwrap()));
    let is_acted_upon = |result: &wire::Packages| result.publication == report.publication;
    let acted_upon = results.find(|result| is_acted_upon(&result.message)).unwrap().message;
    assert_eq!(acted_upon.instance_id, report.instance_id);
    assert_eq!(acted_upon.stamp_ns, report.stamp_ns);
    let mut packages = acted_upon.packages.iter();
    let package = packages.find(|package| package.track_id == report.track_id).unwrap();
    assert_eq!(&package.grasps[report.grasp_index as usize], best.grasp);
    for path in &paths {
        succeed(&["replay", path.to_str().unwrap()]);
    }
}

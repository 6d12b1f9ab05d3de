//! Several cells on one machine: each finds an endpoint of its own, and is found by its name.

use std::process::{Child, Stdio};
use std::time::Duration;

use magpie_client::Client;
use serde_json::Value;
use tempfile::TempDir;

use super::{check_refused, free_endpoint, magpie, program, text};

#[allow(dead_code, reason = "its main reads the command line")]
#[path = "../../crates/client/examples/subscribe.rs"]
mod subscribe;

/// A daemon in a process of its own. Dropping it kills it.
struct Daemon {
    process: Child,
    _folder: TempDir,
}

impl Daemon {
    /// The name is this test process's own: others on this machine have cells, too.
    fn start(cell: &str, more: &str) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("magpie.toml");
        let ages = "[limits]\nframe_age_ms_max = 5000\ndeadline_ms = 5000\nresult_valid_ms = 5000";
        std::fs::write(&path, format!("cell = {cell:?}\n{ages}\n{more}\n")).unwrap();
        let run = ["run", "--config", path.to_str().unwrap()];
        let process = program().args(run).stderr(Stdio::null()).spawn().unwrap();
        Daemon { process, _folder: folder }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn own(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// The cells of this machine, by name.
fn cells() -> Vec<(String, Value)> {
    let output = magpie(&["cells", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let lines = text(&output.stdout);
    let cells = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    cells.map(|cell| (cell["cell"].as_str().unwrap().to_owned(), cell)).collect()
}

/// Waits until the cell is alive and has a result.
fn found(cell: &str) -> Value {
    for _ in 0..100 {
        let found =
            cells().into_iter().find(|(name, value)| name == cell && value["state"] == "OK");
        if let Some((_, value)) = found {
            return value;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    panic!("{cell} is not found: {:?}", cells());
}

#[test]
fn a_second_cell_takes_an_endpoint_of_its_own_and_both_are_found_by_their_names() {
    let (seven, eight, elsewhere) = (own("dock-7"), own("dock-8"), own("elsewhere"));
    let first = Daemon::start(&seven, "");
    let _second = Daemon::start(&eight, "");
    let endpoint = free_endpoint();
    let _third = Daemon::start(&elsewhere, &format!("[zenoh]\nlisten = {endpoint:?}"));
    let listens = |cell: &str| found(cell)["listens"].clone();
    let (of_seven, of_eight) = (listens(&seven), listens(&eight));
    assert_ne!(of_seven, of_eight);
    assert!(of_eight[0].as_str().unwrap().starts_with("tcp/127.0.0.1:174"), "{of_eight}");
    assert_eq!(listens(&elsewhere), Value::from(vec![endpoint.clone()]));
    let table = text(&magpie(&["cells"]).stdout);
    assert!(table.contains(&seven) && table.contains(&endpoint), "{table}");

    for cell in [&seven, &eight, &elsewhere] {
        let watch = ["watch", cell, "--count", "1", "--json", "--silence-s-max", "60"];
        let seen = magpie(&watch);
        assert!(seen.status.success(), "{}", text(&seen.stderr));
        assert!(text(&seen.stdout).contains(&format!("\"cell\":\"{cell}\"")), "{cell}");
    }
    let client = Client::connect(&eight).unwrap();
    subscribe::follow(&client).unwrap();
    let info = client.camera_info(Duration::from_secs(10)).unwrap();
    assert_eq!((info.width, client.status().unwrap().cell), (640, eight.clone()));
    let view = client.capture(Duration::from_secs(10)).unwrap();
    assert!(view.best_grasp().unwrap().is_some());
    let by_option = ["watch", "--cell", &eight, "--count", "1", "--silence-s-max", "60"];
    assert!(text(&magpie(&by_option).stdout).contains(&format!("cell {eight}")));

    // A second daemon of the same cell is refused, though there is a free endpoint for it.
    check_refused_daemon(&eight);
    // A note that outlives its daemon is not believed.
    drop(first);
    assert!(cells().iter().all(|(name, _)| *name != seven));
    let said = Client::connect(&seven).unwrap_err().to_string();
    assert!(said.contains(&seven) && said.contains(&eight), "{said}");
    let unknown = ["watch", &seven];
    check_refused(&unknown, 1, &[&seven, "alive are", &eight, "magpie cells"]);
}

fn check_refused_daemon(cell: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("magpie.toml");
    std::fs::write(&path, format!("cell = {cell:?}\n")).unwrap();
    let run = ["run", "--config", path.to_str().unwrap()];
    let parts = ["already published by another magpie daemon", cell, "tcp/127.0.0.1:174"];
    check_refused(&run, 1, &parts);
}

#[test]
fn a_place_that_is_taken_and_one_that_is_none_are_told_with_what_to_do() {
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp/{}", stranger.local_addr().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("magpie.toml");
    let run = ["run", "--config", path.to_str().unwrap()];
    std::fs::write(&path, format!("[zenoh]\nlisten = {endpoint:?}\n")).unwrap();
    check_refused(&run, 1, &["taken by another process", &endpoint, "[zenoh] listen"]);
    std::fs::write(&path, "[zenoh]\nlisten = \"17450\"\n").unwrap();
    check_refused(&run, 78, &["zenoh.listen = 17450"]);
    let nobody = magpie(&["cells", "--connect", "tcp/127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("tcp/127.0.0.1:1"), "{}", text(&nobody.stderr));
}

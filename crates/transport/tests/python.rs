//! The Python example receives what Rust publishes, and its masks are pycocotools' masks.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use magpie_wire as wire;
use prost::Message;
use support::site::{Site, address};
use support::{Cell, free_endpoint, options, runtime};
use zenoh::Wait;

fn python() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = std::env::var_os("MAGPIE_PYTHON")
        .map_or_else(|| workspace.join(".cache/python/bin/python"), PathBuf::from);
    assert!(
        python.exists(),
        "no Python at {}: run scripts/install --test, or make an environment with the packages of \
         crates/client/examples/requirements.txt and name its python in MAGPIE_PYTHON",
        python.display()
    );
    python
}

fn start(endpoint: &str, arguments: &[&str]) -> Child {
    start_joining(&[&["--connect", endpoint], arguments].concat())
}

fn start_joining(arguments: &[&str]) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../client/examples/subscriber.py");
    Command::new(python())
        .arg(script)
        .args(["--cell", "dock"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Exit code, standard output and error of the example while `cell` publishes.
fn run_beside(cell: &mut Cell, mut child: Child) -> (i32, String, String) {
    // An interpreter may take some seconds to start on a busy machine.
    let mut rounds = 0;
    while child.try_wait().unwrap().is_none() {
        cell.publish();
        std::thread::sleep(std::time::Duration::from_millis(20));
        rounds += 1;
        if rounds > 3000 {
            child.kill().unwrap();
        }
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn the_example_decodes_every_mask() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let child = start(&endpoint, &["--count", "5"]);
    let (code, out, err) = run_beside(&mut cell, child);
    assert_eq!(code, 0, "{out}{err}");
    let area = {
        let frame = support::frame(1, cell.clock.now());
        support::report(&frame, 3).packages.packages[0].instance.mask.area_px()
    };
    assert_eq!(out.lines().count(), 5, "{out}");
    let expected = format!("3 packages, 3 grasps in base, mask areas [{area}, {area}, {area}] px");
    assert!(out.lines().all(|line| line.ends_with(&expected)), "{out}");
}

#[test]
fn the_example_joins_a_secured_cell() {
    let (runtime, site) = (runtime(), Site::new(&address()));
    let secured =
        magpie_transport::TransportOptions { zenoh: site.zenoh("daemon"), ..options("dock", "") };
    let mut cell = Cell::open(secured, &runtime).unwrap();
    let path = site.path("dock", "viewer");
    let child = start_joining(&["--zenoh", path.to_str().unwrap(), "--count", "3"]);
    let (code, out, err) = run_beside(&mut cell, child);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(out.lines().count(), 3, "{out}");
}

#[test]
fn the_example_fails_on_results_that_have_expired() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let behind = magpie_transport::TransportOptions {
        clock: support::shifted_clock(-2_000),
        ..options("dock", &endpoint)
    };
    let mut cell = Cell::open(behind, &runtime).unwrap();
    let child = start(&endpoint, &["--count", "5"]);
    let (code, out, err) = run_beside(&mut cell, child);
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("stale: frame"), "{err}");
}

#[test]
fn the_example_fails_when_nothing_comes() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let _cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let output = start(&endpoint, &["--timeout-s", "0.2"]).wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("lost: nothing from cell dock"));
}

#[test]
fn the_example_passes_over_garbage_and_forged_results() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let forger = support::session(&endpoint);
    let forged = wire::Packages {
        schema_version: wire::SCHEMA_VERSION,
        cell: "dock".into(),
        instance_id: "forged".into(),
        stamp_ns: cell.clock.now().0,
        published_ns: cell.clock.now().0,
        valid_until_ns: cell.clock.now().0 + 3_600_000_000_000,
        reference_frame: wire::ReferenceFrame::Base.into(),
        ..Default::default()
    };
    // The true instance's, with masks that would end the library that reads them.
    let mut sequence = 0;
    let mut broken = |width_px, height_px, counts: &[u8]| {
        sequence += 1;
        let package = wire::Package {
            bbox: Some(wire::BboxPx::default()),
            mask: Some(wire::Mask { width_px, height_px, counts: counts.to_vec() }),
            ..Default::default()
        };
        let instance_id = cell.transport.instance_id().to_owned();
        let message = wire::Packages {
            instance_id,
            sequence,
            valid_until_ns: forged.stamp_ns + 400_000_000,
            image_width_px: width_px,
            image_height_px: height_px,
            packages: vec![package],
            ..forged.clone()
        };
        message.encode_to_vec()
    };
    let forging = [
        b"garbage".to_vec(),
        forged.encode_to_vec(),
        broken(4, 0, b"0"),
        broken(4, 4, b""),
        broken(4, 4, b"\xff\xfe"),
        broken(4, 4, b"ooooooooooooo"),
        broken(4, 4, b"PPPPPPP1"),
        broken(4, 4, b"n1"),
    ];
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for message in forging.iter().cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                forger.put("magpie/dock/packages", message.clone()).wait().unwrap();
                std::thread::sleep(std::time::Duration::from_millis(30));
            }
        });
        let (code, out, err) = run_beside(&mut cell, start(&endpoint, &["--count", "20"]));
        stop.store(true, Ordering::Relaxed);
        assert_eq!(code, 0, "{out}{err}");
        assert!(out.lines().all(|line| line.contains("3 packages")), "{out}");
        assert!(err.contains("refused: it is not from the publisher"), "{err}");
        assert!(err.contains("refused: it is no magpie.v1.Packages"), "{err}");
        assert!(err.contains("has no whole mask"), "{err}");
    });
}

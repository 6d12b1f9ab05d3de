//! What comes from outside: text, files and limits of the system. Nothing of it reaches a terminal as
//! it is, is read without end, or decides what is written over.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;

use super::{check_refused, free_endpoint, program, root, text, write_zenoh_config};

/// Clears the screen, and renames the window.
const HOSTILE: &str = "\x1b[2J\x1b]0;x\x07\u{9b}2J";

fn tiny_model(name: &str) -> Vec<u8> {
    std::fs::read(root().join("crates/inference/tests/data").join(name)).unwrap()
}

/// A model whose name and whose first type would clear the screen.
fn hostile_model(folder: &Path) -> String {
    let mut bytes = tiny_model("tiny_bgr8.onnx");
    let at = bytes.windows(3).position(|window| window == b"box").unwrap();
    bytes[at..at + 3].copy_from_slice(b"\x1b[J");
    let path = folder.join(format!("{HOSTILE}.onnx"));
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[track_caller]
fn check_printable(output: &Output) -> String {
    let all = text(&output.stdout) + &text(&output.stderr);
    let hidden = all.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    assert_eq!(hidden, None, "{all:?}");
    all
}

#[test]
fn text_from_outside_is_printable_in_tables_json_logs_and_refusals() {
    let folder = TempDir::new().unwrap();
    let model = hostile_model(folder.path());
    let picture = root().join("docs/first_light.png").display().to_string();
    let run = |arguments: &[&str]| program().args(arguments).output().unwrap();

    let config = folder.path().join("magpie.toml");
    std::fs::write(&config, format!("[model]\npath = {:?}\n", model.replace(HOSTILE, "link")))
        .unwrap();
    std::fs::copy(&model, model.replace(HOSTILE, "link")).unwrap();
    let said = check_printable(&run(&["check", "--config", config.to_str().unwrap()]));
    assert!(said.contains("\\u001b[J"), "{said}");

    let detect = ["detect", "--score-min", "0", "--model", &model, &picture];
    check_printable(&run(&detect));
    let json = run(&[&detect[..], &["--json"]].concat());
    check_printable(&json);
    let document: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(document["model"]["name"], HOSTILE);

    let missing = format!("{}/{HOSTILE}", folder.path().display());
    for arguments in [["detect", &missing], ["check", &missing], [HOSTILE, "x"]] {
        let output = run(&arguments);
        assert!(!output.status.success());
        // Each says it in its own way: a path in quotes, an argument without its sequences.
        assert!(check_printable(&output).contains("2J"));
    }
}

#[test]
fn watch_shows_no_text_of_a_daemon_as_it_is() {
    let folder = TempDir::new().unwrap();
    let endpoint = free_endpoint();
    write_zenoh_config(folder.path(), &endpoint);
    let config = folder.path().join("magpie.toml");
    let settings = format!(
        "[model]\npath = {}\n[zenoh]\nconfig = \"zenoh.json5\"\n\
         [limits]\nframe_age_ms_max = 60000\nresult_valid_ms = 5000\n",
        // JSON's escapes are TOML's.
        serde_json::Value::from(hostile_model(folder.path()))
    );
    std::fs::write(&config, settings).unwrap();
    let mut command = program();
    command.args(["run", "--config", config.to_str().unwrap()]).stderr(Stdio::null());
    let mut daemon = command.spawn().unwrap();
    let watch = ["watch", "--connect", &endpoint, "--count", "2", "--silence-s-max", "60"];
    let mut output = program().args(watch).output().unwrap();
    for _ in 0..300 {
        if output.status.success() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        output = program().args(watch).output().unwrap();
    }
    let json = program().args(watch).arg("--json").output().unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let said = check_printable(&output);
    assert!(output.status.success() && said.contains("\\u001b[2J"), "{said}");
    check_printable(&json);
    for line in text(&json.stdout).lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[test]
fn no_output_goes_through_a_link_or_onto_what_is_read() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (precious, link) = (at("precious"), at("link"));
    std::fs::write(&precious, "mine").unwrap();
    symlink(&precious, &link).unwrap();
    let picture = root().join("docs/first_light.png").display().to_string();
    let model = at("model.onnx");
    std::fs::write(&model, tiny_model("tiny_bgr8.onnx")).unwrap();
    let demo = root().join("crates/daemon/assets/demo.mcap").display().to_string();
    let sheet = at("link.svg");
    symlink(&precious, &sheet).unwrap();
    for arguments in [
        &["detect", "--model", &model, "--overlay", &link, &picture][..],
        &["replay", "--model", &model, "--json", &link, &demo],
        &["bench", "--model", &model, "--rounds", "1", "--json", &link],
        &["bench", "--model", &model, "--rounds", "1", "--html", &link],
        &["calibrate", "board", "--out", &sheet],
    ] {
        let output = program().args(arguments).output().unwrap();
        let said = text(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains("symbolic link; name the file"), "{arguments:?}: {said}");
        assert_eq!(std::fs::read(&precious).unwrap(), b"mine", "{arguments:?}");
    }
    check_refused(
        &["detect", "--model", &model, "--overlay", &model, &picture],
        78,
        &["written over; name another output"],
    );
    // The first picture's overlay has the name of the second picture.
    let [one, two] = ["one/a.png", "two/a.png"].map(at);
    for path in [&one, &two] {
        std::fs::create_dir(Path::new(path).parent().unwrap()).unwrap();
        std::fs::copy(&picture, path).unwrap();
    }
    let detect = ["detect", "--model", &model, "--overlay", &at("two"), &one, &two];
    check_refused(&detect, 78, &["two/a.png", "written over"]);
    assert_eq!(std::fs::read(&two).unwrap(), std::fs::read(&picture).unwrap());
}

#[test]
fn what_never_ends_is_refused_by_what_it_is() {
    let folder = TempDir::new().unwrap();
    let pipe = folder.path().join("pipe").display().to_string();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let picture = root().join("docs/first_light.png").display().to_string();
    check_refused(&["check", "--config", &pipe], 78, &["named pipe", "copy"]);
    check_refused(&["check", "--config", "/dev/zero"], 78, &["a device"]);
    check_refused(&["detect", "--config", &pipe, &picture], 78, &["named pipe"]);
    check_refused(&["detect", "--camera-info", &pipe, &picture], 78, &["named pipe"]);
    check_refused(&["detect", &pipe], 1, &["named pipe"]);
    check_refused(&["replay", &pipe], 78, &["named pipe"]);
    let large = folder.path().join("large.toml");
    std::fs::File::create(&large).unwrap().set_len(20_000_000_000).unwrap();
    let large = large.to_str().unwrap();
    check_refused(
        &["check", "--config", large],
        78,
        &["20000000000 bytes", "1000000 are the most"],
    );
    let pairs = folder.path().join("pairs.jsonl");
    let line = "{\"base_from_gripper\": [0,0,0,0,0,0], \"camera_from_board\": [0,0,0,0,0,0]}\n";
    std::fs::write(&pairs, line.repeat(420)).unwrap();
    let (pairs, out) = (pairs.to_str().unwrap(), folder.path().join("out.yaml"));
    let hand_eye = ["calibrate", "hand-eye", "--setup", "eye-in-hand", "--pairs", pairs, "--out"];
    check_refused(
        &[&hand_eye[..], &[out.to_str().unwrap()]].concat(),
        78,
        &["more than 200 pairs"],
    );
}

#[test]
fn a_model_that_never_ends_is_given_up_with_the_key_that_allows_more() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("m.onnx"), tiny_model("tiny_endless.onnx")).unwrap();
    let config = folder.path().join("magpie.toml");
    std::fs::write(&config, "[model]\npath = \"m.onnx\"\nload_s_max = 1\n").unwrap();
    let config = config.to_str().unwrap();
    let picture = root().join("docs/first_light.png").display().to_string();
    for arguments in [
        &["check", "--config", config][..],
        &["run", "--config", config],
        &["detect", "--config", config, &picture],
    ] {
        let output = program().args(arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let last = said.lines().last().unwrap();
        for part in ["ERROR load m within 1 s", "loop", "model.load_s_max"] {
            assert!(last.contains(part), "{said}");
        }
    }
}

#[test]
fn a_daemon_that_loads_its_model_stops_when_it_is_asked_to() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("m.onnx"), tiny_model("tiny_endless.onnx")).unwrap();
    let config = folder.path().join("magpie.toml");
    std::fs::write(&config, "[model]\npath = \"m.onnx\"\nload_s_max = 300\n").unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let mut daemon = program().args(["run", "--config"]).arg(&config).spawn().unwrap();
        let process = format!("/proc/{}", daemon.id());
        let is_loading = || {
            let threads = std::fs::read_dir(format!("{process}/task")).unwrap().flatten();
            let mut names =
                threads.map(|thread| std::fs::read_to_string(thread.path().join("comm")));
            names.any(|name| name.is_ok_and(|name| name.trim() == "magpie-model"))
        };
        while !is_loading() {
            assert!(daemon.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(20));
        }
        rustix::process::kill_process(Pid::from_child(&daemon), signal).unwrap();
        assert_eq!(daemon.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_wrong_command_line_is_told_as_one() {
    for (arguments, remedy) in [
        (&["watch", "--cell", "a/b"][..], "letters, digits"),
        (&["watch", "a/b"], "letters, digits"),
        (&["watch", "--connect", "foo"], "tcp/192.168"),
        (&["watch", "--silence-s-max", "nan"], "such as 10"),
        (&["cells", "--connect", "foo"], "tcp/192.168"),
        (&["model", "rollback", "--cell", "a/b"], "letters, digits"),
    ] {
        let output = program().args(arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(remedy), "{said}");
    }
}

/// The program in a shell that sets a limit first.
fn limited(limit: &str, arguments: &str) -> Output {
    let script = format!("{limit}; exec {} {arguments}", env!("CARGO_BIN_EXE_magpie"));
    Command::new("bash").args(["-c", &script]).output().unwrap()
}

#[test]
fn too_few_descriptors_are_refused_by_the_limit_s_name() {
    for (limit, command) in [("ulimit -n 32", "run"), ("ulimit -n 256", "check")] {
        let output = limited(limit, command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("RLIMIT_NOFILE") && said.contains("ulimit -n 1024"), "{said}");
    }
}

#[test]
fn a_file_size_limit_is_an_error_and_leaves_no_half_of_a_file() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("made");
    let output =
        limited("ulimit -f 8", &format!("simulate --seed 1 --frames 1 --out {}", out.display()));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("File too large"), "{said}");
    assert_eq!(std::fs::read_dir(out.join("color")).unwrap().count(), 0);
}

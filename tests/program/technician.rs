//! What a technician reaches for when something is wrong: the doctor, and the archive for a report.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{check_refused, free_endpoint, magpie, program, succeed, text, write_zenoh_config};

const PASSWORD: &str = "hunter2hunter2hunter2hunter2";

/// A configuration that listens at an address of its own.
fn cell(more: &str) -> (TempDir, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let endpoint = free_endpoint();
    write_zenoh_config(folder.path(), &endpoint);
    let path = folder.path().join("dock-7.toml");
    let config = format!("cell = \"dock-7\"\n{more}\n[zenoh]\nconfig = \"zenoh.json5\"\n");
    std::fs::write(&path, config).unwrap();
    let path = path.display().to_string();
    (folder, endpoint, path)
}

/// What the doctor prints, and its exit code.
fn doctor(configurations: &[&str]) -> (String, Option<i32>) {
    let mut command = program();
    command.args(["doctor", "--offline"]);
    for configuration in configurations {
        command.args(["--config", configuration]);
    }
    let output = command.output().unwrap();
    (text(&output.stdout), output.status.code())
}

#[track_caller]
fn check_line(said: &str, parts: &[&str]) {
    let line = said.lines().find(|line| parts.iter().all(|part| line.contains(part)));
    assert!(line.is_some(), "no line with {parts:?} in\n{said}");
}

#[test]
fn the_doctor_says_what_to_mend_and_how_a_line_each() {
    let (folder, _, config) = cell(
        "[source.v4l2]\ndevice = \"/dev/v4l/by-id/usb-none-video-index0\"\n\
         [recording]\nfolder = \"gone\"",
    );
    std::fs::write(folder.path().join("gone"), "a file").unwrap();
    let (said, code) = doctor(&[&config]);
    assert_eq!(code, Some(1), "{said}");
    check_line(&said, &["ok", "versions", "magpie ", "OpenCV ", "GStreamer "]);
    check_line(&said, &["ok", "ONNX Runtime", "libonnxruntime.so"]);
    check_line(&said, &["MEND", "source", "there is no /dev/v4l/by-id/usb-none", "-> plug it in"]);
    check_line(&said, &["note", "calibration", "-> `magpie calibrate intrinsics`"]);
    check_line(&said, &["MEND", "recording", "gone", "-> set [recording] folder"]);
    check_line(&said, &["clock"]);
    check_line(&said, &["disk"]);
    check_line(&said, &["rtprio", "memlock"]);
    check_line(&said, &["ok", "endpoint", "free for this cell"]);
}

#[test]
fn the_doctor_goes_on_after_a_wrong_configuration_and_exits_with_78() {
    let (folder, _, good) = cell("");
    let wrong = folder.path().join("wrong.toml");
    std::fs::write(&wrong, "cel = \"a\"").unwrap();
    let (said, code) = doctor(&[wrong.to_str().unwrap(), &good, "/no/such.toml"]);
    assert_eq!(code, Some(78), "{said}");
    check_line(&said, &["MEND", "configuration", "wrong.toml", "line 1"]);
    check_line(&said, &["MEND", "configuration", "/no/such.toml", "No such file"]);
    check_line(&said, &["ok", "configuration", "dock-7.toml: cell dock-7, the demo recording"]);
}

#[test]
fn the_doctor_says_who_has_taken_an_endpoint() {
    let (_folder, endpoint, config) = cell("");
    let address = endpoint.trim_start_matches("tcp/");
    let _stranger = TcpListener::bind(address).unwrap();
    let (said, code) = doctor(&[&config]);
    assert_eq!(code, Some(1), "{said}");
    let holder = format!("taken by process {}", std::process::id());
    check_line(&said, &["MEND", "endpoint", address, &holder]);
}

#[test]
fn the_doctor_says_who_has_taken_the_address_of_the_page() {
    let address = free_endpoint();
    let address = address.trim_start_matches("tcp/");
    let (_folder, _, config) = cell(&format!("[web]\nlisten = {address:?}"));
    check_line(&doctor(&[&config]).0, &["ok", "page", address, "free"]);
    let _stranger = TcpListener::bind(address).unwrap();
    let (said, code) = doctor(&[&config]);
    assert_eq!(code, Some(1), "{said}");
    check_line(&said, &["MEND", "page", address, &format!("process {}", std::process::id())]);
}

#[test]
fn the_doctor_sees_that_two_cells_would_listen_at_one_endpoint() {
    let (folder, endpoint, first) = cell("");
    let second = folder.path().join("dock-8.toml");
    std::fs::write(&second, "cell = \"dock-8\"\n[zenoh]\nconfig = \"zenoh.json5\"\n").unwrap();
    let (said, _) = doctor(&[&first, second.to_str().unwrap()]);
    check_line(&said, &["note", "endpoint", &endpoint, "dock-7, dock-8"]);
}

#[test]
fn the_doctor_sees_what_two_configurations_would_both_have() {
    let (folder, _, first) = cell(
        "[web]\nlisten = \"127.0.0.1:18447\"\n[foxglove]\nlisten = \"127.0.0.1:18765\"\n\
         [recording]\nfolder = \"ring\"",
    );
    let more = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let same = "[foxglove]\nlisten = \"127.0.0.1:18765\"\n[recording]\nfolder = \"ring\"\n";
    let second = more("dock-8.toml", &format!("cell = \"dock-8\"\n{same}"));
    let wide = more("dock-9.toml", "cell = \"dock-9\"\n[web]\nlisten = \"0.0.0.0:18447\"\n");
    let double = more("double.toml", "cell = \"dock-9\"\n");
    let (said, _) = doctor(&[&first, &second, &wide, &double]);
    check_line(&said, &["note", "endpoint", "ws://127.0.0.1:18765", "dock-7, dock-8"]);
    check_line(&said, &["note", "recording", "/ring", "dock-7, dock-8", "of its own"]);
    check_line(&said, &["note", "endpoint", "http://127.0.0.1:18447", "http://0.0.0.0:18447"]);
    check_line(&said, &["note", "cell", "dock-9.toml", "double.toml", "all called dock-9"]);
}

#[test]
fn the_doctor_tells_another_magpie_from_the_daemon_of_the_cell_and_looks_at_foxgloves_address() {
    let address = free_endpoint();
    let address = address.trim_start_matches("tcp/");
    let web = format!("[web]\nlisten = {address:?}\n");
    let (_first, _, running) = cell(&web);
    let run = program().args(["run", "--config", &running]).stderr(Stdio::null()).spawn();
    let daemon = Daemon(run.unwrap());
    for _ in 0..120 {
        if TcpListener::bind(address).is_err() && doctor(&[&running]).0.contains("of this cell") {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    check_line(&doctor(&[&running]).0, &["ok", "page", address, "the daemon of this cell"]);
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("dock-8.toml");
    let foxglove = web.replace("[web]", "[foxglove]");
    for (what, text) in [("page", web), ("foxglove", foxglove)] {
        std::fs::write(&other, format!("cell = \"dock-8\"\n{text}")).unwrap();
        let (said, code) = doctor(&[other.to_str().unwrap()]);
        assert_eq!(code, Some(1), "{said}");
        let holder = format!("taken by process {}", daemon.0.id());
        check_line(&said, &["MEND", what, address, &holder]);
    }
}

#[test]
fn where_the_page_could_save_nothing_the_doctor_and_check_say_so_before_anybody_calibrates() {
    let (folder, _, config) = cell(
        "[web]\nlisten = \"127.0.0.1:18448\"\ntoken = \"token\"\ncalibration_folder = \"a/b\"",
    );
    std::fs::write(folder.path().join("token"), PASSWORD).unwrap();
    std::fs::write(folder.path().join("a"), "a file").unwrap();
    let (said, code) = doctor(&[&config]);
    assert_eq!(code, Some(1), "{said}");
    check_line(&said, &["MEND", "calibration", "save nothing", "[web] calibration_folder"]);
    let said = text(&magpie(&["check", "--config", &config]).stdout);
    check_line(&said, &["note", "save no calibration", "[web] calibration_folder"]);
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// The files of an archive by their names below its folder.
fn unpack(archive: &Path) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let tar = Command::new("tar").arg("-xzf").arg(archive).arg("-C").arg(folder.path()).status();
    assert!(tar.unwrap().success());
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name: PathBuf = path
                .components()
                .skip_while(|part| {
                    !part.as_os_str().to_string_lossy().starts_with("magpie-bundle-")
                })
                .skip(1)
                .collect();
            files.push((name.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}

#[track_caller]
fn check_no_password(files: &[(String, Vec<u8>)]) {
    for (name, bytes) in files {
        let holds = bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes());
        assert!(!holds, "the password is in {name}");
    }
}

#[test]
fn a_bundle_of_a_cell_that_does_not_run_says_what_is_missing_and_has_no_password() {
    let (folder, _, config) = cell(&format!(
        "[source.rtsp]\nurl = \"rtsp://admin:{PASSWORD}@127.0.0.1:1/x\"\n\
         [web]\nlisten = \"127.0.0.1:1\"\ntoken = \"token\""
    ));
    std::fs::write(folder.path().join("token"), PASSWORD).unwrap();
    let archive = folder.path().join("report.tar.gz");
    let out = archive.to_str().unwrap();
    let said = text(&succeed(&["bundle", "--config", &config, "--out", out]).stdout);
    check_line(&said, &["dock-7/magpie.toml"]);
    check_line(&said, &["dock-7/status.json", "127."]);
    check_line(&said, &["dock-7/recording", "nothing is recorded"]);
    check_line(&said, &["Passwords", "***"]);
    let files = unpack(&archive);
    let doctor = text(&files[3].1);
    check_line(&doctor, &["note", "secret", "dock-7.toml", "everybody may read", "chmod 640"]);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "README.txt",
            "dock-7/magpie.toml",
            "dock-7/zenoh.config.json5",
            "doctor.txt",
            "versions.txt"
        ]
    );
    check_no_password(&files);
    assert!(text(&files[1].1).contains("rtsp://***@127.0.0.1:1/x"), "{}", text(&files[1].1));
    assert!(!said.contains(PASSWORD), "{said}");
}

#[test]
fn a_bundle_of_a_running_cell_has_its_status_and_the_recording_that_was_asked_for() {
    let secret = format!("# url = \"rtsp://admin:{PASSWORD}@127.0.0.1/x\"\n");
    let (folder, _, config) = cell(&format!(
        "{secret}[limits]\nframe_age_ms_max = 60000\nresult_valid_ms = 5000\n\
         [recording]\nfolder = \"ring\"\nfree_space_mb_min = 1"
    ));
    let run = program().args(["run", "--config", &config]).stderr(Stdio::null()).spawn();
    let _daemon = Daemon(run.unwrap());
    let ring = folder.path().join("ring");
    let archive = folder.path().join("report.tar.gz");
    let out = archive.to_str().unwrap();
    let call = ["bundle", "--config", &config, "--out", out, "--recording-s", "60"];
    let mut said = String::new();
    for _ in 0..120 {
        std::thread::sleep(Duration::from_millis(500));
        if !ring.exists() {
            continue;
        }
        said = text(&succeed(&call).stdout);
        if said.contains("what the daemon says") && said.contains(".mcap ") {
            break;
        }
    }
    let files = unpack(&archive);
    let find =
        |end: &str| files.iter().find(|(name, _)| name.ends_with(end)).map(|(_, bytes)| bytes);
    let status = text(find("dock-7/status.json").unwrap_or_else(|| panic!("{said}")));
    assert!(status.contains("\"cell\":\"dock-7\""), "{status}");
    let recording = find(".mcap").unwrap_or_else(|| panic!("{said}"));
    assert!(recording.starts_with(b"\x89MCAP0"), "it is a recording");
    check_no_password(&files);
}

#[test]
fn a_bundle_that_cannot_be_written_is_refused_before_anything_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("none/report.tar.gz").display().to_string();
    check_refused(&["bundle", "--out", &out], 1, &["write", "there is no folder"]);
}

#[test]
fn the_journal_gets_whole_lines_with_their_level() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal");
    let stream = File::create(&journal).unwrap();
    let metadata = stream.metadata().unwrap();
    let name = format!("{}:{}", metadata.dev(), metadata.ino());
    let call = ["check", "--config", "/no/such.toml"];
    let ended = program().args(call).env("JOURNAL_STREAM", name).stderr(stream).status().unwrap();
    assert_eq!(ended.code(), Some(78));
    let said = std::fs::read_to_string(&journal).unwrap();
    assert!(said.starts_with("<3>read configuration /no/such.toml: No such file"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn each_command_has_a_page_and_shells_know_it() {
    let folder = tempfile::tempdir().unwrap();
    let manual = folder.path().join("manual");
    succeed(&["manual", manual.to_str().unwrap()]);
    let help = text(&magpie(&["--help"]).stdout);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    // What follows a command's first line is indented further.
    let names = commands.map_while(|line| line.strip_prefix("  "));
    let names = names.filter(|line| !line.starts_with(' ') && !line.starts_with("help"));
    let commands: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"doctor") && !commands.contains(&"manual"), "{commands:?}");
    let bash = std::fs::read_to_string(manual.join("magpie.bash")).unwrap();
    for command in commands {
        assert!(manual.join(format!("magpie-{command}.1")).exists(), "no page of {command}");
        assert!(bash.contains(command), "bash does not know {command}");
    }
    let page = std::fs::read_to_string(manual.join("magpie.1")).unwrap();
    assert!(page.contains("78 wrong configuration") && page.contains("/etc/magpie"), "{page}");
    check_refused(&["manual", manual.to_str().unwrap()], 1, &["not empty"]);
}

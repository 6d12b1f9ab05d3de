//! Models with a life cycle: installed, used by a running cell, rolled back.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{check_refused, magpie, program, root, text};

/// A cell of its own, with a folder of models; the daemon runs the demo.
struct Cell {
    name: String,
    folder: TempDir,
    daemon: Option<Child>,
}

impl Cell {
    fn new(name: &str, model_section: &str) -> Cell {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("{name}-{}", std::process::id());
        let text = format!(
            "cell = {name:?}\n[limits]\nframe_age_ms_max = 5000\ndeadline_ms = 5000\n\
             result_valid_ms = 5000\n[model]\nfolder = \"models\"\n{model_section}\n"
        );
        std::fs::write(folder.path().join("magpie.toml"), text).unwrap();
        Cell { name, folder, daemon: None }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn config(&self) -> String {
        self.path("magpie.toml")
    }

    fn start(&mut self) {
        let log = std::fs::File::create(self.path("log")).unwrap();
        let run = ["run", "--config", &self.config()];
        self.daemon = Some(program().args(run).stderr(Stdio::from(log)).spawn().unwrap());
        self.wait_until("it runs", |cell| cell["state"] == "OK" || cell["state"] == "DEGRADED");
    }

    fn signal(&mut self, signal: &str) {
        let mut daemon = self.daemon.take().unwrap();
        let mut kill = std::process::Command::new("kill");
        assert!(kill.args([signal, &daemon.id().to_string()]).status().unwrap().success());
        daemon.wait().unwrap();
    }

    fn seen(&self) -> Option<Value> {
        let lines = text(&magpie(&["cells", "--json"]).stdout);
        let mut cells = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        cells.find(|cell| cell["cell"] == self.name.as_str())
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..150 {
            if let Some(seen) = self.seen().filter(|seen| is_so(seen)) {
                return seen;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let log = std::fs::read_to_string(self.path("log")).unwrap_or_default();
        panic!("{what}: {:?}\n{log}", self.seen());
    }

    fn install(&self, model: &Path, more: &[&str]) -> Output {
        let (config, model) = (self.config(), model.to_str().unwrap());
        let install = ["model", "install", model, "--config", &config, "--frames-max", "4"];
        magpie(&[&install[..], more].concat())
    }

    fn order(&self, order: &[&str]) -> Output {
        magpie(&[&["model"][..], order, &["--cell", &self.name]].concat())
    }

    #[track_caller]
    fn obeys(&self, order: &[&str], parts: &[&str]) {
        let output = self.order(order);
        let said = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for part in parts {
            assert!(said.contains(part), "{part:?} is not in {said:?}");
        }
    }

    #[track_caller]
    fn refuses(&self, order: &[&str], parts: &[&str]) {
        let order = [&["model"][..], order, &["--cell", &self.name]].concat();
        check_refused(&order, 1, parts);
    }

    /// The results of one moment: each names the model that made it.
    fn model_of_a_result(&self) -> String {
        let watch = ["watch", &self.name, "--count", "1", "--json", "--silence-s-max", "60"];
        let output = magpie(&watch);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let message: Value = serde_json::from_str(text(&output.stdout).trim()).unwrap();
        message["model"]["name"].as_str().unwrap().to_owned()
    }

    fn socket(&self) -> PathBuf {
        let base = std::env::var("XDG_RUNTIME_DIR").unwrap_or_else(|_| "/run".to_owned());
        Path::new(&base).join("magpie").join(&self.name).join("control.sock")
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn universal_int8() -> PathBuf {
    root().join("models/universal-int8.onnx")
}

fn tiny(name: &str) -> PathBuf {
    root().join("crates/inference/tests/data").join(name)
}

#[test]
fn a_model_is_installed_used_kept_for_the_next_process_and_rolled_back() {
    let mut cell = Cell::new("life", "");
    let installed = cell.install(&universal_int8(), &["--name", "int8"]);
    let said = text(&installed.stdout);
    assert!(installed.status.success(), "{}", text(&installed.stderr));
    for part in
        ["present  universal", "packages a frame", "found by both", "installed as", "use int8"]
    {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
    cell.refuses(&["use", "int8"], &["no daemon of cell", &cell.name]);
    cell.start();
    assert_eq!(std::fs::metadata(cell.socket()).unwrap().mode() & 0o777, 0o660);
    assert_eq!(cell.model_of_a_result(), "universal");
    cell.refuses(&["rollback"], &["no model before it"]);
    cell.refuses(&["use", "other"], &["no model \"other\"", "there are int8."]);
    cell.obeys(&["use", "int8"], &["int8 (", "on trial for 60 s", "universal (", "is kept"]);
    assert_eq!(cell.model_of_a_result(), "int8");
    cell.obeys(&["use", "int8"], &["in use already"]);
    let list = text(&magpie(&["model", "list", "--config", &cell.config()]).stdout);
    assert!(list.contains(&format!("{} (on trial)", cell.name)), "{list}");

    // Asked to stop, it comes back with the same model.
    cell.signal("-TERM");
    cell.start();
    assert_eq!(cell.model_of_a_result(), "int8");
    cell.obeys(&["rollback"], &["universal (", "is in use again", "int8 ("]);
    assert_eq!(cell.model_of_a_result(), "universal");

    // Ended in the middle of a trial, it comes back with the model before, and says so.
    cell.obeys(&["use", "int8"], &["on trial"]);
    cell.signal("-KILL");
    cell.start();
    let seen = cell
        .wait_until("told", |cell| cell["reason_codes"] == Value::from(vec!["model_rolled_back"]));
    assert_eq!(seen["model"], "universal");
    assert_eq!(cell.model_of_a_result(), "universal");
    cell.obeys(&["use", "configured"], &["in use already"]);
    cell.wait_until("acknowledged", |cell| cell["state"] == "OK");

    // A configuration that names another model has the last word.
    cell.obeys(&["use", "int8"], &["on trial"]);
    cell.signal("-TERM");
    let config = std::fs::read_to_string(cell.config()).unwrap();
    let named = config.replace("[model]\n", &format!("[model]\npath = {:?}\n", universal_int8()));
    std::fs::write(cell.config(), named).unwrap();
    cell.start();
    assert_eq!(cell.model_of_a_result(), "universal-int8");
}

#[test]
fn a_model_that_finds_next_to_nothing_is_taken_back_by_itself_and_status_says_so() {
    let mut cell = Cell::new("blind", "");
    let installed = cell.install(&tiny("tiny_bgr8.onnx"), &[]);
    assert!(installed.status.success(), "{}", text(&installed.stderr));
    let said = text(&installed.stdout);
    assert!(said.contains("a daemon would give it up"), "{said}");
    cell.start();
    // What was found before is known only after a while.
    std::thread::sleep(Duration::from_secs(6));
    cell.obeys(&["use", "tiny_bgr8"], &["on trial"]);
    cell.refuses(&["use", "configured"], &["tiny_bgr8 (", "is on trial", "model rollback"]);
    let told = |cell: &Value| cell["reason_codes"] == Value::from(vec!["model_rolled_back"]);
    let seen = cell.wait_until("given up", told);
    assert_eq!((&seen["state"], &seen["model"]), (&"DEGRADED".into(), &"universal".into()));
    let table = text(&magpie(&["cells"]).stdout);
    assert!(table.contains("packages in a frame, where"), "{table}");
    let list = text(&magpie(&["model", "list", "--config", &cell.config()]).stdout);
    assert!(list.contains("was given up for universal"), "{list}");
    assert_eq!(cell.model_of_a_result(), "universal");
}

/// Standard output is closed before the first line.
fn unread(arguments: &[&str]) -> Output {
    let mut command = program();
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    child.wait_with_output().unwrap()
}

#[test]
fn without_a_reader_everything_is_done_and_judged_all_the_same() {
    let cell = Cell::new("unread", "");
    let (config, model) = (cell.config(), tiny("tiny_bgr8.onnx"));
    let install = ["model", "install", model.to_str().unwrap(), "--config", &config];
    let installed = unread(&[&install[..], &["--frames-max", "1"]].concat());
    assert!(installed.status.success(), "{}", text(&installed.stderr));
    assert_eq!(std::fs::read_dir(cell.path("models")).unwrap().count(), 1);

    let pictures = cell.path("pictures");
    std::fs::create_dir(&pictures).unwrap();
    let grey = magpie_perception::BgrImage::new(64, 48, vec![90; 64 * 48 * 3]).unwrap();
    magpie_camera::write_png(&Path::new(&pictures).join("good.png"), &grey).unwrap();
    std::fs::write(Path::new(&pictures).join("odd.png"), "no picture").unwrap();
    let export = ["export", &pictures, "--out", &cell.path("labels"), "--config", &config];
    let exported = unread(&export);
    let why = text(&exported.stderr);
    assert_eq!(exported.status.code(), Some(1), "{why}");
    assert!(why.contains("1 of 2 pictures could not be read"), "{why}");
}

#[test]
fn changes_follow_each_other_and_of_several_at_once_one_is_made() {
    let mut cell = Cell::new("often", "");
    let installed = cell.install(&universal_int8(), &["--name", "int8"]);
    assert!(installed.status.success(), "{}", text(&installed.stderr));
    cell.start();
    for round in 0..4 {
        let (order, name): (&[&str], _) =
            if round % 2 == 0 { (&["use", "int8"], "int8") } else { (&["rollback"], "universal") };
        cell.obeys(order, &[name]);
        assert_eq!(cell.model_of_a_result(), name);
    }
    let orders: Vec<Child> = (0..3)
        .map(|_| {
            let order = ["model", "use", "int8", "--cell", &cell.name];
            program().args(order).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let outputs: Vec<Output> =
        orders.into_iter().map(|order| order.wait_with_output().unwrap()).collect();
    let done = outputs.iter().filter(|output| output.status.success()).count();
    assert!(done >= 1, "{outputs:?}");
    for output in outputs.iter().filter(|output| !output.status.success()) {
        let why = text(&output.stderr);
        assert!(why.contains("another change of the model is under way"), "{why}");
    }
    assert_eq!(cell.model_of_a_result(), "int8");
    // What is no order is refused, and what never comes is given up.
    let mut stranger = UnixStream::connect(cell.socket()).unwrap();
    stranger.write_all(b"{\"stop\": true}\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stranger, &mut answer).unwrap();
    assert!(answer.contains("\"done\":false") && answer.contains("no order"), "{answer}");
    let _silent = UnixStream::connect(cell.socket()).unwrap();
    cell.obeys(&["rollback"], &["is in use again"]);
}

#[test]
fn a_model_is_installed_only_as_it_was_signed() {
    let signatures = root().join("tests/program/signatures");
    let key = std::fs::read_to_string(signatures.join("minisign.pub")).unwrap();
    let key = key.lines().nth(1).unwrap();
    let cell = Cell::new("signed", &format!("public_key = {key:?}"));
    let model = PathBuf::from(cell.path("tiny_bgr8.onnx"));
    std::fs::copy(tiny("tiny_bgr8.onnx"), &model).unwrap();
    let (model_text, config) = (model.to_str().unwrap(), cell.config());
    let install = ["model", "install", model_text, "--config", &config, "--frames-max", "1"];
    let no_model = || !Path::new(&cell.path("models")).exists();

    check_refused(&install, 78, &["must be signed", "minisig", "minisign -S -m"]);
    let signature =
        |name: &str| std::fs::copy(signatures.join(name), cell.path("tiny_bgr8.onnx.minisig"));
    signature("other.minisig").unwrap();
    check_refused(&install, 78, &["somebody else signed it"]);
    std::fs::write(cell.path("tiny_bgr8.onnx.minisig"), "no signature").unwrap();
    check_refused(&install, 78, &["no signature of minisign's"]);
    signature("tiny_bgr8.onnx.minisig").unwrap();
    std::fs::copy(tiny("tiny_half.onnx"), &model).unwrap();
    check_refused(&install, 78, &["was changed since"]);
    assert!(no_model());

    std::fs::copy(tiny("tiny_bgr8.onnx"), &model).unwrap();
    for name in ["tiny_bgr8.onnx.minisig", "legacy.minisig"] {
        signature(name).unwrap();
        let installed = magpie(&install);
        assert!(installed.status.success(), "{name}: {}", text(&installed.stderr));
    }
    let list = text(&magpie(&["model", "list", "--config", &config]).stdout);
    assert!(list.contains("| yes"), "{list}");
    // The key holds for the model that the configuration names, too.
    let named = std::fs::read_to_string(&config).unwrap() + &format!("path = {model_text:?}\n");
    std::fs::write(&config, named).unwrap();
    signature("other.minisig").unwrap();
    check_refused(&["check", "--config", &config], 78, &["somebody else signed it"]);
    std::fs::write(&config, "[model]\npublic_key = \"mine\"\n").unwrap();
    check_refused(
        &["check", "--config", &config],
        78,
        &["model.public_key = mine", "minisign.pub"],
    );
}

#[test]
fn a_model_that_does_not_fit_or_has_no_room_leaves_nothing_behind() {
    let cell = Cell::new("unfit", "");
    let unfit = |name: &str| cell.install(&tiny(name), &[]);
    for (name, part) in [("tiny_nan.onnx", "not finite"), ("make_tiny.py", "make_tiny.py")] {
        let refused = unfit(name);
        assert_eq!(refused.status.code(), Some(78), "{}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains(part), "{}", text(&refused.stderr));
    }
    let hash = cell.install(&tiny("tiny_bgr8.onnx"), &["--sha256", "00"]);
    assert_eq!(hash.status.code(), Some(78), "{}", text(&hash.stderr));
    let name = cell.install(&tiny("tiny_bgr8.onnx"), &["--name", "../up"]);
    assert_eq!(name.status.code(), Some(78), "{}", text(&name.stderr));
    assert!(!Path::new(&cell.path("models")).exists());

    // A disk that is full, as the limit on the size of files plays it.
    let (config, model) = (cell.config(), universal_int8());
    let full = format!(
        "ulimit -f 2000; exec {} model install {} --config {config} --frames-max 1",
        env!("CARGO_BIN_EXE_magpie"),
        model.display()
    );
    let full = std::process::Command::new("bash").args(["-c", &full]).output().unwrap();
    assert_eq!(full.status.code(), Some(1), "{}", text(&full.stderr));
    assert!(text(&full.stderr).contains("nothing was left there"), "{}", text(&full.stderr));
    let left: Vec<_> = std::fs::read_dir(cell.path("models")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");

    let locked = cell.path("locked");
    std::fs::write(&locked, "").unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o444)).unwrap();
    let text_of = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text_of.replace("\"models\"", "\"locked\"")).unwrap();
    let no_folder = cell.install(&model, &[]);
    assert_eq!(no_folder.status.code(), Some(1), "{}", text(&no_folder.stderr));
}

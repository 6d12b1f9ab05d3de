//! Calibration on the page, before a camera that a test moves, as scripts and a real browser see it.

use std::path::Path;
use std::time::Duration;

use magpie_camera::read_camera_info;
use nalgebra::Point3;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::browser::Browser;
use super::calibrate::{arm, base_from_camera, cell, off, rows};
use super::free_address;
use super::page::{Answer, TOKEN, free_page, photograph, try_ask, try_send, wait_until_ready, web};
use super::service::{Daemon, fresh, newer};

/// A camera that shows one picture until it is given another.
struct Camera {
    folder: TempDir,
}

impl Camera {
    fn new() -> Camera {
        let camera = Camera { folder: tempfile::tempdir().unwrap() };
        camera.show(&cell().picture(0));
        std::fs::write(camera.folder.path().join("token"), TOKEN).unwrap();
        camera
    }

    /// The file is replaced at once.
    fn show(&self, picture: &str) {
        let next = self.folder.path().join("next");
        std::fs::copy(picture, &next).unwrap();
        std::fs::rename(&next, self.folder.path().join("now.png")).unwrap();
    }

    /// A wall instead of a board.
    fn show_nothing(&self) {
        let wall = magpie_perception::BgrImage::new(480, 360, vec![90; 480 * 360 * 3]).unwrap();
        let path = self.folder.path().join("wall.png");
        magpie_camera::write_png(&path, &wall).unwrap();
        self.show(path.to_str().unwrap());
    }

    fn calibrations(&self) -> std::path::PathBuf {
        self.folder.path().join("calibration")
    }

    /// The configuration of a daemon that looks through it.
    fn config(&self, address: &str) -> String {
        let folder = self.folder.path().display();
        format!(
            "{}token = \"{folder}/token\"\npicture_period_ms = 50\n\
             calibration_folder = \"{folder}/calibration\"\n\
             [source.gstreamer]\npipeline = \"multifilesrc location={folder}/now.png loop=true \
             caps=image/png,framerate=10/1 ! pngdec ! videoconvert ! video/x-raw,format=BGR ! appsink \
             drop=true max-buffers=1 sync=true\"\n",
            web(address)
        )
    }
}

fn board() -> Value {
    json!({"kind": "charuco", "size": [7, 5], "square_length_m": 0.030, "marker_length_m": 0.021,
           "dictionary": "DICT_4X4_50"})
}

fn order(address: &str, order: &Value) -> Answer {
    let bearer = format!("Authorization: Bearer {TOKEN}");
    try_send(address, "POST", "/api/calibration", &[&bearer], &order.to_string()).unwrap()
}

#[track_caller]
fn done(address: &str, what: &Value) -> String {
    let answer = order(address, what);
    assert_eq!(answer.code, 200, "{what}: {}", answer.text());
    answer.text()
}

#[track_caller]
fn refused(address: &str, what: &Value, part: &str) {
    let answer = order(address, what);
    assert_eq!(answer.code, 409, "{what}: {}", answer.text());
    assert!(answer.text().contains(part), "{part:?} is not in {:?}", answer.text());
    assert_eq!(answer.text().lines().count(), 1, "{}", answer.text());
}

/// What the tab is told, after the picture of this number.
fn look(address: &str, after: u64) -> Option<Value> {
    let answer = try_ask(address, "GET", &format!("/api/calibration?after={after}"), &[])?;
    let length = u32::from_le_bytes(answer.body.get(..4)?.try_into().unwrap()) as usize;
    serde_json::from_slice(&answer.body[4..4 + length]).ok()
}

/// Looks until it is told so.
#[track_caller]
fn look_until(address: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let (mut after, mut last) = (0, Value::Null);
    for _ in 0..400 {
        if let Some(told) = look(address, after) {
            after = told["number"].as_u64().unwrap();
            if is_so(&told) {
                return told;
            }
            last = told;
        }
    }
    panic!("not told: {last}");
}

/// Shows a picture of the board and waits until its corners are seen where they are.
#[track_caller]
fn show_and_wait(camera: &Camera, address: &str, index: usize) {
    let cell = cell();
    camera.show(&cell.picture(index));
    let at = cell.info.project(&(cell.poses[index] * Point3::new(0.03, 0.03, 0.0))).unwrap();
    look_until(address, |told| {
        let first = &told["collection"]["seen"]["corners"][0];
        let near =
            |axis: usize, px: f64| first[axis].as_f64().is_some_and(|x| (x - px).abs() < 2.0);
        near(0, at.x) && near(1, at.y)
    });
}

fn stop(collection: u64, pose: &str) -> Value {
    let units = json!({"length": "m", "angle": "rad"});
    json!({"order": "take_stop", "collection": collection, "pose": pose, "units": units})
}

#[test]
fn in_a_browser_a_lens_is_calibrated_from_views_that_survive_a_reload_and_saved_to_a_new_file() {
    let (camera, address) = (Camera::new(), free_page());
    let daemon = Daemon::start("dock-7", &camera.config(&address));
    wait_until_ready(&address);
    let mut browser = Browser::open(1400, 1000, false);
    browser.go_to(&format!("http://{address}/#calibrate"));
    browser.wait_until("!document.getElementById('begin').disabled");
    browser.wait_until("document.getElementById('board-picture').width === 480");
    let press = |browser: &mut Browser, id: &str| {
        browser.wait_until(&format!("!document.getElementById('{id}').disabled"));
        browser.value(&format!("document.getElementById('{id}').click()"));
    };
    let says = |id: &str, part: &str| {
        format!("document.getElementById('{id}').innerText.includes({part:?})")
    };
    // What was chosen for the board survives a reload.
    browser.value(
        "(() => { const list = document.getElementById('dictionary'); list.value = 'DICT_5X5_100'; \
         list.dispatchEvent(new Event('change')); })()",
    );
    browser.go_to("about:blank");
    browser.go_to(&format!("http://{address}/#calibrate"));
    browser.wait_until("document.getElementById('dictionary').value === 'DICT_5X5_100'");
    browser.value("(() => { document.getElementById('dictionary').value = 'DICT_4X4_50'; })()");
    press(&mut browser, "begin");
    browser.wait_until(&says("answer", "the token is not the daemon's"));
    let enter = format!(
        "(() => {{ const token = document.getElementById('calibrate-token'); token.value = '{TOKEN}'; \
         token.dispatchEvent(new Event('input')); }})()"
    );
    browser.value(&enter);
    press(&mut browser, "begin");
    browser.wait_until("document.querySelectorAll('#taken li').length === 1");
    for index in 1..10 {
        camera.show(&cell().picture(index));
        let count = format!("document.querySelectorAll('#taken li').length === {}", index + 1);
        browser.wait_until(&count);
        if index == 4 {
            photograph(&mut browser, "calibrate_lens");
            browser.go_to("about:blank");
            browser.go_to(&format!("http://{address}/#calibrate"));
            browser.wait_until("document.querySelectorAll('#taken li').length === 5");
        }
    }
    press(&mut browser, "compute");
    browser.wait_until("!document.getElementById('result-card').hidden");
    press(&mut browser, "save");
    browser.wait_until("!document.getElementById('saved').hidden");
    let lines = browser.value("document.getElementById('saved-lines').innerText");
    let path = camera.calibrations().join("dock-7.camera_info.yaml");
    assert_eq!(lines, format!("[scene]\ncamera_info = \"{}\"", path.display()));
    let found = read_camera_info(&path, None).unwrap().intrinsics.fx_px;
    let truth = cell().info.intrinsics.fx_px;
    assert!((found / truth - 1.0).abs() < 0.01, "{found} for {truth}");
    photograph(&mut browser, "calibrate_lens_saved");
    let mut phone = Browser::open(390, 844, true);
    phone.go_to(&format!("http://{address}/#calibrate"));
    phone.wait_until("!document.getElementById('result-card').hidden");
    let width = phone.value("document.documentElement.scrollWidth");
    assert!(width.as_u64().unwrap() <= 390, "{width} px wide");
    photograph(&mut phone, "calibrate_phone");
    for browser in [browser, phone] {
        assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    }
    assert!(daemon.stop().is_ok());
}

#[test]
fn stops_of_an_arm_are_taken_with_their_pictures_and_give_the_place_of_the_camera() {
    let (camera, address) = (Camera::new(), free_page());
    std::fs::create_dir(camera.calibrations()).unwrap();
    std::fs::copy(cell().path("true_info.yaml"), camera.calibrations().join("lens.yaml")).unwrap();
    let daemon = Daemon::start("stops", &camera.config(&address));
    wait_until_ready(&address);
    let start = json!({
        "order": "start", "board": board(),
        "what": {"kind": "hand_eye", "setup": "eye_to_hand", "lens": "lens.yaml"},
    });
    let pose = |index: usize| rows(&arm(cell(), index)).to_string();
    refused(&address, &stop(1, &pose(0)), "nothing is being collected");
    done(&address, &start);
    refused(&address, &start, "discard it first");
    refused(&address, &stop(2, &pose(0)), "another collection");
    refused(&address, &stop(1, ""), "paste it");
    refused(&address, &stop(1, "1 2 three"), "\"three\" is no finite number");
    refused(&address, &stop(1, "/etc/hostname"), "is no finite number");
    refused(&address, &stop(1, "[410, -120, 550, 0, 3.14, 0]"), "choose the unit");
    refused(&address, &json!({"order": "compute", "collection": 7}), "another collection");

    camera.show_nothing();
    look_until(&address, |told| {
        let line = told["collection"]["seen"]["line"].as_str().unwrap_or_default();
        line.contains("no marker of any dictionary is in view")
    });
    refused(&address, &stop(1, &pose(0)), "no stop was taken");

    for index in 0..10 {
        show_and_wait(&camera, &address, index);
        let said = done(&address, &stop(1, &pose(index)));
        assert_eq!(said, format!("stop {} is taken\n", index + 1));
    }
    // An arm that stands where it stood sees the board where it was.
    refused(&address, &stop(1, &pose(3)), "this is the pose of stop 4");
    // Read in other units they fit nothing, and the verdict names the unit.
    let compute = |length: &str| {
        let units = json!({"length": length, "angle": "rad"});
        let reading = json!({"units": units, "setup": "eye_to_hand"});
        done(&address, &json!({"order": "compute", "collection": 1, "reading": reading}));
        look_until(&address, |told| {
            let is_read = told["collection"]["reading"]["units"]["length"] == length;
            is_read && told["collection"]["result"].is_object()
        })
    };
    let result = compute("mm")["collection"]["result"].clone();
    assert_eq!(result["verdict"], "refused", "{result}");
    assert!(result["words"].as_str().unwrap().contains("--robot-unit m "), "{result}");
    let told = compute("m");
    let result = &told["collection"]["result"];
    assert_ne!(result["verdict"], "refused", "{result}");
    assert!(result["facts"][0][1].as_str().unwrap().starts_with('±'), "{result}");
    let says = told["collection"]["taken"][0]["says"].as_str().unwrap();
    assert!(says.contains(" mm, "), "{says}");

    let save = |name: &str| json!({"order": "save", "collection": 1, "name": name});
    for name in ["../escape", "/etc/magpie/x", ".hidden", "a b"] {
        refused(&address, &save(name), "is no name for the file");
    }
    refused(&address, &save("lens"), "choose another name");
    done(&address, &save("stops.hand_eye"));
    refused(&address, &save("stops.hand_eye.yaml"), "choose another name");
    let text = std::fs::read_to_string(camera.calibrations().join("stops.hand_eye.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&text).unwrap();
    let (off_mm, off_deg) = off(&file["base_from_camera"], &base_from_camera());
    assert!(off_mm < 0.5 && off_deg < 0.05, "{off_mm} mm, {off_deg} degrees");
    let told = look_until(&address, |told| told["collection"]["saved"].is_object());
    let lines = told["collection"]["saved"]["lines"].to_string();
    assert!(lines.contains("hand_eye = ") && lines.contains("lens.yaml"), "{lines}");

    let mut browser = Browser::open(1400, 1000, false);
    browser.go_to(&format!("http://{address}/#calibrate"));
    browser.wait_until("document.querySelectorAll('#taken li').length === 10");
    browser.wait_until("!document.getElementById('saved').hidden");
    photograph(&mut browser, "calibrate_stops");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    assert!(daemon.stop().is_ok());
}

#[test]
fn who_has_no_token_or_describes_no_board_changes_nothing_and_the_loop_goes_on() {
    let (camera, address) = (Camera::new(), free_page());
    let daemon = Daemon::start("strict", &camera.config(&address));
    wait_until_ready(&address);
    let subscriber = daemon.subscriber("strict");
    let first = fresh(&subscriber);
    let start = |board: Value| json!({"order": "start", "what": {"kind": "lens"}, "board": board});
    let body = start(board()).to_string();
    let post = |headers: &[&str], body: &str| {
        try_send(&address, "POST", "/api/calibration", headers, body).unwrap()
    };
    assert_eq!(post(&[], &body).code, 401);
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(post(&[&bearer, "Origin: http://evil.example"], &body).code, 403);
    assert_eq!(post(&[&bearer, "Host: evil.example"], &body).code, 403);
    let garbled = post(&[&bearer], "{\"order\": \"explode\"}");
    assert_eq!(garbled.code, 400);
    assert!(garbled.text().contains("this is no order"), "{}", garbled.text());
    // What is too long is not read to its end.
    let large = "x".repeat(100_000);
    let large = try_send(&address, "POST", "/api/calibration", &[&bearer], &large);
    assert!(large.is_none_or(|answer| answer.code == 413));
    let mut large = board();
    large["size"] = json!([70, 5]);
    refused(&address, &start(large), "70x5 squares; 3 to 50 each way");
    let mut unknown = board();
    unknown["dictionary"] = json!("DICT_9X9");
    refused(&address, &start(unknown), "DICT_9X9");
    refused(&address, &start(json!({"kind": "carpet"})), "the board: unknown variant `carpet`");
    let markers = json!({"kind": "markers", "marker_length_m": 0.03, "dictionary": "DICT_4X4_50"});
    refused(&address, &start(markers), "single markers do not calibrate a lens");
    let what = json!({"kind": "hand_eye", "setup": "eye_to_hand"});
    let blind = json!({"order": "start", "what": what, "board": board()});
    refused(&address, &blind, "no lens runs");
    assert!(look(&address, 0).unwrap()["collection"].is_null());

    // Another board than the one in view: its size is named.
    let mut other = board();
    other["size"] = json!([5, 7]);
    done(&address, &start(other));
    look_until(&address, |told| {
        let line = told["collection"]["seen"]["line"].as_str().unwrap_or_default();
        line.contains("the board is not as it was described") && line.contains("7x5")
    });
    done(&address, &json!({"order": "compute", "collection": 1}));
    look_until(&address, |told| {
        told["said"].as_str().is_some_and(|said| said.contains("0 usable views of the board"))
    });
    refused(
        &address,
        &json!({"order": "save", "collection": 1, "name": "x"}),
        "nothing is computed",
    );
    done(&address, &json!({"order": "discard", "collection": 1}));

    let mut last = newer(&subscriber, &first);
    for _ in 0..5 {
        last = newer(&subscriber, &last);
    }
    let (first, last) = (first.counters.unwrap(), last.counters.unwrap());
    assert_eq!(last.results_published - first.results_published, last.frames - first.frames);
    assert!(daemon.stop().is_ok());
}

#[test]
fn what_was_collected_stays_while_the_camera_is_lost_and_a_folder_that_cannot_be_written_is_told() {
    let (camera, address, host) = (Camera::new(), free_page(), free_address());
    // A file where the folder should be.
    std::fs::write(camera.calibrations(), "not a folder").unwrap();
    let more = camera.config(&address);
    let source = more.find("[source.gstreamer]").unwrap();
    let folder = camera.folder.path().display();
    let more = format!(
        "{}[source.gstreamer]\npipeline = \"tcpclientsrc host={host} port=5000 timeout=2 ! multipartdemux \
         ! image/jpeg ! jpegdec ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true \
         max-buffers=1 sync=false\"\n[camera]\nreopen_pause_ms_max = 1000\n",
        &more[..source]
    );
    let launch = format!(
        "multifilesrc location={folder}/now.png loop=true caps=image/png,framerate=10/1 ! pngdec ! \
         videoconvert ! video/x-raw,format=I420 ! identity sync=true ! jpegenc quality=97 ! multipartmux \
         ! tcpserversink host={host} port=5000"
    );
    let gst = || {
        let mut launched = std::process::Command::new("gst-launch-1.0");
        launched.arg("-q").args(launch.split(' ')).spawn().unwrap()
    };
    let mut sender = gst();
    let daemon = Daemon::start("lost", &more);
    wait_until_ready(&address);
    let start = json!({"order": "start", "what": {"kind": "lens"}, "board": board()});
    done(&address, &start);
    let taken = |told: &Value| told["collection"]["taken"].as_array().map_or(0, Vec::len);
    for index in 1..8 {
        look_until(&address, |told| taken(told) == index);
        camera.show(&cell().picture(index));
    }
    look_until(&address, |told| taken(told) == 8);
    sender.kill().unwrap();
    sender.wait().unwrap();
    std::thread::sleep(Duration::from_secs(3));
    // Orders are carried out without a picture.
    done(&address, &json!({"order": "compute", "collection": 1}));
    let told = look_until(&address, |told| told["collection"]["result"].is_object());
    assert_eq!(taken(&told), 8);
    let save = json!({"order": "save", "collection": 1, "name": "lens"});
    refused(&address, &save, "[web] calibration_folder");
    let path = camera.calibrations();
    std::fs::remove_file(Path::new(&path)).unwrap();
    done(&address, &save);
    let mut sender = gst();
    done(&address, &json!({"order": "resume", "collection": 1}));
    camera.show(&cell().picture(9));
    look_until(&address, |told| taken(told) == 9);
    assert!(daemon.stop().is_ok());
    sender.kill().unwrap();
    sender.wait().unwrap();
}

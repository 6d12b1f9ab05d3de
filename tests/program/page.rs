//! The page of a cell, as programs and a real browser see it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::Value;

use super::browser::Browser;
use super::service::{Daemon, fresh, newer};
use super::{free_address, root};

pub(crate) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// An answer over HTTP.
pub(crate) struct Answer {
    pub(crate) code: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request with these headers; `None` while nobody listens.
pub(crate) fn try_ask(address: &str, method: &str, path: &str, headers: &[&str]) -> Option<Answer> {
    try_send(address, method, path, headers, "")
}

/// [`try_ask`], with a body.
pub(crate) fn try_send(
    address: &str,
    method: &str,
    path: &str,
    headers: &[&str],
    body: &str,
) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|header| header.starts_with("Host:")) {
        request += &format!("Host: {address}\r\n");
    }
    headers.iter().for_each(|header| request += &format!("{header}\r\n"));
    if !body.is_empty() {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let code = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { code, head: head.to_lowercase(), body: bytes[end + 4..].to_vec() })
}

#[track_caller]
pub(crate) fn ask(address: &str, path: &str) -> Answer {
    try_ask(address, "GET", path, &[]).unwrap_or_else(|| panic!("no answer from {address}{path}"))
}

fn status(address: &str) -> Value {
    serde_json::from_slice(&ask(address, "/api/status").body).unwrap()
}

/// Waits until the page says so.
#[track_caller]
fn wait_for(address: &str, path: &str, what: &str, is_there: impl Fn(&Answer) -> bool) -> Answer {
    for _ in 0..600 {
        match try_ask(address, "GET", path, &[]) {
            Some(answer) if is_there(&answer) => return answer,
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    panic!("{what} not within a minute");
}

#[track_caller]
pub(crate) fn wait_until_ready(address: &str) {
    wait_for(address, "/readyz", "ready", |answer| answer.code == 200);
}

pub(crate) fn web(address: &str) -> String {
    format!("[web]\nlisten = \"{address}\"\n")
}

pub(crate) fn free_page() -> String {
    format!("{}:8447", free_address())
}

#[test]
fn a_page_shows_state_pictures_and_numbers_and_loads_nothing_from_elsewhere() {
    let address = free_page();
    let daemon = Daemon::start("page", &web(&address));
    wait_until_ready(&address);

    let page = ask(&address, "/");
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(page.head.contains("cross-origin-resource-policy: same-origin"), "{}", page.head);
    for file in ["/", "/page.js", "/draw.js", "/calibrate.js", "/page.css", "/icon.svg"] {
        let text = ask(&address, file).text().replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("//cdn") && !text.contains("http://") && !text.contains("https://"));
        assert!(!text.contains("style=") && !text.contains("onclick="), "{file} breaks its policy");
    }
    assert_eq!(ask(&address, "/nothing").code, 404);
    assert_eq!(ask(&address, "/healthz").text(), "ok\n");

    let told = status(&address);
    assert_eq!(told["cell"], "page");
    assert_eq!(told["status"]["state"], "STATE_OK");
    assert_eq!(told["status"]["provider_got"], "cpu");

    let look = ask(&address, "/api/look");
    let length = u32::from_le_bytes(look.body[..4].try_into().unwrap()) as usize;
    let told: Value = serde_json::from_slice(&look.body[4..4 + length]).unwrap();
    assert!(told["result"]["packages"].as_array().unwrap().len() > 2, "{told}");
    let jpeg = &look.body[4 + length..];
    let picture = image::load_from_memory_with_format(jpeg, image::ImageFormat::Jpeg).unwrap();
    assert_eq!((picture.width(), picture.height()), (640, 480));

    let metrics = ask(&address, "/metrics");
    assert!(metrics.head.contains("application/openmetrics-text"), "{}", metrics.head);
    let metrics = metrics.text();
    assert!(metrics.contains("magpie_state{cell=\"page\",state=\"ok\"} 1"), "{metrics}");
    let count = "magpie_stage_duration_seconds_count{cell=\"page\",stage=\"inference\"} ";
    let count = metrics.lines().find_map(|line| line.strip_prefix(count)).unwrap();
    assert!(count.parse::<u64>().unwrap() > 0, "{metrics}");
    assert!(daemon.stop().is_ok());
}

#[test]
fn the_board_and_the_alert_rules_ask_only_for_metrics_that_exist() {
    let address = free_page();
    let daemon = Daemon::start("rules", &web(&address));
    wait_until_ready(&address);
    let metrics = ask(&address, "/metrics").text();
    let folder = root().join("docs/monitoring");
    let board = std::fs::read_to_string(folder.join("magpie.grafana.json")).unwrap();
    serde_json::from_str::<Value>(&board).unwrap();
    let rules = std::fs::read_to_string(folder.join("magpie.rules.yaml")).unwrap();
    assert_eq!(rules.matches("- alert:").count(), 4);
    let mut names = 0;
    for text in [&board, &rules] {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for name in text.split(|c| !is_part(c)).filter(|word| word.starts_with("magpie_")) {
            names += 1;
            // These two are only told where something is watched.
            let is_told = metrics.lines().any(|line| line.starts_with(&format!("{name}{{")));
            assert!(is_told || name.starts_with("magpie_camera_displacement"), "no metric {name}");
        }
    }
    assert!(names > 10, "{names}");
    assert!(daemon.stop().is_ok());
}

#[test]
fn foreign_hosts_and_origins_are_refused_and_the_recording_is_kept_for_a_token_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), TOKEN).unwrap();
    let recordings = folder.path().join("recordings");
    let address = free_page();
    let more = format!(
        "{}hosts = [\"dock-7.example\"]\ntoken = \"{}/token\"\n[recording]\nfolder = \"{}\"\n\
         free_space_mb_min = 1\n",
        web(&address),
        folder.path().display(),
        recordings.display()
    );
    let daemon = Daemon::start("guarded", &more);
    wait_until_ready(&address);
    let listed = |answer: &Answer| answer.text().contains(".mcap");
    let listed = wait_for(&address, "/api/recordings", "a recording", listed);
    let listed: Value = serde_json::from_slice(&listed.body).unwrap();
    let name = listed[0]["name"].as_str().unwrap();
    assert!(ask(&address, &format!("/recordings/ring/{name}")).body.starts_with(b"\x89MCAP0"));
    for path in ["/recordings/ring/..%2Ftoken", "/recordings/ring/token", "/recordings/x/y.mcap"] {
        assert_eq!(ask(&address, path).code, 404, "{path}");
    }

    let get = |headers: &[&str]| try_ask(&address, "GET", "/api/status", headers).unwrap();
    assert_eq!(get(&["Host: dock-7.example:8447"]).code, 200);
    let foreign = get(&["Host: evil.example"]);
    assert_eq!(foreign.code, 403);
    assert!(foreign.text().contains("evil.example"), "{}", foreign.text());
    assert_eq!(get(&["Origin: http://evil.example"]).code, 403);
    assert_eq!(get(&["Origin: null"]).code, 403);

    let keep = |headers: &[&str]| try_ask(&address, "POST", "/api/keep", headers).unwrap();
    let bearer = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(keep(&[]).code, 401);
    let wrong = keep(&["Authorization: Bearer 0123456789abcdef0123456789abcdee"]);
    assert_eq!(wrong.code, 401);
    assert!(wrong.text().contains("token is not the daemon's"), "{}", wrong.text());
    assert_eq!(keep(&[&bearer, "Origin: http://evil.example"]).code, 403);
    assert_eq!(try_ask(&address, "GET", "/api/keep", &[&bearer]).unwrap().code, 405);
    let kept = || recordings.join("kept").read_dir().map_or(0, Iterator::count);
    assert_eq!(kept(), 0);
    let own = format!("Origin: http://{address}");
    let kept_answer = keep(&[&bearer, &own]);
    assert_eq!(kept_answer.code, 202, "{}", kept_answer.text());
    let is_kept = |answer: &Answer| answer.text().contains("\"kept\"");
    wait_for(&address, "/api/recordings", "a kept recording", is_kept);
    assert!(kept() > 0);
    let metrics = ask(&address, "/metrics").text();
    let refused = "magpie_page_requests_refused_total{cell=\"guarded\",reason=\"token\"} 2";
    assert!(metrics.contains(refused), "{metrics}");
    assert!(daemon.stop().is_ok());
}

#[test]
fn a_page_without_a_token_or_a_recording_says_so() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), TOKEN).unwrap();
    let (looking, idle) = (free_page(), free_page());
    let token = format!("token = \"{}/token\"\n", folder.path().display());
    let daemons =
        [Daemon::start("looks", &web(&looking)), Daemon::start("idle", &(web(&idle) + &token))];
    wait_until_ready(&looking);
    wait_until_ready(&idle);
    let bearer = format!("Authorization: Bearer {TOKEN}");
    let without = try_ask(&looking, "POST", "/api/keep", &[&bearer]).unwrap();
    assert_eq!(without.code, 403);
    assert!(without.text().contains("[web] token"), "{}", without.text());
    let nothing = try_ask(&idle, "POST", "/api/keep", &[&bearer]).unwrap();
    assert_eq!(nothing.code, 409);
    assert!(nothing.text().contains("recording.folder"), "{}", nothing.text());
    assert!(daemons.into_iter().all(|daemon| daemon.stop().is_ok()));
}

#[test]
fn an_address_that_is_taken_is_a_reason_until_it_is_free_and_the_loop_goes_on() {
    let address = free_page();
    let other = TcpListener::bind(&address).unwrap();
    let daemon = Daemon::start("taken", &web(&address));
    let subscriber = daemon.subscriber("taken");
    let mut last = fresh(&subscriber);
    let code = |subscriber: &magpie_client::PackagesSubscriber| {
        let status = subscriber.status()?;
        status.coded_reasons().first().map(|reason| (reason.code.clone(), reason.text.clone()))
    };
    for _ in 0..10 {
        last = newer(&subscriber, &last);
    }
    let (code_told, text) = code(&subscriber).unwrap();
    assert_eq!(code_told, "page_unavailable");
    assert!(text.contains(&address), "{text}");
    drop(other);
    wait_until_ready(&address);
    for _ in 0..600 {
        last = newer(&subscriber, &last);
        if code(&subscriber).is_none() {
            assert!(daemon.stop().is_ok());
            return;
        }
    }
    panic!("{:?}", code(&subscriber));
}

#[test]
fn a_hundred_viewers_that_never_read_take_nothing_from_the_loop() {
    let address = free_page();
    let daemon = Daemon::start("crowd", &web(&address));
    wait_until_ready(&address);
    let reader = daemon.subscriber("crowd");
    let first = fresh(&reader);
    let request = format!("GET /api/look HTTP/1.1\r\nHost: {address}\r\n\r\n").repeat(50);
    let crowd: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut viewer = TcpStream::connect(&address).unwrap();
            viewer.write_all(request.as_bytes()).unwrap();
            viewer
        })
        .collect();
    let mut last = newer(&reader, &first);
    for _ in 0..20 {
        last = newer(&reader, &last);
    }
    let (first, last) = (first.counters.unwrap(), last.counters.unwrap());
    // Whatever was processed was handed over: nobody held anything back.
    assert_eq!(last.results_published - first.results_published, last.frames - first.frames);
    assert_eq!(last.frames_stale, 0);
    // Whoever comes after them sees the page as before.
    assert_eq!(status(&address)["status"]["state"], "STATE_OK");
    assert!(!ask(&address, "/api/look").body.is_empty());
    drop(crowd);
    assert!(daemon.stop().is_ok());
}

/// A camera on the network that can be killed.
struct Camera(Child);

impl Camera {
    fn start(host: &str) -> Camera {
        let pipeline = format!(
            "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=10/1 ! jpegenc ! \
             multipartmux ! tcpserversink host={host} port=5000"
        );
        let launched = Command::new("gst-launch-1.0").arg("-q").args(pipeline.split(' ')).spawn();
        Camera(launched.expect("scripts/install --test installs gstreamer1.0-tools"))
    }

    fn source(host: &str) -> String {
        format!(
            "[source.gstreamer]\npipeline = \"tcpclientsrc host={host} port=5000 timeout=2 ! \
             multipartdemux ! image/jpeg ! jpegdec ! videoconvert ! video/x-raw,format=BGR ! appsink \
             drop=true max-buffers=1 sync=false\"\n"
        )
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Keeps what the browser shows where a person wants to look at what a test saw.
pub(crate) fn photograph(browser: &mut Browser, name: &str) {
    if let Some(folder) = std::env::var_os("MAGPIE_TEST_PICTURES") {
        browser.photograph(&Path::new(&folder).join(format!("{name}.png")));
    }
}

fn shows(state: &str) -> String {
    format!("document.getElementById('state').dataset.state === '{state}'")
}

#[test]
fn in_a_browser_the_state_follows_a_camera_that_dies_and_returns_and_a_daemon_that_leaves() {
    let (address, host) = (free_page(), free_address());
    let more =
        format!("{}{}[camera]\nreopen_pause_ms_max = 1000\n", web(&address), Camera::source(&host));
    let camera = Camera::start(&host);
    let daemon = Daemon::start("browser", &more);
    let endpoint = daemon.endpoint.clone();
    wait_until_ready(&address);
    let mut browser = Browser::open(1400, 900, false);
    browser.go_to(&format!("http://{address}/"));
    browser.wait_until(&shows("ok"));
    browser.wait_until("document.getElementById('picture').width === 320");
    assert_eq!(browser.value("document.title"), "OK browser – Magpie");

    // Whatever it answers in place of its status is shown, and forgotten when it answers again.
    browser.value(
        "window.realFetch = window.fetch; window.fetch = async () => new Response('not for you', {status: \
         503}); 1",
    );
    browser.wait_until("document.getElementById('state-word').innerText === 'REFUSED'");
    browser.wait_until("document.getElementById('state-note').innerText === '503 not for you'");
    browser.value("window.fetch = window.realFetch; 1");
    browser.wait_until(&shows("ok"));

    drop(camera);
    browser.wait_until(&shows("degraded"));
    let reasons = browser.value("document.getElementById('reasons').innerText");
    let reasons = reasons.as_str().unwrap();
    assert!(reasons.contains("camera lost"), "{reasons}");
    assert!(reasons.contains("Check power, cable and network of the camera"), "{reasons}");
    assert_eq!(ask(&address, "/readyz").code, 503);
    assert_eq!(ask(&address, "/healthz").code, 200);
    let lost = "magpie_reason{cell=\"browser\",code=\"camera_lost\"} 1";
    assert!(ask(&address, "/metrics").text().contains(lost));
    browser.wait_until("document.getElementById('picture-note').innerText.endsWith('old.')");
    photograph(&mut browser, "camera_lost");

    let camera = Camera::start(&host);
    browser.wait_until(&shows("ok"));
    browser.wait_until("document.getElementById('reasons-card').hidden");
    browser.wait_until("document.getElementById('picture-note').hidden");

    assert!(daemon.stop().is_ok());
    browser.wait_until(&shows("lost"));
    browser.wait_until("!document.getElementById('lost').hidden");
    photograph(&mut browser, "daemon_lost");
    let daemon = Daemon::start_on(&endpoint, "browser", &more);
    browser.wait_until(&shows("ok"));
    browser.wait_until("document.getElementById('lost').hidden");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    assert!(daemon.stop().is_ok());
    drop(camera);
}

#[test]
fn in_a_browser_packages_are_drawn_over_the_picture_and_a_phone_needs_no_scrolling_sideways() {
    let address = free_page();
    let daemon = Daemon::start("dock-7", &web(&address));
    wait_until_ready(&address);
    for (name, width_px, height_px, is_phone) in
        [("desktop", 1600, 1000, false), ("phone", 390, 844, true)]
    {
        let mut browser = Browser::open(width_px, height_px, is_phone);
        browser.go_to(&format!("http://{address}/"));
        browser.wait_until("document.querySelectorAll('#order tr').length > 2");
        browser.wait_until("document.getElementById('p50').innerText !== '–'");
        let width = browser.value("document.documentElement.scrollWidth");
        assert!(width.as_u64().unwrap() <= u64::from(width_px), "{name}: {width} px wide");
        // Some pixels are of a mask's opaque rim, in the colour of a type.
        let drawn = browser.value(
            "(() => { const canvas = document.getElementById('picture'); \
             const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data; \
             const colors = Object.values(TYPE_COLORS).map(String); let drawn = 0; \
             for (let at = 0; at < data.length; at += 4) \
             if (colors.includes([data[at], data[at + 1], data[at + 2]].join())) drawn++; \
             return drawn; })()",
        );
        assert!(drawn.as_u64().unwrap() > 500, "{name}: {drawn} pixels of rims");
        photograph(&mut browser, name);
        assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    }
    assert!(daemon.stop().is_ok());
}

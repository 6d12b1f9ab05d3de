//! A real browser without a window, spoken to by its own debugging protocol.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Longer than anything takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// One tab of Chromium.
pub(crate) struct Browser {
    process: Child,
    requests: ChildStdin,
    replies: Receiver<Value>,
    tab: Option<String>,
    number: u64,
    /// What went wrong in the page: exceptions, and what its policy forbade.
    pub(crate) complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// A tab of this size; `is_phone` also makes it a touch screen.
    pub(crate) fn open(width_px: u32, height_px: u32, is_phone: bool) -> Browser {
        let profile = tempfile::tempdir().unwrap();
        // The protocol is spoken on the descriptors 3 and 4.
        let mut process = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 >/dev/null 2>&1 </dev/null", "sh"])
            .args(["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let requests = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let (sender, replies) = sync_channel(4096);
        let reader = std::thread::Builder::new().name("browser".into());
        let read = move || {
            for answer in answers.split(0) {
                let Ok(answer) = answer else { return };
                let answer = serde_json::from_slice(&answer).unwrap();
                if sender.send(answer).is_err() {
                    return;
                }
            }
        };
        reader.spawn(read).unwrap();
        let mut browser = Browser {
            process,
            requests,
            replies,
            tab: None,
            number: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let tab = browser.ask("Target.attachToTarget", attach)["sessionId"].clone();
        browser.tab = Some(tab.as_str().unwrap().to_owned());
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.ask(domain, json!({}));
        }
        let size = json!({
            "width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": is_phone,
        });
        browser.ask("Emulation.setDeviceMetricsOverride", size);
        browser
    }

    pub(crate) fn go_to(&mut self, url: &str) {
        let went = self.ask("Page.navigate", json!({ "url": url }));
        assert!(went["errorText"].is_null(), "{url}: {went}");
    }

    /// The value of an expression in the page.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true });
        self.ask("Runtime.evaluate", asked)["result"]["value"].clone()
    }

    /// Waits until an expression in the page is true.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, expression: &str) {
        for _ in 0..PATIENCE.as_millis() / 100 {
            if self.value(expression) == json!(true) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let shown = self.value("document.body.innerText");
        panic!("{expression} did not become true; the page shows {shown}; {:?}", self.complaints);
    }

    /// Writes the whole page as PNG.
    pub(crate) fn photograph(&mut self, path: &Path) {
        let asked = json!({ "format": "png", "captureBeyondViewport": true });
        let shot = self.ask("Page.captureScreenshot", asked);
        std::fs::write(path, from_base64(shot["data"].as_str().unwrap())).unwrap();
    }

    /// Asks and waits for the answer.
    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.number += 1;
        let mut request = json!({ "id": self.number, "method": method, "params": parameters });
        if let Some(tab) = &self.tab {
            request["sessionId"] = json!(tab);
        }
        let sent = self.requests.write_all(format!("{request}\0").as_bytes());
        sent.expect("scripts/install --test installs chromium");
        loop {
            let reply = self.replies.recv_timeout(PATIENCE);
            let reply = reply.unwrap_or_else(|_| {
                panic!("chromium does not answer {method}; scripts/install --test installs it")
            });
            if reply["id"] == json!(self.number) {
                assert!(reply["error"].is_null(), "{method}: {reply}");
                return reply["result"].clone();
            }
            self.note(&reply);
        }
    }

    fn note(&mut self, event: &Value) {
        let entry = &event["params"]["entry"];
        // A daemon that is gone is no fault of the page.
        let is_log = event["method"] == "Log.entryAdded"
            && entry["level"] == "error"
            && entry["source"] != "network";
        if event["method"] == "Runtime.exceptionThrown" || is_log {
            self.complaints.push(event["params"].to_string());
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    for part in text.chunks(4) {
        let bits = part.iter().fold(0_u32, |bits, byte| (bits << 6) | u32::from(digit(*byte)));
        let bits = bits << (6 * (4 - part.len()));
        bytes.extend_from_slice(&bits.to_be_bytes()[1..part.len()]);
    }
    bytes
}

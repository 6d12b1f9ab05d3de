//! What the page shows, as it is handed over, and who looks at it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use magpie_wire::{self as wire, CellName};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::guard::Token;
use crate::history::{History, Sample};
use crate::metrics::Scrape;
use crate::orders::{Answer, CalibrationOrder};
use crate::tally::Tally;

/// How long whoever looks waits for the next picture before asking again.
const LOOK_TIME_MAX: Duration = Duration::from_secs(2);

/// The status is set ten times a second; one that is older tells nothing of now.
const STATUS_AGE_MAX: Duration = Duration::from_secs(2);

/// What a page needs to know.
#[derive(Clone, Debug)]
pub struct PageOptions {
    pub cell: CellName,
    /// The program's version.
    pub version: &'static str,
    /// Names by which browsers may ask for the page, beside addresses and `localhost`.
    pub hosts: Vec<String>,
    /// `None`: the page can change nothing.
    pub token: Option<Token>,
    /// Where the ring of recordings is; `None` while nothing is recorded.
    pub recordings: Option<PathBuf>,
}

/// A page, from the side of those who fill it. Nothing here waits for whoever looks.
#[derive(Clone)]
pub struct Page {
    options: Arc<PageOptions>,
    shared: Arc<Shared>,
}

/// Keeps the recording, or says why it cannot be kept.
type Keep = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

struct Shared {
    tally: Arc<Tally>,
    said: Mutex<Said>,
    cell: Show,
    calibration: Show,
    refused: Refused,
    keep: OnceLock<Keep>,
    calibrate: OnceLock<Box<Calibrate>>,
    /// Why the page is not served.
    problem: Mutex<Option<String>>,
}

/// Takes an order; the answer comes when it is carried out.
type Calibrate = dyn Fn(CalibrationOrder) -> oneshot::Receiver<Answer> + Send + Sync;

/// One picture with what is told beside it, for all who look.
struct Show {
    picture: watch::Sender<Picture>,
    /// Who waits for a picture.
    lookers: AtomicUsize,
}

#[derive(Default)]
struct Said {
    /// What the daemon does before there is a status.
    doing: String,
    status: Option<(Instant, wire::Status)>,
    history: History,
}

/// The newest picture with what is told beside it, as it is sent to all who look.
#[derive(Clone, Default)]
struct Picture {
    /// Counts from 1; 0 while there is none.
    number: u64,
    body: Bytes,
}

/// Requests that were refused.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    pub(crate) host: AtomicU64,
    pub(crate) origin: AtomicU64,
    pub(crate) token: AtomicU64,
}

impl Page {
    pub fn new(options: PageOptions, tally: Arc<Tally>) -> Page {
        let shared = Shared {
            tally,
            said: Mutex::default(),
            cell: Show::default(),
            calibration: Show::default(),
            refused: Refused::default(),
            keep: OnceLock::new(),
            calibrate: OnceLock::new(),
            problem: Mutex::default(),
        };
        Page { options: Arc::new(options), shared: Arc::new(shared) }
    }

    /// What the daemon does before it has a status.
    pub fn set_doing(&self, doing: impl Into<String>) {
        lock(&self.shared.said).doing = doing.into();
    }

    /// To be called ten times a second.
    pub fn set_status(&self, status: wire::Status) {
        let mut said = lock(&self.shared.said);
        said.history.note(&status);
        said.status = Some((Instant::now(), status));
    }

    /// What the button does; or why it cannot be done.
    pub fn set_keep(&self, keep: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        // A run has one recorder, which is set once.
        let _ = self.shared.keep.set(Box::new(keep));
    }

    /// Who carries out the orders of the calibration tab.
    pub fn set_calibrate(
        &self,
        calibrate: impl Fn(CalibrationOrder) -> oneshot::Receiver<Answer> + Send + Sync + 'static,
    ) {
        // A run has one, which is set once.
        let _ = self.shared.calibrate.set(Box::new(calibrate));
    }

    /// Whether a picture would be seen.
    pub fn is_looked_at(&self) -> bool {
        self.shared.cell.is_looked_at()
    }

    /// Whether somebody has the calibration tab open.
    pub fn is_calibration_looked_at(&self) -> bool {
        self.shared.calibration.is_looked_at()
    }

    /// Shows a result, and its picture as JPEG, or why that could not be made.
    pub fn show(&self, message: &wire::Packages, jpeg: Result<&[u8], &str>) {
        let told = json!({ "problem": jpeg.err(), "result": wire::to_json(message) });
        self.shared.cell.show(told, jpeg.unwrap_or_default());
    }

    /// Shows how far the calibration is: an object, which the tab draws, and a JPEG, which may be
    /// empty.
    pub fn show_calibration(&self, told: Value, jpeg: &[u8]) {
        self.shared.calibration.show(told, jpeg);
    }

    /// Why the page is not served, while it should be.
    pub fn problem(&self) -> Option<String> {
        lock(&self.shared.problem).clone()
    }

    pub(crate) fn set_problem(&self, problem: Option<String>) {
        *lock(&self.shared.problem) = problem;
    }

    pub(crate) fn options(&self) -> &PageOptions {
        &self.options
    }

    pub(crate) fn refused(&self) -> &Refused {
        &self.shared.refused
    }

    /// Another picture than that of this number, as soon as there is one; `None` if none comes.
    pub(crate) async fn look(&self, number: u64) -> Option<Bytes> {
        self.shared.cell.look(number).await
    }

    /// [`look`](Self::look), for the calibration tab.
    pub(crate) async fn look_at_calibration(&self, number: u64) -> Option<Bytes> {
        self.shared.calibration.look(number).await
    }

    /// Carries an order out.
    pub(crate) async fn calibrate(&self, order: CalibrationOrder) -> Answer {
        let calibrate = self.shared.calibrate.get();
        let calibrate = calibrate.ok_or("the daemon is still starting; try again in a moment")?;
        let why = "the calibration has ended unexpectedly: see the daemon's log, and restart it";
        calibrate(order).await.unwrap_or_else(|_| Err(why.into()))
    }

    /// Has the recording kept, or says why it is not.
    pub(crate) fn keep(&self) -> Result<(), String> {
        let Some(keep) = self.shared.keep.get() else {
            return Err("nothing is recorded: set recording.folder".to_owned());
        };
        keep()
    }

    /// The state, and what is worth knowing beside it; samples of the history after this one.
    pub(crate) fn describe(&self, after: u64) -> Value {
        // Supervision, which writes it, is not held up by the writing of JSON.
        let (doing, status, samples) = {
            let said = lock(&self.shared.said);
            let samples: Vec<Sample> = said.history.after(after).copied().collect();
            (said.doing.clone(), said.status(), samples)
        };
        let reasons = status.as_ref().map(wire::Status::coded_reasons).unwrap_or_default();
        let reasons = reasons.iter().map(|reason| {
            json!({
                "code": reason.code,
                "text": reason.text,
                "remedy": wire::remedy(&reason.code),
            })
        });
        json!({
            "cell": self.options.cell.as_str(),
            "version": self.options.version,
            "doing": doing,
            "status": status.as_ref().map(wire::status_to_json),
            "reasons": reasons.collect::<Vec<_>>(),
            "samples": samples,
            "may_keep": self.options.token.is_some(),
            "is_recording": self.shared.keep.get().is_some(),
        })
    }

    pub(crate) fn scrape(&self) -> Scrape {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let refused = &self.shared.refused;
        Scrape {
            cell: self.options.cell.to_string(),
            version: self.options.version,
            status: lock(&self.shared.said).status(),
            stages: self.shared.tally.stages().collect(),
            packages: self.shared.tally.packages(),
            lookers: self.shared.cell.lookers() + self.shared.calibration.lookers(),
            refused: [
                ("host", count(&refused.host)),
                ("origin", count(&refused.origin)),
                ("token", count(&refused.token)),
            ],
        }
    }

    /// Whether results come that may be acted upon; if not, why.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        self.readiness_at(Instant::now())
    }

    fn readiness_at(&self, now: Instant) -> Result<(), String> {
        let said = lock(&self.shared.said);
        let Some((set, status)) = &said.status else {
            return Err(format!("STARTING: {}", said.doing));
        };
        let age = now.saturating_duration_since(*set);
        if age > STATUS_AGE_MAX {
            return Err(format!("the daemon has not said how it is for {} s", age.as_secs()));
        }
        let reasons = status.coded_reasons();
        let is_stopped = reasons.iter().any(wire::ReasonMessage::stops_results);
        let is_running = matches!(status.state(), wire::State::Ok | wire::State::Degraded);
        // Whether they still come is told by a reason, a second after they stopped.
        let counters = status.counters.unwrap_or_default();
        let has_begun = counters.results_published > counters.results_expired;
        if is_running && !is_stopped && has_begun {
            return Ok(());
        }
        let mut reasons: Vec<_> = reasons.into_iter().map(|reason| reason.text).collect();
        if reasons.is_empty() {
            reasons.push("no result that may be acted upon has come yet".to_owned());
        }
        Err(format!("{}: {}", state_name(status.state()), reasons.join("; ")))
    }

    pub(crate) fn is_faulty(&self) -> bool {
        let said = lock(&self.shared.said);
        let status = said.status.as_ref();
        status.is_some_and(|(_, status)| status.state() == wire::State::Fault)
    }
}

impl Said {
    fn status(&self) -> Option<wire::Status> {
        self.status.as_ref().map(|(_, status)| status.clone())
    }
}

/// `DEGRADED`, as people write it.
fn state_name(state: wire::State) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix("STATE_").unwrap_or(name)
}

/// The length of the JSON in four little-endian bytes, the JSON, the JPEG.
fn framed(json: &str, jpeg: &[u8]) -> Bytes {
    let length = u32::try_from(json.len()).expect("results are kilobytes");
    [&length.to_le_bytes(), json.as_bytes(), jpeg].concat().into()
}

impl Default for Show {
    fn default() -> Show {
        Show { picture: watch::Sender::new(Picture::default()), lookers: AtomicUsize::new(0) }
    }
}

impl Show {
    fn lookers(&self) -> usize {
        self.lookers.load(Ordering::Relaxed)
    }

    fn is_looked_at(&self) -> bool {
        self.lookers() > 0
    }

    /// `told` is an object, which gets the number of the picture.
    fn show(&self, mut told: Value, jpeg: &[u8]) {
        // One thread shows; whoever looks meanwhile is not held up by the writing.
        let number = self.picture.borrow().number + 1;
        told["number"] = json!(number);
        let body = framed(&told.to_string(), jpeg);
        self.picture.send_replace(Picture { number, body });
    }

    async fn look(&self, number: u64) -> Option<Bytes> {
        let _looker = Looker::enter(&self.lookers);
        let mut pictures = self.picture.subscribe();
        // After a restart numbers begin anew.
        let is_other = |picture: &Picture| ![0, number].contains(&picture.number);
        let waited = tokio::time::timeout(LOOK_TIME_MAX, pictures.wait_for(is_other)).await;
        waited.ok()?.ok().map(|picture| picture.body.clone())
    }
}

/// Counted among those who look, until it is dropped.
struct Looker<'a>(&'a AtomicUsize);

impl Looker<'_> {
    fn enter(lookers: &AtomicUsize) -> Looker<'_> {
        lookers.fetch_add(1, Ordering::Relaxed);
        Looker(lookers)
    }
}

impl Drop for Looker<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let options = PageOptions {
            cell: CellName::new("dock").unwrap(),
            version: "1.2.3",
            hosts: Vec::new(),
            token: None,
            recordings: None,
        };
        Page::new(options, Arc::default())
    }

    #[tokio::test]
    async fn whoever_looks_gets_the_newest_picture_and_then_waits_for_another() {
        let page = page();
        let message = wire::Packages { sequence: 7, ..Default::default() };
        page.show(&message, Ok(b"old"));
        page.show(&message, Ok(b"new"));
        let body = page.look(0).await.unwrap();
        let length = u32::from_le_bytes(body[..4].try_into().unwrap()) as usize;
        let told: Value = serde_json::from_slice(&body[4..4 + length]).unwrap();
        assert_eq!((&told["number"], &told["result"]["sequence"]), (&json!(2), &json!("7")));
        assert_eq!(&body[4 + length..], b"new");

        assert!(!page.is_looked_at());
        let waiting = page.clone();
        let waiting = tokio::spawn(async move { waiting.look(2).await });
        while !page.is_looked_at() {
            tokio::task::yield_now().await;
        }
        page.show(&message, Err("it is too wide"));
        assert!(waiting.await.unwrap().is_some());
        assert!(!page.is_looked_at());
    }

    #[test]
    fn a_cell_is_ready_while_results_come_that_may_be_acted_upon() {
        let page = page();
        page.set_doing("loading model universal");
        assert_eq!(page.readiness(), Err("STARTING: loading model universal".into()));
        let status = |state: wire::State, code: &str| {
            let reason = wire::ReasonMessage { code: code.into(), text: "why".into() };
            let reasons_coded = if code.is_empty() { Vec::new() } else { vec![reason] };
            let counters = wire::Counters { results_published: 9, ..Default::default() };
            let counters = Some(counters);
            wire::Status { state: state.into(), reasons_coded, counters, ..Default::default() }
        };
        page.set_status(status(wire::State::Ok, ""));
        assert_eq!(page.readiness(), Ok(()));
        let silent = page.readiness_at(Instant::now() + Duration::from_secs(3)).unwrap_err();
        assert!(silent.contains("for 3 s"), "{silent}");
        page.set_status(status(wire::State::Degraded, "results_stopped"));
        assert_eq!(page.readiness(), Err("DEGRADED: why".into()));
        // All of them were too old before they were published.
        let mut expired = status(wire::State::Degraded, "results_expired");
        expired.counters.as_mut().unwrap().results_expired = 9;
        page.set_status(expired);
        assert_eq!(page.readiness(), Err("DEGRADED: why".into()));
        let mut none_yet = status(wire::State::Starting, "");
        none_yet.counters = None;
        page.set_status(none_yet);
        assert!(page.readiness().unwrap_err().starts_with("STARTING: no result"));
        page.set_status(status(wire::State::Degraded, "recording_stopped"));
        assert_eq!(page.readiness(), Ok(()));
        page.set_status(status(wire::State::Degraded, "camera_lost"));
        assert_eq!(page.readiness(), Err("DEGRADED: why".into()));
        page.set_status(status(wire::State::Fault, "fault"));
        assert_eq!(page.readiness(), Err("FAULT: why".into()));
        assert!(page.is_faulty());
    }

    #[test]
    fn the_reasons_come_with_their_remedies() {
        let page = page();
        let reason = wire::Reason::CameraLost { why: "unplugged".into() };
        page.set_status(wire::Status {
            reasons_coded: vec![(&reason).into()],
            ..Default::default()
        });
        let told = &page.describe(0)["reasons"][0];
        assert_eq!(told["text"], "camera lost: unplugged");
        assert!(told["remedy"].as_str().unwrap().starts_with("Check power, cable"), "{told}");
    }

    #[test]
    fn the_page_has_words_for_every_refusal() {
        let script = include_str!("page/draw.js");
        let all = (1..).map_while(|number| wire::GraspRefusal::try_from(number).ok());
        for refusal in all {
            assert!(script.contains(&format!("{}:", refusal.as_str_name())), "{refusal:?}");
        }
    }

    /// Browsers run the scripts of a page as one: a name that two of them have stops the second.
    #[test]
    fn no_name_is_declared_in_two_scripts() {
        let scripts = [
            include_str!("page/draw.js"),
            include_str!("page/page.js"),
            include_str!("page/calibrate.js"),
        ];
        let words = ["const ", "let ", "async function ", "function "];
        let declared = |line: &'static str| {
            let rest = words.iter().find_map(|word| line.strip_prefix(word))?;
            rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
        };
        let mut names: Vec<&str> =
            scripts.iter().flat_map(|script| script.lines()).filter_map(declared).collect();
        assert!(names.len() > 30, "{names:?}");
        names.sort_unstable();
        let twice: Vec<_> = names.windows(2).filter(|two| two[0] == two[1]).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}

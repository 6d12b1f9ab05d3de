//! What can be asked of a page, and the answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Query, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use tokio::io::AsyncReadExt;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use crate::doors::Seat;
use crate::guard::{Foreign, check_caller};
use crate::orders::CalibrationOrder;
use crate::page::Page;
use crate::{metrics, recordings};

/// Whatever is asked is answered in this time; what is downloaded may take longer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// What programs ask, for whom some places are spared.
const FOR_PROGRAMS: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// One wrong token at a time is answered so late; others are sent away at once. What keeps guessers out
/// is the token's length.
const WRONG_TOKEN_PAUSE: Duration = Duration::from_secs(1);

/// Orders have some hundred bytes, the longest of them a pose.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What every answer says: nothing from elsewhere is loaded, and nobody else may show it.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

#[derive(Clone)]
struct Desk {
    page: Page,
    wrong_tokens: Arc<Mutex<()>>,
}

pub(crate) fn routes(page: Page) -> Router {
    let desk = Desk { page, wrong_tokens: Arc::default() };
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    Router::new()
        .route("/", file("text/html; charset=utf-8", include_str!("page/index.html")))
        .route("/page.css", file("text/css; charset=utf-8", include_str!("page/page.css")))
        .route("/page.js", file("text/javascript; charset=utf-8", include_str!("page/page.js")))
        .route("/draw.js", file("text/javascript; charset=utf-8", include_str!("page/draw.js")))
        .route(
            "/calibrate.js",
            file("text/javascript; charset=utf-8", include_str!("page/calibrate.js")),
        )
        .route("/icon.svg", file("image/svg+xml", include_str!("page/icon.svg")))
        .route("/api/status", get(status))
        .route("/api/look", get(look))
        .route("/api/keep", post(keep))
        .route("/api/recordings", get(list_recordings))
        .route("/api/calibration", get(look_at_calibration).post(calibrate))
        .route("/recordings/{place}/{name}", get(download))
        .route("/metrics", get(scrape))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .fallback(async || (StatusCode::NOT_FOUND, "there is no such page\n"))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(desk.clone(), guard))
        .with_state(desk)
}

/// Sends strangers away, and sets [`HEADERS`].
async fn guard(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let seat = request.extensions().get::<ConnectInfo<Seat>>();
    let is_spare = seat.is_some_and(|ConnectInfo(seat)| *seat == Seat::Spare);
    let mut response = match check_request(request.headers(), &desk.page.options().hosts) {
        Ok(()) if is_spare && !FOR_PROGRAMS.contains(&request.uri().path()) => {
            (StatusCode::SERVICE_UNAVAILABLE, "all places are taken: try again\n").into_response()
        }
        Ok(()) => match timeout(ANSWER_TIME_MAX, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                closing((StatusCode::SERVICE_UNAVAILABLE, "it took too long\n").into_response())
            }
        },
        Err(foreign) => {
            let refused = desk.page.refused();
            count(match foreign {
                Foreign::Host { .. } => &refused.host,
                Foreign::Origin { .. } => &refused.origin,
            });
            (StatusCode::FORBIDDEN, format!("{foreign}\n")).into_response()
        }
    };
    if is_spare {
        response = closing(response);
    }
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whoever is answered so leaves.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn check_request(headers: &HeaderMap, names: &[String]) -> Result<(), Foreign> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    check_caller(text(header::HOST), text(header::ORIGIN), names)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn status(State(desk): State<Desk>, Query(After { after }): Query<After>) -> Response {
    Json(desk.page.describe(after)).into_response()
}

async fn look(State(desk): State<Desk>, Query(After { after }): Query<After>) -> Response {
    shown(desk.page.look(after).await)
}

async fn look_at_calibration(
    State(desk): State<Desk>,
    Query(After { after }): Query<After>,
) -> Response {
    shown(desk.page.look_at_calibration(after).await)
}

fn shown(body: Option<Bytes>) -> Response {
    match body {
        Some(body) => ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

fn line(code: StatusCode, line: &str) -> Response {
    (code, format!("{line}\n")).into_response()
}

/// What whoever may not act is told; only who has the token may.
async fn refusal(desk: &Desk, headers: &HeaderMap) -> Option<Response> {
    let Some(token) = &desk.page.options().token else {
        let why = "this page can only look: give the daemon a token by [web] token, or by \
                   LoadCredential=web-token:FILE in the unit";
        return Some(line(StatusCode::FORBIDDEN, why));
    };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    if given.is_some_and(|given| token.is(given)) {
        return None;
    }
    count(&desk.page.refused().token);
    // Nobody waits in line for this: whoever waits holds a place.
    let Ok(_turn) = desk.wrong_tokens.try_lock() else {
        let why = "another wrong token is being answered: give the right one, or wait a second";
        return Some(closing(line(StatusCode::TOO_MANY_REQUESTS, why)));
    };
    tokio::time::sleep(WRONG_TOKEN_PAUSE).await;
    let why = "the token is not the daemon's: it stands in the file of [web] token, or of \
               LoadCredential=web-token";
    Some(closing(line(StatusCode::UNAUTHORIZED, why)))
}

async fn keep(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    if let Some(refused) = refusal(&desk, &headers).await {
        return refused;
    }
    if let Err(why) = desk.page.keep() {
        return line(StatusCode::CONFLICT, &why);
    }
    tracing::info!("the page asked to keep the recording");
    line(StatusCode::ACCEPTED, "the recording will be kept")
}

async fn calibrate(State(desk): State<Desk>, headers: HeaderMap, order: Bytes) -> Response {
    if let Some(refused) = refusal(&desk, &headers).await {
        return refused;
    }
    let order = match serde_json::from_slice::<CalibrationOrder>(&order) {
        Ok(order) => order,
        Err(error) => return line(StatusCode::BAD_REQUEST, &format!("this is no order: {error}")),
    };
    match desk.page.calibrate(order).await {
        Ok(done) => line(StatusCode::OK, &done),
        Err(why) => line(StatusCode::CONFLICT, &why),
    }
}

async fn list_recordings(State(desk): State<Desk>) -> Response {
    let Some(folder) = desk.page.options().recordings.clone() else {
        return Json(Vec::<recordings::Recording>::new()).into_response();
    };
    let listed = tokio::task::spawn_blocking(move || recordings::list(&folder)).await;
    match listed.expect("listing does not panic") {
        Ok(listed) => Json(listed).into_response(),
        Err(error) => {
            let why = format!("list the recordings: {error}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, why).into_response()
        }
    }
}

async fn download(
    State(desk): State<Desk>,
    Path((place, name)): Path<(String, String)>,
) -> Response {
    let gone = || (StatusCode::NOT_FOUND, "there is no such recording\n").into_response();
    let place = recordings::Place::named(&place);
    let (Some(place), Some(folder)) = (place, desk.page.options().recordings.clone()) else {
        return gone();
    };
    let attachment = format!("attachment; filename=\"{name}\"");
    let opened = tokio::task::spawn_blocking(move || recordings::open(&folder, place, &name)).await;
    let Ok((file, length)) = opened.expect("opening does not panic") else { return gone() };
    // The file may grow while it is read.
    let bytes = tokio::fs::File::from_std(file).take(length);
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, attachment),
    ];
    (headers, Body::from_stream(ReaderStream::new(bytes))).into_response()
}

async fn scrape(State(desk): State<Desk>) -> Response {
    let text = metrics::exposition(desk.page.scrape());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

async fn health(State(desk): State<Desk>) -> Response {
    if desk.page.is_faulty() {
        return (StatusCode::SERVICE_UNAVAILABLE, "fault\n").into_response();
    }
    "ok\n".into_response()
}

async fn readiness(State(desk): State<Desk>) -> Response {
    match desk.page.readiness() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response()
        }
    }
}

//! Serves the page, as soon as its address can be had.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

use crate::doors::{Doors, Seat};
use crate::page::Page;
use crate::routes::routes;

/// Between two tries to have the address.
const RETRY_PERIOD: Duration = Duration::from_secs(2);
/// The system takes twice as much. A picture has some 100 kB.
const SEND_BUFFER_BYTES: u32 = 128 * 1024;
/// Who may wait to be taken in.
const BACKLOG: u32 = 128;

/// Runs until it is aborted. While the address cannot be had, [`Page::problem`] says why.
pub async fn serve(page: Page, listen: SocketAddr) {
    loop {
        match listen_on(listen) {
            Ok(listener) => {
                page.set_problem(None);
                tracing::info!("the page is at http://{listen}/");
                // It only ends with an error of the listener itself, of which none is handed on.
                let _ = serve_on(listener, &page).await;
            }
            Err(error) => page.set_problem(Some(not_free(listen, &error))),
        }
        tokio::time::sleep(RETRY_PERIOD).await;
    }
}

async fn serve_on(listener: TcpListener, page: &Page) -> io::Result<()> {
    let routes = routes(page.clone()).into_make_service_with_connect_info::<Seat>();
    axum::serve(Doors::new(listener), routes).await
}

/// Viewers inherit the buffer: of one that never reads, it takes a few pictures and no more.
fn listen_on(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)
}

/// Whether the address could be had at this moment.
pub fn check_free(listen: SocketAddr) -> Result<(), String> {
    let listener = std::net::TcpListener::bind(listen);
    listener.map(drop).map_err(|error| not_free(listen, &error))
}

fn not_free(listen: SocketAddr, error: &io::Error) -> String {
    format!("listen on {listen}: {error}")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::Arc;

    use magpie_wire::CellName;

    use super::*;
    use crate::doors::GUESTS_MAX;
    use crate::guard::Token;
    use crate::page::PageOptions;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    /// A page that is served until the test ends.
    fn served() -> (Page, SocketAddr) {
        let options = PageOptions {
            cell: CellName::new("dock").unwrap(),
            version: "1.2.3",
            hosts: Vec::new(),
            token: Some(Token::new(TOKEN).unwrap()),
            recordings: None,
        };
        let page = Page::new(options, Arc::default());
        let (sender, address) = std::sync::mpsc::sync_channel(1);
        let served = page.clone();
        let thread = std::thread::Builder::new().name("page".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = listen_on("127.0.0.1:0".parse().unwrap()).unwrap();
                sender.send(listener.local_addr().unwrap()).unwrap();
                serve_on(listener, &served).await
            })
        });
        thread.unwrap();
        (page, address.recv().unwrap())
    }

    fn send(address: SocketAddr, asked: &str, headers: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("{asked} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Nothing more will be asked on that connection.
    fn keep(address: SocketAddr) -> String {
        let headers = format!("Authorization: Bearer {TOKEN}\r\nConnection: close\r\n");
        answer(send(address, "POST /api/keep", &headers))
    }

    /// Everything until the daemon closes the connection.
    fn answer(mut stream: TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn wrong_tokens_wait_for_nobody_and_leave() {
        let (_page, address) = served();
        let asked: Vec<_> =
            (0..GUESTS_MAX + 20).map(|_| send(address, "POST /api/keep", "")).collect();
        // None of them holds a place while it waits for the others.
        let answers: Vec<_> = asked.into_iter().map(answer).collect();
        let count = |code: &str| answers.iter().filter(|answer| answer.contains(code)).count();
        let [late, at_once] = [count("HTTP/1.1 401"), count("HTTP/1.1 429")];
        assert!(late >= 1 && at_once > GUESTS_MAX / 2, "{late} and {at_once}");
        let right = keep(address);
        assert!(right.starts_with("HTTP/1.1 409"), "nothing is recorded: {right}");
    }

    #[test]
    fn programs_are_answered_while_viewers_hold_all_places() {
        let (_page, address) = served();
        let crowd: Vec<_> = (0..GUESTS_MAX).map(|_| send(address, "GET /", "")).collect();
        for path in ["/healthz", "/metrics"] {
            let said = answer(send(address, &format!("GET {path}"), ""));
            assert!(said.starts_with("HTTP/1.1 200"), "{path}: {said}");
        }
        let said = answer(send(address, "GET /readyz", ""));
        assert!(said.contains("not ready: STARTING"), "{said}");
        let said = answer(send(address, "GET /", ""));
        assert!(said.starts_with("HTTP/1.1 503") && said.contains("all places"), "{said}");
        drop(crowd);
    }

    #[test]
    fn half_questions_keep_nobody_out() {
        let (_page, address) = served();
        let half = |number: usize| {
            let mut stream = TcpStream::connect(address).unwrap();
            if number.is_multiple_of(2) {
                stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").unwrap();
            }
            stream
        };
        let crowd: Vec<_> = (0..3 * GUESTS_MAX).map(half).collect();
        let said = answer(send(address, "GET /healthz", "Connection: close\r\n"));
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        // Not even a browser finds all places taken.
        let said = answer(send(address, "GET /", "Connection: close\r\n"));
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        drop(crowd);
    }

    #[test]
    fn the_recording_is_kept_or_it_is_said_why_not() {
        let (page, address) = served();
        page.set_keep(|| Err("recording stopped: the disk is full".into()));
        let said = keep(address);
        assert!(said.starts_with("HTTP/1.1 409") && said.contains("disk is full"), "{said}");
        let (page, address) = served();
        page.set_keep(|| Ok(()));
        let said = keep(address);
        assert!(said.starts_with("HTTP/1.1 202") && said.contains("will be kept"), "{said}");
    }
}

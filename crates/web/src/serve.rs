//! Serves the page, as soon as its address can be had.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};

use crate::doors::Doors;
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
                let _ = axum::serve(Doors::new(listener), routes(page.clone())).await;
            }
            Err(error) => page.set_problem(Some(not_free(listen, &error))),
        }
        tokio::time::sleep(RETRY_PERIOD).await;
    }
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

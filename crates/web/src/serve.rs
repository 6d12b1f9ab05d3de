//! Serves the page, as soon as its address can be had.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::doors::Doors;
use crate::page::Page;
use crate::routes::routes;

/// Between two tries to have the address.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// Runs until it is aborted. While the address cannot be had, [`Page::problem`] says why.
pub async fn serve(page: Page, listen: SocketAddr) {
    loop {
        match TcpListener::bind(listen).await {
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

/// Whether the address could be had at this moment.
pub fn check_free(listen: SocketAddr) -> Result<(), String> {
    let listener = std::net::TcpListener::bind(listen);
    listener.map(drop).map_err(|error| not_free(listen, &error))
}

fn not_free(listen: SocketAddr, error: &io::Error) -> String {
    format!("listen on {listen}: {error}")
}

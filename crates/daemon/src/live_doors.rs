//! Takes Foxglove's viewers in, and passes on what they and the server say.
//!
//! ```text
//! viewer -> hall (must ask at once) -> place (must take what comes) -> server of `recording`
//! ```
//!
//! The server itself takes whoever comes, for as long as they stay: each connection is a descriptor,
//! and without one the recording stops.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// Each takes three descriptors.
const VIEWERS_MAX: usize = 24;
/// Whoever comes beyond them takes the place of the one that has waited longest.
const HALL_MAX: usize = 16;
/// A viewer asks as soon as it has connected.
const ASKING_MAX: Duration = Duration::from_secs(2);
/// Foxglove's greeting has some hundred bytes.
const QUESTION_BYTES_MAX: usize = 8192;
/// A viewer that takes nothing for so long is sent away.
const STALLED_MAX: Duration = Duration::from_secs(30);
/// After an error of the listener itself, such as too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// How much is passed on at once.
const PIECE_BYTES: usize = 64 << 10;

/// Takes viewers in for the server at `behind`, until it is dropped.
pub(crate) async fn take_in(listener: TcpListener, behind: SocketAddr) -> ! {
    let places = Arc::new(Semaphore::new(VIEWERS_MAX));
    let mut hall: VecDeque<AbortHandle> = VecDeque::with_capacity(HALL_MAX);
    loop {
        let viewer = match listener.accept().await {
            Ok((viewer, _)) => viewer,
            Err(error) => {
                tracing::debug!(%error, "take a viewer of Foxglove's in");
                sleep(PAUSE).await;
                continue;
            }
        };
        hall.retain(|waiting| !waiting.is_finished());
        if hall.len() >= HALL_MAX
            && let Some(oldest) = hall.pop_front()
        {
            oldest.abort();
        }
        let asking = tokio::spawn(greet(viewer, Arc::clone(&places), behind));
        hall.push_back(asking.abort_handle());
    }
}

/// Lets a viewer have a place once it has asked.
async fn greet(mut viewer: TcpStream, places: Arc<Semaphore>, behind: SocketAddr) {
    let asked = timeout(ASKING_MAX, async {
        let question = question(&mut viewer).await.ok()?;
        Some((question, places.acquire_owned().await.ok()?))
    });
    if let Ok(Some((question, place))) = asked.await {
        // It leaves the hall: nobody takes its place any more.
        tokio::spawn(async move {
            if let Err(error) = serve(viewer, &question, behind, place).await {
                tracing::debug!(%error, "a viewer of Foxglove's left");
            }
        });
    }
}

/// The head of an HTTP request, and what came with it.
async fn question(viewer: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut question = Vec::with_capacity(QUESTION_BYTES_MAX);
    while !question.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = viewer.read_buf(&mut question).await?;
        if read == 0 || question.len() > QUESTION_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    // Behind empty lines the server would wait on for the question.
    if !question.starts_with(b"GET ") {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(question)
}

async fn serve(
    mut viewer: TcpStream,
    question: &[u8],
    behind: SocketAddr,
    _place: OwnedSemaphorePermit,
) -> io::Result<()> {
    let mut server = TcpStream::connect(behind).await?;
    viewer.set_nodelay(true)?;
    server.set_nodelay(true)?;
    server.write_all(question).await?;
    let (mut from_viewer, to_viewer) = viewer.split();
    let (from_server, mut to_server) = server.split();
    tokio::select! {
        ended = copy(&mut from_viewer, &mut to_server) => ended.map(drop),
        ended = show(from_server, to_viewer) => ended,
    }
}

async fn show(mut from_server: ReadHalf<'_>, mut to_viewer: WriteHalf<'_>) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let length = from_server.read(&mut piece).await?;
        if length == 0 {
            return Ok(());
        }
        timeout(STALLED_MAX, to_viewer.write_all(&piece[..length])).await??;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

    /// Doors before a server that says everything back.
    async fn doors() -> SocketAddr {
        let (listener, server) =
            (TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.1:0").await);
        let (listener, server) = (listener.unwrap(), server.unwrap());
        let (address, behind) = (listener.local_addr().unwrap(), server.local_addr().unwrap());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = server.accept().await.unwrap();
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    copy(&mut from, &mut to).await
                });
            }
        });
        tokio::spawn(take_in(listener, behind));
        address
    }

    async fn view(address: SocketAddr) -> io::Result<TcpStream> {
        let mut viewer = TcpStream::connect(address).await?;
        viewer.write_all(HELLO).await?;
        let mut answer = [0; HELLO.len()];
        viewer.read_exact(&mut answer).await?;
        assert_eq!(answer, HELLO);
        Ok(viewer)
    }

    #[tokio::test]
    async fn connections_that_say_nothing_or_half_of_it_keep_no_viewer_out() {
        let address = doors().await;
        let mut silent = Vec::new();
        for number in 0..300 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            match number % 3 {
                0 => stream.write_all(&HELLO[..9]).await.unwrap(),
                1 => stream.write_all(b"\r\n\r\n").await.unwrap(),
                _ => {}
            }
            silent.push(stream);
        }
        let mut viewer = view(address).await.unwrap();
        viewer.write_all(b"more").await.unwrap();
        let mut answer = [0; 4];
        viewer.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"more");
        // All that are left in the hall are given up in time.
        for mut stream in silent {
            assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
        }
    }

    #[tokio::test]
    async fn so_many_viewers_have_a_place_and_one_that_leaves_makes_room() {
        let address = doors().await;
        let mut viewers = Vec::new();
        for _ in 0..VIEWERS_MAX {
            viewers.push(view(address).await.unwrap());
        }
        assert!(view(address).await.is_err(), "one too many");
        viewers.pop();
        assert!(view(address).await.is_ok());
    }
}

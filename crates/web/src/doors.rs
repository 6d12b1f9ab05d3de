//! Takes connections in: so many at once, and none for longer than something moves on it. A few places
//! are spared for programs that ask how the cell is.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};

/// A hundred viewers and some.
pub(crate) const GUESTS_MAX: usize = 128;
/// For [`Seat::Spare`].
const SPARE_MAX: usize = 8;
/// Whoever has such a place asks at once.
const QUIET_TIME_SPARE: Duration = Duration::from_secs(2);
/// A viewer that takes nothing and asks nothing for so long is sent away.
const QUIET_TIME_MAX: Duration = Duration::from_secs(30);
/// After an error of the listener itself, such as too many open files.
const PAUSE: Duration = Duration::from_secs(1);

/// What a connection may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    Any,
    /// One question of a program, while all other places are taken.
    Spare,
}

impl Connected<IncomingStream<'_, Doors>> for Seat {
    fn connect_info(stream: IncomingStream<'_, Doors>) -> Seat {
        stream.io().seat
    }
}

pub(crate) struct Doors {
    listener: TcpListener,
    places: Arc<Semaphore>,
    spare: Arc<Semaphore>,
}

impl Doors {
    pub(crate) fn new(listener: TcpListener) -> Doors {
        let places = |count| Arc::new(Semaphore::new(count));
        Doors { listener, places: places(GUESTS_MAX), spare: places(SPARE_MAX) }
    }

    /// Whoever comes beyond all places waits for one.
    async fn place(&self) -> (OwnedSemaphorePermit, Seat) {
        let (place, seat) = tokio::select! {
            biased;
            place = Arc::clone(&self.places).acquire_owned() => (place, Seat::Any),
            place = Arc::clone(&self.spare).acquire_owned() => (place, Seat::Spare),
        };
        (place.expect("nobody closes it"), seat)
    }
}

impl Listener for Doors {
    type Io = Guest;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    let (place, seat) = self.place().await;
                    return (Guest::new(stream, place, seat), from);
                }
                Err(error) => {
                    tracing::debug!(%error, "take a viewer's connection in");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends by itself when nothing moves on it.
pub(crate) struct Guest {
    stream: TcpStream,
    seat: Seat,
    quiet_max: Duration,
    quiet: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Guest {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit, seat: Seat) -> Guest {
        let quiet_max = match seat {
            Seat::Any => QUIET_TIME_MAX,
            Seat::Spare => QUIET_TIME_SPARE,
        };
        Guest { stream, seat, quiet_max, quiet: Box::pin(sleep(quiet_max)), _place: place }
    }

    /// Passes on what happened; something that did not happen must not last.
    fn judge<T>(
        &mut self,
        moved: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            let until = Instant::now() + self.quiet_max;
            self.quiet.as_mut().reset(until);
            return moved;
        }
        ready!(self.quiet.as_mut().poll(context));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.judge(moved, context)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(moved, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(moved, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

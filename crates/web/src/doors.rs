//! Takes connections in: so many at once, and none for longer than something moves on it, which is an
//! answer that is taken, or the beginning of a question. Where all places are taken, whoever has waited
//! longest without a whole question makes room. A few places are spared for programs that ask how the
//! cell is.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep, timeout};

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

/// A guest that is sent away leaves as soon as it is looked at.
const LEAVING_TIME_MAX: Duration = Duration::from_millis(50);
/// Of the head of a question.
const END: &[u8] = b"\r\n\r\n";

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
    /// Those who have not asked, in the order in which they came.
    silent: VecDeque<Silent>,
}

/// A guest that has not asked anything yet, or only half of it.
struct Silent {
    has_asked: Arc<AtomicBool>,
    send_away: oneshot::Sender<()>,
}

impl Silent {
    fn is_there(&self) -> bool {
        !self.has_asked.load(Ordering::Relaxed) && !self.send_away.is_closed()
    }
}

impl Doors {
    pub(crate) fn new(listener: TcpListener) -> Doors {
        let places = |count| Arc::new(Semaphore::new(count));
        Doors {
            listener,
            places: places(GUESTS_MAX),
            spare: places(SPARE_MAX),
            silent: VecDeque::new(),
        }
    }

    /// Whoever comes beyond all places takes that of a guest that has not asked, or else waits for one.
    async fn place(&mut self) -> (OwnedSemaphorePermit, Seat) {
        if let Some(place) = self.place_of_a_silent_one().await {
            return (place, Seat::Any);
        }
        let (place, seat) = tokio::select! {
            biased;
            place = Arc::clone(&self.places).acquire_owned() => (place, Seat::Any),
            place = Arc::clone(&self.spare).acquire_owned() => (place, Seat::Spare),
        };
        (place.expect("nobody closes it"), seat)
    }

    async fn place_of_a_silent_one(&mut self) -> Option<OwnedSemaphorePermit> {
        if self.places.available_permits() == 0 {
            // What has come from those who were let in just now is read first.
            for _ in 0..2 {
                yield_now().await;
            }
            self.silent.retain(Silent::is_there);
            // One that left by itself makes room as well.
            let _ = self.silent.pop_front()?.send_away.send(());
        }
        timeout(LEAVING_TIME_MAX, Arc::clone(&self.places).acquire_owned()).await.ok()?.ok()
    }

    fn let_in(&mut self, stream: TcpStream, place: OwnedSemaphorePermit, seat: Seat) -> Guest {
        self.silent.retain(Silent::is_there);
        let has_asked = Arc::new(AtomicBool::new(false));
        let (send_away, sent_away) = oneshot::channel();
        if seat == Seat::Any {
            self.silent.push_back(Silent { has_asked: Arc::clone(&has_asked), send_away });
        }
        Guest::new(stream, place, seat, has_asked, sent_away)
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
                    return (self.let_in(stream, place, seat), from);
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
    /// Something was read since something was written.
    is_asking: bool,
    has_asked: Arc<AtomicBool>,
    /// How much of [`END`] came last.
    ended: usize,
    /// `None` once nobody can send it away any more.
    sent_away: Option<oneshot::Receiver<()>>,
    _place: OwnedSemaphorePermit,
}

impl Guest {
    fn new(
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        seat: Seat,
        has_asked: Arc<AtomicBool>,
        sent_away: oneshot::Receiver<()>,
    ) -> Guest {
        let quiet_max = match seat {
            Seat::Any => QUIET_TIME_MAX,
            Seat::Spare => QUIET_TIME_SPARE,
        };
        Guest {
            stream,
            seat,
            quiet_max,
            quiet: Box::pin(sleep(quiet_max)),
            is_asking: false,
            has_asked,
            ended: 0,
            sent_away: Some(sent_away),
            _place: place,
        }
    }

    /// Looks whether a question has been asked whole.
    fn note(&mut self, read: &[u8]) {
        for &byte in read {
            self.ended = match byte {
                _ if END.get(self.ended) == Some(&byte) => self.ended + 1,
                b'\r' => 1,
                _ => 0,
            };
            if self.ended == END.len() {
                self.has_asked.store(true, Ordering::Relaxed);
                self.ended = 0;
            }
        }
    }

    fn is_sent_away(&mut self, context: &mut Context<'_>) -> bool {
        let Some(sent_away) = &mut self.sent_away else { return false };
        match Pin::new(sent_away).poll(context) {
            Poll::Ready(sent) => {
                self.sent_away = None;
                sent.is_ok()
            }
            Poll::Pending => false,
        }
    }

    /// Passes on what happened; something that did not happen must not last. `is_progress`: that it
    /// happened buys more time.
    fn judge<T>(
        &mut self,
        moved: Poll<io::Result<T>>,
        is_progress: bool,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            if is_progress {
                let until = Instant::now() + self.quiet_max;
                self.quiet.as_mut().reset(until);
            }
            return moved;
        }
        if !self.is_sent_away(context) {
            ready!(self.quiet.as_mut().poll(context));
        }
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let moved = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(&buffer.filled()[before..]);
        // A question that trickles in is none: only its beginning counts.
        let begins = moved.is_ready() && !std::mem::replace(&mut self.is_asking, true);
        self.judge(moved, begins, context)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.is_asking &= moved.is_pending();
        self.judge(moved, true, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.is_asking &= moved.is_pending();
        self.judge(moved, true, context)
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A connection that may be quiet for a moment, and its other end.
    async fn guest(quiet_max: Duration) -> (Guest, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let mut guest = Guest::new(stream, place, Seat::Any, Arc::default(), oneshot::channel().1);
        guest.quiet_max = quiet_max;
        guest.quiet.as_mut().reset(Instant::now() + quiet_max);
        (guest, other)
    }

    #[tokio::test]
    async fn a_question_that_trickles_in_does_not_hold_a_place() {
        let (mut guest, mut other) = guest(Duration::from_millis(200)).await;
        let trickle = async {
            while other.write_all(b"X-a: b\r\n").await.is_ok() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let read = async {
            // It would take half a minute to send so many.
            for _ in 0..1500 {
                if let Err(error) = guest.read_u64().await {
                    return error.kind();
                }
            }
            panic!("it was heard to the end");
        };
        tokio::select! {
            kind = read => assert_eq!(kind, ErrorKind::TimedOut),
            () = trickle => panic!("the other end was closed first"),
        }
    }

    #[tokio::test]
    async fn questions_that_are_answered_go_on() {
        let (mut guest, mut other) = guest(Duration::from_millis(500)).await;
        for _ in 0..20 {
            other.write_all(b"question").await.unwrap();
            guest.read_u64().await.unwrap();
            sleep(Duration::from_millis(50)).await;
            guest.write_all(b"answer..").await.unwrap();
            other.read_u64().await.unwrap();
        }
    }
}

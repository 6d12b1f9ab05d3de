//! A camera on the network, for GStreamer to read: JPEG pictures one after another over TCP. It dies,
//! freezes and lies as it is told.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use image::{DynamicImage, ImageFormat, RgbImage};

use super::now;

/// Between two pictures.
const PERIOD: Duration = Duration::from_millis(60);
const SLOW_PERIOD: Duration = Duration::from_millis(700);

/// What the camera does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Streams,
    /// Hangs up, and answers nobody.
    Dead,
    /// Holds the connection and sends nothing.
    Frozen,
    /// Sends bytes that are no picture.
    Garbage,
    /// Sends pictures that break off in the middle.
    Torn,
    Slow,
    /// Sends pictures of another size.
    Resized,
}

struct State {
    mode: Mode,
    stopped: bool,
    /// When the last whole picture had gone out.
    sent: Instant,
}

pub(crate) struct Camera {
    port: u16,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Camera {
    pub(crate) fn start() -> Camera {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state =
            Arc::new(Mutex::new(State { mode: Mode::Streams, stopped: false, sent: now() }));
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new().name("camera".into());
        let thread = thread.spawn(move || serve(&listener, &shared)).unwrap();
        Camera { port, state, thread: Some(thread) }
    }

    pub(crate) fn pipeline(&self) -> String {
        format!(
            "tcpclientsrc host=127.0.0.1 port={} timeout=2 ! multipartdemux ! image/jpeg ! jpegdec ! \
             videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1 sync=false",
            self.port
        )
    }

    pub(crate) fn set(&self, mode: Mode) {
        lock(&self.state).mode = mode;
    }

    /// When the last whole picture had gone out.
    pub(crate) fn sent(&self) -> Instant {
        lock(&self.state).sent
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        lock(&self.state).stopped = true;
        let _ = self.thread.take().unwrap().join();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One picture of 64x32 px, of a brightness that changes from one to the next.
fn jpeg(width_px: u32, height_px: u32, number: u8) -> Vec<u8> {
    let picture = RgbImage::from_fn(width_px, height_px, |x, y| {
        image::Rgb([number, (4 * x) as u8, (8 * y) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::from(picture).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

fn part(bytes: &[u8]) -> Vec<u8> {
    let header =
        format!("--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", bytes.len());
    [header.as_bytes(), bytes, b"\r\n"].concat()
}

fn serve(listener: &TcpListener, state: &Mutex<State>) {
    let mut reader: Option<TcpStream> = None;
    let mut number = 0_u8;
    loop {
        let (mode, stopped) = {
            let state = lock(state);
            (state.mode, state.stopped)
        };
        if stopped {
            return;
        }
        // The newest connection is the one that is read.
        while let Ok((stream, _)) = listener.accept() {
            stream.set_write_timeout(Some(PERIOD)).unwrap();
            reader = Some(stream);
        }
        if mode == Mode::Dead {
            reader = None;
        }
        number = number.wrapping_add(1);
        let bytes = match mode {
            Mode::Dead | Mode::Frozen => Vec::new(),
            Mode::Streams | Mode::Slow => part(&jpeg(64, 32, number)),
            Mode::Resized => part(&jpeg(96, 48, number)),
            Mode::Garbage => part(&[number; 700]),
            Mode::Torn => {
                let whole = jpeg(64, 32, number);
                part(&whole[..whole.len() / 2])
            }
        };
        if let Some(stream) = &mut reader
            && !bytes.is_empty()
        {
            if stream.write_all(&bytes).is_err() {
                reader = None;
            } else if !matches!(mode, Mode::Garbage | Mode::Torn) {
                lock(state).sent = now();
            }
        }
        std::thread::sleep(if mode == Mode::Slow { SLOW_PERIOD } else { PERIOD });
    }
}

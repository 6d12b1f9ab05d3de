//! The network between a daemon and its reader, which can be cut and blocked.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const TICK: Duration = Duration::from_millis(2);

/// What the network does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Flow {
    Open,
    /// Nothing gets through, and nobody is told.
    Blocked,
    /// Every connection is closed, and none is accepted.
    Cut,
}

pub(crate) struct Link {
    pub(crate) endpoint: String,
    flow: Arc<AtomicU8>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Leads to `target`, an address and port.
    pub(crate) fn start(target: String) -> Link {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let endpoint = format!("tcp/{}", listener.local_addr().unwrap());
        let flow = Arc::new(AtomicU8::new(Flow::Open as u8));
        let stopped = Arc::new(AtomicBool::new(false));
        let (flow_seen, stop_seen) = (Arc::clone(&flow), Arc::clone(&stopped));
        let thread = std::thread::Builder::new().name("link".into());
        let carry = move || carry_all(&listener, &target, &flow_seen, &stop_seen);
        let thread = thread.spawn(carry).unwrap();
        Link { endpoint, flow, stopped, thread: Some(thread) }
    }

    pub(crate) fn set(&self, flow: Flow) {
        self.flow.store(flow as u8, Ordering::Relaxed);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// One direction of a connection, and what is under way in it.
struct Lane {
    from: TcpStream,
    to: TcpStream,
    waiting: Vec<u8>,
}

impl Lane {
    fn new(from: &TcpStream, to: &TcpStream) -> std::io::Result<Lane> {
        for stream in [from, to] {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
        }
        Ok(Lane { from: from.try_clone()?, to: to.try_clone()?, waiting: Vec::new() })
    }

    /// `false` once the connection has ended.
    fn carry(&mut self) -> bool {
        let mut bytes = [0; 1 << 16];
        while self.waiting.len() < 1 << 20 {
            match self.from.read(&mut bytes) {
                Ok(0) => return false,
                Ok(count) => self.waiting.extend(&bytes[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        match self.to.write(&self.waiting) {
            Ok(count) => drop(self.waiting.drain(..count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
        true
    }
}

fn carry_all(listener: &TcpListener, target: &str, flow: &AtomicU8, stopped: &AtomicBool) {
    let mut connections: Vec<[Lane; 2]> = Vec::new();
    while !stopped.load(Ordering::Relaxed) {
        let flow = flow.load(Ordering::Relaxed);
        if flow == Flow::Cut as u8 {
            connections.clear();
        }
        while let Ok((reader, _)) = listener.accept() {
            if flow == Flow::Cut as u8 {
                continue;
            }
            let lanes = TcpStream::connect(target).and_then(|daemon| {
                Ok([Lane::new(&reader, &daemon)?, Lane::new(&daemon, &reader)?])
            });
            connections.extend(lanes);
        }
        if flow == Flow::Open as u8 {
            connections.retain_mut(|lanes| lanes.iter_mut().all(Lane::carry));
        }
        std::thread::sleep(TICK);
    }
}

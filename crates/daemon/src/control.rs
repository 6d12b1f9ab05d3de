//! Orders from this machine: a Unix socket in the folder of the instance, which root and the service's
//! group may open. Nothing that comes over the network gets here.
//!
//! One line of JSON is the [`Order`], and one line is the [`Answer`].

use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, oneshot};

use crate::failure::one_line;
use crate::models::Models;

/// Owner and group, nobody else.
const MODE: u32 = 0o660;
const ORDER_BYTES_MAX: u64 = 4096;
const ORDER_MAX: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
/// More at once are turned away.
const ORDERS_MAX: usize = 4;
const BACKLOG: i32 = 8;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// An installed model, by its name or its hash.
    UseModel(String),
    RollBackModel,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub done: bool,
    /// What was done, or why not.
    pub said: String,
}

impl From<Result<String, anyhow::Error>> for Answer {
    fn from(outcome: Result<String, anyhow::Error>) -> Answer {
        match outcome {
            Ok(said) => Answer { done: true, said },
            Err(error) => Answer { done: false, said: one_line(&error) },
        }
    }
}

/// Makes the socket. One that an ended daemon left there is replaced.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            let why = format!("{} is no socket; remove it", path.display());
            return Err(io::Error::new(ErrorKind::AlreadyExists, why));
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            let why = format!("another daemon takes orders at {}", path.display());
            return Err(io::Error::new(ErrorKind::AddrInUse, why));
        }
        Ok(_) => fs::remove_file(path)?,
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    // Nobody can connect before it listens, whatever the umask has left open until here.
    magpie_files::set_mode(path, MODE)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Takes orders until it is aborted.
pub(crate) async fn serve(listener: UnixListener, models: Arc<Models>) {
    let listener = match tokio::net::UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("take orders: {error}"),
    };
    let free = Arc::new(Semaphore::new(ORDERS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("take an order: {error}");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        // Whoever is turned away sees the connection end.
        let Ok(permit) = Arc::clone(&free).try_acquire_owned() else { continue };
        let models = Arc::clone(&models);
        tokio::spawn(async move {
            if let Err(error) = answer(stream, models).await {
                tracing::debug!("answer an order: {error}");
            }
            drop(permit);
        });
    }
}

async fn answer(stream: tokio::net::UnixStream, models: Arc<Models>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(reader.take(ORDER_BYTES_MAX));
    let read = tokio::time::timeout(ORDER_MAX, reader.read_line(&mut line)).await;
    read.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
    let answer = match serde_json::from_str(&line) {
        Ok(order) => carry_out(order, models).await,
        Err(error) => {
            let said = format!("this is no order that this version of Magpie knows: {error}");
            Answer { done: false, said }
        }
    };
    let answer = serde_json::to_string(&answer).expect("text");
    writer.write_all(format!("{answer}\n").as_bytes()).await
}

/// On a thread of its own: loading a model takes seconds, and the end of the process does not wait for
/// it.
async fn carry_out(order: Order, models: Arc<Models>) -> Answer {
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        let outcome = match order {
            Order::UseModel(model) => models.use_model(&model),
            Order::RollBackModel => models.roll_back(),
        };
        // Whoever asked may have left.
        let _ = sender.send(Answer::from(outcome));
    };
    let started = std::thread::Builder::new().name("magpie-model".into()).spawn(work);
    let failed = |said: String| Answer { done: false, said };
    if let Err(error) = started {
        return failed(format!("start a thread for the order: {error}"));
    }
    receiver.await.unwrap_or_else(|_| failed("the order failed: see the daemon's log".to_owned()))
}

/// Gives an order to a running daemon, and waits for the answer.
pub fn ask(socket: &Path, order: &Order, answer_max: Duration) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(answer_max))?;
    stream.set_write_timeout(Some(ORDER_MAX))?;
    let order = serde_json::to_string(order).expect("text");
    stream.write_all(format!("{order}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut line)?;
    if line.is_empty() {
        let why = "the daemon gave no answer: it ended, or has other orders";
        return Err(io::Error::new(ErrorKind::UnexpectedEof, why));
    }
    serde_json::from_str(&line).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn the_socket_is_for_owner_and_group_and_replaces_only_a_dead_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let first = listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
        assert!(listen(&path).unwrap_err().to_string().contains("another daemon"));
        drop(first);
        let _second = listen(&path).unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "mine").unwrap();
        let link = folder.path().join("link");
        symlink(&file, &link).unwrap();
        for other in [&file, &link] {
            assert!(listen(other).unwrap_err().to_string().contains("no socket"));
        }
        assert_eq!(fs::read(&file).unwrap(), b"mine");
    }

    #[test]
    fn an_order_is_one_line_that_is_understood_or_refused() {
        let written = serde_json::to_string(&Order::UseModel("tiny".into())).unwrap();
        assert_eq!(written, r#"{"use_model":"tiny"}"#);
        assert!(serde_json::from_str::<Order>(r#"{"stop":1}"#).is_err());
    }
}

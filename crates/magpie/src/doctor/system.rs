//! What the system tells in files and through its own programs.

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

/// Tables of the kernel have some kilobytes; those of a machine with many connections more.
const TABLE_BYTES_MAX: u64 = 16_000_000;

/// `None` where there is no such file here, or nobody may read it.
pub(super) fn read(path: impl AsRef<Path>) -> Option<String> {
    magpie_files::read_text(path.as_ref(), TABLE_BYTES_MAX).ok()
}

/// What a program of the system prints. `None` where it is not there, or cannot tell.
pub(super) fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A process of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) number: u32,
    pub(super) name: String,
}

impl Display for Process {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.number, self.name)
    }
}

/// Who listens at a TCP address of this machine, as far as this user may know.
pub(super) fn listener_at(address: SocketAddr) -> Option<Process> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| listening_inode(&read(table)?, address))?;
    let link = format!("socket:[{inode}]");
    let holds = |process: &u32| {
        let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"));
        let mut targets = descriptors.into_iter().flatten().flatten();
        targets.any(|entry| {
            std::fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == link.as_str())
        })
    };
    let entries = std::fs::read_dir("/proc").ok()?.flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // A child that was just born holds what its parent holds.
    let number = numbers.filter(holds).min()?;
    let name = read(format!("/proc/{number}/comm")).unwrap_or_default();
    Some(Process { number, name: name.trim().to_owned() })
}

/// The number of the socket that listens at an address, or at its port on all of them:
/// `sl local:port remote:port st ... inode`.
fn listening_inode(table: &str, address: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = local_address(fields.get(1)?)?;
        let is_it = local.port() == address.port()
            && (local.ip() == address.ip() || local.ip().is_unspecified());
        let is_listening = *fields.get(3)? == LISTEN;
        (is_it && is_listening).then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

/// `0100007F:4427` is 127.0.0.1:17447: the kernel writes words in the order of the processor.
fn local_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word =
        |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match address.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            IpAddr::from(<[u8; 16]>::try_from(words.concat()).ok()?)
        }
        _ => return None,
    };
    // An IPv4 address on a socket of IPv6.
    Some(SocketAddr::new(ip.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_by_its_address() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let holder = listener_at(address).unwrap();
        assert_eq!(holder.number, std::process::id(), "{holder}");
        let elsewhere = SocketAddr::new(IpAddr::from([127, 0, 0, 2]), address.port());
        assert_eq!(listener_at(elsewhere), None);
        drop(socket);
        assert_eq!(listener_at(address), None);
    }

    #[test]
    fn a_connection_is_no_listener_and_a_listener_on_all_addresses_is_one() {
        let table = "  sl  local_address rem_address   st\n   \
             0: 0100007F:4427 0100007F:1234 01 0:0 0:0 0 0 0 11 1\n   \
             1: 0200007F:4427 00000000:0000 0A 0:0 0:0 0 0 0 12 1\n   \
             2: 00000000:4428 00000000:0000 0A 0:0 0:0 0 0 0 13 1\nodd\n";
        let found = |address: &str| listening_inode(table, address.parse().unwrap());
        assert_eq!(found("127.0.0.1:17447"), None);
        assert_eq!(found("127.0.0.2:17447"), Some(12));
        assert_eq!(found("127.0.0.1:17448"), Some(13));
        let mapped = local_address("0000000000000000FFFF00000100007F:4427").unwrap();
        assert_eq!(mapped, "127.0.0.1:17447".parse().unwrap());
        let six = local_address("00000000000000000000000001000000:4427").unwrap();
        assert_eq!(six, "[::1]:17447".parse().unwrap());
        assert_eq!(local_address("0100:4427"), None);
    }

    #[test]
    fn a_program_that_is_not_there_or_fails_tells_nothing() {
        assert_eq!(ask("no-such-program-here", &[]), None);
        assert_eq!(ask("false", &[]), None);
        assert_eq!(ask("echo", &["a"]).as_deref(), Some("a"));
    }
}

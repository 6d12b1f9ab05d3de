//! What the system tells in files and through its own programs.

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

/// Who listens at a TCP port of this machine, as far as this user may know.
pub(super) fn listener_at(port: u16) -> Option<String> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    let inode = tables.iter().find_map(|table| listening_inode(&read(table)?, port))?;
    let link = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let holder = processes.map(|entry| entry.path()).find(|process| {
        let descriptors = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        let mut targets = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        targets.any(|target| target.as_os_str() == link.as_str())
    })?;
    let number = holder.file_name()?.to_str()?.to_owned();
    let name = read(holder.join("comm")).unwrap_or_default();
    Some(format!("process {number} ({})", name.trim()))
}

/// The number of the socket that listens at a port: `sl local:port remote:port st ... inode`.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local_port) = fields.get(1)?.rsplit_once(':')?;
        let is_it = u16::from_str_radix(local_port, 16).ok()? == port && *fields.get(3)? == LISTEN;
        is_it.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_found_by_its_port() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let holder = listener_at(port).unwrap();
        assert!(holder.contains(&format!("process {}", std::process::id())), "{holder}");
        drop(socket);
        assert_eq!(listener_at(port), None);
    }

    #[test]
    fn a_connection_is_no_listener() {
        let table = "  sl  local_address rem_address   st\n   \
             0: 0100007F:4427 0100007F:1234 01 0:0 0:0 0 0 0 11 1\n   \
             1: 0100007F:4427 00000000:0000 0A 0:0 0:0 0 0 0 12 1\nodd\n";
        assert_eq!(listening_inode(table, 0x4427), Some(12));
        assert_eq!(listening_inode(table, 0x4428), None);
    }

    #[test]
    fn a_program_that_is_not_there_or_fails_tells_nothing() {
        assert_eq!(ask("no-such-program-here", &[]), None);
        assert_eq!(ask("false", &[]), None);
        assert_eq!(ask("echo", &["a"]).as_deref(), Some("a"));
    }
}

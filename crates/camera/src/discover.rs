//! Finds cameras that are plugged in or answer on the local networks, for people who configure one.
//! None is opened, and nothing about them is changed.
//!
//! GigE Vision cameras answer a broadcast of GVCP (their control protocol), network cameras a
//! multicast of WS-Discovery (as ONVIF asks of them). What says nothing is not found.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_ip_multicast_if;

/// A camera of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelCamera {
    /// The name that stays with the camera.
    pub path: PathBuf,
    /// What it is at present: `/dev/video0`.
    pub node: PathBuf,
}

/// A GigE Vision camera.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GigeCamera {
    pub address: Ipv4Addr,
    pub maker: String,
    pub model: String,
    pub serial: String,
}

/// The addresses that this machine has, and those that everybody on its networks hears.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalNetworks {
    pub own: Vec<Ipv4Addr>,
    pub broadcast: Vec<Ipv4Addr>,
}

const STABLE_FOLDERS: [&str; 2] = ["/dev/v4l/by-id", "/dev/v4l/by-path"];
const GVCP_PORT: u16 = 3956;
/// Key, flags (acknowledge, also by broadcast), `DISCOVERY_CMD`, no payload, a number of its own.
const GVCP_DISCOVERY: [u8; 8] = [0x42, 0x11, 0x00, 0x02, 0x00, 0x00, 0x4d, 0x47];
const GVCP_HEADER: usize = 8;
const GVCP_PAYLOAD: usize = 248;
const WS_DISCOVERY: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 255, 250), 3702);
/// The kernel's table of addresses: one machine has some kilobytes of it.
const FIB_TRIE: &str = "/proc/net/fib_trie";
const FIB_TRIE_BYTES_MAX: u64 = 64_000_000;

/// The cameras of the kernel by their stable names: by make and serial number where they have one,
/// else by the socket they are plugged into.
pub fn kernel_cameras() -> Vec<KernelCamera> {
    let mut found: Vec<KernelCamera> = Vec::new();
    for folder in STABLE_FOLDERS {
        let mut named = links_in(Path::new(folder));
        named.retain(|camera| found.iter().all(|known| known.node != camera.node));
        named.sort();
        found.append(&mut named);
    }
    found
}

fn links_in(folder: &Path) -> Vec<KernelCamera> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let camera = |entry: std::fs::DirEntry| {
        let node = std::fs::canonicalize(entry.path()).ok()?;
        Some(KernelCamera { path: entry.path(), node })
    };
    entries.filter_map(camera).collect()
}

impl LocalNetworks {
    pub fn read() -> io::Result<LocalNetworks> {
        let table = magpie_files::read_text(Path::new(FIB_TRIE), FIB_TRIE_BYTES_MAX)?;
        Ok(LocalNetworks::parse(&table))
    }

    /// An address stands in a line `|-- 192.168.5.7`, what it is in the lines below it.
    fn parse(table: &str) -> LocalNetworks {
        let mut networks = LocalNetworks::default();
        let mut address = Ipv4Addr::UNSPECIFIED;
        for line in table.lines() {
            let line = line.trim();
            if let Some(text) = line.strip_prefix("|-- ") {
                address = text.parse().unwrap_or(Ipv4Addr::UNSPECIFIED);
            }
            let list = match line {
                "/32 host LOCAL" => &mut networks.own,
                "/32 link BROADCAST" => &mut networks.broadcast,
                _ => continue,
            };
            // The table names each of them twice.
            if !address.is_loopback() && !list.contains(&address) {
                list.push(address);
            }
        }
        networks
    }
}

/// The GigE Vision cameras that answer at these addresses, which may be broadcast, in this time.
pub fn gige_cameras(places: &[Ipv4Addr], patience: Duration) -> io::Result<Vec<GigeCamera>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_broadcast(true)?;
    for place in places {
        // A network that is down has no cameras.
        let _ = socket.send_to(&GVCP_DISCOVERY, (*place, GVCP_PORT));
    }
    let mut found = Vec::new();
    hear(&socket, patience, |answer, _| found.extend(parse_gvcp(answer)))?;
    found.sort();
    found.dedup();
    Ok(found)
}

/// The addresses of network cameras that answer in this time on the networks of these own addresses.
pub fn network_cameras(own: &[Ipv4Addr], patience: Duration) -> io::Result<Vec<IpAddr>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    for address in own {
        // A network that takes no multicast has no cameras to be found.
        let _ = set_ip_multicast_if(&socket, address)
            .map_err(io::Error::from)
            .and_then(|()| socket.send_to(probe().as_bytes(), WS_DISCOVERY));
    }
    let mut found = Vec::new();
    hear(&socket, patience, |answer, from| {
        let answer = String::from_utf8_lossy(answer);
        if answer.contains("ProbeMatch") && answer.contains("NetworkVideoTransmitter") {
            found.push(from.ip());
        }
    })?;
    found.sort();
    found.dedup();
    Ok(found)
}

/// What WS-Discovery asks for: who is a camera as ONVIF describes it?
fn probe() -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:w=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\" \
         xmlns:dn=\"http://www.onvif.org/ver10/network/wsdl\"><e:Header>\
         <w:MessageID>uuid:6d616770-6965-4000-8000-{:012x}</w:MessageID>\
         <w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>\
         <w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>\
         <e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body>\
         </e:Envelope>",
        std::process::id()
    )
}

/// Hands over each datagram that comes within `patience`.
fn hear(
    socket: &UdpSocket,
    patience: Duration,
    mut take: impl FnMut(&[u8], SocketAddr),
) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "it ends a wait, and stamps nothing")]
    let began = Instant::now();
    let mut datagram = vec![0; 65_536];
    while let Some(left) = patience.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left))?;
        match socket.recv_from(&mut datagram) {
            Ok((length, from)) => take(&datagram[..length], from),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // The machine at one of the addresses has no such port.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `None`: no answer of a GigE Vision camera.
fn parse_gvcp(answer: &[u8]) -> Option<GigeCamera> {
    let (header, payload) = answer.split_at_checked(GVCP_HEADER)?;
    // Success, an acknowledgement of discovery, of our question.
    let is_ours = header[..4] == [0, 0, 0, 3] && header[6..] == GVCP_DISCOVERY[6..];
    let payload = payload.get(..GVCP_PAYLOAD).filter(|_| is_ours)?;
    let text = |at: usize, length: usize| {
        let bytes = payload[at..at + length].split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(bytes).trim().to_owned()
    };
    let address = <[u8; 4]>::try_from(&payload[0x24..0x28]).expect("four bytes");
    Some(GigeCamera {
        address: address.into(),
        maker: text(0x48, 32),
        model: text(0x68, 32),
        serial: text(0xd8, 16),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_the_kernels_table() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                     Local:\n  +-- 127.0.0.0/8 2 0 2\n     |-- 127.0.0.1\n        /32 host LOCAL\n\
                     \x20    |-- 127.255.255.255\n        /32 link BROADCAST\n\
                     \x20    |-- 192.168.5.7\n        /32 host LOCAL\n\
                     \x20    |-- 192.168.5.255\n        /32 link BROADCAST\n\
                     \x20    |-- 192.168.5.255\n        /32 link BROADCAST\n";
        let networks = LocalNetworks::parse(table);
        assert_eq!(networks.own, [Ipv4Addr::new(192, 168, 5, 7)]);
        assert_eq!(networks.broadcast, [Ipv4Addr::new(192, 168, 5, 255)]);
    }

    fn answer() -> Vec<u8> {
        let mut answer = vec![0, 0, 0, 3, 0, 248, 0x4d, 0x47];
        answer.resize(GVCP_HEADER + GVCP_PAYLOAD, 0);
        let mut put = |at: usize, bytes: &[u8]| {
            answer[GVCP_HEADER + at..][..bytes.len()].copy_from_slice(bytes);
        };
        put(0x24, &[10, 0, 0, 9]);
        put(0x48, b"Acme");
        put(0x68, &[b'x'; 32]);
        put(0xd8, b"0123");
        answer
    }

    #[test]
    fn a_camera_says_who_it_is() {
        let camera = parse_gvcp(&answer()).unwrap();
        assert_eq!(camera.address, Ipv4Addr::new(10, 0, 0, 9));
        assert_eq!((&*camera.maker, &*camera.serial), ("Acme", "0123"));
        assert_eq!(camera.model, "x".repeat(32), "a name may fill its field");
    }

    #[test]
    fn what_is_no_answer_is_no_camera() {
        let whole = answer();
        for length in 0..whole.len() {
            assert_eq!(parse_gvcp(&whole[..length]), None, "cut at {length}");
        }
        for (at, byte) in [(0, 0x80), (3, 2), (7, 0)] {
            let mut other = whole.clone();
            other[at] = byte;
            assert_eq!(parse_gvcp(&other), None, "byte {at}");
        }
    }

    #[test]
    fn cameras_that_answer_are_heard_until_time_is_up() {
        let camera = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let asker = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        camera.send_to(&answer(), asker.local_addr().unwrap()).unwrap();
        camera.send_to(b"noise", asker.local_addr().unwrap()).unwrap();
        let mut heard = Vec::new();
        let patience = Duration::from_millis(100);
        hear(&asker, patience, |answer, _| heard.push(parse_gvcp(answer).is_some())).unwrap();
        assert_eq!(heard, [true, false]);
    }
}

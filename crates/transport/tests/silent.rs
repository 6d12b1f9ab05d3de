//! Connections that say nothing do not keep readers out. A program of its own: it needs many
//! descriptors.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use magpie_client::{Client, ClientOptions, Freshness};
use magpie_network::ZenohConfig;
use magpie_transport::TransportOptions;
use support::site::{Site, address};
use support::{Cell, cell, clock, free_endpoint, options, runtime};

const SILENT: usize = 300;
/// Longer than it takes until a silent connection is given up.
const LONG: Duration = Duration::from_millis(2500);
/// A reader has this often two seconds to get in.
const TRIES: usize = 10;

/// Connects, says nothing, and connects again when it is thrown out, until `stop`.
fn be_silent(address: &str, stop: &AtomicBool) {
    let connect = || {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nonblocking(true).unwrap();
        Some(stream)
    };
    let mut streams: Vec<_> = (0..SILENT).map(|_| connect()).collect();
    while !stop.load(Ordering::Relaxed) {
        for stream in &mut streams {
            let is_open = stream.as_ref().is_some_and(|stream| {
                let read = stream.peek(&mut [0; 16]);
                read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
            });
            if !is_open {
                *stream = connect();
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn check_readers_get_in(opened: TransportOptions, address: &str, reader: &ZenohConfig) {
    let runtime = runtime();
    let mut cell_open = Cell::open(opened, &runtime).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| be_silent(address, &stop));
        for round in 0..4 {
            std::thread::sleep(LONG);
            let join = |_| {
                let options = ClientOptions::new(cell("dock"), reader.clone(), clock());
                Client::open(options).ok()?.packages().ok()
            };
            let joined = (0..TRIES).find_map(join);
            stop.store(joined.is_none(), Ordering::Relaxed);
            let joined = joined.unwrap_or_else(|| panic!("kept out in round {round}"));
            cell_open.publish_until(|| matches!(joined.latest(), Freshness::Fresh(_)));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn silent_connections_do_not_keep_readers_out_of_an_open_cell() {
    let endpoint = free_endpoint();
    let address = endpoint.trim_start_matches("tcp/").to_owned();
    let reader = ZenohConfig::Connect(vec![endpoint.clone()]);
    check_readers_get_in(options("dock", &endpoint), &address, &reader);
}

#[test]
fn silent_connections_do_not_keep_readers_out_of_a_secured_cell() {
    let site = Site::new(&address());
    let opened = TransportOptions { zenoh: site.zenoh("daemon"), ..options("dock", "") };
    check_readers_get_in(opened, &format!("{}:17447", site.address), &site.zenoh("arm"));
}

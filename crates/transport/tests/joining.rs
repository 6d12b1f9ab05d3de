//! Joining the network, and each way in which that can be refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use magpie_client::{Client, ClientOptions, PackagesSubscriber};
use magpie_network::{NetworkError, ZenohConfig};
use magpie_transport::TransportOptions;
use magpie_wire::CellName;
use support::{Cell, cell, clock, free_endpoint, options, runtime, session};
use zenoh::Wait;

/// The message and its causes on one line, as the program prints it.
fn line(error: &NetworkError) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

fn refusal(opened: TransportOptions) -> NetworkError {
    let runtime = runtime();
    Cell::open(opened, &runtime).map(|_| ()).unwrap_err()
}

#[test]
fn a_second_daemon_of_the_same_cell_on_the_same_endpoint_hears_who_has_the_cell() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let _first = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let error = refusal(options("dock", &endpoint));
    assert!(matches!(error, NetworkError::CellTaken { .. }), "{}", line(&error));
    let line = line(&error);
    assert!(line.contains("cell \"dock\" is already published by another magpie daemon"), "{line}");
    assert!(line.contains(&endpoint), "{line}");
}

#[test]
fn a_second_daemon_of_the_same_cell_elsewhere_on_the_network_is_refused_too() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let _first = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zenoh.json5");
    let joined = format!(
        "{{ mode: 'peer', listen: {{ endpoints: ['{}'] }}, connect: {{ endpoints: ['{endpoint}'] }},
           scouting: {{ multicast: {{ enabled: false }}, gossip: {{ enabled: false }} }} }}",
        free_endpoint()
    );
    std::fs::write(&path, joined).unwrap();
    let elsewhere = |name: &str| TransportOptions {
        zenoh: ZenohConfig::File(path.clone()),
        ..options(name, &endpoint)
    };
    let error = refusal(elsewhere("dock"));
    assert!(matches!(error, NetworkError::CellTaken { .. }), "{}", line(&error));
    assert!(Cell::open(elsewhere("deck"), &runtime).is_ok(), "another cell is welcome");
}

#[test]
fn another_cell_on_a_taken_endpoint_hears_which_setting_to_change() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let _first = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let error = refusal(options("deck", &endpoint));
    assert!(matches!(error, NetworkError::EndpointTaken { .. }), "{}", line(&error));
    assert!(line(&error).contains("`listen.endpoints`") && line(&error).contains(&endpoint));
}

#[test]
fn an_endpoint_that_another_program_holds_is_named() {
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("tcp/{}", stranger.local_addr().unwrap());
    let error = refusal(options("dock", &endpoint));
    assert!(matches!(error, NetworkError::EndpointTaken { .. }), "{}", line(&error));
    assert!(line(&error).contains(&endpoint));
}

#[test]
fn a_daemon_that_left_makes_room_for_the_next() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    for _ in 0..3 {
        drop(Cell::open(options("dock", &endpoint), &runtime).unwrap());
    }
}

#[test]
fn a_zenoh_configuration_that_does_not_parse_is_named_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zenoh.json5");
    let mut lines = Vec::new();
    for text in ["{ mode: 'peer', listen: {", "{ mode: 'pear' }", "{ colour: 'red' }"] {
        std::fs::write(&path, text).unwrap();
        let error = refusal(TransportOptions {
            zenoh: ZenohConfig::File(path.clone()),
            ..options("dock", "")
        });
        assert!(matches!(error, NetworkError::ConfigFile { .. }), "{}", line(&error));
        lines.push(line(&error));
    }
    let is_clear = |line: &String| {
        line.contains("zenoh.json5: ") && !line.contains('\n') && !line.contains(".rs:")
    };
    assert!(lines.iter().all(is_clear), "{lines:?}");
    assert!(lines[1].contains("pear") && lines[2].contains("colour"), "{lines:?}");
    let missing = TransportOptions {
        zenoh: ZenohConfig::File(folder.path().join("none.json5")),
        ..options("dock", "")
    };
    let line = line(&refusal(missing));
    assert!(line.contains("none.json5: ") && line.contains("No such file"), "{line}");
}

fn join(zenoh: ZenohConfig) -> Result<PackagesSubscriber, NetworkError> {
    Client::open(ClientOptions::new(cell("dock"), zenoh, clock()))?.packages()
}

#[test]
fn a_subscriber_that_finds_nobody_says_where_it_looked() {
    let endpoint = free_endpoint();
    let error = join(ZenohConfig::Connect(vec![endpoint.clone()])).map(|_| ()).unwrap_err();
    assert!(matches!(error, NetworkError::Connect { tls: false, .. }), "{}", line(&error));
    assert!(line(&error).contains(&endpoint) && !line(&error).contains("certificate"));
}

#[test]
fn a_tls_connection_that_fails_hints_at_the_client_certificate() {
    let endpoint = free_endpoint().replace("tcp/", "tls/");
    let error = join(ZenohConfig::Connect(vec![endpoint])).map(|_| ()).unwrap_err();
    assert!(line(&error).contains("client certificate"), "{}", line(&error));
}

#[test]
fn an_endpoint_that_is_none_is_refused_by_name() {
    let error = join(ZenohConfig::Connect(vec!["localhost".into()])).map(|_| ()).unwrap_err();
    assert!(matches!(error, NetworkError::Endpoint { .. }), "{}", line(&error));
    assert!(line(&error).contains("\"localhost\""));
}

#[test]
fn cell_names_are_one_chunk_of_a_key() {
    for name in ["dock", "dock-2", "Dock_2"] {
        assert_eq!(CellName::new(name).unwrap().key("alive"), format!("magpie/{name}/alive"));
    }
    for name in ["", "a/b", "a*", "a b", "$", "?", "#", "ä", &"x".repeat(65)] {
        let error = CellName::new(name).unwrap_err();
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
}

#[test]
fn a_protocol_that_is_not_spoken_is_a_matter_of_configuration() {
    let opened = TransportOptions {
        zenoh: ZenohConfig::Listen(vec!["foo/127.0.0.1:1".into()]),
        ..options("dock", "")
    };
    let error = refusal(opened);
    assert!(error.is_configuration() && !error.may_pass(), "{}", line(&error));
    assert!(line(&error).contains("foo/127.0.0.1:1"), "{}", line(&error));
}

#[test]
fn rules_that_contradict_themselves_are_a_matter_of_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("zenoh.json5");
    let rules = "access_control: {enabled: true, default_permission: 'deny',
        rules: [{id: 'all', permission: 'allow', messages: ['put'], key_exprs: ['**']}],
        subjects: [{id: 'arm'}], policies: [{rules: ['all'], subjects: ['nobody']}]}";
    let listen = format!("listen: {{endpoints: ['{}']}}", free_endpoint());
    for (rules, part) in [
        (rules, "nobody"),
        ("access_control: {enabled: true, default_permission: 'deny'}", "rules/subjects/policies"),
    ] {
        std::fs::write(&path, format!("{{{listen}, {rules}}}")).unwrap();
        let zenoh = ZenohConfig::File(path.clone());
        let error = refusal(TransportOptions { zenoh, ..options("dock", "") });
        assert!(error.is_configuration(), "{}", line(&error));
        assert!(line(&error).contains(part), "{}", line(&error));
    }
}

#[test]
fn a_reader_with_a_daemon_s_file_is_told_that_it_needs_its_own() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let _cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let error = join(ZenohConfig::Listen(vec![endpoint.clone()])).map(|_| ()).unwrap_err();
    assert!(
        line(&error).contains(&endpoint) && line(&error).contains("client"),
        "{}",
        line(&error)
    );
}

/// Where it would be connected to, once `is_wanted` says so of it.
fn wait_for_unreached(cell: &Cell, is_wanted: impl Fn(&Option<String>) -> bool) -> Option<String> {
    for _ in 0..200 {
        let unreached = cell.transport.unreached();
        if is_wanted(&unreached) {
            return unreached;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("still {:?}", cell.transport.unreached());
}

#[test]
fn a_router_that_leaves_is_noticed_and_so_is_its_return_whoever_else_is_connected() {
    let (runtime, endpoint, own) = (runtime(), free_endpoint(), free_endpoint());
    let router = || {
        let text = format!(
            "{{ mode: 'router', listen: {{ endpoints: ['{endpoint}'] }},
               scouting: {{ multicast: {{ enabled: false }} }} }}"
        );
        zenoh::open(zenoh::Config::from_json5(&text).unwrap()).wait().unwrap()
    };
    let first = router();
    let folder = tempfile::tempdir().unwrap();
    for (mode, listen) in [("client", "[]".to_owned()), ("peer", format!("['{own}']"))] {
        let path = folder.path().join(format!("{mode}.json5"));
        let text = format!(
            "{{ mode: '{mode}', listen: {{ endpoints: {listen} }},
               connect: {{ endpoints: ['{endpoint}'], retry: {{ period_max_ms: 500 }} }},
               scouting: {{ multicast: {{ enabled: false }}, gossip: {{ enabled: false }} }} }}"
        );
        std::fs::write(&path, text).unwrap();
    }
    let joined = |name: &str, mode: &str| {
        let zenoh = ZenohConfig::File(folder.path().join(format!("{mode}.json5")));
        Cell::open(TransportOptions { zenoh, ..options(name, "") }, &runtime).unwrap()
    };
    let (client, peer) = (joined("dock", "client"), joined("deck", "peer"));
    let _reader = session(&own);
    for cell in [&client, &peer] {
        wait_for_unreached(cell, Option::is_none);
    }
    first.close().wait().unwrap();
    for cell in [&client, &peer] {
        assert_eq!(wait_for_unreached(cell, Option::is_some).as_ref(), Some(&endpoint));
    }
    let _second = router();
    for cell in [&client, &peer] {
        wait_for_unreached(cell, Option::is_none);
    }
    let alone = Cell::open(options("quay", &free_endpoint()), &runtime).unwrap();
    assert_eq!(alone.transport.unreached(), None, "it waits for whoever comes");
}

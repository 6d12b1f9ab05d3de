//! Queries, images on demand, and what a reader can and cannot do to the publisher.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use magpie_client::{
    Client, ClientOptions, Freshness, LostReason, QueryError, Refusal, WatchEvent, WatchOptions,
    Watcher, ZenohConfig, cells_at, wire,
};
use magpie_perception::{BgrImage, Frame, Publisher};
use magpie_transport::{Onlooker, TransportOptions};
use prost::Message;
use support::{
    Cell, HEIGHT_PX, WIDTH_PX, cell, clock, free_endpoint, options, runtime, session, subscriber,
};
use zenoh::query::Reply;
use zenoh::sample::Sample;
use zenoh::{Session, Wait};

const PATIENCE: Duration = Duration::from_secs(10);

/// The answer to one query: a message and its encoding, or the error's text.
fn answer(reply: Reply) -> Result<(Vec<u8>, String), String> {
    match reply.into_result() {
        Ok(sample) => Ok((sample.payload().to_bytes().to_vec(), sample.encoding().to_string())),
        Err(error) => Err(error.payload().try_to_string().unwrap().into_owned()),
    }
}

fn ask(session: &Session, selector: &str) -> Result<(Vec<u8>, String), String> {
    let replies = session.get(selector).timeout(PATIENCE).wait().unwrap();
    answer(replies.recv().expect("a queryable answers"))
}

/// Subscribes, and passes the first few samples on.
fn samples(session: &Session, key: &str) -> mpsc::Receiver<Sample> {
    let (sender, receiver) = mpsc::sync_channel(64);
    let on_sample = move |sample: Sample| drop(sender.try_send(sample));
    session.declare_subscriber(key).callback(on_sample).background().wait().unwrap();
    receiver
}

#[test]
fn the_last_result_is_sent_before_the_publisher_leaves() {
    let runtime = runtime();
    for _ in 0..3 {
        let endpoint = free_endpoint();
        let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
        let session = session(&endpoint);
        let results = samples(&session, "magpie/dock/packages");
        cell.publish_until(|| results.try_recv().is_ok());
        cell.publish();
        let last = cell.sequence;
        drop(cell);
        let arrived = std::iter::from_fn(|| results.recv_timeout(PATIENCE / 10).ok());
        let sequence = |sample: Sample| {
            wire::Packages::decode(&sample.payload().to_bytes()[..]).unwrap().sequence
        };
        assert_eq!(arrived.map(sequence).max(), Some(last));
    }
}

#[test]
fn capture_answers_with_the_first_frame_exposed_after_the_question() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let session = session(&endpoint);
    let before = cell.clock.now();
    cell.publish_stamped(before);
    let replies = session.get("magpie/dock/capture").timeout(PATIENCE).wait().unwrap();
    // Published after the question arrived, but exposed before.
    std::thread::sleep(Duration::from_millis(300));
    cell.publish_stamped(before);
    std::thread::sleep(Duration::from_millis(100));
    let after = cell.clock.now();
    cell.publish_stamped(after);
    let (bytes, encoding) = answer(replies.recv().unwrap()).unwrap();
    let message = wire::Packages::decode(&bytes[..]).unwrap();
    assert_eq!((message.sequence, message.stamp_ns), (3, after.0));
    assert_eq!(encoding, "application/protobuf;magpie.v1.Packages");
}

fn client(endpoint: &str) -> Client {
    let zenoh = ZenohConfig::Connect(vec![endpoint.into()]);
    Client::open(ClientOptions::new(cell("dock"), zenoh, clock())).unwrap()
}

#[test]
fn a_controller_asks_for_a_picture_from_now_on_and_for_the_lens() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let client = client(&endpoint);
    assert_eq!(client.camera_info(PATIENCE).unwrap().width, WIDTH_PX);
    let view = std::thread::scope(|scope| {
        let asked = scope.spawn(|| client.capture(PATIENCE).unwrap());
        while !asked.is_finished() {
            cell.publish();
            std::thread::sleep(Duration::from_millis(20));
        }
        asked.join().unwrap()
    });
    assert_eq!(view.packages().unwrap().len(), 3);
    let error = client.capture(Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, QueryError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("no frame was exposed"), "{error}");
    drop(cell);
    let error = client.camera_info(Duration::from_millis(300)).unwrap_err();
    assert!(error.to_string().contains("does a daemon run"), "{error}");
}

#[test]
fn who_is_asked_and_never_answers_holds_nobody_up_until_the_result_has_expired() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let silent = session(&endpoint);
    // A question that is dropped would be answered by that.
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let _queryable = silent
        .declare_queryable("magpie/dock/**")
        .callback(move |query| keep.lock().unwrap().push(query))
        .wait()
        .unwrap();
    let client = client(&endpoint);
    assert_eq!(client.camera_info(PATIENCE).unwrap().width, WIDTH_PX);
    let view = std::thread::scope(|scope| {
        let asked = scope.spawn(|| client.capture(PATIENCE));
        while !asked.is_finished() {
            cell.publish();
            std::thread::sleep(Duration::from_millis(20));
        }
        asked.join().unwrap()
    });
    assert_eq!(view.unwrap().packages().unwrap().len(), 3);
    assert!(kept.lock().unwrap().len() >= 2, "it was asked");
}

/// A peer that others connect to.
fn listening(endpoint: &str) -> Session {
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("mode", "\"peer\"".to_owned()),
        ("listen/endpoints", format!("[{endpoint:?}]")),
        ("scouting/multicast/enabled", "false".to_owned()),
    ] {
        config.insert_json5(key, &value).unwrap();
    }
    zenoh::open(config).wait().unwrap()
}

#[test]
fn a_daemon_of_another_version_is_told_by_its_number_whoever_asks() {
    let endpoint = free_endpoint();
    let newer = listening(&endpoint);
    let _token = newer.liveliness().declare_token("magpie/dock/alive").wait().unwrap();
    let status = wire::Status {
        schema_version: wire::SCHEMA_VERSION + 1,
        cell: "dock".into(),
        instance_id: "newer".into(),
        ..Default::default()
    };
    let stopped = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stopped.load(Ordering::Relaxed) {
                newer.put("magpie/dock/status", status.encode_to_vec()).wait().unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let client = client(&endpoint);
        let told = LostReason::Version { found: wire::SCHEMA_VERSION + 1 };
        let status = client.status().map_err(|lost| lost.why);
        let packages = client.packages().unwrap().latest();
        let asked = client.capture(Duration::from_millis(100));
        let found = cells_at(&ZenohConfig::Connect(vec![endpoint.clone()]));
        stopped.store(true, Ordering::Relaxed);
        assert_eq!(status.unwrap_err(), told);
        assert!(matches!(&packages, Freshness::Lost { why, .. } if *why == told), "{packages:?}");
        assert!(matches!(&asked, Err(QueryError::Lost(why)) if *why == told), "{asked:?}");
        let refused = found.unwrap().pop().unwrap().refused;
        assert_eq!(refused, Some(Refusal::SchemaVersion { found: wire::SCHEMA_VERSION + 1 }));
    });
}

#[test]
fn a_client_has_results_and_state_over_one_session_and_leaves_when_all_are_gone() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let client = client(&endpoint);
    let (one, other) = (client.packages().unwrap(), client.packages().unwrap());
    assert_eq!(client.status().unwrap().cell, "dock");
    drop(client);
    cell.publish_until(|| matches!(one.latest(), Freshness::Fresh(_)));
    assert!(matches!(other.latest(), Freshness::Fresh(_)), "each has its own newest result");
    drop(one);
    assert!(!other.wait(Duration::ZERO), "it has been handed out");
    cell.publish_until(|| other.wait(Duration::ZERO));
    let Freshness::Fresh(view) = other.latest() else { panic!("lost with the client") };
    let package = &view.packages().unwrap()[0];
    let mask = package.mask.as_ref().unwrap().to_bitmap().unwrap();
    let at = |x: usize, y: usize| mask[y * WIDTH_PX as usize + x];
    assert_eq!([at(20, 20), at(160, 200)], [1, 0]);
    let base_from_grasp = package.grasps[0].pose.unwrap().matrix().unwrap();
    assert_eq!((base_from_grasp[0][3], base_from_grasp[2][3]), (0.4, 0.12));
    assert!(base_from_grasp[2][2] < -0.9, "the approach goes down");
}

#[test]
fn a_client_that_is_closed_has_left_for_all_that_it_handed_out() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let client = client(&endpoint);
    let reader = client.packages().unwrap();
    cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
    let is_closed =
        |freshness: Freshness| matches!(freshness, Freshness::Lost { why: LostReason::Closed, .. });
    std::thread::scope(|scope| {
        // An hour: closing ends it.
        let waits = scope.spawn(|| while !is_closed(reader.next(Duration::from_secs(3600))) {});
        let asks = scope.spawn(|| client.capture(PATIENCE));
        std::thread::sleep(Duration::from_millis(200));
        client.close();
        waits.join().unwrap();
        let asked = asks.join().unwrap();
        assert!(matches!(asked, Err(QueryError::Lost(LostReason::Closed))), "{asked:?}");
    });
    assert!(client.is_closed() && reader.is_closed() && !reader.wait(PATIENCE));
    client.close();
    assert!(is_closed(reader.latest()));
    assert_eq!(client.status().unwrap_err().why, LostReason::Closed);
    assert!(client.packages().is_err());
    for asked in [client.capture(PATIENCE).err(), client.camera_info(PATIENCE).err()] {
        assert!(matches!(asked, Some(QueryError::Lost(LostReason::Closed))), "{asked:?}");
    }
    drop((client, reader));
}

#[test]
fn an_answer_of_another_than_the_publisher_is_not_believed() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let router = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let forger = session(&endpoint);
    let clock = router.clock.clone();
    let answer = move |query: zenoh::query::Query| {
        let stamp_ns = clock.now().0;
        let message = wire::Packages {
            schema_version: wire::SCHEMA_VERSION,
            cell: "deck".into(),
            instance_id: "forged".into(),
            stamp_ns,
            published_ns: stamp_ns,
            valid_until_ns: stamp_ns + 1_000_000_000,
            reference_frame: wire::ReferenceFrame::Base.into(),
            image_width_px: WIDTH_PX,
            image_height_px: HEIGHT_PX,
            ..Default::default()
        };
        query.reply("magpie/deck/capture", message.encode_to_vec()).wait().unwrap();
    };
    let queryable = forger.declare_queryable("magpie/deck/capture").callback(answer);
    queryable.background().wait().unwrap();
    let zenoh = ZenohConfig::Connect(vec![endpoint.clone()]);
    let options = ClientOptions::new(support::cell("deck"), zenoh, support::clock());
    let client = Client::open(options).unwrap();
    let capture = || client.capture(Duration::from_millis(200));
    let unknown = capture().unwrap_err();
    assert!(matches!(unknown, QueryError::Lost(LostReason::NeverHeard)), "{unknown}");
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(capture);
        while !asking.is_finished() {
            let status = wire::Status {
                schema_version: wire::SCHEMA_VERSION,
                cell: "deck".into(),
                instance_id: "true".into(),
                ..Default::default()
            };
            forger.put("magpie/deck/status", status.encode_to_vec()).wait().unwrap();
            std::thread::sleep(Duration::from_millis(50));
        }
        asking.join().unwrap()
    });
    assert!(matches!(asked, Err(QueryError::Foreign { .. })), "{asked:?}");
}

#[test]
fn capture_without_a_frame_ends_with_an_error_at_its_deadline() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let _cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let session = session(&endpoint);
    let reason = ask(&session, "magpie/dock/capture?timeout_ms=50").unwrap_err();
    assert_eq!(reason, "no frame was exposed and processed within 50 ms");
    let reason = ask(&session, "magpie/dock/capture?timeout_ms=soon").unwrap_err();
    assert!(reason.contains("timeout_ms is \"soon\""), "{reason}");
}

#[test]
fn capture_waits_no_longer_than_the_daemon_allows() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut limited = options("dock", &endpoint);
    limited.capture.timeout_max = Duration::from_millis(60);
    let _cell = Cell::open(limited, &runtime).unwrap();
    let reason = ask(&session(&endpoint), "magpie/dock/capture?timeout_ms=999999").unwrap_err();
    assert_eq!(reason, "no frame was exposed and processed within 60 ms");
}

#[test]
fn camera_info_is_the_calibration_or_a_clear_error() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let (bytes, encoding) = {
        let _cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
        ask(&session(&endpoint), "magpie/dock/camera_info").unwrap()
    };
    let info = wire::CameraInfo::decode(&bytes[..]).unwrap();
    assert_eq!((info.width, info.k[0], info.distortion_model.as_str()), (320, 610.0, "plumb_bob"));
    assert_eq!(encoding, "application/protobuf;magpie.v1.CameraInfo");

    let endpoint = free_endpoint();
    let uncalibrated = TransportOptions { camera_info: None, ..options("dock", &endpoint) };
    let _cell = Cell::open(uncalibrated, &runtime).unwrap();
    let reason = ask(&session(&endpoint), "magpie/dock/camera_info").unwrap_err();
    assert_eq!(reason, "the camera of cell \"dock\" is not calibrated");
}

#[test]
fn a_label_image_comes_in_shared_memory_to_whoever_subscribes() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let session = session(&endpoint);
    let labels = samples(&session, "magpie/dock/label_image");
    let mut received = None;
    cell.publish_until(|| {
        received = labels.try_recv().ok();
        received.is_some()
    });
    let sample = received.unwrap();
    assert!(sample.payload().as_shm().is_some(), "the payload was copied");
    let header = sample.attachment().unwrap().to_bytes();
    let header = wire::ImageHeader::decode(&*header).unwrap();
    assert_eq!((header.width_px, header.height_px), (WIDTH_PX, HEIGHT_PX));
    assert_eq!((header.encoding.as_str(), header.sequence > 0), ("mono8", true));
    let pixels = sample.payload().to_bytes();
    assert_eq!(pixels.len(), (WIDTH_PX * HEIGHT_PX) as usize);
    let at = |x: usize, y: usize| pixels[y * WIDTH_PX as usize + x];
    // Centres of the first three packages, and background.
    assert_eq!([at(20, 20), at(60, 20), at(100, 20), at(160, 200)], [1, 2, 3, 0]);
}

#[test]
fn more_than_254_packages_take_two_bytes_a_pixel() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let session = session(&endpoint);
    let labels = samples(&session, "magpie/dock/label_image");
    let mut received = None;
    for sequence in 0..2000 {
        let frame = support::frame(sequence, cell.clock.now());
        let mut report = support::report(&frame, 1);
        // All but the last are hidden below the first.
        report.packages.packages = vec![report.packages.packages[0].clone(); 255];
        let last = support::report(&frame, 2).packages.packages[1].clone();
        report.packages.packages.push(last);
        cell.publisher.publish(&frame, &report).unwrap();
        received = labels.recv_timeout(Duration::from_millis(5)).ok();
        if received.is_some() {
            break;
        }
    }
    let sample = received.unwrap();
    let header = sample.attachment().unwrap().to_bytes();
    assert_eq!(wire::ImageHeader::decode(&*header).unwrap().encoding, "mono16");
    let pixels = sample.payload().to_bytes();
    let at = |x: usize, y: usize| {
        let at = 2 * (y * WIDTH_PX as usize + x);
        u16::from_le_bytes([pixels[at], pixels[at + 1]])
    };
    assert_eq!([at(20, 20), at(60, 20), at(160, 200)], [1, 256, 0]);
}

#[test]
fn images_are_made_for_subscribers_only_and_not_more_often_than_allowed() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let encoded = Arc::new(AtomicUsize::new(0));
    let counter = encoded.clone();
    let opened = TransportOptions {
        jpeg_encoder: Box::new(move |image: &BgrImage| {
            counter.fetch_add(1, Ordering::SeqCst);
            Ok(image.data()[..3].to_vec())
        }),
        image_period: Duration::from_secs(3600),
        ..options("dock", &endpoint)
    };
    let mut cell = Cell::open(opened, &runtime).unwrap();
    let reader = subscriber("dock", &endpoint, clock());
    cell.publish_until(|| matches!(reader.latest(), Freshness::Fresh(_)));
    assert_eq!(cell.transport.images_made(), (0, 0), "nobody asked for images");

    let session = session(&endpoint);
    let images = samples(&session, "magpie/dock/image");
    let mut received = None;
    cell.publish_until(|| {
        received = images.try_recv().ok();
        received.is_some()
    });
    let sample = received.unwrap();
    assert_eq!(sample.encoding().to_string(), "image/jpeg");
    assert_eq!(sample.payload().to_bytes()[..], [7, 7, 7]);
    let until = reader.counters().received + 20;
    cell.publish_until(|| reader.counters().received > until);
    assert_eq!(encoded.load(Ordering::SeqCst), 1, "one an hour");
    assert_eq!(cell.transport.images_made(), (0, 1));
}

#[test]
fn an_onlooker_gets_pictures_while_it_looks_and_hears_why_one_could_not_be_made() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let (encoded, looks) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (counter, looking) = (encoded.clone(), looks.clone());
    let (shown, pictures) = mpsc::sync_channel(64);
    let opened = TransportOptions {
        jpeg_encoder: Box::new(move |_: &BgrImage| match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Err("it is too wide".into()),
            _ => Ok(vec![1, 2, 3]),
        }),
        onlooker: Some(Onlooker {
            period: Duration::ZERO,
            is_looking: Box::new(move || looking.load(Ordering::SeqCst)),
            show: Box::new(move |message, jpeg| {
                let jpeg = jpeg.map(<[u8]>::to_vec).map_err(str::to_owned);
                let _ = shown.try_send((message.sequence, jpeg));
            }),
        }),
        ..options("dock", &endpoint)
    };
    let mut cell = Cell::open(opened, &runtime).unwrap();
    for _ in 0..20 {
        cell.publish();
    }
    assert_eq!(encoded.load(Ordering::SeqCst), 0, "nobody looks");
    looks.store(true, Ordering::SeqCst);
    let mut seen = Vec::new();
    cell.publish_until(|| {
        seen.extend(pictures.try_iter());
        seen.len() > 1
    });
    assert_eq!(seen[0].1, Err("it is too wide".into()));
    assert_eq!(seen[1].1, Ok(vec![1, 2, 3]));
    assert!(seen[1].0 > seen[0].0, "{seen:?}");
}

#[test]
fn forty_packages_fit_into_one_piece_on_the_network() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let session = session(&endpoint);
    let messages = samples(&session, "magpie/dock/packages");
    let data = vec![0; 1280 * 720 * 3];
    let color = BgrImage::new(1280, 720, data).unwrap();
    let mut received = None;
    for sequence in 0..2000 {
        let frame = Frame { color: color.clone(), ..support::frame(sequence, cell.clock.now()) };
        cell.publisher.publish(&frame, &support::report(&frame, 40)).unwrap();
        let sample = messages.recv_timeout(Duration::from_millis(20)).ok();
        let bytes = sample.map(|sample| sample.payload().to_bytes().to_vec());
        // On a busy machine a result may expire before it is published, and lose its packages.
        received = bytes
            .map(|bytes| (wire::Packages::decode(&bytes[..]).unwrap(), bytes))
            .filter(|(message, _)| !message.packages.is_empty());
        if received.is_some() {
            break;
        }
    }
    let (message, bytes) = received.unwrap();
    let masks: usize = message.packages.iter().map(|p| p.mask.as_ref().unwrap().counts.len()).sum();
    println!("40 packages at 1280x720: {} bytes, {masks} of them masks", bytes.len());
    assert_eq!(message.packages.len(), 40);
    // zenoh's batch_size; larger messages are fragmented.
    assert!(bytes.len() < 65_000, "{} bytes", bytes.len());
}

#[test]
fn a_watcher_sees_every_result_the_heartbeat_and_the_departure() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut published = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let zenoh = ZenohConfig::Connect(vec![endpoint.clone()]);
    let mut watcher = Watcher::open(cell("dock"), &zenoh, WatchOptions::default()).unwrap();
    let mut next = || {
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, watcher.next()).await.expect("an event within 10 s")
        })
    };
    while !matches!(next(), WatchEvent::Status(_)) {}
    let mut sequences = Vec::new();
    for _ in 0..20 {
        published.publish();
        loop {
            if let WatchEvent::Packages(message) = next() {
                sequences.push(message.sequence);
                break;
            }
        }
    }
    assert_eq!(sequences, (1..=20).collect::<Vec<u64>>());
    drop(published);
    while next() != WatchEvent::Gone {}
}

/// The rival that the cell tells of next.
fn wait_for_rival(cell: &Cell) -> String {
    for _ in 0..100 {
        if let Some(rival) = cell.transport.rival() {
            return rival;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("nobody is told");
}

#[test]
fn whatever_a_stranger_says_where_the_cell_speaks_makes_it_a_rival() {
    let (runtime, endpoint) = (runtime(), free_endpoint());
    let mut cell = Cell::open(options("dock", &endpoint), &runtime).unwrap();
    let stranger = session(&endpoint);
    let heard = stranger.declare_subscriber("magpie/dock/packages").wait().unwrap();
    let mut echo = None;
    cell.publish_until(|| {
        echo = heard.try_recv().unwrap();
        echo.is_some()
    });
    // What a router carries back is the cell's own.
    let echo = echo.unwrap().payload().to_bytes().into_owned();
    stranger.put("magpie/dock/packages", echo.clone()).wait().unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(cell.transport.rival(), None);

    let own = wire::Packages::decode(&echo[..]).unwrap();
    let named =
        |instance_id: &str| wire::Packages { instance_id: instance_id.into(), ..own.clone() };
    let ahead = wire::Packages { publication: u64::MAX, ..own.clone() }.encode_to_vec();
    let newer = wire::Packages { schema_version: 99, ..named("newer") }.encode_to_vec();
    let unreadable = "which sends what cannot be read";
    let said = [
        ("packages", named("evil").encode_to_vec(), "evil"),
        ("packages", newer, "newer"),
        ("packages", ahead, "which gives itself out for this daemon"),
        ("packages", vec![0xff; 9], unreadable),
        ("packages", Vec::new(), unreadable),
        ("status", vec![0xff; 9], unreadable),
    ];
    let silent = || {
        while cell.transport.rival().is_some() {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    for (what, bytes, expected) in said {
        stranger.put(format!("magpie/dock/{what}"), bytes).wait().unwrap();
        assert_eq!(wait_for_rival(&cell), expected);
        silent();
    }
    stranger.delete("magpie/*/packages").wait().unwrap();
    assert_eq!(wait_for_rival(&cell), unreadable);
}

//! What goes out, and what does not: seen by a subscriber that knows the keys alone.
#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

use std::collections::BTreeMap;
use std::time::Duration;

use magpie_network::{ZenohConfig, open};
use magpie_ros2::{CellFrames, DomainId, Namespace, NodeOptions, Output, ResultToTell};
use magpie_wire as wire;
use zenoh::handlers::FifoChannelHandler;
use zenoh::pubsub::Subscriber;
use zenoh::sample::Sample;
use zenoh::{Session, Wait};

/// An address of loopback of its own.
fn endpoint(number: u8) -> String {
    let process = std::process::id();
    format!("tcp/127.{}.{}.{number}:7447", 1 + process % 254, 1 + process / 254 % 254)
}

/// The other side of the network, which hears every topic.
struct Side {
    session: Session,
    heard: Subscriber<FifoChannelHandler<Sample>>,
    output: Output,
}

impl Side {
    /// Hears these keys.
    fn new(number: u8, keys: &str) -> Side {
        let router = endpoint(number);
        let session = open(&ZenohConfig::Listen(vec![router.clone()])).unwrap();
        let heard = session.declare_subscriber(keys).wait().unwrap();
        let options = NodeOptions {
            router,
            domain_id: DomainId::default(),
            namespace: Namespace::new("/magpie/dock").unwrap(),
            type_hashes: true,
        };
        let cell = CellFrames {
            scene: None,
            camera_frame_id: "optical".into(),
            reference_frame_id: "base".into(),
        };
        let output = Output::join(&options, cell).unwrap();
        Side { session, heard, output }
    }

    /// Hears everything.
    fn with_all(number: u8) -> Side {
        let side = Side::new(number, "0/**");
        // Who has subscribed is told to a new publisher a moment later.
        for _ in 0..100 {
            if side.output.wants_pictures() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        side
    }

    /// Tells a result that is valid until 10.
    fn tell_result(&mut self, now_unix_ns: impl Fn() -> u64) {
        let message = wire::Packages {
            valid_until_ns: 10,
            image_width_px: 4,
            image_height_px: 2,
            ..wire::Packages::default()
        };
        let result = ResultToTell { message: &message, jpeg: Some(vec![1]) };
        self.output.tell_result(result, now_unix_ns).unwrap();
    }

    /// Tells a result, and an empty status to mark the end. How many messages came on each topic.
    fn tell(&mut self, now_unix_ns: impl Fn() -> u64) -> BTreeMap<String, usize> {
        self.tell_result(now_unix_ns);
        self.output.tell_status(&wire::Status::default()).unwrap();
        let mut counts = BTreeMap::new();
        loop {
            let sample = self.heard.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
            let key = sample.key_expr().as_str();
            let Some(topic) = key.strip_prefix("0/magpie/dock/") else {
                assert!(key.starts_with("0/diagnostics/"), "{key}");
                return counts;
            };
            let topic = topic.split('/').next().unwrap();
            assert_eq!(sample.attachment().unwrap().len(), 33);
            *counts.entry(topic.to_owned()).or_default() += 1;
        }
    }
}

#[test]
fn a_frame_that_shows_nothing_is_told_and_one_that_is_stale_is_not() {
    let mut side = Side::with_all(1);
    let all = ["camera", "detections_2d", "detections_3d", "grasps", "labels"];
    let told = side.tell(|| 10);
    assert_eq!(told, all.map(|topic| (topic.to_owned(), 1)).into());
    assert_eq!(side.tell(|| 11), BTreeMap::new());
}

#[test]
fn a_result_that_goes_stale_while_it_is_told_is_told_no_further() {
    let mut side = Side::with_all(2);
    // Each look at the clock comes a nanosecond later: the second is too late.
    let now = std::cell::Cell::new(9);
    let told = side.tell(|| {
        now.set(now.get() + 1);
        now.get()
    });
    assert_eq!(told, BTreeMap::from([("grasps".into(), 1)]));
}

#[test]
fn what_nobody_has_subscribed_to_is_not_made() {
    let mut side = Side::new(4, "0/magpie/dock/grasps/**");
    // The clock is looked at when a message was made.
    let looks = std::cell::Cell::new(0);
    for _ in 0..100 {
        side.tell_result(|| {
            looks.set(looks.get() + 1);
            0
        });
        if looks.get() > 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(looks.get(), 1);
    let sample = side.heard.recv_timeout(Duration::from_secs(20)).unwrap().unwrap();
    assert!(sample.key_expr().as_str().starts_with("0/magpie/dock/grasps/"));
}

#[test]
fn another_publisher_is_a_rival_on_our_topics_alone() {
    let side = Side::new(5, "0/none");
    let declare = |topic: &str| {
        let token = format!("@ros2_lv/0/b2/0/1/MP/%/%/driver/%magpie%dock%{topic}/T/H/Q");
        side.session.liveliness().declare_token(token).wait().unwrap()
    };
    let _beside = declare("camera%image");
    let _on_ours = declare("camera%image%compressed");
    let mut rival = None;
    for _ in 0..400 {
        rival = side.output.rival();
        if rival.is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(rival.unwrap().topic, "/magpie/dock/camera/image/compressed");
}

#[test]
fn without_a_router_the_message_says_what_to_start() {
    let options = NodeOptions {
        router: endpoint(3),
        domain_id: DomainId::default(),
        namespace: Namespace::new("/magpie/dock").unwrap(),
        type_hashes: true,
    };
    let cell = CellFrames {
        scene: None,
        camera_frame_id: String::new(),
        reference_frame_id: String::new(),
    };
    let message = Output::join(&options, cell).err().unwrap().to_string();
    assert!(message.contains("rmw_zenohd") && message.contains(&options.router), "{message}");
}

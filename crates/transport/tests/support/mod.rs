//! A publisher and its readers on loopback, with made-up results.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

pub mod site;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use magpie_client::{Client, ClientOptions, PackagesSubscriber};
use magpie_network::{NetworkError, ZenohConfig};
use magpie_perception::{
    BboxPx, BgrImage, CameraInfo, Clock, Counters, CountersSnapshot, CupSet, Distortion, Frame,
    FrameReport, Grasp, Grasps, Instance, Intrinsics, Mask, Package, Packages, PoseSource,
    Provider, Publisher, Quality, ReferenceFrame, SharedClock, SizeM, StageLatencies, StampNs,
    StampSource,
};
use magpie_transport::{CaptureLimits, Transport, TransportOptions, ZenohPublisher};
use magpie_wire::{CellName, Identities};
use nalgebra::{Isometry3, Point3, Translation3, UnitQuaternion};
use tokio::runtime::Runtime;
use zenoh::Wait;

pub const WIDTH_PX: u32 = 320;
pub const HEIGHT_PX: u32 = 240;
/// Long enough for a machine that is busy with other tests.
pub const VALIDITY: Duration = Duration::from_millis(1000);

/// The machine's clock, off by as much as a test wants, and set while it runs.
#[derive(Default)]
pub struct ShiftedClock {
    pub offset_ns: AtomicI64,
    pub unix_ahead_ns: AtomicI64,
}

impl Clock for ShiftedClock {
    #[expect(clippy::disallowed_methods, reason = "this is the tests' real clock")]
    fn now(&self) -> StampNs {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let now = i64::try_from(now).unwrap() + self.offset_ns.load(Ordering::Relaxed);
        StampNs(u64::try_from(now).unwrap())
    }

    fn unix_ahead_ns(&self) -> i64 {
        self.unix_ahead_ns.load(Ordering::Relaxed)
    }
}

pub fn clock() -> SharedClock {
    Arc::new(ShiftedClock::default())
}

pub fn shifted_clock(offset_ms: i64) -> SharedClock {
    let offset_ns = AtomicI64::new(offset_ms * 1_000_000);
    Arc::new(ShiftedClock { offset_ns, ..ShiftedClock::default() })
}

pub fn free_endpoint() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("tcp/{}", listener.local_addr().unwrap())
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub fn cell(name: &str) -> CellName {
    CellName::new(name).unwrap()
}

pub fn camera_info() -> CameraInfo {
    CameraInfo {
        camera_name: "test".into(),
        frame_id: "camera_optical_frame".into(),
        width_px: WIDTH_PX,
        height_px: HEIGHT_PX,
        intrinsics: Intrinsics { fx_px: 610.0, fy_px: 612.0, cx_px: 159.5, cy_px: 119.5 },
        distortion: Distortion::default(),
    }
}

pub fn options(name: &str, endpoint: &str) -> TransportOptions {
    TransportOptions {
        cell: cell(name),
        zenoh: ZenohConfig::Listen(vec![endpoint.into()]),
        identities: Identities {
            model_name: "universal".into(),
            model_sha256: "ab".repeat(32),
            class_names: ["box", "padded_mailer", "poly_bag", "item"].map(String::from).to_vec(),
            calibration_id: "cal-1".into(),
            providers_asked: vec![Provider::Cuda, Provider::Cpu],
            provider_got: Provider::Cpu,
            base_frame_id: "base".into(),
            camera_frame_id: "camera_optical_frame".into(),
        },
        camera_info: Some(camera_info()),
        counters: Arc::new(Counters::default()),
        clock: clock(),
        jpeg_encoder: Box::new(|image| Ok(image.data()[..3].to_vec())),
        image_period: Duration::from_millis(500),
        onlooker: None,
        capture: CaptureLimits::default(),
    }
}

/// A publisher with everything that it needs.
pub struct Cell {
    pub transport: Transport,
    pub publisher: ZenohPublisher,
    pub clock: SharedClock,
    pub sequence: u64,
    pub packages: u32,
}

impl Cell {
    pub fn open(options: TransportOptions, runtime: &Runtime) -> Result<Cell, NetworkError> {
        let clock = options.clock.clone();
        let (transport, publisher) = Transport::open(options, runtime.handle())?;
        Ok(Cell { transport, publisher, clock, sequence: 0, packages: 3 })
    }

    pub fn publish(&mut self) {
        self.publish_stamped(self.clock.now());
    }

    pub fn publish_stamped(&mut self, stamp: StampNs) {
        self.sequence += 1;
        let frame = frame(self.sequence, stamp);
        let report = report(&frame, self.packages);
        self.publisher.publish(&frame, &report).unwrap();
    }

    /// Publishes every few milliseconds until `done`.
    pub fn publish_until(&mut self, mut done: impl FnMut() -> bool) {
        for _ in 0..2000 {
            self.publish();
            if done() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("gave up after 10 s");
    }
}

pub fn subscriber(name: &str, endpoint: &str, clock: SharedClock) -> PackagesSubscriber {
    let zenoh = ZenohConfig::Connect(vec![endpoint.into()]);
    let client = Client::open(ClientOptions::new(cell(name), zenoh, clock)).unwrap();
    client.packages().unwrap()
}

/// A plain zenoh session, as any program may open one.
pub fn session(endpoint: &str) -> zenoh::Session {
    let mut config = zenoh::Config::default();
    for (key, value) in [
        ("mode", "\"client\"".to_owned()),
        ("connect/endpoints", format!("[{endpoint:?}]")),
        ("scouting/multicast/enabled", "false".to_owned()),
    ] {
        config.insert_json5(key, &value).unwrap();
    }
    zenoh::open(config).wait().unwrap()
}

pub fn frame(sequence: u64, stamp: StampNs) -> Frame {
    let data = vec![7; (WIDTH_PX * HEIGHT_PX * 3) as usize];
    Frame {
        sequence,
        stamp,
        stamp_source: StampSource::Exposure,
        color: BgrImage::new(WIDTH_PX, HEIGHT_PX, data).unwrap(),
        depth: None,
    }
}

/// `count` round packages in rows.
pub fn report(frame: &Frame, count: u32) -> FrameReport {
    let (width, height) = (frame.color.width_px(), frame.color.height_px());
    let packages = (0..count).map(|index| package(index, width, height)).collect();
    FrameReport {
        packages: Packages {
            sequence: frame.sequence,
            stamp: frame.stamp,
            stamp_source: frame.stamp_source,
            image_width_px: width,
            image_height_px: height,
            reference_frame: ReferenceFrame::Base,
            valid_until: frame.stamp + VALIDITY,
            packages,
            velocity: None,
            depth_problem: None,
        },
        latencies: StageLatencies { total_ns: 42_000_000, ..Default::default() },
        counters: CountersSnapshot { frames: frame.sequence, ..Default::default() },
    }
}

fn package(index: u32, width_px: u32, height_px: u32) -> Package {
    // Eight in a row, each as large as its place allows.
    let radius = width_px / 20;
    let pitch = width_px / 8;
    let (row, column) = (index / 8, index % 8);
    let (cx, cy) = (pitch / 2 + column * pitch, pitch / 2 + row * pitch);
    let mut bitmap = vec![0u8; (width_px * height_px) as usize];
    for y in cy - radius..(cy + radius).min(height_px) {
        for x in cx - radius..cx + radius {
            let inside = x.abs_diff(cx).pow(2) + y.abs_diff(cy).pow(2) < radius.pow(2);
            bitmap[(y * width_px + x) as usize] = u8::from(inside);
        }
    }
    let mask = Mask::from_bitmap(width_px, height_px, &bitmap);
    let bbox = mask.bbox().unwrap_or(BboxPx {
        x_min_px: 0.0,
        y_min_px: 0.0,
        x_max_px: 0.0,
        y_max_px: 0.0,
    });
    let contact_px = [cx as f32, cy as f32];
    let instance = Instance { class_id: index as usize % 4, score: 0.9, bbox, mask };
    Package {
        grasps: Ok(Grasps::new(vec![Grasp {
            contact_px,
            reference_from_grasp: Isometry3::from_parts(
                Translation3::new(0.4, 0.01 * f64::from(index), 0.12),
                UnitQuaternion::from_euler_angles(std::f64::consts::PI, 0.1, 0.0),
            ),
            pose_source: PoseSource::Depth,
            quality: Quality {
                clearance: 1.0,
                seal: 0.8,
                moment: 1.0,
                tilt: 1.0,
                hold: 1.0,
                depth_share: Some(0.95),
            },
            cups: CupSet::of(0),
            position_sigma_m: 0.001,
        }])
        .unwrap()),
        deepest_px: contact_px,
        height_m: Some(0.12),
        position_in_reference: Some(Point3::new(0.4, 0.0, 0.06)),
        size: Some(SizeM { length_m: 0.3, width_m: 0.2, height_m: 0.12 }),
        pick_rank: index,
        ..Package::unplanned(instance, u64::from(index) + 1)
    }
}

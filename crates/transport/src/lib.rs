//! Defines what goes over the wire, publishes it, and gives subscribers a checked view of it.
//!
//! The schema is in `proto/magpie/v1`; everything lies under `magpie/<cell>/`:
//!
//! | key | what |
//! |---|---|
//! | `packages` | [`wire::Packages`], one for each processed frame |
//! | `status` | [`wire::Status`], ten times a second and at every change |
//! | `label_image` | package index per pixel, in shared memory, while somebody subscribes |
//! | `image` | JPEG of the frame, rate-limited, while somebody subscribes |
//! | `capture` | query: the first result whose exposure began after the query arrived |
//! | `camera_info` | query: the camera's calibration |
//! | `alive` | liveliness token |
//!
//! # Threads
//!
//! ```text
//! frame thread -> ZenohPublisher::publish -> Latest (one result) -> thread magpie-publish -> zenoh
//!                                        |-> Latest (one result) -> thread magpie-labels  -> zenoh
//!                                        +-> Latest (one frame)  -> thread magpie-image   -> zenoh
//! tokio: status heartbeat, capture and camera_info queries
//! ```
//!
//! Handing over never waits: a result that the network has not taken yet is replaced by the newer
//! one and counted. No reader, however slow, can reach the frame thread.
//!
//! zenoh needs tokio's multi-thread runtime; on a current-thread runtime it panics.

mod capture;
mod error;
mod freshness;
mod images;
mod latest;
mod publisher;
mod session;
mod status;
mod subscriber;
mod watch;
pub mod wire;

use std::sync::Arc;

pub use error::TransportError;
pub use freshness::{
    BestGrasp, Expired, Freshness, LostReason, PackagesView, PoseAt, Refusal, StaleReason,
};
pub use images::JpegEncoder;
pub use publisher::{CaptureLimits, Identities, Transport, TransportOptions, ZenohPublisher};
pub use session::{CellName, LOOPBACK_ENDPOINT, SHIPPED_ZENOH_CONFIG, ZenohConfig};
pub use status::{DriftStatus, State, StatusHandle, StatusSnapshot};
pub use subscriber::{PackagesSubscriber, SubscriberCounters, SubscriberOptions};
pub use watch::{WatchEvent, WatchOptions, Watcher};

/// The clock that publisher and subscriber read.
pub type SharedClock = Arc<dyn magpie_perception::Clock + Send + Sync>;

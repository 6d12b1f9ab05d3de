//! Publishes what a cell sees, and answers what the network asks; the messages are those of
//! [`magpie_wire`].
//!
//! # Threads
//!
//! ```text
//! frame thread -> ZenohPublisher::publish -> Latest (one result) -> thread magpie-publish -> zenoh
//!                                        |-> Latest (one result) -> thread magpie-labels  -> zenoh
//!                                        +-> Latest (one frame)  -> thread magpie-image   -> zenoh, onlooker
//! tokio: status heartbeat, capture and camera_info queries, reports of picks
//! ```
//!
//! Handing over never waits: a result that the network has not taken yet is replaced by the newer
//! one and counted. No reader, however slow, can reach the frame thread.
//!
//! zenoh needs tokio's multi-thread runtime; on a current-thread runtime it panics.

mod capture;
mod encoding;
mod images;
mod latencies;
mod latest;
mod outcomes;
mod publisher;
mod rivals;
mod sent;
mod shared;
mod status;

pub use capture::CaptureLimits;
pub use images::{JpegEncoder, Onlooker, ShowPicture};
pub use outcomes::ReportedOutcome;
pub use publisher::{Transport, TransportOptions, ZenohPublisher};
pub use status::{DriftStatus, StatusHandle, StatusSnapshot};

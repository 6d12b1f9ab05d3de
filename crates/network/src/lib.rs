//! What every program on the network needs, whether it publishes or subscribes: how to join zenoh,
//! and the clock by which messages are stamped and expire.

mod clock;
mod credentials;
mod error;
mod exposure;
mod session;
mod settings;
mod subjects;

pub use clock::SystemClock;
pub use credentials::Certificate;
pub use error::NetworkError;
pub use exposure::Exposure;
pub use session::{
    Joining, LOOPBACK_ENDPOINT, SHIPPED_ZENOH_CONFIG, ZenohConfig, close, open, open_as_publisher,
    try_as_publisher,
};

//! What every program on the network needs, whether it publishes or subscribes: how to join zenoh,
//! and the clock by which messages are stamped and expire.

mod clock;
mod error;
mod session;

pub use clock::SystemClock;
pub use error::NetworkError;
pub use session::{
    LOOPBACK_ENDPOINT, SHIPPED_ZENOH_CONFIG, ZenohConfig, close, open, open_as_publisher,
};

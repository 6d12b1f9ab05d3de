//! What every program on the network needs, whether it publishes or subscribes: how to join zenoh,
//! where the cells of this machine are, and the clock by which messages are stamped and expire.

mod clock;
mod credentials;
mod error;
mod exposure;
mod fork;
mod instance;
mod links;
mod local;
mod publish;
mod session;
mod settings;
mod subjects;

pub use clock::SystemClock;
pub use credentials::Certificate;
pub use error::NetworkError;
pub use exposure::Exposure;
pub use fork::is_fork;
pub use instance::{Instance, Note, notes};
pub use links::is_connected;
pub use local::{alive, open_to_ask, places};
pub use publish::{Joined, open_as_publisher, try_as_publisher};
pub use session::{
    Joining, LOOPBACK_ENDPOINT, SHIPPED_ZENOH_CONFIG, ZenohConfig, check_endpoint, close,
    loopback_endpoints, open,
};

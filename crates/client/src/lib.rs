//! What an arm controller depends on: results that cannot be acted on by accident once they are
//! old, the heartbeat, and questions to a cell. It needs neither OpenCV nor ONNX Runtime.
//!
//! - [`PackagesSubscriber`] keeps the newest result and says whether it is `Fresh`, `Stale` or
//!   `Lost`.
//! - [`StatusSubscriber`] follows the heartbeat.
//! - [`CellQueries`] asks for a picture taken from now on, and for the camera's calibration.
//! - [`Watcher`] yields everything that a cell says, for people who look.
//! - [`find_cell`] finds a cell of this machine by its name.
//!
//! The messages themselves are in [`wire`]. Each of these blocks while it joins the network; inside
//! tokio they need the multi-thread runtime.

mod cells;
mod inbox;
mod options;
mod packages;
mod queries;
mod status;
mod watch;

pub use cells::{
    FindError, HiddenCell, LiveCell, LocalCells, cells_at, cells_of_this_machine, find_cell,
};
pub use inbox::SubscriberCounters;
pub use magpie_network::{LOOPBACK_ENDPOINT, NetworkError, SystemClock, ZenohConfig};
pub use magpie_perception::{SharedClock, StampNs};
pub use magpie_wire as wire;
pub use magpie_wire::{
    BestGrasp, CellName, CellNameError, Expired, ExpiredWhy, Freshness, LostReason, PackagesView,
    PoseAt, Refusal, StaleReason,
};
pub use options::SubscriberOptions;
pub use packages::PackagesSubscriber;
pub use queries::{CellQueries, QueryError};
pub use status::{Lost, StatusSubscriber};
pub use watch::{WatchEvent, WatchOptions, Watcher};

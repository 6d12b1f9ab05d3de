//! What an arm controller depends on: results that cannot be acted on by accident once they are
//! old, the heartbeat, and questions to a cell. It needs neither OpenCV nor ONNX Runtime.
//!
//! [`Client::connect`] is the way in. The client hands out a [`PackagesSubscriber`], which keeps the
//! newest result and says whether it is [`Fresh`](Freshness::Fresh), [`Stale`](Freshness::Stale) or
//! [`Lost`](Freshness::Lost). It asks for one picture taken from now on ([`Client::capture`]) and
//! for the camera's calibration, and tells the daemon's state. What became of a pick goes back to
//! the cell by [`Client::report_outcome`].
//!
//! [`Watcher`] yields everything that a cell says, for people who look, and
//! [`cells_of_this_machine`] lists what is alive here.
//!
//! The messages themselves are in [`wire`]. A pose becomes a matrix by
//! [`Pose::matrix`](wire::Pose::matrix), and a mask becomes bytes by
//! [`Mask::to_bitmap`](wire::Mask::to_bitmap).

mod cells;
mod client;
mod inbox;
mod options;
mod packages;
mod queries;
mod report;
mod session;
mod watch;

pub use cells::{
    FindError, HiddenCell, LiveCell, LocalCells, cells_at, cells_of_this_machine, find_cell,
};
pub use client::{Client, ConnectError, Lost};
pub use inbox::SubscriberCounters;
pub use magpie_network::{LOOPBACK_ENDPOINT, NetworkError, SystemClock, ZenohConfig, is_fork};
pub use magpie_perception::{SharedClock, StampNs};
pub use magpie_wire as wire;
pub use magpie_wire::{
    BestGrasp, CellName, CellNameError, Expired, ExpiredWhy, Freshness, LostReason, NoPose,
    NotAPose, OutcomeRefusal, PackagesView, Pick, PickReport, PoseAt, Refusal, StaleReason,
    WrongFrame,
};
pub use options::ClientOptions;
pub use packages::PackagesSubscriber;
pub use queries::QueryError;
pub use report::ReportError;
pub use watch::{WatchEvent, WatchOptions, Watcher};

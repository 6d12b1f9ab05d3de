//! Says to ROS 2 what a cell sees, without any part of ROS: the keys, the coding and the graph of
//! rmw_zenoh, over a zenoh session of its own that is a client of the ROS side's router.
//!
//! ```text
//! msg/*.msg -> build.rs -> messages, with their coding and type hashes
//! wire::Packages, wire::Status -> convert -> messages -> cdr -> node -> router -> ROS 2
//! ```
//!
//! The keys are a few lines here. `hiroz-protocol` 0.2.1 has them, too, but needs all of zenoh's
//! transports, and decides when it is compiled whether types have hashes.

mod cdr;
pub mod convert;
mod graph;
pub mod messages;
mod names;
mod node;
mod output;

pub use cdr::{CdrWriter, Encode, encode};
pub use graph::Qos;
pub use names::{DomainId, NameError, Namespace};
pub use node::{JoinError, Node, NodeOptions, Publisher, Rival, Rivals, TellError};
pub use output::{CellFrames, Output, ResultToTell};

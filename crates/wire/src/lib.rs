//! What goes over the wire: messages, keys, how results become messages, and until when a message
//! may be acted on. This crate knows no zenoh, no file and no clock of its own.
//!
//! The schema is in `proto/magpie/v1`; everything lies under `magpie/<cell>/`:
//!
//! | key | what |
//! |---|---|
//! | `packages` | [`Packages`], one for each processed frame |
//! | `status` | [`Status`], ten times a second and at every change |
//! | `label_image` | package index per pixel, in shared memory, while somebody subscribes |
//! | `image` | JPEG of the frame, rate-limited, while somebody subscribes |
//! | `capture` | query: the first result whose exposure began after the query arrived |
//! | `camera_info` | query: the camera's calibration |
//! | `alive` | liveliness token |
//! | `outcomes` | [`PickOutcome`], from those who pick to the publisher |

mod convert;
pub mod freshness;
mod json;
mod keys;
mod label_image;
pub mod outcome;
mod placed;
mod printable;
mod proto;
mod read;
mod reason;
mod refusal;
mod whole;

pub use convert::{
    Envelope, GRIPPER_FRAME_ID, Identities, Spare, counters_to_wire, rewritten, to_wire, withhold,
};
pub use freshness::{BestGrasp, Freshness, LostReason, PackagesView, StaleReason};
pub use json::{status_to_json, to_json};
pub use keys::{CellName, CellNameError};
pub use label_image::paint_labels;
pub use outcome::{OutcomeRefusal, Pick, PickReport};
pub use placed::{Expired, ExpiredWhy, NoPose, PoseAt, WrongFrame};
pub use printable::{printable, printable_lines};
pub use proto::Reason as ReasonMessage;
pub use proto::*;
pub use read::{NotAPose, chain, plain};
pub use reason::{REMEDIES, Reason, remedy};
pub use refusal::Refusal;

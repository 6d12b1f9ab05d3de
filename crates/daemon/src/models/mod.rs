//! Models with a life cycle.
//!
//! ```text
//!  file --install--> folder --use--> on trial --trial_s--> in use --rollback--> the one before
//!                                       |
//!                                       +-- the rule is broken, a run fails, or the process ends
//!                                           --> the one before is in use again, and status says so
//! ```
//!
//! [`Store`] is the folder, [`Selection`] what stands there about one cell. [`Exchange`] hands the loop
//! another model between two frames; [`Models`] loads, watches and takes back. Orders come through
//! [`control`](crate::control), never from the network.

mod change;
mod exchange;
mod findings;
mod rule;
mod selection;
mod store;

pub use change::present;
pub(crate) use change::{InUse, Models, ModelsOptions, in_use_at_start};
pub(crate) use exchange::{Exchange, Interruptible, Ready};
pub(crate) use findings::Findings;
pub use rule::{FOUND_SHARE_MIN, PACKAGES_MIN};
pub use selection::{CONFIGURED, Selection};
pub use store::{Installed, Store, StoreError, check_name, name_from};

//! What a subscriber needs to know.

use std::time::Duration;

use magpie_network::ZenohConfig;
use magpie_perception::SharedClock;
use magpie_wire::CellName;
use magpie_wire::freshness::Trust;

/// Which cell to listen to, where, and how far to trust silence and clocks.
pub struct SubscriberOptions {
    pub cell: CellName,
    pub zenoh: ZenohConfig,
    pub clock: SharedClock,
    /// The heartbeat comes every 100 ms; longer silence than this means lost.
    pub heartbeat_silence_max: Duration,
    /// A publisher whose clock is further ahead is not believed.
    pub clock_ahead_max: Duration,
    /// A result that claims to be valid for longer after its exposure is refused. Raise it for a
    /// daemon whose `limits.result_valid_ms` is larger.
    pub result_valid_max: Duration,
}

impl SubscriberOptions {
    pub fn new(cell: CellName, zenoh: ZenohConfig, clock: SharedClock) -> SubscriberOptions {
        SubscriberOptions {
            cell,
            zenoh,
            clock,
            heartbeat_silence_max: Duration::from_millis(500),
            clock_ahead_max: Duration::from_millis(5),
            result_valid_max: Duration::from_secs(5),
        }
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust {
            heartbeat_silence_max: self.heartbeat_silence_max,
            clock_ahead_max: self.clock_ahead_max,
        }
    }
}

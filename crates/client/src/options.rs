//! What a client needs to know.

use std::time::Duration;

use magpie_network::ZenohConfig;
use magpie_perception::SharedClock;
use magpie_wire::CellName;
use magpie_wire::freshness::{RESULT_VALID_MAX, Trust};

/// Which cell to listen to, where, and how far to trust silence and clocks.
///
/// ```
/// use magpie_client::{CellName, ClientOptions, SystemClock, ZenohConfig};
/// use std::time::Duration;
/// # fn options() -> Result<ClientOptions, magpie_client::CellNameError> {
/// let zenoh = ZenohConfig::File("/etc/magpie/tls/dock-7-arm.json5".into());
/// Ok(ClientOptions {
///     // The way to this cell is over radio.
///     heartbeat_silence_max: Duration::from_secs(1),
///     ..ClientOptions::new(CellName::new("dock-7")?, zenoh, SystemClock::start())
/// })
/// # }
/// # assert!(options().is_ok());
/// ```
#[derive(Clone)]
pub struct ClientOptions {
    pub cell: CellName,
    pub zenoh: ZenohConfig,
    pub clock: SharedClock,
    /// The heartbeat comes every 100 ms; longer silence than this means lost.
    pub heartbeat_silence_max: Duration,
    /// A publisher whose clock is further ahead is not believed.
    pub clock_ahead_max: Duration,
    /// A result that claims to be valid for longer after its exposure is refused. No daemon may be told
    /// a longer `limits.result_valid_ms` than the 5 s that stand here at first.
    pub result_valid_max: Duration,
}

impl ClientOptions {
    /// How long the heartbeat may be silent, and how far a publisher's clock may be ahead, unless
    /// somebody knows better. Results have [`RESULT_VALID_MAX`].
    pub const HEARTBEAT_SILENCE_MAX: Duration = Duration::from_millis(500);
    pub const CLOCK_AHEAD_MAX: Duration = Duration::from_millis(5);

    pub fn new(cell: CellName, zenoh: ZenohConfig, clock: SharedClock) -> ClientOptions {
        ClientOptions {
            cell,
            zenoh,
            clock,
            heartbeat_silence_max: ClientOptions::HEARTBEAT_SILENCE_MAX,
            clock_ahead_max: ClientOptions::CLOCK_AHEAD_MAX,
            result_valid_max: RESULT_VALID_MAX,
        }
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust {
            heartbeat_silence_max: self.heartbeat_silence_max,
            clock_ahead_max: self.clock_ahead_max,
        }
    }
}

//! Notices that the router through which readers hear the cell has gone.

use magpie_perception::StampNs;
use magpie_wire::Reason;

/// Readers take a heartbeat that is missing for half a second to be lost; a link that only blinks is
/// back in a tenth.
const LOST_NS_MIN: u64 = 1_000_000_000;

#[derive(Debug, Default)]
pub(crate) struct NetworkWatch {
    alone_since: Option<StampNs>,
}

impl NetworkWatch {
    /// `unreached`: where the daemon is to be connected to, while it is connected to nothing there.
    pub(crate) fn look(&mut self, now: StampNs, unreached: Option<String>) -> Option<Reason> {
        let Some(endpoints) = unreached else {
            self.alone_since = None;
            return None;
        };
        let since = *self.alone_since.get_or_insert(now);
        (now.since_ns(since) >= LOST_NS_MIN).then_some(Reason::NetworkLost { endpoints })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_that_stays_away_is_told_until_it_is_back_and_one_that_blinks_is_not() {
        let mut watch = NetworkWatch::default();
        let mut is_told = |at_ms: u64, is_alone: bool| {
            let unreached = is_alone.then(|| "tcp/router:7447".to_owned());
            watch.look(StampNs(at_ms * 1_000_000), unreached).is_some()
        };
        assert!(!is_told(0, false));
        assert!(!is_told(100, true) && !is_told(1000, true) && !is_told(1050, false));
        assert!(!is_told(1100, true) && !is_told(2000, true));
        assert!(is_told(2100, true) && is_told(9000, true));
        assert!(!is_told(9100, false));
    }
}

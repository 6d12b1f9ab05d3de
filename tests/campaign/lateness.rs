//! How late this machine runs what is due: promises are kept to the time of a machine that is not
//! busy with something else.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::now;

const PERIOD: Duration = Duration::from_millis(5);
const KEPT: Duration = Duration::from_secs(60);

/// Delays that a sleeping thread has met.
static DELAYS: Mutex<VecDeque<(Instant, Duration)>> = Mutex::new(VecDeque::new());

/// Measures for ever.
pub(crate) fn measure() {
    let thread = std::thread::Builder::new().name("lateness".into());
    let measure = || {
        loop {
            let asked = now();
            std::thread::sleep(PERIOD);
            let delay = asked.elapsed().saturating_sub(PERIOD);
            if delay > Duration::from_millis(1) {
                let mut delays = DELAYS.lock().unwrap_or_else(PoisonError::into_inner);
                delays.retain(|(at, _)| at.elapsed() < KEPT);
                delays.push_back((now(), delay));
            }
        }
    };
    thread.spawn(measure).unwrap();
}

/// How much later than on an idle machine something may be that began at `since`: each thread on the
/// way may have waited as long as the sleeper did.
pub(crate) fn since(since: Instant) -> Duration {
    let delays = DELAYS.lock().unwrap_or_else(PoisonError::into_inner);
    let met: Duration = delays.iter().filter(|(at, _)| *at >= since).map(|(_, by)| *by).sum();
    4 * met
}

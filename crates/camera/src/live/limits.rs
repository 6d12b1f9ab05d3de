//! How patient to be with a live camera.

use std::time::Duration;

/// How long a live camera may take for what it does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveLimits {
    /// A camera whose newest frame is older than this is lost.
    pub frame_age_max: Duration,
    /// The first frame must come within this time of opening.
    pub open_time_max: Duration,
    /// The pause before the first reopening; it doubles with each further one.
    pub back_off_min: Duration,
    pub back_off_max: Duration,
    /// When no more capture threads may be started since all hang in the driver, the source faults
    /// after this time.
    pub hang_time_max: Duration,
}

impl Default for LiveLimits {
    /// Suits cameras of 5 frames a second and more.
    fn default() -> LiveLimits {
        LiveLimits {
            frame_age_max: Duration::from_secs(1),
            // Aravis takes 5 s to say that there is no camera.
            open_time_max: Duration::from_secs(6),
            back_off_min: Duration::from_millis(500),
            back_off_max: Duration::from_secs(10),
            // The longest hang that is known to end takes half as long.
            hang_time_max: Duration::from_secs(10),
        }
    }
}

//! Any bytes as a result, a heartbeat and a report of a pick: what is accepted can be acted upon, counted
//! and shown.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use magpie_perception::{Clock, SharedClock, StampNs};
use magpie_wire::freshness::{Heard, Heartbeat, Received, Trust, assess, decode_packages, decode_status};
use magpie_wire::outcome::{PublishedLately, decode_outcome};
use magpie_wire::{Freshness, to_json};

/// Half a second after the exposure of the seeds.
struct Still;

impl Clock for Still {
    fn now(&self) -> StampNs {
        StampNs(1_700_000_000_100_000_000)
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(report) = decode_outcome(bytes, "dock") {
        assert!(report.weight_kg.is_none_or(f64::is_finite));
        // Nothing was published, so nothing can be reported.
        assert!(PublishedLately::new(report.instance_id.clone()).take(&report, u64::MAX).is_err());
    }
    let clock: SharedClock = Arc::new(Still);
    let trust = Trust {
        heartbeat_silence_max: Duration::from_millis(500),
        clock_ahead_max: Duration::from_millis(5),
    };
    let heartbeat = decode_status(bytes, "dock").ok();
    let heartbeat = heartbeat.map(|status| Heartbeat { at: clock.now(), since: StampNs(0), status });
    let decoded = decode_packages(bytes, "dock", Duration::from_secs(5));
    if let Ok(message) = &decoded {
        let _ = to_json(message).to_string();
    }
    let newest = decoded.ok().map(|message| Received {
        message: Arc::new(message),
        at: clock.now(),
        unix_ahead_ns: 0,
        restarted: false,
    });
    let heard = Heard {
        listening: clock.now(),
        newest,
        refused: None,
        heartbeat,
        gone: None,
        rival: None,
        version: None,
    };
    if let Freshness::Fresh(view) = assess(&heard, trust, &clock) {
        let best = view.best_grasp().expect("it is fresh, and the clock stands still");
        if let Some(best) = best {
            // Minutes from the exposure, or beyond all numbers, there is none.
            if let Ok(Some(later)) = view.pose_at(best.grasp, clock.now()) {
                let p = later.pose.position_m.expect("grasps are whole");
                assert!([p.x, p.y, p.z, later.position_sigma_m].iter().all(|v| v.is_finite()));
            }
            let q = best.grasp.pose.and_then(|pose| pose.orientation).expect("grasps are whole");
            let length = (q.x * q.x + q.y * q.y + q.z * q.z + q.w * q.w).sqrt();
            assert!((length - 1.0).abs() < 1e-5);
        }
    }
});

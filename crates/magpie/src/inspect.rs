//! Looks at a frame now and then: has the camera moved, does its depth make sense?
//!
//! ```text
//! pipeline -> InspectedPublisher -> one copied frame -> tokio (blocking thread) -> findings
//! ```
//!
//! A frame is copied after its result went out, at most once a period, and only while no earlier
//! copy is being looked at.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use magpie_camera::calibrate::measure_drift;
use magpie_camera::judge_depth;
use magpie_perception::{
    BgrImage, DepthImage, Frame, FrameReport, PublishError, Publisher, Scene, StampNs,
};
use magpie_transport::DriftStatus;
use tokio::runtime::Handle;

use crate::drift::DriftConfig;

/// How often depth is looked at where no drift is.
const DEPTH_PERIOD: Duration = Duration::from_secs(2);
/// One measurement may be off: a hand before the board, a blurred frame.
const MEASUREMENTS: usize = 3;

/// What was found so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) drift: Option<DriftStatus>,
    /// Why depth cannot be what it should be.
    pub(crate) depth: Option<String>,
}

#[derive(Default)]
struct Shared {
    findings: Mutex<Findings>,
    is_busy: AtomicBool,
}

/// Watches the frames of one run.
pub(crate) struct Inspector {
    shared: Arc<Shared>,
}

/// The loop's side: hands a frame over when one is due.
pub(crate) struct Tap {
    shared: Arc<Shared>,
    looking: Arc<Looking>,
    runtime: Handle,
    period: Duration,
    due: StampNs,
}

/// What frames are compared with.
struct Looking {
    drift: Option<DriftConfig>,
    scene: Option<Scene>,
    measured: Mutex<VecDeque<DriftStatus>>,
}

/// A copied frame.
struct Copied {
    stamp: StampNs,
    color: Option<BgrImage>,
    depth: Option<DepthImage>,
}

impl Inspector {
    pub(crate) fn start(
        drift: Option<DriftConfig>,
        scene: Option<Scene>,
        runtime: &Handle,
    ) -> (Inspector, Tap) {
        let shared = Arc::new(Shared::default());
        let period = drift.as_ref().map_or(DEPTH_PERIOD, |drift| drift.period);
        let looking = Looking { drift, scene, measured: Mutex::default() };
        let tap = Tap {
            shared: Arc::clone(&shared),
            looking: Arc::new(looking),
            runtime: runtime.clone(),
            period,
            due: StampNs(0),
        };
        (Inspector { shared }, tap)
    }

    pub(crate) fn findings(&self) -> Findings {
        self.shared.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Tap {
    fn offer(&mut self, frame: &Frame) {
        let wanted = self.looking.drift.is_some() || frame.depth.is_some();
        if !wanted || frame.stamp < self.due || self.shared.is_busy.swap(true, Ordering::Acquire) {
            return;
        }
        self.due = frame.stamp + self.period;
        let copied = Copied {
            stamp: frame.stamp,
            color: self.looking.drift.is_some().then(|| frame.color.clone()),
            depth: frame.depth.clone(),
        };
        let (shared, looking) = (Arc::clone(&self.shared), Arc::clone(&self.looking));
        self.runtime.spawn_blocking(move || {
            let depth = looking.judge_depth(&copied);
            let drift = looking.measure(&copied);
            {
                let mut findings = shared.findings.lock().unwrap_or_else(PoisonError::into_inner);
                findings.depth = depth;
                // What was last measured stands while the fiducials are out of view.
                findings.drift = drift.or_else(|| findings.drift.take());
            }
            shared.is_busy.store(false, Ordering::Release);
        });
    }
}

impl Looking {
    fn judge_depth(&self, copied: &Copied) -> Option<String> {
        let scene = self.scene.as_ref();
        let expected = scene
            .and_then(|scene| Some((&scene.camera_info, scene.support_plane_in_camera.as_ref()?)));
        judge_depth(copied.depth.as_ref()?, expected)
    }

    /// The median of the last measurements; `None` if this frame gives none.
    fn measure(&self, copied: &Copied) -> Option<DriftStatus> {
        let (config, color) = (self.drift.as_ref()?, copied.color.as_ref()?);
        let drift = match measure_drift(color, &config.reference, &config.camera_info) {
            Ok(drift) => drift?,
            Err(error) => {
                tracing::debug!(%error, "no drift from this frame");
                return None;
            }
        };
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        if measured.len() == MEASUREMENTS {
            measured.pop_front();
        }
        measured.push_back(DriftStatus {
            displacement_mm: drift.displacement_mm,
            rotation_deg: drift.rotation_deg,
            points: u32::try_from(drift.points).expect("a few hundred"),
            stamp: copied.stamp,
            limit_mm: config.limit_mm,
        });
        let mut sorted: Vec<DriftStatus> = measured.iter().copied().collect();
        sorted.sort_by(|a, b| a.displacement_mm.total_cmp(&b.displacement_mm));
        Some(DriftStatus { stamp: copied.stamp, ..sorted[(sorted.len() - 1) / 2] })
    }
}

/// A publisher whose frames are looked at after they were published.
pub(crate) struct InspectedPublisher<P> {
    pub(crate) publisher: P,
    pub(crate) tap: Tap,
}

impl<P: Publisher> Publisher for InspectedPublisher<P> {
    fn publish(&mut self, frame: &Frame, report: &FrameReport) -> Result<(), PublishError> {
        self.publisher.publish(frame, report)?;
        self.tap.offer(frame);
        Ok(())
    }
}

//! Inspects what was published: how long it took, whether grasps could be planned, and, now and then, whether the
//! camera has moved.
//!
//! ```text
//! pipeline -> InspectedPublisher -> one copied frame -> tokio (blocking thread) -> drift
//! ```
//!
//! A frame is copied after its result went out, at most once a period, and only while no earlier
//! copy is being looked at.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use magpie_camera::calibrate::measure_drift;
use magpie_perception::{BgrImage, Frame, FrameReport, PublishError, Publisher, StampNs};
use magpie_transport::DriftStatus;
use magpie_web::Tally;
use magpie_wire::Reason;
use tokio::runtime::Handle;

use crate::calibrate::CalibrationTap;
use crate::config::DriftConfig;
use crate::models::Findings;
use crate::plan_reason::PlanReason;

/// So many looks in a row without enough fiducials leave unknown whether the camera has moved.
const UNSEEN_LOOKS: u32 = 12;
/// The drift is the median of so many measurements: a hand before the board or a blurred frame may
/// spoil one.
const MEASUREMENTS: usize = 3;

/// Measures how far the camera has moved since its reference was taken.
pub(crate) struct Inspector {
    shared: Arc<Shared>,
}

/// The loop's side: hands a frame over when one is due.
pub(crate) struct Tap {
    shared: Arc<Shared>,
    runtime: Handle,
    due: StampNs,
}

struct Shared {
    config: DriftConfig,
    /// The last measurement, which stands while the fiducials are out of view.
    drift: Mutex<Option<DriftStatus>>,
    measured: Mutex<VecDeque<DriftStatus>>,
    /// Looks in a row that saw too few fiducials.
    unseen_looks: AtomicU32,
    is_busy: AtomicBool,
}

impl Inspector {
    pub(crate) fn start(config: DriftConfig, runtime: &Handle) -> (Inspector, Tap) {
        let shared = Arc::new(Shared {
            config,
            drift: Mutex::default(),
            measured: Mutex::default(),
            unseen_looks: AtomicU32::new(0),
            is_busy: AtomicBool::new(false),
        });
        let tap = Tap { shared: Arc::clone(&shared), runtime: runtime.clone(), due: StampNs(0) };
        (Inspector { shared }, tap)
    }

    pub(crate) fn drift(&self) -> Option<DriftStatus> {
        *self.shared.drift.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reason why drift cannot be measured, if the fiducials are out of view.
    pub(crate) fn unseen(&self) -> Option<Reason> {
        self.shared.unseen()
    }
}

impl Tap {
    fn offer(&mut self, frame: &Frame) {
        if frame.stamp < self.due || self.shared.is_busy.swap(true, Ordering::Acquire) {
            return;
        }
        self.due = frame.stamp + self.shared.config.period;
        let (color, stamp) = (frame.color.clone(), frame.stamp);
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn_blocking(move || {
            let shared = Looking(shared);
            shared.0.look(&color, stamp);
        });
    }
}

/// One look at a copied frame. However it ends, the next one may begin.
struct Looking(Arc<Shared>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.is_busy.store(false, Ordering::Release);
    }
}

impl Shared {
    fn look(&self, color: &BgrImage, stamp: StampNs) {
        match self.measure(color, stamp) {
            Some(drift) => {
                self.unseen_looks.store(0, Ordering::Relaxed);
                *self.drift.lock().unwrap_or_else(PoisonError::into_inner) = Some(drift);
            }
            None => _ = self.unseen_looks.fetch_add(1, Ordering::Relaxed),
        }
    }

    fn unseen(&self) -> Option<Reason> {
        let looks = self.unseen_looks.load(Ordering::Relaxed);
        (looks >= UNSEEN_LOOKS).then(|| {
            let period_s = self.config.period.as_secs_f64();
            Reason::FiducialsUnseen { looks, period_s }
        })
    }

    /// The median of the last measurements; `None` if this frame gives none.
    fn measure(&self, color: &BgrImage, stamp: StampNs) -> Option<DriftStatus> {
        let config = &self.config;
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
            stamp,
            limit_mm: config.limit_mm,
        });
        let mut sorted: Vec<DriftStatus> = measured.iter().copied().collect();
        sorted.sort_by(|a, b| a.displacement_mm.total_cmp(&b.displacement_mm));
        Some(DriftStatus { stamp, ..sorted[(sorted.len() - 1) / 2] })
    }
}

/// A publisher whose frames and results are looked at after they were published.
pub(crate) struct InspectedPublisher<P> {
    pub(crate) publisher: P,
    /// `None` where no drift is watched.
    pub(crate) tap: Option<Tap>,
    /// `None` where there is no page to calibrate on.
    pub(crate) calibration: Option<CalibrationTap>,
    pub(crate) plan_reason: Arc<PlanReason>,
    pub(crate) findings: Arc<Findings>,
    pub(crate) tally: Arc<Tally>,
}

impl<P: Publisher> Publisher for InspectedPublisher<P> {
    fn publish(&mut self, frame: &Frame, report: &FrameReport) -> Result<(), PublishError> {
        self.publisher.publish(frame, report)?;
        self.plan_reason.update(&report.packages);
        self.findings.count(report);
        self.tally.count(report);
        if let Some(tap) = &mut self.tap {
            tap.offer(frame);
        }
        if let Some(calibration) = &mut self.calibration {
            calibration.offer(frame);
        }
        Ok(())
    }
}

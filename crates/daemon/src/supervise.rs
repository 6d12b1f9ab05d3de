//! Judges ten times a second how a run is doing, reports it to status and systemd, and ends the run.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use magpie_perception::{Counters, Fault};
use magpie_transport::{StatusSnapshot, Transport};
use magpie_wire::{Reason, printable};
use sd_notify::NotifyState;
use tokio::signal::unix::Signal;
use tokio::sync::oneshot;

use crate::certificate_watch::CertificateWatch;
use crate::clock_watch::ClockWatch;
use crate::failure::{Failure, Outcome, ended_by};
use crate::health::{Health, Observation, UNSENT_MAX};
use crate::inspect::Inspector;
use crate::live::Live;
use crate::models::Models;
use crate::network_watch::NetworkWatch;
use crate::page::ServedPage;
use crate::plan_reason::PlanReason;
use crate::process_limits::DescriptorWatch;
use crate::record::Recorder;
use crate::result_flow::usable;
use crate::ros2::Ros2;
use crate::source::SourceWatch;
use crate::state_log::StateLog;
use crate::systemd::notify;

/// How often state is judged and the watchdog considered.
const SUPERVISION_PERIOD: Duration = Duration::from_millis(100);

/// The parts of a run that supervision watches.
pub(crate) struct Supervised<'a> {
    pub(crate) watch: SourceWatch,
    pub(crate) transport: &'a Transport,
    pub(crate) recorder: Option<&'a mut Recorder>,
    pub(crate) inspector: Option<Inspector>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) provider_fallback: Option<String>,
    pub(crate) plan_reason: Arc<PlanReason>,
    pub(crate) models: Arc<Models>,
    pub(crate) live: Option<Live>,
    pub(crate) ros2: Option<Ros2>,
    pub(crate) clock: ClockWatch,
    pub(crate) certificates: CertificateWatch,
    pub(crate) network: NetworkWatch,
    pub(crate) descriptors: DescriptorWatch,
    pub(crate) page: Option<&'a ServedPage>,
    /// SIGUSR1 asks to keep what the ring holds.
    pub(crate) keep: Signal,
}

impl Supervised<'_> {
    pub(crate) async fn until_end(
        mut self,
        ended: oneshot::Receiver<Result<(), Fault>>,
        shutdown: impl Future<Output = ()>,
    ) -> Outcome {
        let status = self.transport.status();
        let mut health = Health::default();
        let mut watchdog = Watchdog::default();
        let mut period = tokio::time::interval(SUPERVISION_PERIOD);
        tokio::pin!(ended, shutdown);
        let mut asked_to_stop = false;
        loop {
            tokio::select! {
                _ = period.tick() => {
                    let observed = self.observe(None);
                    let snapshot = health.judge(&observed);
                    watchdog.consider(&self, &snapshot);
                    status.set(snapshot);
                    self.tell();
                    self.models.supervise();
                }
                () = &mut shutdown, if !asked_to_stop => {
                    asked_to_stop = true;
                    notify(&[NotifyState::Stopping]);
                    self.watch.stop();
                }
                _ = self.keep.recv() => {
                    if let Some(recorder) = &self.recorder {
                        recorder.keep();
                    }
                }
                outcome = &mut ended => {
                    let failure = match outcome {
                        Ok(Ok(())) => {
                            self.models.finish();
                            return Ok(());
                        }
                        Ok(Err(fault)) => ended_by(fault),
                        Err(_) => Failure::Fault(anyhow!("the pipeline panicked: see above")),
                    };
                    status.set(health.judge(&self.observe(Some(failure.message()))));
                    self.tell();
                    // Some more heartbeats go out, so that controllers hear the reason.
                    tokio::time::sleep(2 * SUPERVISION_PERIOD).await;
                    return Err(failure);
                }
            }
        }
    }

    /// Tells the status to whoever keeps it.
    fn tell(&mut self) {
        let message = self.transport.status_message();
        if let Some(live) = &mut self.live {
            live.supervise(&message);
        }
        if let Some(ros2) = &mut self.ros2 {
            ros2.supervise(&message);
        }
        if let Some(page) = self.page {
            page.page.set_status(message.clone());
        }
        let outcomes = self.transport.fetch_outcomes();
        let Some(recorder) = &mut self.recorder else { return };
        recorder.take_outcomes(outcomes);
        recorder.take_status(message);
        if recorder.is_run_over() {
            self.watch.stop();
        }
    }

    fn observe(&mut self, fault: Option<String>) -> Observation {
        let stepped = self.clock.look();
        let recorder = self.recorder.as_deref();
        let lost = self.watch.lost();
        let is_camera_lost = lost.is_some();
        let reasons = [
            stepped,
            lost.map(|why| Reason::CameraLost { why }),
            self.watch.slow(),
            self.transport.rival().map(|instance_id| Reason::RivalPublisher { instance_id }),
            self.provider_fallback.clone().map(|why| Reason::ProviderFallback { why }),
            self.models.reason(),
            self.live.as_ref().and_then(Live::reason),
            self.ros2.as_ref().and_then(Ros2::reason),
            self.plan_reason.reason(),
            recorder.and_then(Recorder::reason),
            self.watch.depth_reason(),
            self.inspector.as_ref().and_then(Inspector::unseen),
            self.network.look(self.clock.now(), self.transport.unreached()),
            self.descriptors.look(self.clock.now()),
            self.certificates.look(),
            self.page.and_then(ServedPage::reason),
        ];
        Observation {
            at: self.clock.now(),
            source_progress: self.watch.progress(),
            is_camera_lost,
            unsent: self.transport.unsent_for(),
            counters: self.counters.snapshot(),
            camera: self.watch.describe(),
            corrupt: self.watch.last_corrupt(),
            drift: self.inspector.as_ref().and_then(Inspector::drift),
            clock_steps: self.clock.steps,
            reasons: reasons.into_iter().flatten().collect(),
            fault,
        }
    }
}

/// Fed by progress alone: a result that may be acted upon, or a round of reopening a lost camera.
#[derive(Debug, Default)]
struct Watchdog {
    ready: bool,
    progress: u64,
    told: String,
    log: StateLog,
}

impl Watchdog {
    fn consider(&mut self, supervised: &Supervised<'_>, status: &StatusSnapshot) {
        let counters = supervised.counters.snapshot();
        let lost = supervised.watch.lost().is_some();
        let reopening = if lost { supervised.watch.progress() } else { 0 };
        // A frame without a result, and one that nobody may act upon, are none.
        let progress = usable(&counters) + reopening;
        // Ready once the first result is out, or once it is sure that the camera is what is missing.
        if !self.ready && (counters.results_published > 0 || lost) {
            self.ready = true;
            notify(&[NotifyState::Ready]);
        }
        let is_sent = supervised.transport.unsent_for() <= UNSENT_MAX;
        if progress != self.progress && is_sent {
            self.progress = progress;
            notify(&[NotifyState::Watchdog]);
        }
        let reasons = status.reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join("; ");
        let line = format!("{:?}: {reasons}", status.state);
        if line != self.told {
            notify(&[NotifyState::Status(&printable(&line))]);
            self.told.clone_from(&line);
        }
        if self.log.is_due(status, &line, supervised.clock.now()) {
            if status.reasons.is_empty() {
                tracing::info!(state = ?status.state, "state");
            } else {
                tracing::warn!(state = ?status.state, reasons, "state");
            }
        }
    }
}

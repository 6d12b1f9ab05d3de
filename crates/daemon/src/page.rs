//! The page of the cell: what it gets from the run, and the thread that serves it.
//!
//! That thread has a runtime of its own and gives way to all others: however many look, heartbeat and
//! loop go before them.

use std::sync::Arc;
use std::thread::JoinHandle;

use magpie_perception::{Scene, SharedClock};
use magpie_transport::Onlooker;
use magpie_web::{Page, PageOptions, Tally};
use magpie_wire::Reason;
use tokio::sync::oneshot;

use crate::calibrate::{CalibrationDesk, CalibrationTap, DeskOptions, SessionOptions};
use crate::config::{Config, RecordingTarget, WebConfig};
use crate::failure::Failure;
use crate::scheduling::give_way;
use crate::systemd;

/// A page that is served until this is dropped.
pub(crate) struct ServedPage {
    pub(crate) page: Page,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl ServedPage {
    /// `None` where the configuration asks for no page.
    pub(crate) fn start(
        config: &Config,
        tally: &Arc<Tally>,
    ) -> Result<Option<ServedPage>, Failure> {
        let Some(web) = &config.web else { return Ok(None) };
        let recordings = match &config.recording.target {
            Some(RecordingTarget::Ring { folder, .. }) => Some(folder.clone()),
            Some(RecordingTarget::File { .. }) | None => None,
        };
        let options = PageOptions {
            cell: config.cell.clone(),
            version: env!("CARGO_PKG_VERSION"),
            hosts: web.hosts.clone(),
            token: web.token.clone(),
            recordings,
        };
        let page = Page::new(options, Arc::clone(tally));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::fault)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = magpie_web::serve(page.clone(), web.listen);
        let thread = std::thread::Builder::new().name("magpie-web".into()).spawn(move || {
            give_way();
            runtime.block_on(async {
                tokio::select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
            // Whoever downloads a recording is not waited for.
            runtime.shutdown_background();
        });
        let thread = thread.map_err(Failure::fault)?;
        Ok(Some(ServedPage { page, stop: Some(stop), thread: Some(thread) }))
    }

    /// Shows the pictures that a transport has made for it.
    pub(crate) fn onlooker(&self, web: &WebConfig) -> Onlooker {
        let (asked, shown) = (self.page.clone(), self.page.clone());
        Onlooker {
            period: web.picture_period,
            is_looking: Box::new(move || asked.is_looked_at()),
            show: Box::new(move |message, jpeg| shown.show(message, jpeg)),
        }
    }

    /// Collects views and stops for it; `scene` is what runs.
    pub(crate) fn calibrate(
        &self,
        config: &Config,
        web: &WebConfig,
        scene: Option<&Scene>,
        clock: &SharedClock,
    ) -> std::io::Result<(CalibrationDesk, CalibrationTap)> {
        let options = DeskOptions {
            session: SessionOptions {
                cell: config.cell.to_string(),
                restart: systemd::how_to_restart(),
                folder: web.calibration_folder.clone(),
                lens: scene.map(|scene| scene.camera_info.clone()),
                device_name: config.device_name(),
            },
            period: web.picture_period,
            jpeg_quality_percent: config.jpeg_quality_percent,
        };
        CalibrationDesk::start(options, &self.page, clock)
    }

    pub(crate) fn reason(&self) -> Option<Reason> {
        self.page.problem().map(|why| Reason::PageUnavailable { why })
    }
}

impl Drop for ServedPage {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in there has been reported by the panic hook.
            let _ = thread.join();
        }
    }
}

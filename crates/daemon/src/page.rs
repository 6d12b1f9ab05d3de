//! The page of the cell: what it gets from the run, and how it is served.

use std::sync::Arc;

use magpie_transport::Onlooker;
use magpie_web::{Page, PageOptions, Tally};
use magpie_wire::Reason;
use tokio::runtime::Runtime;

use crate::config::{Config, RecordingTarget, WebConfig};

/// A page that is served until this is dropped.
pub(crate) struct ServedPage {
    pub(crate) page: Page,
    server: tokio::task::JoinHandle<()>,
}

impl ServedPage {
    /// `None` where the configuration asks for no page.
    pub(crate) fn start(
        config: &Config,
        tally: &Arc<Tally>,
        runtime: &Runtime,
    ) -> Option<ServedPage> {
        let web = config.web.as_ref()?;
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
        let server = runtime.spawn(magpie_web::serve(page.clone(), web.listen));
        Some(ServedPage { page, server })
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

    pub(crate) fn reason(&self) -> Option<Reason> {
        self.page.problem().map(|why| Reason::PageUnavailable { why })
    }
}

impl Drop for ServedPage {
    fn drop(&mut self) {
        self.server.abort();
    }
}

//! A running cell: each picture that it sends, with the result of the same frame.

use std::future::pending;
use std::time::Duration;

use anyhow::anyhow;
use magpie_client::{CellName, WatchEvent, WatchOptions, Watcher, find_cell, wire};
use magpie_daemon::failure::{Failure, Outcome, not_joined};
use magpie_daemon::run::asked_to_stop;
use tokio::time::sleep;

use super::args::ViewArgs;
use super::viewer::{Head, Picture, Reference, Shown, Viewer};
use crate::arguments::place;
use crate::present::{status_line, why_silent};
use crate::recent::RecentResults;

pub(super) fn view(args: &ViewArgs, cell: &CellName) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::fault)?;
    let zenoh = match args.zenoh.told(args.connect.as_deref()) {
        Some(zenoh) => zenoh,
        None => find_cell(cell).map_err(Failure::fault)?,
    };
    // Ctrl-C ends a file. A window it closes by itself.
    let stop = args.out.as_ref().map(|_| asked_to_stop()).transpose()?;
    let mut stop = Box::pin(async {
        match stop {
            Some(stop) => stop.await,
            None => pending().await,
        }
    });
    let options = WatchOptions { images: true };
    let opened = runtime.block_on(async { Watcher::open(cell.clone(), &zenoh, options) });
    let mut watcher = opened.map_err(not_joined)?;
    let mut live = Live::new(args, cell);
    let silence = Duration::from_secs_f64(args.silence_s_max);
    let shown = runtime.block_on(async {
        // The first picture comes in time, or there is none.
        let mut first = Box::pin(sleep(silence));
        while !live.is_done() {
            tokio::select! {
                event = watcher.next() => live.take(event)?,
                () = left(&mut live.viewer) => break,
                () = &mut stop => break,
                () = &mut first, if live.viewer.is_none() => {
                    return Err(Failure::Fault(live.silence(&place(&zenoh))));
                }
            }
        }
        Ok(())
    });
    match live.viewer {
        Some(viewer) => viewer.end(shown),
        None => shown,
    }
}

async fn left(viewer: &mut Option<Viewer>) {
    match viewer {
        Some(viewer) => viewer.left().await,
        None => pending().await,
    }
}

struct Live<'a> {
    args: &'a ViewArgs,
    cell: &'a CellName,
    /// From the first picture on.
    viewer: Option<Viewer>,
    results: RecentResults,
    is_any_result: bool,
    /// The last one that was heard, and when it was sent.
    status: Option<(u64, wire::State, String)>,
    frames: u64,
}

impl Live<'_> {
    fn new<'a>(args: &'a ViewArgs, cell: &'a CellName) -> Live<'a> {
        Live {
            args,
            cell,
            viewer: None,
            results: RecentResults::default(),
            is_any_result: false,
            status: None,
            frames: 0,
        }
    }

    fn is_done(&self) -> bool {
        self.args.frames == Some(self.frames) || self.viewer.as_ref().is_some_and(Viewer::is_left)
    }

    fn take(&mut self, event: WatchEvent) -> Outcome {
        match event {
            WatchEvent::Packages(message) => {
                self.is_any_result = true;
                self.results.keep(*message);
            }
            WatchEvent::Image { header, jpeg } => self.show(&header, &jpeg)?,
            WatchEvent::Status(status) => {
                let line = status_line(&status);
                if self.status.as_ref().is_none_or(|(_, _, last)| *last != line) {
                    self.status = Some((status.sent_ns, status.state(), line));
                    self.tell_status()?;
                }
            }
            WatchEvent::Gone => tracing::warn!(cell = self.cell.as_str(), "the daemon left"),
            WatchEvent::Alive => {}
            WatchEvent::Refused(refusal) => tracing::warn!(%refusal, "message refused"),
        }
        Ok(())
    }

    /// A picture without its result shows nothing that a camera would not.
    fn show(&mut self, header: &wire::ImageHeader, jpeg: &[u8]) -> Outcome {
        let Some(result) = self.results.of(header) else { return Ok(()) };
        let size_px = (header.width_px, header.height_px);
        if (result.image_width_px, result.image_height_px) != size_px {
            tracing::warn!(frame = header.sequence, "picture and result differ in size");
            return Ok(());
        }
        let is_first = self.viewer.is_none();
        if is_first {
            let head = Head {
                name: self.cell.as_str(),
                is_live: true,
                has_depth: false,
                reference: (!result.calibration_id.is_empty()).then_some(Reference {
                    frame_id: &result.frame_id,
                    is_base: result.reference_frame() == wire::ReferenceFrame::Base,
                    camera: None,
                }),
            };
            self.viewer = Some(Viewer::start(self.args, &head)?);
        }
        let viewer = self.viewer.as_mut().expect("started above");
        viewer.show(&Shown {
            stamp_ns: header.stamp_ns,
            picture: Picture::Jpeg { header, bytes: jpeg },
            depth: None,
            points: None,
            result: Some(result),
        })?;
        self.frames += 1;
        if is_first { self.tell_status() } else { Ok(()) }
    }

    fn tell_status(&mut self) -> Outcome {
        let (Some(viewer), Some((sent_ns, state, line))) = (&mut self.viewer, &self.status) else {
            return Ok(());
        };
        viewer.note(*sent_ns, *state, line)
    }

    fn silence(&self, place: &str) -> anyhow::Error {
        let (cell, silence_s_max) = (self.cell.as_str(), self.args.silence_s_max);
        let status = self.status.as_ref().map_or("", |(_, _, line)| line);
        if self.is_any_result {
            return anyhow!(
                "cell {cell:?} at {place} sent results, and no picture for {silence_s_max} s: may \
                 this reader read magpie/{cell}/image?"
            );
        }
        why_silent(cell, place, silence_s_max, status)
    }
}

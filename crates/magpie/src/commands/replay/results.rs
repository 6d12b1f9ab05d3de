//! Takes the results of a replay to wherever they were asked for.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use magpie_files::OutputFile;
use magpie_perception::{BoxError, Frame, FrameReport, PublishError, Publisher};
use magpie_recording::{FrameWriter, RecordingInfo, Results, StoredFile, WriteOptions};
use magpie_transport::ZenohPublisher;
use magpie_wire::{self as wire, Identities};

use super::compare::{Comparison, Verdict};
use super::doubts::Doubts;
use magpie_daemon::failure::Failure;

/// Unlike the daemon's publisher it waits for the disk: nothing is left out.
pub(super) struct ReplayResults {
    identities: Identities,
    cell: String,
    recording: Option<FrameWriter>,
    json: Option<(PathBuf, OutputFile)>,
    comparison: Option<Comparison>,
    zenoh: Option<ZenohPublisher>,
    doubts: Doubts,
}

impl ReplayResults {
    pub(super) fn new(
        identities: Identities,
        cell: &str,
        comparison: Option<Comparison>,
        doubts: Doubts,
    ) -> ReplayResults {
        ReplayResults {
            identities,
            cell: cell.into(),
            recording: None,
            json: None,
            comparison,
            zenoh: None,
            doubts,
        }
    }

    pub(super) fn publish_to(&mut self, zenoh: ZenohPublisher) {
        self.zenoh = Some(zenoh);
    }

    pub(super) fn record_to(
        &mut self,
        path: &Path,
        info: RecordingInfo,
        config: &str,
    ) -> Result<(), Failure> {
        let writer = FrameWriter::create(path, info, WriteOptions::default());
        let mut writer = writer.map_err(Failure::config)?;
        if let Some(config) = StoredFile::config(config) {
            writer.attach(&config).map_err(Failure::fault)?;
        }
        self.recording = Some(writer);
        Ok(())
    }

    pub(super) fn write_json_to(&mut self, path: &Path) -> Result<(), Failure> {
        let file = OutputFile::create(path).with_context(|| format!("write {}", path.display()));
        self.json = Some((path.to_owned(), file.map_err(Failure::Config)?));
        Ok(())
    }

    /// Closes what is written; the verdict if there was something to compare with.
    pub(super) fn finish(self) -> Result<Option<Verdict>, Failure> {
        self.doubts.tell();
        if let Some(recording) = self.recording {
            recording.finish().map_err(Failure::fault)?;
        }
        if let Some((path, json)) = self.json {
            json.finish().with_context(|| format!("write {}", path.display()))?;
        }
        self.comparison.map(Comparison::finish).transpose()
    }

    fn take(&mut self, frame: &Frame, report: &FrameReport) -> Result<(), (String, BoxError)> {
        self.doubts.take(frame, report);
        let envelope = wire::Envelope {
            cell: &self.cell,
            instance_id: "replay",
            publication: report.counters.results_published,
            unix_ahead_ns: 0,
            published: report.packages.stamp,
            state: wire::State::Ok,
            results_superseded: 0,
        };
        let message = wire::to_wire(report, &self.identities, &envelope);
        if let Some(recording) = &mut self.recording {
            let results = Results {
                message: &message,
                packages: &report.packages,
                class_names: &self.identities.class_names,
            };
            let name = recording.path().display().to_string();
            recording.write_processed(frame, &results).map_err(|error| (name, error.into()))?;
        }
        if let Some((path, json)) = &mut self.json {
            let written = writeln!(json, "{}", wire::to_json(&message));
            written.map_err(|error| (path.display().to_string(), error.into()))?;
        }
        if let Some(comparison) = &mut self.comparison {
            let compared = comparison.take(&message);
            compared.map_err(|error| ("the comparison".to_owned(), error.into()))?;
        }
        Ok(())
    }
}

impl Publisher for ReplayResults {
    fn publish(&mut self, frame: &Frame, report: &FrameReport) -> Result<(), PublishError> {
        if let Some(zenoh) = &mut self.zenoh {
            zenoh.publish(frame, report)?;
        }
        self.take(frame, report).map_err(|(topic, source)| PublishError { topic, source })
    }
}

//! A recording, frame by frame, each with its recorded result.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use magpie_daemon::config::Config;
use magpie_daemon::failure::{Failure, Outcome, source_ended};
use magpie_perception::{Frame, FrameSource, ReferenceFrame, Scene};
use magpie_recording::{
    FrameReader, MessageReader, Playback, RecordedMessage, RecordingError, RecordingInfo,
};
use magpie_wire::{self as wire, GRIPPER_FRAME_ID};
use prost::Message;

use super::args::ViewArgs;
use super::surface::Surface;
use super::viewer::{Head, Picture, Reference, Shown, Viewer};
use crate::present::status_line;

pub(super) fn view(args: &ViewArgs, file: &Path) -> Outcome {
    // What a tool is like does not matter here.
    let config = Config::load_uncalibrated(None, None).map_err(Failure::config)?;
    let mut reader =
        args.topics.open(file, Playback::default(), &config.tool).map_err(Failure::config)?;
    let results = Beside::open(file, MessageReader::packages(file))?;
    let statuses = Beside::open(file, MessageReader::statuses(file))?;
    let first = reader.next_frame().map_err(source_ended)?;
    let has_depth = first.as_ref().is_some_and(|frame| frame.depth.is_some());
    let info = reader.info().clone();
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy();
    let head = Head { name: &name, is_live: false, has_depth, reference: reference(&info) };
    let mut viewer = Viewer::start(args, &head)?;
    if info.scene.is_none() {
        tracing::warn!(
            "{} has no calibration: nothing is shown in three dimensions",
            file.display()
        );
    }

    let recording = Recording {
        file,
        surface: info.scene.as_ref().map(Surface::of),
        reader,
        results,
        statuses,
        last_status: String::new(),
    };
    let shown = recording.show(first, args.frames, &mut viewer);
    viewer.end(shown)
}

struct Recording<'a> {
    file: &'a Path,
    surface: Option<Surface>,
    reader: FrameReader,
    results: Beside<'a, wire::Packages>,
    statuses: Beside<'a, wire::Status>,
    last_status: String,
}

impl Recording<'_> {
    fn show(
        mut self,
        first: Option<Frame>,
        frames_max: Option<u64>,
        viewer: &mut Viewer,
    ) -> Outcome {
        let (mut frames, mut without_result, mut refused) = (0, 0, 0);
        let mut next = first;
        while let Some(frame) = next.filter(|_| !viewer.is_left()) {
            let result = self.results.at(frame.stamp.0)?;
            let whole = result.as_ref().filter(|result| is_of(result, &frame));
            without_result += u64::from(result.is_none());
            refused += u64::from(result.is_some() && whole.is_none());
            let measured = self.surface.as_ref().zip(frame.depth.as_ref());
            viewer.show(&Shown {
                stamp_ns: frame.stamp.0,
                picture: Picture::Bgr(&frame.color),
                depth: frame.depth.as_ref(),
                points: measured.map(|(surface, depth)| surface.points(&frame.color, depth)),
                result: whole,
            })?;
            self.tell_status(&frame, viewer)?;
            frames += 1;
            if frames_max == Some(frames) {
                break;
            }
            next = self.reader.next_frame().map_err(source_ended)?;
        }

        let file = self.file.display();
        let losses = self.reader.losses();
        if !losses.is_none() {
            tracing::warn!("{file}: {losses}");
        }
        if without_result > 0 {
            tracing::warn!(
                "{file}: {without_result} of {frames} frames have no recorded result; `magpie replay \
                 --out` makes a recording that has them"
            );
        }
        if refused > 0 {
            tracing::warn!("{file}: results that are not whole and are left out: {refused}");
        }
        Ok(())
    }

    /// What the daemon said until this frame, where it was something new.
    fn tell_status(&mut self, frame: &Frame, viewer: &mut Viewer) -> Outcome {
        while let Some(status) = self.statuses.up_to(frame.stamp.0)? {
            let line = status_line(&status.message);
            if line != self.last_status {
                viewer.note(status.stamp.0, status.message.state(), &line)?;
                self.last_status = line;
            }
        }
        Ok(())
    }
}

fn reference(info: &RecordingInfo) -> Option<Reference<'_>> {
    let scene: &Scene = info.scene.as_ref()?;
    let frame = scene.reference_frame();
    Some(Reference {
        frame_id: match frame {
            ReferenceFrame::Base => &info.base_frame_id,
            ReferenceFrame::Gripper => GRIPPER_FRAME_ID,
            ReferenceFrame::Camera => &scene.camera_info.frame_id,
        },
        is_base: frame == ReferenceFrame::Base,
        camera: Some((&scene.camera_info, scene.reference_from_camera())),
    })
}

/// Whether the result can be drawn over the frame.
fn is_of(result: &wire::Packages, frame: &Frame) -> bool {
    let size_px = (frame.color.width_px(), frame.color.height_px());
    (result.image_width_px, result.image_height_px) == size_px
        && wire::freshness::check_packages(result, &result.cell, Duration::MAX).is_ok()
}

/// The messages of one topic, beside the frames. They come in the order of their stamps.
struct Beside<'a, T> {
    file: &'a Path,
    reader: Option<MessageReader<T>>,
    next: Option<RecordedMessage<T>>,
}

impl<'a, T: Message + Default> Beside<'a, T> {
    /// A recording of others has none.
    fn open(
        file: &'a Path,
        reader: Result<MessageReader<T>, RecordingError>,
    ) -> Result<Beside<'a, T>, Failure> {
        let reader = match reader {
            Err(RecordingError::NoMessages { .. }) => None,
            reader => Some(reader.map_err(Failure::config)?),
        };
        let mut beside = Beside { file, reader, next: None };
        beside.advance()?;
        Ok(beside)
    }

    /// The next message that is not of a later moment.
    fn up_to(&mut self, stamp_ns: u64) -> Result<Option<RecordedMessage<T>>, Failure> {
        let due = self.next.take_if(|next| next.stamp.0 <= stamp_ns);
        if due.is_some() {
            self.advance()?;
        }
        Ok(due)
    }

    /// The message of exactly this moment.
    fn at(&mut self, stamp_ns: u64) -> Result<Option<T>, Failure> {
        while let Some(due) = self.up_to(stamp_ns)? {
            if due.stamp.0 == stamp_ns {
                return Ok(Some(due.message));
            }
        }
        Ok(None)
    }

    fn advance(&mut self) -> Outcome {
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let next = reader.next_message();
        self.next = next
            .with_context(|| format!("read the results in {}", self.file.display()))
            .map_err(Failure::Fault)?;
        Ok(())
    }
}

//! A running GStreamer pipeline as a device, with GStreamer's own words where it fails.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer::{Caps, Element, MessageView, Sample, State, message};
use gstreamer_app::AppSink;

use super::caps::{Decode, Decoder, format_name};
use super::device::{Device, DeviceError};
use super::limits::LiveLimits;
use super::offers::offers_of;
use super::redact::redact;
use crate::errors::{ImageProblem, PipelineProblem};

/// How often a wait for a frame looks for errors.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(50);
/// A source has this long to open, when only asked what it offers.
const OFFER_TIME_MAX: gst::ClockTime = gst::ClockTime::from_seconds(3);

/// Makes GStreamer ready, once in a process.
pub(crate) fn initialise() -> Result<(), PipelineProblem> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    let done = DONE.get_or_init(|| gst::init().map_err(|error| error.message().to_owned()));
    done.clone().map_err(PipelineProblem::Refused)
}

/// A pipeline whose elements exist and fit each other; nothing is opened yet.
pub(super) struct Parsed {
    pipeline: gst::Pipeline,
    sink: AppSink,
}

impl Parsed {
    /// Reads a pipeline as `gst-launch-1.0` would.
    pub(super) fn from_description(description: &str) -> Result<Parsed, PipelineProblem> {
        initialise()?;
        let element = gst::parse::launch(description).map_err(|error| {
            let words = redact(error.message());
            if error.matches(gst::ParseError::NoSuchElement) {
                PipelineProblem::NoSuchElement(words)
            } else {
                PipelineProblem::Refused(words)
            }
        })?;
        let pipeline =
            element.downcast::<gst::Pipeline>().map_err(|_| PipelineProblem::Sinks { found: 0 })?;
        let elements = pipeline.iterate_recurse().into_iter().flatten();
        let sinks: Vec<AppSink> = elements.filter_map(|one| one.downcast().ok()).collect();
        let [sink] = <[AppSink; 1]>::try_from(sinks)
            .map_err(|sinks| PipelineProblem::Sinks { found: sinks.len() })?;
        Ok(Parsed::new(pipeline, sink))
    }

    /// The newest frame wins, whatever the pipeline says of its sink.
    pub(super) fn new(pipeline: gst::Pipeline, sink: AppSink) -> Parsed {
        sink.set_max_buffers(1);
        sink.set_drop(true);
        Parsed { pipeline, sink }
    }

    /// What the sources say that they offer; nothing where they cannot be opened.
    pub(super) fn offers(self) -> Vec<String> {
        let running = Stopped(self.pipeline);
        if running.0.set_state(State::Paused).is_err() {
            return Vec::new();
        }
        let _ = running.0.state(OFFER_TIME_MAX);
        offers_of(running.0.upcast_ref())
    }

    /// Starts it. What is wrong with a camera often shows only later, when its first frame should
    /// come.
    pub(super) fn start<I: 'static>(
        self,
        limits: &LiveLimits,
        decoder: Box<Decoder<I>>,
    ) -> Result<Box<dyn Device<I>>, DeviceError> {
        let Parsed { pipeline, sink } = self;
        let mut device = Running {
            bus: pipeline.bus().expect("a pipeline has a bus"),
            pipeline: Stopped(pipeline),
            sink,
            decoder,
            patience: limits.frame_age_max,
            sample: None,
            stream: None,
            missing: Vec::new(),
        };
        if device.pipeline.0.set_state(State::Playing).is_err() {
            let words =
                device.trouble().unwrap_or_else(|| "the pipeline does not start".to_owned());
            return Err(DeviceError::Unavailable(words));
        }
        // A pipeline opens while its first frame is waited for, and that frame may be an old one: a
        // server may send what it had kept. The waits for later ones show when they are new.
        device.wait_for_sample(limits.open_time_max).map_err(DeviceError::Unavailable)?;
        Ok(Box::new(device))
    }
}

/// What the source `element` offers when it opens `device`; else why it cannot, in GStreamer's words.
pub(super) fn source_offers(element: &str, device: &Path) -> Result<Vec<String>, String> {
    initialise().map_err(|problem| problem.to_string())?;
    let source = gst::ElementFactory::make(element)
        .property("device", device.to_string_lossy().as_ref())
        .build()
        .map_err(|error| error.to_string())?;
    let pipeline = gst::Pipeline::new();
    pipeline.add(&source).expect("it is new");
    let pipeline = Stopped(pipeline);
    if pipeline.0.set_state(State::Ready).is_ok() {
        return Ok(offers_of(pipeline.0.upcast_ref()));
    }
    let bus = pipeline.0.bus().expect("a pipeline has a bus");
    let error = bus.pop_filtered(&[gst::MessageType::Error]);
    Err(match error.as_ref().map(|error| error.view()) {
        Some(MessageView::Error(error)) => words(error),
        _ => "GStreamer does not say why".to_owned(),
    })
}

/// A pipeline that is stopped when it is dropped.
struct Stopped(gst::Pipeline);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.set_state(State::Null);
    }
}

struct Running<I> {
    pipeline: Stopped,
    sink: AppSink,
    bus: gst::Bus,
    decoder: Box<Decoder<I>>,
    /// A wait for a frame ends after this time: by then the watch has abandoned this attempt, and
    /// the camera must be free for the next one.
    patience: Duration,
    sample: Option<Sample>,
    /// The caps of the newest sample, and what they mean.
    stream: Option<(Caps, Box<Decode<I>>)>,
    /// What the pipeline has said that this machine lacks.
    missing: Vec<String>,
}

impl<I> Device<I> for Running<I> {
    fn frame_interval(&self) -> Option<Duration> {
        let (caps, _) = self.stream.as_ref()?;
        let rate = caps.structure(0)?.get::<gst::Fraction>("framerate").ok()?;
        let interval_s = f64::from(rate.denom()) / f64::from(rate.numer());
        Duration::try_from_secs_f64(interval_s).ok()
    }

    fn pixel_format(&self) -> Option<String> {
        self.stream.as_ref().map(|(caps, _)| format_name(caps))
    }

    fn grab(&mut self) -> Result<(), DeviceError> {
        let sample = self.wait_for_sample(self.patience).map_err(DeviceError::Unavailable)?;
        let caps = sample.caps_owned().unwrap_or_else(Caps::new_empty);
        if self.stream.as_ref().is_none_or(|(known, _)| *known != caps) {
            let decode = (self.decoder)(&caps).map_err(DeviceError::Misconfigured)?;
            self.stream = Some((caps, decode));
        }
        self.sample = Some(sample);
        Ok(())
    }

    fn retrieve(&mut self) -> Result<I, ImageProblem> {
        let sample = self.sample.take().ok_or(ImageProblem::Empty)?;
        let buffer = sample.buffer().ok_or(ImageProblem::Empty)?;
        let (_, decode) = self.stream.as_mut().expect("set with the sample");
        decode(buffer)
    }
}

impl<I> Running<I> {
    fn wait_for_sample(&mut self, patience: Duration) -> Result<Sample, String> {
        #[expect(clippy::disallowed_methods, reason = "it ends a wait, and stamps nothing")]
        let began = Instant::now();
        loop {
            // Also while frames come: a bus keeps every message until somebody takes it.
            if let Some(words) = self.trouble() {
                return Err(words);
            }
            if let Some(sample) = self.sink.try_pull_sample(LOOK) {
                return Ok(sample);
            }
            if self.sink.is_eos() {
                // A source says what is wrong before it ends its stream.
                return Err(self.trouble().unwrap_or_else(|| "the stream ended".to_owned()));
            }
            if began.elapsed() > patience {
                return Err(format!("no frame for {patience:?}"));
            }
        }
    }

    /// The first error that the pipeline has reported: those that follow are its consequences.
    fn trouble(&mut self) -> Option<String> {
        while let Some(message) = self.bus.pop() {
            match message.view() {
                MessageView::Element(element) => self.missing.extend(missing_plugin(element)),
                MessageView::Error(error) => return Some(self.explain(error)),
                _ => {}
            }
        }
        None
    }

    fn explain(&self, error: &message::Error) -> String {
        let mut words = words(error);
        if !self.missing.is_empty() {
            words += &format!("; there is no {} on this machine", self.missing.join(", no "));
        }
        if words.contains("not-negotiated") {
            words += &self.wishes();
        }
        words
    }

    /// What the pipeline asks for, and what its sources have.
    fn wishes(&self) -> String {
        let bin = self.pipeline.0.upcast_ref::<gst::Bin>();
        let asked: Vec<String> = bin
            .iterate_all_by_element_factory_name("capsfilter")
            .into_iter()
            .flatten()
            .map(caps_of)
            .collect();
        let offered = offers_of(bin);
        let mut words = String::new();
        if !asked.is_empty() {
            words += &format!("; the pipeline asks for {}", asked.join(", then for "));
        }
        if !offered.is_empty() {
            words += &format!("; its source offers {}", offered.join("; "));
        }
        words
    }
}

/// An error of GStreamer: who met it, its text, and the detail that says more than the text.
fn words(error: &message::Error) -> String {
    let from = error.src().map(|from| from.name().to_string()).unwrap_or_default();
    let debug = error.debug().unwrap_or_default();
    let detail = debug.split_once('\n').map_or("", |(_, detail)| detail).trim();
    let mut words = format!("{from}: {}", error.error().message().trim());
    if !detail.is_empty() {
        words += &format!(" ({})", detail.replace('\n', "; "));
    }
    redact(&words)
}

/// The caps of a filter, without the types of their values.
fn caps_of(filter: Element) -> String {
    let caps = filter.property::<Caps>("caps").to_string();
    ["(string)", "(int)", "(fraction)"].iter().fold(caps, |caps, kind| caps.replace(kind, ""))
}

/// `decodebin` says by a message which decoder it looked for.
fn missing_plugin(element: &message::Element) -> Option<String> {
    let structure = element.structure().filter(|one| one.name() == "missing-plugin")?;
    structure.get::<String>("name").ok()
}
